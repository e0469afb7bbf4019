use super::*;

const NOON: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

fn node() -> NodeName {
    "box-7".parse().expect("a name")
}

fn key(name: &str) -> AppKey {
    AppKey::new("plant-a", name).expect("a key")
}

fn item(sequence: u64, reason: &str, warning: bool, last: i64, age: Option<u64>) -> Transition {
    Transition {
        sequence,
        subject: Subject::App(key("web")),
        uid: "u".into(),
        phase: Some(Phase::Running),
        reason: reason.into(),
        message: "words".into(),
        warning,
        count: 1,
        first: last,
        last,
        age: age.map(Duration::from_secs),
    }
}

fn batch(run: u64, items: Vec<Transition>) -> Batch {
    Batch { run, items, dropped: 0, offset: None }
}

fn notes(taken: &Taken) -> Vec<&str> {
    taken.shown.iter().map(|shown| shown.note.as_str()).collect()
}

#[test]
fn what_comes_again_is_taken_once_and_a_new_run_counts_anew() {
    let mut ledger = Ledger::default();
    let mut take = |run, sequences: &[u64]| {
        let items = sequences.iter().map(|n| item(*n, "Error", true, NOON, Some(0))).collect();
        ledger.take(&node(), &batch(run, items), NOON, Duration::ZERO).new
    };
    assert_eq!(take(1, &[1, 2, 3]), 3);
    assert_eq!(take(1, &[1, 2, 3]), 0, "the answer was lost");
    assert_eq!(take(2, &[1, 2]), 2);
    assert_eq!(take(1, &[3, 4]), 1, "what an earlier run left");
}

#[test]
fn what_goes_well_is_shown_only_where_nobody_could_see_it_or_it_was_not_well_before() {
    let mut ledger = Ledger::default();
    let mut take = |n, reason, warning, age| {
        let items = vec![item(n, reason, warning, NOON, age)];
        ledger.take(&node(), &batch(1, items), NOON, Duration::ZERO).shown.len()
    };
    assert_eq!(take(1, "Ready", false, Some(1)), 0, "a rollout costs no Event per node");
    assert_eq!(take(2, "Ready", false, Some(600)), 1, "it was away");
    assert_eq!(take(3, "NotReady", true, Some(1)), 1);
    assert_eq!(take(4, "Ready", false, Some(1)), 1, "well again");
    assert_eq!(take(5, "Ready", false, Some(1)), 0);
}

#[test]
fn an_event_says_when_it_happened_and_when_it_was_told() {
    let mut ledger = Ledger::default();
    let crashes = Transition {
        count: 4,
        first: NOON - 3 * HOUR,
        ..item(1, "Error", true, NOON - 2 * HOUR, Some(7200))
    };
    let live = item(2, "NotReady", true, NOON, Some(1));
    let taken = ledger.take(&node(), &batch(10, vec![crashes, live]), NOON, Duration::ZERO);
    assert_eq!(
        notes(&taken),
        [
            "box-7: Running: words; 4 times since 2027-01-15T05:00:00Z; happened at 2027-01-15T06:00:00Z, told at 2027-01-15T08:00:00Z, 2 h later",
            "box-7: Running: words"
        ]
    );
    assert_eq!((taken.shown[0].first, taken.shown[0].last), (NOON - 3 * HOUR, NOON - 2 * HOUR));
    assert_eq!(taken.shown[0].id, "000000000000000a-1");
}

#[test]
fn a_wrong_clock_of_the_box_does_not_make_a_wrong_time() {
    let year = 365 * 24 * HOUR;
    for (box_says, age, offset, expected) in [
        // The box knows how long ago it was, whatever its clock says.
        (NOON - year, Some(600), None, NOON - 600_000),
        (NOON + year, Some(600), Some(-year), NOON - 600_000),
        // It was in an earlier run; its clock is wrong by a known amount.
        (NOON - year - HOUR, None, Some(year), NOON - HOUR),
        (NOON + year - HOUR, None, Some(-year), NOON - HOUR),
        // Nobody knows. At least it was not in the future.
        (NOON + year, None, None, NOON),
        // A second more or less is no wrong clock.
        (NOON - HOUR, None, Some(1500), NOON - HOUR),
        (i64::MIN, None, Some(i64::MIN), 0),
        (i64::MAX, Some(u64::MAX), Some(i64::MAX), 0),
    ] {
        let items = vec![item(1, "Error", true, box_says, age)];
        let taken =
            Ledger::default().take(&node(), &Batch { offset, ..batch(1, items) }, NOON, Duration::ZERO);
        assert_eq!(taken.shown[0].last, expected, "{box_says} {age:?} {offset:?}");
        let said = taken.shown[0].note.contains("the box's clock said");
        assert_eq!(said, expected.abs_diff(box_says) > 60_000, "{}", taken.shown[0].note);
    }
}

#[test]
fn a_box_that_was_away_for_weeks_does_not_flood_the_api() {
    let mut ledger = Ledger::default();
    let items: Vec<_> = (1..=1000).map(|n| item(n, "Error", true, NOON - 1000 + n as i64, None)).collect();
    let (mut shown, mut withheld) = (0, 0);
    for chunk in items.chunks(64) {
        let taken = ledger.take(&node(), &batch(1, chunk.to_vec()), NOON, Duration::ZERO);
        shown += taken.shown.len();
        withheld += taken.withheld;
        ledger.dropped(1);
        assert_eq!(ledger.summaries(NOON, Duration::ZERO), [], "that has its pace, too");
    }
    assert_eq!((shown, withheld), (50, 950));
    let wake = ledger.wake_at().expect("there is something to say");
    assert_eq!(wake, INTERVAL);
    let said = |ledger: &mut Ledger, now| {
        let said = ledger.summaries(NOON, now);
        said.into_iter().map(|shown| (shown.reason, shown.note)).collect::<Vec<_>>()
    };
    let [(reason, note)] = &said(&mut ledger, wake)[..] else { panic!("one at a time") };
    assert_eq!(reason, "MoreHappened");
    assert!(note.starts_with("950 more things happened from 2027-01-15T07:59:"), "{note}");
    let wake = ledger.wake_at().expect("the other");
    let [(reason, note)] = &said(&mut ledger, wake)[..] else { panic!("one at a time") };
    assert_eq!(reason, "TransitionsDropped");
    assert!(note.starts_with("16 things that happened"), "{note}");
    assert_eq!((ledger.wake_at(), said(&mut ledger, INTERVAL * 99)), (None, Vec::new()));
    let mut ledger = Ledger { rested: Some(INTERVAL * BURST), ..Ledger::default() };
    let later = |ledger: &mut Ledger, n, minutes: u64| {
        let items = (n..n + 64).map(|n| item(n, "Error", true, NOON, None)).collect();
        ledger.take(&node(), &batch(1, items), NOON, Duration::from_secs(60 * minutes)).shown.len()
    };
    assert_eq!(later(&mut ledger, 2000, 1), 10, "ten a minute");
    assert_eq!(later(&mut ledger, 3000, 60), 50);
}

#[test]
fn what_is_remembered_of_a_node_is_bounded() {
    let mut ledger = Ledger::default();
    for n in 0..2000 {
        let subject = Subject::App(key(&format!("app-{n}")));
        let items = vec![Transition { subject, ..item(1, "Error", true, NOON, None) }];
        ledger.take(&node(), &batch(n, items), NOON, Duration::ZERO);
    }
    assert!(ledger.runs.len() <= RUNS_MAX && ledger.warned.len() <= WARNED_MAX);
}
