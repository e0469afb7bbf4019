//! The rules that `metadata` of every object keeps, whatever its kind. They assume that the fields have the types of ObjectMeta:
//! decoding has seen to that before.

#[cfg(test)]
pub mod cases;
pub mod cause;
pub mod names;
pub mod warnings;

use serde_json::{Map, Value};

use crate::resource::{Origin, Resource};
use crate::status::Cause;
use cause::{forbidden, invalid, invalid_json, invalid_text, is_printable, required, too_long};
pub use names::NameRule;

/// All annotations of an object together: what etcd and every watch have to carry.
const MAX_ANNOTATIONS: usize = 256 * 1024;
/// Entries of one list or map of metadata, which every rule walks. The real server has no such bounds; nothing that is meant comes
/// near them.
const CROWDS: [(&str, usize); 5] = [
    ("labels", 10_000),
    ("annotations", 10_000),
    ("finalizers", 1_000),
    ("ownerReferences", 500),
    ("managedFields", 1_000),
];
/// The longest name of a field manager.
const MAX_FIELD_MANAGER: usize = 128;
const IMMUTABLE: &str = "field is immutable";

/// How names of this kind must look. An Event takes any, as long as it is made with the core API.
fn name_rule(resource: &Resource) -> NameRule {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => NameRule::Label,
        ("", "Event") | ("certificates.k8s.io", "CertificateSigningRequest") => NameRule::PathSegment,
        _ => NameRule::Subdomain,
    }
}

/// A name that begins with `base` and ends with five random letters.
pub fn generate_name(base: &str) -> String {
    names::generate(base, uuid::Uuid::new_v4().as_bytes())
}

/// What is wrong with the metadata of a new object, whose name is made already.
pub fn validate_create(object: &Value, resource: &Resource) -> Vec<Cause> {
    validate(object, name_rule(resource), resource.namespaced)
}

/// Lists and maps of metadata that are longer than anybody means them, which every rule would walk.
pub fn crowds(object: &Value) -> Vec<Cause> {
    let count = |field: &str| match object.pointer("/metadata").and_then(|meta| meta.get(field)) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(entries)) => entries.len(),
        _ => 0,
    };
    CROWDS
        .into_iter()
        .map(|(field, most)| (field, count(field), most))
        .filter(|(_, found, most)| found > most)
        .map(|(field, found, most)| cause::crowded(format!("metadata.{field}"), found, most))
        .collect()
}

/// The rules that need no older object, with the given rule for names.
fn validate(object: &Value, name_rule: NameRule, namespaced: bool) -> Vec<Cause> {
    let meta = Meta::of(object);
    let mut causes = Vec::new();
    let generate_name = meta.text("generateName");
    if !generate_name.is_empty() {
        let faults = name_rule.prefix_faults(generate_name).into_iter();
        causes.extend(faults.map(|fault| invalid_text("metadata.generateName", generate_name, fault)));
    }
    let name = meta.text("name");
    if name.is_empty() {
        causes.push(required("metadata.name", "name or generateName is required"));
    } else {
        let faults = name_rule.faults(name).into_iter();
        causes.extend(faults.map(|fault| invalid_text("metadata.name", name, fault)));
    }
    let namespace = meta.text("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => causes.push(required("metadata.namespace", "")),
        (true, false) => {
            let faults = names::label(namespace).into_iter();
            causes.extend(faults.map(|fault| invalid_text("metadata.namespace", namespace, fault)));
        }
        (false, false) => causes.push(forbidden("metadata.namespace", "not allowed on this type")),
        (false, true) => {}
    }
    causes.extend(generation(&meta));
    causes.extend(labels(&meta));
    causes.extend(annotations(&meta));
    causes.extend(owner_references(&meta));
    causes.extend(finalizers(&meta));
    causes
}

/// What is wrong with the metadata of an object that replaces `old`, which the server has given the resourceVersion, the generation
/// and the creationTimestamp of `old` and, if that is being deleted, its deletionTimestamp and deletionGracePeriodSeconds.
pub fn validate_update(object: &Value, old: &Value, resource: &Resource) -> Vec<Cause> {
    let names_again =
        matches!(resource.kind.as_str(), "ConfigMap" | "Secret" | "Namespace" | "ControllerRevision");
    let rule = if names_again { name_rule(resource) } else { NameRule::PathSegment };
    let mut causes = validate(object, rule, resource.namespaced);
    let changes = validate_change(object, old);
    if resource.origin == Origin::Custom {
        // The real server looks twice at these, and tells all that it finds.
        causes.extend(changes.iter().cloned());
        causes.extend(changes);
        return causes;
    }
    for cause in changes {
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }
    causes
}

/// What may not change from `old` on.
fn validate_change(object: &Value, old: &Value) -> Vec<Cause> {
    let (meta, before) = (Meta::of(object), Meta::of(old));
    let mut causes = Vec::new();
    if before.present("deletionTimestamp") {
        let known = before.strings("finalizers");
        let mut new: Vec<&str> =
            meta.strings("finalizers").into_iter().filter(|one| !known.contains(one)).collect();
        new.sort_unstable();
        new.dedup();
        if !new.is_empty() {
            let list: Vec<String> = new.into_iter().map(cause::quote).collect();
            let detail =
                "no new finalizers can be added if the object is being deleted, found new finalizers";
            causes
                .push(forbidden("metadata.finalizers", format!("{detail} []string{{{}}}", list.join(", "))));
        }
    }
    causes.extend(generation(&meta));
    if meta.integer("generation") < before.integer("generation") {
        let value = Value::from(meta.integer("generation"));
        causes.push(invalid("metadata.generation", &value, "must not be decremented"));
    }
    for field in ["name", "namespace", "uid"] {
        if meta.text(field) != before.text(field) {
            causes.push(invalid_text(format!("metadata.{field}"), meta.text(field), IMMUTABLE));
        }
    }
    for field in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if meta.get(field) != before.get(field) {
            causes.push(invalid(
                format!("metadata.{field}"),
                meta.get(field).unwrap_or(&Value::Null),
                IMMUTABLE,
            ));
        }
    }
    causes.extend(labels(&meta));
    causes.extend(annotations(&meta));
    causes.extend(owner_references(&meta));
    causes
}

