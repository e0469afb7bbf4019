//! Fields that a schema does not know: dropped, and named as a real server's strict decoding names them. Also the words in which
//! they are refused or warned of. The types of `metadata` are not checked here but in `typed`.

use serde_json::Value;

use super::{Schema, objectmeta};

/// What a real server reports of one body and level: its decoder stops counting there.
const MAX_REPORTED: usize = 100;

/// The fields of every object that no schema states.
const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops unknown fields of a whole object and answers their paths: those of `metadata` first, then the others by name, then those
/// of embedded resources' metadata.
pub fn unknown(schema: &Schema, value: &mut Value) -> Vec<String> {
    let mut of_metadata = Vec::new();
    if let Some(metadata) = value.get_mut("metadata") {
        prune(objectmeta::schema(), metadata, "metadata", &mut of_metadata, &mut Vec::new());
        objectmeta::tidy(metadata);
    }
    let (mut of_object, mut of_embedded) = (Vec::new(), Vec::new());
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, field| {
            META_FIELDS.contains(&name.as_str())
                || keep(schema, name, field, "", &mut of_object, &mut of_embedded)
        });
    }
    of_object.sort_unstable();
    of_embedded.sort_unstable();
    of_metadata.truncate(MAX_REPORTED);
    of_metadata.into_iter().chain(of_object).chain(of_embedded).take(MAX_REPORTED).collect()
}

/// Warnings of `fieldValidation=Warn`, without their code.
pub fn warnings(unknown: &[String], duplicates: &[String]) -> Vec<String> {
    let duplicates = duplicates.iter().take(MAX_REPORTED).map(|path| format!("duplicate field \"{path}\""));
    duplicates.chain(unknown.iter().map(|path| format!("unknown field \"{path}\""))).collect()
}

/// Whether a field stays. What is below it is pruned either way it stays.
fn keep(
    schema: &Schema,
    name: &str,
    field: &mut Value,
    parent: &str,
    paths: &mut Vec<String>,
    of_embedded: &mut Vec<String>,
) -> bool {
    let path = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
    if let Some(own) = schema.field(name) {
        prune(own, field, &path, paths, of_embedded);
        return true;
    }
    if schema.preserve_unknown {
        return true;
    }
    paths.push(path);
    false
}

/// The recursion follows the schema, whose depth is bounded.
fn prune(
    schema: &Schema,
    value: &mut Value,
    path: &str,
    paths: &mut Vec<String>,
    of_embedded: &mut Vec<String>,
) {
    match value {
        Value::Object(fields) => {
            let embedded = schema.is_embedded_resource();
            if embedded && let Some(metadata) = fields.get_mut("metadata") {
                prune(
                    objectmeta::schema(),
                    metadata,
                    &format!("{path}.metadata"),
                    of_embedded,
                    &mut Vec::new(),
                );
                objectmeta::tidy(metadata);
            }
            fields.retain(|name, field| {
                (embedded && META_FIELDS.contains(&name.as_str()))
                    || keep(schema, name, field, path, paths, of_embedded)
            });
        }
        Value::Array(items) => {
            let Some(own) = &schema.items else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune(own, item, &format!("{path}[{index}]"), paths, of_embedded);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
