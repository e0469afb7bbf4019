//! Writes the two files that people read and edit here, `users.yaml` and kubeconfig, as YAML. Every string is quoted: the usual
//! writers leave `no` bare, which kubectl then reads as false.

use serde_json::Value;

/// The value as a block of YAML. It comes from a parser or from this program, which both bound its depth.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (name, value)) in fields.iter().enumerate() {
                // The first field stands behind the dash of a list's item.
                if index > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str(&key(name));
                out.push(':');
                below(value, indent, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(&" ".repeat(indent));
                }
                out.push_str("- ");
                block(item, indent + 2, out);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            // Every JSON text is YAML, too.
            out.push_str(&value.to_string());
            out.push('\n');
        }
    }
}

fn below(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            block(value, indent, out);
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            out.push_str(&" ".repeat(indent + 2));
            block(value, indent + 2, out);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            out.push(' ');
            out.push_str(&value.to_string());
            out.push('\n');
        }
    }
}

fn key(name: &str) -> String {
    // Words of one letter and `yes`, `no`, `on`, `off`, `true`, `null` are more than strings to some readers.
    let is_plain = name.len() > 5 && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
    let is_known = matches!(name, "kind" | "name" | "role" | "user" | "users") || is_plain;
    if is_known { name.to_owned() } else { Value::from(name).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for value in [
            json!({"users": [{"name": "no", "namespaces": ["a", "on"], "token": null}, {}, [], "x: y", [[1], {"a": 2.5}]]}),
            json!({"no": {"1": {"a-b-c-d": "\u{e9}\u{2028}\"\\\n\t# x"}}, "empty": {}, "none": [], "true": true}),
            json!({"deep": [[{"list": [{"of": [[{"lists": "of"}]]}]}]], "-key--": "- "}),
            json!("text"),
            json!([]),
        ] {
            let text = text(&value);
            let read: Value =
                serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
            assert_eq!(read, value, "{text}");
        }
    }
}
