//! Request bodies to values, as a real server's decoder reads them. What the value must be is for `write` and `schema` to say.

use serde::de::DeserializeSeed as _;
use serde_json::{Number, Value};
use skerry_terms::strict::{Place, Strict};

use crate::protobuf;
use crate::status::ApiError;

/// Letters of a body that a refusal quotes.
const QUOTED: usize = 30;
/// Values, and bytes of text, that aliases of a YAML body may add to those that its bytes can spell: enough for anchors that a person writes.
const ALIASED_VALUES: usize = 100_000;

/// Brackets that may stand open in a YAML body. libyaml looks at all of them with each word, and nothing deeper is taken anyway.
const MAX_OPEN: usize = 128;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Json,
    /// The first document counts, as in a real server.
    Yaml,
    /// Of built-in kinds and of the options of a delete.
    Protobuf,
}

/// A body that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// Paths of fields that stand there twice, in the order of the body; the last one counts.
    pub duplicates: Vec<String>,
}

/// A body that cannot be read. `Display` is the text of a real server's decoder, as near as the parsers let it be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("couldn't get version/kind; json parse error: {0}")]
    Json(String),
    #[error("yaml: {0}")]
    Yaml(String),
    #[error("{0}")]
    Protobuf(String),
    /// The body says what it is, and is not that.
    #[error("{why}")]
    Message { kind: String, version: String, why: String },
    #[error(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {0} into Go value of type struct {{ \
         APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )]
    NotAnObject(&'static str),
    #[error(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go struct field .{field} of type string"
    )]
    TypeMeta { field: &'static str, found: &'static str },
    #[error("Object 'Kind' is missing in '{0}'")]
    Nothing(String),
}

impl DecodeError {
    /// The refusal of this body where an object of a kind was expected: 400 BadRequest.
    pub fn refuse(&self, kind: &str, version: &str, body: &[u8]) -> ApiError {
        ApiError::bad_request(match self {
            Self::Nothing(_) => {
                format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {self}")
            }
            Self::Message { kind: stated, version, .. } => {
                format!("{stated} in version \"{version}\" cannot be handled as a {kind}: {self}")
            }
            Self::Json(_)
            | Self::Yaml(_)
            | Self::Protobuf(_)
            | Self::NotAnObject(_)
            | Self::TypeMeta { .. } => {
                format!(
                    "the object provided is unrecognized (must be of type {kind}): {self} ({})",
                    summary(body)
                )
            }
        })
    }
}

/// Reads a body that must be one object.
pub fn decode(body: &[u8], media: Media) -> Result<Decoded, DecodeError> {
    let mut strict = Strict::new(match media {
        Media::Json | Media::Protobuf => usize::MAX,
        Media::Yaml => body.len().saturating_mul(2).saturating_add(ALIASED_VALUES),
    });
    let value = match media {
        Media::Json => read_json(body, &mut strict)?,
        Media::Yaml => read_yaml(body, &mut strict)?,
        Media::Protobuf => protobuf::decode(body)?,
    };
    let found = match &value {
        Value::Object(fields) => {
            for field in ["apiVersion", "kind"] {
                if let Some(found) =
                    fields.get(field).map(go_kind).filter(|found| !matches!(*found, "string" | "null"))
                {
                    return Err(DecodeError::TypeMeta { field, found });
                }
            }
            return Ok(Decoded { value, duplicates: strict.duplicates });
        }
        Value::Null => return Err(DecodeError::Nothing("null".to_owned())),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => go_kind(&value),
    };
    Err(DecodeError::NotAnObject(found))
}

/// Numbers as a real server stores and answers them: Go writes a float without a fraction like an integer. For custom objects,
/// after validation, which still tells 1.0 from 1.
pub fn settle_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = whole(number) {
                *number = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(settle_numbers),
        Value::Object(fields) => fields.values_mut().for_each(settle_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the float is whole and in range")]
fn whole(number: &Number) -> Option<Number> {
    // 2^63 is the first float that an int64 cannot hold.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let float = number.as_f64().filter(|_| number.is_f64())?;
    (float.fract() == 0.0 && float.abs() < BEYOND).then(|| (float as i64).into())
}

fn read_json(body: &[u8], strict: &mut Strict) -> Result<Value, DecodeError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read = Place::root(strict).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| DecodeError::Json(go_syntax_error(&error, body)))
}

fn read_yaml(body: &[u8], strict: &mut Strict) -> Result<Value, DecodeError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // What kubectl calls YAML is JSON as a rule, whose parser is faster and bounded by itself.
    if body.trim_ascii_start().starts_with(b"{") {
        let mut own = Strict::new(usize::MAX);
        if let Ok(value) = read_json(body, &mut own) {
            *strict = own;
            return Ok(value);
        }
    }
    if most_open(body) > MAX_OPEN {
        return Err(DecodeError::Yaml(format!(
            "more than {MAX_OPEN} brackets stand open; write the body as JSON"
        )));
    }
    let Some(document) = serde_yaml::Deserializer::from_slice(body).next() else { return Ok(Value::Null) };
    Place::root(strict).deserialize(document).map_err(|error| {
        let text = error.to_string();
        DecodeError::Yaml(if text.contains("repetition limit") || strict.is_exhausted() {
            "document contains excessive aliasing".to_owned()
        } else {
            text
        })
    })
}

/// Brackets that stand open at once, those in strings included: to tell them apart takes a parser.
fn most_open(body: &[u8]) -> usize {
    let mut most = 0;
    body.iter().fold(0_usize, |open, byte| {
        let open = match byte {
            b'[' | b'{' => open.saturating_add(1),
            b']' | b'}' => open.saturating_sub(1),
            _ => open,
        };
        most = most.max(open);
        open
    });
    most
}

/// The kind of a value as a decoding error of the real server names it.
pub fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The words of Go's JSON scanner for what serde_json found. The place comes from serde_json, the letter from the body.
fn go_syntax_error(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line_start = body
        .split_inclusive(|letter| *letter == b'\n')
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    // A new line counts as the beginning of the next one.
    let at = line_start.saturating_add(error.column()).saturating_sub(1);
    let letter = body.get(at).copied().unwrap_or(b' ');
    let text = error.to_string();
    let place = [
        ("trailing characters", "after top-level value"),
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("expected `:`", "after object key"),
        ("key must be a string", "looking for beginning of object key string"),
        ("expected value", "looking for beginning of value"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
    ];
    let trailing = if letter == b'}' {
        "looking for beginning of object key string"
    } else {
        "looking for beginning of value"
    };
    let words = if text.starts_with("trailing comma") {
        Some(trailing)
    } else {
        place.iter().find(|(own, _)| text.starts_with(own)).map(|(_, words)| *words)
    };
    match words {
        Some(words) => format!("invalid character {} {words}", quote_letter(letter)),
        None => text,
    }
}

/// A byte as Go's scanner quotes it.
fn quote_letter(letter: u8) -> String {
    match letter {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        low if low < 0x20 || low == 0x7f => format!("'\\x{low:02x}'"),
        other => format!("'{}'", char::from(other)),
    }
}

/// The beginning of a body, for a refusal: as it is if it looks like JSON, else in hexadecimal.
pub fn summary(body: &[u8]) -> String {
    let quoted = body.get(..QUOTED).unwrap_or(body);
    let more = if body.len() > QUOTED { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(quoted)),
        Some(_) => format!("{}{more}", quoted.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    }
}

#[cfg(test)]
mod tests;
