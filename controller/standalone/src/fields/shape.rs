//! What server-side apply wants to know of a schema: what may stand at a place, and whether it has one owner or many.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::go;
use super::path::{Element, Ordered};
use crate::schema::{Kind, ListType, Schema};

/// The type at one place of an object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape<'a> {
    /// As the schema says. `open`: a schema above keeps unknown fields, and so do all below it.
    Known { schema: &'a Schema, open: bool },
    /// The schema says nothing: each field of an object has its owners, a list has one.
    Deduced,
    /// The schema says nothing and there is one owner for all of it.
    Opaque,
}

/// The type once it is known what stands there.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form<'a> {
    Map(MapForm<'a>),
    Scalar(Scalar),
    List(ListForm<'a>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct MapForm<'a> {
    fields: Option<&'a BTreeMap<String, Arc<Schema>>>,
    open: bool,
    /// The type of the fields without a name; None: there are none.
    rest: Option<Rest<'a>>,
    pub(super) atomic: bool,
}

#[derive(Debug, Clone, Copy)]
enum Rest<'a> {
    Known(&'a Schema),
    Deduced,
    Opaque,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct ListForm<'a> {
    pub(super) atomic: bool,
    /// Empty: a set, unless the list is atomic.
    keys: &'a [String],
    pub(super) items: Shape<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Numeric,
    String,
    Boolean,
    Any,
}

impl<'a> Shape<'a> {
    pub(super) fn of(schema: &'a Schema) -> Self {
        Self::below(schema, false)
    }

    fn below(schema: &'a Schema, open: bool) -> Self {
        // RawExtension: a built-in object of which nothing is said.
        let opaque = schema.kind == Kind::Object
            && schema.preserve_unknown
            && schema.properties.is_empty()
            && schema.additional.is_none()
            && !flagged_open(schema);
        if opaque { Self::Opaque } else { Self::Known { schema, open: open || flagged_open(schema) } }
    }

    pub(super) fn scalar(self) -> Option<Scalar> {
        let Self::Known { schema, .. } = self else { return Some(Scalar::Any) };
        let format = schema.raw.get("format").and_then(Value::as_str).unwrap_or_default();
        match schema.kind {
            Kind::Object | Kind::Array => None,
            Kind::Integer | Kind::Number => Some(Scalar::Numeric),
            Kind::Boolean => Some(Scalar::Boolean),
            // Every other format is that of a type which has its own form in JSON: times above all.
            Kind::String if matches!(format, "" | "byte") => Some(Scalar::String),
            Kind::String | Kind::IntOrString | Kind::Any => Some(Scalar::Any),
        }
    }

    pub(super) fn map(self) -> Option<MapForm<'a>> {
        let (schema, open) = match self {
            Self::Known { schema, open } => (schema, open),
            Self::Deduced => {
                return Some(MapForm { fields: None, open: true, rest: Some(Rest::Deduced), atomic: false });
            }
            Self::Opaque => {
                return Some(MapForm { fields: None, open: true, rest: Some(Rest::Opaque), atomic: true });
            }
        };
        if !matches!(schema.kind, Kind::Object | Kind::Any) && !is_free(schema) {
            return None;
        }
        let rest = match &schema.additional {
            Some(additional) => Some(Rest::Known(additional)),
            None if open || schema.preserve_unknown || schema.properties.is_empty() => Some(Rest::Deduced),
            None => None,
        };
        Some(MapForm { fields: Some(&schema.properties), open, rest, atomic: schema.atomic_map })
    }

    pub(super) fn list(self) -> Option<ListForm<'a>> {
        let Self::Known { schema, open } = self else {
            return Some(ListForm { atomic: true, keys: &[], items: Shape::Opaque });
        };
        if !matches!(schema.kind, Kind::Array | Kind::Any) && !is_free(schema) {
            return None;
        }
        let items = schema.items.as_ref().map_or(Shape::Opaque, |items| Shape::below(items, open));
        // A built-in kind may say it in the way of strategic merge patches alone.
        let merged = schema.raw.get("x-kubernetes-list-type").is_none()
            && matches!(schema.patch_strategy.as_deref(), Some("merge" | "merge,retainKeys"));
        let (atomic, keys) = match (&schema.list, &schema.patch_merge_key) {
            (ListType::Map(keys), _) => (false, keys.as_slice()),
            (ListType::Set, _) => (false, [].as_slice()),
            (ListType::Atomic, Some(key)) if merged => (false, std::slice::from_ref(key)),
            (ListType::Atomic, _) => (!merged, [].as_slice()),
        };
        Some(ListForm { atomic, keys, items })
    }

    /// The form that fits the value; where none does, the first there is, and checking says what is wrong.
    pub(super) fn form(self, value: Option<&Value>) -> Form<'a> {
        let fitting = match value {
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => self.scalar().map(Form::Scalar),
            Some(Value::Array(_)) => self.list().map(Form::List),
            Some(Value::Object(_)) | Some(Value::Null) | None => None,
        };
        let first = || self.map().map(Form::Map).or_else(|| self.scalar().map(Form::Scalar));
        let form = fitting.or_else(first).or_else(|| self.list().map(Form::List));
        form.unwrap_or(Form::Scalar(Scalar::Any))
    }
}

