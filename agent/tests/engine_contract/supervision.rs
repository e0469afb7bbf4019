//! The supervisor on the fake engine, with a link whose other end is the test. Time is paused: waits cost nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skerry_agent::engine::Engine as _;
use skerry_agent::housekeeper::{self, Gauges, Housekeeper, Rules};
use skerry_agent::manifests::{Manifests, Site};
use skerry_agent::store::{Loaded, Store, Stored};
use skerry_agent::supervisor::{Greeted, Greeting, Premises, Standings, Supervisor, sources};
use skerry_agent::upgrade::Inquiry;
use skerry_agent::uplink::{LinkEvent, OUTBOX};
use skerry_agent_core::housekeeping::{DiskUse, MemoryUse};
use skerry_agent_core::{Frame, Held, Policy, Session, SetCaps};
use skerry_proto::{caps, wire};
use skerry_terms::{AppKey, Payload, Phase};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::agent_message::Kind;

use crate::fake::{Fake, Fault};
use crate::scenario::{App, app, held};

/// One life of an agent on a box.
pub struct Agent {
    link: mpsc::Sender<LinkEvent>,
    end: CancellationToken,
    tasks: [JoinHandle<()>; 3],
    pub manifests: Arc<Manifests>,
    pub standings: watch::Receiver<Arc<Standings>>,
}

/// A box: its engine and its disk outlive agents.
pub struct Node {
    pub fake: Fake,
    pub dir: tempfile::TempDir,
    /// What its owner allows.
    pub policy: Policy,
}

/// A box with room for everything.
struct Roomy;

impl Gauges for Roomy {
    fn disk(&self, _path: &Path) -> Option<DiskUse> {
        Some(DiskUse { total: 1 << 40, available: 1 << 40 })
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse::default()
    }
}

impl Node {
    pub fn new() -> Self {
        let fake = Fake::new();
        fake.has_image("busybox:1");
        Self { fake, dir: tempfile::tempdir().expect("a folder"), policy: Policy::default() }
    }

    pub fn with_state(held: &Held) -> Self {
        let node = Self::new();
        Store::open(node.dir.path()).expect("opened").save(&held.clone().into()).expect("saved");
        node
    }

    pub fn start(&self) -> Agent {
        self.start_on_trial(None)
    }

    pub fn start_on_trial(&self, inquiry: Option<Inquiry>) -> Agent {
        let store = Store::open(self.dir.path()).expect("opened");
        let Stored { held, notes } = match store.load().expect("loaded") {
            Loaded::Stored(stored) => stored,
            Loaded::Missing | Loaded::Corrupt { .. } => Stored::default(),
        };
        let session = Session::new(held, SetCaps { apps: caps::APPS_MAX, bytes: caps::SET_MAX });
        let store = Arc::new(store);
        let folder = self.dir.path().join("manifests");
        let manifests = Manifests::open(store.clone(), Some(folder), Site::default());
        let manifests = Arc::new(manifests);
        let end = CancellationToken::new();
        let (sources, taps, signals, link) = sources(end.clone());
        let greeting = Greeting {
            node: "node".parse().expect("a name"),
            labels: Default::default(),
            devices: [("skerry.dev/camera".to_owned(), 2)].into(),
            state_corrupt: String::new(),
        };
        let engine = Arc::new(self.fake.clone());
        let premises = Premises {
            policy: self.policy.clone(),
            manifests: Some(manifests.clone()),
            ..Premises::default()
        };
        let (sources, standings) = (sources.with_local(manifests.subscribe()), taps.standings());
        let keeper = Housekeeper {
            engine: engine.clone(),
            gauges: Roomy,
            store: store.clone(),
            node: "node".parse().expect("a name"),
            state_dir: self.dir.path().to_owned(),
            rules: Rules::default(),
            upkeep: taps.upkeep(),
            problems: taps.problems(),
        };
        let supervisor = Supervisor::new(engine.clone(), store, session, notes, greeting, premises, taps);
        let supervisor = match inquiry {
            Some(inquiry) => supervisor.with_inquiry(inquiry),
            None => supervisor,
        };
        let tasks = [
            tokio::spawn(supervisor.run(sources)),
            tokio::spawn(async move { engine.watch(signals).await }),
            tokio::spawn(housekeeper::run(keeper)),
        ];
        Agent { link, end, tasks, manifests, standings }
    }

