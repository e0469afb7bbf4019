//! What boxes tell afterwards, and what is known of nodes whose controller died.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use skerry_api::SessionInfo;
use skerry_controller_core::node_status::NodeState;
use skerry_controller_core::transitions::{Batch, Subject, Transition};

use super::*;
use crate::k8s::{About, Notice, Replica};

fn transition(sequence: u64, subject: Subject, reason: &str) -> Transition {
    let now = Timestamp::now().as_millisecond();
    Transition {
        sequence,
        subject,
        uid: "u1".into(),
        phase: None,
        reason: reason.into(),
        message: "words".into(),
        warning: true,
        count: 1,
        first: now,
        last: now,
        age: Some(Duration::ZERO),
    }
}

fn batch(sequences: std::ops::RangeInclusive<u64>) -> Batch {
    let app = Subject::App(key("web"));
    Batch {
        run: 9,
        items: sequences.map(|n| transition(n, app.clone(), "CrashLoopBackOff")).collect(),
        ..Batch::default()
    }
}

fn acked(agent: &mut Agent) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| agent.frames.try_recv().ok())
        .filter_map(|frame| match frame {
            Outgoing::Told { run, upto } => Some((run, upto)),
            Outgoing::Welcome | Outgoing::Update(_) | Outgoing::Refusal { .. } => None,
        })
        .collect()
}

