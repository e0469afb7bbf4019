//! Values as the programs of Kubernetes print them, which are written in Go: clients see these texts in `fieldsV1`, in paths and
//! in messages.

use serde_json::{Number, Value};

/// JSON as Go writes it: `<`, `>`, `&` and the two line separators escaped.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Number(number) => json_number(number),
        Value::String(_) => escape(&value.to_string()),
        Value::Array(items) => format!("[{}]", join(items.iter().map(json), ",")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| {
                format!("{}:{}", escape(&Value::String(name.clone()).to_string()), json(value))
            });
            format!("{{{}}}", join(fields, ","))
        }
        Value::Null | Value::Bool(_) => value.to_string(),
    }
}

fn join(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

fn escape(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    for letter in quoted.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(letter)))
            }
            _ => text.push(letter),
        }
    }
    text
}

fn json_number(number: &Number) -> String {
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => integer.to_string(),
        (None, Some(float)) if float != 0.0 && (float.abs() < 1e-6 || float.abs() >= 1e21) => {
            let text = format!("{float:e}");
            if text.contains("e-") { text } else { text.replace('e', "e+") }
        }
        (None, Some(float)) => float.to_string(),
        (None, None) => number.to_string(),
    }
}

/// A number by `%v`: shortest digits, with an exponent from 1e+06 and below 1e-04.
fn number(number: &Number) -> String {
    let (None, Some(float)) = (number.as_i64(), number.as_f64()) else { return number.to_string() };
    let text = format!("{float:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float == 0.0 || (-4..6).contains(&exponent) {
        return float.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// In a path: `%v` of numbers and booleans, quoted strings.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(value) => number(value),
        Value::String(text) => quote(text),
        Value::Array(items) => format!("[{}]", join(items.iter().map(plain), ",")),
        Value::Object(fields) => {
            join(fields.iter().map(|(name, value)| format!("{name}={}", plain(value))), "")
        }
    }
}

/// `%v`.
pub(super) fn loose(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(value) => number(value),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", join(items.iter().map(loose), " ")),
        Value::Object(fields) => {
            format!(
                "map[{}]",
                join(fields.iter().map(|(name, value)| format!("{name}:{}", loose(value))), " ")
            )
        }
    }
}

/// `%#v`.
pub(super) fn source(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(value) => number(value),
        Value::String(text) => quote(text),
        Value::Array(items) => format!("[]interface {{}}{{{}}}", join(items.iter().map(source), ", ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{}:{}", quote(name), source(value)));
            format!("map[string]interface {{}}{{{}}}", join(fields, ", "))
        }
    }
}

/// `%T`.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// `%q`.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\0'..='\u{1f}' | '\u{7f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(letter))),
            '\u{80}'..='\u{a0}' | '\u{ad}' => quoted.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
