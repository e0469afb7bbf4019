//! Placement in the hub: what a node's object says decides, and only the nodes that it concerns are sent anything.

use super::*;

fn with(placement: serde_json::Value, rest: serde_json::Value) -> EdgeAppSpec {
    let mut json = json!({
        "placement": placement,
        "template": {"spec": {"containers": [{"name": "main", "image": "x"}]}}
    });
    for (field, value) in rest.as_object().expect("an object") {
        json[field] = value.clone();
    }
    serde_json::from_value(json).expect("a spec")
}

impl Bench {
    /// Connects a node of this architecture that has nothing yet.
    fn node(&mut self, node: &str, architecture: &str) -> Agent {
        self.next_id += 1;
        let (frames, receiver) = mpsc::channel(8);
        let mut agent = Agent { node: name(node), id: self.next_id, frames: receiver };
        let greeting = Greeting {
            tells_transitions: false,
            node: agent.node.clone(),
            held: None,
            state_corrupt: String::new(),
            labels: BTreeMap::new(),
            bad_labels: Vec::new(),
            info: NodeInfo {
                architecture: architecture.to_owned(),
                operating_system: "linux".into(),
                ..NodeInfo::default()
            },
            capacity: serde_json::from_value(json!({"cpu": 2, "skerry.dev/camera": 1})).expect("amounts"),
            addresses: Vec::new(),
        };
        self.said(&agent, Said::Hello(Box::new(greeting), Reply::new(frames, CancellationToken::new())));
        self.serve_api();
        self.report(&agent, true, &[]);
        self.serve_api();
        self.follow(&mut agent);
        agent
    }

    /// The agent adopts what it is sent, runs it, and the API server has it.
    fn follow(&mut self, agent: &mut Agent) {
        let mut last = None;
        while let Some(update) = agent.update() {
            self.adopt(agent, &update);
            last = Some(update);
        }
        if last.is_some() {
            let on: Vec<_> = self.runs(agent).into_iter().collect();
            let all: Vec<_> = on.iter().map(|app| (app.as_str(), Some("Running"))).collect();
            self.report(agent, true, &all);
        }
        self.serve_api();
    }

    /// The apps that a node shall have.
    fn runs(&self, agent: &Agent) -> BTreeSet<String> {
        let runs = |(key, verdict): (&AppKey, &skerry_controller_core::placement::Verdict)| {
            matches!(verdict, skerry_controller_core::placement::Verdict::Runs { .. })
                .then(|| key.name().to_owned())
        };
        self.hub.board.on_node(&agent.node).filter_map(runs).collect()
    }

    fn change_node(&mut self, node: &str, change: impl FnOnce(&mut EdgeNodeSpec)) {
        change(&mut self.nodes.get_mut(node).expect("the node").0);
        let status = self.node_status(node);
        self.tell_node(node, status);
        self.serve_api();
    }

