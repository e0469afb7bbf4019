//! How the fields of messages are written as JSON where serde does not know it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::Value;

/// Entries of a list of messages. An entry takes two bytes of a body and a kilobyte of memory, and no object has as many.
const MAX_ENTRIES: usize = 10_000;
/// Levels of JSON within a message. serde_json reads 127, and the object around it, its list or its event must leave room.
const MAX_LEVELS: usize = 120;

/// A number that `omitempty` leaves out.
pub fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

/// A list of messages, which are kept as bytes until their number is known to be sane.
pub fn entries<M: Message + Default + Serialize, S: Serializer>(
    list: &[Vec<u8>],
    out: S,
) -> Result<S::Ok, S::Error> {
    if list.len() > MAX_ENTRIES {
        return Err(S::Error::custom(format_args!("a list has more than {MAX_ENTRIES} entries")));
    }
    let read =
        |entry: &Vec<u8>| M::decode(entry.as_slice()).map_err(|error| S::Error::custom(super::words(&error)));
    let list = list.iter().map(read).collect::<Result<Vec<M>, _>>()?;
    list.serialize(out)
}

/// `[]byte`.
pub fn base64<S: Serializer>(bytes: &Option<Vec<u8>>, out: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(out)
}

/// `map[string][]byte`.
pub fn base64_map<S: Serializer>(map: &BTreeMap<String, Vec<u8>>, out: S) -> Result<S::Ok, S::Error> {
    out.collect_map(map.iter().map(|(name, bytes)| (name, STANDARD.encode(bytes))))
}

/// `runtime.RawExtension` and `FieldsV1`: JSON within a message.
#[derive(Clone, PartialEq, Message)]
pub struct RawJson {
    #[prost(bytes = "vec", tag = "1")]
    raw: Vec<u8>,
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        if self.raw.is_empty() {
            return out.serialize_none();
        }
        let value = serde_json::from_slice(&self.raw).map_err(S::Error::custom)?;
        if !is_within(&value, MAX_LEVELS) {
            return Err(S::Error::custom("exceeded max depth"));
        }
        value.serialize(out)
    }
}

fn is_within(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| is_within(item, below)),
        Value::Object(fields) => fields.values().all(|field| is_within(field, below)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}
