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

use skerry_terms::{AppKey, NodeName};

use crate::{
    Container, ContainerId, Desired, DesiredApp, HostPort, Limits, Memory, Monotonic, Observed,
    ObservedContainer, Port, Role, SpecHash, Step, World,
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
        why: Why,
    },
    Create(Box<CreateSpec>),
    /// By name: the container may have been created by the action before.
    Start {
        role: Role,
        hash: SpecHash,
        name: String,
    },
    /// All at once: SIGTERM, the container's own grace period, SIGKILL.
    Stop {
        ids: Vec<ContainerId>,
        why: Why,
    },
    Remove {
        id: ContainerId,
        why: Why,
    },
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
    pub env: Vec<crate::EnvVar>,
    /// Ports to expose, and those of the node that lead to them.
    pub ports: Vec<Port>,
    pub limits: Limits,
    pub join: Join,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Which network a container is created in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    Host,
    /// Docker's default bridge, with this host name.
    Bridge {
        hostname: String,
    },
    /// The network namespace of the container with this name.
    Container {
        name: String,
    },
}

impl Action {
    /// True if the action takes nothing away: neither a running container nor one that ended.
    pub fn only_adds(&self) -> bool {
        match self {
            Action::Pull { .. } | Action::Create(_) | Action::Start { .. } => true,
            Action::Stop { .. } | Action::Remove { .. } => false,
        }
    }

    /// The step that the executor announces and [`Memory`] records.
    pub fn step(&self) -> Step {
        match self {
            Action::Pull { role, hash, image, why: _ } => {
                Step::Pull { role: role.clone(), hash: hash.clone(), image: image.clone() }
            }
            Action::Create(spec) => Step::Create { role: spec.role.clone(), hash: spec.hash.clone() },
            Action::Start { role, hash, name: _ } => Step::Start { role: role.clone(), hash: hash.clone() },
            Action::Stop { .. } => Step::Stop,
            Action::Remove { .. } => Step::Remove,
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
                AppPlan { actions: Vec::new(), verdict: Verdict::unsupported(revision, why, &containers) },
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
