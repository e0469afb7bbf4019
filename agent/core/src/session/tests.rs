//! The session under a controller that sends anything in any order, links that break anywhere and a disk that fails.

use proptest::prelude::*;
use skerry_terms::{AppKey, Digest, Generation, Payload, PayloadSet, Phase};

use super::{AckOutcome, Effect, Frame, Held, Input, Outgoing, Session, SetCaps};
use crate::AppStatus;

const CAPS: SetCaps = SetCaps { apps: 8, bytes: 1000 };

fn key(name: &str) -> AppKey {
    AppKey::new("plant-a", name).expect("a key")
}

fn generation(apps: u64) -> Generation {
    Generation::new("epoch-1", [("edgeapps".to_owned(), apps)]).expect("a generation")
}

fn set(apps: &[(&str, &str)]) -> PayloadSet {
    apps.iter().map(|(name, payload)| (key(name), Payload::from(payload.as_bytes()))).collect()
}

fn held(version: u64, apps: &[(&str, &str)]) -> Held {
    Held { generation: generation(version), set: set(apps) }
}

/// The frames of a whole set.
fn snapshot(held: &Held, accept_past: bool) -> Vec<Frame> {
    let begin = Frame::Begin { generation: held.generation.clone(), base: None, accept_past };
    let app = |(key, payload): (&AppKey, &Payload)| Frame::App { key: key.clone(), payload: payload.clone() };
    let frames = std::iter::once(begin).chain(held.set.iter().map(app));
    frames.chain([Frame::Commit { digest: held.digest() }]).collect()
}

fn receive(session: &mut Session, frames: Vec<Frame>) -> Vec<Effect> {
    frames.into_iter().flat_map(|frame| session.handle(Input::Received(frame))).collect()
}

fn connected(held: Option<Held>) -> Session {
    let mut session = Session::new(held, CAPS);
    session.handle(Input::Connected);
    session
}

fn outcome(effects: &[Effect]) -> Option<AckOutcome> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send(Outgoing::Ack { outcome, .. }) => Some(*outcome),
        Effect::Send(Outgoing::Hello { .. } | Outgoing::Status { .. })
        | Effect::Persist(_)
        | Effect::Adopt(_)
        | Effect::Close { .. } => None,
    })
}

#[test]
fn a_set_is_stored_then_adopted_then_acknowledged() {
    let mut session = connected(None);
    let new = held(1, &[("web", "a")]);
    assert_eq!(receive(&mut session, snapshot(&new, false)), [Effect::Persist(new.clone())]);
    assert_eq!(session.held(), None);
    let effects = session.handle(Input::Persisted { generation: new.generation.clone() });
    assert_eq!(effects[0], Effect::Adopt(new.clone()));
    assert_eq!(outcome(&effects), Some(AckOutcome::Adopted));
    assert_eq!(session.held(), Some(&new));
}

#[test]
fn hello_tells_what_is_held() {
    let old = held(3, &[("web", "a")]);
    let effects = Session::new(Some(old.clone()), CAPS).handle(Input::Connected);
    let hello = Outgoing::Hello { held: Some((old.generation.clone(), old.digest())) };
    assert_eq!(effects[0], Effect::Send(hello));
}

#[test]
fn the_four_answers() {
    let old = held(5, &[("web", "a")]);
    let cases = [
        (held(4, &[]), false, Some(AckOutcome::Stale)),
        (held(5, &[("web", "a")]), false, Some(AckOutcome::Adopted)),
        (held(5, &[("web", "b")]), false, Some(AckOutcome::Conflict)),
        (held(6, &[("web", "b")]), false, None),
        // The operator accepted the past.
        (held(4, &[]), true, None),
    ];
    for (new, accept_past, expected) in cases {
        let mut session = connected(Some(old.clone()));
        let effects = receive(&mut session, snapshot(&new, accept_past));
        assert_eq!(outcome(&effects), expected, "{new:?}");
        assert_eq!(effects == [Effect::Persist(new.clone())], expected.is_none());
        assert_eq!(session.held(), Some(&old));
    }
}

#[test]
fn another_cluster_does_not_replace_what_is_held() {
    let mut session = connected(Some(held(5, &[("web", "a")])));
    let other = Generation::new("epoch-2", [("edgeapps".to_owned(), 9)]).expect("a generation");
    let effects = receive(&mut session, snapshot(&Held { generation: other, set: set(&[]) }, false));
    assert_eq!(outcome(&effects), Some(AckOutcome::Stale));
}

