//! The supervisor on a disk that does not take what it is given: what is said of it, what stays in force, and that it heals by itself.

use std::time::Duration;

use skerry_agent::store::{Loaded, Store};
use skerry_proto::wire;
use skerry_terms::Phase;
use wire::agent_message::Kind;

use crate::scenario::held;
use crate::supervision::{Controller, Node, is, web};

/// Makes every write of the desired state fail, as on a full disk: the temporary file cannot be made.
fn fill(node: &Node) {
    std::fs::create_dir(node.dir.path().join("desired.tmp")).expect("in the way");
}

fn make_room(node: &Node) {
    std::fs::remove_dir(node.dir.path().join("desired.tmp")).expect("out of the way");
}

/// Waits until the controller is told that the state is in order, or is not.
async fn told(controller: &mut Controller, is_problem: bool) -> Option<wire::NodeProblem> {
    loop {
        let Kind::Status(report) = controller.receive().await else { continue };
        let problems = report.health.and_then(|health| health.problems).expect("problems").items;
        let mut problems = problems.into_iter();
        let problem = problems.find(|problem| problem.kind() == wire::NodeProblemKind::StateProblem);
        if problem.is_some() == is_problem {
            return problem;
        }
    }
}

/// A process that another test begins holds the lock, too, for a moment: between fork and exec.
fn reopen(node: &Node) -> Store {
    let mut tries = (0..500).map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        Store::open(node.dir.path())
    });
    tries.find_map(Result::ok).expect("opened")
}

#[tokio::test(start_paused = true)]
async fn a_set_that_the_disk_does_not_take_is_in_force_as_soon_as_it_does() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    let before = node.fake.running();
    let mut controller = agent.connect().await;
    fill(&node);
    controller.send_set(held(2, &[web("2")])).await;
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::NotStored);
    let problem = told(&mut controller, true).await.expect("a problem");
    assert_eq!(problem.reason, "StateNotDurable");
    assert!(problem.message.contains("desired.tmp"), "{}", problem.message);
    node.rest().await;
    assert_eq!(node.fake.running(), before, "what is on disk stays in force");
    make_room(&node);
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::Adopted);
    told(&mut controller, false).await;
    controller.status("web", |status| status.revision == "web-2" && is(Phase::Running)(status)).await;
    agent.stop().await;
    let Loaded::Stored(stored) = reopen(&node).load().expect("loaded") else { panic!("nothing is stored") };
    assert_eq!(stored.held, Some(held(2, &[web("2")])));
    assert!(!node.dir.path().join("desired.tmp").exists());
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stays_full_is_asked_ever_more_rarely_and_a_link_that_comes_meanwhile_brings_the_set_again()
 {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    let mut controller = agent.connect().await;
    fill(&node);
    controller.send_set(held(2, &[web("2")])).await;
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::NotStored);
    // As the controller does it: again after a while, and a newer one.
    tokio::time::sleep(Duration::from_secs(60)).await;
    controller.send_set(held(2, &[web("2")])).await;
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::NotStored);
    controller.send_set(held(3, &[web("3")])).await;
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::NotStored);
    make_room(&node);
    let ack = controller.ack().await;
    let generation = ack.generation.clone().expect("a generation");
    assert_eq!((ack.outcome(), generation), (wire::AckOutcome::Adopted, (&held(3, &[]).generation).into()));
    controller.status("web", |status| status.revision == "web-3" && is(Phase::Running)(status)).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_record_of_local_apps_only_what_the_controller_took_back_goes() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    agent.stop().await;
    // web stands for a local app: nothing but the record says so.
    std::fs::write(node.dir.path().join("desired.bin"), b"").expect("written");
    std::fs::write(node.dir.path().join("local.bin"), b"damaged").expect("written");
    let agent = node.start();
    let mut controller = agent.connect().await;
    let other = crate::scenario::app("other", &["busybox:1"], "1");
    controller.send_set(held(2, &[other])).await;
    controller.status("other", is(Phase::Running)).await;
    node.rest().await;
    assert_eq!(node.fake.running().len(), 2, "web may be a local app");
    controller.send_set(held(3, &[])).await;
    node.until("other is gone", |fake| fake.count() == 1).await;
    agent.stop().await;
    // Somebody says that there was nothing worth keeping.
    std::fs::remove_file(node.dir.path().join("local.corrupt-1")).expect("removed");
    let agent = node.start();
    node.until("nothing is left", |fake| fake.count() == 0).await;
    agent.stop().await;
}
