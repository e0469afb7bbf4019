//! Lists under a strategic merge patch: objects told apart by a merge key, sets of scalars, and the order of both.

use std::mem::discriminant;

use serde_json::Value;

use crate::schema::Schema;

use super::{
    DIRECTIVE, ELEMENT_ORDER, Field, Fields, LIST, MAP, Refused, behind, merge_map, show_list,
    without_directives,
};

/// The longest lists that are merged: finding places takes the square of it. No list of a served kind comes near.
const MAX_ITEMS: usize = 5_000;

/// What the items of a list are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    Map,
    Scalar,
}

/// Merges or replaces a list that both sides have.
pub fn merge_field(old: Vec<Value>, new: Vec<Value>, field: Field<'_>) -> Result<Vec<Value>, Refused> {
    if field.strategy() == "merge" { merge(old, new, field) } else { Ok(new) }
}

/// Merges two lists: the items of the patch in its order, between them those that it does not know, as near to their place as can be.
pub fn merge(old: Vec<Value>, patch: Vec<Value>, field: Field<'_>) -> Result<Vec<Value>, Refused> {
    if old.is_empty() && patch.is_empty() {
        return Ok(old);
    }
    if item_kind(&[&old, &patch])? == ItemKind::Scalar {
        let mut merged = old.clone();
        for item in &patch {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        let (known, unknown) = merged.into_iter().partition(|item| patch.contains(item));
        return Ok(interleave(known, unknown, &patch, &old, Order::Scalars));
    }
    let key = field.merge_key;
    if key.is_empty() {
        return Err(Refused::Failed("cannot merge lists without merge key for struct".to_owned()));
    }
    let (old, patch) = obey_directives(old, patch, key)?;
    let mut merged = old.clone();
    for item in &patch {
        let fields = as_map(item)?;
        let value = merge_key(fields, key)?;
        let same = merged.iter_mut().find(|item| item.get(key) == Some(value));
        match same {
            Some(same) => {
                let before = same.as_object().cloned().unwrap_or_default();
                *same = Value::Object(merge_map(before, fields.clone(), field.schema)?);
            }
            None => merged.push(item.clone()),
        }
    }
    for item in &merged {
        merge_key(as_map(item)?, key)?;
    }
    let in_patch = |item: &Value| patch.iter().any(|other| other.get(key) == item.get(key));
    let (known, unknown) = merged.into_iter().partition(in_patch);
    Ok(interleave(known, unknown, &patch, &old, Order::Maps(key)))
}

/// Takes the items with `$patch` out of the patch and does what they say: what is left of both lists.
fn obey_directives(
    old: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Refused> {
    let mut old = old;
    let mut rest = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let fields = as_map(&item)?;
        match fields.get(DIRECTIVE) {
            None => rest.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    let value = merge_key(fields, key)?;
                    old.retain(|other| other.get(key) != Some(value));
                }
                Some("replace") => replace = true,
                Some("merge") => {
                    return Err(Refused::failed("merging lists cannot yet be specified in the patch"));
                }
                _ => return Err(Refused::unknown_directive(directive, fields)),
            },
        }
    }
    Ok(if replace { (rest, Vec::new()) } else { (old, rest) })
}

/// `$setElementOrder/name`: brings the list into the order that the client saw.
pub fn apply_orders(target: &mut Fields, patch: &mut Fields, schema: Option<&Schema>) -> Result<(), Refused> {
    let orders: Vec<String> = patch.keys().filter(|name| name.starts_with(ELEMENT_ORDER)).cloned().collect();
    for directive in orders {
        let order = match patch.remove(&directive) {
            Some(Value::Array(order)) => order,
            other => return Err(Refused::not_a(LIST, &other.unwrap_or_default())),
        };
        let malformed = Refused::BadRequest("invalid patch format of setElementOrder list");
        let name = behind(&directive, ELEMENT_ORDER).ok_or(malformed)?;
        let old = list_of(target.get(name))?;
        let new = list_of(patch.get(name))?;
        let field = Field::of_list(schema, name)?;
        if order.len() > MAX_ITEMS {
            return Err(Refused::Unprocessable);
        }
        check_order(new.as_deref().unwrap_or_default(), &order, field.merge_key)?;
        let merged = match (old.clone(), new.clone()) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) => merge_field(old, new, field)?,
        };
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let by = if field.merge_key.is_empty() { Order::Scalars } else { Order::Maps(field.merge_key) };
        if let Order::Maps(key) = by {
            for item in merged.iter().chain(&order) {
                merge_key(as_map(item)?, key)?;
            }
        }
        item_kind(&[&old, &new])?;
        let (known, unknown) = merged.into_iter().partition(|item| by.place(&order, item).is_some());
        target.insert(name.to_owned(), Value::Array(interleave(known, unknown, &order, &old, by)));
        patch.remove(name);
    }
    Ok(())
}

