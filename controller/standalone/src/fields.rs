//! Server-side apply: who owns which field of an object, and how an applied object is merged into the stored one. Knows neither
//! the store nor HTTP; `write` calls it for each write. Follows `structured-merge-diff` and `managedfields` of Kubernetes to the
//! letter, since clients read what it leaves in `metadata.managedFields`.

mod check;
mod collect;
mod compare;
mod conflict;
mod go;
mod last_applied;
mod managed;
mod merge;
mod path;
mod remove;
mod set;
mod shape;
#[cfg(test)]
mod tests;
mod update;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub use conflict::{ApplyError, Conflict};
use managed::{Managed, Operation, Owner};
use set::FieldSet;
use shape::Shape;
use update::Rules;

use crate::resource::{Origin, Resource};
use crate::schema::{Kind, Schema};

/// Who owns what an object held before anybody owned anything in it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields by their names from the root: `["status", "conditions"]`.
pub type Paths = &'static [&'static [&'static str]];

/// Who writes, and in which way.
#[derive(Debug, Clone, Copy)]
pub struct Manager<'a> {
    /// `fieldManager` of the request, else the first part of its User-Agent.
    pub name: &'a str,
    /// `skerry.dev/v1alpha1`, or `v1`.
    pub api_version: &'a str,
    /// Empty: the object itself.
    pub subresource: &'a str,
    /// Fields that this request cannot change and so never owns: see [`reset_fields`].
    pub reset: Paths,
    /// Where the kind comes from: the structs of a built-in kind are there even when they are empty.
    pub origin: Origin,
}

impl<'a> Manager<'a> {
    /// A manager that writes to an object of `resource`.
    pub fn of(resource: &Resource, api_version: &'a str, subresource: &'a str, name: &'a str) -> Self {
        Self {
            name,
            api_version,
            subresource,
            reset: reset_fields(resource, subresource),
            origin: resource.origin,
        }
    }

    fn owner(&self, operation: Operation) -> Owner {
        Owner::of(self.name, operation, self.api_version, self.subresource)
    }
}

/// The fields that a write to the object (or to its subresource) leaves as they are.
pub fn reset_fields(resource: &Resource, subresource: &str) -> Paths {
    let kind = match resource.origin {
        Origin::Custom => "",
        Origin::BuiltIn => resource.plural.as_str(),
    };
    match (kind, subresource) {
        ("", "status") => &[&["metadata"], &["spec"]],
        ("", _) if resource.has("status") => &[&["status"]],
        ("namespaces", "status") => &[&["spec"]],
        ("namespaces", _) => &[&["status"]],
        ("certificatesigningrequests", "status") => &[&["spec"], &["status", "conditions"]],
        ("certificatesigningrequests", "approval") => &[&["spec"], &["status", "certificate"]],
        ("certificatesigningrequests", _) => &[&["spec"], &["status"]],
        _ => &[],
    }
}

/// Merges `applied`, a manager's whole intent as it was sent (neither defaulted nor pruned), into the stored object; with `live`
/// None the object is made. The answer has its managedFields and is to be defaulted and validated; a field that nobody owns any
/// more may be null in it.
pub fn apply(
    schema: &Schema,
    live: Option<&Value>,
    applied: &Value,
    manager: &Manager<'_>,
    force: bool,
    now: &str,
) -> Result<Value, ApplyError> {
    if managed_fields(applied).is_some_and(Value::is_array) {
        return Err(ApplyError::ManagedFields);
    }
    let reset = FieldSet::of_names(manager.reset);
    let rules = Rules { shape: Shape::of(schema), api_version: manager.api_version, reset: &reset };
    let time: Option<Timestamp> = now.parse().ok();
    let decoded = Managed::decode(live.and_then(managed_fields));
    let mut managed = decoded.map_err(|error| ApplyError::Undecodable(error.to_string()))?;
    let nothing = nothing(applied);
    let mut live = live.unwrap_or(&nothing).clone();
    set_managed_fields(&mut live, None);
    if managed.0.is_empty() && live != nothing {
        let former = Manager { name: BEFORE_FIRST_APPLY, ..*manager };
        rules.update(
            &zero(schema, &live, manager),
            &live,
            &mut managed,
            former.owner(Operation::Update),
            time,
        );
        managed.cap();
    }
    if let Some(why) = check::misfits(rules.shape, applied) {
        return Err(ApplyError::Untyped(why));
    }

    let owner = manager.owner(Operation::Apply);
    let before = managed.clone();
    let merged = rules.apply(&live, applied, &mut managed, &owner, force).or_else(|mut clashes| {
        let theirs =
            (manager.name == last_applied::KUBECTL).then(|| last_applied::fields(rules, &live)).flatten();
        if let Some(theirs) = theirs {
            let paths = FieldSet::of_paths(clashes.iter().map(|clash| clash.path.as_slice()));
            clashes.retain(|clash| !theirs.has(&clash.path));
            let mut others = paths;
            others.subtract(&theirs);
            if others.is_empty() {
                managed = before;
                return rules.apply(&live, applied, &mut managed, &owner, true);
            }
        }
        Err(clashes)
    });
    let merged =
        merged.map_err(|clashes| ApplyError::Conflicts(clashes.iter().map(Conflict::of).collect()))?;
    let mut object = match merged {
        None => live,
        Some(merged) => {
            if let Some(owned) = managed.0.get_mut(&owner) {
                owned.time = time;
            }
            merged
        }
    };
    if manager.name == last_applied::KUBECTL {
        last_applied::refresh(&mut object, applied);
    }
    set_managed_fields(&mut object, managed.encode());
    Ok(object)
}

