//! Who owns what after a change: an update takes what it changed, an apply what it states, and both take from others.

use serde_json::Value;

use super::collect::fields_of;
use super::compare::{Comparison, compare};
use super::managed::{Managed, Operation, Owned, Owner};
use super::merge::merge;
use super::path::{Element, same};
use super::remove::{reconcile, remove};
use super::set::FieldSet;
use super::shape::Shape;

/// Nobody owns these: the server keeps them, or they name the object.
const STRIPPED: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// What a change is made to and in which version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) shape: Shape<'a>,
    pub(super) api_version: &'a str,
    /// Fields that this kind of request never owns.
    pub(super) reset: &'a FieldSet,
}

/// A field that an apply wants otherwise than its owner.
#[derive(Debug)]
pub(super) struct Clash {
    pub(super) owner: Owner,
    pub(super) path: Vec<Element>,
}

impl Rules<'_> {
    /// What `owner` changed becomes its own. The time is set when that is anything.
    pub(super) fn update(
        self,
        old: &Value,
        new: &Value,
        managed: &mut Managed,
        owner: Owner,
        time: Option<jiff::Timestamp>,
    ) {
        self.reconcile(managed);
        let compared = compare(self.shape, old, new).without(self.reset);
        self.take(&compared, managed);
        let mut fields = compared.modified;
        fields.unite(compared.added);
        fields.subtract(&FieldSet::of_names(&STRIPPED));
        if fields.is_empty() {
            return;
        }
        if let Some(before) = managed.0.remove(&owner) {
            fields.unite(before.fields);
        }
        managed.0.insert(owner, Owned { fields, api_version: self.api_version.to_owned(), time });
    }

    /// The live object with what is applied. None: it is already as the apply wants it.
    pub(super) fn apply(
        self,
        live: &Value,
        applied: &Value,
        managed: &mut Managed,
        owner: &Owner,
        force: bool,
    ) -> Result<Option<Value>, Vec<Clash>> {
        self.reconcile(managed);
        let mut fields = fields_of(self.shape, applied);
        fields.subtract_below(self.reset);
        let owned = Owned { fields, api_version: self.api_version.to_owned(), time: None };
        let before = managed.0.insert(owner.clone(), owned);
        if let (Some(before), Some(owned)) = (&before, managed.0.get_mut(owner)) {
            owned.time = before.time;
        }

        let mut merged = merge(self.shape, live, applied);
        if let Some(before) = before.filter(|before| !before.fields.is_empty()) {
            merged = self.prune(merged, &before.fields, managed, owner);
        }
        let compared = compare(self.shape, live, &merged).without(self.reset);
        if !force {
            let clashes = clashes(&compared, managed, owner);
            if !clashes.is_empty() {
                return Err(clashes);
            }
        }
        let mine = managed.0.remove(owner);
        self.take(&compared, managed);
        if let Some(mut mine) = mine {
            mine.fields.subtract(&FieldSet::of_names(&STRIPPED));
            if !mine.fields.is_empty() {
                managed.0.insert(owner.clone(), mine);
            }
        }
        Ok((!same(live, &merged)).then_some(merged))
    }

    /// Drops what names its fields in a version that is not served, and follows a schema that has changed.
    fn reconcile(self, managed: &mut Managed) {
        managed.0.retain(|_, owned| owned.api_version == self.api_version);
        managed.0.values_mut().for_each(|owned| reconcile(self.shape, &mut owned.fields));
    }

    /// Takes from all what has changed or gone.
    fn take(self, compared: &Comparison, managed: &mut Managed) {
        managed.0.retain(|_, owned| {
            owned.fields.subtract(&compared.modified);
            owned.fields.subtract(&compared.added);
            owned.fields.subtract(&compared.removed);
            !owned.fields.is_empty()
        });
    }

    /// Removes what the applier stated before, states no more, and nobody else owns.
    fn prune(self, merged: Value, before: &FieldSet, managed: &Managed, owner: &Owner) -> Value {
        let mut dropped = before.clone();
        managed.0.get(owner).into_iter().for_each(|mine| dropped.subtract(&mine.fields));
        // The common case, an intent stated again: the walks below would find nothing.
        if dropped.is_empty() {
            return merged;
        }
        let merged = &merged;
        let named = |fields: &FieldSet| fields.with_named(Some(self.shape));
        let before = named(before);
        let all = named(&fields_of(self.shape, merged));

        let mut kept = named(&fields_of(self.shape, &remove(Some(self.shape), merged, &before)));
        let mut owned = FieldSet::default();
        managed.0.values().for_each(|other| owned.unite(other.fields.clone()));
        kept.unite(named(&owned));
        let mut gone = all.clone();
        gone.subtract(&kept);

        // What hangs below a removed item but was never the applier's keeps the item.
        let without = remove(Some(self.shape), merged, &gone);
        let mut gone = all;
        gone.subtract(&named(&fields_of(self.shape, &without)));
        gone.intersect(&before);
        remove(Some(self.shape), merged, &gone)
    }
}

fn clashes(compared: &Comparison, managed: &Managed, applier: &Owner) -> Vec<Clash> {
    let mut changed = compared.modified.clone();
    changed.unite(compared.added.clone());
    let mut found = Vec::new();
    for (owner, owned) in managed.0.iter().filter(|(owner, _)| *owner != applier) {
        let mut fields = owned.fields.clone();
        fields.intersect(&changed);
        found.extend(fields.paths().into_iter().map(|path| Clash { owner: owner.clone(), path }));
    }
    found.sort_by_cached_key(|clash| clash.owner.identifier());
    found
}

impl Owner {
    pub(super) fn of(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let name = if name.is_empty() { "unknown" } else { name };
        let api_version = if operation == Operation::Update { api_version } else { "" };
        Self {
            name: name.to_owned(),
            operation,
            api_version: api_version.to_owned(),
            subresource: subresource.to_owned(),
        }
    }
}
