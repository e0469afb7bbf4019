//! The hub without a network: events go in, jobs for the API server and frames for the agents come out. Time is paused.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use skerry_api::{AppReport, NodeInfo};
use skerry_controller_core::node_status::Docker;
use skerry_controller_core::session::{Held, Input, Outcome, Update};
use skerry_terms::{Digest, Generation, PayloadSet, reasons};

use super::*;
use crate::grpc::{Greeting, Outgoing, Reply, Report, Said};
use crate::k8s::Job;

mod config;
mod placed;
mod told;

const APPS: &str = "edgeapps";
const NODES: &str = "edgenodes";

/// A hub whose caches are empty and filled.
struct Bench {
    hub: Hub,
    writes: WriteQueue,
    /// The newest resourceVersion that was given out.
    version: u64,
    next_id: u64,
    statuses: usize,
    /// The objects of nodes, as the API server has them.
    nodes: BTreeMap<String, (EdgeNodeSpec, BTreeMap<String, String>)>,
    notices: Notices,
}

/// The Events that were put.
struct Notices(mpsc::Receiver<crate::k8s::Notice>);

impl Notices {
    /// Those that wait.
    fn try_iter(&mut self) -> Vec<crate::k8s::Notice> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// An agent's end of a session.
struct Agent {
    node: NodeName,
    id: u64,
    frames: mpsc::Receiver<Outgoing>,
}

fn name(node: &str) -> NodeName {
    node.parse().expect("a name")
}

fn key(app: &str) -> AppKey {
    AppKey::new("default", app).expect("a key")
}

fn spec(image: &str) -> EdgeAppSpec {
    let json = json!({"template": {"spec": {"containers": [{"name": "main", "image": image}]}}});
    serde_json::from_value(json).expect("a spec")
}

/// A spec that asks for the same port twice.
fn wrong_spec() -> EdgeAppSpec {
    let ports = json!([{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}]);
    let json =
        json!({"template": {"spec": {"containers": [{"name": "main", "image": "x", "ports": ports}]}}});
    serde_json::from_value(json).expect("a spec")
}

fn list(epoch: &str, round: u64) -> ListId {
    ListId { epoch: epoch.to_owned(), round }
}

/// An empty list.
fn listed<O>(position: u64, epoch: &str, round: u64) -> Watched<O> {
    Watched::Listed { objects: Vec::new(), position, list: list(epoch, round) }
}

impl Bench {
    fn unfilled() -> Self {
        let metrics = Metrics::new();
        let (events, notices) = EventSink::new(metrics.clone());
        let writes = WriteQueue::default();
        let hub = Hub::new(Outlets {
            writes: writes.clone(),
            events,
            wanted: Wanted::default(),
            relist: watch::channel(0).0,
            readiness: Readiness::new(),
            metrics,
            replica: "r".into(),
        });
        Self {
            hub,
            writes,
            version: 1,
            next_id: 0,
            statuses: 0,
            nodes: BTreeMap::new(),
            notices: Notices(notices),
        }
    }

    fn new() -> Self {
        let mut bench = Self::unfilled();
        bench.event(Event::Apps(listed(1, "e", 0)));
        bench.event(Event::Nodes(listed(1, "e", 0)));
        bench.list_config(1, "e", 0);
        bench
    }

    /// Empty lists of ConfigMaps and Secrets.
    fn list_config(&mut self, position: u64, epoch: &str, round: u64) {
        for kind in ConfigKind::ALL {
            self.event(Event::Config(kind, listed(position, epoch, round)));
        }
    }

    /// A filled hub with a connected, idle node.
    fn with_node(node: &str) -> (Self, Agent) {
        let mut bench = Self::new();
        let mut agent = bench.connect(node, None);
        bench.serve_api();
        bench.report(&agent, true, &[]);
        bench.serve_api();
        let update = agent.update().expect("the empty set");
        bench.adopt(&agent, &update);
        bench.statuses = 0;
        (bench, agent)
    }

