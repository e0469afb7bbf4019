//! Reads a spec where no API server stands before it: a field that is not known is an error, as with `kubectl apply`.

use serde_json::Value;

use super::report::{Path, Report};
use super::{FieldError, check_spec};
use crate::EdgeAppSpec;

/// Why a manifest is not a spec.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A type is wrong, or a field that must be given is not there.
    #[error("the spec cannot be read: {0}")]
    Shape(#[source] serde_json::Error),
    /// Fields that are not known, or values that cannot be.
    #[error("the spec is not valid: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Fields(Vec<FieldError>),
}

/// The checked spec of an object's `spec`, with every field that it has.
pub fn read_spec(spec: Value) -> Result<EdgeAppSpec, ReadError> {
    let read: EdgeAppSpec = serde_json::from_value(spec.clone()).map_err(ReadError::Shape)?;
    let understood = serde_json::to_value(&read).map_err(ReadError::Shape)?;
    let mut report = Report::default();
    unknown(&spec, &understood, &Path::root("spec"), &mut report);
    report.into_result().map_err(ReadError::Fields)?;
    check_spec(&read).map_err(ReadError::Fields)?;
    Ok(read)
}

/// What was written and is not in what was understood. Nothing is missing when nothing was said: null, an empty list or map.
fn unknown(written: &Value, understood: &Value, path: &Path, report: &mut Report) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (key, value) in written {
                let path = path.field(key);
                match understood.get(key) {
                    Some(understood) => unknown(value, understood, &path, report),
                    None => report.require(
                        says_nothing(value),
                        &path,
                        "unknown field: Skerry does not support it, see docs/podspec.md",
                    ),
                }
            }
        }
        (Value::Array(written), Value::Array(understood)) => {
            for (i, (written, understood)) in written.iter().zip(understood).enumerate() {
                unknown(written, understood, &path.index(i), report);
            }
        }
        // A value: what it means is the business of its type.
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _)
        | (Value::Object(_) | Value::Array(_), _) => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
