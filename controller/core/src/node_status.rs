//! What an EdgeNode's status says, from what the node told and whether a session with it stands. An unreachable node's apps are
//! `Unknown`, with what was seen last; they are never shown as running because nobody said otherwise.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use skerry_api::{
    AppReport, ContainerReport, EdgeNodeStatus, NodeInfo, Resources, SessionInfo, condition, set_condition,
};
use skerry_terms::{AppKey, Phase, Problem, ProblemKind, Problems, reasons};

use crate::rfc3339;
use crate::session::Stall;
use crate::status_size::fit;

/// What is known of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeState {
    /// What the box is; from its hello, or from the status that an earlier controller wrote.
    pub info: Option<NodeInfo>,
    pub capacity: Option<Resources>,
    pub addresses: Vec<String>,
    pub link: Link,
    pub docker: Docker,
    /// What is wrong with the box. Absent until the node has told.
    pub problems: Option<Problems>,
    /// What keeps the node from getting its desired set.
    pub stall: Option<Stall>,
    /// How many things that happened there were lost before they could be told.
    pub transitions_dropped: u64,
    /// What the node reported last of each app.
    pub apps: BTreeMap<AppKey, AppReport>,
}

/// Whether a node can be asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// A session stands, or stood a moment ago and is expected back.
    Connected(SessionInfo),
    /// No session, since then. No time when the node was never seen.
    Away(Option<Time>),
}

/// Whether the node's Docker Engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Docker {
    /// The node has not said yet.
    NotReported,
    Ready,
    Down {
        message: String,
    },
}

impl NodeState {
    /// What the status of an earlier controller tells, so that a restart of the controller changes nothing.
    pub fn recall(status: &EdgeNodeStatus) -> Self {
        let is_ready =
            status.conditions.iter().any(|condition| condition.type_ == READY && condition.status == "True");
        let docker_down = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == READY && condition.reason == reasons::DOCKER_UNAVAILABLE);
        let key = |report: &AppReport| AppKey::new(&report.namespace, &report.name).ok();
        Self {
            info: status.node_info.clone(),
            capacity: status.capacity.clone(),
            addresses: status.addresses.clone(),
            link: match &status.session {
                Some(session) => Link::Connected(session.clone()),
                None => Link::Away(status.last_seen.clone()),
            },
            docker: match docker_down {
                Some(down) => Docker::Down { message: down.message.clone() },
                None if is_ready => Docker::Ready,
                None => Docker::NotReported,
            },
            problems: recall_problems(status),
            stall: status
                .conditions
                .iter()
                .find(|condition| condition.type_ == STALLED && condition.status == "True")
                .and_then(|condition| {
                    let reason = reasons::ALL.iter().find(|reason| **reason == condition.reason)?;
                    Some(Stall { reason, message: condition.message.clone() })
                }),
            transitions_dropped: status.transitions_dropped.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            apps: status.apps.iter().filter_map(|report| Some((key(report)?, report.clone()))).collect(),
        }
    }

    pub fn is_connected(&self) -> bool {
        match &self.link {
            Link::Connected(_) => true,
            Link::Away(_) => false,
        }
    }

    /// The session is over and did not come back: nothing that the node said is known to hold any longer.
    pub fn mark_away(&mut self, last_seen: Time) {
        for report in self.apps.values_mut() {
            *report = unreachable(report, &last_seen);
        }
        self.link = Link::Away(Some(last_seen));
        // That the cluster went back is no word of the session: it holds until somebody accepts it.
        self.stall.take_if(|stall| stall.reason != reasons::CLUSTER_WENT_BACK);
        self.docker = Docker::NotReported;
        self.problems = None;
    }
}

/// The problems that a status tells. Absent when it has none of their conditions, or does not know.
fn recall_problems(status: &EdgeNodeStatus) -> Option<Problems> {
    let mut told = None;
    for kind in ProblemKind::ALL {
        let Some(condition) = status.conditions.iter().find(|condition| condition.type_ == kind.as_str())
        else {
            continue;
        };
        match condition.status.as_str() {
            "True" => {
                let problem =
                    Problem { reason: condition.reason.clone(), message: condition.message.clone() };
                told.get_or_insert_with(Problems::new).insert(kind, problem);
            }
            "False" => {
                told.get_or_insert_with(Problems::new);
            }
            _ => {}
        }
    }
    told
}

/// A session stands, and the Docker Engine answers.
const READY: &str = "Ready";
/// A session stands.
const CONNECTED: &str = "Connected";
/// The node waits for a person. Present only while it does.
const STALLED: &str = "Stalled";

