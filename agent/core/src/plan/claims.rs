//! What only one app at a time can have: ports of the node, devices of the box. Checked before anything is stopped for it, so that a
//! conflict never costs the container that serves.

use std::collections::BTreeMap;
use std::time::Duration;

use skerry_terms::AppKey;

use super::Mine;
use super::app::Placed;
use super::devices::DeviceTable;
use super::ports::PortTable;
use super::standing::{Sorted, Standing};
use crate::{ContainerId, Desired, ObservedContainer, Role, ValidApp, World};

/// How often is looked again at what nothing tells us of: a port that a process outside Docker holds, an address that is late.
pub(super) const RECHECK: Duration = Duration::from_secs(10);

/// Why an app cannot have what it needs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict {
    /// A stable word.
    pub reason: &'static str,
    /// For people: what it is and who has it.
    pub message: String,
    /// The holder is one of ours that is on its way out.
    pub passing: bool,
    /// The holder waits for what we have: the old container must go before either can come up.
    pub give_way: bool,
    /// No event tells when it is free.
    pub recheck: bool,
}

/// The better claim comes first. A crashed container keeps its claim while it waits for its restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A container of this very spec is on the box.
    Established,
    /// Containers of another revision are.
    Changing,
    Newcomer,
}

/// All claims, of what runs and of what wants to run.
pub(super) struct Claims<'a> {
    ports: PortTable<'a>,
    devices: DeviceTable<'a>,
}

impl<'a> Claims<'a> {
    pub fn of(
        desired: &'a Desired,
        world: &'a World,
        mine: &Mine<'a>,
        sorted: &BTreeMap<&'a AppKey, Sorted<'a>>,
    ) -> Self {
        Self {
            ports: PortTable::of(desired, world, mine, sorted),
            devices: DeviceTable::of(desired, world, mine, sorted),
        }
    }

    /// What stands in the way of launching these units.
    pub fn conflict(
        &self,
        app: &ValidApp,
        containers: &[(&ContainerId, &ObservedContainer)],
        units: &[Placed<'_>],
    ) -> Option<Conflict> {
        let coming = || units.iter().filter(|placed| placed.need.comes());
        let publishes = |placed: &Placed<'_>| !app.has_sandbox() || placed.stood.unit.role == Role::Sandbox;
        let opens_ports = coming().any(publishes);
        let takes_devices = coming()
            .any(|placed| placed.stood.unit.container.is_some_and(|container| !container.devices.is_empty()));
        // Two apps that change places wait for each other; the first by name steps aside.
        let swaps = |other: &AppKey| {
            app.key < *other
                && (self.ports.waits_for(other, &app.key) || self.devices.waits_for(other, &app.key))
        };
        let port = || self.ports.conflict(app, containers, swaps);
        let device = || self.devices.conflict(app, swaps);
        opens_ports.then(port).flatten().or_else(|| takes_devices.then(device).flatten())
    }
}

pub(super) fn rank(sorted: &Sorted<'_>, any: bool) -> Rank {
    let established =
        sorted.units.iter().any(|stood| !matches!(stood.standing, Standing::Absent { last: None, .. }));
    match (established, any) {
        (true, _) => Rank::Established,
        (false, true) => Rank::Changing,
        (false, false) => Rank::Newcomer,
    }
}
