//! Table tests for the rules, and a simulation of one controller, one agent and a link that loses everything when it breaks.

use std::collections::VecDeque;

use proptest::prelude::*;
use skerry_terms::PayloadSet;

use super::*;

const NOW: Monotonic = Duration::ZERO;

fn generation(epoch: &str, position: u64) -> Generation {
    Generation::new(epoch, [("edgeapps".to_owned(), position)]).expect("a generation")
}

/// A set with an app for each number; the number is also the payload.
fn set(apps: &[u8]) -> Arc<DesiredSet> {
    let entry = |n: &u8| {
        let key = AppKey::new("default", &format!("a{}", n % 4)).expect("a key");
        (key, Payload::from([*n].as_slice()))
    };
    Arc::new(DesiredSet::new(apps.iter().map(entry).collect::<PayloadSet>()))
}

fn held(position: u64, apps: &[u8]) -> Option<Held> {
    Some(Held { generation: generation("e", position), digest: set(apps).digest() })
}

fn hello(held: Option<Held>) -> Input {
    Input::Hello { held, state_corrupt: String::new() }
}

fn desired(position: u64, apps: &[u8]) -> Input {
    listed(position, apps, 0, None)
}

/// The same when this many rounds of lists were asked for and have come, under this annotation.
fn listed(position: u64, apps: &[u8], rounds: u64, accept_past: Option<&str>) -> Input {
    Input::Desired {
        generation: generation("e", position),
        set: set(apps),
        accept_past: accept_past.map(str::to_owned),
        lists: Lists { asked: rounds, complete: rounds },
    }
}

fn ack(position: u64, apps: &[u8], outcome: Outcome) -> Input {
    Input::Ack {
        generation: generation("e", position),
        digest: set(apps).digest(),
        outcome,
        message: "why".into(),
    }
}

fn session() -> Session {
    Session::new("box-1".parse().expect("a name"))
}

/// A session after these inputs, all but the last one's effects forgotten.
fn after(inputs: impl IntoIterator<Item = Input>) -> (Session, Vec<Effect>) {
    let mut session = session();
    let mut effects = Vec::new();
    for input in inputs {
        effects = session.handle(input, NOW);
    }
    (session, effects)
}

fn sent(effects: &[Effect]) -> Vec<&Update> {
    fn update(effect: &Effect) -> Option<&Update> {
        match effect {
            Effect::Send(update) => Some(update),
            Effect::Welcome | Effect::Stall(_) | Effect::WakeAt(_) | Effect::Relist(_) => None,
        }
    }
    effects.iter().filter_map(update).collect()
}

fn stall_reason(session: &Session) -> Option<&'static str> {
    session.stall().map(|stall| stall.reason)
}

#[test]
fn equal_digests_send_nothing_whatever_the_generation() {
    for position in [1, 5, 9] {
        let (_, effects) = after([hello(held(5, &[1, 2])), desired(position, &[1, 2])]);
        assert_eq!(effects, [], "{position}");
    }
}

#[test]
fn the_first_contact_is_a_snapshot_and_then_come_deltas() {
    let (mut session, effects) = after([hello(held(1, &[1, 2])), desired(2, &[1, 3])]);
    let first = sent(&effects)[0].clone();
    assert_eq!((first.base, first.apps.len(), first.removed.len()), (None, 2, 0));
    session.handle(ack(2, &[1, 3], Outcome::Adopted), NOW);
    let effects = session.handle(desired(3, &[1, 2]), NOW);
    let second = sent(&effects)[0];
    assert_eq!(second.base, Some(set(&[1, 3]).digest()));
    assert_eq!((second.apps.len(), second.removed.len()), (1, 1));
}

#[test]
fn content_that_the_agent_held_on_arrival_is_a_base_once_it_is_known() {
    let (_, effects) = after([hello(held(1, &[1])), desired(2, &[1]), desired(3, &[1, 2])]);
    assert_eq!(sent(&effects)[0].base, Some(set(&[1]).digest()));
}

