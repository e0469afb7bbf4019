//! A11 under everything that can happen: news, repeats, links that come and go, acknowledgements that are lost, restarts.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn app(name: &str) -> About {
    About::App(AppKey::new("plant-a", name).expect("a key"))
}

fn news(about: About, reason: &str) -> News {
    News {
        about,
        uid: "u".into(),
        revision: "r".into(),
        phase: Some(Phase::Running),
        reason: reason.into(),
        message: "m".into(),
        warning: false,
        exit_code: None,
        restart_count: 0,
    }
}

fn at(seconds: u64) -> Monotonic {
    Monotonic(Duration::from_secs(seconds))
}

fn fresh() -> Outbox {
    Outbox::new(7, String::new(), Kept::default())
}

fn put(outbox: &mut Outbox, about: About, reason: &str, second: u64) {
    outbox.put(news(about, reason), WallMillis(second as i64 * 1000), at(second));
}

fn story(outbox: &Outbox) -> Vec<(u64, String, u32)> {
    outbox.waiting().map(|t| (t.sequence, t.news.reason.clone(), t.count)).collect()
}

#[test]
fn a_crash_loop_of_weeks_is_three_transitions_and_pushes_nothing_out() {
    let mut outbox = fresh();
    put(&mut outbox, app("quiet"), "Ready", 0);
    for round in 0..5000 {
        for reason in ["Error", "CrashLoopBackOff", "Ready"] {
            put(&mut outbox, app("loop"), reason, 1 + round * 300);
        }
    }
    let reasons: Vec<_> = story(&outbox).into_iter().map(|(_, reason, count)| (reason, count)).collect();
    let expected = [("Ready", 1), ("Error", 5000), ("CrashLoopBackOff", 5000), ("Ready", 5000)];
    assert_eq!(reasons, expected.map(|(reason, count)| (reason.to_owned(), count)));
    let error = outbox.waiting().nth(1).expect("it is there");
    assert_eq!((error.first, error.last), (WallMillis(1000), WallMillis((1 + 4999 * 300) * 1000)));
    assert_eq!(outbox.dropped(), Dropped::default());
}

#[test]
fn what_was_sent_is_not_counted_up_any_more() {
    let mut outbox = fresh();
    put(&mut outbox, app("a"), "Error", 1);
    outbox.opened();
    assert_eq!(outbox.batch(at(1)).expect("a batch").transitions[0].count, 1);
    put(&mut outbox, app("a"), "Error", 2);
    put(&mut outbox, app("a"), "Error", 3);
    assert_eq!(story(&outbox), [(1, "Error".into(), 1), (3, "Error".into(), 2)]);
    assert_eq!(outbox.batch(at(3)), None, "one on its way");
    outbox.told(7, 1, at(3));
    assert_eq!(outbox.batch(at(3)).expect("the rest").transitions[0].sequence, 3);
    outbox.told(7, 3, at(3));
    assert_eq!((story(&outbox), outbox.bytes, outbox.batch(at(4))), (vec![], 0, None));
}

#[test]
fn an_answer_that_does_not_come_is_asked_for_again_and_a_new_link_at_once() {
    let mut outbox = fresh();
    put(&mut outbox, app("a"), "Error", 1);
    assert_eq!(outbox.batch(at(1)), None, "there is no link");
    outbox.opened();
    let first = outbox.batch(at(1)).expect("a batch");
    assert_eq!(outbox.wake_at(), Some(at(31)));
    assert_eq!(outbox.batch(at(30)), None);
    assert_eq!(outbox.batch(at(31)), Some(first.clone()));
    outbox.closed();
    assert_eq!(outbox.batch(at(99)), None);
    outbox.opened();
    assert_eq!(outbox.batch(at(99)), Some(first));
}

#[test]
fn what_is_told_at_once_costs_the_disk_nothing_and_what_is_not_is_written_once() {
    let mut outbox = fresh();
    outbox.opened();
    put(&mut outbox, app("a"), "Error", 1);
    let batch = outbox.batch(at(1)).expect("a batch");
    outbox.told(7, batch.transitions[0].sequence, at(2));
    assert_eq!((outbox.wake_at(), outbox.to_save(at(999), true)), (None, None));

    outbox.closed();
    put(&mut outbox, app("a"), "Error", 1000);
    put(&mut outbox, app("b"), "Error", 1020);
    assert_eq!(outbox.wake_at(), Some(at(1030)));
    assert_eq!(outbox.to_save(at(1029), false), None);
    assert_eq!(outbox.to_save(at(1030), false).expect("a write").transitions.len(), 2);
    assert_eq!((outbox.wake_at(), outbox.to_save(at(9999), true)), (None, None), "nothing is new");

    put(&mut outbox, app("b"), "Error", 2000);
    assert_eq!(outbox.wake_at(), Some(at(2000).after(SAVE_SLOWLY)), "a repeat is not urgent");
    assert!(outbox.to_save(at(2001), true).is_some(), "but it is written at the end");
    outbox.not_saved(at(2001));
    assert_eq!(outbox.wake_at(), Some(at(2001).after(SAVE_SLOWLY)), "a full disk is not pressed");

    outbox.opened();
    while let Some(batch) = outbox.batch(at(2002)) {
        outbox.told(batch.run, batch.transitions.last().map_or(0, |last| last.sequence), at(2002));
    }
    let kept = outbox.to_save(at(5000), false).expect("what was told must not be told again");
    assert!(kept.transitions.is_empty());
}

