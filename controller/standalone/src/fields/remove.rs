//! An object without some of its fields; and sets of fields brought in line with a schema that has changed.

use serde_json::{Map, Value};

use super::path::Element;
use super::set::{FieldSet, Node};
use super::shape::{Form, ListForm, MapForm, Shape};

/// What becomes empty by it becomes null, as a real API server leaves it to decoding to drop.
pub(super) fn remove(shape: Option<Shape<'_>>, value: &Value, fields: &FieldSet) -> Value {
    if fields.is_empty() {
        return value.clone();
    }
    match (shape.map(|shape| shape.form(Some(value))), value) {
        (Some(Form::Scalar(_)), _) => value.clone(),
        (Some(Form::Map(form)), Value::Object(map)) if !form.atomic => remove_from_map(form, map, fields),
        (Some(Form::List(form)), Value::Array(items)) if !form.atomic => {
            remove_from_list(form, items, fields)
        }
        (Some(Form::Map(_) | Form::List(_)) | None, _) => Value::Null,
    }
}

fn remove_from_map(form: MapForm<'_>, map: &Map<String, Value>, fields: &FieldSet) -> Value {
    let mut kept = Map::new();
    for (name, value) in map {
        let value = match fields.get(&Element::field(name)) {
            Some(node) if node.member => continue,
            Some(node) => remove(form.child(name), value, &node.children),
            None => value.clone(),
        };
        kept.insert(name.clone(), value);
    }
    if kept.is_empty() { Value::Null } else { Value::Object(kept) }
}

fn remove_from_list(form: ListForm<'_>, items: &[Value], fields: &FieldSet) -> Value {
    let mut kept = Vec::new();
    for item in items {
        let node = form.element(item).ok().and_then(|element| fields.get(&element));
        match node {
            Some(node) if node.member => {}
            Some(node) => kept.push(remove(Some(form.items), item, &node.children)),
            None => kept.push(item.clone()),
        }
    }
    if kept.is_empty() { Value::Null } else { Value::Array(kept) }
}

/// Fields below a list or an object that has become atomic since they were recorded: its owner owns all of it now.
pub(super) fn reconcile(shape: Shape<'_>, fields: &mut FieldSet) {
    match shape.form(None) {
        Form::Scalar(_) => {}
        Form::Map(form) if form.is_deduced() => {}
        Form::Map(form) => {
            for (element, node) in fields.iter_mut() {
                let name = if let Element::Field(name) = element { name } else { "" };
                if let Some(shape) = form.child(name) {
                    reconcile_node(shape, node);
                }
            }
        }
        Form::List(form) => fields.iter_mut().for_each(|(_, node)| reconcile_node(form.items, node)),
    }
}

fn reconcile_node(shape: Shape<'_>, node: &mut Node) {
    let atomic = match shape.form(None) {
        Form::Scalar(_) => return,
        Form::Map(form) => form.atomic && !form.is_deduced(),
        Form::List(form) => form.atomic,
    };
    if !atomic {
        reconcile(shape, &mut node.children);
    } else if !node.children.is_empty() {
        *node = Node::leaf();
    }
}
