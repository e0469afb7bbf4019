//! Which fields differ between two objects.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::{Element, same};
use super::set::{FieldSet, Node};
use super::shape::{Form, ListForm, MapForm, Shape};

/// The fields that differ. None of them stands in two of the sets.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

/// The same at and below one field.
#[derive(Debug, Default)]
struct Difference {
    removed: Node,
    modified: Node,
    added: Node,
}

pub(super) fn compare(shape: Shape<'_>, old: &Value, new: &Value) -> Comparison {
    let Difference { removed, modified, added } = difference(Some(shape), Some(old), Some(new));
    Comparison { removed: removed.children, modified: modified.children, added: added.children }
}

impl Comparison {
    /// Leaves out fields and all that is below them.
    pub(super) fn without(mut self, fields: &FieldSet) -> Self {
        self.removed.subtract_below(fields);
        self.modified.subtract_below(fields);
        self.added.subtract_below(fields);
        self
    }
}

impl Difference {
    fn leaf(old: Option<&Value>, new: Option<&Value>) -> Self {
        let mut difference = Self::default();
        match (old, new) {
            (None, _) => difference.added = Node::leaf(),
            (_, None) => difference.removed = Node::leaf(),
            (Some(old), Some(new)) if !same(old, new) => difference.modified = Node::leaf(),
            (Some(_), Some(_)) => {}
        }
        difference
    }

    fn insert(&mut self, element: &Element, below: Self) {
        self.removed.children.insert(element.clone(), below.removed);
        self.modified.children.insert(element.clone(), below.modified);
        self.added.children.insert(element.clone(), below.added);
    }

    fn unite(&mut self, other: Self) {
        self.removed.unite(other.removed);
        self.modified.unite(other.modified);
        self.added.unite(other.added);
    }

    fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }
}

fn difference(shape: Option<Shape<'_>>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let Some(shape) = shape else { return Difference::leaf(old, new) };
    let form = shape.form(new.or(old));
    let Some((old, new)) = old.zip(new) else {
        let (mut found, leaf) = in_form(form, old, new);
        if !leaf {
            found.added.member |= old.is_none();
            found.removed.member |= new.is_none();
        }
        return found;
    };
    let (mut found, _) = in_form(form, Some(old), Some(new));
    // Where anything may stand, an object may have given way to a list: what was below it is gone.
    let old_form = shape.form(Some(old));
    if std::mem::discriminant(&old_form) != std::mem::discriminant(&form) {
        found.unite(in_form(old_form, Some(old), Some(new)).0);
    }
    found
}

/// And whether the whole was compared as one.
fn in_form(form: Form<'_>, old: Option<&Value>, new: Option<&Value>) -> (Difference, bool) {
    match form {
        Form::Scalar(_) => (Difference::leaf(old, new), true),
        Form::Map(form) => {
            let (old_map, new_map) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
            let empty = old_map.is_none_or(Map::is_empty) && new_map.is_none_or(Map::is_empty);
            if form.atomic || empty {
                return (Difference::leaf(old, new), true);
            }
            (in_map(form, old_map, new_map), false)
        }
        Form::List(form) => {
            let (old_list, new_list) = (old.and_then(Value::as_array), new.and_then(Value::as_array));
            let empty = old_list.is_none_or(Vec::is_empty) && new_list.is_none_or(Vec::is_empty);
            if form.atomic || empty {
                return (Difference::leaf(old, new), true);
            }
            (in_list(form, old_list, new_list), false)
        }
    }
}

fn in_map(
    form: MapForm<'_>,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
) -> Difference {
    let mut found = Difference::default();
    let gone = old.into_iter().flatten().filter(|(name, _)| new.is_none_or(|new| !new.contains_key(*name)));
    let kept =
        new.into_iter().flatten().map(|(name, value)| (name, old.and_then(|old| old.get(name)), Some(value)));
    for (name, old, new) in gone.map(|(name, value)| (name, Some(value), None)).chain(kept) {
        let below = difference(form.child(name), old, new);
        if !below.is_empty() {
            found.insert(&Element::field(name), below);
        }
    }
    found
}

fn in_list(form: ListForm<'_>, old: Option<&Vec<Value>>, new: Option<&Vec<Value>>) -> Difference {
    let mut pairs: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for item in old.into_iter().flatten() {
        if let Ok(element) = form.element(item) {
            pairs.entry(element).or_default().0.push(item);
        }
    }
    for item in new.into_iter().flatten() {
        if let Ok(element) = form.element(item) {
            pairs.entry(element).or_default().1.push(item);
        }
    }
    let mut found = Difference::default();
    for (element, (old, new)) in pairs {
        found.insert(&element, among(form.items, &old, &new));
    }
    found
}

/// The difference between the items of one key: one on each side, unless somebody wrote it twice.
fn among(shape: Shape<'_>, old: &[&Value], new: &[&Value]) -> Difference {
    let mut found = Difference::default();
    match (old, new) {
        ([] | [_], [] | [_]) => found = difference(Some(shape), old.first().copied(), new.first().copied()),
        ([_, _, ..], [_, _, ..]) => {
            let equal = old.len() == new.len() && old.iter().zip(new).all(|(old, new)| same(old, new));
            found.modified.member = !equal;
        }
        ([_, _, ..], _) => {
            if let Some(new) = new.first() {
                found = difference(Some(shape), None, Some(new));
            }
            found.removed.member = true;
        }
        (_, [_, _, ..]) => {
            if let Some(old) = old.first() {
                found = difference(Some(shape), Some(old), None);
            }
            found.added.member = true;
        }
    }
    found
}