    fn event(&mut self, event: Event) {
        self.hub.apply(event);
        self.hub.settle();
    }

    fn said(&mut self, agent: &Agent, said: Said) {
        self.event(Event::Session(FromSession { node: agent.node.clone(), id: agent.id, said }));
    }

    fn connect(&mut self, node: &str, held: Option<Held>) -> Agent {
        self.next_id += 1;
        let (frames, receiver) = mpsc::channel(8);
        let agent = Agent { node: name(node), id: self.next_id, frames: receiver };
        let greeting = Greeting {
            node: agent.node.clone(),
            tells_transitions: false,
            held,
            state_corrupt: String::new(),
            labels: BTreeMap::new(),
            bad_labels: Vec::new(),
            info: NodeInfo::default(),
            capacity: BTreeMap::new(),
            addresses: Vec::new(),
        };
        self.said(&agent, Said::Hello(Box::new(greeting), Reply::new(frames, CancellationToken::new())));
        agent
    }

    fn report(&mut self, agent: &Agent, full: bool, apps: &[(&str, Option<&str>)]) {
        let report = |(app, phase): &(&str, Option<&str>)| {
            let content = self.hub.apps.get(&key(app)).and_then(|entry| entry.app.content.as_ref());
            let report = phase.map(|phase| AppReport {
                namespace: "default".into(),
                name: (*app).to_owned(),
                phase: phase.to_owned(),
                ready: phase == "Running",
                revision: content.map(|content| content.revision.clone()).unwrap_or_default(),
                ..AppReport::default()
            });
            (key(app), report)
        };
        let apps = apps.iter().map(report).collect();
        let docker = Some((Docker::Ready, String::new()));
        self.said(agent, Said::Report(Report { full, apps, docker, problems: None }));
    }

    fn adopt(&mut self, agent: &Agent, update: &Update) {
        let (generation, digest) = (update.generation.clone(), update.digest);
        let (outcome, message) = (Outcome::Adopted, String::new());
        self.said(agent, Said::Ack(Input::Ack { generation, digest, outcome, message }));
    }

    fn seen<S, T: Default>(&mut self, name: &str, uid: &str, spec: S) -> Seen<S, T> {
        self.version += 1;
        let meta = ObjectMeta {
            namespace: Some("default".into()),
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        };
        Seen { meta, version: self.version, spec: Ok(spec), status: T::default() }
    }

    fn apply_app(&mut self, app: &str, uid: &str, spec: EdgeAppSpec) {
        let status = self.hub.apps.get(&key(app)).map(|entry| entry.status.written().clone());
        let mut seen = self.seen(app, uid, spec);
        seen.status = status.unwrap_or_default();
        let position = seen.version;
        self.event(Event::Apps(Watched::Applied { object: seen, position }));
    }

    fn delete_app(&mut self, app: &str) {
        let seen = self.seen(app, "", spec("x"));
        let position = seen.version;
        self.event(Event::Apps(Watched::Deleted { object: seen, position }));
    }

    /// The API server: takes every job and tells the watches of it. Returns the jobs.
    fn serve_api(&mut self) -> Vec<Job> {
        let jobs = self.writes.drain();
        for job in jobs.clone() {
            self.version += 1;
            let version = Some(self.version);
            match job {
                Job::AppStatus { key, uid: _, sequence, status: _ } => {
                    self.statuses += 1;
                    let key = crate::k8s::JobKey::AppStatus(key);
                    self.event(Event::Written(Written { key, sequence, version }));
                }
                Job::NodeStatus { node, uid: _, sequence, status } => {
                    self.statuses += 1;
                    let key = crate::k8s::JobKey::NodeStatus(node.clone());
                    self.event(Event::Written(Written { key, sequence, version }));
                    self.tell_node(node.as_str(), *status);
                }
                Job::Register { node, labels } => {
                    self.nodes.insert(node.to_string(), (EdgeNodeSpec::default(), labels));
                    self.tell_node(node.as_str(), EdgeNodeStatus::default());
                }
            }
        }
        jobs
    }

