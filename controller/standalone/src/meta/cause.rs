//! What is wrong with a field, worded as Kubernetes words it, and the answer that lists all of it. Used by every rule of this crate
//! that looks at an object or at the options of a request.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{Display, Write as _};

use serde_json::Value;

use crate::status::{ApiError, Cause, Details};

/// Faults of one object that are told; whoever mends these learns of the rest.
const MAX_CAUSES: usize = 500;

/// The value is not allowed here.
pub fn invalid(field: impl Into<String>, value: &Value, detail: impl Display) -> Cause {
    let value = match value {
        Value::String(text) => quote(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    };
    cause("FieldValueInvalid", field, format!("Invalid value: {value}: {detail}"))
}

/// The text is not allowed here.
pub fn invalid_text(field: impl Into<String>, value: &str, detail: impl Display) -> Cause {
    cause("FieldValueInvalid", field, format!("Invalid value: {}: {detail}", quote(value)))
}

/// The value, which is JSON already, is not allowed here.
pub fn invalid_json(field: impl Into<String>, value: &str, detail: impl Display) -> Cause {
    cause("FieldValueInvalid", field, format!("Invalid value: {value}: {detail}"))
}

/// A list or map is longer than it may be.
pub fn crowded(field: impl Into<String>, found: usize, most: usize) -> Cause {
    cause("FieldValueTooMany", field, format!("Too many: {found}: must have at most {most} items"))
}

/// The field must be there. `detail` may be empty.
pub fn required(field: impl Into<String>, detail: &str) -> Cause {
    cause("FieldValueRequired", field, with_detail("Required value", detail))
}

/// The field must not be there, or must not change.
pub fn forbidden(field: impl Into<String>, detail: impl Display) -> Cause {
    cause("FieldValueForbidden", field, format!("Forbidden: {detail}"))
}

/// The value is none of those that are known. `value` is JSON.
pub fn not_supported(field: impl Into<String>, value: impl Display, known: &[&str]) -> Cause {
    let known: Vec<String> = known.iter().map(|one| quote(one)).collect();
    let message = format!("Unsupported value: {value}: supported values: {}", known.join(", "));
    cause("FieldValueNotSupported", field, message)
}

/// The value is there twice.
pub fn duplicate(field: impl Into<String>, value: &str) -> Cause {
    cause("FieldValueDuplicate", field, format!("Duplicate value: {}", quote(value)))
}

/// The value has more than `most` bytes.
pub fn too_long(field: impl Into<String>, most: usize) -> Cause {
    cause("FieldValueTooLong", field, format!("Too long: may not be more than {most} bytes"))
}

fn cause(reason: &'static str, field: impl Into<String>, message: String) -> Cause {
    Cause { reason: Cow::Borrowed(reason), message, field: field.into() }
}

fn with_detail(text: &str, detail: &str) -> String {
    if detail.is_empty() { text.to_owned() } else { format!("{text}: {detail}") }
}

/// The answer 422 to an object, or to the options of a request, with which all of `causes` are wrong.
pub fn refusal(group: &str, kind: &str, name: &str, causes: Vec<Cause>) -> ApiError {
    let mut causes = causes;
    causes.truncate(MAX_CAUSES);
    let mut told = HashSet::new();
    let texts = causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message));
    // The same fault is often found by two rules; the message tells it once, the causes keep both.
    let texts: Vec<String> = texts.filter(|text| told.insert(text.clone())).collect();
    let faults = match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let full_kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let details = Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        causes,
        ..Details::default()
    };
    ApiError::new(422, "Invalid", format!("{full_kind} {} is invalid: {faults}", quote(name))).with(details)
}

/// The text between quotes, escaped as Go's `%q` does.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            _ if is_printable(letter) => out.push(letter),
            _ => escape(&mut out, letter),
        }
    }
    out.push('"');
    out
}

fn escape(out: &mut String, letter: char) {
    let code = u32::from(letter);
    let written = match code {
        0..=0x7f => write!(out, "\\x{code:02x}"),
        0x80..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    debug_assert!(written.is_ok(), "a String takes everything");
}

/// Nearly Go's `unicode.IsPrint`: no control or format character, no private use, no space but the plain one. Code points that
/// no version of Unicode has assigned count as printable here.
pub fn is_printable(letter: char) -> bool {
    let hidden = matches!(u32::from(letter),
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
        | 0xfff9..=0xfffb | 0xe000..=0xf8ff | 0xe0001..=0xe007f | 0xf_0000..=0x10_ffff);
    letter == ' ' || !(letter.is_control() || letter.is_whitespace() || hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_quotes_them() {
        assert_eq!(
            quote("a\"\\\n\u{7}\u{1}ä\u{200b}\u{e0001}"),
            "\"a\\\"\\\\\\n\\a\\x01ä\\u200b\\U000e0001\""
        );
    }

    #[test]
    fn a_fault_found_twice_is_told_once() {
        let answer = refusal("g", "K", "n", vec![required("a", ""), required("a", ""), required("b", "x")]);
        assert_eq!(answer.message, "K.g \"n\" is invalid: [a: Required value, b: Required value: x]");
        assert_eq!(answer.details.map(|details| details.causes.len()), Some(3));
    }
}