    /// Waits until the containers are as a test wants them, with a bound.
    pub async fn until(&self, what: &str, holds: impl Fn(&Fake) -> bool) {
        for _ in 0..20_000 {
            if holds(&self.fake) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: running {:?}, calls {:?}", self.fake.running(), self.fake.take_calls());
    }

    /// Lets everything that is under way come to rest.
    pub async fn rest(&self) {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

impl Agent {
    pub async fn stop(self) {
        self.end.cancel();
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(2), task)
                .await
                .expect("it ends in time")
                .expect("no panic");
        }
    }

    pub async fn connect(&self) -> Controller {
        self.connect_as(Greeted { takes_transitions: false, now: None }).await
    }

    pub async fn connect_as(&self, greeted: Greeted) -> Controller {
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let (close, closed) = oneshot::channel();
        self.link.send(LinkEvent::Up { outbox, close }).await.expect("the agent runs");
        let mut controller = Controller { link: self.link.clone(), inbox, closed, features: Vec::new() };
        let hello = controller.receive().await;
        let Kind::Hello(hello) = hello else { panic!("{hello:?}") };
        let facts = hello.facts.expect("facts");
        assert_eq!(facts.devices.get("skerry.dev/camera"), Some(&2), "{facts:?}");
        controller.features = hello.features;
        self.link.send(LinkEvent::Greeted(greeted)).await.expect("the agent runs");
        controller.say(Frame::Welcome).await;
        controller
    }
}

/// The other end of a link.
pub struct Controller {
    link: mpsc::Sender<LinkEvent>,
    inbox: mpsc::Receiver<wire::AgentMessage>,
    closed: oneshot::Receiver<String>,
    /// What the agent said that it can do.
    pub features: Vec<String>,
}

impl Controller {
    async fn say(&self, frame: Frame) {
        self.link.send(LinkEvent::Received(frame)).await.expect("the agent runs");
    }

    /// Acknowledges transitions.
    pub async fn told(&self, run: u64, upto: u64) {
        self.link.send(LinkEvent::Told { run, upto }).await.expect("the agent runs");
    }

    pub async fn send_set(&self, held: Held) {
        self.say(Frame::Begin { generation: held.generation.clone(), base: None, accept_past: false }).await;
        for (key, payload) in &held.set {
            let (key, payload): (AppKey, Payload) = (key.clone(), payload.clone());
            self.say(Frame::App { key, payload }).await;
        }
        self.say(Frame::Commit { digest: held.digest() }).await;
    }

    pub async fn receive(&mut self) -> Kind {
        let message = tokio::time::timeout(Duration::from_secs(60), self.inbox.recv()).await;
        message.expect("a frame in time").expect("the link stands").kind.expect("a kind")
    }

    /// The first status of an app that satisfies.
    pub async fn status(
        &mut self,
        name: &str,
        satisfies: impl Fn(&wire::AppStatus) -> bool,
    ) -> wire::AppStatus {
        loop {
            if let Kind::Status(report) = self.receive().await
                && let Some(app) = report.apps.into_iter().find(|app| app.name == name && satisfies(app))
            {
                return app;
            }
        }
    }

    pub async fn ack(&mut self) -> wire::Ack {
        loop {
            if let Kind::Ack(ack) = self.receive().await {
                return ack;
            }
        }
    }
}

pub fn is(phase: Phase) -> impl Fn(&wire::AppStatus) -> bool {
    move |status| Phase::from(status.phase()) == phase
}

pub fn web(argument: &str) -> App {
    app("web", &["busybox:1"], argument)
}

#[tokio::test(start_paused = true)]
async fn a_box_comes_up_without_the_cloud() {
    let node = Node::with_state(&held(1, &[web("1"), app("pair", &["busybox:1", "busybox:1"], "1")]));
    let agent = node.start();
    node.until("one container, and a pair with its sandbox", |fake| fake.running().len() == 4).await;
    agent.stop().await;
    assert_eq!(node.fake.running().len(), 4, "an agent that ends stops nothing");
}

#[tokio::test(start_paused = true)]
async fn no_container_notices_that_the_agent_restarts() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    node.rest().await;
    agent.stop().await;
    let before = node.fake.running();
    node.fake.take_calls();
    let agent = node.start();
    node.rest().await;
    assert_eq!(node.fake.take_calls(), Vec::<String>::new());
    assert_eq!(node.fake.running(), before);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_knows_nothing_touches_nothing() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    agent.stop().await;
    std::fs::remove_file(node.dir.path().join("desired.bin")).expect("removed");
    node.fake.take_calls();
    let agent = node.start();
    node.rest().await;
    assert_eq!(node.fake.take_calls(), Vec::<String>::new());
    // The empty set is another thing: it is said aloud, and obeyed.
    let mut controller = agent.connect().await;
    controller.send_set(held(2, &[])).await;
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::Adopted);
    node.until("nothing is left", |fake| fake.count() == 0).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_set_is_stored_acknowledged_and_run() {
    let node = Node::new();
    let agent = node.start();
    let mut controller = agent.connect().await;
    controller.send_set(held(1, &[web("1")])).await;
    assert_eq!(controller.ack().await.outcome(), wire::AckOutcome::Adopted);
    let status = controller.status("web", is(Phase::Running)).await;
    assert_eq!((status.uid.as_str(), status.ready, status.containers.len()), ("uid-web", true, 1));
    assert!(status.observed_at_millis > 0);
    agent.stop().await;
    let store = Store::open(node.dir.path()).expect("opened");
    assert_eq!(store.load().expect("loaded"), Loaded::Stored(held(1, &[web("1")]).into()));
}

