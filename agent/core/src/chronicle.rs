//! From where apps stand to what happened: which difference between two reports is worth being told afterwards. What is on its way is
//! not; where it comes to rest is, and every run of a container that ended.

use std::collections::BTreeMap;

use skerry_terms::{AppKey, Phase, reasons};

use crate::outbox::{About, News};
use crate::{AppStatus, ContainerStatus, UnitState, WallMillis};

#[cfg(test)]
mod tests;

/// What is known to be told of each app.
#[derive(Debug, Default)]
pub struct Chronicle {
    apps: BTreeMap<AppKey, Told>,
}

#[derive(Debug, Default)]
struct Told {
    uid: String,
    /// Where it came to rest last. Absent until it did.
    rest: Option<Rest>,
    /// The run of each container whose end was told last, by when it began.
    ended: BTreeMap<String, WallMillis>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rest {
    phase: Phase,
    reason: String,
    revision: String,
}

impl Chronicle {
    /// Takes in a report of all apps, and says what is new. `uid` is that of an app's EdgeApp object.
    ///
    /// What an app looks like when it is seen for the first time is no news where it is well: an agent that was restarted has nothing
    /// to tell of apps to which nothing happened.
    pub fn follow(&mut self, statuses: &[AppStatus], uid: impl Fn(&AppKey) -> String) -> Vec<News> {
        let mut before = std::mem::take(&mut self.apps);
        let mut news = Vec::new();
        for status in statuses {
            let known = before.remove(&status.key);
            let is_known = known.is_some();
            // Docker was not there yet: this is not what the app looks like.
            if !is_known && status.phase == Phase::Unknown {
                continue;
            }
            let mut told = known.unwrap_or_default();
            told.uid = Some(uid(&status.key)).filter(|uid| !uid.is_empty()).unwrap_or(told.uid);
            for container in &status.containers {
                news.extend(ended(status, container, is_known, &mut told));
            }
            news.extend(rested(status, is_known, &mut told));
            self.apps.insert(status.key.clone(), told);
        }
        for (key, told) in before {
            news.push(News {
                about: About::App(key),
                uid: told.uid,
                revision: String::new(),
                phase: Some(Phase::Removed),
                reason: String::new(),
                message: "nothing of the app is left on the box".to_owned(),
                warning: false,
                exit_code: None,
                restart_count: 0,
            });
        }
        news
    }
}

/// Whether the app has come to rest somewhere else than where it was.
fn rested(status: &AppStatus, is_known: bool, told: &mut Told) -> Option<News> {
    let AppStatus { key, revision, phase, ready: _, reason, message, containers: _ } = status;
    // Nothing changes until somebody creates what is missing.
    let waits = *phase == Phase::Pending && reason == reasons::CREATE_CONFIG_ERROR;
    let at_rest = waits || !(phase.is_transient() || *phase == Phase::Unknown);
    if !at_rest {
        return None;
    }
    let bad = waits || matches!(phase, Phase::Failed | Phase::RolledBack);
    let warning = bad || reason == reasons::NOT_READY;
    let rest = Rest { phase: *phase, reason: reason.clone(), revision: revision.clone() };
    let same = told.rest.as_ref() == Some(&rest);
    told.rest = Some(rest);
    if same || (!is_known && !warning) {
        return None;
    }
    Some(News {
        about: About::App(key.clone()),
        uid: told.uid.clone(),
        revision: revision.clone(),
        phase: Some(*phase),
        reason: reason.clone(),
        message: message.clone(),
        warning,
        exit_code: None,
        restart_count: 0,
    })
}

/// Whether a run of a container has ended that was not yet told of. Which run it was, the time says at which it began; times are compared
/// for equality only.
fn ended(status: &AppStatus, container: &ContainerStatus, is_known: bool, told: &mut Told) -> Option<News> {
    let ContainerStatus { name, restart_count, state, reason, message, last, .. } = container;
    let (began, exit_code, reason, message) = match (state, last) {
        (UnitState::Terminated { started_at, exit_code }, _) if *started_at != WallMillis::default() => {
            (*started_at, *exit_code, reason.as_str(), message.as_str())
        }
        (_, Some(last)) => (last.started_at, last.exit_code, last.reason, last.message.as_str()),
        (UnitState::Terminated { .. } | UnitState::Waiting | UnitState::Running { .. }, None) => return None,
    };
    let same = told.ended.insert(name.clone(), began) == Some(began);
    // Of an app that is seen for the first time, only an end that is about to be followed by a restart belongs to now.
    let of_now = is_known || (status.phase.is_transient() && matches!(state, UnitState::Terminated { .. }));
    // What init containers and jobs do when all goes well, the app's own phase tells.
    let as_planned = exit_code == 0 && reason == reasons::COMPLETED && *restart_count == 0;
    if same || !of_now || as_planned {
        return None;
    }
    let words = match message {
        "" => format!("container {name} ended with exit code {exit_code}"),
        message => format!("container {name} ended with exit code {exit_code}: {message}"),
    };
    Some(News {
        about: About::Container(status.key.clone(), name.clone()),
        uid: told.uid.clone(),
        revision: status.revision.clone(),
        phase: None,
        reason: if reason.is_empty() { reasons::ERROR } else { reason }.to_owned(),
        message: words,
        warning: exit_code != 0 || reason != reasons::COMPLETED,
        exit_code: Some(exit_code),
        restart_count: *restart_count,
    })
}
