//! The fields of an object, as the one who applies it owns them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::path::Element;
use super::set::{FieldSet, Node};
use super::shape::{Form, ListForm, MapForm, Shape};

pub(super) fn fields_of(shape: Shape<'_>, object: &Value) -> FieldSet {
    node(Some(shape), object).children
}

fn node(shape: Option<Shape<'_>>, value: &Value) -> Node {
    let Some(shape) = shape else { return Node::default() };
    match shape.form(Some(value)) {
        Form::Scalar(_) => Node::leaf(),
        Form::Map(form) if form.atomic => Node::leaf(),
        Form::List(form) if form.atomic => Node::leaf(),
        Form::Map(form) => Node { member: false, children: in_map(form, value) },
        Form::List(form) => Node { member: false, children: in_list(form, value) },
    }
}

fn in_map(form: MapForm<'_>, value: &Value) -> FieldSet {
    let mut fields = FieldSet::default();
    for (name, value) in value.as_object().into_iter().flatten() {
        let mut below = node(form.child(name), value);
        // A struct is there by its fields; an entry of a map, or what is empty, is something by itself.
        let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
        below.member |= empty || !form.names(name);
        fields.insert(Element::field(name), below);
    }
    fields
}

fn in_list(form: ListForm<'_>, value: &Value) -> FieldSet {
    let mut items: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
    for item in value.as_array().into_iter().flatten() {
        if let Ok(element) = form.element(item) {
            items.entry(element).or_default().push(item);
        }
    }
    let mut fields = FieldSet::default();
    for (element, items) in items {
        // What is there twice is owned as one, since a path cannot tell the two apart.
        let below = match items.as_slice() {
            [item] => Node { member: true, children: node(Some(form.items), item).children },
            _ => Node::leaf(),
        };
        fields.insert(element, below);
    }
    fields
}
