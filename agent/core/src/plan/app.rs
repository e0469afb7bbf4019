//! One app's next steps: everything is fetched first, then checked, and only then is the old stopped for the new.

use skerry_terms::reasons;

use super::claims::{Claims, Conflict, RECHECK};
use super::create::create_spec;
use super::init::in_turn;
use super::judge::{missing, verdict};
use super::names::{Names, outdated};
use super::need::{Need, Wait, block_members_of_blocked_sandbox, need, projection_failure, refused};
use super::standing::{Sorted, Stale, Standing, Stood, container_name, earlier};
use super::stop::{Stopping, idle, kills, stops};
use super::switch::{Beside, beside};
use super::{Action, AppPlan, ProjectedVolume, Projection};
use crate::memory::Subject;
use crate::registry::credentials;
use crate::{
    ContainerId, ContainerState, Desired, Memory, Monotonic, ObservedContainer, ValidApp, Volume, World,
};

/// What one app's plan is made from.
#[derive(Clone, Copy)]
pub(super) struct AppView<'a> {
    pub desired: &'a Desired,
    pub app: &'a ValidApp,
    pub containers: &'a [(&'a ContainerId, &'a ObservedContainer)],
    pub sorted: &'a Sorted<'a>,
    pub world: &'a World,
    pub memory: &'a Memory,
    pub now: Monotonic,
    pub names: &'a Names<'a>,
}

/// A unit, what there is of it, and what it needs.
pub(super) struct Placed<'a> {
    pub stood: &'a Stood<'a>,
    pub need: Need<'a>,
}

/// What a round may do for an app, decided once for all its units.
pub(super) struct Round<'a> {
    pub units: Vec<Placed<'a>>,
    pub conflict: Option<Conflict>,
    /// The old containers serve on, because not everything of the new is at hand.
    pub hold: bool,
    pub beside: Beside,
    /// What is changed in containers that serve on.
    pub changes: Vec<Action>,
    /// What could not be changed in them, and when it is tried again.
    pub troubles: Vec<Wait>,
    /// Clean-up failed and waits until then.
    pub cleanup: Option<Wait>,
}

/// Actions and verdict for an app that is desired, and when to look again.
pub(super) fn plan_app(view: &AppView<'_>, claims: &Claims<'_>) -> (AppPlan, Option<Monotonic>) {
    if !view.app.missing.is_empty() {
        // What runs serves on, whatever spec it is of.
        return (AppPlan { actions: Vec::new(), verdict: missing(view) }, None);
    }
    let round = decide(view, claims);
    let actions = actions(view, &round);
    let verdict = verdict(view, &round, &actions);
    (AppPlan { actions, verdict }, wake(view, &round))
}

fn decide<'a>(view: &AppView<'a>, claims: &Claims<'_>) -> Round<'a> {
    let sorted = view.sorted;
    let mut needs: Vec<Need<'a>> = match sorted.is_over() {
        true => sorted.units.iter().map(|_| Need::Nothing).collect(),
        false => in_turn(sorted, |stood| need(view, stood)),
    };
    block_members_of_blocked_sandbox(&sorted.units, &mut needs);
    let units: Vec<_> = sorted.units.iter().zip(needs).map(|(stood, need)| Placed { stood, need }).collect();

    let busy = view.memory.executing(&view.app.key).is_some();
    // While a list is under way the last look is outdated: the port may be held by what the list has just started.
    let conflict = if busy { None } else { claims.conflict(view.app, view.containers, &units) };
    let incomplete = units.iter().any(|placed| match &placed.need {
        Need::Pull { .. } => true,
        // A container that keeps crashing must not keep the others from what they need.
        Need::Blocked(wait) => wait.reason != reasons::CRASH_LOOP_BACK_OFF,
        Need::Nothing
        | Need::Start { .. }
        | Need::Create { .. }
        | Need::Hook { .. }
        | Need::Kill(_)
        | Need::Waits(_) => false,
    });
    let cleanup = view
        .memory
        .failure(&view.app.key, Subject::Cleanup, None)
        .filter(|failure| failure.retry_at > view.now)
        .map(|failure| Wait {
            reason: failure.reason,
            message: failure.message.clone(),
            wake: Some(failure.retry_at),
        });
    let (changes, troubles) = changes(view);
    let hold = sorted.old_serves() && incomplete;
    Round { units, conflict, hold, beside: beside(view, sorted), changes, troubles, cleanup }
}

