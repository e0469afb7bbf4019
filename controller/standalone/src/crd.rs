//! CustomResourceDefinitions: the kind that one states, and the definition as the API serves it. Definitions come with the
//! program and are read only, so they are taken as valid: what one lacks is absent from the kind.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::resource::{Column, Origin, Resource};
use crate::schema::{Kind, Schema};

/// The name's column stands before those of the definition.
const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

/// What the real server writes for a definition without columns.
const CREATION: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The kind that a definition states in its served storage version. None: it has no such version, or no names.
pub fn resource(definition: &Value, object_meta: &Arc<Schema>) -> Option<Resource> {
    let spec = &definition["spec"];
    let version = storage_version(spec)?;
    let names = names(spec)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let subresources = version["subresources"].as_object().into_iter().flatten();
    Some(Resource {
        group: text(&spec["group"])?,
        version: text(&version["name"])?,
        kind: text(&names["kind"])?,
        list_kind: text(&names["listKind"])?,
        plural: text(&names["plural"])?,
        singular: text(&names["singular"])?,
        short_names: strings(&names["shortNames"]),
        categories: strings(&names["categories"]),
        namespaced: spec["scope"] == "Namespaced",
        // `scale` is not served.
        subresources: subresources.map(|(name, _)| name.clone()).filter(|name| name == "status").collect(),
        read_only: false,
        origin: Origin::Custom,
        schema: Arc::new(schema(&version["schema"]["openAPIV3Schema"], object_meta)),
        columns: columns(&version["additionalPrinterColumns"]),
    })
}

/// The definition as `apiextensions.k8s.io/v1` serves it: defaults filled in, its names accepted, established at `created`
/// (RFC 3339). The caller adds `uid` and `resourceVersion` if it has them.
pub fn served(definition: &Value, created: &str) -> Value {
    let mut served = definition.clone();
    served["apiVersion"] = "apiextensions.k8s.io/v1".into();
    served["kind"] = "CustomResourceDefinition".into();
    let metadata = &mut served["metadata"];
    metadata["creationTimestamp"] = created.into();
    metadata["generation"] = 1.into();
    let names = names(&definition["spec"]).unwrap_or_default();
    served["spec"]["names"] = names.clone();
    if served["spec"]["conversion"].is_null() {
        served["spec"]["conversion"] = json!({"strategy": "None"});
    }
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
    let stored: Vec<_> =
        versions.filter(|version| version["storage"] == true).map(|version| &version["name"]).collect();
    let condition = |kind: &str, reason: &str, message: &str| json!({"lastTransitionTime": created, "message": message, "reason": reason, "status": "True", "type": kind});
    served["status"] = json!({
        "acceptedNames": names,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "storedVersions": stored,
    });
    served
}

/// The version that is stored, if it is served.
pub(crate) fn storage_version(spec: &Value) -> Option<&Value> {
    spec["versions"]
        .as_array()?
        .iter()
        .find(|version| version["storage"] == true && version["served"] == true)
}

/// The names with `singular` and `listKind` as the real server defaults them.
fn names(spec: &Value) -> Option<Value> {
    let mut names = spec["names"].clone();
    let kind = names["kind"].as_str()?.to_owned();
    if names["singular"].is_null() {
        names["singular"] = kind.to_lowercase().into();
    }
    if names["listKind"].is_null() {
        names["listKind"] = format!("{kind}List").into();
    }
    Some(names)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The definition's schema, which leaves out what every object has.
fn schema(raw: &Value, object_meta: &Arc<Schema>) -> Schema {
    let mut schema = Schema::parse(raw);
    let string = Arc::new(Schema { kind: Kind::String, raw: json!({"type": "string"}), ..Schema::default() });
    for name in ["apiVersion", "kind"] {
        schema.properties.insert(name.to_owned(), Arc::clone(&string));
    }
    schema.properties.insert("metadata".to_owned(), Arc::clone(object_meta));
    schema
}

fn columns(raw: &Value) -> Vec<Column> {
    let column = |name: &str, kind: &str, format: &str, description: &str, path: &str| Column {
        name: name.to_owned(),
        kind: kind.to_owned(),
        format: format.to_owned(),
        description: description.to_owned(),
        priority: 0,
        json_path: path.to_owned(),
    };
    let mut columns = vec![column("Name", "string", "name", NAME, ".metadata.name")];
    match raw.as_array() {
        Some(stated) if !stated.is_empty() => columns.extend(stated.iter().map(|stated| {
            let text = |field: &str| stated[field].as_str().unwrap_or_default();
            let path = text("jsonPath");
            let described = match text("description") {
                "" => format!("Custom resource definition column (in JSONPath format): {path}"),
                words => words.to_owned(),
            };
            let priority = stated["priority"].as_i64().unwrap_or(0);
            Column { priority, ..column(text("name"), text("type"), text("format"), &described, path) }
        })),
        _ => columns.push(column("Age", "date", "", CREATION, ".metadata.creationTimestamp")),
    }
    columns
}

#[cfg(test)]
mod tests;