#[test]
fn another_run_tells_what_the_one_before_kept_under_its_own_numbers() {
    let mut outbox = fresh();
    put(&mut outbox, app("a"), "Error", 1);
    put(&mut outbox, app("b"), "Error", 2);
    let kept = outbox.to_save(at(2), true).expect("a write");
    let mut next = Outbox::new(8, "boot".into(), kept);
    put(&mut next, app("b"), "Error", 0);
    put(&mut next, app("c"), "Error", 0);
    next.opened();
    let batch = next.batch(at(0)).expect("a batch");
    assert_eq!((batch.run, batch.transitions.len()), (7, 1), "b has a newer count");
    assert_eq!(batch.transitions[0].at, None);
    next.told(7, u64::MAX, at(0));
    let batch = next.batch(at(0)).expect("a batch");
    let told: Vec<_> = batch.transitions.iter().map(|t| (t.sequence, t.count)).collect();
    assert_eq!((batch.run, told), (8, vec![(3, 2), (4, 1)]));
}

#[test]
fn a_box_that_was_started_anew_writes_that_down_once() {
    let mut outbox = Outbox::new(1, "boot-2".into(), Kept { boot_id: "boot-1".into(), ..Kept::default() });
    assert_eq!(outbox.wake_at(), Some(at(30)));
    let kept = outbox.to_save(at(30), false).expect("a write");
    assert_eq!(kept.boot_id, "boot-2");
    assert_eq!(Outbox::new(2, "boot-2".into(), kept).wake_at(), None);
}

#[test]
fn a_text_is_cut_to_its_cap() {
    let mut outbox = fresh();
    let long = News { message: "ä".repeat(4000), ..news(app("a"), "Error") };
    outbox.put(long, WallMillis(0), at(0));
    assert!(outbox.waiting().all(|t| t.news.message.len() <= WORDS_MAX));
}

#[derive(Debug, Clone)]
enum Happens {
    News {
        about: usize,
        reason: usize,
        words: usize,
    },
    Opens,
    Closes,
    Sends,
    /// The controller's answer arrives, or is lost.
    Answers {
        lost: bool,
    },
    Saves,
    /// The agent is killed; the next begins with what was written last.
    Dies,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => (0..40usize, 0..4usize, 0..250usize).prop_map(|(about, reason, words)| Happens::News { about, reason, words }),
        1 => Just(Happens::Opens),
        1 => Just(Happens::Closes),
        2 => Just(Happens::Sends),
        2 => any::<bool>().prop_map(|lost| Happens::Answers { lost }),
        1 => Just(Happens::Saves),
        1 => Just(Happens::Dies),
    ]
}

