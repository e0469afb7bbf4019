//! The structural schema of a kind, as CRDs and the OpenAPI documents of the built-in kinds state it, parsed once when the server
//! starts. Validation, defaulting, pruning and server-side apply all walk this one form.

pub mod defaults;
mod golang;
mod gotime;
pub mod objectmeta;
pub mod prune;
pub mod rules;
pub mod typed;
pub mod validate;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// The component whose format the documents call `date-time` as well, though it is written in microseconds.
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
/// The format by which its nodes are told apart here.
const DATE_TIME_MICROS: &str = "date-time-micros";

/// One node of a structural schema.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    pub kind: Kind,
    /// The fields of an object that have a name.
    pub properties: BTreeMap<String, Arc<Schema>>,
    /// The schema of every other field (a map). None: other fields are unknown, unless `preserve_unknown`.
    pub additional: Option<Arc<Schema>>,
    /// The schema of a list's items.
    pub items: Option<Arc<Schema>>,
    /// How lists merge under server-side apply.
    pub list: ListType,
    /// An object that server-side apply owns and replaces as one.
    pub atomic_map: bool,
    /// Unknown fields are kept: `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// null is a value of its own here, not an absent field.
    pub nullable: bool,
    pub default: Option<Value>,
    pub required: Vec<String>,
    /// `x-kubernetes-patch-strategy` of a built-in kind, comma-separated: merge, replace, retainKeys.
    pub patch_strategy: Option<String>,
    pub patch_merge_key: Option<String>,
    /// What of the node as written is asked for besides: its format, and the extensions whose absence matters. What checks values has
    /// a form of its own.
    pub raw: Value,
}

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
    /// Nothing is said.
    #[default]
    Any,
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListType {
    /// One owner, replaced as a whole.
    #[default]
    Atomic,
    /// Scalars, each with its own owners.
    Set,
    /// Objects told apart by these fields.
    Map(Vec<String>),
}

impl Schema {
    /// Parses a schema without references, as a CRD holds it.
    pub fn parse(raw: &Value) -> Self {
        Self::resolve(raw, &Map::new(), &mut Vec::new())
    }

    /// Parses a schema that may refer to `#/components/schemas/…` of its document.
    pub fn parse_in(raw: &Value, components: &Map<String, Value>) -> Self {
        Self::resolve(raw, components, &mut Vec::new())
    }

    /// `within`: the components that are being resolved. One that refers to itself (the schema of schemas) holds anything there.
    fn resolve(raw: &Value, components: &Map<String, Value>, within: &mut Vec<String>) -> Self {
        let reference = reference(raw).map(str::to_owned);
        if let Some(name) = &reference {
            if within.contains(name) {
                return Self { preserve_unknown: true, ..Self::default() };
            }
            within.push(name.clone());
        }
        let mut node = dereference(raw, components);
        if let (Some(MICRO_TIME), Some(fields)) = (reference.as_deref(), node.as_object_mut()) {
            fields.insert("format".to_owned(), DATE_TIME_MICROS.into());
        }
        let schema = Self::node(node, components, within);
        if reference.is_some() {
            within.pop();
        }
        schema
    }

    fn node(raw: Value, components: &Map<String, Value>, within: &mut Vec<String>) -> Self {
        let mut child = |value: &Value| Arc::new(Self::resolve(value, components, within));
        let text = |name: &str| raw.get(name).and_then(Value::as_str).map(str::to_owned);
        let flag = |name: &str| raw.get(name).and_then(Value::as_bool).unwrap_or(false);
        let fields = raw.get("properties").and_then(Value::as_object);
        let additional = raw.get("additionalProperties");
        let kind = kind(&raw);
        Self {
            kind,
            properties: fields
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), child(value)))
                .collect(),
            additional: additional.filter(|value| value.is_object()).map(&mut child),
            items: raw.get("items").map(&mut child),
            list: list_type(&raw),
            atomic_map: raw.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic"),
            // A built-in object of which nothing is said (RawExtension, FieldsV1) holds anything.
            preserve_unknown: flag("x-kubernetes-preserve-unknown-fields")
                || additional == Some(&Value::Bool(true))
                || (kind == Kind::Object
                    && fields.is_none()
                    && additional.is_none()
                    && !components.is_empty()),
            nullable: flag("nullable"),
            default: raw.get("default").cloned(),
            required: strings(raw.get("required")),
            patch_strategy: text("x-kubernetes-patch-strategy"),
            patch_merge_key: text("x-kubernetes-patch-merge-key"),
            raw: alone(raw, kind),
        }
    }

    /// A moment, whose zero value is null: `Time` or `MicroTime`.
    pub fn is_time(&self) -> bool {
        matches!(self.format(), "date-time" | DATE_TIME_MICROS)
    }

    fn format(&self) -> &str {
        self.raw.get("format").and_then(Value::as_str).unwrap_or_default()
    }

    /// An object with `apiVersion`, `kind` and `metadata` of its own: `x-kubernetes-embedded-resource`.
    pub fn is_embedded_resource(&self) -> bool {
        self.raw.get("x-kubernetes-embedded-resource").and_then(Value::as_bool).unwrap_or(false)
    }

    /// The schema of an object's field: its own, or that of every other field. None: unknown.
    pub fn field(&self, name: &str) -> Option<&Arc<Self>> {
        self.properties.get(name).or(self.additional.as_ref())
    }
}

/// The component that a node refers to by `$ref`, alone or as the one item of `allOf`, which is how a described or defaulted
/// reference is written.
fn reference(raw: &Value) -> Option<&str> {
    let reference = raw.get("$ref").or_else(|| match raw.get("allOf")?.as_array()?.as_slice() {
        [one] => one.get("$ref"),
        _ => None,
    });
    reference?.as_str()?.strip_prefix("#/components/schemas/")
}

/// Follows the reference, keeping what stands beside it.
fn dereference(raw: &Value, components: &Map<String, Value>) -> Value {
    let name = reference(raw);
    let Some(Value::Object(target)) = name.and_then(|name| components.get(name)) else { return raw.clone() };
    let mut merged = target.clone();
    for (name, value) in raw.as_object().into_iter().flatten() {
        if name != "$ref" && name != "allOf" {
            merged.insert(name.clone(), value.clone());
        }
    }
    Value::Object(merged)
}

/// What of the node as written the parsed one does not tell. It is little, because a map with one entry takes 600 bytes, and there are
/// a thousand nodes.
fn alone(raw: Value, kind: Kind) -> Value {
    let is_kept = |name: &str| match name {
        // Of an int-or-string only is it open whether there is one.
        "type" => kind == Kind::IntOrString,
        "format"
        | "x-kubernetes-embedded-resource"
        | "x-kubernetes-list-type"
        | "x-kubernetes-preserve-unknown-fields" => true,
        _ => false,
    };
    match raw {
        // Made anew: a map that was emptied keeps its memory.
        Value::Object(node) => node.into_iter().filter(|(name, _)| is_kept(name)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => raw,
    }
}

fn kind(raw: &Value) -> Kind {
    let int_or_string = raw.get("x-kubernetes-int-or-string").and_then(Value::as_bool) == Some(true)
        || raw.get("format").and_then(Value::as_str) == Some("int-or-string");
    match raw.get("type").and_then(Value::as_str) {
        _ if int_or_string => Kind::IntOrString,
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        _ => Kind::Any,
    }
}

fn list_type(raw: &Value) -> ListType {
    match raw.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(strings(raw.get("x-kubernetes-list-map-keys"))),
        _ => ListType::Atomic,
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