/// What is wrong with the name of a field manager.
pub fn field_manager(name: &str, field: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if name.len() > MAX_FIELD_MANAGER {
        causes.push(too_long(field, MAX_FIELD_MANAGER));
    }
    for (at, letter) in name.char_indices().filter(|(_, letter)| !is_printable(*letter)) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
        causes.push(invalid_text(field, name, detail));
    }
    causes
}

/// `metadata` of an object, or nothing.
struct Meta<'a>(Option<&'a Map<String, Value>>);

impl<'a> Meta<'a> {
    fn of(object: &'a Value) -> Self {
        Self(object.get("metadata").and_then(Value::as_object))
    }

    /// A field that is there and not null.
    fn get(&self, field: &str) -> Option<&'a Value> {
        self.0?.get(field).filter(|value| !value.is_null())
    }

    fn present(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    fn text(&self, field: &str) -> &'a str {
        self.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn integer(&self, field: &str) -> i64 {
        self.get(field).and_then(Value::as_i64).unwrap_or_default()
    }

    fn list(&self, field: &str) -> &'a [Value] {
        self.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn strings(&self, field: &str) -> Vec<&'a str> {
        self.list(field).iter().filter_map(Value::as_str).collect()
    }

    fn pairs(&self, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let map = self.get(field).and_then(Value::as_object).into_iter().flatten();
        map.map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
    }
}

fn generation(meta: &Meta<'_>) -> Option<Cause> {
    let generation = meta.integer("generation");
    let detail = "must be greater than or equal to 0";
    (generation < 0).then(|| invalid("metadata.generation", &Value::from(generation), detail))
}

fn labels(meta: &Meta<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (key, value) in meta.pairs("labels") {
        let faults = names::qualified(key).into_iter();
        causes.extend(faults.map(|fault| invalid_text("metadata.labels", key, fault)));
        let faults = names::label_value(value).into_iter();
        causes.extend(faults.map(|fault| invalid_text("metadata.labels", value, fault)));
    }
    causes
}

fn annotations(meta: &Meta<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut size = 0_usize;
    for (key, value) in meta.pairs("annotations") {
        size = size.saturating_add(key.len()).saturating_add(value.len());
        let faults = names::qualified(&key.to_lowercase()).into_iter();
        causes.extend(faults.map(|fault| invalid_text("metadata.annotations", key, fault)));
    }
    if size > MAX_ANNOTATIONS {
        causes.push(too_long("metadata.annotations", MAX_ANNOTATIONS));
    }
    causes
}

fn owner_references(meta: &Meta<'_>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut controller: Option<String> = None;
    // The refusal quotes all references: once is enough.
    let mut clashes = false;
    for (index, owner) in meta.list("ownerReferences").iter().enumerate() {
        let path = format!("metadata.ownerReferences[{index}]");
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion");
        if version.is_empty() {
            causes.push(required(format!("{path}.apiVersion"), "must not be empty"));
        } else if version.matches('/').count() > 1 || version.ends_with('/') || version == "/" {
            let detail = "must be <group>/<version> or <version>";
            causes.push(invalid_text(format!("{path}.apiVersion"), version, detail));
        }
        for field in ["kind", "name", "uid"].into_iter().filter(|field| text(field).is_empty()) {
            causes.push(required(format!("{path}.{field}"), "must not be empty"));
        }
        if version == "v1" && text("kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(invalid_json(path, &reference(owner), detail));
        }
        if owner.get("controller").and_then(Value::as_bool) != Some(true) {
            continue;
        }
        let this = format!("{}/{}", text("kind"), text("name"));
        match &controller {
            Some(_) if clashes => {}
            Some(first) => {
                clashes = true;
                let all: Vec<String> = meta.list("ownerReferences").iter().map(reference).collect();
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                let all = format!("[{}]", all.join(","));
                causes.push(invalid_json("metadata.ownerReferences", &all, detail));
            }
            None => controller = Some(this),
        }
    }
    causes
}

/// A reference as it is shown: the four required fields are always there, in this order.
fn reference(owner: &Value) -> String {
    let required = ["apiVersion", "kind", "name", "uid"].map(|field| {
        let text = owner.get(field).and_then(Value::as_str).unwrap_or_default();
        format!("\"{field}\":{}", Value::from(text))
    });
    let optional = ["controller", "blockOwnerDeletion"].into_iter().filter_map(|field| {
        let flag = owner.get(field)?.as_bool()?;
        Some(format!("\"{field}\":{flag}"))
    });
    let fields: Vec<String> = required.into_iter().chain(optional).collect();
    format!("{{{}}}", fields.join(","))
}

fn finalizers(meta: &Meta<'_>) -> Vec<Cause> {
    let all = meta.strings("finalizers");
    let mut causes = Vec::new();
    for finalizer in &all {
        let faults = names::qualified(finalizer).into_iter();
        causes.extend(faults.map(|fault| invalid_text("metadata.finalizers", finalizer, fault)));
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let value = meta.get("finalizers").unwrap_or(&Value::Null);
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(invalid("metadata.finalizers", value, detail));
    }
    causes
}

#[cfg(test)]
mod tests;
