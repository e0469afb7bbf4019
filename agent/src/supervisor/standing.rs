//! Where every app on the box stands, for whoever asks on the box itself.

use std::collections::BTreeMap;

use skerry_agent_core::{AppStatus, WallMillis};
use skerry_terms::{AppKey, Problems};

use super::Source;

/// One app, those that the controller does not know included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub status: AppStatus,
    pub source: Source,
    /// Since when it is so, by the box's clock.
    pub since: WallMillis,
}

/// All apps.
pub type Standings = BTreeMap<AppKey, Standing>;

/// How the box itself stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeStanding {
    pub docker_ready: bool,
    /// Of the Docker that answered last. Empty when none has.
    pub docker_version: String,
    /// Why Docker is not ready. Empty when it is.
    pub docker_message: String,
    /// What is wrong with the box.
    pub problems: Problems,
    /// How many things that happened wait to be told, and how many were lost for want of room.
    pub untold: usize,
    pub lost: u64,
    /// The controller is connected and has greeted.
    pub connected: bool,
    /// When that last changed. Absent when it never was connected.
    pub connected_changed: Option<WallMillis>,
}