    fn not_placeable(&self, app: &str) -> Vec<String> {
        let status = self.hub.apps[&key(app)].status.written();
        status.not_placeable.iter().map(|node| format!("{} {}", node.node, node.reason)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn each_architecture_has_its_variant_and_its_payload_is_made_once() {
    let mut bench = Bench::new();
    let mut agents = ["amd64", "amd64", "arm64", "riscv64"]
        .into_iter()
        .enumerate()
        .map(|(n, architecture)| bench.node(&format!("box-{n}"), architecture))
        .collect::<Vec<_>>();
    let variants = json!([
        {"match": {"architectures": ["arm64"]}, "images": {"main": "x:arm"}},
        {"match": {"architectures": ["amd64"]}, "images": {"main": "x:amd"}},
    ]);
    bench.apply_app("web", "u1", with(json!({}), json!({"variants": variants})));
    let payloads: Vec<_> = agents
        .iter_mut()
        .map(|agent| {
            agent.update().and_then(|update| update.apps.first().map(|(_, payload)| payload.clone()))
        })
        .collect();
    let [Some(one), Some(two), Some(three), None] = &payloads[..] else { panic!("{}", payloads.len()) };
    assert!(std::ptr::eq(&**one, &**two) && one != three);
    bench.pass(Duration::from_secs(2)).await;
    bench.serve_api();
    assert_eq!(bench.not_placeable("web"), ["box-3 NoVariant"]);
}

#[tokio::test(start_paused = true)]
async fn a_cordon_keeps_what_runs_and_a_no_execute_taint_removes_it() {
    let mut bench = Bench::new();
    let mut agent = bench.node("box-1", "amd64");
    bench.apply_app("web", "u1", spec("x"));
    bench.follow(&mut agent);
    assert_eq!(bench.node_status("box-1").apps.len(), 1);
    bench.change_node("box-1", |node| node.unschedulable = Some(true));
    bench.apply_app("api", "u2", spec("x"));
    bench.follow(&mut agent);
    assert_eq!(bench.runs(&agent), BTreeSet::from(["web".to_owned()]));
    bench.pass(Duration::from_secs(2)).await;
    bench.serve_api();
    assert_eq!(bench.not_placeable("api"), ["box-1 Unschedulable"]);
    bench.change_node("box-1", |node| {
        node.taints =
            vec![serde_json::from_value(json!({"key": "out", "effect": "NoExecute"})).expect("a taint")];
    });
    assert_eq!(agent.update().expect("the removal").removed, [key("web")]);
    bench.pass(Duration::from_secs(2)).await;
    bench.serve_api();
    assert_eq!(bench.not_placeable("web"), ["box-1 Tainted"]);
}

#[tokio::test(start_paused = true)]
async fn a_replica_stays_when_nodes_come_and_goes_on_when_its_node_is_deleted() {
    let mut bench = Bench::new();
    let mut agents = vec![bench.node("box-0", "amd64")];
    bench.apply_app("web", "u1", with(json!({"replicas": 1}), json!({})));
    bench.follow(&mut agents[0]);
    for n in 1..6 {
        let agent = bench.node(&format!("box-{n}"), "amd64");
        assert!(bench.runs(&agent).is_empty(), "box-{n}");
        agents.push(agent);
    }
    assert!(agents[0].update().is_none());
    // Away, it keeps its replica.
    bench.said(&agents[0], Said::Gone);
    bench.pass(BACK_GRACE * 2).await;
    bench.serve_api();
    assert!(bench.runs(&agents[0]).contains("web"));
    let object = bench.seen("box-0", "uid-node", EdgeNodeSpec::default());
    let position = object.version;
    bench.event(Event::Nodes(Watched::Deleted { object, position }));
    let running: Vec<_> = agents.iter().filter(|agent| !bench.runs(agent).is_empty()).collect();
    assert_eq!(running.len(), 1);
    bench.serve_api();
    assert_eq!(bench.hub.apps[&key("web")].status.written().nodes.expect("counts").desired, 1);
}

#[tokio::test(start_paused = true)]
async fn a_device_goes_to_whom_has_it_and_the_next_is_told_why_not() {
    let mut bench = Bench::new();
    let mut agent = bench.node("box-1", "amd64");
    let camera = json!({"template": {"spec": {"containers": [
        {"name": "main", "image": "x", "resources": {"limits": {"skerry.dev/camera": 1}}}]}}});
    bench.apply_app("web", "u1", with(json!({}), camera.clone()));
    bench.follow(&mut agent);
    // Its name comes first, but the other one is there.
    bench.apply_app("a", "u2", with(json!({}), camera));
    bench.follow(&mut agent);
    assert_eq!(bench.runs(&agent), BTreeSet::from(["web".to_owned()]));
    bench.pass(Duration::from_secs(2)).await;
    bench.serve_api();
    assert_eq!(bench.not_placeable("a"), ["box-1 InsufficientResources"]);
    assert_eq!(bench.app_reason("a", "Ready"), "False InsufficientResources");
    let events: Vec<_> = bench.notices.try_iter();
    let told = events.iter().filter(|notice| notice.reason == reasons::INSUFFICIENT_RESOURCES).count();
    assert_eq!(told, 1, "once, not with every write");
    bench.delete_app("web");
    bench.follow(&mut agent);
    assert_eq!(bench.runs(&agent), BTreeSet::from(["a".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_not_told_what_it_is_waits_and_is_not_barred() {
    let mut bench = Bench::new();
    bench.nodes.insert("box-1".into(), (EdgeNodeSpec::default(), BTreeMap::new()));
    bench.tell_node("box-1", EdgeNodeStatus::default());
    let variants = json!([{"match": {"architectures": ["amd64"]}, "images": {"main": "x:amd"}}]);
    bench.apply_app("web", "u1", with(json!({}), json!({"variants": variants})));
    bench.pass(Duration::from_secs(2)).await;
    bench.serve_api();
    let counts = bench.hub.apps[&key("web")].status.written().nodes.expect("counts");
    assert_eq!((counts.desired, counts.not_placeable, counts.unknown), (1, 0, 1));
    let agent = bench.node("box-1", "amd64");
    assert_eq!(bench.runs(&agent), BTreeSet::from(["web".to_owned()]));
}
