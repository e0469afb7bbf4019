//! The live object and the applied one, merged: what is applied wins, nothing is removed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Map, Value};

use super::path::Element;
use super::shape::{Form, ListForm, MapForm, Shape};

pub(super) fn merge(shape: Shape<'_>, live: &Value, applied: &Value) -> Value {
    match shape.form(Some(applied)) {
        Form::Scalar(_) => applied.clone(),
        Form::Map(form) => {
            let (live, set) = (live.as_object(), applied.as_object());
            if form.atomic || (live.is_none_or(Map::is_empty) && set.is_none_or(Map::is_empty)) {
                return applied.clone();
            }
            Value::Object(merge_maps(form, live, set))
        }
        Form::List(form) => {
            let (live, set) = (live.as_array(), applied.as_array());
            if form.atomic || (live.is_none_or(Vec::is_empty) && set.is_none_or(Vec::is_empty)) {
                return applied.clone();
            }
            Value::Array(merge_lists(form, live.map_or(&[], Vec::as_slice), set.map_or(&[], Vec::as_slice)))
        }
    }
}

fn merge_maps(
    form: MapForm<'_>,
    live: Option<&Map<String, Value>>,
    set: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    let mut merged = live.cloned().unwrap_or_default();
    for (name, value) in set.into_iter().flatten() {
        let value = match (live.and_then(|live| live.get(name)), form.child(name)) {
            (Some(live), Some(shape)) => merge(shape, live, value),
            (None, _) | (_, None) => value.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}

/// An item of the live list: alone under its key, or one of several, which are not merged with but replaced.
type Lives<'a> = BTreeMap<&'a Element, Option<&'a Value>>;

/// Keeps the order of what is applied, and each item that is only live close to those that it stood between.
fn merge_lists(form: ListForm<'_>, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let keyed = |items: &[Value]| -> Vec<Element> {
        items.iter().filter_map(|item| form.element(item).ok()).collect()
    };
    let (live_keys, applied_keys) = (keyed(live), keyed(applied));
    // Both were checked to have keys throughout; a live list from an older schema may not, and gives way.
    if live_keys.len() != live.len() || applied_keys.len() != applied.len() {
        return applied.to_vec();
    }
    let mut lives = Lives::new();
    for (key, item) in live_keys.iter().zip(live) {
        lives.entry(key).and_modify(|one| *one = None).or_insert(Some(item));
    }
    let wanted: BTreeSet<&Element> = applied_keys.iter().collect();
    let mut shared: VecDeque<&Element> = applied_keys.iter().filter(|key| lives.contains_key(key)).collect();
    let mut next_shared = shared.pop_front();
    let take = |key: &Element, item: &Value| match lives.get(key) {
        Some(Some(live)) => merge(form.items, live, item),
        Some(None) | None => item.clone(),
    };

    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    let mut done: BTreeSet<&Element> = BTreeSet::new();
    let mut left = live_keys.iter().zip(live).peekable();
    let mut right = applied_keys.iter().zip(applied).peekable();
    loop {
        if let (Some((key, _)), Some((want, item))) = (left.peek().copied(), right.peek().copied()) {
            if key == want {
                done.insert(key);
                merged.push(take(key, item));
                left.next();
                right.next();
                next_shared = shared.pop_front();
                continue;
            }
            if wanted.contains(key) && next_shared.is_some_and(|next| next != key) {
                // Shared, but its turn in the applied order is another.
                left.next();
                continue;
            }
        }
        if let Some((key, item)) = left.peek().copied() {
            if !wanted.contains(key) {
                merged.push(item.clone());
                left.next();
                continue;
            }
            if done.contains(key) {
                left.next();
            }
        }
        if let Some((want, item)) = right.next() {
            done.insert(want);
            merged.push(take(want, item));
            if next_shared == Some(want) {
                next_shared = shared.pop_front();
            }
        } else if left.peek().is_none() {
            return merged;
        }
    }
}
