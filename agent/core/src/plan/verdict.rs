//! Where an app stands, in the words that people and scripts read.

use skerry_terms::{Phase, reasons};

use super::probes::Health;
use super::standing::{Found, Standing, Stood};
use crate::memory::Crash;
use crate::{
    Container, ContainerId, ContainerState, DesiredApp, Kind, ObservedContainer, Role, Termination,
    WallMillis,
};

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
    pub kind: Kind,
    pub id: Option<ContainerId>,
    pub ready: bool,
    /// Its startup probe passed, or there is none and it runs; and its postStart hook succeeded.
    pub started: bool,
    pub restart_count: u32,
    pub state: UnitState,
    pub reason: &'static str,
    /// When it ended: its own last words, without values of Secrets in its environment; without any, why the agent ended it.
    pub message: String,
    /// It runs by the revision before, while its successor is not there.
    pub is_old: bool,
    /// How the run before this one ended. Absent when there was none that the agent knows of.
    pub last: Option<Ending>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub exit_code: i64,
    /// A stable word.
    pub reason: &'static str,
    /// The container's own last words; without any, why the agent ended it. Empty when there is neither.
    pub message: String,
    pub started_at: WallMillis,
    pub finished_at: WallMillis,
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

/// How a unit looks to people when nothing is in its way. `initialized`: its app's init containers have had their turn.
pub(super) fn unit_verdict(
    container: &Container,
    stood: &Stood<'_>,
    crash: Option<&Crash>,
    initialized: bool,
) -> UnitVerdict {
    let blank = UnitVerdict {
        role: stood.unit.role.clone(),
        kind: container.kind,
        id: None,
        ready: false,
        started: false,
        restart_count: 0,
        state: UnitState::Waiting,
        reason: reasons::CONTAINER_CREATING,
        message: String::new(),
        is_old: false,
        last: crash.map(last_ending),
    };
    match &stood.standing {
        Standing::Serving(found) => serving(blank, *found, &stood.health, crash),
        Standing::Ended(found) => ended(blank, stood, *found, crash),
        Standing::Created(found) => {
            UnitVerdict { id: Some(found.id.clone()), restart_count: found.owner.restart_count, ..blank }
        }
        Standing::Absent { .. } if initialized && container.kind == Kind::Init => UnitVerdict {
            ready: true,
            state: UnitState::Terminated { started_at: WallMillis::default(), exit_code: 0 },
            reason: reasons::COMPLETED,
            message: "ended before; its container was removed".to_owned(),
            ..blank
        },
        // The count of runs that ended: the container to come will be one further.
        Standing::Absent { restart_count, last: _ } => {
            UnitVerdict { restart_count: restart_count.saturating_sub(1), ..blank }
        }
    }
}

fn serving(blank: UnitVerdict, found: Found<'_>, health: &Health, crash: Option<&Crash>) -> UnitVerdict {
    let paused = matches!(found.container.state, ContainerState::Paused { .. });
    let (reason, message) = match (paused, &health.kill) {
        (true, _) => (reasons::PAUSED, "paused by docker pause; docker unpause resumes it".to_owned()),
        (false, Some(kill)) => (kill.reason, format!("is being killed: {}", kill.message)),
        (false, None) if !health.ready => {
            (if health.proven { reasons::NOT_READY } else { "" }, health.words.clone())
        }
        (false, None) => match crash.filter(|_| found.owner.restart_count > 0) {
            Some(Crash { kill: Some(kill), .. }) => {
                ("", format!("its last run was killed: {}", kill.message))
            }
            Some(Crash { last, kill: None, .. }) => {
                ("", format!("its last run {}", ending(last.exit_code, last.oom_killed).1))
            }
            None => ("", String::new()),
        },
    };
    UnitVerdict {
        id: Some(found.id.clone()),
        // An init container is ready when it has ended.
        ready: health.ready && blank.kind != Kind::Init,
        started: health.started,
        restart_count: found.owner.restart_count,
        state: UnitState::Running { started_at: found.container.state.started_at().unwrap_or_default() },
        reason,
        message,
        ..blank
    }
}

fn ended(blank: UnitVerdict, stood: &Stood<'_>, found: Found<'_>, crash: Option<&Crash>) -> UnitVerdict {
    let ContainerState::Exited { exit_code, oom_killed, started_at, message: ref last_words, .. } =
        found.container.state
    else {
        return blank;
    };
    let (reason, words) = match &stood.health.kill {
        Some(kill) => (kill.reason, format!("was killed: {}", kill.message)),
        None => (ending(exit_code, oom_killed).0, String::new()),
    };
    let message = if last_words.is_empty() { words } else { last_words.clone() };
    UnitVerdict {
        id: Some(found.id.clone()),
        ready: blank.kind == Kind::Init && !stood.has_failed(),
        restart_count: found.owner.restart_count,
        state: UnitState::Terminated { started_at, exit_code },
        reason,
        message,
        // What memory knows of last is this very run.
        last: crash.filter(|crash| crash.id != *found.id).map(last_ending),
        ..blank
    }
}

fn last_ending(crash: &Crash) -> Ending {
    let Termination { exit_code, oom_killed, started_at, finished_at, message } = &crash.last;
    let (reason, words) = match &crash.kill {
        Some(kill) => (kill.reason, kill.message.clone()),
        None => (ending(*exit_code, *oom_killed).0, String::new()),
    };
    let message = if message.is_empty() { words } else { message.clone() };
    Ending { exit_code: *exit_code, reason, message, started_at: *started_at, finished_at: *finished_at }
}
