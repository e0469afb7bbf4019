//! What the executor is told to do: one step each, complete.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::spec::{CreateSpec, Projection};
use crate::{ContainerId, Hook, RegistryAuth, Resources, Role, SpecHash, Step};

/// One step, complete: the executor needs to look nothing up and has nothing to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Pull {
        role: Role,
        hash: SpecHash,
        image: String,
        /// Credentials whose pattern matches the image, the best match first. Without any, the registry is asked without.
        auths: Vec<RegistryAuth>,
        why: Why,
    },
    /// Brings the files of the app's volumes on the box to what they shall be, each volume at once. Containers that mount them see
    /// the new files; nothing is restarted.
    Project(Box<Projection>),
    Create(Box<CreateSpec>),
    /// By name: the container may have been created by the action before.
    Start {
        role: Role,
        hash: SpecHash,
        name: String,
    },
    /// After the start of the container with this name.
    PostStart {
        role: Role,
        hash: SpecHash,
        name: String,
        hook: Hook,
    },
    /// Changes what Docker can change in a container that is there.
    Update {
        id: ContainerId,
        role: Role,
        hash: SpecHash,
        resources: Resources,
    },
    /// Makes these names resolve in a container that is there, and no others of ours: the whole list.
    Names {
        id: ContainerId,
        names: BTreeMap<String, IpAddr>,
    },
    /// All at once: the container's own preStop hook, SIGTERM, the grace period, SIGKILL.
    Stop {
        ids: Vec<ContainerId>,
        /// For hook and SIGTERM together. Absent: the one that the container was created with.
        grace: Option<Duration>,
        why: Why,
    },
    Remove {
        id: ContainerId,
        why: Why,
    },
    /// Removes what the box keeps for an app of which no container is left, except local volumes that are to be retained.
    Discard,
}

/// Why an action is taken; for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The image is not on the box.
    ImageAbsent,
    /// `imagePullPolicy: Always`.
    PullAlways,
    /// The spec changed.
    Replaced,
    /// A newer container of the same spec took its place.
    Superseded,
    /// The network that it lives in is gone.
    NetworkGone,
    /// The app is no longer desired on this node.
    NotDesired,
    /// Every container of the app has ended for good; its network is not needed any more.
    AllEnded,
    /// A liveness or startup probe failed.
    Unhealthy,
    /// The postStart hook failed.
    HookFailed,
}

impl Action {
    /// True if the action takes nothing away: neither a running container nor one that ended.
    pub fn only_adds(&self) -> bool {
        match self {
            Action::Pull { .. }
            | Action::Project(_)
            | Action::Create(_)
            | Action::Start { .. }
            | Action::PostStart { .. }
            | Action::Update { .. }
            | Action::Names { .. } => true,
            Action::Stop { .. } | Action::Remove { .. } | Action::Discard => false,
        }
    }

    /// The step that the executor announces and `Memory` records.
    pub fn step(&self) -> Step {
        match self {
            Action::Pull { role, hash, image, auths: _, why: _ } => {
                Step::Pull { role: role.clone(), hash: hash.clone(), image: image.clone() }
            }
            Action::Project(projection) => Step::Project { digest: projection.digest.clone() },
            Action::Create(spec) => Step::Create {
                role: spec.role.clone(),
                hash: spec.hash.clone(),
                name: spec.name.clone(),
                names: spec.names.clone(),
            },
            Action::Start { role, hash, name: _ } => Step::Start { role: role.clone(), hash: hash.clone() },
            Action::PostStart { role, hash, name, hook: _ } => {
                Step::PostStart { role: role.clone(), hash: hash.clone(), name: name.clone() }
            }
            Action::Update { id, role, hash, resources } => {
                Step::Update { id: id.clone(), role: role.clone(), hash: hash.clone(), resources: *resources }
            }
            Action::Names { id, names } => Step::Names { id: id.clone(), names: names.clone() },
            Action::Stop { .. } => Step::Stop,
            Action::Remove { .. } => Step::Remove,
            Action::Discard => Step::Discard,
        }
    }
}
