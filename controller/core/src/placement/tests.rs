//! Placement by example; [`properties`] has what holds for all of them.

mod properties;

use serde_json::{Value, json};
use skerry_terms::NodeName;

use super::*;

/// An app with one container; `selector` is the JSON of a label selector.
pub(crate) fn app(name: &str, image: &str, selector: &str) -> App {
    let json = format!(
        r#"{{"placement": {{"nodeSelector": {selector}}},
            "template": {{"spec": {{"containers": [{{"name": "main", "image": "{image}"}}]}}}}}}"#
    );
    let spec: EdgeAppSpec = serde_json::from_str(&json).expect("a spec");
    App {
        key: key(name),
        uid: format!("uid-{name}"),
        generation: 1,
        created: 0,
        trouble: None,
        content: Some(Content {
            revision: skerry_api::revision_name(name, &spec.template),
            payloads: vec![Payload::from(image.as_bytes())],
            spec: Arc::new(spec),
        }),
    }
}

/// Labels from `key=value` pairs.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn key(app: &str) -> AppKey {
    AppKey::new("default", app).expect("a key")
}

pub(crate) fn name(node: &str) -> NodeName {
    node.parse().expect("a name")
}

/// A demand with these requests; `rest` is the rest of the spec.
fn demand(app: &str, created: i64, requests: Value, rest: Value) -> Demand {
    let mut spec = json!({"template": {"spec": {"containers":
        [{"name": "main", "image": "x", "resources": {"requests": requests}}]}}});
    for (field, value) in rest.as_object().expect("an object") {
        spec[field] = value.clone();
    }
    Demand::new(key(app), created, Arc::new(serde_json::from_value(spec).expect("a spec")))
}

/// A connected amd64 node with this room and these apps.
fn node(room: Value, has: &[&str]) -> Node {
    let room: skerry_api::Resources = serde_json::from_value(room).expect("amounts");
    Node {
        facts: Some(Facts { architecture: "amd64".into(), operating_system: "linux".into() }),
        room: Amounts::of_node(&room),
        connected: true,
        has: has.iter().map(|app| key(app)).collect(),
        ..Node::default()
    }
}

fn board(apps: Vec<Demand>, nodes: Vec<(&str, Node)>) -> Board {
    let mut board = Board::default();
    for app in apps {
        board.set_app(&app.key().clone(), Some(app));
    }
    for (node, of) in nodes {
        board.set_node(&name(node), Some(of));
    }
    board.settle();
    board
}

/// `runs 0`, `waits`, the reason of what is in the way, or `-` for nothing to say.
fn says(board: &Board, node: &str, app: &str) -> String {
    match board.verdict(&name(node), &key(app)) {
        None => "-".into(),
        Some(Verdict::Runs { variant }) => format!("runs {variant}"),
        Some(Verdict::Waits) => "waits".into(),
        Some(Verdict::Barred(obstacle)) => obstacle.reason().into(),
    }
}

fn taint(effect: &str) -> Taint {
    serde_json::from_value(json!({"key": "dedicated", "value": "line", "effect": effect})).expect("a taint")
}

#[test]
fn the_selector_decides_where_an_app_runs() {
    let cases = [
        (json!({}), &[][..], "runs 0"),
        (json!({"nodeSelector": {"matchLabels": {"site": "hz"}}}), &[("site", "hz")][..], "runs 0"),
        (json!({"nodeSelector": {"matchLabels": {"site": "hz"}}}), &[("site", "sh")][..], "-"),
        (json!({"nodeSelector": {"matchLabels": {"site": "hz"}}}), &[][..], "-"),
    ];
    for (placement, pairs, expected) in cases {
        let app = demand("web", 0, json!({}), json!({"placement": placement}));
        let node = Node { labels: labels(pairs), ..Node::default() };
        assert_eq!(says(&board(vec![app], vec![("box", node)]), "box", "web"), expected, "{pairs:?}");
    }
    let anywhere = demand("web", 0, json!({}), json!({}));
    assert_eq!(says(&board(vec![anywhere], vec![("box", Node::default())]), "box", "web"), "runs 0");
}

