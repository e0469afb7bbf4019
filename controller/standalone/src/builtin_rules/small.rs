//! Namespace, Lease and ControllerRevision.

use serde_json::{Value, json};

use super::{list, text, unqualified};
use crate::meta::cause::{invalid, invalid_text, required};
use crate::meta::names;
use crate::object;
use crate::status::Cause;

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub fn prepare_namespace(object: &mut Value, old: Option<&Value>) {
    let Some(fields) = object.as_object_mut() else { return };
    if let Some(old) = old {
        for field in ["spec", "status"] {
            object::put(fields, field, old.get(field).cloned());
        }
    } else {
        fields.insert("status".to_owned(), json!({"phase": "Active"}));
    }
    label(object);
}

/// The subresource `finalize` writes the spec, `status` the status.
pub fn prepare_namespace_part(subresource: &str, object: &mut Value, old: &Value) {
    let kept = if subresource == "status" { "spec" } else { "status" };
    object::put(object::fields(object), kept, old.get(kept).cloned());
    label(object);
}

/// A namespace can be selected by its name.
fn label(object: &mut Value) {
    let name = object::name(object).to_owned();
    if !name.is_empty() {
        let labels = object::metadata(object).entry("labels").or_insert(Value::Null);
        object::fields(labels).insert(NAME_LABEL.to_owned(), name.into());
    }
}

/// A namespace stays until its content is gone, and has a label even if its name is only made now.
pub fn own_namespace(object: &mut Value) {
    label(object);
    let spec = object::fields(object).entry("spec").or_insert(Value::Null);
    match object::fields(spec).entry("finalizers").or_insert(Value::Null) {
        Value::Array(list) if list.iter().any(|one| one == "kubernetes") => {}
        Value::Array(list) => list.push("kubernetes".into()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            *other = json!(["kubernetes"]);
        }
    }
}

pub fn namespace(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    for finalizer in list(object, "/spec/finalizers").iter().filter_map(Value::as_str) {
        let faults = names::qualified(finalizer).into_iter();
        causes.extend(faults.map(|fault| invalid_text("spec.finalizers", finalizer, fault)));
        causes.extend(unqualified("spec.finalizers", finalizer));
    }
    causes
}

/// A namespace is Active until it is deleted, and Terminating from then on.
pub fn namespace_status(object: &Value) -> Option<Cause> {
    let (phase, when) =
        if object::is_deleting(object) { ("Terminating", "not empty") } else { ("Active", "empty") };
    let found = text(object, "/status/phase");
    let detail = format!("may only be '{phase}' if `deletionTimestamp` is {when}");
    (found != phase).then(|| invalid_text("status.Phase", found, detail))
}

/// Drops the fields of coordinated leader election, which is behind a gate that is closed.
pub fn prepare_lease(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("strategy");
        spec.remove("preferredHolder");
    }
}

/// The revision is always there.
pub fn prepare_controller_revision(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry("revision").or_insert(Value::from(0));
    }
}

pub fn lease(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
    if let Some(seconds) = number("/spec/leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        causes.push(invalid("spec.leaseDurationSeconds", &seconds.into(), "must be greater than 0"));
    }
    if let Some(transitions) = number("/spec/leaseTransitions").filter(|transitions| *transitions < 0) {
        causes.push(invalid(
            "spec.leaseTransitions",
            &transitions.into(),
            "must be greater than or equal to 0",
        ));
    }
    causes
}

pub fn controller_revision(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let revision = object.get("revision").and_then(Value::as_i64).unwrap_or_default();
    if revision < 0 {
        causes.push(invalid("revision", &revision.into(), "must be greater than or equal to 0"));
    }
    let data = object.get("data").filter(|data| !data.is_null());
    match (old, data) {
        (Some(old), _) if old.get("data").filter(|data| !data.is_null()) != data => {
            causes.push(invalid("data", data.unwrap_or(&Value::Null), "field is immutable"));
        }
        (Some(_), _) | (None, Some(Value::Object(_))) => {}
        (None, None) => causes.push(required("data", "data is mandatory")),
        (None, Some(_)) => causes.push(required("data", "data must be a valid JSON object")),
    }
    causes
}
