use serde_json::json;

use super::cases::{cases, changed, expected_causes, found_causes, read, report};
use super::*;
use crate::schema::Schema;

fn resource(kind: &Value) -> Resource {
    let text = |at: usize| kind[at].as_str().unwrap_or_default().to_owned();
    Resource {
        group: text(0),
        version: "v1".to_owned(),
        kind: text(1),
        list_kind: String::new(),
        plural: String::new(),
        singular: String::new(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: kind[2] == true,
        subresources: Vec::new(),
        read_only: false,
        origin: if text(0) == "skerry.dev" { Origin::Custom } else { Origin::BuiltIn },
        schema: Schema::default().into(),
        columns: Vec::new(),
    }
}

#[test]
fn metadata_is_refused_as_the_real_server_refuses_it() {
    let file = read(include_str!("../testdata/meta.json"));
    let mut faults = Vec::new();
    for case in cases(&file) {
        let want = &case["want"];
        let kind = case["kind"][1].as_str().expect("a kind");
        let resource = resource(&case["kind"]);
        let causes = match case["old"].as_str() {
            None => {
                let mut object = case["object"].clone();
                if object.pointer("/metadata/annotations/a").and_then(Value::as_str) == Some("@262144") {
                    object["metadata"]["annotations"]["a"] = "x".repeat(262_144).into();
                }
                if object["metadata"]["name"] == "" && !object["metadata"]["generateName"].is_null() {
                    continue;
                }
                if kind != "EdgeApp" && kind != "EdgeNode" {
                    crate::builtin_rules::prepare(kind, &mut object, None);
                }
                let mut causes = validate_create(&object, &resource);
                causes.extend(crate::builtin_rules::validate(kind, &object, None));
                causes
            }
            Some(old) => {
                let old = &file["olds"][old];
                let mut object = changed(old, &case["object"]);
                // What the server does before it looks at the rules.
                for field in [
                    "creationTimestamp",
                    "deletionTimestamp",
                    "deletionGracePeriodSeconds",
                    "generation",
                    "resourceVersion",
                ] {
                    if let Some(value) = old["metadata"].get(field) {
                        object["metadata"][field] = value.clone();
                    }
                }
                crate::builtin_rules::prepare(kind, &mut object, Some(old));
                let mut causes = validate_update(&object, old, &resource);
                causes.extend(crate::builtin_rules::validate(kind, &object, Some(old)));
                causes
            }
        };
        // These are refused before the rules are asked: by the path, by a precondition.
        let by_rules = want.get("causes").is_some() || want["ok"] == true;
        let mut expected = expected_causes(want);
        expected.retain(|[_, field, _]| field != "spec");
        if by_rules && found_causes(&causes) != expected {
            faults.push(format!("{case}\nfound {:#?}", found_causes(&causes)));
        }
    }
    report(&faults);
}

#[test]
fn metadata_of_the_wrong_shape_is_no_panic() {
    let resource = resource(&json!(["", "ConfigMap", true]));
    for meta in [
        json!(5),
        json!([]),
        json!({"labels": [1], "finalizers": {}, "ownerReferences": [5], "managedFields": ["x"]}),
    ] {
        let object = json!({"metadata": meta});
        assert!(!validate_create(&object, &resource).is_empty());
        validate_update(&object, &object, &resource);
    }
}
