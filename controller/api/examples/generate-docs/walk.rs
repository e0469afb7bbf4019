//! Walks Kubernetes' PodSpec and our schema side by side, type by type.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

/// Where our pod spec is in the schema of an EdgeApp.
const POD_SPEC: &str = "/properties/spec/properties/template/properties/spec";
/// Where schemars puts the types that a schema refers to.
const REFERENCE: &str = "#/$defs/";

/// One type of Kubernetes' API, with its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// Its name, such as `Container`.
    pub name: String,
    /// Where it is first met, such as `containers[]`. Empty for the PodSpec itself.
    pub path: String,
    pub fields: Vec<Field>,
    /// Fields that only we have, with what they are for.
    pub added: Vec<(String, String)>,
}

/// One field of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    /// What the field is for, in our words. None: we do not have it.
    pub ours: Option<String>,
}

/// Kubernetes' PodSpec and every type below it.
pub fn kubernetes() -> Value {
    schemars::schema_for!(PodSpec).to_value()
}

/// Our pod spec, as the CRD has it.
pub fn ours() -> Result<Value, String> {
    app()?.pointer(POD_SPEC).cloned().ok_or_else(|| format!("the CRD has no {POD_SPEC}"))
}

/// The schema of an EdgeApp.
pub fn app() -> Result<Value, String> {
    let crds = skerry_api::crds::all();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == "EdgeApp").ok_or("there is no EdgeApp")?;
    let crd = serde_json::to_value(crd).map_err(|error| error.to_string())?;
    Ok(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
}

/// Every type that is met on the way through the fields that both have.
pub fn types(kubernetes: &Value, ours: &Value) -> Result<Vec<Type>, String> {
    let mut found: Vec<Type> = Vec::new();
    let mut waiting =
        VecDeque::from([("PodSpec".to_owned(), String::new(), kubernetes.clone(), ours.clone())]);
    while let Some((name, path, theirs, ours)) = waiting.pop_front() {
        let own = ours["properties"].as_object().cloned().unwrap_or_default();
        let theirs = theirs["properties"].as_object().cloned().unwrap_or_default();
        let describe = |field: &Value| field["description"].as_str().unwrap_or_default().to_owned();
        let fields: Vec<_> = theirs
            .keys()
            .map(|field| Field { name: field.clone(), ours: own.get(field).map(describe) })
            .collect();
        if let Some(known) = found.iter().find(|known| known.name == name) {
            let supported = |fields: &[Field]| -> BTreeSet<String> {
                fields.iter().filter(|field| field.ours.is_some()).map(|field| field.name.clone()).collect()
            };
            if supported(&known.fields) != supported(&fields) {
                return Err(format!("{name} has other fields at {path} than at {}", known.path));
            }
            continue;
        }
        for (field, schema) in &theirs {
            let (Some(own), Some((name, schema, mark))) = (own.get(field), target(kubernetes, schema)) else {
                continue;
            };
            let own = if mark.is_empty() { own } else { &own["items"] };
            let dot = if path.is_empty() { "" } else { "." };
            waiting.push_back((name, format!("{path}{dot}{field}{mark}"), schema.clone(), own.clone()));
        }
        let added = own.iter().filter(|(field, _)| !theirs.contains_key(*field));
        let added = added.map(|(field, schema)| (field.clone(), describe(schema))).collect();
        found.push(Type { name, path, fields, added });
    }
    Ok(found)
}

/// The type that a field or the items of a list are of, if it has fields of its own.
fn target<'a>(root: &'a Value, schema: &'a Value) -> Option<(String, &'a Value, &'static str)> {
    let (schema, mark) = if schema["items"].is_object() { (&schema["items"], "[]") } else { (schema, "") };
    let full = schema["$ref"].as_str()?.strip_prefix(REFERENCE)?;
    let target = root["$defs"].get(full).or_else(|| root["$defs"].get(full.replace("~1", "/")))?;
    target["properties"].is_object().then(|| (short(full), target, mark))
}

/// `io.k8s.api.core.v1.Container` is `Container`.
fn short(full: &str) -> String {
    full.rsplit('.').next().unwrap_or(full).to_owned()
}

/// The fields of all types, by `Type.field`.
pub fn by_name(types: &[Type]) -> BTreeMap<String, &Field> {
    let fields = types
        .iter()
        .flat_map(|kind| kind.fields.iter().map(|field| (format!("{}.{}", kind.name, field.name), field)));
    fields.collect()
}
