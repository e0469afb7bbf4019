//! The planner: what to do next, as data. One round, not a schedule: each app gets a short list of complete actions, the shell executes
//! the lists side by side, looks again and asks again.
//!
//! Architecture Invariant: no clock, no IO, no log, and no failure. What cannot be done is a [`Verdict`], not an error.

mod app;
mod create;
mod judge;
mod need;
mod ports;
mod standing;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use skerry_terms::{AppKey, NodeName, reasons};

use crate::{
    Container, ContainerId, Desired, DesiredApp, Device, Dns, File, Hook, HostPort, Memory, Monotonic,
    Observed, ObservedContainer, Port, Qos, RegistryAuth, Resources, Role, Security, Sensitive, SpecHash,
    Step, TerminationMessage, Volume, World,
};

use crate::unit::units;
use app::AppView;
pub use verdict::{UnitState, UnitVerdict, Verdict};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// For every app that is desired or has containers: what to do, and where it stands.
    pub apps: BTreeMap<AppKey, AppPlan>,
    /// When to plan again even if nothing happens. Always in the future; absent when nothing waits for a moment in time (A9).
    pub wake_at: Option<Monotonic>,
}

/// What to do for one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPlan {
    /// In this order; the first that fails ends the list.
    pub actions: Vec<Action>,
    pub verdict: Verdict,
}

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

/// The files of an app's volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    pub app: AppKey,
    /// The group that owns the files.
    pub fs_group: Option<u32>,
    pub volumes: Vec<ProjectedVolume>,
    /// Fingerprint of all of it: what [`Memory`] remembers as written.
    pub digest: SpecHash,
}

/// One volume of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectedVolume {
    pub name: String,
    /// The files must not reach a disk.
    pub secret: bool,
    pub files: Vec<File>,
}

/// Everything that Docker must be told to create one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSpec {
    /// The container's name, unique on the Docker Engine.
    pub name: String,
    pub node: NodeName,
    pub app: AppKey,
    pub role: Role,
    pub revision: String,
    pub hash: SpecHash,
    pub restart_count: u32,
    /// Absent for a sandbox: it runs the agent's own.
    pub image: Option<String>,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    /// Expanded, in the order in which they are set. Values may be secret.
    pub env: Vec<(String, Sensitive)>,
    /// Ports to expose, and those of the node that lead to them.
    pub ports: Vec<Port>,
    pub resources: Resources,
    /// The class of the whole app: which of the box's processes the kernel ends first.
    pub qos: Qos,
    /// What the `skerry.dev/NAME` resources that it has stand for; by NAME, with how much of it it has.
    pub devices: BTreeMap<String, (u64, Device)>,
    /// Volumes that the container mounts, in the order of the spec. For a sandbox those that it must hold.
    pub mounts: Vec<BoundMount>,
    /// Groups of every process, beside its own.
    pub groups: Vec<u32>,
    /// The group that owns the volumes.
    pub fs_group: Option<u32>,
    pub security: Security,
    pub termination_message: Option<TerminationMessage>,
    pub stdin: bool,
    pub tty: bool,
    pub pre_stop: Option<Hook>,
    pub join: Join,
    pub pid: Namespace,
    pub ipc: Namespace,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// A volume, and where the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundMount {
    /// Name of the volume within the app.
    pub name: String,
    pub volume: Volume,
    pub path: String,
    pub read_only: bool,
    /// Expanded; empty for all of the volume.
    pub sub_path: String,
}

/// Whose namespace a container lives in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Namespace {
    /// Its own.
    #[default]
    Private,
    /// Its own, and others may join it.
    Shareable,
    Host,
    /// That of the container with this name.
    Container {
        name: String,
    },
}

/// What only the container that owns the network has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkOwner {
    pub hostname: String,
    pub dns: Dns,
    /// Lines of /etc/hosts: the spec's host aliases.
    pub hosts: Vec<(String, IpAddr)>,
    /// Names of other apps as they are at the time of creation. [`Action::Names`] replaces them later.
    pub names: BTreeMap<String, IpAddr>,
    pub sysctls: BTreeMap<String, String>,
}

