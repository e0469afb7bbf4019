//! Strategic merge patch: a merge patch that knows from the schema which lists are merged, by which key, and that takes
//! directives: `$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`. Follows
//! `k8s.io/apimachinery/pkg/util/strategicpatch`, its refusals included.

mod list;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::schema::{Kind, Schema};
use crate::status::ApiError;

use crate::decode::go_kind;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ELEMENT_ORDER: &str = "$setElementOrder";
const DELETE_LIST: &str = "$deleteFromPrimitiveList";

type Fields = Map<String, Value>;

pub fn apply(live: &Value, patch: Value, schema: &Schema) -> Result<Value, ApiError> {
    let patch = match patch {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            let kind = go_kind(&other);
            let fault =
                format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}");
            return Err(ApiError::bad_request(fault));
        }
    };
    let target = live.as_object().cloned().unwrap_or_default();
    let mut merged = merge_map(target, patch, Some(schema)).map_err(Refused::into_error)?;
    // The type of an object is not for a directive to drop.
    for name in ["apiVersion", "kind"] {
        if let (None, Some(value)) = (merged.get(name), live.get(name)) {
            merged.insert(name.to_owned(), value.clone());
        }
    }
    Ok(Value::Object(merged))
}

/// Why a patch cannot be applied.
enum Refused {
    /// The patch itself is not well-formed: 400.
    BadRequest(&'static str),
    /// 422, without a word to the client.
    Unprocessable,
    /// The real server answers 500 to these, and so do we: clients see the same.
    Failed(String),
}

impl Refused {
    fn into_error(self) -> ApiError {
        match self {
            Self::BadRequest(text) => ApiError::bad_request(text),
            Self::Unprocessable => super::inapplicable(),
            Self::Failed(text) => ApiError::new(500, "", text),
        }
    }

    fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    fn no_merge_key(item: &Fields, key: &str) -> Self {
        Self::Failed(format!("map: {} does not contain declared merge key: {key}", show_map(item)))
    }

    fn not_a(expected: &str, found: &Value) -> Self {
        Self::Failed(format!("expected a {expected}, but received a {}", go_type(found)))
    }

    fn unknown_directive(directive: &Value, item: &Fields) -> Self {
        Self::Failed(format!("unknown patch type: {} in map: {}", show(directive), show_map(item)))
    }
}

/// Recursion is bounded by the depth of the JSON that is read.
fn merge_map(mut target: Fields, mut patch: Fields, schema: Option<&Schema>) -> Result<Fields, Refused> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(Value::String(directive)) if directive == "replace" => {
            patch.remove(DIRECTIVE);
            return Ok(patch);
        }
        Some(Value::String(directive)) if directive == "delete" => return Ok(Map::new()),
        Some(other) => return Err(Refused::unknown_directive(other, &patch)),
    }
    retain_keys(&mut target, &mut patch)?;
    list::apply_orders(&mut target, &mut patch, schema)?;
    for (name, value) in patch {
        if name.starts_with(DELETE_LIST) {
            let name = behind(&name, DELETE_LIST)
                .ok_or(Refused::BadRequest("invalid patch format of primitive list"))?;
            delete_from(&mut target, name, value, schema)?;
            continue;
        }
        if value.is_null() {
            target.remove(&name);
            continue;
        }
        let merged = match (target.remove(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let field = Field::of(schema, &name)?;
                if field.strategy() == "replace" {
                    Some(Value::Object(new))
                } else {
                    Some(Value::Object(merge_map(old, new, field.schema)?))
                }
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                let field = Field::of_list(schema, &name)?;
                Some(Value::Array(list::merge_field(old, new, field)?))
            }
            (_, mut new) => {
                drop_nulls(&mut new);
                without_directives(new)
            }
        };
        if let Some(merged) = merged {
            target.insert(name, merged);
        }
    }
    Ok(target)
}

