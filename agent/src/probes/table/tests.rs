use std::num::NonZeroU16;

use skerry_agent_core::{HttpGet, Probe, Scheme};
use tokio::task::JoinHandle;

use super::*;

/// When the agent of these tests began.
const AGENT: WallMillis = WallMillis(1_000_000);
const LATER: WallMillis = WallMillis(1_003_000);
const LONG_BEFORE: WallMillis = WallMillis(0);

fn http() -> Handler {
    let port = NonZeroU16::new(80).expect("a port");
    Handler::Http(HttpGet {
        scheme: Scheme::Http,
        host: None,
        port,
        path: "/".to_owned(),
        headers: Vec::new(),
    })
}

fn exec() -> Handler {
    Handler::Exec { command: vec!["true".to_owned()] }
}

fn task(handler: Handler, started_at: WallMillis) -> ProbeTask {
    let probe = Probe {
        handler,
        initial_delay: Duration::from_secs(20),
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 1,
        grace: None,
    };
    ProbeTask { probe, address: None, started_at }
}

fn key(kind: ProbeKind) -> Key {
    (ContainerId("web".to_owned()), kind)
}

fn of(kind: ProbeKind, task: ProbeTask) -> Tasks {
    Tasks::from([(key(kind), task)])
}

/// A question that has no answer yet.
fn question() -> JoinHandle<()> {
    tokio::spawn(std::future::pending())
}

/// How long after the beginning the first try is.
fn first_wait(kind: ProbeKind, started_at: WallMillis, wall: WallMillis, random: fn() -> u32) -> Duration {
    let began = Instant::now();
    let passed = u64::try_from(wall.0 - AGENT.0).unwrap_or(0);
    first_wait_after(Duration::from_millis(passed), kind, started_at, wall, random, began)
}

/// The same where the box's clock may have been set since the agent began.
fn first_wait_after(
    passed: Duration,
    kind: ProbeKind,
    started_at: WallMillis,
    wall: WallMillis,
    random: fn() -> u32,
    began: Instant,
) -> Duration {
    let (mut table, now) = (Table::new(AGENT, began), began + passed);
    table.reconcile(&of(kind, task(http(), started_at)), now, wall, random);
    table.next_due().expect("it waits") - now
}

#[test]
fn a_clock_that_is_set_neither_shortens_nor_lengthens_the_initial_delay() {
    let hour = 3_600_000;
    for jump in [hour, -hour, 365 * 24 * hour, -365 * 24 * hour] {
        // The container was started just before the clock was set, or just after it.
        for started in [LATER.0, LATER.0 + jump] {
            let wall = WallMillis(LATER.0 + jump + 100);
            let passed = Duration::from_millis(3100);
            let (kind, began) = (ProbeKind::Liveness, Instant::now());
            let wait = first_wait_after(passed, kind, WallMillis(started), wall, smallest, began);
            assert_eq!(wait, Duration::from_secs(20), "{jump} {started}");
        }
    }
}

fn largest() -> u32 {
    u32::MAX
}

fn smallest() -> u32 {
    0
}

#[test]
fn the_first_try_waits_for_the_initial_delay_after_the_start_of_the_container() {
    let wait = |started, wall| first_wait(ProbeKind::Readiness, started, wall, largest).as_secs();
    assert_eq!(wait(LATER, LATER), 20);
    assert_eq!(wait(LATER, WallMillis(LATER.0 + 15_000)), 5);
    assert_eq!(wait(LATER, WallMillis(LATER.0 + 60_000)), 0);
    assert_eq!(wait(LATER, LONG_BEFORE), 20, "the clock was set back");
}

#[test]
fn after_a_restart_of_the_agent_the_first_tries_are_spread() {
    let wait = |kind, random| first_wait(kind, LONG_BEFORE, AGENT, random).as_secs();
    assert_eq!(wait(ProbeKind::Readiness, largest), 1);
    assert_eq!(wait(ProbeKind::Startup, largest), 1);
    assert_eq!(wait(ProbeKind::Liveness, largest), 10);
    assert_eq!(wait(ProbeKind::Liveness, smallest), 0);
}

