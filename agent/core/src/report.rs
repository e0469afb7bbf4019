//! What the controller is told: every app's verdict, in the form that the session sends.

use std::collections::BTreeSet;

use skerry_terms::{AppKey, Phase, reasons};

use crate::plan::{Ending, Plan, UnitState, Verdict};
use crate::{ContainerId, Kind, Observed};

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

/// Adds what cannot be said of a box that cannot be seen: that nothing is left of an app of the report `before` which nobody asks for any
/// more. It stays, unknown, until a look shows what became of it (A6).
pub fn carry_over<'a>(
    statuses: &mut Vec<AppStatus>,
    observed: &Observed,
    before: impl IntoIterator<Item = &'a AppStatus>,
) {
    let Observed::Unknown { why } = observed else { return };
    let planned: BTreeSet<AppKey> = statuses.iter().map(|status| status.key.clone()).collect();
    let unseen = before.into_iter().filter(|status| !planned.contains(&status.key));
    statuses.extend(unseen.map(|status| AppStatus {
        phase: Phase::Unknown,
        reason: reasons::DOCKER_UNAVAILABLE.to_owned(),
        message: why.clone(),
        ..AppStatus::removed(status.key.clone())
    }));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;

    #[test]
    fn an_app_that_leaves_is_not_gone_because_the_box_cannot_be_seen() {
        let key = |name: &str| AppKey::new("default", name).expect("a key");
        let of = |name: &str, phase| AppStatus { phase, ..AppStatus::removed(key(name)) };
        let before = [of("leaving", Phase::Pending), of("web", Phase::Running)];
        let unknown = Observed::Unknown { why: "docker does not answer".to_owned() };
        let mut blind = vec![of("web", Phase::Unknown)];
        carry_over(&mut blind, &unknown, &before);
        let phases: Vec<_> = blind.iter().map(|status| (status.key.name(), status.phase)).collect();
        assert_eq!(phases, [("web", Phase::Unknown), ("leaving", Phase::Unknown)]);
        assert_eq!(blind[1].message, "docker does not answer");

        let mut still = vec![of("web", Phase::Unknown)];
        carry_over(&mut still, &unknown, &blind);
        assert_eq!(still, blind, "for as long as it lasts");
        let mut seen = vec![of("web", Phase::Running)];
        carry_over(&mut seen, &Observed::Known(World::default()), &still);
        assert_eq!(seen, [of("web", Phase::Running)]);
    }
}