    /// The watch tells of a node as the API server has it.
    fn tell_node(&mut self, node: &str, status: EdgeNodeStatus) {
        let (spec, labels) = self.nodes.get(node).cloned().unwrap_or_default();
        let mut object = self.seen(node, "uid-node", spec);
        (object.meta.labels, object.status) = (Some(labels), status);
        let position = object.version;
        self.event(Event::Nodes(Watched::Applied { object, position }));
    }

    async fn pass(&mut self, time: Duration) {
        tokio::time::advance(time).await;
        self.event(Event::Due);
    }

    fn node_status(&self, node: &str) -> EdgeNodeStatus {
        self.hub.nodes[&name(node)].status.written().clone()
    }

    fn app_reason(&self, app: &str, kind: &str) -> String {
        let status = self.hub.apps[&key(app)].status.written();
        let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
        condition.map(|c| format!("{} {}", c.status, c.reason)).unwrap_or_default()
    }
}

impl Agent {
    /// The next set that was sent.
    fn update(&mut self) -> Option<Update> {
        loop {
            match self.frames.try_recv().ok()? {
                Outgoing::Update(update) => return Some(*update),
                Outgoing::Welcome | Outgoing::Refusal { .. } | Outgoing::Told { .. } => {}
            }
        }
    }

    fn refusal(&mut self) -> Option<&'static str> {
        loop {
            match self.frames.try_recv().ok()? {
                Outgoing::Refusal { reason, .. } => return Some(reason),
                Outgoing::Welcome | Outgoing::Update(_) | Outgoing::Told { .. } => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_node_joins_and_gets_its_set_when_its_object_is_seen() {
    let mut bench = Bench::new();
    bench.apply_app("web", "u1", spec("x:1"));
    let mut agent = bench.connect("box-1", None);
    assert!(agent.update().is_none(), "its labels are not known yet");
    assert!(bench.serve_api().iter().any(|job| matches!(job, Job::Register { .. })));
    let update = agent.update().expect("a snapshot");
    assert_eq!((update.base, update.apps.len()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_came_before_the_caches_were_filled_waits_for_them() {
    let mut bench = Bench::unfilled();
    let mut agent = bench.connect("box-1", None);
    assert!(bench.serve_api().is_empty());
    bench.event(Event::Nodes(listed(1, "e", 0)));
    bench.serve_api();
    assert!(agent.update().is_none());
    bench.event(Event::Apps(listed(1, "e", 0)));
    assert!(agent.update().is_none());
    bench.list_config(1, "e", 0);
    assert!(agent.update().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_life_of_an_app_costs_three_status_writes() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x:1"));
    let update = agent.update().expect("a delta");
    bench.adopt(&agent, &update);
    for phase in ["Pending", "Starting", "Running"] {
        bench.pass(Duration::from_millis(100)).await;
        bench.report(&agent, false, &[("web", Some(phase))]);
        bench.serve_api();
    }
    assert_eq!(bench.statuses, 2, "one of the app and one of the node");
    assert_eq!(bench.app_reason("web", "Ready"), "True AllNodesReady");
    bench.delete_app("web");
    let update = agent.update().expect("a delta");
    assert_eq!(update.removed, [key("web")]);
    bench.adopt(&agent, &update);
    bench.report(&agent, false, &[("web", None)]);
    bench.serve_api();
    bench.pass(Duration::from_secs(3600)).await;
    bench.serve_api();
    assert_eq!(bench.statuses, 3);
    assert_eq!(bench.hub.timers.next(), None, "at rest nothing is armed");
}

#[tokio::test(start_paused = true)]
async fn what_moves_for_long_is_written_once_a_second_at_most() {
    let (mut bench, agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x:1"));
    bench.report(&agent, false, &[("web", Some("Pulling"))]);
    assert!(bench.serve_api().is_empty());
    bench.pass(Duration::from_secs(1)).await;
    bench.serve_api();
    assert_eq!(bench.statuses, 2);
    assert_eq!(bench.app_reason("web", "Reconciling"), "True RollingOut");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_edit_leaves_the_nodes_as_they_are() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x:1"));
    let update = agent.update().expect("a delta");
    bench.adopt(&agent, &update);
    bench.apply_app("web", "u1", wrong_spec());
    bench.serve_api();
    assert!(agent.update().is_none());
    assert_eq!(bench.app_reason("web", "Stalled"), "True InvalidSpec");
    bench.apply_app("web", "u1", spec("x:2"));
    assert_eq!(agent.update().expect("a delta").apps.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_app_that_was_never_seen_valid_is_not_removed_from_nodes_that_have_it() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.report(&agent, true, &[("web", Some("Running"))]);
    bench.apply_app("web", "u1", wrong_spec());
    bench.apply_app("api", "u2", spec("x:1"));
    assert!(agent.update().is_none());
    bench.serve_api();
    let stalled = |status: &EdgeNodeStatus| status.conditions.iter().any(|c| c.reason == "InvalidSpec");
    assert!(stalled(&bench.node_status("box-1")));
    bench.apply_app("web", "u1", spec("x:1"));
    assert_eq!(agent.update().expect("a set").apps.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_newest_session_of_a_node_wins() {
    let (mut bench, mut old) = Bench::with_node("box-1");
    let mut new = bench.connect("box-1", None);
    assert_eq!(old.refusal(), Some("Superseded"));
    bench.said(&old, Said::Gone);
    bench.apply_app("web", "u1", spec("x:1"));
    assert!(new.update().is_some(), "the end of the old session is not that of the new one");
}

#[tokio::test(start_paused = true)]
async fn a_short_break_costs_no_write_and_a_long_one_makes_apps_unknown() {
    let (mut bench, agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x:1"));
    bench.report(&agent, true, &[("web", Some("Running"))]);
    bench.serve_api();
    bench.statuses = 0;

    bench.said(&agent, Said::Gone);
    bench.pass(BACK_GRACE / 2).await;
    let agent = bench.connect("box-1", None);
    bench.report(&agent, true, &[("web", Some("Running"))]);
    bench.pass(BACK_GRACE * 2).await;
    bench.serve_api();
    assert_eq!(bench.statuses, 0);

    bench.said(&agent, Said::Gone);
    bench.pass(BACK_GRACE).await;
    bench.serve_api();
    assert_eq!(bench.statuses, 2);
    assert_eq!(bench.node_status("box-1").apps[0].phase, "Unknown");
    assert_eq!(bench.app_reason("web", "Available"), "Unknown NodeUnreachable");

    // Back again: one write each, when the node has reported and not before.
    bench.statuses = 0;
    let agent = bench.connect("box-1", None);
    assert!(bench.serve_api().is_empty());
    bench.report(&agent, true, &[("web", Some("Running"))]);
    bench.serve_api();
    assert_eq!(bench.statuses, 2);
    assert_eq!(bench.app_reason("web", "Ready"), "True AllNodesReady");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_node_has_a_minute_to_come_back() {
    let (bench, _agent) = Bench::with_node("box-1");
    let status = bench.node_status("box-1");
    for comes_back in [true, false] {
        let mut bench = Bench::unfilled();
        bench.event(Event::Apps(listed(1, "e", 0)));
        bench.list_config(1, "e", 0);
        let mut seen = bench.seen("box-1", "uid-node", EdgeNodeSpec::default());
        seen.status = status.clone();
        bench.event(Event::Nodes(Watched::Listed { objects: vec![seen], position: 9, list: list("e", 0) }));
        bench.pass(START_GRACE / 2).await;
        let agent = comes_back.then(|| bench.connect("box-1", None));
        bench.pass(START_GRACE).await;
        bench.serve_api();
        assert_eq!(bench.statuses, usize::from(!comes_back));
        assert_eq!(bench.node_status("box-1").session.is_some(), agent.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_node_is_sent_away_and_joins_anew() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    let object = bench.seen("box-1", "uid-node", EdgeNodeSpec::default());
    let position = object.version;
    bench.event(Event::Nodes(Watched::Deleted { object, position }));
    assert_eq!(agent.refusal(), Some("NodeDeleted"));
    let _agent = bench.connect("box-1", None);
    assert!(bench.serve_api().iter().any(|job| matches!(job, Job::Register { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_takes_nothing_loses_its_session_alone() {
    let (mut bench, agent) = Bench::with_node("box-1");
    let mut other = bench.connect("box-2", None);
    bench.serve_api();
    drop(agent.frames);
    bench.apply_app("web", "u1", spec("x:1"));
    assert!(bench.hub.nodes[&name("box-1")].live.is_none());
    assert!(other.update().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_full_report_over_several_frames_drops_nothing_on_the_way() {
    let (mut bench, agent) = Bench::with_node("box-1");
    let names: Vec<String> = (0..caps::STATUS_APPS_PER_FRAME + 3).map(|i| format!("a{i:02}")).collect();
    let all: Vec<_> = names.iter().map(|app| (app.as_str(), Some("Running"))).collect();
    let (first, rest) = all.split_at(caps::STATUS_APPS_PER_FRAME);
    let apps = |bench: &Bench| bench.node_status("box-1").apps.len();
    for frames in [[first, rest], [first, &rest[1..]]] {
        bench.report(&agent, true, frames[0]);
        bench.report(&agent, false, frames[1]);
        bench.pass(Duration::from_secs(10)).await;
    }
    assert_eq!(apps(&bench), all.len() - 1, "the one that was not named again is gone");
    bench.report(&agent, true, first);
    assert_eq!(apps(&bench), all.len() - 1, "the rest may follow");
    bench.report(&agent, true, &[]);
    assert_eq!(apps(&bench), 0);
}

#[tokio::test(start_paused = true)]
async fn a_recreated_app_is_another_app() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x:1"));
    let update = agent.update().expect("a delta");
    bench.adopt(&agent, &update);
    bench.apply_app("web", "u2", spec("x:1"));
    assert_eq!(agent.update().expect("the new one").apps.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_holds_its_set_is_sent_nothing() {
    let mut bench = Bench::new();
    let generation = Generation::new("e", [(APPS.to_owned(), 1)]).expect("a generation");
    let digest = Digest::of(&PayloadSet::new());
    let mut agent = bench.connect("box-1", Some(Held { generation, digest }));
    bench.serve_api();
    assert!(agent.update().is_none());
}

#[tokio::test(start_paused = true)]
async fn lists_are_asked_for_once_for_all_and_prove_that_the_cluster_went_back() {
    let mut bench = Bench::new();
    let generation = Generation::new("e", [(APPS.to_owned(), 50), (NODES.to_owned(), 50)]);
    let held = Held { generation: generation.expect("a generation"), digest: Digest::of(&payloads()) };
    let mut agents = ["box-1", "box-2"].map(|node| bench.connect(node, Some(held.clone())));
    bench.serve_api();
    assert_eq!(*bench.hub.out.relist.borrow(), 1);
    let stalled = |bench: &Bench, node: &str| {
        let stall = bench.hub.nodes[&name(node)].state.stall.as_ref();
        stall.is_some_and(|stall| stall.reason == reasons::CLUSTER_WENT_BACK)
    };
    // The second node came when the first round may have begun; what it waits for follows.
    for (round, proven) in [(1, ["box-1"].as_slice()), (2, &["box-1", "box-2"])] {
        bench.event(Event::Apps(listed(9, "e", round)));
        assert!(!stalled(&bench, proven[proven.len() - 1]), "half a round");
        bench.list_config(9, "e", round);
        let objects = ["box-1", "box-2"].map(|node| bench.seen(node, "uid-node", EdgeNodeSpec::default()));
        let list = list("e", round);
        bench.event(Event::Nodes(Watched::Listed { objects: objects.into(), position: 9, list }));
        assert!(proven.iter().all(|node| stalled(&bench, node)));
        assert_eq!(*bench.hub.out.relist.borrow(), 2);
    }

    // However far the cluster counts, away and back, and under another controller.
    bench.version = 90;
    bench.apply_app("web", "u1", spec("x:1"));
    bench.event(Event::Nodes(Watched::Position(95)));
    bench.said(&agents[0], Said::Gone);
    bench.pass(BACK_GRACE).await;
    agents[0] = bench.connect("box-1", Some(held.clone()));
    bench.serve_api();
    bench.pass(Duration::from_secs(10)).await;
    bench.serve_api();
    let status = bench.node_status("box-1");
    let mut other = Bench::new();
    let mut early = other.connect("box-1", Some(held.clone()));
    let mut seen = other.seen("box-1", "uid-node", EdgeNodeSpec::default());
    (seen.status, seen.version) = (status, 97);
    other.event(Event::Apps(Watched::Position(96)));
    other.event(Event::Nodes(Watched::Applied { object: seen, position: 97 }));
    for agent in agents.iter_mut().chain([&mut early]) {
        assert!(agent.update().is_none());
    }
    assert!(stalled(&bench, "box-1") && stalled(&other, "box-1"));
}

fn payloads() -> PayloadSet {
    PayloadSet::from([(key("old"), [1].as_slice().into())])
}

#[tokio::test(start_paused = true)]
async fn another_cluster_behind_the_same_address_is_not_obeyed() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x:1"));
    let update = agent.update().expect("the app");
    bench.adopt(&agent, &update);
    let seen = bench.seen("box-1", "uid-node", EdgeNodeSpec::default());
    bench.event(Event::Nodes(Watched::Listed { objects: vec![seen], position: 99, list: list("f", 0) }));
    assert_eq!(*bench.hub.out.relist.borrow(), 1, "the other kinds are read anew");
    bench.apply_app("web", "u2", spec("x:2"));
    bench.event(Event::Apps(listed(99, "f", 1)));
    bench.list_config(99, "f", 1);
    bench.apply_app("web", "u2", spec("x:2"));
    assert!(agent.update().is_none());
    let stall = bench.hub.nodes[&name("box-1")].state.stall.as_ref().expect("a stall");
    assert_eq!(stall.reason, reasons::CLUSTER_WENT_BACK);
}

#[tokio::test(start_paused = true)]
async fn apps_that_a_full_report_did_not_name_are_not_recalled() {
    let (mut bench, agent) = Bench::with_node("box-1");
    bench.report(&agent, true, &[("web", Some("Running"))]);
    let status = bench.node_status("box-1");
    for (reported, apps) in [(true, 0), (false, 1)] {
        let mut bench = Bench::new();
        let agent = bench.connect("box-1", None);
        if reported {
            bench.report(&agent, true, &[]);
        }
        let mut seen = bench.seen("box-1", "uid-node", EdgeNodeSpec::default());
        seen.status = status.clone();
        let position = seen.version;
        bench.event(Event::Nodes(Watched::Applied { object: seen, position }));
        assert_eq!(bench.hub.nodes[&name("box-1")].state.apps.len(), apps);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_flips_is_written_at_a_steady_pace() {
    let (mut bench, agent) = Bench::with_node("box-1");
    bench.pass(Duration::from_secs(10)).await;
    for round in 0..1000 {
        let phase = if round % 2 == 0 { "Running" } else { "Failed" };
        bench.report(&agent, false, &[("web", Some(phase))]);
        bench.pass(Duration::from_millis(10)).await;
        bench.serve_api();
    }
    assert!((5..=8).contains(&bench.statuses), "{}", bench.statuses);
    bench.pass(Duration::from_secs(2)).await;
    bench.serve_api();
    assert_eq!(bench.node_status("box-1").apps[0].phase, "Failed", "the latest wins");
    assert_eq!(bench.hub.timers.next(), None);
}