#[test]
fn taints_keep_away_and_only_no_execute_removes() {
    let tolerates = json!([{"key": "dedicated", "value": "line"}]);
    let cases = [
        ("NoSchedule", json!([]), &[][..], "Tainted"),
        ("NoSchedule", json!([]), &["web"][..], "runs 0"),
        ("NoSchedule", tolerates.clone(), &[][..], "runs 0"),
        ("NoExecute", json!([]), &["web"][..], "Tainted"),
        ("NoExecute", tolerates, &[][..], "runs 0"),
        ("PreferNoSchedule", json!([]), &[][..], "runs 0"),
    ];
    for (effect, tolerations, has, expected) in cases {
        let app = demand("web", 0, json!({}), json!({"placement": {"tolerations": tolerations}}));
        let tainted = Node { taints: vec![taint(effect)], ..node(json!({}), has) };
        assert_eq!(
            says(&board(vec![app], vec![("box", tainted)]), "box", "web"),
            expected,
            "{effect} {has:?}"
        );
    }
}

#[test]
fn a_cordoned_node_keeps_what_it_has_and_takes_nothing_new() {
    let apps = || ["web", "api"].map(|app| demand(app, 0, json!({}), json!({}))).to_vec();
    let cordoned = Node { unschedulable: true, ..node(json!({}), &["web"]) };
    let board = board(apps(), vec![("box", cordoned)]);
    assert_eq!(
        (says(&board, "box", "web").as_str(), says(&board, "box", "api").as_str()),
        ("runs 0", "Unschedulable")
    );
}

#[test]
fn the_first_variant_that_matches_wins() {
    let variants = json!([
        {"match": {"architectures": ["arm64"]}, "images": {"main": "x:arm"}},
        {"match": {"architectures": ["amd64"], "nodeSelector": {"matchLabels": {"gpu": "yes"}}}, "images": {"main": "x:gpu"}},
        {"match": {"operatingSystems": ["linux"], "architectures": ["amd64", "arm64"]}, "images": {}},
    ]);
    let app = demand("web", 0, json!({}), json!({"variants": variants}));
    let of = |architecture: &str, pairs: &[(&str, &str)]| {
        let facts = Facts { architecture: architecture.into(), operating_system: "linux".into() };
        Node { facts: Some(facts), labels: labels(pairs), ..Node::default() }
    };
    let board = board(
        vec![app],
        vec![
            ("arm", of("arm64", &[])),
            ("gpu", of("amd64", &[("gpu", "yes")])),
            ("pc", of("amd64", &[])),
            ("risc", of("riscv64", &[])),
            ("new", Node::default()),
        ],
    );
    let all = ["arm", "gpu", "pc", "risc", "new"].map(|node| says(&board, node, "web"));
    assert_eq!(all, ["runs 0", "runs 1", "runs 2", "NoVariant", "waits"]);
    let Some(Verdict::Barred(obstacle)) = board.verdict(&name("risc"), &key("web")) else {
        panic!("a node without a variant")
    };
    assert!(obstacle.to_string().contains("linux/riscv64"), "{obstacle}");
}

#[test]
fn what_runs_comes_first_then_the_older_then_the_name() {
    let one = || json!({"cpu": 1});
    let apps = || {
        [("old", 1), ("b", 2), ("a", 2), ("young", 3)]
            .map(|(app, at)| demand(app, at, one(), json!({})))
            .to_vec()
    };
    let cases = [
        (2, &[][..], ["a", "old"]),
        (2, &["young"][..], ["old", "young"]),
        (2, &["young", "b"][..], ["b", "young"]),
    ];
    for (cpu, has, expected) in cases {
        let board = board(apps(), vec![("box", node(json!({"cpu": cpu}), has))]);
        let mut runs: Vec<_> = ["old", "b", "a", "young"]
            .into_iter()
            .filter(|app| says(&board, "box", app) == "runs 0")
            .collect();
        runs.sort_unstable();
        assert_eq!(runs, expected, "{has:?}");
    }
    let board = board(apps(), vec![("box", node(json!({"cpu": "1500m"}), &[]))]);
    let Some(Verdict::Barred(obstacle)) = board.verdict(&name("box"), &key("a")) else {
        panic!("no room for a second one")
    };
    assert_eq!(obstacle.to_string(), "cpu: 1 requested, 500m free on the node");
}