/// `$deleteFromPrimitiveList/name`: takes the given values out of a list of scalars.
fn delete_from(
    target: &mut Fields,
    name: &str,
    values: Value,
    schema: Option<&Schema>,
) -> Result<(), Refused> {
    if values.is_null() {
        target.remove(name);
        return Ok(());
    }
    let (Some(Value::Array(old)), Value::Array(values)) = (target.get_mut(name), values) else {
        return Ok(());
    };
    let field = Field::of_list(schema, name)?;
    if old.is_empty() && values.is_empty() {
        return Ok(());
    }
    if list::item_kind(&[old, &values])? == list::ItemKind::Map {
        *old = list::merge(std::mem::take(old), values, field)?;
    } else {
        old.retain(|item| !values.contains(item));
    }
    Ok(())
}

/// `$retainKeys`: what is not named goes.
fn retain_keys(target: &mut Fields, patch: &mut Fields) -> Result<(), Refused> {
    const MALFORMED: Refused = Refused::BadRequest("invalid patch format of retainKeys");
    let keys = match patch.remove(RETAIN_KEYS) {
        None => return Ok(()),
        Some(Value::Array(keys)) => keys,
        Some(_) => return Err(MALFORMED),
    };
    let keys: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let retained = |name: &str| keys.contains(name);
    let is_directive = |name: &str| name.starts_with(DELETE_LIST) || name.starts_with(ELEMENT_ORDER);
    if patch.iter().any(|(name, value)| !value.is_null() && !is_directive(name) && !retained(name)) {
        return Err(MALFORMED);
    }
    target.retain(|name, _| retained(name));
    Ok(())
}

/// What the schema says of a field.
#[derive(Clone, Copy)]
struct Field<'a> {
    /// The schema of the field, or of the items if it is a list. None: nothing is known.
    schema: Option<&'a Schema>,
    strategies: &'a str,
    merge_key: &'a str,
}

impl<'a> Field<'a> {
    fn of(schema: Option<&'a Schema>, name: &str) -> Result<Self, Refused> {
        let Some(parent) = schema else { return Ok(Self { schema: None, strategies: "", merge_key: "" }) };
        if let Some(field) = parent.properties.get(name) {
            let strategies = field.patch_strategy.as_deref().unwrap_or_default();
            let merge_key = field.patch_merge_key.as_deref().unwrap_or_default();
            return Ok(Self { schema: Some(field), strategies, merge_key });
        }
        if parent.additional.is_some() {
            return Err(Refused::failed(
                "merging an object in json but data type is not struct, instead is: map",
            ));
        }
        let (field, parent) = (Value::from(name), struct_name(parent));
        let text = format!("unable to find api field in struct {parent} for the json field {field}");
        Err(Refused::Failed(text))
    }

    fn of_list(schema: Option<&'a Schema>, name: &str) -> Result<Self, Refused> {
        let field = Self::of(schema, name)?;
        let items = field.schema.and_then(|list| list.items.as_deref());
        if field.schema.is_some_and(|list| list.kind != Kind::Array && list.kind != Kind::Any) {
            return Err(Refused::failed("expected slice or array type, but got: struct"));
        }
        Ok(Self { schema: items, ..field })
    }

    /// merge, replace or nothing.
    fn strategy(self) -> &'a str {
        self.strategies.split(',').find(|strategy| *strategy != "retainKeys").unwrap_or_default()
    }
}

/// The Go name of a type, which only a few messages tell.
fn struct_name(schema: &Schema) -> &'static str {
    if schema.preserve_unknown {
        "RawExtension"
    } else if schema.properties.contains_key("ownerReferences") {
        "ObjectMeta"
    } else {
        ""
    }
}

fn behind<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix)?.strip_prefix('/')
}

/// Null deletes; where nothing is there yet, it says nothing.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A value that is new, without the objects that only carry a directive.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => {
            let kept =
                fields.into_iter().filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Some(scalar),
    }
}

/// A value as Go prints it with `%v`.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => show_list(items),
        Value::Object(fields) => show_map(fields),
    }
}

fn show_list(items: &[Value]) -> String {
    let items: Vec<String> = items.iter().map(show).collect();
    format!("[{}]", items.join(" "))
}

fn show_map(fields: &Fields) -> String {
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}:{}", show(value))).collect();
    format!("map[{}]", fields.join(" "))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => LIST,
        Value::Object(_) => MAP,
    }
}

const LIST: &str = "[]interface {}";
const MAP: &str = "map[string]interface {}";
