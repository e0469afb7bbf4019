//! The app's verdict of a round: phase, reason, words, readiness.

use skerry_terms::{Phase, reasons};

use super::Action;
use super::app::{AppView, Placed, Round};
use super::need::{Need, Wait};
use super::standing::{Stale, Stood};
use super::verdict::{Ending, UnitState, UnitVerdict, Verdict, ending, unit_verdict};
use crate::{Kind, Role, Step};

type Words = (Phase, &'static str, String);

pub(super) fn verdict(view: &AppView<'_>, round: &Round<'_>, actions: &[Action]) -> Verdict {
    let containers: Vec<UnitVerdict> = round
        .units
        .iter()
        .filter_map(|Placed { stood, need }| {
            let mut verdict = of_unit(view, stood)?;
            if let Need::Blocked(wait) | Need::Waits(wait) = need {
                verdict.reason = wait.reason;
                verdict.message.clone_from(&wait.message);
            }
            Some(verdict)
        })
        .collect();
    let (phase, reason, message) = phase(view, round, actions, &containers);
    finish(view, containers, (phase, reason, message))
}

/// A container of the revision before that serves while its successor is not there: it is what there is to see.
fn or_old(view: &AppView<'_>, unit: UnitVerdict) -> UnitVerdict {
    let UnitState::Waiting = unit.state else { return unit };
    let of_role = |stale: &&Stale<'_>| {
        stale.container.ownership().is_some_and(|owner| owner.role == unit.role)
            && stale.serves()
            && !view.memory.is_doomed(&view.app.key, stale.id)
    };
    let started_at = |stale: &Stale<'_>| stale.container.state.started_at().unwrap_or_default();
    let Some(old) = view.sorted.stale.iter().filter(of_role).max_by_key(|stale| started_at(stale)) else {
        return unit;
    };
    UnitVerdict {
        id: Some(old.id.clone()),
        ready: unit.kind != Kind::Init,
        started: true,
        restart_count: old.container.ownership().map_or(0, |owner| owner.restart_count),
        state: UnitState::Running { started_at: started_at(old) },
        reason: "",
        is_old: true,
        ..unit
    }
}

/// The verdict on an app whose config is not all there.
pub(super) fn missing(view: &AppView<'_>) -> Verdict {
    let containers = view.sorted.units.iter().filter_map(|stood| of_unit(view, stood)).collect();
    finish(view, containers, (Phase::Pending, reasons::CREATE_CONFIG_ERROR, view.app.missing.join("; ")))
}

fn of_unit(view: &AppView<'_>, stood: &Stood<'_>) -> Option<UnitVerdict> {
    let crash = view.memory.crash(&view.app.key, &stood.unit);
    Some(unit_verdict(stood.unit.container?, stood, crash, view.sorted.initialized))
}

fn finish(view: &AppView<'_>, containers: Vec<UnitVerdict>, (phase, reason, message): Words) -> Verdict {
    // An earlier run of what is wanted now says nothing about the old containers.
    let earlier_run = |stale: &Stale<'_>| {
        let owner = stale.container.ownership();
        let is_of =
            |stood: &Stood<'_>| owner.is_some_and(|owner| owner.hash.as_ref() == Some(&stood.unit.hash));
        !stale.container.state.is_alive() && view.sorted.units.iter().any(is_of)
    };
    let serves = |stale: &Stale<'_>| stale.serves() && !view.memory.is_doomed(&view.app.key, stale.id);
    let mut old = view.sorted.stale.iter().filter(|stale| !earlier_run(stale)).peekable();
    let old_serves = old.peek().is_some() && old.all(serves);
    let ready = containers.iter().all(|container| container.ready) || old_serves;
    // What a container says last, or a probe of it, may be what it was given.
    let secrets = view.app.secrets();
    let told = |unit: UnitVerdict| UnitVerdict {
        message: secrets.hide(&unit.message),
        last: unit.last.map(|last| Ending { message: secrets.hide(&last.message), ..last }),
        ..unit
    };
    let containers = containers.into_iter().map(|unit| told(or_old(view, unit))).collect();
    let message = secrets.hide(&message);
    Verdict { revision: view.app.revision.clone(), phase, ready, reason, message, containers }
}

fn phase(view: &AppView<'_>, round: &Round<'_>, actions: &[Action], containers: &[UnitVerdict]) -> Words {
    if view.sorted.is_over() {
        return over(round, containers);
    }
    if let Some(words) = killing(round) {
        return words;
    }
    let step = view.memory.executing(&view.app.key).cloned().or_else(|| actions.first().map(Action::step));
    let serving = containers.iter().all(|container| container.ready);
    if let Some(words) = step.and_then(|step| under_way(view, &step, serving)) {
        return words;
    }
    if let Some(conflict) = &round.conflict {
        let phase = if conflict.passing { Phase::Pending } else { Phase::Failed };
        return (phase, conflict.reason, conflict.message.clone());
    }
    let blocked = round.units.iter().find_map(|placed| match &placed.need {
        Need::Blocked(wait) => Some(wait),
        Need::Nothing
        | Need::Start { .. }
        | Need::Create { .. }
        | Need::Pull { .. }
        | Need::Hook { .. }
        | Need::Kill(_)
        | Need::Waits(_) => None,
    });
    if let Some(wait) = blocked.or(round.cleanup.as_ref()) {
        return (Phase::Failed, wait.reason, wait.message.clone());
    }
    let waits = round.units.iter().find_map(|placed| match &placed.need {
        Need::Waits(wait) => Some(wait),
        Need::Nothing
        | Need::Start { .. }
        | Need::Create { .. }
        | Need::Pull { .. }
        | Need::Hook { .. }
        | Need::Kill(_)
        | Need::Blocked(_) => None,
    });
    if let Some(Wait { reason, message, wake: _ }) = waits {
        return (Phase::Starting, reason, message.clone());
    }
    running(round, containers)
}

