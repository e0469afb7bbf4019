//! What a schema says through Kubernetes' own keywords: lists without repetitions, and resources embedded in objects.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::node::Node;
use crate::schema::ListType;
use crate::schema::golang::{quote, show};
use crate::status::Cause;

/// The double space is the real server's.
const NO_LABEL: &str = concat!(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with ",
    "an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
);

/// Which items of sets and of maps repeat an earlier one.
pub(super) fn repeated(root: &Node, value: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    walk(root, value, "", &mut |node, value, path| {
        let (Some(items), list) = (value.as_array(), &node.list) else { return };
        match list {
            ListType::Atomic => {}
            ListType::Set => again(items, path, &mut causes),
            ListType::Map(keys) => {
                let wrong = items.iter().enumerate().find(|(_, item)| !item.is_object() && !item.is_null());
                if let Some((index, item)) = wrong {
                    let why = "must be an object for an array of list-type map";
                    causes.push(cause(
                        "FieldValueInvalid",
                        format!("Invalid value: {}: {why}", show(item)),
                        format!("{path}[{index}]"),
                    ));
                } else {
                    let of = |item: &Value| -> Map<String, Value> {
                        let fields = item.as_object().into_iter().flatten();
                        fields
                            .filter(|(name, _)| keys.contains(name))
                            .map(|(name, key)| (name.clone(), key.clone()))
                            .collect()
                    };
                    let keys: Vec<Value> = items.iter().map(|item| Value::Object(of(item))).collect();
                    again(&keys, path, &mut causes);
                }
            }
        }
    });
    causes
}

/// What is wrong with resources inside an object.
pub(super) fn embedded(root: &Node, value: &Value, path: &str, causes: &mut Vec<Cause>) {
    walk(root, value, path, &mut |node, value, path| {
        if let (true, Some(fields)) = (node.embedded, value.as_object()) {
            type_of_embedded(fields, path, causes);
        }
    });
}

/// Only the second of equal items is reported, as a real server does.
fn again(items: &[Value], path: &str, causes: &mut Vec<Cause>) {
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let times = seen.entry(item.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            causes.push(cause(
                "FieldValueDuplicate",
                format!("Duplicate value: {}", show(item)),
                format!("{path}[{index}]"),
            ));
        }
    }
}

fn type_of_embedded(fields: &Map<String, Value>, path: &str, causes: &mut Vec<Cause>) {
    for name in ["apiVersion", "kind"] {
        if !fields.contains_key(name) {
            causes.push(cause("FieldValueRequired", "Required value".to_owned(), format!("{path}.{name}")));
        }
    }
    for name in ["apiVersion", "kind"] {
        let why = match (name, fields.get(name)) {
            (_, Some(Value::String(text))) if text.is_empty() => "must not be empty".to_owned(),
            ("apiVersion", Some(Value::String(text))) if text.matches('/').count() > 1 => {
                format!("unexpected GroupVersion string: {text}")
            }
            ("kind", Some(Value::String(text))) if !is_label(&text.to_lowercase()) => {
                format!("may have mixed case, but should otherwise match: {NO_LABEL}")
            }
            _ => continue,
        };
        let shown = fields.get(name).and_then(Value::as_str).map(quote).unwrap_or_default();
        causes.push(cause(
            "FieldValueInvalid",
            format!("Invalid value: {shown}: {why}"),
            format!("{path}.{name}"),
        ));
    }
}

#[expect(clippy::expect_used, reason = "the pattern is a constant and a test compiles it")]
fn is_label(text: &str) -> bool {
    static LABEL: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("^[a-z]([-a-z0-9]*[a-z0-9])?$").expect("a constant pattern compiles"));
    text.len() <= 63 && LABEL.is_match(text)
}

fn cause(reason: &'static str, message: String, field: String) -> Cause {
    Cause { reason: reason.into(), message, field }
}

/// Visits every value of which the schema speaks. Map keys stand in brackets, as in a real server's paths of this kind.
fn walk(node: &Node, value: &Value, path: &str, visit: &mut dyn FnMut(&Node, &Value, &str)) {
    visit(node, value, path);
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(own) = node.properties.get(name) {
                    let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(own, field, &below, visit);
                } else if let Some(own) = &node.additional {
                    walk(own, field, &format!("{path}[{name}]"), visit);
                }
            }
        }
        Value::Array(items) => {
            let Some(own) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                walk(own, item, &format!("{path}[{index}]"), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
