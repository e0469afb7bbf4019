//! Replays sequences of requests that a real API server has answered (`testdata/sequences.json`, with its schemas beside it) and
//! compares what it left in each object. Times are those of the steps: step 3 of a sequence happens at 00:00:03.
//!
//! To record the answers again, for instance after adding a step (one without `answer`): start a new real API server
//! (`tests/kube/control-plane.sh up DIR`), apply `deploy/crds`, run `kubectl proxy --port 8001`, then
//! `SKERRY_KUBE_PROXY=http://127.0.0.1:8001 cargo test -p skerry-standalone -- --ignored record_the_sequences`.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::*;
use crate::schema::Schema;

mod record;

const SEQUENCES: &str = include_str!("testdata/sequences.json");
const SCHEMAS: &str = include_str!("testdata/schemas.json");

fn schema(kind: &str) -> Schema {
    let components: Map<String, Value> = serde_json::from_str(SCHEMAS).unwrap();
    let whole = components.iter().find(|(name, _)| name.ends_with(&format!(".{kind}")));
    Schema::parse_in(whole.unwrap().1, &components)
}

fn resource(kind: &str) -> Resource {
    let origin = if kind.starts_with("Edge") { Origin::Custom } else { Origin::BuiltIn };
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        list_kind: String::new(),
        plural: format!("{}s", kind.to_lowercase()),
        singular: String::new(),
        short_names: vec![],
        categories: vec![],
        namespaced: true,
        subresources: if kind == "ConfigMap" { vec![] } else { vec!["status".to_owned()] },
        read_only: false,
        origin,
        schema: Arc::default(),
        columns: vec![],
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn at(step: usize) -> String {
    format!("2026-01-01T00:00:{step:02}Z")
}

/// Neither nulls nor empty lists and objects, as which and absent the kinds that are tested do not tell apart.
fn settled(value: &Value) -> Value {
    let kept = |value: &Value| !matches!(value, Value::Null) && value != &json!({}) && value != &json!([]);
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), settled(value)));
            Value::Object(fields.filter(|(_, value)| kept(value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(settled).filter(kept).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Without what the server adds itself.
fn shown(part: &Value) -> Value {
    let mut part = part.clone();
    for name in ["name", "namespace", "managedFields"] {
        part.as_object_mut().and_then(|fields| fields.remove(name));
    }
    part.pointer_mut("/labels")
        .and_then(Value::as_object_mut)
        .map(|labels| labels.remove("kubernetes.io/metadata.name"));
    if part == json!({"finalizers": ["kubernetes"]}) {
        part = Value::Null;
    }
    settled(&json!([part]))
}

/// The lines of a message and the causes, each without an order: the real server takes them from a map.
fn refusal(message: &str, causes: &Value) -> (BTreeSet<String>, BTreeSet<String>) {
    let causes = causes.as_array().into_iter().flatten().map(Value::to_string).collect();
    let lines = message.split("conflicts: ").flat_map(|part| part.split('\n'));
    (lines.map(str::to_owned).collect(), causes)
}

fn replay(sequence: &Value) {
    let resource = resource(text(sequence, "kind"));
    let schema = schema(text(sequence, "kind"));
    let mut live: Option<Value> = None;
    for (place, step) in sequence["steps"].as_array().unwrap().iter().enumerate() {
        let case = format!("{}, step {place}: {step}", sequence["name"]);
        let (body, answer) = (&step["body"], &step["answer"]);
        let version = if resource.origin == Origin::Custom { "skerry.dev/v1alpha1" } else { "v1" };
        let manager = Manager::of(&resource, version, text(step, "sub"), text(step, "manager"));
        if text(step, "do") == "apply" {
            let force = step["force"] == true;
            match apply(&schema, live.as_ref(), body, &manager, force, &at(place)) {
                Ok(made) => {
                    assert!(answer["object"].is_object(), "{case}: the real server refuses");
                    assert_eq!(owners(&made), owners(&answer["object"]), "{case}");
                    let parts: &[&str] = if manager.subresource.is_empty() {
                        &["metadata", "spec", "data"]
                    } else {
                        &["status"]
                    };
                    for part in parts {
                        assert_eq!(shown(&made[part]), shown(&answer["object"][part]), "{case}");
                    }
                }
                Err(refused) => {
                    let refused = refused.into_api_error(body);
                    assert_eq!(json!(refused.code), answer["code"], "{case}: {refused}");
                    let causes =
                        refused.details.as_ref().map_or(Value::Null, |details| json!(details.causes));
                    let expected = refusal(text(answer, "message"), &answer["causes"]);
                    assert_eq!(refusal(&refused.message, &causes), expected, "{case}");
                }
            }
        } else {
            let mut made = answer["object"].clone();
            let sent = body["metadata"].get("managedFields");
            let kept =
                if text(step, "do") == "merge" { live.as_ref().and_then(managed_fields) } else { None };
            set_managed_fields(&mut made, sent.or(kept).cloned());
            track(&schema, live.as_ref(), &mut made, &manager, &at(place));
            assert_eq!(owners(&made), owners(&answer["object"]), "{case}");
        }
        if answer["object"].is_object() {
            live = Some(answer["object"].clone());
        }
    }
}

fn owners(object: &Value) -> String {
    serde_json::to_string_pretty(&object["metadata"]["managedFields"]).unwrap()
}

#[test]
fn each_step_leaves_what_a_real_server_left() {
    let sequences: Vec<Value> = serde_json::from_str(SEQUENCES).unwrap();
    assert!(sequences.len() > 10);
    sequences.iter().for_each(replay);
}

#[test]
fn fields_survive_their_wire_form() {
    let fields = json!({"f:a": {".": {}, "k:{\"n\":\"x\\u003cy\",\"p\":80}": {"f:b": {}}}, "f:s": {"v:\"q\"": {}, "v:1": {}, "i:3": {}}});
    let set = FieldSet::decode(&fields).unwrap();
    assert_eq!(set.encode(), fields);
    let paths: Vec<String> = set.paths().iter().map(|path| path::display(path)).collect();
    assert_eq!(paths, [".a", ".a[n=\"x<y\",p=80].b", ".s[=1]", ".s[=\"q\"]", ".s[3]"]);
}

#[test]
fn broken_wire_forms_are_refused() {
    for broken in [
        json!({"a": {}}),
        json!({"f": {}}),
        json!({"k:1": {}}),
        json!({"v:": {}}),
        json!({"i:x": {}}),
        json!({"é:": {}}),
        json!({"f:a": 1}),
    ] {
        assert!(FieldSet::decode(&broken).is_err(), "{broken}");
    }
}

#[test]
fn a_large_object_is_merged_and_tracked_at_once() {
    let schema = schema("EdgeApp");
    let env: Vec<Value> =
        (0..25_000).map(|n| json!({"name": format!("E{n}"), "value": "x".repeat(80)})).collect();
    let object = json!({"apiVersion": "skerry.dev/v1alpha1", "kind": "EdgeApp", "metadata": {"name": "a"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "env": env}]}}}});
    let manager = Manager::of(&resource("EdgeApp"), "skerry.dev/v1alpha1", "", "a");
    let start = std::time::Instant::now();
    let made = apply(&schema, None, &object, &manager, false, &at(0)).unwrap();
    let again = apply(&schema, Some(&made), &object, &manager, false, &at(1)).unwrap();
    assert_eq!(made, again);
    let mut changed = made.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["env"][7]["value"] = json!("y");
    track(&schema, Some(&made), &mut changed, &manager, &at(2));
    // Quadratic walks would take minutes; a debug build on a busy machine takes a second or two.
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}
