//! What only `docker inspect` tells about our own containers, and how long that stays true: until the list shows another state, or an
//! event names the container. So a box at rest is not asked.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use jiff::Timestamp;
use skerry_agent_core::{ContainerId, ContainerState, WallMillis};

use super::EngineError;

/// Docker's own grace period, for a container whose label we cannot have read.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// What the last inspection of a container said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Details {
    pub state: ContainerState,
    /// `host`, `bridge`, `container:ID`.
    pub network_mode: String,
    grace: Duration,
}

/// The details of our containers, by id.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    /// With the word for the state that the list had at that time.
    known: HashMap<String, (String, Details)>,
    /// Named by an event since the last look began.
    changed: HashSet<String>,
    all_changed: bool,
    /// Containers whose labels are garbled, so that each is warned about once.
    pub warned: HashSet<String>,
}

impl Inspected {
    /// An event named this container.
    pub fn forget(&mut self, id: &str) {
        self.changed.insert(id.to_owned());
    }

    /// Events may have been missed.
    pub fn forget_all(&mut self) {
        self.all_changed = true;
    }

    /// A look begins: what was marked until now is asked anew. A mark that comes while the look is under way is for the next one.
    pub fn begin(&mut self) {
        let changed = std::mem::take(&mut self.changed);
        if std::mem::take(&mut self.all_changed) {
            self.known.clear();
        }
        self.known.retain(|id, _| !changed.contains(id));
    }

    pub fn get(&self, id: &str, listed: &str) -> Option<Details> {
        self.known.get(id).filter(|(state, _)| state == listed).map(|(_, details)| details.clone())
    }

    /// A look ends: these are the containers that are ours.
    pub fn end(&mut self, known: HashMap<String, (String, Details)>, is_there: impl Fn(&str) -> bool) {
        self.warned.retain(|id| is_there(id));
        self.known = known;
    }

    /// The grace period that the container was created with.
    pub fn grace(&self, id: &ContainerId) -> Duration {
        self.known.get(&id.0).map_or(DEFAULT_GRACE, |(_, details)| details.grace)
    }
}

/// Reads what the planner needs from an inspection. Fails when Docker leaves out what must not be guessed.
pub(super) fn details(response: ContainerInspectResponse) -> Result<Details, EngineError> {
    let name = response.name.unwrap_or_default();
    let missing = |what: &str| EngineError::Refused {
        message: format!("docker does not say {what} of container {name}"),
    };
    let state = response.state.ok_or_else(|| missing("the state"))?;
    let status = state.status.ok_or_else(|| missing("the state"))?;
    let started_at = state.started_at.as_deref().and_then(time);
    let started = || started_at.ok_or_else(|| missing("the start time"));
    let state = match status {
        ContainerStateStatusEnum::CREATED => ContainerState::Created,
        ContainerStateStatusEnum::RUNNING
        | ContainerStateStatusEnum::RESTARTING
        | ContainerStateStatusEnum::STOPPING => ContainerState::Running { started_at: started()? },
        ContainerStateStatusEnum::PAUSED => ContainerState::Paused { started_at: started()? },
        // After a power cut Docker may not know when a run ended. It then counts as one that ended at once: a box that comes up must
        // not wait for an answer that never comes.
        ContainerStateStatusEnum::EXITED => ContainerState::Exited {
            exit_code: state.exit_code.ok_or_else(|| missing("the exit code"))?,
            oom_killed: state.oom_killed.unwrap_or(false),
            started_at: started_at.unwrap_or_default(),
            finished_at: state.finished_at.as_deref().and_then(time).or(started_at).unwrap_or_default(),
            error: state.error.unwrap_or_default(),
            message: String::new(),
        },
        ContainerStateStatusEnum::REMOVING => ContainerState::Removing,
        ContainerStateStatusEnum::DEAD => ContainerState::Dead,
        ContainerStateStatusEnum::EMPTY => return Err(missing("the state")),
    };
    let grace =
        response.config.and_then(|config| config.stop_timeout).and_then(|grace| u64::try_from(grace).ok());
    Ok(Details {
        state,
        network_mode: response.host_config.and_then(|host| host.network_mode).unwrap_or_default(),
        grace: grace.map_or(DEFAULT_GRACE, Duration::from_secs),
    })
}

/// Docker's RFC 3339; the year 1 stands for never.
fn time(text: &str) -> Option<WallMillis> {
    let time: Timestamp = text.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then(|| WallMillis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, state: &str) -> HashMap<String, (String, Details)> {
        let details = Details {
            state: ContainerState::Created,
            network_mode: String::new(),
            grace: Duration::from_secs(3),
        };
        HashMap::from([(id.to_owned(), (state.to_owned(), details))])
    }

    #[test]
    fn details_hold_until_the_list_or_an_event_says_otherwise() {
        let mut inspected = Inspected::default();
        inspected.begin();
        inspected.end(known("a", "running"), |_| true);
        inspected.begin();
        assert!(inspected.get("a", "running").is_some());
        assert!(inspected.get("a", "exited").is_none());
        inspected.forget("a");
        assert!(inspected.get("a", "running").is_some(), "a mark is for the next look");
        inspected.begin();
        assert!(inspected.get("a", "running").is_none());
    }

    #[test]
    fn an_event_during_a_look_makes_the_next_look_ask_again() {
        let mut inspected = Inspected::default();
        inspected.begin();
        inspected.forget("a");
        inspected.end(known("a", "running"), |_| true);
        inspected.begin();
        assert!(inspected.get("a", "running").is_none());
    }

    #[test]
    fn times_with_any_offset_are_read_and_never_is_none() {
        assert_eq!(time("1970-01-01T00:00:01.5Z"), Some(WallMillis(1500)));
        assert_eq!(time("1970-01-01T08:00:01.123456789+08:00"), Some(WallMillis(1123)));
        assert_eq!(time("0001-01-01T00:00:00Z"), None);
    }

    #[test]
    fn what_docker_leaves_out_is_not_guessed() {
        let running = |started_at: Option<&str>| ContainerInspectResponse {
            state: Some(bollard::models::ContainerState {
                status: Some(ContainerStateStatusEnum::RUNNING),
                started_at: started_at.map(str::to_owned),
                ..Default::default()
            }),
            ..Default::default()
        };
        assert!(details(running(None)).is_err());
        let details = details(running(Some("1970-01-01T00:00:01Z"))).expect("details");
        assert_eq!(details.state, ContainerState::Running { started_at: WallMillis(1000) });
        assert_eq!(details.grace, DEFAULT_GRACE);
    }

    #[test]
    fn a_run_whose_end_nobody_saw_ended_at_once() {
        let state = bollard::models::ContainerState {
            status: Some(ContainerStateStatusEnum::EXITED),
            exit_code: Some(255),
            started_at: Some("1970-01-01T00:00:01Z".to_owned()),
            finished_at: Some("0001-01-01T00:00:00Z".to_owned()),
            ..Default::default()
        };
        let response = ContainerInspectResponse { state: Some(state), ..Default::default() };
        let ContainerState::Exited { exit_code: 255, started_at, finished_at, .. } =
            details(response).expect("details").state
        else {
            panic!("not exited")
        };
        assert_eq!((started_at, finished_at), (WallMillis(1000), WallMillis(1000)));
    }
}
