//! A node of a CRD's schema, compiled for validation: what `Schema` leaves raw is parsed here once.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use super::SchemaError;
use super::formats::Format;
use crate::schema::ListType;
use crate::schema::rules::Rule;

/// Deeper than any schema that is served, and shallow enough for the stack.
pub(super) const MAX_DEPTH: usize = 64;
/// The compiled form of one pattern, in bytes: far above the patterns of our CRDs (an image reference takes some 100 kB).
const MAX_PATTERN: usize = 2 * 1024 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Empty: any. `integer` and `string` for an int-or-string.
    pub(super) types: Vec<String>,
    pub(super) nullable: bool,
    pub(super) format: Option<Format>,
    pub(super) enumeration: Vec<Value>,
    pub(super) minimum: Option<f64>,
    pub(super) above_minimum: bool,
    pub(super) maximum: Option<f64>,
    pub(super) below_maximum: bool,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<i64>,
    pub(crate) max_length: Option<i64>,
    pub(super) pattern: Option<Regex>,
    pub(super) min_items: Option<i64>,
    pub(crate) max_items: Option<i64>,
    pub(super) min_properties: Option<i64>,
    pub(crate) max_properties: Option<i64>,
    pub(super) required: Vec<String>,
    pub(crate) properties: BTreeMap<String, Node>,
    pub(crate) additional: Option<Box<Node>>,
    pub(crate) items: Option<Box<Node>>,
    pub(super) list: ListType,
    pub(super) embedded: bool,
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Box<Node>>,
    pub(crate) rules: Vec<Rule>,
}

impl Node {
    pub(super) fn compile(raw: &Value, depth: usize) -> Result<Self, SchemaError> {
        if depth > MAX_DEPTH {
            return Err(SchemaError::TooDeep);
        }
        let child = |value: &Value| Self::compile(value, depth + 1);
        let boxed = |name: &str| {
            raw.get(name).filter(|value| value.is_object()).map(|value| child(value).map(Box::new))
        };
        let several = |name: &str| -> Result<Vec<Self>, SchemaError> {
            raw.get(name).and_then(Value::as_array).into_iter().flatten().map(child).collect()
        };
        let text = |name: &str| raw.get(name).and_then(Value::as_str);
        let flag = |name: &str| raw.get(name).and_then(Value::as_bool).unwrap_or(false);
        let whole = |name: &str| raw.get(name).and_then(Value::as_i64);
        let number = |name: &str| raw.get(name).and_then(Value::as_f64);
        let texts = |name: &str| -> Vec<String> {
            let items = raw.get(name).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let types = if flag("x-kubernetes-int-or-string") {
            vec!["integer".to_owned(), "string".to_owned()]
        } else {
            text("type").map(str::to_owned).into_iter().collect()
        };
        let fields = raw.get("properties").and_then(Value::as_object).into_iter().flatten();
        let mut node = Self {
            format: text("format").and_then(|name| Format::of(name, &types)),
            types,
            nullable: flag("nullable"),
            enumeration: raw.get("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
            minimum: number("minimum"),
            above_minimum: flag("exclusiveMinimum"),
            maximum: number("maximum"),
            below_maximum: flag("exclusiveMaximum"),
            multiple_of: number("multipleOf"),
            min_length: whole("minLength"),
            max_length: whole("maxLength"),
            pattern: text("pattern")
                .filter(|pattern| !pattern.is_empty())
                .map(compile_pattern)
                .transpose()?,
            min_items: whole("minItems"),
            max_items: whole("maxItems"),
            min_properties: whole("minProperties"),
            max_properties: whole("maxProperties"),
            required: texts("required"),
            properties: fields
                .map(|(name, value)| Ok((name.clone(), child(value)?)))
                .collect::<Result<_, SchemaError>>()?,
            additional: boxed("additionalProperties").transpose()?,
            items: boxed("items").transpose()?,
            list: match text("x-kubernetes-list-type") {
                Some("set") => ListType::Set,
                Some("map") => ListType::Map(texts("x-kubernetes-list-map-keys")),
                _ => ListType::Atomic,
            },
            embedded: flag("x-kubernetes-embedded-resource"),
            all_of: several("allOf")?,
            any_of: several("anyOf")?,
            one_of: several("oneOf")?,
            not: boxed("not").transpose()?,
            rules: Vec::new(),
        };
        let rules = raw.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
        node.rules = rules.map(|rule| Rule::compile(rule, raw, &node)).collect::<Result<_, SchemaError>>()?;
        Ok(node)
    }

    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
            || self.properties.values().any(Self::has_rules)
            || self.items.as_deref().is_some_and(Self::has_rules)
            || self.additional.as_deref().is_some_and(Self::has_rules)
    }

    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }

    /// What the field was before: the fields of an object correlate by name.
    pub(crate) fn old_field<'a>(old: Option<&'a Value>, name: &str) -> Option<&'a Value> {
        old?.as_object()?.get(name)
    }

    /// What the items of a list were before: those of a map correlate by their keys, all others not at all.
    pub(crate) fn old_items<'a>(&self, old: Option<&'a Value>) -> OldItems<'a> {
        let (ListType::Map(keys), Some(items)) = (&self.list, old.and_then(Value::as_array)) else {
            return OldItems::default();
        };
        let by_key = items.iter().filter_map(|item| Some((key_of(item, keys)?, item))).collect();
        OldItems { keys: keys.clone(), by_key }
    }

    pub(crate) fn type_name(&self) -> &str {
        match self.types.as_slice() {
            [one] => one,
            _ => "",
        }
    }
}

/// The items that a list had, by key.
#[derive(Debug, Default)]
pub(crate) struct OldItems<'a> {
    keys: Vec<String>,
    by_key: BTreeMap<String, &'a Value>,
}

impl<'a> OldItems<'a> {
    pub(crate) fn get(&self, item: &Value) -> Option<&'a Value> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.get(&key_of(item, &self.keys)?).copied()
    }
}

fn key_of(item: &Value, keys: &[String]) -> Option<String> {
    let fields = item.as_object()?;
    let values: Vec<&Value> = keys.iter().map(|key| fields.get(key).unwrap_or(&Value::Null)).collect();
    serde_json::to_string(&values).ok()
}

fn compile_pattern(pattern: &str) -> Result<Regex, SchemaError> {
    regex::RegexBuilder::new(pattern)
        .size_limit(MAX_PATTERN)
        .build()
        .map_err(|source| SchemaError::Pattern { pattern: pattern.to_owned(), source: Box::new(source) })
}
