//! Event, written through the core API, which asks for little, or through events.k8s.io, which asks for more. Both forms of the
//! object are read; its `apiVersion` tells by which API it came.

use serde_json::Value;

use super::text;
use crate::meta::cause::{invalid, invalid_json, invalid_text, required};
use crate::meta::names;
use crate::status::Cause;

const MAX_SHORT: usize = 128;
const MAX_MESSAGE: usize = 1024;
const IMMUTABLE: &str = "field is immutable";
const REFERENCE: [(&str, &str); 7] = [
    ("Kind", "kind"),
    ("Namespace", "namespace"),
    ("Name", "name"),
    ("UID", "uid"),
    ("APIVersion", "apiVersion"),
    ("ResourceVersion", "resourceVersion"),
    ("FieldPath", "fieldPath"),
];
const SOURCE: [(&str, &str); 2] = [("Component", "component"), ("Host", "host")];

/// Whether the event came through events.k8s.io.
pub fn is_strict(object: &Value) -> bool {
    text(object, "/apiVersion").starts_with("events.k8s.io/")
}

/// The times are always there, if only as null.
pub fn prepare(object: &mut Value) {
    let [first, last] = match is_strict(object) {
        true => ["deprecatedFirstTimestamp", "deprecatedLastTimestamp"],
        false => ["firstTimestamp", "lastTimestamp"],
    };
    let Some(fields) = object.as_object_mut() else { return };
    for field in ["eventTime", first, last] {
        fields.entry(field).or_insert(Value::Null);
    }
}

pub fn validate(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = basics(object);
    if is_strict(object) {
        match old {
            None => causes.extend(new(object)),
            Some(old) => causes.extend(change(object, old)),
        }
    }
    causes
}

/// A field that the two APIs call by different names.
fn either<'a>(object: &'a Value, core: &str, events: &str) -> Option<&'a Value> {
    let found = object.pointer(core).or_else(|| object.pointer(events));
    found.filter(|value| !value.is_null())
}

fn either_text<'a>(object: &'a Value, core: &str, events: &str) -> &'a str {
    either(object, core, events).and_then(Value::as_str).unwrap_or_default()
}

fn basics(object: &Value) -> Vec<Cause> {
    const SPACE: &str = "involvedObject.namespace";
    let mut causes = Vec::new();
    let own = text(object, "/metadata/namespace");
    let about = either_text(object, "/involvedObject/namespace", "/regarding/namespace");
    let mismatch = || invalid_text(SPACE, about, "does not match event.namespace");
    if text(object, "/eventTime").is_empty() {
        let matches = if about.is_empty() { matches!(own, "" | "default") } else { own == about };
        causes.extend((!matches).then(mismatch));
        return causes;
    }
    if about.is_empty() && !matches!(own, "default" | "kube-system") {
        causes.push(mismatch());
    }
    let reporter = either_text(object, "/reportingComponent", "/reportingController");
    let reporter_field = if is_strict(object) { "reportingController" } else { "reportingComponent" };
    if reporter.is_empty() {
        causes.push(required(reporter_field, ""));
    }
    let faults = names::qualified(reporter).into_iter();
    causes.extend(faults.map(|fault| invalid_text(reporter_field, reporter, fault)));
    for field in ["reportingInstance", "action", "reason"] {
        let value = object.get(field).and_then(Value::as_str).unwrap_or_default();
        if value.is_empty() {
            causes.push(required(field, ""));
        }
        causes.extend(too_many(field, value, MAX_SHORT));
    }
    causes.extend(too_many("message", either_text(object, "/message", "/note"), MAX_MESSAGE));
    causes
}

fn too_many(field: &str, value: &str, most: usize) -> Option<Cause> {
    (value.len() > most).then(|| invalid_text(field, "", format!("can have at most {most} characters")))
}

fn new(object: &Value) -> Vec<Cause> {
    let mut causes = series(object);
    if text(object, "/eventTime").is_empty() {
        causes.push(required("eventTime", ""));
    }
    let kind = text(object, "/type");
    if !matches!(kind, "Normal" | "Warning") {
        causes.push(invalid_text("type", "", format!("has invalid value: {kind}")));
    }
    let legacy = [
        ("firstTimestamp", either(object, "/firstTimestamp", "/deprecatedFirstTimestamp").is_some()),
        ("lastTimestamp", either(object, "/lastTimestamp", "/deprecatedLastTimestamp").is_some()),
        ("count", either(object, "/count", "/deprecatedCount").is_some_and(|count| count != 0)),
        (
            "source",
            either(object, "/source", "/deprecatedSource").and_then(Value::as_object).is_some_and(|source| {
                source.values().any(|value| value.as_str().is_some_and(|text| !text.is_empty()))
            }),
        ),
    ];
    let set = legacy.into_iter().filter(|(_, is_set)| *is_set);
    causes.extend(set.map(|(field, _)| invalid_text(field, "", "needs to be unset")));
    causes
}

fn series(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(series) = object.get("series").filter(|series| !series.is_null()) else { return causes };
    if series.get("count").and_then(Value::as_i64).unwrap_or_default() < 2 {
        causes.push(invalid_text("series.count", "", "should be at least 2"));
    }
    if text(series, "/lastObservedTime").is_empty() {
        causes.push(required("series.lastObservedTime", ""));
    }
    causes
}

fn change(object: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = if object.get("series") == old.get("series") { Vec::new() } else { series(object) };
    for (core, events) in [
        ("involvedObject", "regarding"),
        ("reason", "reason"),
        ("message", "note"),
        ("source", "deprecatedSource"),
        ("firstTimestamp", "deprecatedFirstTimestamp"),
        ("lastTimestamp", "deprecatedLastTimestamp"),
        ("count", "deprecatedCount"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        let of = |object| {
            let found = either(object, &format!("/{core}"), &format!("/{events}"));
            found.filter(|value| !is_zero(value)).cloned()
        };
        if of(object) != of(old) {
            let field = if core == "reportingComponent" { events } else { core };
            let value = of(object);
            causes.push(match core {
                "involvedObject" => invalid_json(field, &go_struct(value.as_ref(), &REFERENCE), IMMUTABLE),
                "source" => invalid_json(field, &go_struct(value.as_ref(), &SOURCE), IMMUTABLE),
                "related" if value.is_some() => {
                    invalid_json(field, &go_struct(value.as_ref(), &REFERENCE), IMMUTABLE)
                }
                "related" => invalid_json(field, "null", IMMUTABLE),
                _ => invalid(field, &value.unwrap_or(Value::from("")), IMMUTABLE),
            });
        }
    }
    causes
}

/// An object as Go prints the struct that it decodes to: all fields, in this order, under their Go names.
fn go_struct(value: Option<&Value>, fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(name, field)| {
        let text = value.and_then(|value| value.get(field)).and_then(Value::as_str).unwrap_or_default();
        format!("\"{name}\":{}", Value::from(text))
    });
    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
}

/// What an absent field decodes to.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Object(fields) => fields.is_empty(),
        Value::Null => true,
        Value::Bool(_) | Value::Array(_) => false,
    }
}
