//! CEL rules of a CRD (`x-kubernetes-validations`), compiled once and run on objects that are otherwise well-formed.
//!
//! kube-cel compiles and evaluates a rule and turns values into CEL's. The walk is ours, since kube-cel's correlates the items of
//! all lists by their index, names the keys of maps like fields, and does not let pass what an update leaves as it was.

mod cost;

use std::fmt::Write as _;

use kube_cel::{CompiledSchema, ErrorKind, ValidationError};
use serde_json::Value;

use super::golang::show;
use super::validate::{NO_FIELD, Node, SchemaError};
use crate::status::Cause;

/// Steps of one rule at the most, by the bounds of its schema: what a real server allows a call.
const MAX_RULE_COST: u64 = 1_000_000;
/// Steps of all rules on one object, by its actual size: what a real server allows an object.
const MAX_OBJECT_COST: u64 = 10_000_000;

/// One rule.
pub(crate) struct Rule {
    rule: String,
    message: Option<String>,
    reason: Reason,
    /// From the node, without the leading dot.
    field: Option<String>,
    /// It speaks of `oldSelf`, and so runs on updates alone.
    of_change: bool,
    /// The type as the schema writes it, for errors.
    type_name: String,
    /// Somewhere below is a `number`, which CEL must see as a float even where it is written without a fraction.
    has_numbers: bool,
    /// The node's schema with this rule and no other.
    compiled: CompiledSchema,
}

/// `reason` of a rule.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Invalid,
    Forbidden,
    Required,
    Duplicate,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Rule").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl Rule {
    /// Compiles one entry of a node's `x-kubernetes-validations`; `raw` is the node as written.
    pub(crate) fn compile(entry: &Value, raw: &Value, node: &Node) -> Result<Self, SchemaError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let rule = text("rule").unwrap_or_default().trim().to_owned();
        if entry.get("optionalOldSelf").and_then(Value::as_bool) == Some(true) {
            // kube-cel hands `oldSelf` over as null, not as an optional: the rule would mean something else.
            return Err(SchemaError::Unsupported { rule, feature: "optionalOldSelf" });
        }
        let mut own = bare(raw);
        own["x-kubernetes-validations"] = Value::Array(vec![entry.clone()]);
        let compiled = kube_cel::compile_schema(&own);
        let result = match compiled.validations.first() {
            Some(Ok(result)) => result,
            Some(Err(error)) => return Err(SchemaError::Rule { rule, why: error.to_string() }),
            None => return Err(SchemaError::Rule { rule, why: "it is missing".to_owned() }),
        };
        let sizes = cost::Sizes::allowed(node);
        for program in [Some(&result.program), result.message_program.as_ref()].into_iter().flatten() {
            let cost = cost::of(program, node, sizes).ok_or_else(|| SchemaError::Unsupported {
                rule: rule.clone(),
                feature: "a function that makes large lists of small numbers",
            })?;
            if cost > MAX_RULE_COST {
                return Err(SchemaError::Costly { rule, cost, limit: MAX_RULE_COST });
            }
        }
        Ok(Self {
            message: text("message").map(|message| message.trim().to_owned()),
            reason: match text("reason") {
                Some("FieldValueForbidden") => Reason::Forbidden,
                Some("FieldValueRequired") => Reason::Required,
                Some("FieldValueDuplicate") => Reason::Duplicate,
                _ => Reason::Invalid,
            },
            field: text("fieldPath").map(|path| path.strip_prefix('.').unwrap_or(path).to_owned()),
            of_change: result.is_transition_rule,
            type_name: node.type_name().to_owned(),
            has_numbers: has_numbers(node),
            rule,
            compiled,
        })
    }
}

fn has_numbers(node: &Node) -> bool {
    let mut below = node.properties.values().chain(node.items.as_deref()).chain(node.additional.as_deref());
    node.type_name() == "number" || below.any(has_numbers)
}