fn reasons_of(notices: &[Notice]) -> Vec<&str> {
    notices.iter().map(|notice| notice.reason.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_box_tells_becomes_an_event_once_and_is_acknowledged_each_time() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x:1"));
    bench.notices.try_iter();
    for _ in 0..2 {
        bench.said(&agent, Said::Transitions(batch(1..=3)));
    }
    assert_eq!(acked(&mut agent), [(9, 3), (9, 3)], "the first answer was lost");
    let notices = bench.notices.try_iter();
    assert_eq!(notices.len(), 3);
    assert!(matches!(&notices[0].about, About::App(app, uid) if *app == key("web") && uid == "u1"));
    let happened = notices[0].happened.as_ref().expect("a time");
    assert_eq!((happened.id.as_str(), happened.count), ("0000000000000009-1", 1));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_told_by_the_box_alone_where_it_tells_and_else_by_the_status() {
    for tells in [true, false] {
        let (mut bench, mut agent) = Bench::with_node("box-1");
        bench.apply_app("web", "u1", spec("x:1"));
        let update = agent.update().expect("a delta");
        bench.adopt(&agent, &update);
        if let Some(entry) = bench.hub.nodes.get_mut(&name("box-1")) {
            entry.tells_transitions = tells;
        }
        bench.notices.try_iter();
        bench.report(&agent, false, &[("web", Some("Failed"))]);
        bench.serve_api();
        let by_status = bench.notices.try_iter().len();
        assert_eq!(by_status, usize::from(!tells));
        bench.said(&agent, Said::Transitions(batch(1..=1)));
        assert_eq!(bench.notices.try_iter().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_queue_of_events_has_no_room_for_is_not_acknowledged() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.notices.try_iter();
    while bench.hub.out.events.room() > 10 {
        bench.hub.out.events.node(&name("other"), "u", false, "Filler", "");
    }
    bench.said(&agent, Said::Transitions(batch(1..=20)));
    assert_eq!(acked(&mut agent), []);
    bench.notices.try_iter();
    bench.said(&agent, Said::Transitions(batch(1..=20)));
    assert_eq!(acked(&mut agent), [(9, 20)]);
    assert_eq!(bench.notices.try_iter().len(), 20, "nothing was lost");
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_cut_and_said_and_what_a_box_lost_is_in_its_status() {
    let (mut bench, agent) = Bench::with_node("box-1");
    bench.notices.try_iter();
    for first in [1, 65] {
        bench.said(&agent, Said::Transitions(Batch { dropped: 7, ..batch(first..=first + 63) }));
    }
    assert_eq!(bench.notices.try_iter().len(), 50);
    bench.pass(Duration::from_secs(20)).await;
    let last = bench.notices.try_iter();
    assert_eq!(reasons_of(&last), ["MoreHappened", "TransitionsDropped"]);
    assert!(last[0].note.starts_with("78 more things happened"), "{}", last[0].note);
    assert!(last[1].note.starts_with("7 things that happened"), "{}", last[1].note);
    bench.serve_api();
    bench.pass(Duration::from_secs(60)).await;
    bench.serve_api();
    assert_eq!(bench.node_status("box-1").transitions_dropped, Some(7));
    assert_eq!(NodeState::recall(&bench.node_status("box-1")).transitions_dropped, 7);
}

#[tokio::test(start_paused = true)]
async fn a_box_has_no_say_about_what_is_not_on_it() {
    let (mut bench, agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x:1"));
    bench.notices.try_iter();
    let foreign = AppKey::new("kube-system", "x").expect("a key");
    let told = [(key("web"), "u1"), (key("web"), ""), (key("web"), "u0"), (foreign, "u1")];
    let items = (1..).zip(told).map(|(n, (app, uid))| Transition {
        uid: uid.to_owned(),
        ..transition(n, Subject::App(app), "Error")
    });
    bench.said(&agent, Said::Transitions(Batch { run: 9, items: items.collect(), ..Batch::default() }));
    let about = |notice: Notice| match notice.about {
        About::App(app, uid) => format!("{app} {uid}"),
        About::Node(node, _) => format!("{node}: {}", notice.note),
    };
    let about: Vec<String> = bench.notices.try_iter().into_iter().map(about).collect();
    assert_eq!(
        about,
        [
            "default/web u1",
            "default/web u1",
            "box-1: default/web: box-1: words",
            "box-1: kube-system/x: box-1: words"
        ]
    );
}

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).expect("a time"))
}

/// A node of which an earlier controller wrote that it is connected to `replica`.
fn recalled(bench: &mut Bench, replica: &str) {
    let session = SessionInfo { replica: replica.to_owned(), since: at(1) };
    bench.tell_node("box-1", EdgeNodeStatus { session: Some(session), ..EdgeNodeStatus::default() });
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_come_back_was_seen_no_later_than_its_controller_was_alive() {
    for (replica, alive) in [("r", true), ("r", false), ("dead", false)] {
        let mut bench = Bench::new();
        let known = [(replica.to_owned(), Replica { renewed: at(5000), is_alive: alive })];
        bench.event(Event::Replicas(known.into()));
        recalled(&mut bench, replica);
        bench.pass(START_GRACE).await;
        bench.serve_api();
        let status = bench.node_status("box-1");
        assert_eq!((status.last_seen, status.session), (Some(at(5000)), None), "{replica}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_replica_that_is_alive_is_left_to_it() {
    let mut bench = Bench::new();
    let leases = |alive, renewed| {
        let replica = Replica { renewed: at(renewed), is_alive: alive };
        Event::Replicas([("other".to_owned(), replica)].into())
    };
    bench.event(leases(true, 5000));
    recalled(&mut bench, "other");
    for _ in 0..5 {
        bench.pass(START_GRACE).await;
        bench.serve_api();
    }
    assert!(bench.node_status("box-1").session.is_some());
    // What it writes is taken over, and not written over.
    let session = SessionInfo { replica: "other".to_owned(), since: at(2) };
    let news =
        EdgeNodeStatus { session: Some(session), transitions_dropped: Some(3), ..bench.node_status("box-1") };
    bench.tell_node("box-1", news.clone());
    bench.pass(START_GRACE).await;
    bench.serve_api();
    assert_eq!(bench.node_status("box-1"), news);
    bench.event(leases(false, 5500));
    bench.pass(START_GRACE).await;
    bench.serve_api();
    assert_eq!(bench.node_status("box-1").last_seen, Some(at(5500)));
}
