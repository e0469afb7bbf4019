//! ConfigMaps and Secrets: who gets them, when, and what is said when they cannot be had.

use std::sync::Arc;

use prost::Message as _;
use skerry_api::wire::{self, ConfigObject};
use skerry_proto::wire::App as WireApp;

use super::*;
use crate::k8s::ConfigRef;

const MAP: ConfigKind = ConfigKind::ConfigMap;
const SECRET: ConfigKind = ConfigKind::Secret;

/// An app whose environment is a ConfigMap of this name, and the same of a Secret.
fn refers(maps: &[&str], secrets: &[&str]) -> EdgeAppSpec {
    let maps = maps.iter().map(|name| json!({"configMapRef": {"name": name}}));
    let secrets = secrets.iter().map(|name| json!({"secretRef": {"name": name}}));
    let from: Vec<_> = maps.chain(secrets).collect();
    let json =
        json!({"template": {"spec": {"containers": [{"name": "main", "image": "x", "envFrom": from}]}}});
    serde_json::from_value(json).expect("a spec")
}

fn config_ref(kind: ConfigKind, name: &str) -> ConfigRef {
    ConfigRef { kind, namespace: "default".into(), name: name.to_owned() }
}

fn object(kind: ConfigKind, name: &str, version: u64, text: &str) -> ConfigSeen {
    let (wire, type_) = match kind {
        MAP => (wire::ConfigKind::ConfigMap, ""),
        SECRET => (wire::ConfigKind::Secret, "Opaque"),
    };
    let object = ConfigObject {
        kind: wire.into(),
        name: name.to_owned(),
        r#type: type_.to_owned(),
        data: [("KEY".to_owned(), text.as_bytes().to_vec())].into(),
        ..ConfigObject::default()
    };
    ConfigSeen { key: config_ref(kind, name), version, object: Arc::new(object) }
}

impl Bench {
    fn apply_config(&mut self, kind: ConfigKind, name: &str, text: &str) {
        self.version += 1;
        let (position, object) = (self.version, object(kind, name, self.version, text));
        self.event(Event::Config(kind, Watched::Applied { object, position }));
    }

    fn delete_config(&mut self, kind: ConfigKind, name: &str) {
        self.version += 1;
        let (position, object) = (self.version, object(kind, name, self.version, ""));
        self.event(Event::Config(kind, Watched::Deleted { object, position }));
    }

    /// Answers the reads that wait with these objects; all others do not exist.
    fn answer_reads(&mut self, objects: &[ConfigSeen]) -> usize {
        let reads = self.hub.out.wanted.drain();
        let count = reads.len();
        for (key, ticket) in reads {
            let found = Ok(objects.iter().find(|seen| seen.key == key).cloned());
            self.event(Event::ConfigRead(ConfigRead { key, ticket, found }));
        }
        count
    }

    fn forbid(&mut self, kind: ConfigKind) {
        self.event(Event::Config(kind, Watched::Forbidden("secrets is forbidden: User \"c\"".into())));
    }

    /// Takes what was sent and adopts it.
    fn take(&mut self, agent: &mut Agent) -> Option<Update> {
        let update = agent.update()?;
        self.adopt(agent, &update);
        Some(update)
    }
}

/// The values of all config objects in the payloads of an update, by app.
fn sent(update: &Update) -> Vec<String> {
    let of = |(key, payload): &(AppKey, skerry_terms::Payload)| {
        let app = WireApp::decode(&payload[..]).expect("an app");
        let values = app.config.iter().flat_map(|object| object.data.values());
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        format!("{}:{}", key.name(), values.join(","))
    };
    update.apps.iter().map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn config_travels_with_the_app_and_a_change_goes_to_its_nodes_alone() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", refers(&["a"], &["b"]));
    assert!(agent.update().is_none(), "what it refers to is being read");
    assert_eq!(bench.answer_reads(&[object(MAP, "a", 1, "one"), object(SECRET, "b", 1, "hidden")]), 2);
    let update = bench.take(&mut agent).expect("the app");
    assert_eq!(sent(&update), ["web:one,hidden"]);

    bench.apply_app("api", "u2", spec("x"));
    bench.take(&mut agent).expect("the other app");
    bench.apply_config(MAP, "a", "two");
    let update = bench.take(&mut agent).expect("the change");
    assert_eq!(
        (sent(&update), update.generation.positions()["configmaps"]),
        (vec!["web:two,hidden".into()], bench.version)
    );

    bench.delete_config(SECRET, "b");
    assert_eq!(sent(&bench.take(&mut agent).expect("without the secret")), ["web:two"]);
    bench.apply_config(SECRET, "b", "again");
    assert_eq!(sent(&bench.take(&mut agent).expect("with it")), ["web:two,again"]);
    bench.apply_config(SECRET, "b", "again");
    assert!(agent.update().is_none(), "the same content");
}

