//! One app's next steps: everything is fetched first, then checked, and only then is the old stopped for the new.

use skerry_terms::{AppKey, NodeName, Phase, reasons};

use super::ports::{Conflict, PortTable, RECHECK};
use super::unit::{Sorted, Standing, Unit, container_name, earlier, sort};
use super::verdict::{UnitState, UnitVerdict, Verdict, ending, unit_verdict};
use super::{Action, AppPlan, CreateSpec, Join, Why};
use crate::memory::Subject;
use crate::{
    ContainerId, ContainerState, Memory, Monotonic, Network, ObservedContainer, PullPolicy, Role, Step,
    ValidApp, World,
};

/// Longest host name that Linux takes.
const HOSTNAME_MAX: usize = 63;

/// What one app's plan is made from.
pub(super) struct AppView<'a> {
    pub node: &'a NodeName,
    pub app: &'a ValidApp,
    pub containers: &'a [(&'a ContainerId, &'a ObservedContainer)],
    pub world: &'a World,
    pub memory: &'a Memory,
    pub now: Monotonic,
}

/// What a unit needs now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Need<'a> {
    Nothing,
    Start {
        name: &'a str,
    },
    Create {
        restart_count: u32,
    },
    Pull {
        image: &'a str,
        why: Why,
    },
    /// It needs something and cannot have it now.
    Blocked(Blocker),
}

/// What a unit waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blocker {
    reason: &'static str,
    message: String,
    /// Absent when an event will tell.
    wake: Option<Monotonic>,
}

/// What a round may do for an app, decided once for all its units.
struct Round<'a> {
    units: Vec<(Unit<'a>, Standing<'a>, Need<'a>)>,
    stale: Vec<(&'a ContainerId, &'a ObservedContainer, Why)>,
    conflict: Option<Conflict>,
    /// The old containers serve on, because not everything of the new is at hand.
    hold: bool,
    /// Clean-up failed and waits until then.
    cleanup: Option<Blocker>,
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
    let Sorted { units, stale } = sort(view.app, view.containers);
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
    let conflict = if opens_ports { ports.conflict(view.app, view.containers) } else { None };
    let old_serves = stale.iter().any(|(_, container, _)| container.state.is_alive());
    let incomplete = units.iter().any(|(_, _, need)| matches!(need, Need::Pull { .. } | Need::Blocked(_)));
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

fn need<'a>(view: &AppView<'a>, unit: &Unit<'a>, standing: &Standing<'a>) -> Need<'a> {
    let (last, restart_count, name) = match standing {
        Standing::Serving { .. } | Standing::Ended { .. } => return Need::Nothing,
        Standing::Created { name, .. } => (None, 0, Some(*name)),
        Standing::Absent { restart_count, last } => (*last, *restart_count, None),
    };
    if let Some(blocker) = refused(view, unit, Subject::Launch(unit.role.clone())) {
        return Need::Blocked(blocker);
    }
    if let Some(name) = name {
        return Need::Start { name };
    }
    let crashed = last.is_some_and(|(_, state)| matches!(state, ContainerState::Exited { .. }));
    if let (true, Some(crash)) = (crashed, view.memory.crash(&view.app.key, unit))
        && crash.restart_at > view.now
    {
        let (_, words) = ending(crash.last.exit_code, crash.last.oom_killed);
        let delay = crate::CRASH_BACKOFF.delay(crash.count.saturating_sub(2)).as_secs();
        return Need::Blocked(Blocker {
            reason: reasons::CRASH_LOOP_BACK_OFF,
            message: format!(
                "container {} {words}; back-off {delay}s before restart {restart_count}",
                unit.role
            ),
            wake: Some(crash.restart_at),
        });
    }
    // A restart takes the image that is there: with the registry away, what ran must come up again.
    let restart = last.is_some();
    pull_need(view, unit, restart).unwrap_or(Need::Create { restart_count })
}

