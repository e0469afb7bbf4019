//! What happened while the controller was away is told afterwards: in order, once, over a restart of the agent, and to nobody who does not know it.

use std::time::Duration;

use skerry_agent::supervisor::Greeted;
use skerry_agent_core::WallMillis;
use skerry_proto::{feature, wire};
use skerry_terms::Phase;
use wire::agent_message::Kind;

use crate::scenario::held;
use crate::supervision::{Agent, Controller, Node, is, web};

const NEW: Greeted = Greeted { takes_transitions: true, now: None };
const OLD: Greeted = Greeted { takes_transitions: false, now: None };

/// The transitions of the next frame of them, in short.
async fn told(controller: &mut Controller) -> (u64, Vec<wire::Transition>) {
    loop {
        if let Kind::Transitions(wire::Transitions { run, items, .. }) = controller.receive().await {
            return (run, items);
        }
    }
}

fn short(items: &[wire::Transition]) -> Vec<String> {
    let word = |item: &wire::Transition| match (item.side.as_str(), item.container.as_str()) {
        ("", "") => format!("{} {} {}", item.name, Phase::from(item.phase()), item.reason),
        ("", container) => format!("{}/{container} {}", item.name, item.reason),
        (side, _) => format!("{side} {}", item.reason),
    };
    items.iter().map(word).collect()
}

/// Every container that runs ends.
fn crash(node: &Node, exit_code: i64) {
    node.fake.running().iter().for_each(|(name, _)| node.fake.exit(name, exit_code));
}

/// A box on which web runs; nobody was ever told of anything.
async fn box_with_web() -> (Node, Agent) {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    node.rest().await;
    (node, agent)
}

#[tokio::test(start_paused = true)]
async fn what_happened_while_the_controller_was_away_is_told_in_order_and_once() {
    let (node, agent) = box_with_web().await;
    crash(&node, 3);
    node.until("web is back", |fake| fake.running().len() == 1).await;
    node.rest().await;
    let mut controller = agent.connect_as(NEW).await;
    let (run, items) = told(&mut controller).await;
    assert_eq!(short(&items), ["Agent AgentStarted", "web Running Ready", "web/c0 Error"]);
    assert!(items.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let told_of = &items[2];
    assert_eq!((told_of.uid.as_str(), told_of.exit_code, told_of.warning), ("uid-web", Some(3), true));
    assert!(told_of.age_millis.is_some_and(|age| age >= 1000), "{told_of:?}");
    let upto = items[1].sequence;
    controller.told(run, upto).await;
    let (again, items) = told(&mut controller).await;
    assert_eq!((again, short(&items)), (run, vec!["web/c0 Error".to_owned()]), "what was not acknowledged");
    controller.told(run, items[0].sequence).await;
    // What happens from now on goes the same way.
    crash(&node, 4);
    let (_, items) = told(&mut controller).await;
    assert_eq!(short(&items), ["web/c0 Error", "web Failed CrashLoopBackOff"]);
    assert_eq!(items[0].exit_code, Some(4));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_agent_loses_nothing_and_tells_nothing_twice() {
    let (node, agent) = box_with_web().await;
    crash(&node, 3);
    node.rest().await;
    agent.stop().await;
    let agent = node.start();
    node.rest().await;
    let mut controller = agent.connect_as(NEW).await;
    let (first, items) = told(&mut controller).await;
    // That the agent was started is one with its start now, and newer than these.
    assert_eq!(short(&items), ["web Running Ready", "web/c0 Error"]);
    assert!(items.iter().all(|item| item.age_millis.is_none()), "how long ago, this run does not know");
    controller.told(first, items.last().map_or(0, |last| last.sequence)).await;
    let (second, items) = told(&mut controller).await;
    assert_ne!(first, second);
    assert_eq!(short(&items), ["Agent AgentStarted"], "to apps nothing happened");
    assert_eq!(items[0].count, 2);
    controller.told(second, items[0].sequence).await;
    node.rest().await;
    agent.stop().await;
    let agent = node.start();
    node.rest().await;
    let mut controller = agent.connect_as(NEW).await;
    assert_eq!(short(&told(&mut controller).await.1), ["Agent AgentStarted"]);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_without_a_controller_is_counted_and_seldom_written() {
    let (node, agent) = box_with_web().await;
    let file = node.dir.path().join("outbox.bin");
    let mut writes = 0;
    let mut before = None;
    for _ in 0..120 {
        crash(&node, 1);
        // Longer than the longest back-off.
        tokio::time::sleep(Duration::from_secs(330)).await;
        let now = std::fs::read(&file).ok();
        writes += usize::from(now != before);
        before = now;
    }
    let mut controller = agent.connect_as(NEW).await;
    let (_, items) = told(&mut controller).await;
    assert!(items.len() <= 5, "{:?}", short(&items));
    let crashes: Vec<_> = items.iter().filter(|item| item.container == "c0").map(|item| item.count).collect();
    assert_eq!(crashes, [120]);
    assert!(writes <= 45, "{writes} writes in eleven hours");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_does_not_know_transitions_is_sent_none() {
    let (node, agent) = box_with_web().await;
    let mut controller = agent.connect_as(OLD).await;
    crash(&node, 3);
    let restarted = |status: &wire::AppStatus| {
        is(Phase::Running)(status) && status.containers.iter().all(|container| container.restart_count == 1)
    };
    loop {
        match controller.receive().await {
            Kind::Status(report) if report.apps.iter().any(restarted) => break,
            Kind::Transitions(transitions) => panic!("{transitions:?}"),
            Kind::Hello(_) | Kind::Ack(_) | Kind::Status(_) => {}
        }
    }
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_hello_names_what_the_agent_can_do_and_a_wrong_clock_is_reported() {
    let (_node, agent) = box_with_web().await;
    let year = 365 * 24 * 3_600_000;
    let wrong = WallMillis(skerry_agent::clock::wall_now().0 + year);
    let mut controller = agent.connect_as(Greeted { now: Some(wrong), ..NEW }).await;
    assert_eq!(controller.features, [feature::TRANSITIONS]);
    let problem = loop {
        if let Kind::Status(wire::StatusReport { health: Some(health), .. }) = controller.receive().await
            && let Some(problem) = health.problems.unwrap_or_default().items.into_iter().next()
        {
            break problem;
        }
    };
    assert_eq!(
        (problem.kind(), problem.reason.as_str()),
        (wire::NodeProblemKind::ClockSkewed, "ClockBehind")
    );
    assert!(problem.message.contains("365 d behind") || problem.message.contains("364 d"), "{problem:?}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_agent_ends_itself_is_no_crash() {
    let (node, agent) = box_with_web().await;
    let mut controller = agent.connect_as(NEW).await;
    let (run, items) = told(&mut controller).await;
    controller.told(run, items.last().map_or(0, |last| last.sequence)).await;
    let before = node.fake.running();
    controller.send_set(held(2, &[web("2")])).await;
    node.until("the new one runs", |fake| fake.running().len() == 1 && fake.running() != before).await;
    let (_, items) = told(&mut controller).await;
    assert_eq!(short(&items), ["web Running Ready"]);
    controller.told(run, items[0].sequence).await;
    controller.send_set(held(3, &[])).await;
    let (_, items) = told(&mut controller).await;
    assert_eq!(short(&items), ["web Removed "]);
    assert_eq!(items[0].uid, "uid-web");
    agent.stop().await;
}
