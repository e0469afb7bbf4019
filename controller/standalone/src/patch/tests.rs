use serde_json::json;

use super::*;
use crate::meta::cases::{cases, changed, difference, read, report};

/// The marks of the built-in types that the cases touch.
fn schema() -> Schema {
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let by = |key: &str, fields: Value| {
        json!({
            "type": "array", "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": key,
            "items": {"type": "object", "properties": fields},
        })
    };
    let mut volumes = by(
        "name",
        json!({"name": {}, "emptyDir": {"type": "object", "properties": {"medium": {}, "sizeLimit": {}}}}),
    );
    volumes["x-kubernetes-patch-strategy"] = "merge,retainKeys".into();
    let containers = by(
        "name",
        json!({
            "name": {}, "image": {}, "args": {"type": "array", "items": {"type": "string"}},
            "env": by("name", json!({})), "ports": by("containerPort", json!({})),
        }),
    );
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    Schema::parse(&json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {
            "labels": map, "annotations": map,
            "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-patch-strategy": "merge"},
            "ownerReferences": by("uid", json!({})),
        }},
        "data": map, "binaryData": map,
        "spec": {"type": "object", "properties": {
            "strategy": {"type": "object", "x-kubernetes-patch-strategy": "retainKeys"},
            "template": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"containers": containers, "volumes": volumes}},
            }},
        }},
        "revision": {"type": "integer"},
        "raw": any,
    }}))
}

/// The schema of a ControllerRevision, whose data is anything.
fn revision_schema() -> Schema {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    Schema::parse(&json!({"type": "object", "properties": {"data": any, "revision": {}, "metadata": {}}}))
}

/// What decoding makes of it: null text is empty text, and empty fields are none.
fn decoded(value: &Value, known: bool) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut().filter(|_| known) {
        let known = ["apiVersion", "kind", "metadata", "data", "spec", "revision", "binaryData", "immutable"];
        fields.retain(|name, _| known.contains(&name.as_str()));
        if let Some(meta) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.insert("namespace".to_owned(), "pt".into());
        }
        let texts = fields.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten();
        texts.filter(|(_, value)| value.is_null()).for_each(|(_, value)| *value = "".into());
    }
    match &mut value {
        Value::Object(fields) => {
            fields.values_mut().for_each(|value| *value = decoded(value, false));
            fields.remove("$patch");
            if let Some(host) = fields.get_mut("hostPath").and_then(Value::as_object_mut) {
                host.remove("type");
            }
            fields.retain(|name, value| {
                name == "emptyDir" || (*value != json!({}) && *value != json!([]) && !value.is_null())
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|value| *value = decoded(value, false)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

fn body(case: &Value) -> String {
    match case["patch"].as_str().expect("a patch") {
        "@10001" => json!(vec![json!({"op": "test", "path": "/data/a", "value": "1"}); 10_001]).to_string(),
        "@copies" => {
            let mut operations =
                vec![json!({"op": "add", "path": "/data/big", "value": "x".repeat(1_000_000)})];
            operations.extend(
                (0..4).map(|at| json!({"op": "copy", "from": "/data/big", "path": format!("/data/b{at}")})),
            );
            json!(operations).to_string()
        }
        text => text.to_owned(),
    }
}

#[test]
fn patches_do_what_the_real_server_does() {
    let file = read(include_str!("../testdata/patch.json"));
    let mut faults = Vec::new();
    for case in cases(&file) {
        let live = &file["lives"][case["live"].as_str().expect("a name")];
        let schema = if case["live"] == "rev" { revision_schema() } else { schema() };
        let kind = match case["type"].as_str() {
            Some("json") => Kind::Json,
            Some("merge") => Kind::Merge,
            _ => Kind::Strategic,
        };
        let want = &case["want"];
        let result = Patch::parse(kind, body(case).as_bytes()).and_then(|patch| patch.apply(live, &schema));
        let told = want["message"].as_str().unwrap_or_default();
        // What comes out of these is refused when it is decoded or validated.
        let later = want.get("causes").is_some() || told.contains("undeterminable");
        faults.extend(match result {
            Ok(_) if later => None,
            Ok(made) => {
                let expected =
                    if want["same"] == true { live.clone() } else { changed(live, &want["object"]) };
                let differs = want.get("code").is_some() || decoded(&made, true) != decoded(&expected, true);
                differs.then(|| format!("{case}\nmade {made}"))
            }
            Err(error) => difference(&error, want).map(|text| format!("{case}\n{text}")),
        });
    }
    report(&faults);
}

#[test]
fn null_in_the_data_of_a_revision_is_told_from_nothing() {
    let live = json!({"data": {"spec": {"a": 1}, "x": 1}});
    let merged = |patch: &Value| {
        let patch = Patch::parse(Kind::Merge, patch.to_string().as_bytes()).expect("a patch");
        patch.apply(&live, &Schema::default()).expect("it applies")["data"].clone()
    };
    // All three as the real server answered in its refusal to change the data.
    let patch = json!({"data": {"spec": {"a": null, "l": [{"q": null, "z": 1}, null]}, "x": {"y": null}}});
    assert_eq!(merged(&patch), json!({"spec": {"l": [{"z": 1}, null]}, "x": {}}));
    assert_eq!(merged(&json!({"data": {"spec": [{"a": null}]}})), json!({"spec": [{"a": null}], "x": 1}));
    assert_eq!(merged(&json!({"data": {"x": 1.0, "f": 1.5}})), json!({"spec": {"a": 1}, "x": 1.0, "f": 1.5}));
}

#[test]
fn no_patch_makes_an_object_too_deep() {
    let nested = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let patch = format!(
        "[{{\"op\":\"add\",\"path\":\"/x\",\"value\":{}}},{{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/x{}\"}}]",
        nested(100),
        "/a".repeat(100)
    );
    let patch = Patch::parse(Kind::Json, patch.as_bytes()).expect("a patch");
    assert_eq!(patch.apply(&json!({}), &Schema::default()).expect_err("too deep").code, 422);
}

#[test]
fn parts_of_a_path_are_unescaped_once() {
    let patch = Patch::parse(Kind::Json, br#"[{"op":"add","path":"/~01","value":1}]"#).expect("a patch");
    assert_eq!(patch.apply(&json!({}), &Schema::default()).expect("it applies"), json!({"~1": 1}));
}
