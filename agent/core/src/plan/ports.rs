//! Who has which port of the node. A port is checked before anything is stopped for it, so that a conflict never costs the
//! container that serves.

use std::collections::BTreeMap;
use std::time::Duration;

use skerry_terms::AppKey;

use super::port_text;
use super::standing::{Standing, sort};
use crate::{
    ContainerId, Desired, DesiredApp, HostPort, Memory, Network, ObservedContainer, Role, ValidApp, World,
};

/// How often a port that a process outside Docker holds is looked at again: nothing tells us when it is let go.
pub(super) const RECHECK: Duration = Duration::from_secs(10);

/// Why an app cannot have a port now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict {
    /// For people: the port and who has it.
    pub message: String,
    /// The holder is one of ours that is on its way out.
    pub passing: bool,
    /// The holder waits for a port of ours: the old container must go before either can come up.
    pub give_way: bool,
    /// No event tells when the port is free.
    pub recheck: bool,
}

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
    desired: bool,
}

/// The ports that a desired app needs, and how good its claim is.
struct Wish {
    ports: Vec<HostPort>,
    rank: Rank,
}

/// The better claim comes first. A crashed container keeps its claim while it waits for its restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// A container of this very spec is on the box.
    Established,
    /// Containers of another revision are.
    Changing,
    Newcomer,
}

impl<'a> PortTable<'a> {
    pub fn of(
        desired: &'a Desired,
        world: &'a World,
        memory: &Memory,
        mine: &BTreeMap<&'a AppKey, Vec<(&'a ContainerId, &'a ObservedContainer)>>,
    ) -> Self {
        let mut held = Vec::new();
        for container in world.containers.values().filter(|container| container.state.is_alive()) {
            let owner = container.ownership();
            let app = owner.map(|owner| &owner.app);
            let is_desired = app.is_some_and(|app| desired.apps.contains_key(app));
            let mut hold = |port| held.push(Held { port, container, app, desired: is_desired });
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
            let containers = mine.get(key).map_or(&[][..], Vec::as_slice);
            let sorted = sort(memory, app, containers);
            let ended = sorted.units.iter().all(|(unit, standing)| {
                unit.role == Role::Sandbox || matches!(standing, Standing::Ended { .. })
            });
            // What has ended for good needs no port any more.
            let ports = if ended { Vec::new() } else { app.host_ports().collect() };
            let established = sorted
                .units
                .iter()
                .any(|(_, standing)| !matches!(standing, Standing::Absent { last: None, .. }));
            let rank = match (established, containers.is_empty()) {
                (true, _) => Rank::Established,
                (false, false) => Rank::Changing,
                (false, true) => Rank::Newcomer,
            };
            Some((key, Wish { ports, rank }))
        });
        Self { held, wanted: wanted.collect(), world }
    }

    /// What stands in the way of starting an app's containers.
    pub fn conflict(
        &self,
        app: &ValidApp,
        containers: &[(&ContainerId, &ObservedContainer)],
    ) -> Option<Conflict> {
        app.host_ports().find_map(|port| {
            self.held_by_container(app, &port)
                .or_else(|| self.promised_to_other(app, &port))
                .or_else(|| self.held_by_process(app, containers, &port))
        })
    }

    fn held_by_container(&self, app: &ValidApp, port: &HostPort) -> Option<Conflict> {
        let held = self.held.iter().find(|held| held.port.overlaps(port) && held.app != Some(&app.key))?;
        let holder = match held.app {
            Some(other) => format!("app {other}"),
            None => format!("container {}", held.container.name),
        };
        let lets_go = |other: &AppKey| !held.desired || !self.wants(other, |wish| wish.overlaps(port));
        let leaving = held.app.filter(|other| lets_go(other));
        // Two apps that change places wait for each other; the first by name steps aside.
        let swaps = leaving.is_some_and(|other| app.key < *other && self.waits_for(other, &app.key));
        Some(Conflict {
            message: format!("port {} of the node is held by {holder}", port_text(port)),
            passing: leaving.is_some(),
            give_way: swaps,
            recheck: false,
        })
    }

    fn wants(&self, app: &AppKey, port: impl Fn(&HostPort) -> bool) -> bool {
        self.wanted.get(app).is_some_and(|wish| wish.ports.iter().any(port))
    }

    /// True if `app` wants a port that a container of `holder` has.
    fn waits_for(&self, app: &AppKey, holder: &AppKey) -> bool {
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
            message: format!("port {} of the node is held by a process outside Docker", port_text(port)),
            passing: false,
            give_way: false,
            recheck: true,
        })
    }
}