#[test]
fn a_delta_changes_the_held_set() {
    let old = held(1, &[("web", "a"), ("db", "a")]);
    let new = held(2, &[("web", "b"), ("mq", "c")]);
    let mut session = connected(Some(old.clone()));
    let frames = vec![
        Frame::Begin { generation: generation(2), base: Some(old.digest()), accept_past: false },
        Frame::App { key: key("web"), payload: Payload::from(&b"b"[..]) },
        Frame::App { key: key("mq"), payload: Payload::from(&b"c"[..]) },
        Frame::Remove { key: key("db") },
        Frame::Commit { digest: new.digest() },
    ];
    assert_eq!(receive(&mut session, frames), [Effect::Persist(new)]);
}

#[test]
fn a_delta_on_another_base_is_garbled() {
    let mut session = connected(Some(held(1, &[("web", "a")])));
    let frames = vec![
        Frame::Begin { generation: generation(2), base: Some(Digest::of(&set(&[]))), accept_past: false },
        Frame::Commit { digest: Digest::of(&set(&[])) },
    ];
    assert_eq!(outcome(&receive(&mut session, frames)), Some(AckOutcome::Garbled));
}

#[test]
fn a_wrong_digest_is_garbled() {
    let mut session = connected(None);
    let mut frames = snapshot(&held(1, &[("web", "a")]), false);
    frames.remove(1);
    assert_eq!(outcome(&receive(&mut session, frames)), Some(AckOutcome::Garbled));
}

#[test]
fn what_was_half_received_dies_with_its_link() {
    let mut session = connected(None);
    let frames = snapshot(&held(1, &[("web", "a")]), false);
    receive(&mut session, frames[..2].to_vec());
    session.handle(Input::Disconnected);
    session.handle(Input::Connected);
    let effects = receive(&mut session, frames[2..].to_vec());
    assert!(matches!(&effects[..], [Effect::Close { .. }]), "{effects:?}");
}

#[test]
fn a_disk_that_refuses_changes_nothing_and_is_told() {
    let old = held(1, &[("web", "a")]);
    let mut session = connected(Some(old.clone()));
    receive(&mut session, snapshot(&held(2, &[]), false));
    let effects = session.handle(Input::PersistFailed { why: "no space left".into() });
    assert_eq!((outcome(&effects), session.held()), (Some(AckOutcome::NotStored), Some(&old)));
}

#[test]
fn a_set_that_the_disk_takes_later_is_in_force_then() {
    let (old, new) = (held(1, &[("web", "a")]), held(2, &[("web", "b")]));
    let mut session = connected(Some(old.clone()));
    receive(&mut session, snapshot(&new, false));
    session.handle(Input::PersistFailed { why: "no space left".into() });
    assert_eq!(session.handle(Input::PersistFailed { why: "no space left".into() }), [], "told once");
    let effects = session.handle(Input::Persisted { generation: generation(2) });
    assert_eq!((effects.first(), outcome(&effects)), (Some(&Effect::Adopt(new)), Some(AckOutcome::Adopted)));
}

#[test]
fn a_set_does_not_wait_for_one_that_the_disk_did_not_take() {
    let (old, new) = (held(1, &[("web", "a")]), held(3, &[("web", "c")]));
    let mut session = connected(Some(old.clone()));
    receive(&mut session, snapshot(&held(2, &[("web", "b")]), false));
    session.handle(Input::PersistFailed { why: "no space left".into() });
    // The controller knows that the old set is still the one that is held.
    let frames = vec![
        Frame::Begin { generation: generation(3), base: Some(old.digest()), accept_past: false },
        Frame::App { key: key("web"), payload: new.set[&key("web")].clone() },
        Frame::Commit { digest: new.digest() },
    ];
    assert_eq!(receive(&mut session, frames), [Effect::Persist(new.clone())]);
    assert_eq!(session.handle(Input::Persisted { generation: generation(2) }), [], "of the one before");
    let effects = session.handle(Input::Persisted { generation: generation(3) });
    assert_eq!(effects.first(), Some(&Effect::Adopt(new)));
}

#[test]
fn an_ack_does_not_cross_to_the_next_link() {
    let mut session = connected(None);
    let new = held(1, &[]);
    receive(&mut session, snapshot(&new, false));
    session.handle(Input::Disconnected);
    session.handle(Input::Connected);
    let effects = session.handle(Input::Persisted { generation: new.generation.clone() });
    assert_eq!(effects[0], Effect::Adopt(new));
    assert_eq!(outcome(&effects), None);
}

