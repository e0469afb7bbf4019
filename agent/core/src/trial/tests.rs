mod images;

use proptest::prelude::*;
use skerry_terms::NodeName;

use super::*;
use crate::{
    AppSpec, Container, ContainerId, Handler, Host, Kind, Probe, ProbeKind, ProbeVerdict, RestartPolicy,
    Role, UnitState, UnitVerdict, WallMillis, World,
};

const DEADLINE: u64 = 60;

fn key() -> AppKey {
    "plant/web".parse().expect("a key")
}

fn payload(revision: u8) -> Payload {
    Payload::from(&[revision][..])
}

fn wanted(revision: u8) -> Wanted {
    let set = PayloadSet::from([(key(), payload(revision))]);
    Wanted {
        payload: payload(revision),
        print: Digest::of(&set),
        revision: format!("web-{revision}"),
        fault: None,
    }
}

fn at(seconds: u64) -> Monotonic {
    Monotonic(Duration::from_secs(seconds))
}

/// What the planner says of the app in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Unknown,
    Pulling,
    Starting,
    Ready,
    /// Ready, and something is still to be done.
    ReadyWithActions,
    NotReady,
    /// Every container is ready, and Docker has refused to change one in place.
    NotUpdated,
    /// By a person.
    Paused,
    /// Config that it refers to is not there.
    Missing,
    Crashing,
    Succeeded,
    Ended,
    /// By the agent, because a probe failed; the program took it well.
    Killed,
}

const SAYS: [Says; 13] = [
    Says::Unknown,
    Says::Pulling,
    Says::Starting,
    Says::Ready,
    Says::ReadyWithActions,
    Says::NotReady,
    Says::NotUpdated,
    Says::Paused,
    Says::Missing,
    Says::Crashing,
    Says::Succeeded,
    Says::Ended,
    Says::Killed,
];

fn plan(says: Says, revision: &str) -> Plan {
    let running = UnitState::Running { started_at: WallMillis(1) };
    let ended = |exit_code| UnitState::Terminated { started_at: WallMillis(1), exit_code };
    let (phase, reason, state, ready) = match says {
        Says::Unknown => (Phase::Unknown, reasons::DOCKER_UNAVAILABLE, UnitState::Waiting, false),
        Says::Pulling => (Phase::Pulling, reasons::PULLING_IMAGE, UnitState::Waiting, false),
        Says::Starting => (Phase::Starting, reasons::CONTAINER_CREATING, UnitState::Waiting, false),
        Says::Ready | Says::ReadyWithActions => (Phase::Running, reasons::READY, running, true),
        Says::NotReady => (Phase::Running, reasons::NOT_READY, running, false),
        Says::NotUpdated => (Phase::Running, reasons::UPDATE_FAILED, running, true),
        Says::Missing => (Phase::Pending, reasons::CREATE_CONFIG_ERROR, UnitState::Waiting, false),
        Says::Paused => (Phase::Running, reasons::PAUSED, running, false),
        Says::Crashing => (Phase::Failed, reasons::CRASH_LOOP_BACK_OFF, UnitState::Waiting, false),
        Says::Succeeded => (Phase::Succeeded, reasons::COMPLETED, ended(0), false),
        Says::Ended => (Phase::Failed, reasons::ERROR, ended(3), false),
        Says::Killed => (Phase::Failed, reasons::UNHEALTHY, ended(0), false),
    };
    let unit = UnitVerdict {
        role: Role::Container("main".parse().expect("a name")),
        kind: Kind::Main,
        id: Some(ContainerId("c".to_owned())),
        ready,
        started: ready,
        restart_count: 0,
        state,
        reason,
        message: String::new(),
        is_old: false,
        last: None,
    };
    let verdict = crate::Verdict {
        revision: revision.to_owned(),
        phase,
        ready,
        reason,
        message: format!("in words: {reason}"),
        containers: vec![unit],
    };
    let actions = match says {
        Says::ReadyWithActions | Says::Pulling => vec![crate::Action::Discard],
        Says::Unknown
        | Says::Starting
        | Says::Ready
        | Says::NotReady
        | Says::NotUpdated
        | Says::Paused
        | Says::Missing
        | Says::Crashing
        | Says::Succeeded
        | Says::Ended
        | Says::Killed => Vec::new(),
    };
    Plan { apps: BTreeMap::from([(key(), AppPlan { actions, verdict })]), wake_at: None }
}