/// Which network a container is created in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    /// The box's own.
    Host(NetworkOwner),
    /// Docker's default bridge.
    Bridge(NetworkOwner),
    /// The network namespace of the container with this name.
    Container { name: String },
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

    /// The step that the executor announces and [`Memory`] records.
    pub fn step(&self) -> Step {
        match self {
            Action::Pull { role, hash, image, auths: _, why: _ } => {
                Step::Pull { role: role.clone(), hash: hash.clone(), image: image.clone() }
            }
            Action::Project(projection) => Step::Project { digest: projection.digest.clone() },
            Action::Create(spec) => Step::Create { role: spec.role.clone(), hash: spec.hash.clone() },
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

/// What to do next so that the box becomes what is desired. Apps that the executor is busy with get no actions.
pub fn plan(desired: &Desired, observed: &Observed, memory: &Memory, now: Monotonic) -> Plan {
    match observed {
        Observed::Known(world) => plan_known(desired, world, memory, now),
        // A6: what cannot be seen is left alone.
        Observed::Unknown { why } => Plan {
            apps: desired
                .apps
                .iter()
                .map(|(key, app)| {
                    (key.clone(), AppPlan { actions: Vec::new(), verdict: Verdict::unknown(app, why) })
                })
                .collect(),
            wake_at: None,
        },
    }
}

fn plan_known(desired: &Desired, world: &World, memory: &Memory, now: Monotonic) -> Plan {
    let mut mine: BTreeMap<&AppKey, Vec<(&ContainerId, &ObservedContainer)>> =
        desired.apps.keys().map(|key| (key, Vec::new())).collect();
    for (id, container) in &world.containers {
        if let Some(owner) = container.ownership() {
            mine.entry(&owner.app).or_default().push((id, container));
        }
    }
    let ports = ports::PortTable::of(desired, world, memory, &mine);
    let mut plan = Plan::default();
    for (key, containers) in mine {
        let (app_plan, wake) = match desired.apps.get(key) {
            wanted if world.unclear.contains_key(key) => {
                let verdict = Verdict::unclear(wanted, &world.unclear[key]);
                (AppPlan { actions: Vec::new(), verdict }, Some(now.after(ports::RECHECK)))
            }
            Some(DesiredApp::Valid(app)) => {
                let view = AppView { node: &desired.node, app, containers: &containers, world, memory, now };
                app::plan_app(&view, &ports)
            }
            Some(DesiredApp::Unsupported { revision, why }) => (
                AppPlan {
                    actions: Vec::new(),
                    verdict: Verdict::unsupported(revision, reasons::UNSUPPORTED, why, &containers),
                },
                None,
            ),
            Some(DesiredApp::Refused { revision, why }) => (
                AppPlan {
                    actions: Vec::new(),
                    verdict: Verdict::unsupported(revision, reasons::POLICY_REFUSED, why, &containers),
                },
                None,
            ),
            None => app::plan_removal(key, &containers, memory, now),
        };
        let busy = memory.executing(key).is_some();
        let actions = if busy { Vec::new() } else { app_plan.actions };
        // A busy app wakes the loop by itself when its list ends.
        let wake = wake.filter(|_| !busy);
        plan.wake_at = [plan.wake_at, wake].into_iter().flatten().min();
        plan.apps.insert(key.clone(), AppPlan { actions, verdict: app_plan.verdict });
    }
    plan
}

/// The images that the next plan will ask about: those of containers that do not run as desired. On a box at rest there are none, so that
/// looking costs nothing.
pub fn images_to_inspect(
    desired: &Desired,
    containers: &BTreeMap<ContainerId, ObservedContainer>,
) -> BTreeSet<String> {
    let mut images = BTreeSet::new();
    for (key, app) in &desired.apps {
        let DesiredApp::Valid(app) = app else { continue };
        for unit in units(app) {
            let runs = containers.values().any(|container| {
                container.state.is_alive()
                    && container.ownership().is_some_and(|owner| {
                        owner.app == *key
                            && owner.role == unit.role
                            && owner.hash.as_ref() == Some(&unit.hash)
                    })
            });
            if let (false, Some(Container { image, .. })) = (runs, unit.container) {
                images.insert(image.clone());
            }
        }
    }
    images
}

/// A port for people: `8080/TCP`, with the address where there is one.
fn port_text(port: &HostPort) -> String {
    match port.ip {
        Some(ip) => format!("{}/{} on {ip}", port.port, port.protocol),
        None => format!("{}/{}", port.port, port.protocol),
    }
}
