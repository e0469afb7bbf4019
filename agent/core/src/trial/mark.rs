//! How far a revision has come, read from the planner's verdict of a round.

use skerry_terms::{Phase, reasons};

use crate::unit::units;
use crate::{Memory, RestartPolicy, Role, UnitState, UnitVerdict, ValidApp, Verdict};

/// Something that a revision reaches once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// An image is being pulled; the message names it.
    Pulling(String),
    /// Everything is at hand, and containers are being created.
    Switching,
    Started(Role),
    Ready(Role),
}

/// What a verdict shows as reached.
pub(super) fn marks(verdict: &Verdict) -> Vec<Mark> {
    let at_large = match verdict.phase {
        Phase::Pulling => Some(Mark::Pulling(verdict.message.clone())),
        Phase::Starting => Some(Mark::Switching),
        Phase::Pending
        | Phase::Probing
        | Phase::Running
        | Phase::Succeeded
        | Phase::Failed
        | Phase::RolledBack
        | Phase::Unknown
        | Phase::Removed => None,
    };
    let new = verdict.containers.iter().filter(|unit| !unit.is_old);
    let of_containers = new.flat_map(|unit| {
        let started = match unit.state {
            UnitState::Waiting => None,
            UnitState::Running { .. } | UnitState::Terminated { .. } => {
                Some(Mark::Started(unit.role.clone()))
            }
        };
        started.into_iter().chain(unit.ready.then(|| Mark::Ready(unit.role.clone())))
    });
    at_large.into_iter().chain(of_containers).collect()
}

/// Every container of this very revision serves, or has done its work.
pub(super) fn is_ready(verdict: &Verdict) -> bool {
    verdict.phase == Phase::Running
        && verdict.reason == reasons::READY
        && verdict.containers.iter().all(|unit| match unit.state {
            UnitState::Waiting => false,
            UnitState::Running { .. } => unit.ready && !unit.is_old,
            UnitState::Terminated { exit_code, .. } => exit_code == 0,
        })
}

/// Every container that runs is ready by what its probes said since the agent started.
pub(super) fn is_proven(app: &ValidApp, verdict: &Verdict, memory: &Memory) -> bool {
    let units = units(app);
    let container = |role: &Role| units.iter().find(|unit| unit.role == *role)?.container;
    verdict.containers.iter().all(|unit| match (unit.state, &unit.id, container(&unit.role)) {
        (UnitState::Running { .. }, Some(id), Some(container)) => {
            memory.is_proven_ready(id, &container.probes)
        }
        (UnitState::Running { .. } | UnitState::Waiting | UnitState::Terminated { .. }, _, _) => true,
    })
}

/// A person holds the app still, or config that it refers to is not there: time says nothing about it.
pub(super) fn is_held(verdict: &Verdict) -> bool {
    verdict.reason == reasons::PAUSED
        || verdict.phase == Phase::Pending && verdict.reason == reasons::CREATE_CONFIG_ERROR
}

/// A container has failed, and the app's restart policy asks for no other run.
pub(super) fn is_terminal(app: &ValidApp, verdict: &Verdict) -> bool {
    // One that was killed because it was not well has failed, whatever its exit code says.
    let failed = |unit: &UnitVerdict| {
        matches!(unit.state, UnitState::Terminated { .. }) && unit.reason != reasons::COMPLETED
    };
    app.restart_policy == RestartPolicy::Never
        && verdict.phase == Phase::Failed
        && verdict.containers.iter().any(failed)
}