#[test]
fn a_set_over_the_caps_ends_the_link() {
    let mut session = connected(None);
    let big = Held { generation: generation(1), set: [(key("web"), Payload::from(vec![0; 1001]))].into() };
    let effects = receive(&mut session, snapshot(&big, false));
    assert!(matches!(&effects[..], [Effect::Close { .. }, ..]), "{effects:?}");
    let names: Vec<String> = (0..9).map(|i| format!("a{i}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let effects = receive(&mut connected(None), snapshot(&held(1, &many), false));
    assert!(matches!(&effects[..], [Effect::Close { .. }, ..]), "{effects:?}");
}

#[test]
fn a_set_that_the_hello_did_not_tell_of_is_told_by_another_hello() {
    let mut session = connected(Some(held(1, &[("web", "a")])));
    let new = held(2, &[("web", "b")]);
    receive(&mut session, snapshot(&new, false));
    session.handle(Input::Disconnected);
    let told = session.handle(Input::Connected);
    let before = held(1, &[("web", "a")]);
    let hello = Outgoing::Hello { held: Some((before.generation.clone(), before.digest())) };
    assert_eq!(told[0], Effect::Send(hello), "the disk does not have it yet");
    let effects = session.handle(Input::Persisted { generation: new.generation.clone() });
    assert_eq!(effects[0], Effect::Adopt(new.clone()));
    assert!(matches!(effects[1..], [Effect::Close { .. }]), "{effects:?}");
    let hello = Outgoing::Hello { held: Some((new.generation.clone(), new.digest())) };
    assert_eq!(session.handle(Input::Connected)[0], Effect::Send(hello));
}

#[test]
fn only_changes_of_status_are_sent() {
    let status = |name: &str, phase| AppStatus { phase, ..AppStatus::removed(key(name)) };
    let mut session = connected(None);
    let both = vec![status("a", Phase::Running), status("b", Phase::Pending)];
    let effects = session.handle(Input::Status(both.clone()));
    assert_eq!(effects, [Effect::Send(Outgoing::Status { full: true, apps: both.clone() })]);
    assert_eq!(session.handle(Input::Status(both)), []);
    let effects = session.handle(Input::Status(vec![status("b", Phase::Running)]));
    let changed = vec![status("b", Phase::Running), AppStatus::removed(key("a"))];
    assert_eq!(effects, [Effect::Send(Outgoing::Status { full: false, apps: changed })]);
    // A new link hears everything.
    let effects = session.handle(Input::Connected);
    let full = Outgoing::Status { full: true, apps: vec![status("b", Phase::Running)] };
    assert_eq!(effects[1], Effect::Send(full));
}

#[test]
fn nothing_is_said_of_apps_before_the_box_was_looked_at() {
    let mut session = Session::new(Some(held(1, &[("web", "a")])), CAPS);
    assert_eq!(session.handle(Input::Connected).len(), 1, "the hello alone");
    let none = session.handle(Input::Status(Vec::new()));
    assert_eq!(none, [Effect::Send(Outgoing::Status { full: true, apps: Vec::new() })]);
}

/// What the world may do to a session.
#[derive(Debug, Clone)]
enum Event {
    Connect,
    Disconnect,
    /// A whole set of this version; content follows from the version, unless it is a forgery.
    Snapshot {
        version: u64,
        forged: bool,
    },
    /// Frame number n of some set, alone.
    Stray {
        version: u64,
        frame: usize,
    },
    DiskDone,
    DiskFails,
    /// The agent is killed and starts again with what is on its disk.
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Connect),
        Just(Event::Disconnect),
        (0u64..8, prop::bool::weighted(0.2))
            .prop_map(|(version, forged)| Event::Snapshot { version, forged }),
        (0u64..8, 0usize..3).prop_map(|(version, frame)| Event::Stray { version, frame }),
        Just(Event::DiskDone),
        Just(Event::DiskDone),
        Just(Event::DiskFails),
        Just(Event::Crash),
    ]
}

fn version_set(version: u64, forged: bool) -> Held {
    let content = format!("{version}{}", if forged { "!" } else { "" });
    held(version, &[("web", &content)])
}

