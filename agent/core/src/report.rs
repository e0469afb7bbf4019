//! What the controller is told: every app's verdict, in the form that the session sends.

use skerry_terms::{AppKey, Phase};

use crate::plan::{Ending, Plan, UnitState, Verdict};
use crate::{ContainerId, Kind};

/// One app's status. Two that are equal say the same, so that nothing is sent twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppStatus {
    pub key: AppKey,
    /// Empty when the app is not desired any more.
    pub revision: String,
    pub phase: Phase,
    /// Every container of the app serves, be it of this revision or of the one before.
    pub ready: bool,
    /// A stable word.
    pub reason: String,
    pub message: String,
    pub containers: Vec<ContainerStatus>,
}

impl AppStatus {
    /// The last word on an app of which nothing is left.
    pub fn removed(key: AppKey) -> Self {
        Self {
            key,
            revision: String::new(),
            phase: Phase::Removed,
            ready: false,
            reason: String::new(),
            message: String::new(),
            containers: Vec::new(),
        }
    }
}

/// One container's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerStatus {
    pub name: String,
    pub kind: Kind,
    pub id: Option<ContainerId>,
    pub ready: bool,
    /// Its startup probe passed, or there is none and it runs; and its postStart hook succeeded.
    pub started: bool,
    pub restart_count: u32,
    pub state: UnitState,
    pub reason: String,
    pub message: String,
    /// How the run before this one ended. Absent when there was none that the agent knows of.
    pub last: Option<Ending>,
}

/// The status of every app in a plan.
pub fn report(plan: &Plan) -> Vec<AppStatus> {
    plan.apps.iter().map(|(key, app)| status(key, &app.verdict)).collect()
}

fn status(key: &AppKey, verdict: &Verdict) -> AppStatus {
    let Verdict { revision, phase, ready, reason, message, containers } = verdict;
    AppStatus {
        key: key.clone(),
        revision: revision.clone(),
        phase: *phase,
        ready: *ready,
        reason: (*reason).to_owned(),
        message: message.clone(),
        containers: containers
            .iter()
            .map(|unit| ContainerStatus {
                name: unit.role.to_string(),
                kind: unit.kind,
                id: unit.id.clone(),
                ready: unit.ready,
                started: unit.started,
                restart_count: unit.restart_count,
                state: unit.state,
                reason: unit.reason.to_owned(),
                message: unit.message.clone(),
                last: unit.last.clone(),
            })
            .collect(),
    }
}