fn desired(restart_policy: RestartPolicy, revision: &str) -> Desired {
    let container = Container::new("main".parse().expect("a name"), "web:1".to_owned());
    let app = ValidApp::new(AppSpec {
        progress_deadline: Duration::from_secs(DEADLINE),
        restart_policy,
        ..AppSpec::new(key(), revision.to_owned(), vec![container])
    });
    Desired {
        node: "box".parse::<NodeName>().expect("a name"),
        apps: BTreeMap::from([(key(), DesiredApp::Valid(app.expect("valid")))]),
        complete: true,
        retired: BTreeSet::new(),
        host: Host::default(),
        images: BTreeMap::new(),
    }
}

/// One app on a box whose planner says what a test wants.
struct Site {
    trials: Trials,
    restart_policy: RestartPolicy,
    observed: Observed,
}

/// A look that shows no container.
fn nothing() -> Observed {
    Observed::Known(World::default())
}

impl Site {
    fn new() -> Self {
        Self { trials: Trials::default(), restart_policy: RestartPolicy::Always, observed: nothing() }
    }

    /// A box where revision 1 is committed.
    fn settled() -> Self {
        let mut site = Self::new();
        site.want(1);
        site.round(0, Says::Ready);
        assert!(site.round(10, Says::Ready).noted);
        site
    }

    fn want(&mut self, revision: u8) {
        self.trials.follow(BTreeMap::from([(key(), wanted(revision))]));
    }

    fn in_force(&self) -> u8 {
        let course = &self.trials.courses[&key()];
        self.trials.fallbacks().get(&key()).unwrap_or(&course.wanted.payload)[0]
    }

    fn desired(&self) -> Desired {
        desired(self.restart_policy, &format!("web-{}", self.in_force()))
    }

    fn round(&mut self, seconds: u64, says: Says) -> Decided {
        let plan = plan(says, &format!("web-{}", self.in_force()));
        self.trials.judge(&self.desired(), &self.observed, &plan, &Memory::default(), true, at(seconds))
    }

    fn wake_at(&self) -> Option<Monotonic> {
        self.trials.wake_at(&self.desired())
    }

    fn committed(&self) -> Option<u8> {
        self.trials.notes().committed.get(&key()).map(|committed| committed.payload[0])
    }

    fn status(&self, says: Says) -> AppStatus {
        let plan = plan(says, &format!("web-{}", self.in_force()));
        let mut status = crate::report(&plan).remove(0);
        self.trials.amend(&mut status);
        status
    }
}

#[test]
fn a_revision_that_stays_ready_is_committed() {
    let mut site = Site::new();
    site.want(1);
    assert_eq!(site.round(0, Says::Ready), Decided::default(), "it may still crash");
    assert_eq!(site.wake_at(), Some(at(10)));
    assert_eq!(site.round(9, Says::NotReady), Decided::default());
    assert_eq!(site.round(11, Says::Ready), Decided::default(), "the break counts");
    assert_eq!(site.committed(), None);
    assert!(site.round(21, Says::Ready).noted);
    assert_eq!((site.committed(), site.wake_at()), (Some(1), None));
}

#[test]
fn changes_of_other_apps_do_not_hold_up_a_commit() {
    let mut site = Site::new();
    site.want(1);
    let mut round = |seconds, fresh| {
        let plan = plan(Says::Ready, "web-1");
        site.trials.judge(&site.desired(), &nothing(), &plan, &Memory::default(), fresh, at(seconds)).noted
    };
    assert!(!round(0, false), "nobody has looked for this set yet");
    assert!(!round(5, true));
    assert!(!round(14, false));
    assert!(round(15, false));
}