#[test]
fn the_empty_set_is_sent_explicitly() {
    let (_, effects) = after([hello(None), desired(1, &[])]);
    assert_eq!((sent(&effects).len(), sent(&effects)[0].apps.len()), (1, 0));
    let (_, effects) = after([hello(held(1, &[1])), desired(2, &[])]);
    assert_eq!(sent(&effects)[0].base, None);
}

#[test]
fn one_set_is_on_its_way_and_the_newest_follows() {
    let (mut session, effects) =
        after([hello(None), desired(1, &[1]), desired(2, &[1, 2]), desired(3, &[1, 2, 3])]);
    assert_eq!(effects, []);
    let effects = session.handle(ack(1, &[1], Outcome::Adopted), NOW);
    assert_eq!(sent(&effects)[0].digest, set(&[1, 2, 3]).digest());
}

#[test]
fn a_replica_that_is_behind_asks_for_lists_and_sends_when_they_are_newer() {
    let (mut session, effects) = after([hello(held(5, &[1])), desired(4, &[2])]);
    assert_eq!(effects, [Effect::Relist(1)]);
    assert!(session.waits_for_generation());
    assert_eq!(session.handle(desired(4, &[3]), NOW), [], "asked for once");
    assert_eq!(session.handle(listed(5, &[3], 1, None), NOW), [], "the same position proves nothing");
    assert_eq!(sent(&session.handle(listed(6, &[2], 1, None), NOW)).len(), 1);
}

#[test]
fn a_round_that_had_begun_before_proves_nothing() {
    let (mut session, _) = after([hello(held(5, &[1]))]);
    let lists = Lists { asked: 3, complete: 2 };
    let input =
        |lists| Input::Desired { generation: generation("e", 4), set: set(&[2]), accept_past: None, lists };
    assert_eq!(session.handle(input(lists), NOW), [Effect::Relist(4)]);
    session.handle(input(Lists { asked: 4, complete: 3 }), NOW);
    assert_eq!(stall_reason(&session), None);
    session.handle(input(Lists { asked: 4, complete: 4 }), NOW);
    assert_eq!(stall_reason(&session), Some(reasons::CLUSTER_WENT_BACK));
}

#[test]
fn a_cluster_that_went_back_stays_that_however_far_it_counts_on() {
    let (mut session, _) = after([hello(held(5, &[1])), desired(4, &[2]), listed(4, &[2], 1, None)]);
    let stall = session.stall().expect("a stall").clone();
    assert_eq!(stall.reason, reasons::CLUSTER_WENT_BACK);
    let command = "kubectl annotate edgenode box-1 skerry.dev/accept-past='e:edgeapps=5' --overwrite";
    assert!(stall.message.ends_with(command), "{}", stall.message);
    assert_eq!(session.handle(listed(60, &[2], 7, None), NOW), []);

    // Another session of the node, or another controller, starts where this one stood.
    let (mut session, effects) =
        after([hello(held(5, &[1])), Input::Recalled(stall.clone()), listed(61, &[2], 0, None)]);
    assert_eq!((effects, session.stall()), (vec![], Some(&stall)));
    let effects = session.handle(listed(62, &[2], 0, Some("e:edgeapps=5")), NOW);
    assert!(sent(&effects)[0].accept_past);
    session.handle(ack(62, &[2], Outcome::Adopted), NOW);
    assert_eq!(stall_reason(&session), None);
    assert_eq!(sent(&session.handle(desired(63, &[3]), NOW)).len(), 1, "as ever from here on");

    // It is about what the node held then, and over when there is nothing to send.
    let (_, effects) = after([hello(held(50, &[1])), Input::Recalled(stall.clone()), desired(61, &[2])]);
    assert_eq!(sent(&effects).len(), 1);
    let (session, _) = after([hello(held(5, &[1])), Input::Recalled(stall), desired(61, &[1])]);
    assert_eq!(stall_reason(&session), None);
}

