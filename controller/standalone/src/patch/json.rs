//! JSON patch as the real server does it. The json-patch crate keeps to RFC 6902; the real one (evanphx/json-patch 4) does not:
//! `replace` makes a field that was not there, `copy` and `test` take an absent field for null, list indices count from the end
//! when they are negative, and the first part of a path is not looked at. Clients meet those, so the operations are our own.

use serde_json::{Map, Value};

use crate::status::ApiError;

use super::inapplicable;
use crate::decode::go_kind;

/// The most operations in one patch, as in the real server.
const MAX_OPERATIONS: usize = 10_000;
/// How much JSON the copies of one patch may add, as in the real server: else a few of them double an object into gigabytes.
const MAX_COPIED: usize = 3 * 1024 * 1024;
/// The deepest object that may come out: as deep as the JSON that is read, since objects are walked recursively.
const MAX_DEPTH: usize = 127;
/// How many values may be walked to know their depth: some times what the largest request and the largest object hold.
const MAX_WALKED: usize = 8 * 1024 * 1024;

/// Why an operation cannot be done; nobody is told more.
struct Refused;

pub fn apply(live: &Value, patch: &Value) -> Result<Value, ApiError> {
    let operations = match patch {
        Value::Array(operations) => operations.as_slice(),
        Value::Null => &[],
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            return Err(undecodable(format!(
                "{} into Go value of type []handlers.jsonPatchOp",
                go_kind(other)
            )));
        }
    };
    operations.iter().try_for_each(check)?;
    if operations.len() > MAX_OPERATIONS {
        let count = operations.len();
        let text = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        );
        return Err(ApiError::new(413, "RequestEntityTooLarge", text));
    }
    let mut document = Document { root: live.clone(), copied: 0, walked: 0 };
    for operation in operations {
        document.run(operation).map_err(|Refused| inapplicable())?;
    }
    Ok(document.root)
}

fn check(operation: &Value) -> Result<(), ApiError> {
    let fields = match operation {
        Value::Object(fields) => fields,
        Value::Null => return Ok(()),
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            return Err(undecodable(format!(
                "{} into Go value of type handlers.jsonPatchOp",
                go_kind(other)
            )));
        }
    };
    for name in ["from", "op", "path"] {
        if let Some(value) = fields.get(name)
            && !value.is_string()
            && !value.is_null()
        {
            let kind = go_kind(value);
            return Err(undecodable(format!(
                "{kind} into Go struct field jsonPatchOp.{name} of type string"
            )));
        }
    }
    Ok(())
}

fn undecodable(fault: String) -> ApiError {
    ApiError::bad_request(format!("error decoding patch: json: cannot unmarshal {fault}"))
}

struct Document {
    root: Value,
    copied: usize,
    walked: usize,
}

impl Document {
    fn run(&mut self, operation: &Value) -> Result<(), Refused> {
        let text = |name: &str| operation.get(name).and_then(Value::as_str).ok_or(Refused);
        let value = operation.get("value");
        match text("op")? {
            "add" => self.add(text("path")?, value.cloned().unwrap_or_default()),
            "remove" => {
                let (parent, key) = self.find(text("path")?)?;
                remove(parent, &key).map(drop)
            }
            "replace" => self.replace(text("path")?, value.cloned().unwrap_or_default()),
            "move" => {
                let (parent, key) = self.find(text("from")?)?;
                let moved = remove(parent, &key)?;
                self.add(text("path")?, moved)
            }
            "copy" => {
                let (parent, key) = self.find(text("from")?)?;
                let copy = get(parent, &key)?.cloned().unwrap_or_default();
                self.copied = self.copied.saturating_add(copy.to_string().len());
                if self.copied > MAX_COPIED {
                    return Err(Refused);
                }
                self.add(text("path")?, copy)
            }
            "test" => {
                let path = text("path")?;
                let expected = value.unwrap_or(&Value::Null);
                let found = if path.is_empty() {
                    &self.root
                } else {
                    let (parent, key) = self.find(path)?;
                    get(parent, &key)?.unwrap_or(&Value::Null)
                };
                if found == expected { Ok(()) } else { Err(Refused) }
            }
            _ => Err(Refused),
        }
    }

