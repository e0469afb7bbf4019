//! Replays what a real kube-apiserver answered (`testdata/record.py` records it) through decoding, pruning, defaulting and
//! validation.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::validate::Validator;
use super::{Schema, defaults, prune, typed};
use crate::decode::{Media, decode, settle_numbers};
use crate::meta::cause::refusal;
use crate::resource::{Origin, Resource};
use crate::status::{ApiError, Cause};

/// Both refuse, in other words: Go's parser of YAML or of times has its own, or names what no schema knows.
const OTHER_WORDS: &[&str] = &[
    "yaml syntax error",
    "yaml tabs",
    "yaml empty",
    "yaml booleans of YAML 1.1",
    "yaml with duplicates, Strict",
    "invalid literal",
    "kind is a number",
    "bad apiVersion",
    "apiVersion is null",
    "missing kind",
    "empty object",
    "built-in: bad time",
];

/// What is known to differ, or is not for this crate's schema code to answer.
const DIFFERENT: &[&str] = &[
    // YAML 1.1 reads yes, off, 017 and n in its own way; the parser speaks YAML 1.2.
    "yaml numbers and times",
    "yaml with anchors",
    // A line number for each field: the parser does not tell.
    "yaml with duplicates, Warn",
    // Go reads half a surrogate pair as U+FFFD; here it is a syntax error.
    "lone surrogate",
    // `write` compares kind and version with the path.
    "missing apiVersion",
    "other group",
    "other kind",
    "built-in: missing kind",
    // Refused when the schema is loaded.
    "optionalOldSelf on create",
    "optionalOldSelf on update",
    // The quoted object is left out, and the patch is applied elsewhere.
    "patch with unknown fields, Strict",
    "patch with duplicates and unknown fields, Strict",
    "patch with unknown fields, Warn",
    "patch to a wrong metadata",
    "patch to a wrong kind of spec",
    // Unknown and repeated fields of a built-in kind are mixed in the order of the body.
    "built-in: duplicates, Strict",
];

struct Kind {
    resource: Resource,
    validator: Option<Validator>,
}

