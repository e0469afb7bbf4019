//! What Docker and the box say, as the planner needs it. Filled by the shell; absent answers are spelled out, never guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use skerry_terms::{AppKey, ContainerName};

use crate::{HostPort, Resources, SpecHash, WallMillis};

/// Docker's id of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub String);

impl fmt::Display for ContainerId {
    /// As `docker ps` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

/// Docker's id of an image: unlike a name, which can be moved to other bits, it means the same for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub String);

impl fmt::Display for ImageId {
    /// As `docker images` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.0.strip_prefix("sha256:").unwrap_or(&self.0);
        f.write_str(hex.get(..12).unwrap_or(hex))
    }
}

/// The last look at the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Docker did not answer, or not in full. Nothing may be stopped or removed on such a look (A6).
    Unknown {
        /// In words, for the node's condition.
        why: String,
    },
    Known(World),
}

/// Everything on the box that the planner looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct World {
    /// All containers, ours and foreign ones, in every state.
    pub containers: BTreeMap<ContainerId, ObservedContainer>,
    /// For each name or id that [`crate::images_to_inspect`] asked about: the image that it means on the box, none when it is not there. What
    /// is not in the map was not asked about.
    pub images: BTreeMap<String, Option<ImageId>>,
    /// Containers of ours that hold an image and are never started: see [`crate::housekeeping`]. They are not among `containers`.
    pub pins: BTreeMap<ContainerId, ImageId>,
    /// Apps with a container that Docker lists and cannot describe, and why. Nothing is done about them (A6); the others go on.
    pub unclear: BTreeMap<AppKey, String>,
    /// How many processors the box has, as Docker says. 0 when that is not known: then no limit counts as the whole box.
    pub cores: u64,
    /// Ports in state LISTEN (TCP) or bound (UDP) in the box's own network namespace.
    pub listeners: BTreeSet<Listener>,
    /// Apps for which the box keeps what [`crate::Action::Discard`] would remove: folders of volumes. One of which only local volumes that are
    /// to be retained are left is not among them.
    pub kept: BTreeSet<AppKey>,
}

/// A port that some process of the box holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listener(pub HostPort);

/// One container as Docker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedContainer {
    /// Without Docker's leading slash.
    pub name: String,
    pub owner: Owner,
    /// What it was created from. Absent when Docker does not say.
    pub image: Option<ImageId>,
    pub state: ContainerState,
    /// Ports of the node that are mapped to it. Docker lists them only while it runs.
    pub ports: Vec<PortClaim>,
    /// It lives in the box's own network: what it listens on is not in `ports`.
    pub host_network: bool,
    /// Name or id of the container whose namespaces it joined: of the network, else (a member of a sandbox in the box's own network) of IPC, else
    /// of processes. Docker tells them as `container:ID` in `NetworkMode`, `IpcMode` and `PidMode`.
    pub joined: Option<String>,
    /// Its address in Docker's network, while it runs and has a network of its own.
    pub ip: Option<IpAddr>,
    /// What it was given, as Docker says; for one of ours. Requests of memory are not told by Docker. What was set must come back so that
    /// [`Resources::normal`] makes both the same.
    pub resources: Resources,
    /// How much of which `skerry.dev/NAME` resource it was given, as its label says.
    pub devices: BTreeMap<String, u64>,
}

/// A port of the node that a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortClaim(pub HostPort);

/// Whose container it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// No labels of ours, or those of another node on the same Docker Engine. Never touched (A3).
    Foreign,
    Ours(Ownership),
}

/// What our labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    pub app: AppKey,
    pub role: Role,
    pub revision: String,
    /// Absent when the label is missing or not a hash of ours: then it matches no spec.
    pub hash: Option<SpecHash>,
    pub restart_count: u32,
    /// Containers of a lower rank are stopped before this one: 0 for init and main containers, then the sidecars, the last one first. What
    /// is stopped when its spec is gone is stopped in the right order, too.
    pub stop_rank: u32,
}

/// What a container is for within its app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Holds the network namespace that the others share.
    Sandbox,
    Container(ContainerName),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Role::Sandbox => f.write_str(skerry_terms::labels::SANDBOX),
            Role::Container(name) => name.fmt(f),
        }
    }
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Never started, or its last start failed.
    Created,
    Running {
        started_at: WallMillis,
    },
    /// Paused by a person: alive, and left alone.
    Paused {
        started_at: WallMillis,
    },
    Exited {
        exit_code: i64,
        oom_killed: bool,
        started_at: WallMillis,
        finished_at: WallMillis,
        /// Docker's own words, when it has some.
        error: String,
        /// The container's own last words. Empty when it left none.
        message: String,
    },
    /// Docker is removing it.
    Removing,
    /// Docker failed to remove it; only removal is possible.
    Dead,
}

impl ContainerState {
    /// It has processes.
    pub fn is_alive(&self) -> bool {
        match self {
            ContainerState::Running { .. } | ContainerState::Paused { .. } => true,
            ContainerState::Created
            | ContainerState::Exited { .. }
            | ContainerState::Removing
            | ContainerState::Dead => false,
        }
    }

    /// When it was last started.
    pub fn started_at(&self) -> Option<WallMillis> {
        match self {
            ContainerState::Running { started_at }
            | ContainerState::Paused { started_at }
            | ContainerState::Exited { started_at, .. } => Some(*started_at),
            ContainerState::Created | ContainerState::Removing | ContainerState::Dead => None,
        }
    }
}

impl ObservedContainer {
    /// Our labels, when it is ours.
    pub fn ownership(&self) -> Option<&Ownership> {
        match &self.owner {
            Owner::Ours(ownership) => Some(ownership),
            Owner::Foreign => None,
        }
    }
}