fn actions(view: &AppView<'_>, round: &Round<'_>) -> Vec<Action> {
    let mut actions: Vec<Action> =
        projection(view).map(|due| Action::Project(Box::new(due))).into_iter().collect();
    let mut endings = kills(view.app, &view.sorted.units);
    if let Some(conflict) = &round.conflict {
        if conflict.give_way && !round.hold {
            endings.extend(stops(view.sorted.stale.iter().map(|stale| stopping(view, stale))));
        }
        let changes = remaining(&round.changes, &endings);
        if round.cleanup.is_none() {
            actions.extend(endings);
        }
        actions.extend(changes);
        return actions;
    }
    let launching: Vec<_> =
        round.units.iter().filter(|placed| !round.hold && placed.need.launches()).collect();
    let disposable: Vec<_> = view.sorted.stale.iter().filter(|stale| is_disposable(round, stale)).collect();
    endings.extend(stops(disposable.iter().map(|stale| stopping(view, stale))));
    if view.sorted.is_over() {
        endings.extend(idle(view.app, &view.sorted.units));
    }
    if round.cleanup.is_some() && !endings.is_empty() {
        // What must go first cannot go yet.
        actions.extend(remaining(&round.changes, &endings));
        return actions;
    }
    let changes = remaining(&round.changes, &endings);

    for placed in &launching {
        if let Need::Create { restart_count, texts } = &placed.need {
            let spec = create_spec(view, &placed.stood.unit, *restart_count, (**texts).clone(), round);
            actions.push(Action::Create(Box::new(spec)));
        }
    }
    actions.extend(endings);
    for placed in round.units.iter().filter(|placed| !placed.need.launches() || !round.hold) {
        actions.extend(starts(view, placed));
    }
    actions.extend(changes);
    for placed in &round.units {
        if let Need::Pull { image, why } = placed.need {
            let (role, hash) = (placed.stood.unit.role.clone(), placed.stood.unit.hash.clone());
            let auths = credentials(&view.app.registry_auths, image).into_iter().cloned().collect();
            actions.push(Action::Pull { role, hash, image: image.to_owned(), auths, why });
        }
    }
    if round.cleanup.is_none() {
        let removable = disposable.iter().filter(|stale| stale.container.state != ContainerState::Removing);
        actions.extend(removable.map(|stale| Action::Remove { id: stale.id.clone(), why: stale.why }));
    }
    actions
}

/// The changes of what is not stopped in the same list.
fn remaining(changes: &[Action], endings: &[Action]) -> Vec<Action> {
    let ends = |id: &ContainerId| {
        endings.iter().any(|action| matches!(action, Action::Stop { ids, .. } if ids.contains(id)))
    };
    let stays = |action: &&Action| match action {
        Action::Update { id, .. } | Action::Names { id, .. } => !ends(id),
        Action::Pull { .. }
        | Action::Project(_)
        | Action::Create(_)
        | Action::Start { .. }
        | Action::PostStart { .. }
        | Action::Stop { .. }
        | Action::Remove { .. }
        | Action::Discard => true,
    };
    changes.iter().filter(stays).cloned().collect()
}

/// The start of a unit, with its hook; or the hook alone.
fn starts(view: &AppView<'_>, placed: &Placed<'_>) -> Vec<Action> {
    let unit = &placed.stood.unit;
    let (role, hash) = (unit.role.clone(), unit.hash.clone());
    let (name, runs) = match &placed.need {
        Need::Start { name } => ((*name).to_owned(), false),
        Need::Create { restart_count, texts: _ } => {
            (container_name(&view.desired.node, &view.app.key, unit, *restart_count), false)
        }
        Need::Hook { name } => ((*name).to_owned(), true),
        Need::Nothing | Need::Pull { .. } | Need::Kill(_) | Need::Waits(_) | Need::Blocked(_) => {
            return Vec::new();
        }
    };
    let hook = unit.container.and_then(|container| container.lifecycle.post_start.clone());
    let start = (!runs).then(|| Action::Start { role: role.clone(), hash: hash.clone(), name: name.clone() });
    let hook = hook.map(|hook| Action::PostStart { role, hash, name, hook });
    start.into_iter().chain(hook).collect()
}