#[test]
fn another_cluster_is_noticed_at_once_and_accepted_by_annotation() {
    let other = |accept: Option<&str>| Input::Desired {
        generation: generation("f", 9),
        set: set(&[2]),
        accept_past: accept.map(str::to_owned),
        lists: Lists::default(),
    };
    let (mut session, effects) = after([hello(held(5, &[1])), other(Some("e:edgeapps=4"))]);
    assert_eq!(sent(&effects).len(), 0, "an annotation of another time does not count");
    assert_eq!(stall_reason(&session), Some(reasons::CLUSTER_WENT_BACK));
    let effects = session.handle(other(Some("e:edgeapps=5")), NOW);
    assert!(sent(&effects)[0].accept_past);
    let digest = set(&[2]).digest();
    let (generation, outcome) = (generation("f", 9), Outcome::Adopted);
    session.handle(Input::Ack { generation, digest, outcome, message: String::new() }, NOW);
    assert_eq!(stall_reason(&session), None);
}

#[test]
fn a_whole_cluster_is_accepted_with_one_value_for_all_nodes() {
    let other = |epoch: &str, accept: &str| Input::Desired {
        generation: generation(epoch, 9),
        set: set(&[2]),
        accept_past: Some(accept.to_owned()),
        lists: Lists::default(),
    };
    let (_, effects) = after([hello(held(5, &[1])), other("f", "e")]);
    assert!(sent(&effects)[0].accept_past);
    let (_, effects) = after([hello(held(50, &[1])), other("e", "e")]);
    assert_eq!(sent(&effects).len(), 0, "within one cluster only the generation itself counts");
    let (_, effects) = after([hello(held(5, &[1])), other("f", "g")]);
    assert_eq!(sent(&effects).len(), 0, "a third cluster");
}

#[test]
fn who_holds_what_another_cluster_wants_follows_it() {
    let other = |position: u64, apps: &[u8]| Input::Desired {
        generation: generation("f", position),
        set: set(apps),
        accept_past: None,
        lists: Lists::default(),
    };
    let (mut session, effects) = after([hello(held(5, &[1, 2])), other(1, &[1, 2])]);
    let [update] = sent(&effects)[..] else { panic!("one update: {effects:?}") };
    assert!(update.accept_past && update.apps.is_empty() && update.removed.is_empty());
    assert_eq!(update.base, Some(update.digest));
    let digest = set(&[1, 2]).digest();
    let ack = Input::Ack {
        generation: generation("f", 1),
        digest,
        outcome: Outcome::Adopted,
        message: String::new(),
    };
    session.handle(ack, NOW);
    assert_eq!(session.handle(other(2, &[1, 2]), NOW), [], "it follows, and there is nothing to say");
    let effects = session.handle(other(3, &[1]), NOW);
    assert!(!sent(&effects)[0].accept_past, "what is newer needs no acceptance");
}

#[test]
fn garbled_frames_are_sent_once_more_as_a_snapshot() {
    let (mut session, _) = after([hello(held(1, &[1])), desired(2, &[1]), desired(3, &[2])]);
    let effects = session.handle(ack(3, &[2], Outcome::Garbled), NOW);
    assert_eq!(sent(&effects)[0].base, None);
    let effects = session.handle(ack(3, &[2], Outcome::Garbled), NOW);
    assert_eq!((sent(&effects).len(), stall_reason(&session)), (0, Some(reasons::SET_GARBLED)));
    assert_eq!(sent(&session.handle(desired(4, &[2]), NOW)).len(), 0, "the same set again");
    assert_eq!(sent(&session.handle(desired(5, &[3]), NOW)).len(), 1);
}

#[test]
fn a_conflict_is_tried_once_more_with_a_newer_generation() {
    let (mut session, _) = after([hello(None), desired(2, &[2])]);
    let effects = session.handle(ack(2, &[2], Outcome::Conflict), NOW);
    assert_eq!((sent(&effects).len(), stall_reason(&session)), (0, Some(reasons::GENERATION_CONFLICT)));
    assert!(session.waits_for_generation());
    assert_eq!(sent(&session.handle(desired(3, &[2]), NOW)).len(), 1);
    session.handle(ack(3, &[2], Outcome::Conflict), NOW);
    assert!(!session.waits_for_generation());
    assert_eq!(sent(&session.handle(desired(4, &[2]), NOW)).len(), 0);
    assert_eq!(sent(&session.handle(desired(5, &[2]), RETRY_AFTER)).len(), 1);
    session.handle(ack(5, &[2], Outcome::Conflict), RETRY_AFTER);
    assert_eq!(sent(&session.handle(desired(6, &[2]), RETRY_AFTER)).len(), 0, "not in a loop");
}

