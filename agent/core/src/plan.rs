//! The planner: what to do next, as data. One round, not a schedule: each app gets a short list of complete actions, the shell executes
//! the lists side by side, looks again and asks again.
//!
//! Architecture Invariant: no clock, no IO, no log, and no failure. What cannot be done is a [`Verdict`], not an error.

mod action;
mod app;
mod claims;
mod create;
mod devices;
mod image;
mod init;
mod judge;
mod names;
mod need;
mod ports;
mod probes;
mod removal;
mod spec;
mod standing;
mod stop;
mod switch;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};

use skerry_terms::{AppKey, reasons};

use crate::unit::{Unit, units};
use crate::{
    Container, ContainerId, Desired, DesiredApp, HostPort, ImageId, Kind, Memory, Monotonic, Observed,
    ObservedContainer, World,
};

pub use action::{Action, Why};
use app::AppView;
use claims::Claims;
use names::Names;
pub use spec::{BoundMount, CreateSpec, Join, Namespace, NetworkOwner, ProjectedVolume, Projection};
use standing::{Sorted, sort};
pub(crate) use switch::is_complete;
pub use verdict::{Ending, UnitState, UnitVerdict, Verdict};

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

/// The containers of each app.
type Mine<'a> = BTreeMap<&'a AppKey, Vec<(&'a ContainerId, &'a ObservedContainer)>>;

fn plan_known(desired: &Desired, world: &World, memory: &Memory, now: Monotonic) -> Plan {
    let known = desired.apps.keys().chain(world.kept.iter().filter(|app| desired.leaves(app)));
    let mut mine: Mine<'_> = known.map(|key| (key, Vec::new())).collect();
    for (id, container) in &world.containers {
        if let Some(owner) = container.ownership() {
            mine.entry(&owner.app).or_default().push((id, container));
        }
    }
    let sorted: BTreeMap<&AppKey, Sorted<'_>> = desired
        .apps
        .iter()
        .filter_map(|(key, app)| match app {
            DesiredApp::Valid(app) => Some((key, sort(memory, app, &mine[key]))),
            DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. } => None,
        })
        .collect();
    let claims = Claims::of(desired, world, &mine, &sorted);
    let names = Names::of(desired, memory, &mine, &sorted);
    let mut plan = Plan::default();
    for (key, containers) in &mine {
        let (app_plan, wake) = match desired.apps.get(*key) {
            // Nobody said that it is to go.
            None if !desired.leaves(key) => continue,
            wanted if world.unclear.contains_key(*key) => {
                let verdict = Verdict::unclear(wanted, &world.unclear[*key]);
                (AppPlan { actions: Vec::new(), verdict }, Some(now.after(claims::RECHECK)))
            }
            Some(DesiredApp::Valid(app)) => {
                let sorted = &sorted[key];
                let view = AppView { desired, app, containers, sorted, world, memory, now, names: &names };
                app::plan_app(&view, &claims)
            }
            Some(DesiredApp::Unsupported { revision, why }) => (
                AppPlan {
                    actions: Vec::new(),
                    verdict: Verdict::unsupported(revision, reasons::UNSUPPORTED, why, containers),
                },
                None,
            ),
            Some(DesiredApp::Refused { revision, why }) => (
                AppPlan {
                    actions: Vec::new(),
                    verdict: Verdict::unsupported(revision, reasons::POLICY_REFUSED, why, containers),
                },
                None,
            ),
            None => removal::plan_removal(key, containers, world, memory, now),
        };
        let busy = memory.executing(key).is_some();
        let actions = if busy { Vec::new() } else { app_plan.actions };
        // A busy app wakes the loop by itself when its list ends.
        let wake = wake.filter(|_| !busy);
        plan.wake_at = [plan.wake_at, wake].into_iter().flatten().min();
        plan.apps.insert((*key).clone(), AppPlan { actions, verdict: app_plan.verdict });
    }
    plan
}

/// The images that the next plan will ask about, by name and where it matters by id: those of containers that do not run as desired. On a box at rest there are none, so that
/// looking costs nothing.
pub fn images_to_inspect(
    desired: &Desired,
    containers: &BTreeMap<ContainerId, ObservedContainer>,
) -> BTreeSet<String> {
    let mut images = BTreeSet::new();
    for (key, app) in &desired.apps {
        let DesiredApp::Valid(app) = app else { continue };
        let units = units(app);
        let runs = |unit: &Unit<'_>| {
            containers.values().any(|container| {
                container.state.is_alive()
                    && container.ownership().is_some_and(|owner| {
                        owner.app == *key
                            && owner.role == unit.role
                            && owner.hash.as_ref() == Some(&unit.hash)
                    })
            })
        };
        // Init containers have had their turn.
        let initialized = units.iter().any(|unit| unit.is(Kind::Main) && runs(unit));
        for unit in units.iter().filter(|unit| !(initialized && unit.is(Kind::Init))) {
            if let (false, Some(Container { name, image, .. })) = (runs(unit), unit.container) {
                images.insert(image.clone());
                let proven = desired.images.get(key).and_then(|proven| proven.get(name));
                images.extend(proven.map(|ImageId(id)| id.clone()));
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