/// What has to be done about the unit's image before it can be created.
fn pull_need<'a>(view: &AppView<'a>, unit: &Unit<'a>, restart: bool) -> Option<Need<'a>> {
    let container = unit.container?;
    // An image that was not asked about counts as present: creating the container tells.
    let present = view.world.images.get(&container.image).copied().unwrap_or(true);
    let why = match (container.pull_policy, present) {
        (PullPolicy::Never, false) => {
            return Some(Need::Blocked(Blocker {
                reason: reasons::IMAGE_NEVER_PULL,
                message: format!(
                    "image {} is not on the node and imagePullPolicy is Never; load it with docker load",
                    container.image
                ),
                wake: None,
            }));
        }
        (PullPolicy::IfNotPresent | PullPolicy::Always, false) => Why::ImageAbsent,
        (PullPolicy::Always, true) if !restart && !view.memory.is_fresh(&view.app.key, unit) => {
            Why::PullAlways
        }
        (PullPolicy::Never | PullPolicy::IfNotPresent | PullPolicy::Always, true) => return None,
    };
    let refused = refused(view, unit, Subject::Pull(unit.role.clone()));
    Some(refused.map_or(Need::Pull { image: &container.image, why }, Need::Blocked))
}

/// What Docker refused for this unit and spec, while it is too early to ask again.
fn refused(view: &AppView<'_>, unit: &Unit<'_>, subject: Subject) -> Option<Blocker> {
    let failure = view.memory.failure(&view.app.key, subject, Some(&unit.hash))?;
    (failure.retry_at > view.now).then(|| Blocker {
        reason: failure.reason,
        message: format!("container {}: {}", unit.role, failure.message),
        wake: Some(failure.retry_at),
    })
}