#[tokio::test(start_paused = true)]
async fn what_no_app_refers_to_wakes_nobody() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", spec("x"));
    bench.take(&mut agent).expect("the app");
    for _ in 0..100 {
        bench.apply_config(MAP, "leader-election", "renewed");
        bench.version += 1;
        let event = Event::Config(SECRET, Watched::Position(bench.version));
        bench.hub.apply(event);
        assert!(bench.hub.dirty_sets.is_empty() && bench.hub.dirty_apps.is_empty());
    }
    assert!(agent.update().is_none());
    assert!(bench.hub.waiting.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_node_while_its_config_is_read_and_others_go_on() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    let mut other = bench.connect("box-2", None);
    bench.serve_api();
    let update = other.update().expect("the empty set");
    bench.adopt(&other, &update);
    let pinned: EdgeAppSpec = {
        let mut spec = serde_json::to_value(refers(&["a"], &[])).expect("json");
        spec["placement"] = json!({"nodeSelector": {"matchLabels": {"site": "hz"}}});
        serde_json::from_value(spec).expect("a spec")
    };
    bench.nodes.get_mut("box-1").expect("the node").1.insert("site".into(), "hz".into());
    let status = bench.node_status("box-1");
    bench.tell_node("box-1", status);
    bench.apply_app("web", "u1", pinned);
    bench.apply_app("api", "u2", spec("x"));
    assert!(agent.update().is_none());
    assert_eq!(other.update().expect("the app").apps.len(), 1);
    bench.answer_reads(&[object(MAP, "a", 1, "one")]);
    assert_eq!(sent(&bench.take(&mut agent).expect("both")), ["api:", "web:one"]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_ahead_of_the_watch_waits_for_it() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", refers(&["a"], &[]));
    bench.answer_reads(&[object(MAP, "a", 900, "one")]);
    assert!(agent.update().is_none(), "a set at the present position would not have it");
    bench.event(Event::Config(MAP, Watched::Position(901)));
    assert_eq!(sent(&bench.take(&mut agent).expect("the app")), ["web:one"]);
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_is_not_taken_for_a_new_one() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", refers(&["a"], &[]));
    let reads = bench.hub.out.wanted.drain();
    bench.apply_config(MAP, "a", "newer");
    assert_eq!(sent(&bench.take(&mut agent).expect("the app")), ["web:newer"]);
    for (key, ticket) in reads {
        bench.event(Event::ConfigRead(ConfigRead { key, ticket, found: Ok(None) }));
    }
    assert!(agent.update().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lacks_an_object_has_it_read_once_more() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", refers(&["a", "b"], &[]));
    bench.answer_reads(&[object(MAP, "a", 1, "one")]);
    assert_eq!(sent(&bench.take(&mut agent).expect("the app")), ["web:one"]);
    bench.version = 50;
    bench.event(Event::Config(MAP, listed(50, "e", 1)));
    assert_eq!(bench.answer_reads(&[]), 1, "the one that was there, not the one that was missing before");
    assert_eq!(sent(&bench.take(&mut agent).expect("without it")), ["web:"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_referred_to_is_not_kept() {
    let (mut bench, _agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", refers(&["a"], &["b"]));
    bench.answer_reads(&[]);
    bench.apply_app("web", "u1", refers(&[], &["b"]));
    bench.delete_app("web");
    bench.apply_app("web", "u2", refers(&["a"], &[]));
    assert_eq!(bench.answer_reads(&[]), 1, "it is read anew");
}

#[tokio::test(start_paused = true)]
async fn secrets_that_may_not_be_read_are_said_and_hold_up_no_other_app() {
    let mut bench = Bench::unfilled();
    bench.event(Event::Apps(listed(1, "e", 0)));
    bench.event(Event::Nodes(listed(1, "e", 0)));
    bench.event(Event::Config(MAP, listed(1, "e", 0)));
    let mut agent = bench.connect("box-1", None);
    bench.serve_api();
    assert!(agent.update().is_none(), "whether secrets may be read is not known yet");
    bench.forbid(SECRET);
    bench.serve_api();
    bench.take(&mut agent).expect("the empty set");
    bench.apply_app("web", "u1", refers(&[], &["b"]));
    bench.apply_app("api", "u2", refers(&["a"], &[]));
    bench.answer_reads(&[]);
    bench.serve_api();
    assert_eq!(sent(&bench.take(&mut agent).expect("the app that can go")), ["api:"]);
    assert_eq!(bench.app_reason("web", "Stalled"), "True ConfigUnreadable");
    let status = bench.hub.apps[&key("web")].status.written();
    let message = &status.conditions.iter().find(|c| c.type_ == "Ready").expect("Ready").message;
    assert!(message.contains("secret \"b\"") && message.contains("secrets is forbidden"), "{message}");

    // The right is granted.
    let list = list("e", 0);
    let listed = Watched::Listed { objects: vec![object(SECRET, "b", 40, "hidden")], position: 40, list };
    bench.event(Event::Config(SECRET, listed));
    assert_eq!(sent(&bench.take(&mut agent).expect("the app")), ["web:hidden"]);
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_leaves_what_runs() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", refers(&[], &["b"]));
    bench.answer_reads(&[object(SECRET, "b", 1, "hidden")]);
    bench.take(&mut agent).expect("the app");
    bench.report(&agent, true, &[("web", Some("Running"))]);
    bench.forbid(SECRET);
    bench.apply_app("api", "u2", spec("x"));
    assert_eq!(sent(&bench.take(&mut agent).expect("the other app")), ["api:"]);
    bench.serve_api();
    assert_eq!(bench.app_reason("web", "Stalled"), "True ConfigUnreadable");

    // A controller that starts without the right does not know what the node should have, and takes nothing away.
    let status = bench.node_status("box-1");
    let mut other = Bench::unfilled();
    other.event(Event::Apps(listed(1, "e", 0)));
    other.event(Event::Config(MAP, listed(1, "e", 0)));
    other.forbid(SECRET);
    other.apply_app("web", "u1", refers(&[], &["b"]));
    let mut seen = other.seen("box-1", "uid-node", EdgeNodeSpec::default());
    seen.status = status;
    other.event(Event::Nodes(Watched::Listed { objects: vec![seen], position: 99, list: list("e", 0) }));
    let mut agent = other.connect("box-1", None);
    assert!(agent.update().is_none());
    let stall = other.hub.nodes[&name("box-1")].state.stall.as_ref().expect("a stall");
    assert_eq!(stall.reason, reasons::CONFIG_UNREADABLE);
}

#[tokio::test(start_paused = true)]
async fn config_that_is_too_large_is_refused_by_name_and_what_runs_stays() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", refers(&["a", "b"], &[]));
    bench.answer_reads(&[object(MAP, "a", 1, "one")]);
    bench.take(&mut agent).expect("the app");
    bench.apply_config(MAP, "b", &"x".repeat(caps::PAYLOAD_MAX));
    bench.serve_api();
    assert!(agent.update().is_none());
    assert_eq!(bench.app_reason("web", "Stalled"), "True InvalidSpec");
    let status = bench.hub.apps[&key("web")].status.written();
    let message = &status.conditions.iter().find(|c| c.type_ == "Stalled").expect("Stalled").message;
    assert!(message.contains("configmap \"b\"") && message.len() < 1000, "{message}");
    bench.apply_config(MAP, "b", "two");
    assert_eq!(sent(&bench.take(&mut agent).expect("the app")), ["web:one,two"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_printed_has_a_secret() {
    let (mut bench, mut agent) = Bench::with_node("box-1");
    bench.apply_app("web", "u1", refers(&[], &["b"]));
    let reads = bench.hub.out.wanted.clone();
    let secret = object(SECRET, "b", 1, "hunter2");
    let answer = ConfigRead { key: secret.key.clone(), ticket: 1, found: Ok(Some(secret.clone())) };
    let bytes = format!("{:?}", b"hunter2");
    let bytes = bytes.trim_matches(['[', ']']);
    let mut printed = format!("{secret:?} {answer:?} {reads:?}");
    bench.answer_reads(&[secret]);
    let update = agent.update().expect("the app");
    assert_eq!(sent(&update), ["web:hunter2"]);
    printed += &format!("{update:?} {:?}", bench.hub);
    assert!(!printed.contains("hunter2") && !printed.contains(bytes));
}
