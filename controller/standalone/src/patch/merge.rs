//! JSON merge patch as the real server does it: like RFC 7386, but null is also dropped from objects inside a list that is new.

use serde_json::Value;

use crate::status::ApiError;

use crate::decode::go_kind;

pub fn apply(live: &Value, patch: Value) -> Result<Value, ApiError> {
    if patch.is_null() {
        return Err(ApiError::bad_request("Invalid JSON Patch"));
    }
    if !patch.is_object() {
        let kind = go_kind(&patch);
        let fault = format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}");
        return Err(ApiError::bad_request(format!("error decoding patch: {fault}")));
    }
    let mut result = live.clone();
    merge(&mut result, patch);
    Ok(result)
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    fields.remove(&name);
                } else {
                    merge(fields.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        // What replaces an object is taken as it is.
        (target @ Value::Object(_), patch) => *target = patch,
        (target, mut patch) => {
            prune(&mut patch);
            *target = patch;
        }
    }
}

/// Drops the null fields of objects; null items of lists stay.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