/// Every rule that holds at every moment.
fn check(outbox: &Outbox) {
    let waiting: Vec<_> = outbox.waiting().collect();
    assert!(waiting.len() <= TRANSITIONS_MAX && outbox.bytes <= BYTES_MAX);
    assert_eq!(outbox.bytes, waiting.iter().map(|t| size(&t.news)).sum::<usize>());
    let mut about = BTreeMap::new();
    waiting.iter().for_each(|t| *about.entry(t.news.about.clone()).or_default() += 1);
    assert_eq!(outbox.about, about);
    assert!(waiting.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "in order");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn it_stays_bounded_in_order_and_nothing_gets_lost_uncounted(
        steps in prop::collection::vec(happens(), 1..400),
        burst in 0..1500usize,
    ) {
        let mut outbox = fresh();
        let mut run = 7;
        // What was put and not told, by its number; what a dead agent had not written is gone with it.
        let (mut put_in, mut told) = (0u64, 0u64);
        let mut seen: BTreeSet<(u64, u64)> = BTreeSet::new();
        let mut newest: BTreeMap<About, String> = BTreeMap::new();
        let mut on_disk = (Kept::default(), 0u64, 0u64, BTreeMap::new());
        let mut sent: Option<(u64, u64, u64)> = None;
        let floods = (0..burst).map(|n| Happens::News { about: 1000 + n, reason: 0, words: 200 });
        for (second, step) in steps.into_iter().chain(floods).enumerate() {
            let now = at(second as u64);
            match step {
                Happens::News { about, reason, words } => {
                    let about = app(&format!("app-{about}"));
                    let reason = format!("Reason{reason}");
                    newest.insert(about.clone(), reason.clone());
                    outbox.put(News { message: "x".repeat(words), ..news(about, &reason) }, WallMillis(0), now);
                    put_in += 1;
                }
                Happens::Opens => { outbox.opened(); sent = None; }
                Happens::Closes => { outbox.closed(); sent = None; }
                Happens::Sends => if let Some(batch) = outbox.batch(now) {
                    prop_assert!(batch.transitions.len() <= BATCH_MAX);
                    prop_assert!(batch.transitions.iter().all(|t| t.run == batch.run));
                    let last = batch.transitions.last().expect("no empty batch").sequence;
                    let count = batch.transitions.iter().map(|t| u64::from(t.count)).sum();
                    sent = Some((batch.run, last, count));
                },
                Happens::Answers { lost: true } => sent = None,
                Happens::Answers { lost: false } => if let Some((run, upto, _)) = sent.take() {
                    let before: u64 = outbox.waiting().map(|t| u64::from(t.count)).sum();
                    let first: Vec<_> = outbox.waiting().filter(|t| t.sent && t.run == run && t.sequence <= upto).map(|t| (t.run, t.sequence)).collect();
                    outbox.told(run, upto, now);
                    for number in first {
                        prop_assert!(seen.insert(number), "{number:?} was told twice under one number");
                    }
                    told += before - outbox.waiting().map(|t| u64::from(t.count)).sum::<u64>();
                },
                Happens::Saves => if let Some(kept) = outbox.to_save(now, true) {
                    on_disk = (kept, put_in, told, newest.clone());
                },
                Happens::Dies => {
                    run += 1;
                    seen.clear();
                    let kept;
                    (kept, put_in, told, newest) = on_disk.clone();
                    outbox = Outbox::new(run, String::new(), kept);
                    sent = None;
                }
            }
            if second % 16 > 0 && second > 400 {
                continue;
            }
            check(&outbox);
            let waiting: u64 = outbox.waiting().map(|t| u64::from(t.count)).sum();
            prop_assert!(put_in >= waiting + told);
            if outbox.dropped() == Dropped::default() {
                prop_assert_eq!(put_in, waiting + told, "lost and not counted");
            }
            if outbox.dropped().newest == 0 {
                for transition in outbox.waiting() {
                    prop_assert!(newest.contains_key(&transition.news.about));
                }
                let mut last = BTreeMap::new();
                for transition in outbox.waiting() {
                    last.insert(transition.news.about.clone(), transition.news.reason.clone());
                }
                for (about, reason) in last {
                    prop_assert_eq!(newest.get(&about), Some(&reason), "the newest of each survives");
                }
            }
        }
    }
}

#[test]
fn what_an_earlier_run_kept_comes_first_whenever_it_can_be_read() {
    let mut before = Outbox::new(3, "boot".into(), Kept::default());
    put(&mut before, app("web"), "Old", 1);
    put(&mut before, app("db"), "Old", 2);
    let kept = before.to_save(at(2), true).expect("a write");

    let mut outbox = fresh();
    put(&mut outbox, app("web"), "New", 1);
    let since = outbox.to_save(at(2), true).expect("a write");
    outbox.recall(kept.clone(), at(2));
    let runs: Vec<_> = outbox.waiting().map(|t| (t.run, t.news.reason.as_str())).collect();
    assert_eq!(runs, [(3, "Old"), (3, "Old"), (7, "New")]);
    let both = outbox.to_save(at(2), false).expect("the disk is to have both, and soon");
    let reasons = |kept: &Kept| kept.transitions.iter().map(|t| t.news.reason.clone()).collect::<Vec<_>>();
    assert_eq!(reasons(&both), ["Old", "Old", "New"]);
    assert_eq!(reasons(&since.after(kept)), reasons(&both));
    put(&mut outbox, app("api"), "New", 3);
    let last = outbox.waiting().last().expect("it is there");
    assert!(outbox.waiting().filter(|t| t.run == 7).all(|t| t.sequence <= last.sequence));
    outbox.opened();
    let batch = outbox.batch(at(4)).expect("a batch");
    assert_eq!((batch.run, batch.transitions.len()), (3, 2));
    outbox.told(3, 2, at(4));
    assert_eq!(outbox.batch(at(4)).expect("another").run, 7);
}
