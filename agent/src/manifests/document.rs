//! From the text of a manifest to its documents: YAML or JSON, read as strictly as an API server reads it. What is in a document is for
//! `object` to say.

use serde::Deserialize as _;
use serde::de::DeserializeSeed as _;
use serde_json::{Map, Value};
use skerry_terms::strict::{Place, Strict};

use super::ManifestError;

/// The largest manifest: far above what a person writes, and what a payload can hold with its Secrets in base64.
pub const TEXT_MAX: usize = 4 << 20;
/// Documents of one manifest.
const DOCUMENTS_MAX: usize = 1024;
/// Values, and bytes of text, that aliases may add to those that the text itself can spell: enough for anchors that a person writes.
const ALIASED_VALUES: usize = 100_000;
/// Brackets that may stand open. The parser looks at all of them with each word, and nothing deeper is taken anyway.
const OPEN_MAX: usize = 128;
/// Paths that a message names.
const NAMED_MAX: usize = 5;

/// An object, and the number of its document for messages, from 1.
pub(super) type Numbered = (usize, Map<String, Value>);

/// The objects of a manifest. Empty documents are left out, the items of a
/// `List` are taken out of it.
pub(super) fn documents(text: &str) -> Result<Vec<Numbered>, ManifestError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let wrong = |document: usize, why: String| ManifestError::Document { document, why };
    if text.len() > TEXT_MAX {
        return Err(wrong(1, format!("the manifest has {} bytes, at most {TEXT_MAX} are read", text.len())));
    }
    if most_open(text) > OPEN_MAX {
        return Err(wrong(1, format!("more than {OPEN_MAX} brackets stand open")));
    }
    let mut strict = Strict::new(text.len().saturating_mul(2).saturating_add(ALIASED_VALUES));
    let mut objects = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let number = index + 1;
        if number > DOCUMENTS_MAX {
            return Err(wrong(number, format!("at most {DOCUMENTS_MAX} documents are read")));
        }
        let value = Place::root(&mut strict).deserialize(document).map_err(|error| {
            let text = error.to_string();
            let aliases = text.contains("repetition limit") || strict.is_exhausted();
            wrong(number, if aliases { "it repeats too much by aliases".to_owned() } else { text })
        })?;
        if !strict.duplicates.is_empty() {
            strict.duplicates.truncate(NAMED_MAX);
            return Err(wrong(number, format!("given twice: {}", strict.duplicates.join(", "))));
        }
        match value {
            Value::Null => {}
            Value::Object(mut object) if object.get("kind").and_then(Value::as_str) == Some("List") => {
                let items = object.remove("items").unwrap_or_default();
                let items = Vec::<Map<String, Value>>::deserialize(items)
                    .map_err(|error| wrong(number, format!("items: {error}")))?;
                objects.extend(items.into_iter().map(|item| (number, item)));
            }
            Value::Object(object) => objects.push((number, object)),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(wrong(
                    number,
                    "it is no object; a manifest begins with apiVersion and kind".to_owned(),
                ));
            }
        }
    }
    Ok(objects)
}

/// Brackets that stand open at once, those in strings included: to tell them apart takes a parser.
fn most_open(text: &str) -> usize {
    let mut most = 0;
    text.bytes().fold(0_usize, |open, byte| {
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