#[test]
fn readiness_from_before_the_agents_start_settles_nothing() {
    let mut trials = Trials::default();
    trials.follow(BTreeMap::from([(key(), wanted(1))]));
    let mut desired = desired(RestartPolicy::Always, "web-1");
    let mut main = Container::new("main".parse().expect("a name"), "web:1".to_owned());
    let second = Duration::from_secs(1);
    main.probes.readiness = Some(Probe {
        handler: Handler::Exec { command: vec!["true".to_owned()] },
        initial_delay: second,
        timeout: second,
        period: second,
        success_threshold: 1,
        failure_threshold: 1,
        grace: None,
    });
    let app = ValidApp::new(AppSpec::new(key(), "web-1".to_owned(), vec![main])).expect("valid");
    desired.apps.insert(key(), DesiredApp::Valid(app));
    let plan = plan(Says::Ready, "web-1");
    let mut memory = Memory::default();
    for seconds in [0, 1_000] {
        assert_eq!(trials.judge(&desired, &nothing(), &plan, &memory, true, at(seconds)), Decided::default());
    }
    let verdict = ProbeVerdict { ok: true, message: String::new() };
    memory.probed(&ContainerId("c".to_owned()), ProbeKind::Readiness, verdict);
    assert_eq!(trials.judge(&desired, &nothing(), &plan, &memory, true, at(1_001)), Decided::default());
    assert!(trials.judge(&desired, &nothing(), &plan, &memory, true, at(1_011)).noted);
}

#[test]
fn a_run_that_was_ended_for_its_health_is_the_last_of_a_job() {
    let mut site = Site::settled();
    site.restart_policy = RestartPolicy::Never;
    site.want(2);
    assert_eq!(site.round(20, Says::Killed).rolled_back, BTreeSet::from([key()]));
}

#[test]
fn a_job_that_succeeds_is_committed_at_once() {
    let mut site = Site::new();
    site.want(1);
    assert!(site.round(0, Says::Succeeded).noted);
    assert_eq!(site.committed(), Some(1));
}

#[test]
fn a_first_revision_is_never_rolled_back() {
    let mut site = Site::new();
    site.want(1);
    for seconds in (0..10_000).step_by(100) {
        assert_eq!(site.round(seconds, Says::Crashing), Decided::default());
    }
    assert_eq!((site.in_force(), site.wake_at()), (1, None));
    assert_eq!(site.status(Says::Crashing).phase, Phase::Failed);
}

#[test]
fn a_revision_that_is_not_ready_in_time_gives_way_to_the_one_before() {
    let mut site = Site::settled();
    site.want(2);
    assert_eq!(site.in_force(), 2);
    site.round(100, Says::Crashing);
    assert_eq!(site.wake_at(), Some(at(100 + DEADLINE)));
    assert!(site.round(99 + DEADLINE, Says::Crashing).rolled_back.is_empty());
    assert!(site.round(100 + DEADLINE, Says::Crashing).rolled_back.contains(&key()));
    assert_eq!((site.in_force(), site.wake_at(), site.committed()), (1, None, Some(1)));

    let status = site.status(Says::Starting);
    assert_eq!(
        (status.phase, status.revision.as_str(), status.reason.as_str(), status.ready),
        (Phase::RolledBack, "web-2", "ProgressDeadlineExceeded", false)
    );
    let status = site.status(Says::Ready);
    assert!(status.ready);
    assert_eq!(
        status.message,
        "went back to revision web-1, which runs: revision web-2 was not ready within 60 s: CrashLoopBackOff: in words: CrashLoopBackOff"
    );
    assert_eq!(site.status(Says::Unknown).phase, Phase::Unknown, "nothing is claimed that cannot be seen");
}

#[test]
fn progress_restarts_the_clock_and_a_crash_loop_is_none() {
    let mut site = Site::settled();
    site.want(2);
    for (seconds, says) in [(100, Says::Pulling), (150, Says::Starting), (200, Says::NotReady)] {
        assert!(site.round(seconds, says).rolled_back.is_empty(), "{says:?}");
        assert_eq!(site.wake_at(), Some(at(seconds + DEADLINE)), "{says:?}");
    }
    for seconds in (205..255).step_by(10) {
        site.round(seconds, Says::Crashing);
        site.round(seconds + 5, Says::NotReady);
        assert_eq!(site.wake_at(), Some(at(200 + DEADLINE)), "it was started before");
    }
    assert!(!site.round(260, Says::Pulling).rolled_back.is_empty(), "nor is a pull that began before");
}

#[test]
fn what_ends_for_good_is_rolled_back_at_once_with_its_own_reason() {
    let mut site = Site::settled();
    site.restart_policy = RestartPolicy::Never;
    site.want(2);
    assert!(site.round(100, Says::Ended).rolled_back.contains(&key()));
    let status = site.status(Says::Ready);
    assert_eq!((status.phase, status.reason.as_str()), (Phase::RolledBack, "Error"));
    assert!(status.message.contains("web-1, which runs: revision web-2: in words"), "{}", status.message);
}

