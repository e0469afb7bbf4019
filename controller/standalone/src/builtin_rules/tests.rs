use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::access::Role;
use crate::meta::cases::{cases, changed, expected_causes, found_causes, read, report};

/// An object without what these rules do not touch, and without fields that say nothing.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in
            ["creationTimestamp", "generation", "managedFields", "namespace", "resourceVersion", "uid"]
        {
            meta.remove(field);
        }
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        fields.retain(|_, value| *value != json!({}) && !value.is_null());
    }
    object
}

fn start(case: &Value, kind: &str) -> Value {
    if case["object"] != "@big" {
        return case["object"].clone();
    }
    let (text, field) = match kind {
        "Secret" => (format!("{}eHg=", "eHh4".repeat(1024 * 1024 / 3)), "data"),
        _ => ("x".repeat(1024 * 1024 + 1), "data"),
    };
    json!({"metadata": {"name": "c"}, field: {"a": text}})
}

/// The cases have an `@` where a request stood.
fn with_request(mut object: Value) -> Value {
    static REQUEST: LazyLock<String> = LazyLock::new(|| {
        let key = KeyPair::generate().expect("a key");
        let request = CertificateParams::default().serialize_request(&key).expect("a request");
        STANDARD.encode(request.pem().expect("text"))
    });
    if let Some(request) = object.pointer_mut("/spec/request").filter(|request| **request == "@") {
        *request = REQUEST.as_str().into();
    }
    object
}

fn nobody() -> Identity {
    Identity { name: "nobody".to_owned(), groups: Vec::new(), role: Role::Nobody }
}

/// Metadata is the business of `meta`.
fn without_metadata(causes: Vec<[String; 3]>) -> Vec<[String; 3]> {
    causes.into_iter().filter(|[_, field, _]| !field.starts_with("metadata.")).collect()
}

#[test]
fn built_in_kinds_are_refused_as_the_real_server_refuses_them() {
    let file = read(include_str!("../testdata/builtin.json"));
    let mut faults = Vec::new();
    for case in cases(&file) {
        let kind = case["kind"].as_str().expect("a kind");
        let want = &case["want"];
        let old = case["old"].as_str().map(|old| with_request(file["olds"][old].clone()));
        let old = old.as_ref();
        let mut object =
            with_request(old.map_or_else(|| start(case, kind), |old| changed(old, &case["object"])));
        if old.is_none() {
            object["metadata"]["namespace"] = "mt".into();
        }
        if case["sub"].as_str().unwrap_or_default().is_empty() {
            prepare(kind, &mut object, old);
        }
        if old.is_none() && kind == "Namespace" {
            add_own(kind, &mut object, &nobody());
        }
        let mut causes = validate(kind, &object, old);
        if let (Some("/status"), Some(old)) = (case["sub"].as_str(), old) {
            causes.extend(validate_status(kind, &object, old));
        }
        let causes = without_metadata(found_causes(&causes));
        let decodes = want["reason"] != "BadRequest";
        if want.get("object").is_none() {
            let expected = without_metadata(expected_causes(want));
            if decodes && causes != expected {
                faults.push(format!("{case}\nfound {causes:#?}"));
            }
            continue;
        }
        if !causes.is_empty() {
            faults.push(format!("{case}\nfound {causes:#?}"));
        }
        let expected = plain(&changed(old.unwrap_or(&case["object"]), &want["object"]));
        let decoded_elsewhere = matches!(kind, "Event" | "CertificateSigningRequest");
        if !decoded_elsewhere && plain(&object) != expected {
            faults.push(format!("{case}\nmade {}\nnot  {expected}", plain(&object)));
        }
    }
    report(&faults);
}

#[test]
fn objects_of_the_wrong_shape_are_no_panic() {
    let kinds = [
        "ConfigMap",
        "Secret",
        "Namespace",
        "Lease",
        "ControllerRevision",
        "CertificateSigningRequest",
        "Event",
    ];
    let shapes =
        [json!(5), json!({"metadata": 5, "data": [], "spec": "x", "status": 1, "stringData": 3, "type": {}})];
    for kind in kinds {
        for shape in &shapes {
            let mut object = shape.clone();
            prepare(kind, &mut object, Some(shape));
            prepare(kind, &mut object, None);
            prepare_part(kind, "status", &mut object, shape);
            prepare_part(kind, "approval", &mut object, shape);
            add_own(kind, &mut object, &nobody());
            validate(kind, &object, Some(shape));
            validate(kind, &object, None);
        }
    }
}
