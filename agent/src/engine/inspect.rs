//! What only `docker inspect` tells about our own containers, and how long that stays true: until the list shows another state, or an
//! event names the container. So a box at rest is not asked.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use jiff::Timestamp;
use skerry_agent_core::{ContainerId, ContainerState, Resources, WallMillis};
use skerry_terms::labels;

use super::EngineError;
use super::create::{FALLBACK_TO_LOGS, Limits, from_label};

/// What the last inspection of a container said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Details {
    pub state: ContainerState,
    /// It lives in the box's own network.
    pub host_network: bool,
    /// The container whose namespaces it joined, by any of them.
    pub joined: Option<String>,
    pub limits: Limits,
    /// What was asked for when it was created.
    pub asked: Resources,
    /// The file in which it leaves its last words.
    pub message: Option<PathBuf>,
    /// The end of its log stands in for an empty file, when it failed.
    pub falls_back_to_log: bool,
}

/// The details of our containers, by id.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    /// With the word for the state that the list had at that time.
    known: HashMap<String, (String, Details)>,
    /// Named by an event since the last look began.
    changed: HashSet<String>,
    all_changed: bool,
    /// What was last asked for of containers that were changed in place. Forgotten when the agent ends: then it asks once more.
    asked: HashMap<String, Resources>,
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
        self.asked.retain(|id, _| known.contains_key(id));
        self.known = known;
    }

    /// A container was changed in place.
    pub fn asked(&mut self, id: &ContainerId, resources: Resources) {
        self.asked.insert(id.0.clone(), resources);
        self.forget(&id.0);
    }

    /// What a container has, in the words in which it was asked for, as long as Docker's figures agree.
    pub fn resources(&self, id: &ContainerId, details: &Details, cores: u64) -> Resources {
        let asked = self.asked.get(&id.0).into_iter().chain([&details.asked]);
        let agreed = asked.copied().find(|asked| details.limits.are(asked, cores));
        agreed.unwrap_or_else(|| details.limits.to_resources())
    }

    /// The file for a container's last words, as far as the container was looked at.
    pub fn message(&self, id: &ContainerId) -> Option<PathBuf> {
        self.known.get(&id.0).and_then(|(_, details)| details.message.clone())
    }
}

/// Reads what the planner needs from an inspection. Fails when Docker leaves out what must not be guessed. `is_message` knows the files that the
/// agent gives containers for their last words.
pub(super) fn details(
    response: ContainerInspectResponse,
    cores: u64,
    is_message: impl Fn(&Path) -> bool,
) -> Result<Details, EngineError> {
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
    let labels = response.config.and_then(|config| config.labels).unwrap_or_default();
    let label = |key: &str| labels.get(key).map(String::as_str);
    let host = response.host_config.unwrap_or_default();
    let sources = response.mounts.into_iter().flatten().filter_map(|mount| mount.source).map(PathBuf::from);
    Ok(Details {
        state,
        limits: Limits::of(&host, cores),
        asked: from_label(label(labels::RESOURCES)),
        message: sources.into_iter().find(|source| is_message(source)),
        falls_back_to_log: label(labels::TERMINATION_MESSAGE_POLICY) == Some(FALLBACK_TO_LOGS),
        joined: joined([&host.network_mode, &host.ipc_mode, &host.pid_mode]),
        host_network: host.network_mode.as_deref() == Some("host"),
    })
}

/// The container in the first of these modes that names one.
fn joined(modes: [&Option<String>; 3]) -> Option<String> {
    modes.into_iter().flatten().find_map(|mode| mode.strip_prefix("container:").map(str::to_owned))
}

/// Docker's RFC 3339; the year 1 stands for never.
fn time(text: &str) -> Option<WallMillis> {
    let time: Timestamp = text.parse().ok()?;
    (time > Timestamp::UNIX_EPOCH).then(|| WallMillis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, HostConfig, MountPoint};

    use super::super::create::limits;
    use super::*;

    fn read(response: ContainerInspectResponse) -> Result<Details, EngineError> {
        details(response, 2, |path| path.starts_with("/state"))
    }

    fn known(id: &str, state: &str) -> HashMap<String, (String, Details)> {
        let details = Details {
            state: ContainerState::Created,
            joined: None,
            host_network: false,
            limits: limits(&Resources::default(), 2),
            asked: Resources::default(),
            message: None,
            falls_back_to_log: false,
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
        assert!(read(running(None)).is_err());
        let details = read(running(Some("1970-01-01T00:00:01Z"))).expect("details");
        assert_eq!(details.state, ContainerState::Running { started_at: WallMillis(1000) });
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
            read(response).expect("details").state
        else {
            panic!("not exited")
        };
        assert_eq!((started_at, finished_at), (WallMillis(1000), WallMillis(1000)));
    }

    #[test]
    fn what_was_asked_for_is_told_while_docker_agrees() {
        let number = std::num::NonZeroU64::new;
        // Docker's least is ten times as much.
        let asked = Resources {
            cpu_limit_millis: number(1),
            memory_request_bytes: number(7),
            ..Resources::default()
        };
        let response = |nano_cpus| ContainerInspectResponse {
            state: Some(bollard::models::ContainerState {
                status: Some(ContainerStateStatusEnum::CREATED),
                ..Default::default()
            }),
            config: Some(ContainerConfig {
                labels: Some(HashMap::from([(
                    labels::RESOURCES.to_owned(),
                    r#"{"cpuLimitMillis":1,"memoryRequestBytes":7}"#.to_owned(),
                )])),
                ..Default::default()
            }),
            host_config: Some(HostConfig { nano_cpus, cpu_shares: Some(2), ..Default::default() }),
            mounts: Some(vec![
                MountPoint { source: Some("/data".to_owned()), ..Default::default() },
                MountPoint { source: Some("/state/message".to_owned()), ..Default::default() },
            ]),
            ..Default::default()
        };
        let mut inspected = Inspected::default();
        let id = ContainerId("a".to_owned());
        let created = read(response(Some(10_000_000))).expect("details");
        assert_eq!(created.message.as_deref(), Some(Path::new("/state/message")));
        assert_eq!(inspected.resources(&id, &created, 2), asked);
        let by_hand = read(response(Some(500_000_000))).expect("details");
        let found = Resources { cpu_limit_millis: number(500), ..Resources::default() };
        assert_eq!(inspected.resources(&id, &by_hand, 2), found);
        let updated = Resources { memory_request_bytes: number(9), ..found };
        inspected.asked(&id, updated);
        assert_eq!(inspected.resources(&id, &by_hand, 2), updated);
    }
}