#[test]
fn a_full_disk_is_told_and_tried_again_with_the_next_change() {
    let (mut session, _) = after([hello(None), desired(2, &[2])]);
    let effects = session.handle(ack(2, &[2], Outcome::NotStored), NOW);
    assert_eq!((sent(&effects).len(), stall_reason(&session)), (0, Some(reasons::STATE_NOT_DURABLE)));
    assert_eq!(sent(&session.handle(desired(3, &[2]), NOW)).len(), 0);
    for round in 1..4 {
        let now = DISK_RETRY_AFTER * round;
        assert_eq!(sent(&session.handle(desired(3, &[2]), now)).len(), 1, "the disk may have room by now");
        let effects = session.handle(ack(3, &[2], Outcome::NotStored), now);
        assert_eq!(effects, [Effect::WakeAt(now + DISK_RETRY_AFTER)], "no news");
    }
    session.handle(desired(4, &[3]), NOW);
    session.handle(ack(4, &[3], Outcome::Adopted), NOW);
    assert_eq!(stall_reason(&session), None);
}

#[test]
fn a_disk_that_takes_the_set_in_the_end_is_believed() {
    let (mut session, _) = after([hello(None), desired(2, &[2])]);
    session.handle(ack(2, &[2], Outcome::NotStored), NOW);
    session.handle(ack(2, &[2], Outcome::Adopted), NOW);
    assert_eq!(stall_reason(&session), None);
    assert_eq!(sent(&session.handle(desired(3, &[2]), DISK_RETRY_AFTER)).len(), 0, "it has it");
    assert_eq!(sent(&session.handle(desired(4, &[3]), DISK_RETRY_AFTER)).len(), 1);
}

#[test]
fn a_withheld_set_is_not_sent_and_says_why() {
    let why = Withheld::Frozen(AppKey::new("default", "web").expect("a key"));
    let (mut session, effects) = after([hello(held(1, &[1])), Input::Withheld(why)]);
    assert_eq!((sent(&effects).len(), stall_reason(&session)), (0, Some(reasons::INVALID_SPEC)));
    session.handle(desired(2, &[1]), NOW);
    assert_eq!(stall_reason(&session), None);
}

#[test]
fn a_corrupt_store_is_told_until_the_copy_has_arrived() {
    let corrupt = Input::Hello { held: None, state_corrupt: "bad checksum".into() };
    let (mut session, effects) = after([corrupt, desired(1, &[1])]);
    assert_eq!((sent(&effects).len(), stall_reason(&session)), (1, Some(reasons::STATE_CORRUPT)));
    session.handle(ack(1, &[1], Outcome::Adopted), NOW);
    assert_eq!(stall_reason(&session), None);
}

/// One step of the simulation.
#[derive(Debug, Clone)]
enum Step {
    /// Somebody edits the cluster.
    Edit(Vec<u8>),
    /// The controller hears of the newest state.
    Observe,
    /// The agent takes its next message.
    Deliver,
    /// The controller takes its next message.
    Answer,
    /// The link breaks with all that is on it, and a new session begins.
    Reconnect,
    /// The agent's disk is full for its next message.
    DiskFull,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        prop::collection::vec(0u8..12, 0..5).prop_map(Step::Edit),
        Just(Step::Observe),
        Just(Step::Deliver),
        Just(Step::Answer),
        Just(Step::Reconnect),
        Just(Step::DiskFull),
    ]
}

