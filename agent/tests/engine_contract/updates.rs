//! Updates, the box owner's rules and the box's own apps, on the fake engine.

use std::time::Duration;

use prost::Message as _;
use skerry_agent::engine::Engine as _;
use skerry_agent::supervisor::Source;
use skerry_agent_core::{Held, ImageId};
use skerry_proto::wire;
use skerry_terms::{AppKey, Generation, PayloadSet, Phase};

use crate::scenario::{App, app, held};
use crate::supervision::{Agent, Node, is, web};

/// Longer than a revision must be ready until it is committed.
const COMMIT: Duration = Duration::from_secs(15);

fn update(argument: &str) -> App {
    web(argument).with_deadline(60)
}

fn key() -> AppKey {
    "test/web".parse().expect("a key")
}

/// The part of a container's name that tells its spec.
fn spec_of(name: &str) -> String {
    let (spec, _run) = name.rsplit_once('_').expect("a count");
    spec.to_owned()
}

/// A box where revision 1 is committed, and how its containers are named.
async fn settled(node: &Node) -> (Agent, String) {
    let agent = node.start();
    node.until("revision 1 runs", |fake| fake.running().len() == 1).await;
    tokio::time::sleep(COMMIT).await;
    let good = spec_of(&node.fake.running()[0].0);
    (agent, good)
}

