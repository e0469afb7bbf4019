//! Who has which port of the node.

use std::collections::BTreeMap;

use skerry_terms::{AppKey, reasons};

use super::claims::{Conflict, Rank, rank};
use super::standing::Sorted;
use super::{Mine, port_text};
use crate::{ContainerId, Desired, DesiredApp, HostPort, Network, ObservedContainer, Role, ValidApp, World};

/// All claims on the node's ports, of what runs and of what wants to run.
pub(super) struct PortTable<'a> {
    held: Vec<Held<'a>>,
    wanted: BTreeMap<&'a AppKey, Wish>,
    world: &'a World,
}

/// A port that a living container has.
struct Held<'a> {
    port: HostPort,
    container: &'a ObservedContainer,
    app: Option<&'a AppKey>,
    leaves: bool,
}

/// The ports that a desired app needs, and how good its claim is.
struct Wish {
    ports: Vec<HostPort>,
    rank: Rank,
}

impl<'a> PortTable<'a> {
    pub fn of(
        desired: &'a Desired,
        world: &'a World,
        mine: &Mine<'a>,
        sorted: &BTreeMap<&'a AppKey, Sorted<'a>>,
    ) -> Self {
        let mut held = Vec::new();
        for container in world.containers.values().filter(|container| container.state.is_alive()) {
            let owner = container.ownership();
            let app = owner.map(|owner| &owner.app);
            let leaves = app.is_some_and(|app| desired.leaves(app));
            let mut hold = |port| held.push(Held { port, container, app, leaves });
            container.ports.iter().for_each(|claim| hold(claim.0));
            // Docker lists no ports of a container in the node's own network; its spec does.
            if let (true, Some(owner)) = (container.host_network, owner)
                && let Some(DesiredApp::Valid(valid)) = desired.apps.get(&owner.app)
                && valid.network == Network::Host
            {
                let own = valid.containers().iter().filter(|c| Role::Container(c.name.clone()) == owner.role);
                own.flat_map(|c| valid.host_ports_of(c)).for_each(hold);
            }
        }
        let wanted = desired.apps.iter().filter_map(|(key, app)| {
            let DesiredApp::Valid(app) = app else { return None };
            let sorted = &sorted[key];
            // What has ended for good needs no port any more.
            let ports = if sorted.is_over() { Vec::new() } else { app.host_ports().collect() };
            let rank = rank(sorted, mine.get(key).is_some_and(|mine| !mine.is_empty()));
            Some((key, Wish { ports, rank }))
        });
        Self { held, wanted: wanted.collect(), world }
    }

    /// What stands in the way of starting an app's containers.
    pub fn conflict(
        &self,
        app: &ValidApp,
        containers: &[(&ContainerId, &ObservedContainer)],
        swaps: impl Fn(&AppKey) -> bool,
    ) -> Option<Conflict> {
        app.host_ports().find_map(|port| {
            self.held_by_container(app, &port, &swaps)
                .or_else(|| self.promised_to_other(app, &port))
                .or_else(|| self.held_by_process(app, containers, &port))
        })
    }

    fn held_by_container(
        &self,
        app: &ValidApp,
        port: &HostPort,
        swaps: impl Fn(&AppKey) -> bool,
    ) -> Option<Conflict> {
        let held = self.held.iter().find(|held| held.port.overlaps(port) && held.app != Some(&app.key))?;
        let holder = match held.app {
            Some(other) => format!("app {other}"),
            None => format!("container {}", held.container.name),
        };
        let changes = |other: &AppKey| {
            self.wanted.contains_key(other) && !self.wants(other, |wish| wish.overlaps(port))
        };
        let leaving = held.app.filter(|other| held.leaves || changes(other));
        Some(Conflict {
            reason: reasons::PORT_CONFLICT,
            message: format!("port {} of the node is held by {holder}", port_text(port)),
            passing: leaving.is_some(),
            give_way: leaving.is_some_and(swaps),
            recheck: false,
        })
    }

    fn wants(&self, app: &AppKey, port: impl Fn(&HostPort) -> bool) -> bool {
        self.wanted.get(app).is_some_and(|wish| wish.ports.iter().any(port))
    }

    /// True if `app` wants a port that a container of `holder` has.
    pub fn waits_for(&self, app: &AppKey, holder: &AppKey) -> bool {
        let mut held = self.held.iter().filter(|held| held.app == Some(holder));
        held.any(|held| self.wants(app, |wish| wish.overlaps(&held.port)))
    }

    /// Two apps that want the same port at the same time: the better claim has it, else the first by name.
    fn promised_to_other(&self, app: &ValidApp, port: &HostPort) -> Option<Conflict> {
        let rank = self.wanted.get(&app.key).map_or(Rank::Newcomer, |wish| wish.rank);
        let (other, _) = self.wanted.iter().find(|(key, wish)| {
            (wish.rank, **key) < (rank, &app.key) && wish.ports.iter().any(|other| other.overlaps(port))
        })?;
        Some(Conflict {
            reason: reasons::PORT_CONFLICT,
            message: format!(
                "port {} of the node is asked for by app {other}, which has the older claim",
                port_text(port)
            ),
            passing: false,
            give_way: false,
            recheck: false,
        })
    }

    /// A process outside Docker. In the node's own network that is for the container itself to find out: a listener may be its own
    /// predecessor.
    fn held_by_process(
        &self,
        app: &ValidApp,
        containers: &[(&ContainerId, &ObservedContainer)],
        port: &HostPort,
    ) -> Option<Conflict> {
        let predecessor_listens = containers.iter().any(|(_, c)| c.host_network && c.state.is_alive());
        if app.network == Network::Host || predecessor_listens {
            return None;
        }
        let listening = self.world.listeners.iter().any(|listener| listener.0.overlaps(port));
        let explained = self.held.iter().any(|held| held.port.overlaps(port));
        (listening && !explained).then(|| Conflict {
            reason: reasons::PORT_CONFLICT,
            message: format!("port {} of the node is held by a process outside Docker", port_text(port)),
            passing: false,
            give_way: false,
            recheck: true,
        })
    }
}