#[test]
fn an_engine_that_is_away_stops_the_clock() {
    let mut site = Site::settled();
    site.want(2);
    site.round(100, Says::Starting);
    site.round(110, Says::Unknown);
    assert_eq!(site.wake_at(), None);
    assert!(site.round(10_000, Says::Starting).rolled_back.is_empty());
    assert_eq!(site.wake_at(), Some(at(10_000 + DEADLINE)));
}

#[test]
fn a_change_in_place_that_docker_refuses_is_no_success() {
    let mut site = Site::settled();
    site.want(2);
    for seconds in [100, 120] {
        assert_eq!(site.round(seconds, Says::NotUpdated), Decided::default());
    }
    assert!(site.round(100 + DEADLINE, Says::NotUpdated).rolled_back.contains(&key()));
}

#[test]
fn an_app_that_a_person_has_paused_has_time() {
    let mut site = Site::settled();
    site.want(2);
    for seconds in [100, 10_000] {
        assert_eq!(site.round(seconds, Says::Paused), Decided::default());
        assert_eq!(site.round(seconds, Says::Missing), Decided::default());
    }
    assert_eq!(site.wake_at(), Some(at(10_000 + DEADLINE)));
}

#[test]
fn a_failed_revision_is_not_tried_again_until_it_changes() {
    let mut site = Site::settled();
    site.want(2);
    site.round(100, Says::Crashing);
    site.round(200, Says::Crashing);
    assert_eq!(site.in_force(), 1);
    // A re-send with another uid has the same print.
    site.want(2);
    assert_eq!(site.in_force(), 1);
    // The agent restarts.
    let notes = site.trials.notes();
    site.trials = Trials::recall(notes);
    site.want(2);
    assert_eq!((site.in_force(), site.status(Says::Ready).phase), (1, Phase::RolledBack));
    site.want(3);
    assert_eq!((site.in_force(), site.status(Says::Ready).phase), (3, Phase::Running));
    assert!(site.trials.notes().failed.is_empty());
    // Asked for anew after something else, it is tried anew.
    site.want(2);
    assert_eq!(site.in_force(), 2);
}

#[test]
fn going_back_to_the_committed_revision_ends_the_trial() {
    let mut site = Site::settled();
    site.want(2);
    site.round(100, Says::Starting);
    site.want(1);
    assert_eq!((site.in_force(), site.wake_at()), (1, None));
    assert_eq!(site.status(Says::Ready).phase, Phase::Running);
}

#[test]
fn a_new_revision_during_a_trial_has_all_its_time_and_falls_back_to_the_committed_one() {
    let mut site = Site::settled();
    site.want(2);
    site.round(100, Says::NotReady);
    site.want(3);
    site.round(150, Says::NotReady);
    assert_eq!(site.wake_at(), Some(at(150 + DEADLINE)));
    site.round(150 + DEADLINE, Says::NotReady);
    assert_eq!((site.in_force(), site.committed()), (1, Some(1)));
}

#[test]
fn what_was_ready_for_a_moment_is_gone_back_to_when_there_is_nothing_better() {
    for (first, goes_back_to) in [(Says::Ready, 1), (Says::ReadyWithActions, 2), (Says::NotReady, 2)] {
        let mut site = Site::new();
        site.want(1);
        // Other apps change all the time: no look is ever fresh.
        let plan = plan(first, "web-1");
        site.trials.judge(&site.desired(), &nothing(), &plan, &Memory::default(), false, at(0));
        site.want(2);
        site.round(1, Says::Crashing);
        site.round(1 + DEADLINE, Says::Crashing);
        assert_eq!(site.in_force(), goes_back_to, "{first:?}");
    }
}

#[test]
fn what_cannot_be_tried_leaves_the_committed_revision_in_force() {
    let mut site = Site::settled();
    let fault = Fault { reason: reasons::POLICY_REFUSED, why: "policy.privileged says no".to_owned() };
    let refused = Wanted { fault: Some(fault), ..wanted(2) };
    site.trials.follow(BTreeMap::from([(key(), refused)]));
    assert_eq!((site.in_force(), site.wake_at()), (1, None));
    let status = site.status(Says::Ready);
    assert_eq!(
        (status.phase, status.reason.as_str(), status.revision.as_str(), status.ready),
        (Phase::Failed, "PolicyRefused", "web-2", true)
    );
    assert_eq!(status.message, "policy.privileged says no; the box stays with revision web-1, which runs");
}