proptest! {
    /// A8, A10, and that content is never mixed: after any history, what is held is one whole set that was sent, no older than before; it
    /// is on disk before it is acknowledged and acted upon.
    #[test]
    fn what_is_held_is_whole_durable_and_never_older(events in prop::collection::vec(event(), 0..60)) {
        let mut disk: Option<Held> = None;
        let mut session = Session::new(None, CAPS);
        let mut writing: Option<Held> = None;
        let mut sent = Vec::new();
        for event in events {
            let before = session.held().cloned();
            let effects = match event {
                Event::Connect => session.handle(Input::Connected),
                Event::Disconnect => session.handle(Input::Disconnected),
                Event::Snapshot { version, forged } => {
                    let whole = version_set(version, forged);
                    sent.push(whole.clone());
                    receive(&mut session, snapshot(&whole, false))
                }
                Event::Stray { version, frame } => {
                    sent.push(version_set(version, false));
                    receive(&mut session, vec![snapshot(&version_set(version, false), false)[frame].clone()])
                }
                Event::DiskDone => match writing.take() {
                    Some(held) => {
                        disk = Some(held.clone());
                        session.handle(Input::Persisted { generation: held.generation })
                    }
                    None => Vec::new(),
                },
                Event::DiskFails => match writing.take() {
                    Some(_) => session.handle(Input::PersistFailed { why: "full".into() }),
                    None => Vec::new(),
                },
                Event::Crash => {
                    writing = None;
                    session = Session::new(disk.clone(), CAPS);
                    Vec::new()
                }
            };
            for effect in effects {
                match effect {
                    Effect::Persist(held) => {
                        prop_assert!(writing.is_none(), "one write at a time");
                        prop_assert!(sent.iter().any(|sent| sent.set == held.set), "mixed content: {:?}", held);
                        prop_assert!(sent.iter().any(|sent| sent.generation == held.generation));
                        writing = Some(held);
                    }
                    Effect::Adopt(held) => prop_assert_eq!(Some(&held), disk.as_ref(), "acted upon before it was stored"),
                    Effect::Send(Outgoing::Ack { generation, digest, outcome: AckOutcome::Adopted, .. }) => {
                        let stored = disk.as_ref().map(|held| (held.generation.clone(), held.digest()));
                        prop_assert_eq!(stored, Some((generation, digest)), "A10");
                    }
                    Effect::Send(_) | Effect::Close { .. } => {}
                }
            }
            if let (Some(before), Some(after)) = (before, session.held()) {
                prop_assert!(after.generation >= before.generation, "A8");
                prop_assert!(after.generation != before.generation || *after == before, "same generation, other content");
            }
            prop_assert_eq!(session.held(), disk.as_ref());
        }
    }

    /// Whatever happened before, a newer whole set over a good link and a good disk is adopted.
    #[test]
    fn after_any_history_the_newest_set_gets_through(events in prop::collection::vec(event(), 0..40)) {
        let mut session = Session::new(None, CAPS);
        let mut writing: Option<Generation> = None;
        for event in events {
            let effects = match event {
                Event::Connect => session.handle(Input::Connected),
                Event::Disconnect => session.handle(Input::Disconnected),
                Event::Snapshot { version, forged } => receive(&mut session, snapshot(&version_set(version, forged), false)),
                Event::Stray { version, frame } => {
                    receive(&mut session, vec![snapshot(&version_set(version, false), false)[frame].clone()])
                }
                Event::DiskDone => writing.take().map_or(Vec::new(), |generation| session.handle(Input::Persisted { generation })),
                Event::DiskFails | Event::Crash => {
                    writing.take().map_or(Vec::new(), |_| session.handle(Input::PersistFailed { why: "full".into() }))
                }
            };
            for effect in effects {
                if let Effect::Persist(held) = effect {
                    writing = Some(held.generation);
                }
            }
        }
        let last = version_set(100, false);
        session.handle(Input::Connected);
        let mut effects = receive(&mut session, snapshot(&last, false));
        // A write of before may have to end first; then the agent says hello once more, and hears the set again.
        for _ in 0..3 {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Persist(held) => writing = Some(held.generation),
                    Effect::Close { .. } => {
                        session.handle(Input::Connected);
                        effects.extend(receive(&mut session, snapshot(&last, false)));
                    }
                    Effect::Adopt(_) | Effect::Send(_) => {}
                }
            }
            if let Some(generation) = writing.take() {
                effects.extend(session.handle(Input::Persisted { generation }));
            }
        }
        prop_assert_eq!(session.held(), Some(&last));
    }
}