/// A table with one probe that is due now.
fn due_now(kind: ProbeKind, handler: Handler) -> (Table, Instant) {
    let began = Instant::now();
    let (mut table, now) = (Table::new(AGENT, began), began + Duration::from_secs(63));
    let wall = WallMillis(LATER.0 + 60_000);
    table.reconcile(&of(kind, task(handler, LATER)), now, wall, smallest);
    assert_eq!(table.take_due(now).len(), 1);
    (table, now)
}

#[tokio::test]
async fn the_next_try_is_a_period_after_the_last_was_due() {
    let (mut table, now) = due_now(ProbeKind::Readiness, http());
    let key = key(ProbeKind::Readiness);
    for (took, next) in [(3, 10), (8, 20), (40, 50), (1, 50)] {
        let due = table.next_due().expect("it waits");
        let question = question();
        table.asked(&key, question.abort_handle());
        assert_eq!(table.next_due(), None, "one question at a time");
        table.answered(&key, question.id(), Answer::Success, due + Duration::from_secs(took));
        // Of the tries that a slow one missed, none is made up for but the last.
        let expected = (due + Duration::from_secs(10)).max(due + Duration::from_secs(took));
        assert_eq!(table.next_due(), Some(expected), "took {took} s, {next}");
    }
    assert!(table.next_due() > Some(now));
}

#[tokio::test]
async fn a_verdict_is_told_once_and_ends_what_it_settles() {
    let (mut table, now) = due_now(ProbeKind::Liveness, http());
    let key = key(ProbeKind::Liveness);
    let mut answer = |answer| {
        let question = question();
        table.asked(&key, question.abort_handle());
        table.answered(&key, question.id(), answer, now).map(|verdict| verdict.ok)
    };
    assert_eq!(answer(Answer::None), None);
    assert_eq!(answer(Answer::Success), Some(true));
    assert_eq!(answer(Answer::Success), None);
    assert_eq!(answer(Answer::None), None);
    assert_eq!(answer(Answer::Failure("sick".to_owned())), Some(false));
    assert_eq!(table.next_due(), None, "it is to be restarted");
}

#[tokio::test]
async fn what_changed_begins_anew_and_the_answer_to_the_old_question_is_not_heard() {
    let (mut table, now) = due_now(ProbeKind::Readiness, exec());
    let key = key(ProbeKind::Readiness);
    let old = question();
    table.asked(&key, old.abort_handle());
    let mut changed = task(exec(), LATER);
    changed.probe.period = Duration::from_secs(5);
    let wall = WallMillis(LATER.0 + 60_000);
    table.reconcile(&of(ProbeKind::Readiness, changed), now, wall, smallest);
    assert_eq!(table.next_due(), Some(now), "the new one is due");
    assert_eq!(table.answered(&key, old.id(), Answer::Success, now), None);
    table.asked(&key, question().abort_handle());
    assert_eq!(table.answered(&key, old.id(), Answer::Success, now), None);
}

#[tokio::test]
async fn what_is_not_to_run_ends_in_the_middle_but_a_command_is_waited_for() {
    for (handler, aborted) in [(http(), true), (exec(), false)] {
        let (mut table, now) = due_now(ProbeKind::Readiness, handler);
        let question = question();
        table.asked(&key(ProbeKind::Readiness), question.abort_handle());
        table.reconcile(&Tasks::new(), now, LATER, smallest);
        assert_eq!(table.next_due(), None);
        let ended = tokio::time::timeout(Duration::from_millis(50), question).await;
        assert_eq!(ended.is_ok_and(|joined| joined.is_err()), aborted);
    }
}

#[tokio::test]
async fn what_stays_is_not_disturbed_by_what_comes_and_goes() {
    let (mut table, now) = due_now(ProbeKind::Readiness, http());
    let wall = WallMillis(LATER.0 + 60_000);
    let question = question();
    table.asked(&key(ProbeKind::Readiness), question.abort_handle());
    let mut both = of(ProbeKind::Readiness, task(http(), LATER));
    both.extend(of(ProbeKind::Liveness, task(http(), LATER)));
    table.reconcile(&both, now, wall, smallest);
    let verdict = table.answered(&key(ProbeKind::Readiness), question.id(), Answer::Success, now);
    assert!(verdict.is_some_and(|verdict| verdict.ok));
}