#[test]
fn an_outdated_look_and_a_list_under_way_commit_nothing() {
    let mut site = Site::new();
    site.want(1);
    let plan = plan(Says::Ready, "web-1");
    for seconds in [0, 100] {
        site.trials.judge(&site.desired(), &nothing(), &plan, &Memory::default(), false, at(seconds));
        site.round(seconds, Says::ReadyWithActions);
    }
    let mut busy = Memory::default();
    busy.begin(&key(), crate::Step::Stop);
    for seconds in [200, 300] {
        site.trials.judge(&site.desired(), &nothing(), &plan, &busy, true, at(seconds));
    }
    assert_eq!(site.committed(), None);
}

#[test]
fn an_app_that_is_removed_is_forgotten() {
    let mut site = Site::settled();
    assert!(site.trials.follow(BTreeMap::new()), "that is worth a note");
    assert_eq!(site.trials.notes(), Notes::default());
    site.want(2);
    site.round(100, Says::Crashing);
    assert!(site.round(10_000, Says::Crashing).rolled_back.is_empty(), "it is a first revision again");
}

#[derive(Debug, Clone)]
enum Step {
    Want(u8),
    Resend,
    Remove,
    Restart,
    Round(Says),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1u8..5).prop_map(Step::Want),
        1 => Just(Step::Resend),
        1 => Just(Step::Remove),
        1 => Just(Step::Restart),
        8 => proptest::sample::select(&SAYS[..]).prop_map(Step::Round),
        6 => (1u64..80).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_what_runs_is_wanted_or_was_proven(steps in proptest::collection::vec(step(), 1..80)) {
        let mut site = Site::new();
        let (mut want, mut now): (Option<u8>, u64) = (None, 0);
        // Since when the planner has said without a break that the wanted revision is ready.
        let mut ready_since: Option<u64> = None;
        for step in steps {
            let committed = site.committed();
            match step {
                Step::Want(revision) => {
                    if want != Some(revision) {
                        ready_since = None;
                    }
                    want = Some(revision);
                    site.want(revision);
                }
                Step::Resend => want.into_iter().for_each(|revision| site.want(revision)),
                Step::Remove => {
                    (want, ready_since) = (None, None);
                    site.trials.follow(BTreeMap::new());
                    prop_assert_eq!(site.trials.notes(), Notes::default());
                }
                Step::Restart => {
                    let in_force = want.map(|_| site.in_force());
                    site.trials = Trials::recall(site.trials.notes());
                    ready_since = None;
                    if let Some(revision) = want {
                        site.want(revision);
                    }
                    prop_assert_eq!(want.map(|_| site.in_force()), in_force);
                }
                Step::Wait(seconds) => now += seconds,
                Step::Round(says) => {
                    let Some(revision) = want else { continue };
                    let on_wanted = site.in_force() == revision;
                    let decided = site.round(now, says);
                    if says == Says::Ready && on_wanted {
                        ready_since.get_or_insert(now);
                    } else {
                        ready_since = None;
                    }
                    if !decided.rolled_back.is_empty() {
                        prop_assert!(committed.is_some(), "a first revision is never rolled back");
                        prop_assert_eq!(Some(site.in_force()), committed);
                    }
                    if site.committed() != committed {
                        prop_assert_eq!(site.committed(), want);
                        let proven = ready_since.is_some_and(|since| now - since >= STEADY.as_secs());
                        prop_assert!(proven || says == Says::Succeeded);
                    }
                    if let Some(wake_at) = site.wake_at() {
                        prop_assert!(wake_at > at(now), "a wake is in the future");
                    }
                    let waits = site.in_force() == revision && site.committed() != want && says != Says::Unknown
                        && (site.committed().is_some() || says == Says::Ready);
                    prop_assert_eq!(site.wake_at().is_some(), waits, "a wake exactly when a moment is waited for");
                }
            }
            if let Some(revision) = want {
                let in_force = site.in_force();
                prop_assert!(in_force == revision || Some(in_force) == site.committed());
                let failed = site.trials.notes().failed.contains_key(&key());
                prop_assert_eq!(in_force != revision, failed, "only a failed revision is not in force");
            }
        }
    }
}