/// Nothing joins a network that is not there.
fn block_members_of_blocked_sandbox(units: &mut [(Unit<'_>, Standing<'_>, Need<'_>)]) {
    let Some((unit, _, Need::Blocked(blocker))) = units.first() else {
        return;
    };
    if unit.role != Role::Sandbox {
        return;
    }
    let blocker = Blocker { wake: None, ..blocker.clone() };
    for (_, _, need) in &mut units[1..] {
        if matches!(need, Need::Start { .. } | Need::Create { .. }) {
            *need = Need::Blocked(blocker.clone());
        }
    }
}

fn actions(view: &AppView<'_>, round: &Round<'_>) -> Vec<Action> {
    if round.conflict.is_some() {
        return Vec::new();
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
            actions.push(Action::Pull { role: unit.role.clone(), hash: unit.hash.clone(), image, why: *why });
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
            Some(Action::Stop { ids: alive.iter().map(|(id, _, _)| (*id).clone()).collect(), why })
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
            Some(Action::Stop { ids: vec![(*id).clone()], why: Why::AllEnded })
        }
        Some(_) | None => None,
    }
}

fn create_spec(view: &AppView<'_>, unit: &Unit<'_>, restart_count: u32, round: &Round<'_>) -> CreateSpec {
    let app = view.app;
    let all_ports = || app.containers().iter().flat_map(|container| container.ports.clone()).collect();
    let own_ports = || unit.container.map(|container| container.ports.clone()).unwrap_or_default();
    let member = app.has_sandbox() && unit.role != Role::Sandbox;
    let (join, ports) = match (app.network, member) {
        (Network::Host, _) => (Join::Host, Vec::new()),
        (Network::Bridge, true) => (Join::Container { name: sandbox_name(view, round) }, Vec::new()),
        (Network::Bridge, false) if unit.role == Role::Sandbox => {
            (Join::Bridge { hostname: hostname(app.key.name()) }, all_ports())
        }
        (Network::Bridge, false) => (Join::Bridge { hostname: hostname(app.key.name()) }, own_ports()),
    };
    let container = unit.container;
    CreateSpec {
        name: container_name(view.node, &app.key, unit, restart_count),
        node: view.node.clone(),
        app: app.key.clone(),
        role: unit.role.clone(),
        revision: app.revision.clone(),
        hash: unit.hash.clone(),
        restart_count,
        image: container.map(|container| container.image.clone()),
        command: container.map(|container| container.command.clone()).unwrap_or_default(),
        args: container.map(|container| container.args.clone()).unwrap_or_default(),
        env: container.map(|container| container.env.clone()).unwrap_or_default(),
        ports,
        limits: container.map(|container| container.limits).unwrap_or_default(),
        join,
        // The sandbox has nothing to finish.
        grace_seconds: if container.is_some() { app.grace.as_secs() } else { 0 },
        labels: app.labels.clone(),
        annotations: app.annotations.clone(),
    }
}

/// The name of the sandbox that stands or is created in this round.
fn sandbox_name(view: &AppView<'_>, round: &Round<'_>) -> String {
    let Some((unit, standing, need)) = round.units.first() else {
        return String::new();
    };
    match (standing, need) {
        (Standing::Created { name, .. }, _) => (*name).to_owned(),
        (Standing::Serving { id, .. } | Standing::Ended { id, .. }, _) => id.0.clone(),
        (Standing::Absent { restart_count, .. }, _) => {
            container_name(view.node, &view.app.key, unit, *restart_count)
        }
    }
}

fn hostname(app: &str) -> String {
    let cut = app.get(..HOSTNAME_MAX).unwrap_or(app);
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The first moment at which something that waits may go on.
fn wake(round: &Round<'_>) -> Option<Monotonic> {
    let blocked = round.units.iter().filter_map(|(_, _, need)| match need {
        Need::Blocked(blocker) => blocker.wake,
        Need::Nothing | Need::Start { .. } | Need::Create { .. } | Need::Pull { .. } => None,
    });
    blocked.chain(round.cleanup.as_ref().and_then(|blocker| blocker.wake)).min()
}

fn verdict(view: &AppView<'_>, round: &Round<'_>, actions: &[Action]) -> Verdict {
    let containers: Vec<UnitVerdict> = round
        .units
        .iter()
        .filter(|(unit, _, _)| unit.role != Role::Sandbox)
        .map(|(unit, standing, need)| {
            let last = view.memory.crash(&view.app.key, unit).map(|crash| &crash.last);
            let mut verdict = unit_verdict(&unit.role, standing, last);
            if let Need::Blocked(blocker) = need {
                verdict.reason = blocker.reason;
                verdict.message.clone_from(&blocker.message);
            }
            verdict
        })
        .collect();
    let old_serves = round.stale.iter().any(|(_, container, _)| container.state.is_alive())
        && round.stale.iter().all(|(_, container, _)| container.state.is_alive());
    let ready = containers.iter().all(|container| container.ready) || old_serves;
    let (phase, reason, message) = phase(view, round, actions, &containers);
    Verdict { revision: view.app.revision.clone(), phase, ready, reason, message, containers }
}

fn phase(
    view: &AppView<'_>,
    round: &Round<'_>,
    actions: &[Action],
    containers: &[UnitVerdict],
) -> (Phase, &'static str, String) {
    let step = view.memory.executing(&view.app.key).cloned().or_else(|| actions.first().map(Action::step));
    match step {
        Some(Step::Pull { image, .. }) => {
            return (Phase::Pulling, reasons::PULLING_IMAGE, format!("pulling image {image}"));
        }
        Some(Step::Create { .. } | Step::Start { .. } | Step::Stop) => {
            return (Phase::Starting, reasons::CONTAINER_CREATING, "containers are being started".to_owned());
        }
        Some(Step::Remove) | None => {}
    }
    if let Some(conflict) = &round.conflict {
        let phase = if conflict.passing { Phase::Pending } else { Phase::Failed };
        return (phase, reasons::PORT_CONFLICT, conflict.message.clone());
    }
    let blocked = round.units.iter().find_map(|(_, _, need)| match need {
        Need::Blocked(blocker) => Some(blocker),
        Need::Nothing | Need::Start { .. } | Need::Create { .. } | Need::Pull { .. } => None,
    });
    if let Some(blocker) = blocked.or(round.cleanup.as_ref()) {
        return (Phase::Failed, blocker.reason, blocker.message.clone());
    }
    let ended = |container: &&UnitVerdict| matches!(container.state, UnitState::Terminated { .. });
    let failed = containers.iter().filter(ended).find(|container| container.reason != reasons::COMPLETED);
    let all_ended = containers.iter().all(|container| ended(&container));
    let words = |container: &UnitVerdict| format!("container {} {}", container.role, container.message);
    match (all_ended, failed) {
        (true, Some(container)) => (Phase::Failed, container.reason, words(container)),
        (true, None) => {
            (Phase::Succeeded, reasons::COMPLETED, "every container ended with exit code 0".to_owned())
        }
        (false, Some(container)) => (Phase::Running, container.reason, words(container)),
        (false, None) => match containers.iter().find(|container| container.reason == reasons::PAUSED) {
            Some(container) => (Phase::Running, reasons::PAUSED, words(container)),
            None => (Phase::Running, reasons::READY, String::new()),
        },
    }
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
