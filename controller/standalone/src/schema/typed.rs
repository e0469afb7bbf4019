//! Objects of built-in kinds as a real server's Go structs would take them: a wrong type is a decoding error, and null is a field's
//! zero value. The words are Go's as far as the schema lets them be known. The metadata of custom objects is checked here too.

use base64::Engine as _;
use serde_json::Value;

use crate::decode::go_kind;

use super::golang::{GoNumber, marshal};
use super::{DATE_TIME_MICROS, Kind, Schema, gotime, objectmeta};

/// Checks the types of a whole object of a built-in kind. The error is the text of Go's JSON decoder.
pub fn check(schema: &Schema, value: &Value) -> Result<(), String> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    walk(schema, value, &Place { owner: kind, path: "" })
}

/// Checks what a custom object shares with built-in ones: its metadata, and the type and metadata of resources embedded in it.
pub fn check_custom(schema: &Schema, value: &Value) -> Result<(), String> {
    if let Some(metadata) = value.get("metadata") {
        check_metadata(metadata)?;
    }
    embedded(schema, value, "")
}

/// What Go's encoder leaves out of a built-in object: lists and maps without an element.
pub fn drop_empty(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) if !schema.preserve_unknown => {
            for (name, field) in fields.iter_mut() {
                if let Some(own) = schema.field(name) {
                    drop_empty(own, field);
                }
            }
            fields.retain(|name, field| match field {
                Value::Array(items) => !items.is_empty(),
                Value::Object(entries) => {
                    let is_map = schema.field(name).is_some_and(|own| own.additional.is_some());
                    !is_map || !entries.is_empty()
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            });
        }
        Value::Array(items) => {
            if let Some(own) = &schema.items {
                items.iter_mut().for_each(|item| drop_empty(own, item));
            }
        }
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Nulls of a Go struct's fields are absent; one in a map of strings is an empty string, which is how Go reads it.
pub fn drop_nulls(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if schema.preserve_unknown {
                return;
            }
            let of_texts = schema.additional.as_ref().is_some_and(|own| own.kind == Kind::String);
            if of_texts {
                for field in fields.values_mut().filter(|field| field.is_null()) {
                    *field = Value::String(String::new());
                }
            }
            fields.retain(|_, field| !field.is_null());
            for (name, field) in fields {
                if let Some(own) = schema.field(name) {
                    drop_nulls(own, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(own) = &schema.items {
                for item in items.iter_mut() {
                    if item.is_null() && own.kind == Kind::String {
                        *item = Value::String(String::new());
                    }
                    drop_nulls(own, item);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Times as Go writes them: in UTC, with as many digits as their type has.
pub fn settle_times(schema: &Schema, value: &mut Value) {
    match value {
        Value::String(text) if schema.is_time() => {
            let micros = schema.format() == DATE_TIME_MICROS;
            if let Ok(time) = text.parse::<jiff::Timestamp>() {
                *text = if micros { format!("{time:.6}") } else { format!("{time:.0}") };
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(own) = schema.field(name) {
                    settle_times(own, field);
                }
            }
        }
        Value::Array(items) => {
            if let Some(own) = &schema.items {
                items.iter_mut().for_each(|item| settle_times(own, item));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The metadata of a custom object is held in a Go struct too.
pub fn drop_metadata_nulls(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata") {
        drop_nulls(objectmeta::schema(), metadata);
    }
}

fn check_metadata(metadata: &Value) -> Result<(), String> {
    if !metadata.is_object() && !metadata.is_null() {
        return Err(format!(
            "json: cannot unmarshal {} into Go value of type v1.ObjectMeta",
            go_kind(metadata)
        ));
    }
    walk(objectmeta::schema(), metadata, &Place { owner: "ObjectMeta", path: "" })
}

fn embedded(schema: &Schema, value: &Value, path: &str) -> Result<(), String> {
    match value {
        Value::Object(fields) => {
            if schema.is_embedded_resource() {
                for name in ["apiVersion", "kind"] {
                    if let Some(wrong) = fields.get(name).filter(|field| !field.is_string()) {
                        return Err(format!(
                            "{path}.{name}: Invalid value: {}: must be a string",
                            marshal(wrong)
                        ));
                    }
                }
                if let Some(metadata) = fields.get("metadata") {
                    check_metadata(metadata).map_err(|why| {
                        format!("{path}.metadata: Invalid value: {}: {why}", marshal(metadata))
                    })?;
                }
            }
            for (name, field) in fields {
                if let Some(own) = schema.properties.get(name) {
                    let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    embedded(own, field, &below)?;
                } else if let Some(own) = &schema.additional {
                    embedded(own, field, &format!("{path}[{name}]"))?;
                }
            }
            Ok(())
        }
        Value::Array(items) => {
            let Some(own) = &schema.items else { return Ok(()) };
            items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| embedded(own, item, &format!("{path}[{index}]")))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Where a value stands, in Go's words: the struct that holds it, and the names from the root.
struct Place<'a> {
    owner: &'a str,
    path: &'a str,
}

impl Place<'_> {
    fn refuse(&self, value: &Value, go_type: &str) -> String {
        let found = match value {
            Value::Number(number) if go_type.starts_with("int") => format!("number {number}"),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => go_kind(value).to_owned(),
        };
        format!(
            "json: cannot unmarshal {found} into Go struct field {}.{} of type {go_type}",
            self.owner, self.path
        )
    }
}

fn walk(schema: &Schema, value: &Value, place: &Place<'_>) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    match schema.kind {
        // A RawExtension is as it was sent, whatever that is.
        Kind::Object if schema.preserve_unknown => Ok(()),
        Kind::Object => {
            let Some(fields) = value.as_object() else { return Err(place.refuse(value, &go_type(schema))) };
            for (name, field) in fields {
                let Some(own) = schema.field(name) else { continue };
                let root = place.path.is_empty();
                let of_map = !schema.properties.contains_key(name);
                let path = match (root, of_map) {
                    (true, _) => name.clone(),
                    (false, true) => place.path.to_owned(),
                    (false, false) => format!("{}.{name}", place.path),
                };
                // Go names the innermost struct; these are the ones that every kind has.
                let owner = match (root, name.as_str(), field) {
                    (true, "metadata", Value::Object(_)) => "ObjectMeta".to_owned(),
                    (true, "spec", Value::Object(_)) => format!("{}Spec", place.owner),
                    _ => place.owner.to_owned(),
                };
                walk(own, field, &Place { owner: &owner, path: &path })?;
            }
            Ok(())
        }
        Kind::Array => {
            let Some(items) = value.as_array() else { return Err(place.refuse(value, &go_type(schema))) };
            let Some(own) = &schema.items else { return Ok(()) };
            items.iter().try_for_each(|item| walk(own, item, place))
        }
        Kind::String => {
            let Some(text) = value.as_str() else { return Err(place.refuse(value, &go_type(schema))) };
            match schema.format() {
                "date-time" if !text.is_empty() => gotime::check(text, gotime::SECONDS),
                DATE_TIME_MICROS => gotime::check(text, gotime::MICROS),
                "byte" => check_bytes(text),
                _ => Ok(()),
            }
        }
        Kind::Integer => {
            let fits = match value {
                Value::Number(number) => match (GoNumber::of(number), schema.format()) {
                    (GoNumber::Int(int), "int32") => i32::try_from(int).is_ok(),
                    (GoNumber::Int(_), _) => true,
                    (GoNumber::Float(_), _) => false,
                },
                Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => false,
            };
            if fits { Ok(()) } else { Err(place.refuse(value, &go_type(schema))) }
        }
        Kind::Number if !value.is_number() => Err(place.refuse(value, "float64")),
        Kind::Boolean if !value.is_boolean() => Err(place.refuse(value, "bool")),
        Kind::IntOrString if !value.is_i64() && !value.is_string() => {
            Err(place.refuse(value, "intstr.IntOrString"))
        }
        Kind::Number | Kind::Boolean | Kind::IntOrString | Kind::Any => Ok(()),
    }
}

fn go_type(schema: &Schema) -> String {
    match schema.kind {
        Kind::String if schema.format() == "byte" => "[]uint8".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Integer if schema.format() == "int32" => "int32".to_owned(),
        Kind::Integer => "int64".to_owned(),
        Kind::Number => "float64".to_owned(),
        Kind::Boolean => "bool".to_owned(),
        Kind::Array => format!(
            "[]{}",
            schema.items.as_ref().map_or_else(|| "interface {}".to_owned(), |own| go_type(own))
        ),
        Kind::Object => match &schema.additional {
            Some(own) => format!("map[string]{}", go_type(own)),
            None if schema.properties.contains_key("generateName") => "v1.ObjectMeta".to_owned(),
            None => "struct".to_owned(),
        },
        Kind::IntOrString => "intstr.IntOrString".to_owned(),
        Kind::Any => "interface {}".to_owned(),
    }
}

fn check_bytes(text: &str) -> Result<(), String> {
    match base64::engine::general_purpose::STANDARD.decode(text.replace(['\n', '\r'], "")) {
        Ok(_) => Ok(()),
        Err(base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _)) => {
            Err(format!("illegal base64 data at input byte {at}"))
        }
        Err(base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding) => {
            Err(format!("illegal base64 data at input byte {}", text.len()))
        }
    }
}