    /// The object or list that holds what the path names, and the last part of the path.
    fn find(&mut self, path: &str) -> Result<(&mut Value, String), Refused> {
        let mut parts = path.split('/').skip(1).map(unescape);
        let mut key = parts.next().ok_or(Refused)?;
        let mut at = &mut self.root;
        for next in parts {
            at = match at {
                Value::Object(fields) => fields.get_mut(&key).ok_or(Refused)?,
                Value::Array(items) => {
                    let index = index(&key, items.len())?;
                    items.get_mut(index).ok_or(Refused)?
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(Refused),
            };
            key = next;
        }
        if at.is_object() || at.is_array() { Ok((at, key)) } else { Err(Refused) }
    }

    fn add(&mut self, path: &str, value: Value) -> Result<(), Refused> {
        self.measure(path, &value)?;
        let (parent, key) = self.find(path)?;
        if let Value::Array(items) = parent {
            // One more place than there are items: behind the last.
            let index = if key == "-" { items.len() } else { index(&key, items.len() + 1)? };
            items.insert(index, value);
        } else {
            fields(parent)?.insert(key, value);
        }
        Ok(())
    }

    fn replace(&mut self, path: &str, value: Value) -> Result<(), Refused> {
        self.measure(path, &value)?;
        if path.is_empty() {
            if !value.is_object() && !value.is_array() {
                return Err(Refused);
            }
            self.root = value;
            return Ok(());
        }
        let (parent, key) = self.find(path)?;
        if let Value::Array(items) = parent {
            let index = index(&key, items.len())?;
            *items.get_mut(index).ok_or(Refused)? = value;
        } else {
            fields(parent)?.insert(key, value);
        }
        Ok(())
    }

    /// Refuses a value that would make the document too deep at that path.
    fn measure(&mut self, path: &str, value: &Value) -> Result<(), Refused> {
        let above = path.matches('/').count();
        let depth = depth(value, &mut self.walked);
        if self.walked > MAX_WALKED || above.saturating_add(depth) > MAX_DEPTH {
            Err(Refused)
        } else {
            Ok(())
        }
    }
}

/// How many objects and lists contain each other. Recursion is bounded: every value here is at most `MAX_DEPTH` deep already.
fn depth(value: &Value, walked: &mut usize) -> usize {
    *walked = walked.saturating_add(1);
    let deepest = match value {
        Value::Object(fields) => fields.values().map(|value| depth(value, walked)).max(),
        Value::Array(items) => items.iter().map(|value| depth(value, walked)).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    deepest.unwrap_or(0).saturating_add(1)
}

fn fields(value: &mut Value) -> Result<&mut Map<String, Value>, Refused> {
    value.as_object_mut().ok_or(Refused)
}

/// What is there; an object answers None for a field that is not.
fn get<'a>(parent: &'a Value, key: &str) -> Result<Option<&'a Value>, Refused> {
    let Value::Array(items) = parent else { return Ok(parent.get(key)) };
    items.get(index(key, items.len())?).map(Some).ok_or(Refused)
}

fn remove(parent: &mut Value, key: &str) -> Result<Value, Refused> {
    let Value::Array(items) = parent else { return fields(parent)?.remove(key).ok_or(Refused) };
    let index = index(key, items.len())?;
    Ok(items.remove(index))
}

/// The place of an index among `places`; negative ones count from behind.
fn index(key: &str, places: usize) -> Result<usize, Refused> {
    let number: i64 = key.parse().map_err(|_| Refused)?;
    let places = i64::try_from(places).map_err(|_| Refused)?;
    let at = if number < 0 { number.checked_add(places).ok_or(Refused)? } else { number };
    if (0..places).contains(&at) { usize::try_from(at).map_err(|_| Refused) } else { Err(Refused) }
}

/// `~1` is a slash, `~0` a tilde.
fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}
