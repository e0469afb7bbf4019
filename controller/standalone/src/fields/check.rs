//! Whether an applied object fits the schema well enough to be merged, told in the words of a real API server. Validation proper
//! comes later, on the merged object.

use std::collections::BTreeSet;

use serde_json::Value;

use super::go;
use super::shape::{Form, ListForm, MapForm, Scalar, Shape};

/// What does not fit, and where.
struct Misfit {
    path: String,
    message: String,
}

/// None: it fits.
pub(super) fn misfits(shape: Shape<'_>, value: &Value) -> Option<String> {
    let mut found = Vec::new();
    check(Some(shape), value, &mut found);
    let lines =
        found.iter().map(
            |Misfit { path, message }| {
                if path.is_empty() { message.clone() } else { format!("{path}: {message}") }
            },
        );
    let lines: Vec<String> = lines.collect();
    match lines.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("errors:\n  {}", many.join("\n  "))),
    }
}

fn check(shape: Option<Shape<'_>>, value: &Value, found: &mut Vec<Misfit>) {
    let mut misfit = |message: String| found.push(Misfit { path: String::new(), message });
    let Some(shape) = shape else { return misfit("field not declared in schema".to_owned()) };
    match (shape.form(Some(value)), value) {
        (_, Value::Null) => {}
        (Form::Scalar(scalar), _) => {
            if let Some(message) = check_scalar(scalar, value) {
                misfit(message);
            }
        }
        (Form::Map(form), Value::Object(_)) => check_map(form, value, found),
        (Form::List(form), Value::Array(_)) => check_list(form, value, found),
        (Form::Map(_), _) => misfit(format!("expected map, got &{{{}}}", go::loose(value))),
        (Form::List(_), _) => misfit(format!("expected list, got &{{{}}}", go::loose(value))),
    }
}

fn check_scalar(scalar: Scalar, value: &Value) -> Option<String> {
    match scalar {
        Scalar::Numeric if value.is_number() => None,
        Scalar::String if value.is_string() => None,
        Scalar::Boolean if value.is_boolean() => None,
        Scalar::Any if !value.is_object() && !value.is_array() => None,
        Scalar::Numeric => Some(format!("expected numeric (int or float), got {}", go::type_name(value))),
        Scalar::String => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go::source(value)))
        }
        Scalar::Boolean => Some(format!("expected boolean, got &{{{}}}", go::loose(value))),
        Scalar::Any => Some(format!("expected any scalar, got &{{{}}}", go::loose(value))),
    }
}

fn check_map(form: MapForm<'_>, value: &Value, found: &mut Vec<Misfit>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let child = form.child(name);
        let start = found.len();
        check(child, value, found);
        prefix(found, start, || format!(".{name}"));
        if child.is_none() {
            return;
        }
    }
}

fn check_list(form: ListForm<'_>, value: &Value, found: &mut Vec<Misfit>) {
    let mut seen = BTreeSet::new();
    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
        let start = found.len();
        if form.atomic {
            check(Some(form.items), item, found);
            prefix(found, start, || format!("[{place}]"));
            continue;
        }
        let element = match form.element(item) {
            Ok(element) => element,
            Err(why) => {
                found.push(Misfit { path: String::new(), message: format!("element {place}: {why}") });
                return;
            }
        };
        if seen.contains(&element) {
            found.push(Misfit {
                path: String::new(),
                message: format!("duplicate entries for key {element}"),
            });
        }
        let start = found.len();
        check(Some(form.items), item, found);
        prefix(found, start, || element.to_string());
        seen.insert(element);
    }
}

fn prefix(found: &mut [Misfit], start: usize, step: impl Fn() -> String) {
    for misfit in found.iter_mut().skip(start) {
        misfit.path.insert_str(0, &step());
    }
}