struct Sim {
    session: Session,
    down: VecDeque<Update>,
    up: VecDeque<Input>,
    position: u64,
    wanted: Arc<DesiredSet>,
    agent: Option<(Generation, PayloadSet)>,
    disk_full: bool,
    /// The newest position that the agent was ever sent.
    newest_sent: u64,
    sends: usize,
}

impl Sim {
    fn new() -> Self {
        let mut sim = Self {
            session: session(),
            down: VecDeque::new(),
            up: VecDeque::new(),
            position: 1,
            wanted: set(&[]),
            agent: None,
            disk_full: false,
            newest_sent: 0,
            sends: 0,
        };
        sim.reconnect();
        sim
    }

    fn control(&mut self, input: Input) {
        for effect in self.session.handle(input, NOW) {
            match effect {
                Effect::Send(update) => {
                    let position = update.generation.positions()["edgeapps"];
                    assert!(position >= self.newest_sent, "an older generation is never sent");
                    self.newest_sent = position;
                    self.sends += 1;
                    self.down.push_back(update);
                }
                Effect::Welcome | Effect::Stall(_) | Effect::WakeAt(_) | Effect::Relist(_) => {}
            }
        }
        assert!(self.down.len() <= 1, "one set at a time");
    }

    fn reconnect(&mut self) {
        self.session = session();
        (self.down, self.up) = (VecDeque::new(), VecDeque::new());
        let held = self
            .agent
            .as_ref()
            .map(|(generation, apps)| Held { generation: generation.clone(), digest: Digest::of(apps) });
        self.control(hello(held));
    }

    fn observe(&mut self) {
        self.control(Input::Desired {
            generation: generation("e", self.position),
            set: self.wanted.clone(),
            accept_past: None,
            lists: Lists::default(),
        });
    }

    /// The agent's side, as DESIGN's D2 asks for it.
    fn deliver(&mut self) {
        let Some(update) = self.down.pop_front() else {
            return;
        };
        let held = self.agent.as_ref().map(|(_, apps)| apps);
        let base_is_held = update.base.is_none_or(|base| held.is_some_and(|held| Digest::of(held) == base));
        assert!(base_is_held, "a delta applies to what the agent holds");
        let mut apps = match update.base {
            None => PayloadSet::new(),
            Some(_) => held.cloned().unwrap_or_default(),
        };
        apps.extend(update.apps);
        apps.retain(|key, _| !update.removed.contains(key));
        assert_eq!(Digest::of(&apps), update.digest, "the frames make the announced set");
        if let Some((held, _)) = &self.agent {
            assert!(update.generation.is_newer_than(held));
        }
        let outcome = if std::mem::take(&mut self.disk_full) {
            Outcome::NotStored
        } else {
            self.agent = Some((update.generation.clone(), apps));
            Outcome::Adopted
        };
        self.up.push_back(Input::Ack {
            generation: update.generation,
            digest: update.digest,
            outcome,
            message: String::new(),
        });
    }

    fn answer(&mut self) {
        if let Some(input) = self.up.pop_front() {
            self.control(input);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Edit(apps) => {
                self.position += 1;
                self.wanted = set(&apps);
            }
            Step::Observe => self.observe(),
            Step::Deliver => self.deliver(),
            Step::Answer => self.answer(),
            Step::Reconnect => self.reconnect(),
            Step::DiskFull => self.disk_full = true,
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_agent_ends_up_with_the_newest_set(steps in prop::collection::vec(step(), 0..60)) {
        let mut sim = Sim::new();
        steps.into_iter().for_each(|step| sim.step(step));
        // Heal: the disk has room, the link stands, the caches are fresh.
        sim.disk_full = false;
        sim.position += 1;
        sim.reconnect();
        sim.observe();
        for _ in 0..4 {
            sim.deliver();
            sim.answer();
        }
        prop_assert_eq!(sim.agent.as_ref().map(|(_, apps)| apps), Some(sim.wanted.apps()));
        // And then there is silence.
        let before = sim.sends;
        sim.position += 1;
        sim.observe();
        sim.reconnect();
        sim.observe();
        prop_assert_eq!(sim.sends, before);
    }
}
