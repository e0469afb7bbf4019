//! The app's verdict of a round: phase, reason, words, readiness.

use skerry_terms::{Phase, reasons};

use super::app::{AppView, Round};
use super::need::Need;
use super::verdict::{UnitState, UnitVerdict, Verdict, unit_verdict};
use super::{Action, Why};
use crate::{ContainerId, ObservedContainer, Role, Step};

pub(super) fn verdict(view: &AppView<'_>, round: &Round<'_>, actions: &[Action]) -> Verdict {
    let containers: Vec<UnitVerdict> = round
        .units
        .iter()
        .filter(|(unit, _, _)| unit.role != Role::Sandbox)
        .map(|(unit, standing, need)| {
            let last = view.memory.crash(&view.app.key, unit).map(|crash| &crash.last);
            let mut verdict = unit_verdict(&unit.role, standing, last);
            verdict.ready &= verdict.id.as_ref().is_none_or(|id| !view.memory.is_doomed(&view.app.key, id));
            if let Need::Blocked(blocker) = need {
                verdict.reason = blocker.reason;
                verdict.message.clone_from(&blocker.message);
            }
            verdict
        })
        .collect();
    let serves = |id: &ContainerId, container: &ObservedContainer| {
        container.state.is_alive() && !view.memory.is_doomed(&view.app.key, id)
    };
    let old_serves = !round.stale.is_empty()
        && round.stale.iter().all(|(id, container, why)| serves(id, container) && *why != Why::NetworkGone);
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
    let starting =
        || (Phase::Starting, reasons::CONTAINER_CREATING, "containers are being started".to_owned());
    let serving = containers.iter().all(|container| container.ready);
    match step {
        Some(Step::Pull { image, .. }) => {
            return (Phase::Pulling, reasons::PULLING_IMAGE, format!("pulling image {image}"));
        }
        Some(Step::Create { .. } | Step::Start { .. } | Step::PostStart { .. }) => return starting(),
        Some(Step::Stop | Step::Remove | Step::Discard) if !serving => {
            return (
                Phase::Pending,
                reasons::TERMINATING,
                "the containers before are being stopped".to_owned(),
            );
        }
        Some(
            Step::Stop
            | Step::Remove
            | Step::Discard
            | Step::Project { .. }
            | Step::Update { .. }
            | Step::Names { .. },
        )
        | None => {}
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
            None if containers.iter().any(|container| container.state == UnitState::Waiting) => starting(),
            None => (Phase::Running, reasons::READY, String::new()),
        },
    }
}