/// Anything may stand there: a CRD's int-or-string says no type either, and its validation refuses what is neither.
fn is_free(schema: &Schema) -> bool {
    schema.kind == Kind::IntOrString && schema.raw.get("type").is_none()
}

fn flagged_open(schema: &Schema) -> bool {
    schema.raw.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool) == Some(true)
}

impl<'a> MapForm<'a> {
    /// The schema knows the field by name.
    pub(super) fn names(&self, name: &str) -> bool {
        self.fields.is_some_and(|fields| fields.contains_key(name))
    }

    /// The type of the field. None: it is unknown.
    pub(super) fn child(&self, name: &str) -> Option<Shape<'a>> {
        if let Some(schema) = self.fields.and_then(|fields| fields.get(name)) {
            return Some(Shape::below(schema, self.open));
        }
        self.rest.map(|rest| match rest {
            Rest::Known(schema) => Shape::below(schema, self.open),
            Rest::Deduced => Shape::Deduced,
            Rest::Opaque => Shape::Opaque,
        })
    }

    /// Nothing is said of what stands in it.
    pub(super) fn is_deduced(&self) -> bool {
        matches!(self.rest, Some(Rest::Deduced)) && self.fields.is_none_or(BTreeMap::is_empty)
    }
}

impl ListForm<'_> {
    /// How an item is told apart from the others of a list that is a set or a map.
    pub(super) fn element(&self, item: &Value) -> Result<Element, String> {
        if self.keys.is_empty() {
            return match item {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".to_owned())
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    Ok(Element::Item(Ordered(item.clone())))
                }
            };
        }
        let fields = match item {
            Value::Object(fields) => fields,
            Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err("associative list with keys may not have non-map elements".to_owned());
            }
        };
        let default = |key: &str| match self.items {
            Shape::Known { schema, .. } => {
                schema.properties.get(key).and_then(|field| field.default.as_ref())
            }
            Shape::Deduced | Shape::Opaque => None,
        };
        let values = self.keys.iter().filter_map(|key| {
            let value = fields.get(key).or_else(|| default(key))?;
            Some((key.clone(), Ordered(value.clone())))
        });
        let mut values: Vec<_> = values.collect();
        if values.is_empty() {
            let keys = self.keys.iter().map(|key| go::quote(key)).collect::<Vec<_>>().join(" ");
            return Err(format!(
                "associative list with keys has an element that omits all key fields [{keys}] \
                 (and doesn't have default values for any key fields)"
            ));
        }
        values.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(Element::Key(values))
    }
}
