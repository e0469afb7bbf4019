//! Reads and sets what every Kubernetes object has: apiVersion, kind and the fields of metadata.

use serde_json::{Map, Value};

use crate::store::Draft;

/// A field of metadata that is a string; empty if it is absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get("metadata").and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    text(object, "name")
}

pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata`, made if it is absent or no object.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    let meta = fields(object).entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    fields(meta)
}

/// The fields of an object, made if the value is none.
pub fn fields(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

/// Sets or, with None, removes a field of metadata.
pub fn set(object: &mut Value, field: &str, value: Option<Value>) {
    put(metadata(object), field, value);
}

/// Sets or, with None, removes a field.
pub fn put(fields: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(fields.insert(field.to_owned(), value)),
        None => drop(fields.remove(field)),
    }
}

/// A field of metadata as it is.
pub fn meta<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    object.get("metadata")?.get(field)
}

pub fn is_deleting(object: &Value) -> bool {
    meta(object, "deletionTimestamp").is_some_and(|stamp| !stamp.is_null())
}

/// The finalizers that keep the object from going.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = meta(object, "finalizers").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).collect()
}

pub fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    set(object, "finalizers", (!finalizers.is_empty()).then(|| finalizers.into()));
}

pub fn generation(object: &Value) -> i64 {
    meta(object, "generation").and_then(Value::as_i64).unwrap_or(0)
}

/// The object's resourceVersion as a number; None if it is absent or was never ours.
pub fn revision(object: &Value) -> Option<u64> {
    text(object, "resourceVersion").parse().ok()
}

/// The object as text, cut where the digits of its resourceVersion stand: the revision is known only at commit.
pub fn draft(mut object: Value) -> Draft {
    set(&mut object, "resourceVersion", Some(Value::Null));
    let mut head = Vec::new();
    let mut tail = Vec::new();
    for (index, (name, value)) in fields(&mut object).iter().enumerate() {
        let out = if tail.is_empty() { &mut head } else { &mut tail };
        open(out, index, name);
        let (Value::Object(meta), "metadata") = (value, name.as_str()) else {
            out.extend_from_slice(value.to_string().as_bytes());
            continue;
        };
        for (index, (name, value)) in meta.iter().enumerate() {
            let out = if tail.is_empty() { &mut head } else { &mut tail };
            open(out, index, name);
            if name == "resourceVersion" {
                head.push(b'"');
                tail.push(b'"');
            } else {
                out.extend_from_slice(value.to_string().as_bytes());
            }
        }
        tail.push(b'}');
    }
    tail.push(b'}');
    Draft { head, tail }
}

/// Opens the object before its first field, or goes on after another, and writes the field's name.
fn open(out: &mut Vec<u8>, index: usize, name: &str) {
    out.push(if index == 0 { b'{' } else { b',' });
    out.extend_from_slice(Value::from(name).to_string().as_bytes());
    out.push(b':');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_goes_where_it_belongs() {
        let object = json!({
            "apiVersion": "v1", "data": {"metadata": {"resourceVersion": "\u{1}"}}, "kind": "ConfigMap",
            "metadata": {"name": "a\"b", "resourceVersion": "7", "uid": "u"}, "zone": 1,
        });
        let draft = draft(object.clone());
        let whole = [draft.head.as_slice(), b"42", draft.tail.as_slice()].concat();
        let read: Value = serde_json::from_slice(&whole).expect("what was cut is JSON again");
        let mut expected = object;
        expected["metadata"]["resourceVersion"] = "42".into();
        assert_eq!(read, expected);
    }
}