/// The status of a node. `previous` gives the conditions their times; `generation` is the object's.
pub fn node_status(
    state: &NodeState,
    generation: Option<i64>,
    previous: &EdgeNodeStatus,
    now: &Time,
) -> EdgeNodeStatus {
    let NodeState { info, capacity, addresses, link, docker, problems, stall, transitions_dropped, apps } =
        state;
    let (connected, session, last_seen) = match link {
        Link::Connected(session) => (true, Some(session.clone()), None),
        Link::Away(last_seen) => (false, None, last_seen.clone()),
    };
    let mut conditions = previous.conditions.clone();
    let is_problem = |kind: &str| ProblemKind::ALL.iter().any(|problem| problem.as_str() == kind);
    conditions.retain(|condition| {
        let kind = condition.type_.as_str();
        [READY, CONNECTED, STALLED].contains(&kind) || is_problem(kind)
    });
    // Of an agent that does not tell of them there are none; what was told once is unknown while the node cannot be asked.
    let told_before: Vec<ProblemKind> = ProblemKind::ALL
        .into_iter()
        .filter(|kind| conditions.iter().any(|condition| condition.type_ == kind.as_str()))
        .collect();
    let mut set = |kind, status, reason, message: &str| {
        set_condition(&mut conditions, condition(kind, status, reason, message, generation, now));
    };
    let away = match &last_seen {
        Some(time) => format!("the node has no session; last seen at {}", rfc3339(time)),
        None => "the node has never connected".to_owned(),
    };
    match (connected, docker) {
        (false, _) => set(READY, None, reasons::NODE_UNREACHABLE, &away),
        // It runs what it has, but does not follow: a list of nodes has room for one reason, and this is the one to act on.
        (true, Docker::Ready) => match stall {
            Some(stall) => set(READY, Some(true), stall.reason, &stall.message),
            None => set(READY, Some(true), reasons::READY, "the Docker Engine answers"),
        },
        (true, Docker::NotReported) => {
            set(READY, None, reasons::AWAITING_NODE, "the node has not reported yet")
        }
        (true, Docker::Down { message }) => set(READY, Some(false), reasons::DOCKER_UNAVAILABLE, message),
    }
    if connected {
        set(CONNECTED, Some(true), reasons::SESSION_OPEN, "a session stands");
    } else {
        set(CONNECTED, Some(false), reasons::NODE_UNREACHABLE, &away);
    }
    for kind in ProblemKind::ALL {
        let name = kind.as_str();
        match problems {
            Some(problems) if connected => match problems.get(&kind) {
                Some(Problem { reason, message }) => set(name, Some(true), reason, message),
                None => set(name, Some(false), reasons::NO_PROBLEM, ""),
            },
            Some(_) | None if !told_before.contains(&kind) => {}
            Some(_) | None if connected => {
                set(name, None, reasons::AWAITING_NODE, "the node has not reported yet")
            }
            Some(_) | None => set(name, None, reasons::NODE_UNREACHABLE, &away),
        }
    }
    match stall {
        Some(stall) => set(STALLED, Some(true), stall.reason, &stall.message),
        None => conditions.retain(|condition| condition.type_ != STALLED),
    }
    fit(EdgeNodeStatus {
        observed_generation: generation,
        observed_at: Some(now.clone()),
        conditions,
        node_info: info.clone(),
        capacity: capacity.clone(),
        // Nothing of a box is kept back from apps.
        allocatable: capacity.clone(),
        addresses: addresses.clone(),
        last_seen,
        session,
        transitions_dropped: Some(i64::try_from(*transitions_dropped).unwrap_or(i64::MAX)).filter(|n| *n > 0),
        apps_ready: match apps.len() {
            0 => String::new(),
            all => format!("{}/{all}", apps.values().filter(|app| app.ready).count()),
        },
        apps: apps.values().cloned().collect(),
    })
}