/// Writes the whole numbers of `number` fields as floats.
fn as_floats(node: &Node, value: &mut Value) {
    match value {
        Value::Number(number) if node.type_name() == "number" => {
            if let Some(float) = number.as_f64().and_then(serde_json::Number::from_f64) {
                *number = float;
            }
        }
        Value::Array(items) => {
            if let Some(own) = &node.items {
                items.iter_mut().for_each(|item| as_floats(own, item));
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                if let Some(own) = node.properties.get(name).or(node.additional.as_deref()) {
                    as_floats(own, field);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A schema without the rules and defaults below it: the rules are run one by one, the defaults are there already.
fn bare(raw: &Value) -> Value {
    match raw {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, value)| match name.as_str() {
                "x-kubernetes-validations" => !value.is_array(),
                "default" | "description" | "allOf" | "anyOf" | "oneOf" => false,
                _ => true,
            });
            Value::Object(
                kept.map(|(name, value)| {
                    (name.clone(), if name == "properties" { each(value) } else { bare(value) })
                })
                .collect(),
            )
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => raw.clone(),
    }
}

/// `properties`, where any name is a field's and not a keyword.
fn each(properties: &Value) -> Value {
    let fields = properties.as_object().into_iter().flatten();
    Value::Object(fields.map(|(name, value)| (name.clone(), bare(value))).collect())
}

/// Runs the rules on a whole object.
pub(super) fn check(root: &Node, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut run = Run { causes: Vec::new(), budget: MAX_OBJECT_COST, validator: kube_cel::Validator::new() };
    let _ = walk(root, new, old, Unchanged { new, old }, "", &mut run);
    run.causes
}

struct Run {
    causes: Vec<Cause>,
    budget: u64,
    validator: kube_cel::Validator,
}

/// The nearest value around a node of which it is known what it was before.
#[derive(Clone, Copy)]
struct Unchanged<'a> {
    new: &'a Value,
    old: Option<&'a Value>,
}

impl Unchanged<'_> {
    fn holds(self) -> bool {
        self.old == Some(self.new)
    }
}

/// The budget is used up: nothing more is run.
struct Exhausted;

/// The recursion follows the schema, whose depth is bounded.
fn walk<'a>(
    node: &Node,
    new: &'a Value,
    old: Option<&'a Value>,
    around: Unchanged<'a>,
    path: &str,
    run: &mut Run,
) -> Result<(), Exhausted> {
    if new.is_null() {
        return Ok(());
    }
    let around = if old.is_some() { Unchanged { new, old } } else { around };
    for rule in &node.rules {
        evaluate((rule, node), new, old, around, path, run)?;
    }
    match new {
        Value::Object(fields) => {
            for (name, field) in fields {
                let before = Node::old_field(old, name);
                if let Some(own) = node.properties.get(name) {
                    let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(own, field, before, around, &below, run)?;
                } else if let Some(own) = &node.additional {
                    walk(own, field, before, around, &format!("{path}[{name}]"), run)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(own) = &node.items else { return Ok(()) };
            let before = node.old_items(old);
            for (index, item) in items.iter().enumerate() {
                walk(own, item, before.get(item), around, &format!("{path}[{index}]"), run)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(())
}

fn evaluate(
    (rule, node): (&Rule, &Node),
    new: &Value,
    old: Option<&Value>,
    around: Unchanged<'_>,
    path: &str,
    run: &mut Run,
) -> Result<(), Exhausted> {
    if rule.of_change && old.is_none() {
        return Ok(());
    }
    let sizes = cost::Sizes::actual(new).or(old.map(cost::Sizes::actual));
    let programs = rule
        .compiled
        .validations
        .iter()
        .flatten()
        .flat_map(|own| [Some(&own.program), own.message_program.as_ref()]);
    let cost = programs
        .flatten()
        .map(|program| cost::of(program, node, sizes).unwrap_or(u64::MAX))
        .fold(0, u64::saturating_add);
    let at = |path: &str| if path.is_empty() { NO_FIELD.to_owned() } else { path.to_owned() };
    let invalid = |message: String| Cause { reason: "FieldValueInvalid".into(), message, field: at(path) };
    let Some(left) = run.budget.checked_sub(cost) else {
        run.causes.push(invalid(format!(
            "Invalid value: \"{}\": validation failed due to running out of cost budget, no further validation rules will be run",
            rule.type_name
        )));
        return Err(Exhausted);
    };
    run.budget = left;
    let floats = |value: &Value| {
        let mut value = value.clone();
        as_floats(node, &mut value);
        value
    };
    let result = if rule.has_numbers {
        run.validator.validate_compiled(&rule.compiled, &floats(new), old.map(floats).as_ref())
    } else {
        run.validator.validate_compiled(&rule.compiled, new, old)
    };
    let Err(errors) = result else { return Ok(()) };
    for error in errors {
        if error.kind != ErrorKind::ValidationFailure {
            run.causes.push(invalid(format!(
                "Invalid value: \"{}\": {} evaluating rule: {}",
                rule.type_name,
                runtime_error(&error),
                rule.message.as_deref().unwrap_or(&rule.rule)
            )));
        } else if rule.of_change || !around.holds() {
            let field = match (&rule.field, path) {
                (None, path) => at(path),
                (Some(field), "") => field.clone(),
                (Some(field), path) => format!("{path}.{field}"),
            };
            run.causes.push(refusal(rule, new, error.message.trim(), field));
        }
    }
    Ok(())
}

fn refusal(rule: &Rule, value: &Value, detail: &str, field: String) -> Cause {
    let composite = matches!(rule.type_name.as_str(), "object" | "array");
    let shown = |word: &str| if composite { word.to_owned() } else { format!("{word}: {}", show(value)) };
    let (reason, mut message) = match rule.reason {
        Reason::Invalid => ("FieldValueInvalid", shown("Invalid value")),
        Reason::Forbidden => ("FieldValueForbidden", "Forbidden".to_owned()),
        Reason::Required => ("FieldValueRequired", "Required value".to_owned()),
        Reason::Duplicate => ("FieldValueDuplicate", shown("Duplicate value")),
    };
    if !matches!(rule.reason, Reason::Duplicate) && !detail.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(message, ": {detail}");
    }
    Cause { reason: reason.into(), message, field }
}

/// CEL's own words, as near to cel-go's as the crate's error kinds let them be.
fn runtime_error(error: &ValidationError) -> String {
    use kube_cel::cel::{ExecutionError, Value as Cel};
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<ExecutionError>());
    match source {
        Some(ExecutionError::NoSuchKey(key)) => format!("no such key: {key}"),
        Some(ExecutionError::IndexOutOfBounds(Cel::Int(index))) => format!("index out of bounds: {index}"),
        Some(ExecutionError::FunctionError { message, .. }) => message.clone(),
        Some(ExecutionError::DivisionByZero(_)) => "division by zero".to_owned(),
        Some(other) => other.to_string(),
        None => error.message.clone(),
    }
}

#[cfg(test)]
mod tests;
