//! One app's next steps: everything is fetched first, then checked, and only then is the old stopped for the new.

use skerry_terms::{AppKey, NodeName, reasons};

use super::create::create_spec;
use super::judge::verdict;
use super::need::{Blocker, Need, block_members_of_blocked_sandbox, need};
use super::ports::{Conflict, PortTable, RECHECK};
use super::standing::{Sorted, Standing, container_name, earlier, sort};
use super::verdict::Verdict;
use super::{Action, AppPlan, Why};
use crate::memory::Subject;
use crate::unit::Unit;
use crate::{ContainerId, ContainerState, Memory, Monotonic, ObservedContainer, Role, ValidApp, World};

/// What one app's plan is made from.
pub(super) struct AppView<'a> {
    pub node: &'a NodeName,
    pub app: &'a ValidApp,
    pub containers: &'a [(&'a ContainerId, &'a ObservedContainer)],
    pub world: &'a World,
    pub memory: &'a Memory,
    pub now: Monotonic,
}

/// What a round may do for an app, decided once for all its units.
pub(super) struct Round<'a> {
    pub units: Vec<(Unit<'a>, Standing<'a>, Need<'a>)>,
    pub stale: Vec<(&'a ContainerId, &'a ObservedContainer, Why)>,
    pub conflict: Option<Conflict>,
    /// The old containers serve on, because not everything of the new is at hand.
    pub hold: bool,
    /// Clean-up failed and waits until then.
    pub cleanup: Option<Blocker>,
}

/// Actions and verdict for an app that is desired, and when to look again.
pub(super) fn plan_app(view: &AppView<'_>, ports: &PortTable<'_>) -> (AppPlan, Option<Monotonic>) {
    let round = decide(view, ports);
    let actions = actions(view, &round);
    let wake = wake(&round);
    let verdict = verdict(view, &round, &actions);
    let recheck = round.conflict.as_ref().is_some_and(|conflict| conflict.recheck);
    let wake = earlier(wake, recheck.then(|| view.now.after(RECHECK)));
    (AppPlan { actions, verdict }, wake)
}

fn decide<'a>(view: &AppView<'a>, ports: &PortTable<'_>) -> Round<'a> {
    let Sorted { units, stale } = sort(view.memory, view.app, view.containers);
    let members_ended = units
        .iter()
        .all(|(unit, standing)| unit.role == Role::Sandbox || matches!(standing, Standing::Ended { .. }));
    let mut units: Vec<_> = units
        .into_iter()
        .map(|(unit, standing)| {
            let need = if members_ended { Need::Nothing } else { need(view, &unit, &standing) };
            (unit, standing, need)
        })
        .collect();
    block_members_of_blocked_sandbox(&mut units);

    let publishes = |unit: &Unit<'_>| !view.app.has_sandbox() || unit.role == Role::Sandbox;
    let opens_ports = units.iter().any(|(unit, _, need)| {
        publishes(unit) && matches!(need, Need::Start { .. } | Need::Create { .. } | Need::Pull { .. })
    });
    let busy = view.memory.executing(&view.app.key).is_some();
    // While a list is under way the last look is outdated: the port may be held by what the list has just started.
    let conflict = if opens_ports && !busy { ports.conflict(view.app, view.containers) } else { None };
    // What lives in a network that is gone serves nobody: there is nothing to hold it for.
    let old_serves =
        stale.iter().any(|(_, container, why)| container.state.is_alive() && *why != Why::NetworkGone);
    let incomplete = units.iter().any(|(_, _, need)| match need {
        Need::Pull { .. } => true,
        // A container that keeps crashing must not keep the others from what they need.
        Need::Blocked(blocker) => blocker.reason != reasons::CRASH_LOOP_BACK_OFF,
        Need::Nothing | Need::Start { .. } | Need::Create { .. } => false,
    });
    let cleanup = view
        .memory
        .failure(&view.app.key, Subject::Cleanup, None)
        .filter(|failure| failure.retry_at > view.now)
        .map(|failure| Blocker {
            reason: failure.reason,
            message: failure.message.clone(),
            wake: Some(failure.retry_at),
        });
    Round { units, stale, conflict, hold: old_serves && incomplete, cleanup }
}