/// Works out `metadata.managedFields` of `new` after a create (`live` None), an update or a patch. `new` is decoded and defaulted;
/// what it holds as managedFields counts as what the client sent.
pub fn track(schema: &Schema, live: Option<&Value>, new: &mut Value, manager: &Manager<'_>, now: &str) {
    let mut managed = sent_or_live(live, new, manager);
    set_managed_fields(new, None);
    // An object that nobody owns anything in, by a reset or from older days, stays so until somebody applies.
    if managed.0.is_empty() && live.is_some() {
        return;
    }
    let reset = FieldSet::of_names(manager.reset);
    let rules = Rules { shape: Shape::of(schema), api_version: manager.api_version, reset: &reset };
    let owner = manager.owner(Operation::Update);
    let old = live.map_or_else(
        || zero(schema, new, manager),
        |live| {
            let mut live = live.clone();
            set_managed_fields(&mut live, None);
            live
        },
    );
    rules.update(&old, new, &mut managed, owner, now.parse().ok());
    managed.cap();
    set_managed_fields(new, managed.encode());
}

/// The two are one object but for the times in their managedFields (and the resourceVersion): nothing is to be stored.
pub fn same_but_for_times(new: &Value, live: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
            for entry in metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten()
            {
                if let Some(entry) = entry.as_object_mut() {
                    entry.remove("time");
                }
            }
        }
        object
    };
    bare(new) == bare(live)
}

/// The entries that a write starts from: those it sends, unless it sends none that can be read or has no say in them.
fn sent_or_live(live: Option<&Value>, new: &Value, manager: &Manager<'_>) -> Managed {
    let from_live = || Managed::decode(live.and_then(managed_fields)).unwrap_or_default();
    let sent = managed_fields(new);
    let is_reset = match sent.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([entry]) => entry.as_object().is_some_and(|entry| entry.values().all(is_blank)),
        Some(_) | None => false,
    };
    if !manager.subresource.is_empty() {
        from_live()
    } else if is_reset {
        Managed::default()
    } else {
        Managed::decode(sent).ok().filter(|managed| !managed.0.is_empty()).unwrap_or_else(from_live)
    }
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value == ""
}

/// What is there before an object is made.
fn nothing(object: &Value) -> Value {
    let mut nothing = Map::new();
    for name in ["apiVersion", "kind"] {
        if let Some(value) = object.get(name) {
            nothing.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(nothing)
}

/// The same with the structs of a built-in kind, which nobody owns for being there.
fn zero(schema: &Schema, object: &Value, manager: &Manager<'_>) -> Value {
    let mut zero = nothing(object);
    if manager.origin == Origin::BuiltIn
        && let (Some(zero), Some(structs)) = (zero.as_object_mut(), structs(schema).as_object())
    {
        zero.extend(structs.clone());
    }
    zero
}

/// The documents of built-in kinds give a default to each field that is always there: `{}` to a struct, none to a time, which
/// is null then.
fn structs(schema: &Schema) -> Value {
    let fields = schema.properties.iter().filter_map(|(name, field)| {
        let value = match &field.default {
            Some(Value::Object(_)) if field.kind == Kind::Object => structs(field),
            Some(default) => default.clone(),
            None if field.is_time() => Value::Null,
            None => return None,
        };
        Some((name.clone(), value))
    });
    fields.collect()
}

fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

fn set_managed_fields(object: &mut Value, list: Option<Value>) {
    let Some(object) = object.as_object_mut() else { return };
    match (object.get_mut("metadata").and_then(Value::as_object_mut), list) {
        (Some(metadata), Some(list)) => drop(metadata.insert("managedFields".to_owned(), list)),
        (Some(metadata), None) => drop(metadata.remove("managedFields")),
        (None, Some(list)) => drop(object.insert("metadata".to_owned(), json!({ "managedFields": list }))),
        (None, None) => {}
    }
}