/// What can be said of an app on a node that is away. Said again of the result, it stays as it is.
fn unreachable(report: &AppReport, last_seen: &Time) -> AppReport {
    let AppReport {
        namespace,
        name,
        revision,
        phase,
        ready: _,
        reason: _,
        message: _,
        observed_at: _,
        containers,
    } = report;
    if *phase == Phase::Unknown.as_str() {
        // What was seen before it became unknown is in its message already.
        return report.clone();
    }
    let lost = |container: &ContainerReport| ContainerReport {
        name: container.name.clone(),
        kind: container.kind.clone(),
        id: container.id.clone(),
        restart_count: container.restart_count,
        ..ContainerReport::default()
    };
    AppReport {
        namespace: namespace.clone(),
        name: name.clone(),
        revision: revision.clone(),
        phase: Phase::Unknown.as_str().to_owned(),
        ready: false,
        reason: reasons::NODE_UNREACHABLE.to_owned(),
        message: format!("last seen {phase} at {}", rfc3339(last_seen)),
        observed_at: Some(last_seen.clone()),
        containers: containers.iter().map(lost).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).expect("a time"))
    }

    fn state() -> NodeState {
        let report = AppReport {
            namespace: "default".into(),
            name: "web".into(),
            phase: "Running".into(),
            ready: true,
            ..AppReport::default()
        };
        NodeState {
            info: None,
            capacity: None,
            addresses: Vec::new(),
            link: Link::Connected(SessionInfo { replica: "r".into(), since: at(1) }),
            docker: Docker::Ready,
            problems: None,
            stall: None,
            transitions_dropped: 0,
            apps: BTreeMap::from([(AppKey::new("default", "web").expect("a key"), report)]),
        }
    }

    fn story(status: &EdgeNodeStatus) -> Vec<String> {
        let line = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            format!("{}={} {}", c.type_, c.status, c.reason)
        };
        status.conditions.iter().map(line).collect()
    }

    #[test]
    fn an_unreachable_node_never_shows_its_apps_as_running() {
        let mut state = state();
        let before = node_status(&state, Some(1), &EdgeNodeStatus::default(), &at(2));
        state.mark_away(at(1_777_640_580));
        let first = node_status(&state, Some(1), &before, &at(1_777_640_590));
        assert_eq!(story(&first), ["Ready=Unknown NodeUnreachable", "Connected=False NodeUnreachable"]);
        let app = &first.apps[0];
        assert_eq!(
            (app.phase.as_str(), app.ready, app.reason.as_str()),
            ("Unknown", false, "NodeUnreachable")
        );
        assert_eq!(app.message, "last seen Running at 2026-05-01T13:03:00Z");
        assert!(first.session.is_none() && first.last_seen.is_some());

        state.mark_away(at(1_777_640_700));
        let again = node_status(&state, Some(1), &first, &at(1_777_640_700));
        assert_eq!(again.apps, first.apps, "what was seen last is not nested");
    }

    #[test]
    fn docker_and_stalls_have_their_conditions() {
        let mut state = state();
        let ready = node_status(&state, Some(1), &EdgeNodeStatus::default(), &at(2));
        assert_eq!(story(&ready), ["Ready=True Ready", "Connected=True SessionOpen"]);
        state.docker = Docker::Down { message: "no socket".into() };
        state.stall = Some(Stall { reason: reasons::CLUSTER_WENT_BACK, message: "m".into() });
        let down = node_status(&state, Some(1), &ready, &at(3));
        assert_eq!(
            story(&down),
            ["Ready=False DockerUnavailable", "Connected=True SessionOpen", "Stalled=True ClusterWentBack"]
        );
        state.docker = Docker::Ready;
        let held = node_status(&state, Some(1), &down, &at(4));
        assert_eq!(
            story(&held),
            ["Ready=True ClusterWentBack", "Connected=True SessionOpen", "Stalled=True ClusterWentBack"]
        );
        state.stall = None;
        assert_eq!(story(&node_status(&state, Some(1), &held, &at(5))), story(&ready));
    }

    #[test]
    fn what_is_wrong_with_a_box_has_its_conditions_and_is_unknown_when_the_box_is_away() {
        let mut state = state();
        let problem = Problem { reason: "Full".into(), message: "95 % of /var is used".into() };
        state.problems = Some(Problems::from([(ProblemKind::DiskPressure, problem)]));
        let bad = node_status(&state, Some(1), &EdgeNodeStatus::default(), &at(2));
        let all =
            ["MemoryPressure", "StateProblem", "ClockSkewed"].map(|kind| format!("{kind}=False NoProblem"));
        assert_eq!(story(&bad)[2], "DiskPressure=True Full");
        assert_eq!(story(&bad)[3..], all);
        state.problems = Some(Problems::new());
        let well = node_status(&state, Some(1), &bad, &at(3));
        assert_eq!(story(&well)[2], "DiskPressure=False NoProblem");
        state.mark_away(at(4));
        let away = node_status(&state, Some(1), &well, &at(5));
        assert_eq!(story(&away)[2], "DiskPressure=Unknown NodeUnreachable");
        let silent = node_status(&self::state(), Some(1), &EdgeNodeStatus::default(), &at(6));
        assert_eq!(silent.conditions.len(), 2, "of an agent that does not tell");
    }

    #[test]
    fn a_status_recalled_after_a_restart_says_the_same() {
        let mut states = vec![state(), state(), state(), state(), state()];
        let problem = Problem { reason: "Full".into(), message: "m".into() };
        states[4].problems = Some(Problems::from([(ProblemKind::DiskPressure, problem)]));
        states[1].mark_away(at(7));
        states[2].docker = Docker::Down { message: "gone".into() };
        states[3].stall = Some(Stall { reason: reasons::CLUSTER_WENT_BACK, message: "m".into() });
        for state in states {
            let status = node_status(&state, Some(1), &EdgeNodeStatus::default(), &at(9));
            let recalled = node_status(&NodeState::recall(&status), Some(1), &status, &at(9));
            assert_eq!(recalled, status);
        }
    }
}