fn actions(view: &AppView<'_>, round: &Round<'_>) -> Vec<Action> {
    if let Some(conflict) = &round.conflict {
        let stale: Vec<_> = round.stale.iter().filter(|_| conflict.give_way && !round.hold).collect();
        return stops(&stale);
    }
    let launching: Vec<_> = if round.hold {
        Vec::new()
    } else {
        let launches = |need: &Need<'_>| matches!(need, Need::Start { .. } | Need::Create { .. });
        round.units.iter().filter(|(_, _, need)| launches(need)).collect()
    };
    let disposable: Vec<_> =
        round.stale.iter().filter(|(_, container, _)| is_disposable(round, container)).collect();
    let mut stops = stops(&disposable);
    stops.extend(stop_idle_sandbox(round));
    if round.cleanup.is_some() && !stops.is_empty() {
        // What must go first cannot go yet.
        return Vec::new();
    }

    let mut actions = Vec::new();
    for (unit, _, need) in &launching {
        if let Need::Create { restart_count } = need {
            actions.push(Action::Create(Box::new(create_spec(view, unit, *restart_count, round))));
        }
    }
    actions.extend(stops);
    for (unit, _, need) in &launching {
        let name = match need {
            Need::Start { name } => (*name).to_owned(),
            Need::Create { restart_count } => container_name(view.node, &view.app.key, unit, *restart_count),
            Need::Nothing | Need::Pull { .. } | Need::Blocked(_) => continue,
        };
        actions.push(Action::Start { role: unit.role.clone(), hash: unit.hash.clone(), name });
    }
    for (unit, _, need) in &round.units {
        if let Need::Pull { image, why } = need {
            let image = (*image).to_owned();
            let auths = view.app.registry_auths.clone();
            let (role, hash) = (unit.role.clone(), unit.hash.clone());
            actions.push(Action::Pull { role, hash, image, auths, why: *why });
        }
    }
    if round.cleanup.is_none() {
        let removable =
            disposable.iter().filter(|(_, container, _)| container.state != ContainerState::Removing);
        actions.extend(removable.map(|(id, _, why)| Action::Remove { id: (*id).clone(), why: *why }));
    }
    actions
}

/// A stale container may go when something took or takes its place, or when the spec has no such container any more. One whose successor
/// waits stays: a living one serves, a dead one has the logs and the restart count.
fn is_disposable(round: &Round<'_>, container: &ObservedContainer) -> bool {
    if round.hold {
        return false;
    }
    let role = container.ownership().map(|owner| &owner.role);
    match round.units.iter().find(|(unit, _, _)| Some(&unit.role) == role) {
        None => true,
        Some((_, _, need)) => match need {
            Need::Nothing | Need::Start { .. } | Need::Create { .. } => true,
            Need::Pull { .. } | Need::Blocked(_) => false,
        },
    }
}

/// Members first, all at once; then the network they live in.
fn stops(disposable: &[&(&ContainerId, &ObservedContainer, Why)]) -> Vec<Action> {
    let is_sandbox = |container: &ObservedContainer| {
        container.ownership().is_some_and(|owner| owner.role == Role::Sandbox)
    };
    [false, true]
        .into_iter()
        .filter_map(|sandbox| {
            let alive: Vec<_> = disposable
                .iter()
                .filter(|(_, container, _)| container.state.is_alive() && is_sandbox(container) == sandbox)
                .collect();
            let why = alive.first()?.2;
            Some(Action::Stop {
                ids: alive.iter().map(|(id, _, _)| (*id).clone()).collect(),
                grace: None,
                why,
            })
        })
        .collect()
}

/// When every container has ended for good, the ports are let go.
fn stop_idle_sandbox(round: &Round<'_>) -> Option<Action> {
    let members_ended = round
        .units
        .iter()
        .all(|(unit, standing, _)| unit.role == Role::Sandbox || matches!(standing, Standing::Ended { .. }));
    match round.units.first() {
        Some((unit, Standing::Serving { id, .. }, _)) if members_ended && unit.role == Role::Sandbox => {
            Some(Action::Stop { ids: vec![(*id).clone()], grace: None, why: Why::AllEnded })
        }
        Some(_) | None => None,
    }
}

/// The first moment at which something that waits may go on.
fn wake(round: &Round<'_>) -> Option<Monotonic> {
    let blocked = round.units.iter().filter_map(|(_, _, need)| match need {
        Need::Blocked(blocker) => blocker.wake,
        Need::Nothing | Need::Start { .. } | Need::Create { .. } | Need::Pull { .. } => None,
    });
    blocked.chain(round.cleanup.as_ref().and_then(|blocker| blocker.wake)).min()
}

/// Actions and verdict for an app that is no longer desired and has containers left.
pub(super) fn plan_removal(
    key: &AppKey,
    containers: &[(&ContainerId, &ObservedContainer)],
    memory: &Memory,
    now: Monotonic,
) -> (AppPlan, Option<Monotonic>) {
    let failure = memory.failure(key, Subject::Cleanup, None).filter(|failure| failure.retry_at > now);
    if let Some(failure) = failure {
        let verdict = Verdict::leaving(failure.reason, failure.message.clone());
        return (AppPlan { actions: Vec::new(), verdict }, Some(failure.retry_at));
    }
    let going: Vec<_> = containers.iter().map(|(id, container)| (*id, *container, Why::NotDesired)).collect();
    let mut actions = stops(&going.iter().collect::<Vec<_>>());
    let removable = going.iter().filter(|(_, container, _)| container.state != ContainerState::Removing);
    actions.extend(removable.map(|(id, _, why)| Action::Remove { id: (*id).clone(), why: *why }));
    let verdict = Verdict::leaving(reasons::TERMINATING, "containers are being stopped".to_owned());
    (AppPlan { actions, verdict }, None)
}