/// Something of the app runs, and the rest ended or is on its way.
fn running(round: &Round<'_>, containers: &[UnitVerdict]) -> Words {
    let lasting = || containers.iter().filter(|container| container.kind != Kind::Init);
    if let Some(failed) =
        lasting().find(|container| has_ended(container) && container.reason != reasons::COMPLETED)
    {
        return (Phase::Running, failed.reason, words(failed));
    }
    if let Some(paused) = lasting().find(|container| container.reason == reasons::PAUSED) {
        return (Phase::Running, reasons::PAUSED, words(paused));
    }
    if lasting().any(|container| container.state == UnitState::Waiting) {
        return starting();
    }
    let unready = || lasting().filter(|container| !has_ended(container) && !container.ready);
    if let Some(first) = unready().find(|container| container.reason != reasons::NOT_READY) {
        return (Phase::Probing, reasons::NOT_READY, words(first));
    }
    if let Some(unready) = unready().next() {
        return (Phase::Running, reasons::NOT_READY, words(unready));
    }
    match round.troubles.first() {
        Some(trouble) => (Phase::Running, trouble.reason, trouble.message.clone()),
        None => (Phase::Running, reasons::READY, String::new()),
    }
}

/// Nothing is left to do.
fn over(round: &Round<'_>, containers: &[UnitVerdict]) -> Words {
    if let Some(wait) = &round.cleanup {
        return (Phase::Failed, wait.reason, wait.message.clone());
    }
    let failed = |container: &&UnitVerdict| {
        container.kind != Kind::Sidecar && has_ended(container) && container.reason != reasons::COMPLETED
    };
    match containers.iter().find(failed) {
        Some(failed) => (Phase::Failed, failed.reason, words(failed)),
        None => (Phase::Succeeded, reasons::COMPLETED, "every container ended with exit code 0".to_owned()),
    }
}

/// What is not well is being ended.
fn killing(round: &Round<'_>) -> Option<Words> {
    round.units.iter().find_map(|placed| match &placed.need {
        Need::Kill(kill) => {
            let message = format!("container {} is being killed: {}", placed.stood.unit.role, kill.message);
            Some((Phase::Running, kill.reason, message))
        }
        Need::Nothing
        | Need::Start { .. }
        | Need::Create { .. }
        | Need::Pull { .. }
        | Need::Hook { .. }
        | Need::Waits(_)
        | Need::Blocked(_) => None,
    })
}

/// What the step that is or will be under way says of the app.
fn under_way(view: &AppView<'_>, step: &Step, serving: bool) -> Option<Words> {
    match step {
        Step::Pull { image, .. } => {
            Some((Phase::Pulling, reasons::PULLING_IMAGE, format!("pulling image {image}")))
        }
        Step::Create { role, .. } | Step::Start { role, .. } | Step::PostStart { role, .. } => {
            Some(launching(view, role))
        }
        Step::Stop | Step::Remove | Step::Discard if !serving => {
            Some((Phase::Pending, reasons::TERMINATING, "the containers before are being stopped".to_owned()))
        }
        Step::Stop
        | Step::Remove
        | Step::Discard
        | Step::Project { .. }
        | Step::Update { .. }
        | Step::Names { .. } => None,
    }
}

fn launching(view: &AppView<'_>, role: &Role) -> Words {
    let is_init = view.sorted.units.iter().any(|stood| stood.unit.role == *role && stood.unit.is(Kind::Init));
    match is_init {
        true => {
            (Phase::Starting, reasons::POD_INITIALIZING, format!("init container {role} is being started"))
        }
        false => starting(),
    }
}

fn starting() -> Words {
    (Phase::Starting, reasons::CONTAINER_CREATING, "containers are being started".to_owned())
}

fn has_ended(container: &UnitVerdict) -> bool {
    matches!(container.state, UnitState::Terminated { .. })
}

fn words(container: &UnitVerdict) -> String {
    let kind = match container.kind {
        Kind::Init => "init container",
        Kind::Sidecar | Kind::Main => "container",
    };
    let ended = match container.state {
        UnitState::Terminated { exit_code, .. } => {
            ending(exit_code, container.reason == reasons::OOM_KILLED).1
        }
        UnitState::Waiting | UnitState::Running { .. } => String::new(),
    };
    let parts = [ended.as_str(), container.message.trim()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{kind} {}: {}", container.role, parts.join(": "))
}
