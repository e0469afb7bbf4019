//! One step of a field's path, with the order that field sets are kept and written in, and its two spellings: that of `fieldsV1`
//! (`f:name`, `k:{"name":"web"}`) and that of messages (`.name`, `[name="web"]`).

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Number, Value};

use super::go;

/// One step. The variants stand in the order in which real API servers sort them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    /// A field of an object.
    Field(String),
    /// An item of a list that is told apart by keys: their names and values, sorted by name.
    Key(Vec<(String, Ordered)>),
    /// An item of a set.
    Item(Ordered),
    /// An item of a list by its place. Nothing here makes one; entries that clients send may.
    Index(i64),
}

impl Element {
    pub(super) fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// The key of the map in `fieldsV1`.
    pub(super) fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields = fields.iter().map(|(name, value)| {
                    format!("{}:{}", go::json(&Value::String(name.clone())), go::json(&value.0))
                });
                format!("k:{{{}}}", fields.collect::<Vec<_>>().join(","))
            }
            Self::Item(value) => format!("v:{}", go::json(&value.0)),
            Self::Index(place) => format!("i:{place}"),
        }
    }

    /// Reads what `encode` writes. None within: a kind of step that is not known, to be left out.
    pub(super) fn decode(text: &str) -> Result<Option<Self>, BadElement> {
        let bad = || BadElement(text.to_owned());
        let ([kind, b':', ..], Some(rest)) = (text.as_bytes(), text.get(2..)) else { return Err(bad()) };
        let element = match kind {
            b'f' => Self::field(rest),
            b'v' => Self::Item(Ordered(serde_json::from_str(rest).map_err(|_| bad())?)),
            b'i' => Self::Index(rest.parse().map_err(|_| bad())?),
            b'k' => {
                let fields: serde_json::Map<_, _> = serde_json::from_str(rest).map_err(|_| bad())?;
                Self::Key(fields.into_iter().map(|(name, value)| (name, Ordered(value))).collect())
            }
            _ => return Ok(None),
        };
        Ok(Some(element))
    }
}

/// A key of `fieldsV1` that says nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no field, key, value or index")]
pub(super) struct BadElement(String);

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields = fields.iter().map(|(name, value)| format!("{name}={}", go::plain(&value.0)));
                write!(f, "[{}]", fields.collect::<Vec<_>>().join(","))
            }
            Self::Item(value) => write!(f, "[={}]", go::plain(&value.0)),
            Self::Index(place) => write!(f, "[{place}]"),
        }
    }
}

/// A path as messages write it.
pub(super) fn display(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// A value with a total order: numbers, strings, booleans, lists, objects, null. 1 and 1.0 are equal.
#[derive(Debug, Clone)]
pub(super) struct Ordered(pub(super) Value);

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Array(left), Value::Array(right)) => {
            let unequal =
                left.iter().zip(right).map(|(left, right)| compare(left, right)).find(|order| order.is_ne());
            unequal.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        (Value::Object(left), Value::Object(right)) => {
            let unequal = left.iter().zip(right).map(|((name, value), (other_name, other))| {
                name.cmp(other_name).then_with(|| compare(value, other))
            });
            let unequal = unequal.into_iter().find(|order| order.is_ne());
            unequal.unwrap_or_else(|| left.len().cmp(&right.len()))
        }
        _ => rank(left).cmp(&rank(right)),
    }
}

fn compare_numbers(left: &Number, right: &Number) -> Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        // JSON has no NaN, and what does not fit 64 bits is a float there as here.
        _ => left.as_f64().unwrap_or(0.0).total_cmp(&right.as_f64().unwrap_or(0.0)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    }
}

/// Equal in the sense of server-side apply: 1 is 1.0.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    compare(left, right) == Ordering::Equal
}
