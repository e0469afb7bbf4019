//! Values as Go prints them, since the messages of a real server are Go's: `%v` of a number, `%q` of a string, `json.Marshal`.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// From here on Go prints a float with an exponent.
const EXPONENT_FROM: f64 = 1e21;
/// Below this Go prints a float with an exponent.
const EXPONENT_BELOW: f64 = 1e-4;

/// A number as Go's decoder holds it: an `int64` if it fits and was written as one, else a `float64`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum GoNumber {
    Int(i64),
    Float(f64),
}

impl GoNumber {
    pub(super) fn of(number: &Number) -> Self {
        number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::INFINITY)), Self::Int)
    }
}

impl std::fmt::Display for GoNumber {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Int(int) => write!(out, "{int}"),
            Self::Float(float) => out.write_str(&print_float(float)),
        }
    }
}

/// `%v` of a float64.
pub(super) fn print_float(float: f64) -> String {
    let size = float.abs();
    if float == 0.0 || (EXPONENT_BELOW..EXPONENT_FROM).contains(&size) {
        return format!("{float}");
    }
    let text = format!("{float:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `strconv.Quote`.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        // Writing to a String cannot fail.
        let _ = match letter {
            '"' => write!(quoted, "\\\""),
            '\\' => write!(quoted, "\\\\"),
            '\u{7}' => write!(quoted, "\\a"),
            '\u{8}' => write!(quoted, "\\b"),
            '\u{c}' => write!(quoted, "\\f"),
            '\n' => write!(quoted, "\\n"),
            '\r' => write!(quoted, "\\r"),
            '\t' => write!(quoted, "\\t"),
            '\u{b}' => write!(quoted, "\\v"),
            low if (low as u32) < 0x20 || low == '\u{7f}' => write!(quoted, "\\x{:02x}", low as u32),
            hidden if hidden.is_control() || (hidden.is_whitespace() && hidden != ' ') => {
                write!(quoted, "\\u{:04x}", hidden as u32)
            }
            plain => write!(quoted, "{plain}"),
        };
    }
    quoted.push('"');
    quoted
}

/// `json.Marshal`, which escapes what HTML could misread.
pub(super) fn marshal(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    // These letters stand in strings alone, so replacing them in the text is safe.
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// A value as a field error shows it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Number(number) => GoNumber::of(number).to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => marshal(value),
    }
}

/// The word for a JSON type in schema errors.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Number(number) => match GoNumber::of(number) {
            GoNumber::Int(_) => "integer",
            GoNumber::Float(_) => "number",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        let cases = [
            (0.25, "0.25"),
            (2.0, "2"),
            (1e39, "1e+39"),
            (1e-7, "1e-07"),
            (1e20, "100000000000000000000"),
            (1.5e21, "1.5e+21"),
            (-3.5, "-3.5"),
        ];
        for (float, text) in cases {
            assert_eq!(print_float(float), text);
        }
    }

    #[test]
    fn strings_are_quoted_as_go_quotes_them() {
        assert_eq!(quote("a\"\\\n\u{1}é\u{a0}'"), "\"a\\\"\\\\\\n\\x01é\\u00a0'\"");
    }

    #[test]
    fn html_is_escaped_in_json() {
        assert_eq!(marshal(&serde_json::json!({"a": "<&>"})), "{\"a\":\"\\u003c\\u0026\\u003e\"}");
    }
}
