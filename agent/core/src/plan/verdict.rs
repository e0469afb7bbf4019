//! Where an app stands, in the words that people and scripts read.

use skerry_terms::{Phase, reasons};

use super::standing::Standing;
use crate::{ContainerId, ContainerState, DesiredApp, ObservedContainer, Role, Termination, WallMillis};

/// Where an app stands on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The revision that the phase speaks of.
    pub revision: String,
    pub phase: Phase,
    /// Every container of the app serves, be it of this revision or of the one before.
    pub ready: bool,
    /// A stable word.
    pub reason: &'static str,
    /// The same in words; without any countdown, so that it changes only when something happened.
    pub message: String,
    /// In the order of the spec.
    pub containers: Vec<UnitVerdict>,
}

/// Where one container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitVerdict {
    pub role: Role,
    pub id: Option<ContainerId>,
    pub ready: bool,
    pub restart_count: u32,
    pub state: UnitState,
    pub reason: &'static str,
    pub message: String,
}

/// Kubernetes' three container states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    Waiting,
    Running { started_at: WallMillis },
    Terminated { started_at: WallMillis, exit_code: i64 },
}

impl Verdict {
    /// Docker cannot be asked.
    pub(super) fn unknown(app: &DesiredApp, why: &str) -> Self {
        let revision = match app {
            DesiredApp::Valid(app) => app.revision.clone(),
            DesiredApp::Unsupported { revision, why: _ } | DesiredApp::Refused { revision, why: _ } => {
                revision.clone()
            }
        };
        Self::plain(revision, Phase::Unknown, reasons::DOCKER_UNAVAILABLE, why.to_owned())
    }

    /// Docker cannot describe one of the app's containers.
    pub(super) fn unclear(app: Option<&DesiredApp>, why: &str) -> Self {
        match app {
            Some(app) => Self::unknown(app, why),
            None => Self::plain(String::new(), Phase::Unknown, reasons::DOCKER_UNAVAILABLE, why.to_owned()),
        }
    }

    /// This agent does not understand the app, or may not run it. Whatever runs of it goes on.
    pub(super) fn unsupported(
        revision: &str,
        reason: &'static str,
        why: &str,
        containers: &[(&ContainerId, &ObservedContainer)],
    ) -> Self {
        let ready = containers.iter().any(|(_, container)| container.state.is_alive());
        let verdict = Self::plain(revision.to_owned(), Phase::Failed, reason, why.to_owned());
        Self { ready, ..verdict }
    }

    /// An app that is no longer desired and has containers left.
    pub(super) fn leaving(reason: &'static str, message: String) -> Self {
        Self::plain(String::new(), Phase::Pending, reason, message)
    }

    fn plain(revision: String, phase: Phase, reason: &'static str, message: String) -> Self {
        Self { revision, phase, ready: false, reason, message, containers: Vec::new() }
    }
}

/// The reason and the words for how a run ended.
pub(super) fn ending(exit_code: i64, oom_killed: bool) -> (&'static str, String) {
    if oom_killed {
        (reasons::OOM_KILLED, "killed because it used more memory than its limit".to_owned())
    } else if exit_code == 0 {
        (reasons::COMPLETED, "ended with exit code 0".to_owned())
    } else {
        (reasons::ERROR, format!("ended with exit code {exit_code}"))
    }
}

/// How a unit looks to people when nothing is in its way.
pub(super) fn unit_verdict(role: &Role, standing: &Standing<'_>, last: Option<&Termination>) -> UnitVerdict {
    let waiting = |id: Option<&ContainerId>, restart_count| UnitVerdict {
        role: role.clone(),
        id: id.cloned(),
        ready: false,
        restart_count,
        state: UnitState::Waiting,
        reason: reasons::CONTAINER_CREATING,
        message: String::new(),
    };
    match standing {
        Standing::Serving { id, owner, state } => {
            let started_at = state.started_at().unwrap_or_default();
            let paused = matches!(state, ContainerState::Paused { .. });
            UnitVerdict {
                role: role.clone(),
                id: Some((*id).clone()),
                ready: !paused,
                restart_count: owner.restart_count,
                state: UnitState::Running { started_at },
                reason: if paused { reasons::PAUSED } else { "" },
                message: match (paused, last) {
                    (true, _) => "paused by docker pause; docker unpause resumes it".to_owned(),
                    (false, Some(last)) if owner.restart_count > 0 => {
                        format!("its last run {}", ending(last.exit_code, last.oom_killed).1)
                    }
                    (false, _) => String::new(),
                },
            }
        }
        Standing::Ended { id, owner, state } => {
            let ContainerState::Exited { exit_code, oom_killed, started_at, .. } = state else {
                return waiting(Some(id), owner.restart_count);
            };
            let (reason, message) = ending(*exit_code, *oom_killed);
            UnitVerdict {
                role: role.clone(),
                id: Some((*id).clone()),
                ready: false,
                restart_count: owner.restart_count,
                state: UnitState::Terminated { started_at: *started_at, exit_code: *exit_code },
                reason,
                message,
            }
        }
        Standing::Created { id, owner, name: _ } => waiting(Some(id), owner.restart_count),
        // The count of runs that ended: the container to come will be one further.
        Standing::Absent { restart_count, last: _ } => waiting(None, restart_count.saturating_sub(1)),
    }
}