#[tokio::test(start_paused = true)]
async fn an_app_that_leaves_is_gone_only_once_that_was_seen() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    let mut controller = agent.connect().await;
    controller.status("web", is(Phase::Running)).await;
    node.fake.set_up(false);
    controller.status("web", is(Phase::Unknown)).await;
    controller.send_set(held(2, &[])).await;
    let is_other = |status: &wire::AppStatus| Phase::from(status.phase()) != Phase::Running;
    let status = controller.status("web", is_other).await;
    assert_eq!(Phase::from(status.phase()), Phase::Unknown, "its container may still be there: {status:?}");
    node.rest().await;
    node.fake.set_up(true);
    controller.status("web", is(Phase::Removed)).await;
    assert_eq!(node.fake.count(), 0);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_changed_app_is_replaced_and_its_neighbour_is_not() {
    let neighbour = app("neighbour", &["busybox:1"], "1");
    let node = Node::with_state(&held(1, &[web("1"), neighbour.clone()]));
    let agent = node.start();
    node.until("both run", |fake| fake.running().len() == 2).await;
    node.rest().await;
    let before = node.fake.running();
    let controller = agent.connect().await;
    controller.send_set(held(2, &[web("2"), neighbour])).await;
    node.until("the new web runs alone", |fake| {
        fake.count() == 2 && fake.running().len() == 2 && fake.running() != before
    })
    .await;
    let kept = before.iter().filter(|container| node.fake.running().contains(container));
    assert!(kept.clone().all(|(name, _)| name.contains("neighbour")) && kept.count() == 1);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_engine_is_away_nothing_is_done_and_apps_are_unknown() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    let mut controller = agent.connect().await;
    controller.status("web", is(Phase::Running)).await;
    node.fake.set_up(false);
    let status = controller.status("web", is(Phase::Unknown)).await;
    assert_eq!(status.reason, "DockerUnavailable");
    node.fake.take_calls();
    controller.send_set(held(2, &[])).await;
    node.rest().await;
    assert_eq!(node.fake.take_calls(), Vec::<String>::new());
    node.fake.set_up(true);
    node.until("what was decided meanwhile is done", |fake| fake.count() == 0).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn health_is_told_even_when_there_are_no_apps() {
    let node = Node::new();
    let agent = node.start();
    let mut controller = agent.connect().await;
    node.fake.set_up(false);
    loop {
        if let Kind::Status(wire::StatusReport { health: Some(health), .. }) = controller.receive().await
            && !health.docker_ready
            && health.docker_message.contains("the fake is down")
        {
            break;
        }
    }
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_docker_refuses_is_reported_and_tried_again() {
    let node = Node::new();
    node.fake.fault("create", Fault::Refuse("no space left on device"));
    let agent = node.start();
    let mut controller = agent.connect().await;
    controller.send_set(held(1, &[web("1")])).await;
    let status = controller.status("web", is(Phase::Failed)).await;
    assert_eq!(status.reason, "CreateContainerError");
    assert!(status.message.contains("no space left on device"), "{}", status.message);
    controller.status("web", is(Phase::Running)).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_in_the_middle_is_nobodys_failure() {
    let node = Node::new();
    node.fake.fault("start", Fault::Lost);
    let agent = node.start();
    let mut controller = agent.connect().await;
    controller.send_set(held(1, &[web("1")])).await;
    controller
        .status("web", |status| {
            assert!(!is(Phase::Failed)(status), "{status:?}");
            is(Phase::Running)(status)
        })
        .await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_is_given_up_when_its_app_changes() {
    let node = Node::new();
    node.fake.fault("pull", Fault::Hang);
    let agent = node.start();
    let mut controller = agent.connect().await;
    controller.send_set(held(1, &[app("web", &["slow:1"], "1")])).await;
    controller.status("web", is(Phase::Pulling)).await;
    controller.send_set(held(2, &[web("2")])).await;
    controller.status("web", is(Phase::Running)).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pull_does_not_keep_the_agent_from_ending() {
    let node = Node::with_state(&held(1, &[app("web", &["slow:1"], "1")]));
    node.fake.fault("pull", Fault::Hang);
    let agent = node.start();
    node.until("it pulls", |fake| fake.take_calls() == ["pull slow:1"]).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_image_is_pulled_when_it_is_not_there() {
    let node = Node::with_state(&held(1, &[app("web", &["registry.example/web:1"], "1")]));
    node.fake.registry_has("registry.example/web:1");
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_ends_is_started_again() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    for run in 1..4 {
        let (name, _) = node.fake.running().remove(0);
        node.fake.exit(&name, 1);
        node.until("it runs again", |fake| fake.running().first().is_some_and(|(next, _)| *next != name))
            .await;
        let (next, _) = node.fake.running().remove(0);
        assert!(next.ends_with(&format!("_{run}")), "{next}");
    }
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_box_at_rest_asks_nothing() {
    let node = Node::with_state(&held(1, &[web("1")]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    node.rest().await;
    node.fake.take_calls();
    let looks = node.fake.looks();
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!((node.fake.take_calls(), node.fake.looks()), (Vec::new(), looks));
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_breaks_the_protocol_is_hung_up_on() {
    let node = Node::new();
    let agent = node.start();
    let controller = agent.connect().await;
    controller.say(Frame::Commit { digest: held(1, &[]).digest() }).await;
    let why = tokio::time::timeout(Duration::from_secs(5), controller.closed)
        .await
        .expect("in time")
        .expect("a reason");
    assert!(why.contains("commit"), "{why}");
    agent.stop().await;
}

/// `web` with a readiness and a liveness probe, both of them commands.
fn probed() -> App {
    let probe = |file: &str| wire::Probe {
        handler: Some(wire::probe::Handler::Exec(wire::ExecAction {
            command: vec!["cat".to_owned(), file.to_owned()],
        })),
        period_seconds: 5,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 2,
        ..Default::default()
    };
    let mut app = web("1");
    let container = &mut app.template().containers[0];
    container.readiness_probe = Some(probe("/ready"));
    container.liveness_probe = Some(probe("/alive"));
    app
}

#[tokio::test(start_paused = true)]
async fn a_container_is_ready_as_its_probe_says_and_nobody_hears_of_the_tries_in_between() {
    let node = Node::new();
    node.fake.set_sick("cat /ready", true);
    let agent = node.start();
    let mut controller = agent.connect().await;
    controller.send_set(held(1, &[probed()])).await;
    let status = controller.status("web", is(Phase::Probing)).await;
    assert!(!status.ready, "{status:?}");
    node.fake.set_sick("cat /ready", false);
    let status = controller.status("web", |status| status.ready).await;
    assert_eq!(Phase::from(status.phase()), Phase::Running);
    node.rest().await;
    let looks = node.fake.looks();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(node.fake.take_calls().iter().any(|call| call == "exec cat /ready"));
    assert_eq!(node.fake.looks(), looks, "what is as before leads to nothing");
    node.fake.set_sick("cat /ready", true);
    controller.status("web", |status| !status.ready).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_not_alive_is_started_again() {
    let node = Node::with_state(&held(1, &[probed()]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    let before = node.fake.running();
    node.fake.set_sick("cat /alive", true);
    node.until("another one runs", |fake| fake.running().len() == 1 && fake.running() != before).await;
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_restarts_takes_readiness_from_nobody() {
    let node = Node::with_state(&held(1, &[probed()]));
    let agent = node.start();
    node.until("web runs", |fake| fake.running().len() == 1).await;
    node.rest().await;
    agent.stop().await;
    // No probe can be asked: the first answer never comes.
    node.fake.fault("exec", Fault::Hang);
    node.fake.fault("exec", Fault::Hang);
    let agent = node.start();
    let mut controller = agent.connect().await;
    let status = controller.status("web", |_| true).await;
    assert!(status.ready, "{status:?}");
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_what_is_gone() {
    let node = Node::with_state(&held(1, &[probed()]));
    let agent = node.start();
    node.until("it is asked", |fake| fake.take_calls().iter().any(|call| call.starts_with("exec"))).await;
    let controller = agent.connect().await;
    controller.send_set(held(2, &[])).await;
    node.until("nothing is left", |fake| fake.count() == 0).await;
    node.rest().await;
    node.fake.take_calls();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(node.fake.take_calls(), Vec::<String>::new());
    agent.stop().await;
}
