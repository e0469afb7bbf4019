//! How far a revision has come, read from the planner's verdict of a round.

use skerry_terms::Phase;

use crate::{RestartPolicy, Role, UnitState, ValidApp, Verdict};

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
    let of_containers = verdict.containers.iter().flat_map(|unit| {
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
        && verdict.containers.iter().all(|unit| match unit.state {
            UnitState::Waiting => false,
            UnitState::Running { .. } => unit.ready,
            UnitState::Terminated { exit_code, .. } => exit_code == 0,
        })
}

/// A container has failed, and the app's restart policy asks for no other run.
pub(super) fn is_terminal(app: &ValidApp, verdict: &Verdict) -> bool {
    let failed =
        |state: UnitState| matches!(state, UnitState::Terminated { exit_code, .. } if exit_code != 0);
    app.restart_policy == RestartPolicy::Never
        && verdict.phase == Phase::Failed
        && verdict.containers.iter().any(|unit| failed(unit.state))
}