/// Lets every container that is not of this spec crash, until the box runs it alone.
async fn crash_others_until_back(node: &Node, good: &str) {
    let mut tried = false;
    for _ in 0..10_000 {
        let running = node.fake.running();
        let others = running.iter().filter(|(name, _)| spec_of(name) != good);
        for (name, _) in others {
            tried = true;
            node.fake.exit(name, 1);
        }
        if tried && running.len() == 1 && spec_of(&running[0].0) == good {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it never went back: {:?}", node.fake.running());
}

#[tokio::test(start_paused = true)]
async fn an_update_that_crashes_is_rolled_back_and_says_so() {
    let node = Node::with_state(&held(1, &[update("1")]));
    let (agent, good) = settled(&node).await;
    let mut controller = agent.connect().await;
    controller.send_set(held(2, &[update("2")])).await;
    crash_others_until_back(&node, &good).await;
    let status = controller.status("web", |status| is(Phase::RolledBack)(status) && status.ready).await;
    assert_eq!((status.revision.as_str(), status.reason.as_str()), ("web-2", "ProgressDeadlineExceeded"));
    let words = "went back to revision web-1, which runs: revision web-2 was not ready within 60 s: ";
    assert!(status.message.starts_with(words), "{}", status.message);

    // A re-send of the same is not tried; a change is.
    controller.send_set(held(3, &[update("2")])).await;
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::Adopted);
    node.fake.take_calls();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(node.fake.take_calls(), Vec::<String>::new());
    controller.send_set(held(4, &[update("3")])).await;
    let status = controller.status("web", is(Phase::Running)).await;
    assert_eq!(status.revision, "web-3");
    assert_ne!(spec_of(&node.fake.running()[0].0), good);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_box_goes_back_without_the_cloud_and_stays_there_over_a_restart() {
    let node = Node::with_state(&held(1, &[update("1")]));
    let (agent, good) = settled(&node).await;
    let mut controller = agent.connect().await;
    controller.send_set(held(2, &[update("2")])).await;
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::Adopted);
    drop(controller);
    // The agent restarts in the middle: what was committed is known to the next one.
    node.until("revision 2 runs", |fake| fake.running().iter().any(|(name, _)| spec_of(name) != good)).await;
    agent.stop().await;
    let agent = node.start();
    crash_others_until_back(&node, &good).await;
    node.rest().await;
    agent.stop().await;

    node.fake.take_calls();
    let before = node.fake.running();
    let agent = node.start();
    let mut controller = agent.connect().await;
    let status = controller.status("web", is(Phase::RolledBack)).await;
    assert!(status.ready && status.revision == "web-2", "{status:?}");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((node.fake.take_calls(), node.fake.running()), (Vec::new(), before));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_had_costs_no_moment_of_service() {
    let node = Node::with_state(&held(1, &[update("1")]));
    let (agent, _) = settled(&node).await;
    let before = node.fake.running();
    let mut controller = agent.connect().await;
    controller.send_set(held(2, &[app("web", &["gone:1"], "2").with_deadline(20)])).await;
    let status = controller.status("web", is(Phase::RolledBack)).await;
    assert!(status.ready && status.message.contains("ImagePullFailed"), "{status:?}");
    assert_eq!(node.fake.running(), before);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_that_hangs_is_given_up_at_the_deadline() {
    let node = Node::with_state(&held(1, &[update("1")]));
    let (agent, _) = settled(&node).await;
    let before = node.fake.running();
    node.fake.fault("pull", crate::fake::Fault::Hang);
    let mut controller = agent.connect().await;
    controller.send_set(held(2, &[app("web", &["slow:1"], "2").with_deadline(20)])).await;
    let status = controller.status("web", is(Phase::RolledBack)).await;
    assert!(status.ready && status.message.contains("PullingImage"), "{status:?}");
    assert_eq!(node.fake.running(), before);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_good_update_is_committed_and_is_what_the_next_one_goes_back_to() {
    let node = Node::with_state(&held(1, &[update("1")]));
    let (agent, first) = settled(&node).await;
    let controller = agent.connect().await;
    controller.send_set(held(2, &[update("2")])).await;
    node.until("revision 2 runs alone", |fake| {
        fake.count() == 1 && fake.running().iter().all(|(name, _)| spec_of(name) != first)
    })
    .await;
    tokio::time::sleep(COMMIT).await;
    let second = spec_of(&node.fake.running()[0].0);
    controller.send_set(held(3, &[update("3")])).await;
    crash_others_until_back(&node, &second).await;
    agent.stop().await;
}

/// An app that asks the registry for each new spec what its image is by now.
fn moving(argument: &str) -> App {
    let mut app = update(argument);
    let container = &mut app.template().containers[0];
    container.image = MOVING.to_owned();
    container.image_pull_policy = wire::PullPolicy::Always.into();
    app
}

const MOVING: &str = "moving:latest";
const GOOD: &str = "sha256:good";
const BAD: &str = "sha256:bad";

#[tokio::test(start_paused = true)]
async fn a_box_goes_back_to_the_old_bits_although_their_name_has_moved_and_the_registry_is_gone() {
    let node = Node::with_state(&held(1, &[moving("1")]));
    node.fake.registry_means(MOVING, GOOD);
    let (agent, good) = settled(&node).await;
    let runs_from = |id: &str| vec![Some(ImageId(id.to_owned()))];
    assert_eq!(node.fake.running_images(), runs_from(GOOD));
    let mut controller = agent.connect().await;
    node.fake.registry_means(MOVING, BAD);
    controller.send_set(held(2, &[moving("2")])).await;
    node.until("revision 2 runs from the new bits", |fake| fake.running_images() == runs_from(BAD)).await;
    // Every pull from now on fails; what is committed is known to the next agent, too.
    node.fake.registry_forgets(MOVING);
    agent.stop().await;
    let agent = node.start();
    crash_others_until_back(&node, &good).await;
    assert_eq!(node.fake.running_images(), runs_from(GOOD));
    controller = agent.connect().await;
    let status = controller.status("web", |status| is(Phase::RolledBack)(status) && status.ready).await;
    assert_eq!(status.revision, "web-2");

    // Also one that is removed by hand comes back from them.
    let (name, id) = node.fake.running()[0].clone();
    node.fake.exit(&name, 1);
    node.fake.remove(&id).await.expect("removed");
    node.until("it runs again", |fake| fake.running().iter().any(|(_, other)| *other != id)).await;
    assert_eq!(node.fake.running_images(), runs_from(GOOD));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whatever_is_pruned_during_a_trial_the_box_can_go_back() {
    for containers_too in [false, true] {
        let node = Node::with_state(&held(1, &[moving("1")]));
        node.fake.registry_means(MOVING, GOOD);
        let (agent, good) = settled(&node).await;
        let good_image = ImageId(GOOD.to_owned());
        assert_eq!(node.fake.pinned(), [], "a running container is enough");
        let controller = agent.connect().await;
        node.fake.registry_means(MOVING, BAD);
        controller.send_set(held(2, &[moving("2")])).await;
        let bad = Some(ImageId(BAD.to_owned()));
        node.until("revision 2 runs, revision 1 is held by a pin alone", |fake| {
            fake.running_images() == [bad.clone()] && fake.pinned() == [good_image.clone()]
        })
        .await;
        node.fake.registry_forgets(MOVING);
        if containers_too {
            // `docker container prune`; the pin is back before anybody prunes images.
            node.fake.prune_containers();
            node.until("it is pinned again", |fake| fake.pinned() == [good_image.clone()]).await;
        }
        node.fake.prune_images();
        crash_others_until_back(&node, &good).await;
        assert_eq!(node.fake.running_images(), [Some(good_image)]);
        node.until("nothing is pinned for nothing", |fake| fake.pinned().is_empty()).await;
        agent.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_images_of_the_revision_before_are_kept_until_the_app_goes() {
    let node = Node::with_state(&held(1, &[moving("1")]));
    node.fake.registry_means(MOVING, GOOD);
    let (agent, _) = settled(&node).await;
    let controller = agent.connect().await;
    node.fake.registry_means(MOVING, "sha256:better");
    controller.send_set(held(2, &[moving("2")])).await;
    node.rest().await;
    tokio::time::sleep(COMMIT).await;
    assert_eq!(node.fake.pinned(), [ImageId(GOOD.to_owned())]);
    node.fake.take_calls();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(node.fake.take_calls(), Vec::<String>::new(), "and nobody is asked about it");
    controller.send_set(held(3, &[])).await;
    node.until("nothing is left", |fake| fake.count() == 0 && fake.pinned().is_empty()).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_runs_from_bits_whose_name_has_moved_is_left_alone_by_the_next_agent() {
    let node = Node::with_state(&held(1, &[moving("1")]));
    node.fake.registry_means(MOVING, GOOD);
    let (agent, _) = settled(&node).await;
    agent.stop().await;
    node.fake.registry_means(MOVING, BAD);
    node.fake.pull(MOVING, &[]).await.expect("somebody pulls it by hand");
    let before = node.fake.running();
    node.fake.take_calls();
    let agent = node.start();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((node.fake.take_calls(), node.fake.running()), (Vec::new(), before));
    agent.stop().await;
}

fn privileged() -> App {
    let mut app = update("2");
    let context = wire::SecurityContext { privileged: true, ..Default::default() };
    app.template().containers[0].security_context = Some(context);
    app
}

#[tokio::test(start_paused = true)]
async fn what_the_owner_does_not_allow_is_refused_and_what_runs_is_left_alone() {
    let node = Node::with_state(&held(1, &[update("1")]));
    let (agent, _) = settled(&node).await;
    let before = node.fake.running();
    let mut controller = agent.connect().await;
    controller.send_set(held(2, &[privileged(), app("other", &["busybox:1"], "1")])).await;
    let status = controller.status("web", is(Phase::Failed)).await;
    assert_eq!(
        (status.reason.as_str(), status.revision.as_str(), status.ready),
        ("PolicyRefused", "web-2", true)
    );
    let words = "policy.privileged: spec.template.spec.containers[0].securityContext.privileged: ";
    assert!(status.message.starts_with(words), "{}", status.message);
    controller.status("other", is(Phase::Running)).await;
    assert!(before.iter().all(|container| node.fake.running().contains(container)));
    // What ran goes on being kept: it is what the owner allows.
    let (name, _) = before[0].clone();
    node.fake.exit(&name, 1);
    node.until("it runs again", |fake| {
        fake.running().iter().any(|(next, _)| spec_of(next) == spec_of(&name))
    })
    .await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_owner_allows_runs() {
    let mut node = Node::with_state(&held(1, &[privileged()]));
    node.policy.privileged = true;
    let agent = node.start();
    node.until("it runs", |fake| fake.running().len() == 1).await;
    agent.stop().await;
}

const LOCAL: &str = "
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {name: web, namespace: test}
spec: {template: {spec: {containers: [{name: main, image: 'busybox:1', command: [sleep, '1000']}]}}}
";

/// The set of a controller that has the box's own app, too.
fn of_controller(agent: &Agent, generation: u64) -> Held {
    let payload = agent.manifests.local_set().apps[&key()].clone();
    let app = wire::App::decode(&payload[..]).expect("an app");
    let app = wire::App { uid: "uid-web".to_owned(), ..app };
    let set = PayloadSet::from([(key(), app.encode_to_vec().into())]);
    let generation = Generation::new("e", [("edgeapps".to_owned(), generation)]).expect("a generation");
    Held { generation, set }
}

#[tokio::test(start_paused = true)]
async fn an_app_runs_with_no_cloud_at_all_and_goes_when_it_is_taken_away() {
    let node = Node::new();
    let mut agent = node.start();
    agent.manifests.accept(LOCAL).expect("accepted");
    node.until("it runs", |fake| fake.running().len() == 1).await;
    let standings = agent.standings.wait_for(|all| all.get(&key()).is_some_and(|app| app.status.ready)).await;
    assert_eq!(standings.expect("told")[&key()].source, Source::Local);
    agent.stop().await;

    let agent = node.start();
    agent.manifests.remove(&key()).expect("removed");
    node.until("nothing is left", |fake| fake.count() == 0).await;
    node.rest().await;
    assert!(agent.manifests.local_set().retired.is_empty(), "and nothing is remembered");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_static_manifest_runs_and_the_controller_is_not_told() {
    let node = Node::new();
    let folder = node.dir.path().join("manifests");
    std::fs::create_dir(&folder).expect("created");
    std::fs::write(folder.join("web.yaml"), LOCAL).expect("written");
    let agent = node.start();
    node.until("it runs", |fake| fake.running().len() == 1).await;
    let mut controller = agent.connect().await;
    controller.send_set(held(1, &[app("other", &["busybox:1"], "1")])).await;
    controller
        .status("other", |status| {
            assert_ne!(status.name, "web");
            is(Phase::Running)(status)
        })
        .await;
    assert_eq!(node.fake.running().len(), 2, "and a set without it does not take it away");
    assert_eq!(agent.standings.borrow()[&key()].source, Source::Static);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_box_that_joins_a_controller_hands_its_apps_over_without_a_restart() {
    let node = Node::new();
    let agent = node.start();
    agent.manifests.accept(LOCAL).expect("accepted");
    node.until("it runs", |fake| fake.running().len() == 1).await;
    tokio::time::sleep(COMMIT).await;
    let before = node.fake.running();
    node.fake.take_calls();
    let mut controller = agent.connect().await;
    controller.send_set(of_controller(&agent, 1)).await;
    let status = controller.status("web", is(Phase::Running)).await;
    assert_eq!(status.uid, "uid-web");
    node.rest().await;
    assert_eq!((node.fake.take_calls(), node.fake.running()), (Vec::new(), before));
    assert_eq!(agent.manifests.local_set(), Default::default(), "the copy is gone");
    assert_eq!(agent.standings.borrow()[&key()].source, Source::Cloud);
    // From now on the controller's word counts.
    controller.send_set(held(2, &[])).await;
    node.until("nothing is left", |fake| fake.count() == 0).await;
    agent.stop().await;
}
