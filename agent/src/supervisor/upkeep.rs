//! What housekeeping must know of the apps: told with every look that was made for the set in force, and never before there is one.

use std::collections::{BTreeMap, BTreeSet};

use skerry_agent_core::housekeeping::{Needed, running_images};
use skerry_agent_core::{ContainerId, Desired, DesiredApp, ImageId, World};

/// What must be kept, and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upkeep {
    /// All that the box is to run is known. While something of the stored state is lost or cannot be read, nothing counts as surplus.
    pub complete: bool,
    pub needed: Needed,
    /// Names and ids of the images of all desired apps, as their users wrote them.
    pub names: BTreeSet<String>,
    /// Images that running containers of ours hold.
    pub running: BTreeSet<ImageId>,
    /// Images of all containers, whosoever.
    pub used: BTreeSet<ImageId>,
    pub pins: BTreeMap<ContainerId, ImageId>,
}

impl Upkeep {
    pub(super) fn of(desired: &Desired, world: &World, needed: Needed, complete: bool) -> Self {
        let valid = desired.apps.values().filter_map(|app| match app {
            DesiredApp::Valid(app) => Some(app),
            DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. } => None,
        });
        let names = valid.flat_map(|app| app.containers()).map(|container| container.image.clone());
        let used = world.containers.values().filter_map(|container| container.image.clone());
        Self {
            complete,
            needed,
            names: names.collect(),
            running: running_images(world),
            used: used.collect(),
            pins: world.pins.clone(),
        }
    }
}