fn list_of(value: Option<&Value>) -> Result<Option<Vec<Value>>, Refused> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        Some(other) => Err(Refused::not_a(LIST, other)),
    }
}

/// The items of the patch must stand in the given order, and all be in it.
fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<(), Refused> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut places = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        loop {
            let Some(place) = places.next() else {
                let (patch, order) = (show_list(patch), show_list(order));
                let text = format!(
                    "The order in patch list:\n{patch}\n doesn't match {ELEMENT_ORDER} list:\n{order}\n"
                );
                return Err(Refused::Failed(text));
            };
            let same = if key.is_empty() {
                item == place
            } else {
                merge_key(as_map(item)?, key)? == merge_key(as_map(place)?, key)?
            };
            if same {
                break;
            }
        }
    }
    Ok(())
}

/// How items are told apart.
#[derive(Clone, Copy)]
enum Order<'a> {
    Scalars,
    Maps(&'a str),
}

impl Order<'_> {
    fn place(self, list: &[Value], item: &Value) -> Option<usize> {
        match self {
            Self::Scalars => list.iter().position(|other| other == item),
            Self::Maps(key) => list.iter().position(|other| other.get(key) == item.get(key)),
        }
    }
}

/// Puts the items that the patch knows into its order, the others into the old one, and merges the two: an item that the patch
/// does not know comes first only where it stood before the next one that it knows.
fn interleave(
    mut known: Vec<Value>,
    mut unknown: Vec<Value>,
    patch: &[Value],
    old: &[Value],
    by: Order<'_>,
) -> Vec<Value> {
    known.sort_by_cached_key(|item| by.place(patch, item).unwrap_or(usize::MAX));
    unknown.sort_by_cached_key(|item| by.place(old, item).unwrap_or(usize::MAX));
    let mut all = Vec::with_capacity(known.len() + unknown.len());
    let mut unknown = unknown.into_iter().peekable();
    for item in known {
        let right = by.place(old, &item);
        while let Some(left) = unknown.peek().map(|left| by.place(old, left)) {
            match (left, right) {
                (Some(left), Some(right)) if left < right => all.extend(unknown.next()),
                _ => break,
            }
        }
        all.push(item);
    }
    all.extend(unknown);
    all
}

/// What the items of these lists are; they must all be the same.
pub fn item_kind(lists: &[&[Value]]) -> Result<ItemKind, Refused> {
    let mut items = lists.iter().flat_map(|list| list.iter());
    let Some(first) = items.next() else {
        return Err(Refused::failed("no elements in any of the given slices"));
    };
    if first.is_array() || lists.iter().any(|list| list.len() > MAX_ITEMS) {
        return Err(Refused::Unprocessable);
    }
    if items.any(|item| discriminant(item) != discriminant(first)) {
        let lists: Vec<String> = lists.iter().map(|list| show_list(list)).collect();
        return Err(Refused::Failed(format!("list element types are not identical: [{}]", lists.join(" "))));
    }
    Ok(if first.is_object() { ItemKind::Map } else { ItemKind::Scalar })
}

fn as_map(item: &Value) -> Result<&Fields, Refused> {
    item.as_object().ok_or_else(|| Refused::not_a(MAP, item))
}

fn merge_key<'a>(item: &'a Fields, key: &str) -> Result<&'a Value, Refused> {
    item.get(key).ok_or_else(|| Refused::no_merge_key(item, key))
}
