//! What a client may ask an answer to be turned into: a `Table`, as `kubectl get` does, or metadata alone. Used for single objects,
//! lists and the objects of watch events.

use jiff::Timestamp;
use serde_json::{Map, Number, Value, json};

use crate::accept::Form;
use crate::resource::{Column, Origin, Resource};
use crate::status::ApiError;

use self::path::Path;

mod age;
mod builtin;
mod path;

/// What a row carries beside its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    Nothing,
    #[default]
    Metadata,
    Object,
}

/// How a Table is made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub include: Include,
    /// False from a watch's second event on: the columns are defined once.
    pub headers: bool,
    /// What ages are counted to.
    pub now: Timestamp,
}

impl Include {
    /// Reads the query parameter `includeObject`; absent is empty.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "None" => Ok(Self::Nothing),
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            other => Err(ApiError::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// Turns an object or a list of `resource` into `form`. A Status stays as it is.
pub fn transform(
    value: Value,
    form: Form,
    resource: &Resource,
    options: &Options,
) -> Result<Value, ApiError> {
    let list = value["kind"] == resource.list_kind.as_str();
    if value["kind"] == "Status" {
        return Ok(value);
    }
    let refused = |asked: &str, is: &str| {
        let message =
            format!("you requested {asked}, but the requested object is {is} ({})", go_type(resource, list));
        ApiError::new(406, "NotAcceptable", message)
    };
    match form {
        Form::Plain => Ok(value),
        Form::Table(version) => Ok(table(&value, list, version, resource, options)),
        Form::Partial(_) if list => Err(refused("PartialObjectMetadata", "a list")),
        Form::Partial(version) => Ok(partial(&value, version)),
        Form::PartialList(version) if list => Ok(json!({
            "kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": list_meta(&value, true),
            "items": objects(&value, true).into_iter().map(|item| partial(item, version)).collect::<Vec<_>>(),
        })),
        Form::PartialList(_) => Err(refused("PartialObjectMetadataList", "not a list")),
    }
}

fn table(value: &Value, list: bool, version: &str, resource: &Resource, options: &Options) -> Value {
    let paths: Vec<_> = resource.columns.iter().map(|column| Path::parse(&column.json_path)).collect();
    let rows = objects(value, list).into_iter().map(|object| {
        let cells = match resource.origin {
            Origin::BuiltIn => builtin::cells(resource, object, options.now),
            Origin::Custom => {
                let columns = resource.columns.iter().zip(&paths);
                columns.map(|(column, path)| cell(column, path.as_ref(), object, options.now)).collect()
            }
        };
        let carried = match options.include {
            Include::Nothing => Value::Null,
            Include::Metadata => partial(object, version),
            Include::Object => whole(object, resource),
        };
        json!({"cells": cells, "object": carried})
    });
    let rows: Vec<_> = rows.collect();
    let definitions: Vec<_> = resource.columns.iter().filter(|_| options.headers).map(definition).collect();
    json!({
        "kind": "Table", "apiVersion": version, "metadata": list_meta(value, list), "rows": rows,
        // Without headers the real server writes null.
        "columnDefinitions": if options.headers { Value::from(definitions) } else { Value::Null },
    })
}

fn definition(column: &Column) -> Value {
    json!({
        "name": column.name, "type": column.kind, "format": column.format, "description": column.description,
        "priority": column.priority,
    })
}

/// The value of a CRD's column: the first that its path finds.
fn cell(column: &Column, path: Option<&Path>, object: &Value, now: Timestamp) -> Value {
    let Some(found) = path.and_then(|path| path.find(object)?.first().copied()) else { return Value::Null };
    match (column.kind.as_str(), found) {
        ("string", Value::Array(_) | Value::Object(_)) => found.to_string().into(),
        ("string", Value::Null) => "<no value>".into(),
        ("string", Value::Number(number)) => go_number(number).into(),
        ("string", Value::Bool(flag)) => flag.to_string().into(),
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => {
            found.clone()
        }
        ("integer", Value::Number(number)) => integer(number),
        ("date", Value::String(text)) => age::since(Some(text), now).into(),
        _ => Value::Null,
    }
}

/// Without what follows the point, as Go converts.
fn integer(number: &Number) -> Value {
    match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => whole.into(),
        #[expect(clippy::cast_possible_truncation, reason = "that is what is asked for; Rust saturates")]
        (None, Some(float)) => (float as i64).into(),
        (None, None) => Value::Null,
    }
}

/// Go's `%v`: the shortest digits, with an exponent below 1e-4 and from 1e21.
fn go_number(number: &Number) -> String {
    let float = number.as_f64().filter(|_| number.is_f64());
    match float {
        None => number.to_string(),
        Some(float) if float == 0.0 || (1e-4..1e21).contains(&float.abs()) => float.to_string(),
        Some(float) => {
            let text = format!("{float:e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, exponent) =
                exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}

fn objects(value: &Value, list: bool) -> Vec<&Value> {
    if list { value["items"].as_array().into_iter().flatten().collect() } else { vec![value] }
}

/// `resourceVersion` and, of a list, how to go on.
fn list_meta(value: &Value, list: bool) -> Value {
    let mut meta = Map::new();
    for name in
        ["resourceVersion", "continue", "remainingItemCount"].into_iter().take(if list { 3 } else { 1 })
    {
        let own = &value["metadata"][name];
        if !own.is_null() && *own != "" {
            meta.insert(name.to_owned(), own.clone());
        }
    }
    meta.into()
}

fn partial(object: &Value, version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": object["metadata"]})
}

/// A list's items of a built-in kind do not say what they are; those of a Table do.
fn whole(object: &Value, resource: &Resource) -> Value {
    let mut object = object.clone();
    object["kind"] = resource.kind.as_str().into();
    object["apiVersion"] = resource.api_version().into();
    object
}

/// The Go type that the real server names in its refusal.
fn go_type(resource: &Resource, list: bool) -> String {
    let package = match (resource.origin, resource.group.as_str()) {
        (Origin::Custom, _) => {
            return format!("*unstructured.Unstructured{}", if list { "List" } else { "" });
        }
        (Origin::BuiltIn, "" | "events.k8s.io") => "core",
        (Origin::BuiltIn, group) => group.split('.').next().unwrap_or_default(),
    };
    format!("*{package}.{}", if list { &resource.list_kind } else { &resource.kind })
}

#[cfg(test)]
mod tests;