/// A stale container may go when something took or takes its place, or when the spec has no such container any more. One whose successor
/// waits stays: a living one serves, a dead one has the logs and the restart count.
fn is_disposable(round: &Round<'_>, stale: &Stale<'_>) -> bool {
    if round.hold || round.beside.keeps(stale) {
        return false;
    }
    let role = stale.container.ownership().map(|owner| &owner.role);
    match round.units.iter().find(|placed| Some(&placed.stood.unit.role) == role) {
        None => true,
        Some(placed) => match placed.need {
            Need::Nothing
            | Need::Start { .. }
            | Need::Create { .. }
            | Need::Hook { .. }
            | Need::Kill(_)
            // What comes before it is launched: the old must not run beside that.
            | Need::Waits(_) => true,
            Need::Pull { .. } | Need::Blocked(_) => false,
        },
    }
}

fn stopping<'a>(view: &AppView<'_>, stale: &Stale<'a>) -> Stopping<'a> {
    let owner = stale.container.ownership();
    let current = view.sorted.units.iter().any(|stood| {
        stood.unit.container.is_some()
            && owner.is_some_and(|owner| {
                owner.role == stood.unit.role && owner.hash.as_ref() == Some(&stood.unit.hash)
            })
    });
    Stopping {
        id: stale.id,
        container: stale.container,
        why: stale.why,
        grace: current.then_some(view.app.grace),
    }
}

/// The files of the app's volumes, when they are not as they were written last.
fn projection(view: &AppView<'_>) -> Option<Projection> {
    let digest = view.app.files().filter(|digest| view.memory.projected(&view.app.key) != Some(*digest))?;
    if view.sorted.is_over() || projection_failure(view).is_some() {
        return None;
    }
    let volumes = view.app.volumes.iter().filter_map(|(name, volume)| match volume {
        Volume::Files { secret, files } => {
            Some(ProjectedVolume { name: name.clone(), secret: *secret, files: files.clone() })
        }
        Volume::EmptyDir | Volume::Memory { .. } | Volume::HostPath { .. } | Volume::Local { .. } => None,
    });
    Some(Projection {
        app: view.app.key.clone(),
        fs_group: view.app.fs_group,
        volumes: volumes.collect(),
        digest: digest.clone(),
    })
}

/// What is changed in containers that serve on: limits, and the names of other apps.
fn changes(view: &AppView<'_>) -> (Vec<Action>, Vec<Wait>) {
    let mut actions = Vec::new();
    let mut troubles: Vec<Wait> = projection_failure(view).into_iter().collect();
    let cores = view.world.cores;
    for stood in &view.sorted.units {
        let (Standing::Serving(found), Some(container)) = (&stood.standing, stood.unit.container) else {
            continue;
        };
        let resources = container.resources;
        // What a person paused is left alone.
        let runs = matches!(found.container.state, ContainerState::Running { .. });
        if !runs || found.container.resources.normal(cores) == resources.normal(cores) {
            continue;
        }
        let (role, hash) = (stood.unit.role.clone(), stood.unit.hash.clone());
        match refused(view, &stood.unit, Subject::Update(role.clone(), resources)) {
            Some(wait) => troubles.push(wait),
            None => actions.push(Action::Update { id: found.id.clone(), role, hash, resources }),
        }
    }
    for (id, names) in outdated(view.names, view.desired, view.memory, &view.app.key, view.containers) {
        let failure = view.memory.failure(&view.app.key, Subject::Names(id.clone()), None);
        match failure.filter(|failure| failure.retry_at > view.now) {
            Some(failure) => troubles.push(Wait {
                reason: failure.reason,
                message: format!("the names of other apps cannot be written: {}", failure.message),
                wake: Some(failure.retry_at),
            }),
            None => actions.push(Action::Names { id: id.clone(), names }),
        }
    }
    (actions, troubles)
}

/// The first moment at which something that waits may go on.
fn wake(view: &AppView<'_>, round: &Round<'_>) -> Option<Monotonic> {
    let needs = round.units.iter().filter_map(|placed| placed.need.wake());
    let troubles = round.troubles.iter().filter_map(|wait| wait.wake);
    let cleanup = round.cleanup.as_ref().and_then(|wait| wait.wake);
    let recheck = round.conflict.as_ref().is_some_and(|conflict| conflict.recheck);
    let drained = match round.beside {
        Beside::Drains(end) => Some(end),
        Beside::Off | Beside::Waits | Beside::Over => None,
    };
    let first = needs.chain(troubles).chain(cleanup).chain(drained).min();
    earlier(first, recheck.then(|| view.now.after(RECHECK)))
}
