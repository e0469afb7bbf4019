use super::*;
use crate::{Ending, Kind};

fn key() -> AppKey {
    AppKey::new("plant-a", "web").expect("a key")
}

fn status(phase: Phase, reason: &str) -> AppStatus {
    AppStatus {
        key: key(),
        revision: "web-1".into(),
        phase,
        ready: phase == Phase::Running,
        reason: reason.into(),
        message: String::new(),
        containers: Vec::new(),
    }
}

fn container(status: AppStatus, state: UnitState, last: Option<Ending>, restart_count: u32) -> AppStatus {
    let container = ContainerStatus {
        name: "main".into(),
        kind: Kind::Main,
        id: None,
        ready: false,
        started: true,
        restart_count,
        state,
        reason: if matches!(state, UnitState::Terminated { .. }) { "Error" } else { "" }.into(),
        message: String::new(),
        last,
    };
    AppStatus { containers: vec![container], ..status }
}

fn running(began: i64) -> UnitState {
    UnitState::Running { started_at: WallMillis(began) }
}

fn ended(began: i64) -> UnitState {
    UnitState::Terminated { started_at: WallMillis(began), exit_code: 3 }
}

fn last(began: i64) -> Option<Ending> {
    Some(Ending {
        exit_code: 3,
        reason: "Error",
        message: "no config".into(),
        started_at: WallMillis(began),
        finished_at: WallMillis(began),
    })
}

/// What is told, in short.
fn follow(chronicle: &mut Chronicle, statuses: &[AppStatus]) -> Vec<String> {
    let news = chronicle.follow(statuses, |_| "u".to_owned());
    let word = |news: News| match (news.about, news.phase) {
        (About::Container(_, name), _) => format!("{name}:{}:{}", news.reason, news.restart_count),
        (_, Some(phase)) => format!("{phase}:{}", news.reason),
        (about, None) => format!("{about:?}"),
    };
    news.into_iter().map(word).collect()
}

#[test]
fn where_an_app_comes_to_rest_is_told_and_the_way_there_is_not() {
    let mut chronicle = Chronicle::default();
    let steps: [(Phase, &str, &[&str]); 9] = [
        (Phase::Pending, "PodInitializing", &[]),
        (Phase::Pulling, "PullingImage", &[]),
        (Phase::Running, "Ready", &["Running:Ready"]),
        (Phase::Running, "Ready", &[]),
        (Phase::Unknown, "DockerUnavailable", &[]),
        (Phase::Running, "Ready", &[]),
        (Phase::Running, "NotReady", &["Running:NotReady"]),
        (Phase::Failed, "CrashLoopBackOff", &["Failed:CrashLoopBackOff"]),
        (Phase::Pending, "CreateContainerConfigError", &["Pending:CreateContainerConfigError"]),
    ];
    for (phase, reason, told) in steps {
        assert_eq!(follow(&mut chronicle, &[status(phase, reason)]), told, "{phase} {reason}");
    }
    assert_eq!(follow(&mut chronicle, &[]), ["Removed:"]);
    assert!(follow(&mut chronicle, &[]).is_empty());
}

#[test]
fn an_agent_that_was_restarted_has_nothing_to_tell_of_what_is_well() {
    let well = container(status(Phase::Running, "Ready"), running(9), last(5), 4);
    assert!(follow(&mut Chronicle::default(), &[well]).is_empty());
    let done = container(status(Phase::Succeeded, "Completed"), ended(5), None, 0);
    assert!(follow(&mut Chronicle::default(), &[done]).is_empty());
    let failed = status(Phase::Failed, "ImagePullFailed");
    assert_eq!(follow(&mut Chronicle::default(), &[failed]), ["Failed:ImagePullFailed"]);
    let died_meanwhile = container(status(Phase::Starting, "ContainerCreating"), ended(5), None, 0);
    assert_eq!(follow(&mut Chronicle::default(), &[died_meanwhile]), ["main:Error:0"]);
}

#[test]
fn every_run_that_ended_is_told_once_whichever_report_shows_it() {
    let mut chronicle = Chronicle::default();
    follow(&mut chronicle, &[container(status(Phase::Running, "Ready"), running(1), None, 0)]);
    let terminated = container(status(Phase::Starting, ""), ended(1), None, 0);
    assert_eq!(follow(&mut chronicle, &[terminated]), ["main:Error:0"]);
    let again = container(status(Phase::Running, "Ready"), running(2), last(1), 1);
    assert!(follow(&mut chronicle, &[again]).is_empty(), "the same run");
    // A run so short that no report showed its end.
    let missed = container(status(Phase::Running, "Ready"), running(3), last(2), 2);
    assert_eq!(follow(&mut chronicle, &[missed]), ["main:Error:2"]);
}

#[test]
fn a_clock_that_was_set_back_makes_two_ends_no_one() {
    let mut chronicle = Chronicle::default();
    follow(&mut chronicle, &[container(status(Phase::Running, "Ready"), running(9000), None, 0)]);
    for began in [9000, 10, 9000 - 1] {
        let ended = container(status(Phase::Starting, ""), ended(began), None, 0);
        assert_eq!(follow(&mut chronicle, &[ended]).len(), 1, "{began}");
    }
}
