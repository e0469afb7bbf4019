//! ConfigMap and Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::text;
use crate::meta::cause::{forbidden, invalid_text, required, too_long};
use crate::meta::names;
use crate::status::Cause;

/// The values of one object together.
const MAX_DATA: usize = 1024 * 1024;
const REDACTED: &str = "<secret contents redacted>";

/// A value that is null is an empty one.
pub fn prepare_config_map(object: &mut Value) {
    for field in ["data", "binaryData"] {
        fill(object.get_mut(field));
    }
}

fn fill(data: Option<&mut Value>) {
    let values = data.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
    values.filter(|value| value.is_null()).for_each(|value| *value = Value::from(""));
}

/// Folds `stringData` into `data`, and gives a Secret its type.
pub fn prepare_secret(object: &mut Value) {
    fill(object.get_mut("data"));
    let Some(fields) = object.as_object_mut() else { return };
    if let Some(Value::Object(strings)) = fields.remove("stringData")
        && !strings.is_empty()
    {
        let data = fields.entry("data").or_insert_with(|| Value::Object(Map::new()));
        if data.is_null() {
            *data = Value::Object(Map::new());
        }
        if let Some(data) = data.as_object_mut() {
            let encoded = strings
                .into_iter()
                .filter_map(|(key, value)| Some((key, STANDARD.encode(value.as_str()?).into())));
            data.extend(encoded);
        }
    }
    if fields.get("type").and_then(Value::as_str).unwrap_or_default().is_empty() {
        fields.insert("type".to_owned(), "Opaque".into());
    }
}

pub fn config_map(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = frozen(object, old, &["data", "binaryData"]);
    let mut size = 0_usize;
    let binary = map(object, "binaryData");
    for (key, value) in map(object, "data").into_iter().flatten() {
        causes.extend(key_faults("data", key));
        if binary.is_some_and(|binary| binary.contains_key(key)) {
            causes.push(invalid_text(format!("data[{key}]"), key, "duplicate of key present in binaryData"));
        }
        size = size.saturating_add(value.as_str().map_or(0, str::len));
    }
    for (key, value) in binary.into_iter().flatten() {
        causes.extend(key_faults("binaryData", key));
        size = size.saturating_add(decoded_length(value));
    }
    if size > MAX_DATA {
        // The field is how the real server writes the whole object here.
        causes.push(too_long("[]", MAX_DATA));
    }
    causes
}

pub fn secret(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = secret_change(object, old);
    let mut size = 0_usize;
    let data = map(object, "data");
    for (key, value) in data.into_iter().flatten() {
        causes.extend(key_faults("data", key));
        size = size.saturating_add(decoded_length(value));
    }
    if size > MAX_DATA {
        causes.push(too_long("data", MAX_DATA));
    }
    let has = |key: &str| data.is_some_and(|data| data.contains_key(key));
    let missing = |key: &str| required(format!("data[{key}]"), "");
    match text(object, "/type") {
        "kubernetes.io/service-account-token" => {
            let name = "kubernetes.io/service-account.name";
            let annotations = object.pointer("/metadata/annotations");
            let given = annotations.and_then(|annotations| annotations.get(name)).and_then(Value::as_str);
            if given.unwrap_or_default().is_empty() {
                causes.push(required(format!("metadata.annotations[{name}]"), ""));
            }
        }
        "kubernetes.io/dockercfg" => causes.extend(docker(data, ".dockercfg")),
        "kubernetes.io/dockerconfigjson" => causes.extend(docker(data, ".dockerconfigjson")),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            causes.extend(["username", "password"].map(missing));
        }
        "kubernetes.io/ssh-auth" => {
            let key = "ssh-privatekey";
            if data.and_then(|data| data.get(key)).map_or(0, decoded_length) == 0 {
                causes.push(missing(key));
            }
        }
        "kubernetes.io/tls" => {
            causes.extend(["tls.crt", "tls.key"].into_iter().filter(|key| !has(key)).map(missing));
        }
        _ => {}
    }
    causes
}

fn secret_change(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(old) = old
        && text(object, "/type") != text(old, "/type")
    {
        causes.push(invalid_text("type", text(object, "/type"), "field is immutable"));
    }
    causes.extend(frozen(object, old, &["data"]));
    causes
}

/// An object with `immutable` keeps it and its data.
fn frozen(object: &Value, old: Option<&Value>, fields: &[&str]) -> Vec<Cause> {
    let is_frozen = |object: &Value| object.get("immutable").and_then(Value::as_bool) == Some(true);
    let Some(old) = old.filter(|old| is_frozen(old)) else { return Vec::new() };
    let detail = "field is immutable when `immutable` is set";
    let mut causes = Vec::new();
    if !is_frozen(object) {
        causes.push(forbidden("immutable", detail));
    }
    let content = |object, field| map(object, field).filter(|map| !map.is_empty());
    let changed = fields.iter().filter(|field| content(object, field) != content(old, field));
    causes.extend(changed.map(|field| forbidden(*field, detail)));
    causes
}

fn docker(data: Option<&Map<String, Value>>, key: &str) -> Option<Cause> {
    let path = format!("data[{key}]");
    let Some(value) = data.and_then(|data| data.get(key)) else { return Some(required(path, "")) };
    let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let fault = match serde_json::from_slice::<Value>(&bytes) {
        Ok(Value::Object(_) | Value::Null) => return None,
        Ok(Value::Array(_)) => misfit("array"),
        Ok(Value::String(_)) => misfit("string"),
        Ok(Value::Number(_)) => misfit("number"),
        Ok(Value::Bool(_)) => misfit("bool"),
        Err(fault) if fault.is_eof() => "unexpected end of JSON input".to_owned(),
        // Deeper inside, Go also says where in the grammar it was; at the beginning, which is where text that is no JSON fails:
        Err(_) => {
            let first = bytes.iter().copied().map(char::from).find(|letter| !letter.is_ascii_whitespace());
            format!("invalid character '{}' looking for beginning of value", first.unwrap_or(' '))
        }
    };
    Some(invalid_text(path, REDACTED, fault))
}

fn misfit(kind: &str) -> String {
    format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
}

fn map<'a>(object: &'a Value, field: &str) -> Option<&'a Map<String, Value>> {
    object.get(field).and_then(Value::as_object)
}

fn key_faults(field: &str, key: &str) -> Vec<Cause> {
    names::data_key(key)
        .into_iter()
        .map(|fault| invalid_text(format!("{field}[{key}]"), key, fault))
        .collect()
}

/// How many bytes base64 text stands for.
fn decoded_length(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default().trim_end_matches('=');
    text.len() / 4 * 3 + (text.len() % 4).saturating_sub(1)
}
