//! `metadata.managedFields`: who owns what, read from an object and written back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::{BadFields, FieldSet};

/// Update entries that are kept apart; the oldest beyond it become one. The number of the real API server.
const MAX_UPDATERS: usize = 10;

/// Who owns what the oldest updaters did.
const ANCIENT: &str = "ancient-changes";

/// The entries of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Managed(pub(super) BTreeMap<Owner, Owned>);

/// By what entries are told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) operation: Operation,
    /// Empty for an apply, whose entry stays the same when it is written in another version.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub(super) fields: FieldSet,
    /// The version in which the fields are named.
    pub(super) api_version: String,
    /// When the fields or their values were last changed by this owner. Absent when an apply has found all as it wanted.
    pub(super) time: Option<Timestamp>,
}

/// Entries that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadEntries {
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    NoVersion,
    #[error("missing or invalid fieldsType in managed fields entry {0}")]
    FieldsType(usize),
    #[error("error decoding set: {0}")]
    Fields(#[from] BadFields),
    #[error("an entry has a field of a wrong type")]
    Type,
}

impl Owner {
    /// As a real API server writes it to tell entries apart, and sorts by it where it sorts owners.
    pub(super) fn identifier(&self) -> String {
        let operation = self.operation.as_str();
        let parts = [
            ("manager", self.name.as_str()),
            ("operation", operation),
            ("apiVersion", &self.api_version),
            ("subresource", &self.subresource),
        ];
        let parts = parts.iter().filter(|(_, value)| !value.is_empty());
        let parts: Vec<String> = parts.map(|(name, value)| format!("\"{name}\":{}", json!(value))).collect();
        format!("{{{}}}", parts.join(","))
    }
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

impl Managed {
    /// Reads the list as it stands in an object. Null and an empty list hold nothing.
    pub(super) fn decode(list: Option<&Value>) -> Result<Self, BadEntries> {
        let entries: &[Value] = match list {
            None | Some(Value::Null) => &[],
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(BadEntries::Type),
        };
        let mut managed = BTreeMap::new();
        for (place, entry) in entries.iter().enumerate() {
            let entry = entry.as_object().ok_or(BadEntries::Type)?;
            let (owner, owned) = decode_entry(entry, place)?;
            managed.insert(owner, owned);
        }
        Ok(Self(managed))
    }

    /// The list, sorted. None: nobody owns anything.
    pub(super) fn encode(&self) -> Option<Value> {
        let mut entries: Vec<(&Owner, &Owned)> = self.0.iter().collect();
        entries.sort_by(|(owner, owned), (other, others)| {
            let key = |owner: &Owner, owned: &Owned| (owner.operation, seconds(owned));
            key(owner, owned)
                .cmp(&key(other, others))
                .then_with(|| owner.name.cmp(&other.name))
                .then_with(|| owned.api_version.cmp(&others.api_version))
                .then_with(|| owner.subresource.cmp(&other.subresource))
        });
        let list: Vec<Value> = entries.into_iter().map(|(owner, owned)| encode_entry(owner, owned)).collect();
        (!list.is_empty()).then_some(Value::Array(list))
    }

    /// Takes the oldest updates together until they are few enough.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(i64, String, Owner)> = self
            .0
            .iter()
            .filter(|(owner, _)| owner.operation == Operation::Update)
            .map(|(owner, owned)| (seconds(owned), owner.identifier(), owner.clone()))
            .collect();
        updaters.sort();
        let mut many = updaters.len();
        let mut firsts: BTreeMap<String, Owner> = BTreeMap::new();
        for (_, _, owner) in updaters {
            if many <= MAX_UPDATERS {
                return;
            }
            let Some(version) = self.0.get(&owner).map(|owned| owned.api_version.clone()) else { continue };
            let bucket = Owner {
                name: ANCIENT.to_owned(),
                operation: Operation::Update,
                api_version: version.clone(),
                subresource: String::new(),
            };
            let Some(first) = firsts.get(&version) else {
                firsts.insert(version, owner);
                continue;
            };
            let Some(mut ancient) = self.0.remove(&bucket).or_else(|| self.0.remove(first)) else { continue };
            if let Some(owned) = self.0.remove(&owner) {
                ancient.fields.unite(owned.fields);
                ancient.time = owned.time;
            }
            self.0.insert(bucket, ancient);
            many -= 1;
        }
    }
}

fn seconds(owned: &Owned) -> i64 {
    owned.time.map_or(0, Timestamp::as_second)
}

fn decode_entry(entry: &Map<String, Value>, place: usize) -> Result<(Owner, Owned), BadEntries> {
    let text = |name: &str| match entry.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(BadEntries::Type),
    };
    let time = match text("time")? {
        "" => None,
        time => Some(time.parse().map_err(|_| BadEntries::Type)?),
    };
    let operation = match text("operation")? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return Err(BadEntries::Operation),
    };
    let api_version = text("apiVersion")?.to_owned();
    if api_version.is_empty() {
        return Err(BadEntries::NoVersion);
    }
    if text("fieldsType")? != "FieldsV1" {
        return Err(BadEntries::FieldsType(place));
    }
    let fields = match entry.get("fieldsV1") {
        None | Some(Value::Null) => FieldSet::default(),
        Some(fields) => FieldSet::decode(fields)?,
    };
    let owner = Owner {
        name: text("manager")?.to_owned(),
        operation,
        api_version: if operation == Operation::Update { api_version.clone() } else { String::new() },
        subresource: text("subresource")?.to_owned(),
    };
    Ok((owner, Owned { fields, api_version, time }))
}

fn encode_entry(owner: &Owner, owned: &Owned) -> Value {
    let mut entry = json!({
        "operation": owner.operation.as_str(),
        "apiVersion": owned.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.fields.encode(),
    });
    if !owner.name.is_empty() {
        entry["manager"] = json!(owner.name);
    }
    if !owner.subresource.is_empty() {
        entry["subresource"] = json!(owner.subresource);
    }
    if let Some(time) = owned.time.and_then(|time| Timestamp::from_second(time.as_second()).ok()) {
        entry["time"] = json!(time.to_string());
    }
    entry
}