fn crd(crd: &Value) -> Kind {
    let spec = &crd["spec"];
    let version = &spec["versions"][0];
    let raw = &version["schema"]["openAPIV3Schema"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let subresources =
        version["subresources"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    Kind {
        validator: Some(Validator::new(raw).unwrap()),
        resource: Resource {
            group: text(&spec["group"]),
            version: text(&version["name"]),
            kind: text(&spec["names"]["kind"]),
            subresources: subresources.collect(),
            origin: Origin::Custom,
            ..resource(Schema::parse(raw))
        },
    }
}

fn resource(schema: Schema) -> Resource {
    Resource {
        group: String::new(),
        version: "v1".to_owned(),
        kind: String::new(),
        list_kind: String::new(),
        plural: String::new(),
        singular: String::new(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        subresources: Vec::new(),
        read_only: false,
        origin: Origin::BuiltIn,
        schema: schema.into(),
        columns: Vec::new(),
    }
}

fn built_in(kind: &str, fields: Value) -> Kind {
    let mut schema = json!({"type": "object", "properties": {
        "apiVersion": {"type": "string"}, "kind": {"type": "string"},
        "metadata": {"type": "object", "properties": {
            "name": {"type": "string"}, "generateName": {"type": "string"}, "namespace": {"type": "string"},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        }},
    }});
    for (name, field) in fields.as_object().unwrap() {
        schema["properties"][name] = field.clone();
    }
    Kind { validator: None, resource: Resource { kind: kind.to_owned(), ..resource(Schema::parse(&schema)) } }
}

fn testdata(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join("src/schema/testdata").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The crate's folder.
fn folder() -> std::path::PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    if own.join("src/schema/testdata").exists() {
        own.to_owned()
    } else {
        panic!("no testdata in {}", own.display())
    }
}

fn kinds() -> BTreeMap<&'static str, Kind> {
    let mut widgets = testdata("widgets.json");
    let spec =
        &mut widgets["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    spec.as_object_mut().unwrap().remove("optionalOld");
    let of_yaml = |name: &str| -> Value {
        let path = folder().join("../../deploy/crds").join(name);
        serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let bytes = json!({"type": "object", "additionalProperties": {"type": "string", "format": "byte"}});
    let lease = json!({"type": "object", "properties": {
        "renewTime": {"type": "string", "format": "date-time"}, "leaseDurationSeconds": {"type": "integer", "format": "int32"},
    }});
    BTreeMap::from([
        ("Widget", crd(&widgets)),
        ("EdgeApp", crd(&of_yaml("edgeapps.yaml"))),
        ("EdgeNode", crd(&of_yaml("edgenodes.yaml"))),
        ("ConfigMap", built_in("ConfigMap", json!({"data": texts, "immutable": {"type": "boolean"}}))),
        ("Secret", built_in("Secret", json!({"data": bytes}))),
        ("Lease", built_in("Lease", json!({"spec": lease}))),
    ])
}

impl Kind {
    fn body(&self, part: &Value) -> String {
        if let Some(raw) = part.as_str() {
            return raw.to_owned();
        }
        let mut body = json!({"apiVersion": self.resource.api_version(), "kind": self.resource.kind, "metadata": {"name": "x"}});
        for (name, field) in part.as_object().unwrap() {
            body[name] = field.clone();
        }
        body.to_string()
    }

    /// Decoded, pruned and completed, with what would be warned of.
    fn read(&self, body: &str, media: Media, validation: &str) -> Result<(Value, Vec<String>), ApiError> {
        let Resource { kind, version, schema, .. } = &self.resource;
        let decoded =
            decode(body.as_bytes(), media).map_err(|error| error.refuse(kind, version, body.as_bytes()))?;
        let mut value = decoded.value;
        let types = match self.resource.origin {
            Origin::BuiltIn => {
                typed::drop_nulls(schema, &mut value);
                typed::check(schema, &value)
            }
            Origin::Custom => typed::check_custom(schema, &value),
        };
        types.map_err(|why| {
            ApiError::bad_request(format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
            ))
        })?;
        if value.get("kind").and_then(Value::as_str).is_none() {
            return Err(ApiError::bad_request("no kind"));
        }
        if !value["apiVersion"].is_string() || value["apiVersion"].as_str().unwrap().matches('/').count() > 1
        {
            return Err(ApiError::bad_request("no version"));
        }
        let unknown = prune::unknown(schema, &mut value);
        defaults::apply(schema, &mut value);
        let wrong = !unknown.is_empty() || !decoded.duplicates.is_empty();
        match validation {
            "Strict" if wrong => {
                let Resource { kind, version, .. } = &self.resource;
                let wrong = prune::warnings(&unknown, &decoded.duplicates).join(", ");
                Err(ApiError::bad_request(format!(
                    "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {wrong}"
                )))
            }
            "Warn" => Ok((value, prune::warnings(&unknown, &decoded.duplicates))),
            _ => Ok((value, Vec::new())),
        }
    }

    fn answer(&self, case: &Value) -> Result<(Value, Vec<String>), ApiError> {
        let media = if case["media"].is_string() { Media::Yaml } else { Media::Json };
        let validation = case["validation"].as_str().unwrap_or("Ignore");
        let of_status = case["op"] == "status";
        let (mut new, warnings) = self.read(&self.body(&case["new"]), media, validation)?;
        let old = case.get("old").map(|old| {
            let (mut old, _) = self.read(&self.body(old), Media::Json, "Ignore").unwrap();
            if let Some(status) = case.get("oldStatus") {
                old["status"] = status.clone();
            }
            old
        });
        if !of_status && self.resource.has("status") {
            // Its default comes in again when the object is read from the store.
            new.as_object_mut().unwrap().remove("status");
            defaults::apply(&self.resource.schema, &mut new);
        }
        let causes = match (&self.validator, &old) {
            (None, _) => Vec::new(),
            (Some(validator), Some(old)) if of_status => validator.check_status(&[], &new, old),
            (Some(validator), old) => validator.check(&[], &new, old.as_ref()),
        };
        if !causes.is_empty() {
            let name = new["metadata"]["name"].as_str().unwrap_or_default();
            return Err(refusal(&self.resource.group, &self.resource.kind, name, causes));
        }
        if self.resource.origin == Origin::Custom {
            settle_numbers(&mut new);
        }
        Ok((new, warnings))
    }
}

/// None: as recorded.
fn difference(case: &Value, recorded: &Value, kind: &Kind) -> Option<String> {
    let name = case["name"].as_str().unwrap();
    let code = &recorded["code"];
    match kind.answer(case) {
        Ok((object, warnings)) => {
            if code.as_u64().unwrap() >= 300 {
                return Some(format!("taken, and not refused with {code}: {}", recorded["message"]));
            }
            let mut wanted = recorded["object"].clone();
            wanted["metadata"].as_object_mut().unwrap().remove("namespace");
            beyond_int64(&mut wanted);
            if object != wanted {
                return Some(format!("\n  ours {object}\n  real {wanted}"));
            }
            let wanted: Vec<String> =
                recorded["warnings"].as_array().into_iter().flatten().map(warning).collect();
            (warnings != wanted).then(|| format!("warns of {warnings:?}, and not of {wanted:?}"))
        }
        Err(error) => {
            let body = error.body();
            if &body["code"] != code || body["reason"] != recorded["reason"] {
                return Some(format!("{code} {} expected, but: {body}", recorded["message"]));
            }
            if OTHER_WORDS.contains(&name) {
                return None;
            }
            // A real server walks maps in no order, and so are its causes.
            let causes = |value: &Value| {
                let mut list: Vec<String> =
                    value.as_array().into_iter().flatten().map(Value::to_string).collect();
                list.sort();
                list
            };
            let (ours, theirs) = (causes(&body["details"]["causes"]), causes(&recorded["causes"]));
            if ours != theirs {
                return Some(format!("\n  ours {ours:#?}\n  real {theirs:#?}"));
            }
            let differs = theirs.len() < 2 && body["message"] != recorded["message"];
            differs.then(|| format!("\n  ours {}\n  real {}", body["message"], recorded["message"]))
        }
    }
}

/// A `Warning` header without its code and quotes.
fn warning(header: &Value) -> String {
    let quoted = header.as_str().unwrap().strip_prefix("299 - ").unwrap();
    serde_json::from_str(quoted).unwrap()
}

/// What Go reads as a float, Python wrote as a whole number.
fn beyond_int64(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_i64() => *value = json!(number.as_f64()),
        Value::Array(items) => items.iter_mut().for_each(beyond_int64),
        Value::Object(fields) => fields.values_mut().for_each(beyond_int64),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn bodies_are_answered_as_a_real_server_answers_them() {
    let (kinds, recorded) = (kinds(), testdata("recorded.json"));
    let mut wrong = Vec::new();
    let cases = testdata("cases.json");
    for case in cases.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if DIFFERENT.contains(&name) {
            continue;
        }
        let kind = &kinds[case["kind"].as_str().unwrap()];
        if let Some(why) = difference(case, &recorded[name], kind) {
            wrong.push(format!("{name}: {why}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        cases.as_array().unwrap().len(),
        wrong.join("\n")
    );
}

#[test]
fn every_exception_is_a_case() {
    let recorded = testdata("recorded.json");
    for name in OTHER_WORDS.iter().chain(DIFFERENT) {
        assert!(recorded.get(name).is_some(), "{name} is no case");
    }
}

/// What is wrong with an app whose only container has these fields besides.
fn of_container(app: &Kind, fields: &Value) -> Vec<Cause> {
    let mut container = json!({"name": "a", "image": "x:1"});
    for (name, field) in fields.as_object().unwrap() {
        container[name] = field.clone();
    }
    let object = json!({
        "apiVersion": "skerry.dev/v1alpha1", "kind": "EdgeApp", "metadata": {"name": "a"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    });
    app.validator.as_ref().unwrap().check(&[], &object, None)
}

#[test]
fn an_amount_that_cannot_be_compared_is_refused_with_a_reason() {
    let app = &kinds()["EdgeApp"];
    let huge = [
        "1e300",
        "1e2000000000",
        "1e-2000000000",
        ".1e-2147483648",
        "99999999999999999999999E",
        "170141183460469231731687303715E",
        "100Ei",
    ];
    for (resource, small) in [("cpu", "1n"), ("memory", ".000000001n")] {
        for amount in huge {
            for (limit, request) in [(amount, small), (small, amount)] {
                let causes = of_container(
                    app,
                    &json!({"resources": {"limits": {resource: limit}, "requests": {resource: request}}}),
                );
                let said = causes.iter().any(|cause| cause.message.contains("must be a quantity"));
                assert!(said, "{resource} {limit} {request}: {causes:?}");
            }
        }
    }
}

#[test]
fn the_largest_and_the_smallest_amounts_compare() {
    let app = &kinds()["EdgeApp"];
    let largest =
        ["99999999999999999999", "99.999999999Ei", "99999999999.999999999Gi", "99e18", "99999999999e9"];
    for largest in largest {
        for smallest in ["1n", "0.000000001n", "1e-9", "0.000000001e-9"] {
            let list = |cpu: &str| json!({"cpu": cpu, "memory": cpu});
            let fits = of_container(
                app,
                &json!({"resources": {"limits": list(largest), "requests": list(smallest)}}),
            );
            assert!(fits.is_empty(), "{largest} {smallest}: {fits:?}");
            let exceeds = of_container(
                app,
                &json!({"resources": {"limits": list(smallest), "requests": list(largest)}}),
            );
            let said = |text: &str| exceeds.iter().any(|cause| cause.message.contains(text));
            assert!(
                said("the memory request must be less than or equal"),
                "{largest} {smallest}: {exceeds:?}"
            );
        }
    }
}

#[test]
fn ordinary_amounts_pass() {
    let app = &kinds()["EdgeApp"];
    for cpu in [json!("100m"), json!("0.5"), json!(2), json!("1e3"), json!("2E")] {
        let resources = json!({"resources": {"limits": {"cpu": cpu}, "requests": {"cpu": "10m"}}});
        assert!(of_container(app, &resources).is_empty(), "{cpu}");
    }
    for memory in ["1.5Gi", "128Mi", "16384516Ki", "128974848", "129e6", "129M", "2E"] {
        let resources = json!({"resources": {"limits": {"memory": memory}, "requests": {"memory": "8Mi"}}});
        assert!(of_container(app, &resources).is_empty(), "{memory}");
    }
}