#[test]
fn replicas_take_other_nodes_where_one_has_no_room() {
    let camera = || json!({"skerry.dev/camera": 1});
    let three = |n: i32| json!({"placement": {"replicas": n}});
    let nodes = || {
        vec![
            ("a", node(json!({"skerry.dev/camera": 1}), &["other"])),
            ("b", node(json!({"skerry.dev/camera": 1}), &[])),
            ("c", node(json!({}), &[])),
            ("d", node(json!({"skerry.dev/camera": 2}), &[])),
        ]
    };
    let other = || demand("other", 5, camera(), json!({"placement": {"replicas": 1}}));
    let fits = board(vec![demand("web", 1, camera(), three(2)), other()], nodes());
    assert_eq!(["a", "b", "c", "d"].map(|node| says(&fits, node, "web")), ["-", "runs 0", "-", "runs 0"]);
    assert_eq!(fits.missing(&key("web")), 0);

    let short = board(vec![demand("web", 1, camera(), three(3)), other()], nodes());
    let lack = "InsufficientResources";
    assert_eq!(["a", "b", "c", "d"].map(|node| says(&short, node, "web")), [lack, "runs 0", lack, "runs 0"]);
    assert_eq!(short.missing(&key("web")), 1);
}

#[test]
fn replicas_prefer_nodes_that_are_there_then_connected_then_not_avoided() {
    let spec = || demand("web", 0, json!({}), json!({"placement": {"replicas": 1}}));
    let away = || Node { connected: false, ..node(json!({}), &[]) };
    let avoided = || Node { taints: vec![taint("PreferNoSchedule")], ..node(json!({}), &[]) };
    let unseen = || Node { facts: None, ..node(json!({}), &[]) };
    let on = |nodes: Vec<(&str, Node)>| {
        let names: Vec<String> = nodes.iter().map(|(name, _)| (*name).to_owned()).collect();
        let board = board(vec![spec()], nodes);
        names.into_iter().find(|name| says(&board, name, "web") != "-").unwrap_or_default()
    };
    for n in 0..20 {
        let names = [0, 1, 2].map(|i| format!("box-{n}-{i}"));
        let [a, b, c] = [0, 1, 2].map(|i: usize| names[i].as_str());
        assert_eq!(on(vec![(a, away()), (b, avoided()), (c, node(json!({}), &[]))]), c);
        assert_eq!(on(vec![(a, away()), (b, avoided()), (c, unseen())]), b);
        assert_eq!(on(vec![(a, away()), (b, unseen())]), a);
        let keeps = Node { connected: false, ..node(json!({}), &["web"]) };
        assert_eq!(
            on(vec![(a, keeps), (b, node(json!({}), &[])), (c, avoided())]),
            a,
            "it keeps its replica"
        );
    }
}

#[test]
fn a_settle_names_only_what_has_moved() {
    let every = demand("web", 0, json!({}), json!({}));
    let mut board =
        board(vec![every.clone()], vec![("a", node(json!({}), &[])), ("b", node(json!({}), &[]))]);
    board.set_node(&name("a"), Some(node(json!({}), &["web"])));
    board.set_app(&key("web"), Some(every));
    assert_eq!(board.settle(), Moved::default(), "a report moves nothing");
    board.set_app(&key("api"), Some(demand("api", 0, json!({}), json!({"placement": {"replicas": 1}}))));
    let moved = board.settle();
    assert_eq!((moved.nodes.len(), moved.apps), (1, BTreeSet::from([key("api")])));
    board.set_node(&name("b"), None);
    board.set_node(&name("a"), None);
    let moved = board.settle();
    assert_eq!((moved.nodes.len(), moved.apps.len()), (2, 2));
    assert_eq!(board.missing(&key("api")), 1);
    board.set_app(&key("api"), None);
    assert_eq!(board.settle().apps.len(), 1);
    assert_eq!(board.missing(&key("api")), 0);
}
