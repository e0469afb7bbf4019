//! What all requests share: the store, the kinds that are served, and the queue of what is tidied up after a write.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::events;
use crate::housekeeping::Chores;
use crate::resource::Resource;
use crate::room::Room;
use crate::schema::validate::Validator;
use crate::selector::SelectableFields;
use crate::status::ApiError;
use crate::store::{Key, Store};

/// A kind with what its objects are checked by.
#[derive(Debug)]
pub struct Served {
    pub resource: Resource,
    /// `edgeapps.skerry.dev`: the key of its objects in the store.
    pub stored_as: Arc<str>,
    /// `skerry.dev/v1alpha1`.
    pub api_version: String,
    /// What field selectors may name.
    pub selectable: SelectableFields,
    /// The schema's rules. None for a built-in kind, whose rules are in `builtin_rules`.
    pub validator: Option<Validator>,
}

impl Served {
    pub fn new(resource: Resource, validator: Option<Validator>, selectable: SelectableFields) -> Self {
        let api_version = resource.api_version();
        let stored_as = resource.home_name().into();
        Self { resource, stored_as, api_version, selectable, validator }
    }

    /// Whether objects are stored in this kind's own form, and not in that of another face.
    pub fn is_stored_here(&self) -> bool {
        self.resource.group == self.resource.home_group()
    }

    /// A stored object in this kind's form.
    pub fn face_of(&self, mut stored: Value) -> Value {
        if !self.is_stored_here() {
            events::from_stored(&mut stored);
        }
        stored
    }

    /// An object of this kind in the form in which it is stored.
    pub fn stored_form(&self, mut object: Value) -> Value {
        if !self.is_stored_here() {
            events::to_stored(&mut object);
        }
        object
    }

    pub fn key(&self, namespace: &str, name: &str) -> Key {
        Key { resource: self.stored_as.clone(), namespace: namespace.into(), name: name.into() }
    }
}

/// The state behind the API.
#[derive(Debug)]
pub struct Server {
    pub store: Store,
    pub chores: Chores,
    /// The room of large answers.
    pub room: Room,
    kinds: BTreeMap<(String, String, String), Arc<Served>>,
}

impl Server {
    pub fn new(store: Store, kinds: Vec<Served>) -> Self {
        let kinds = kinds.into_iter().map(|served| {
            let of = &served.resource;
            ((of.group.clone(), of.version.clone(), of.plural.clone()), Arc::new(served))
        });
        Self { store, chores: Chores::default(), room: Room::default(), kinds: kinds.collect() }
    }

    /// By the words of a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        self.kinds.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// By what an object says of itself, as in an owner reference.
    pub fn find_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Served>> {
        self.all().find(|served| served.resource.kind == kind && served.resource.api_version() == api_version)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.kinds.values()
    }

    /// The kind of namespaces, which the others live in.
    pub fn namespaces(&self) -> Result<&Arc<Served>, ApiError> {
        self.find("", "v1", "namespaces").ok_or_else(|| ApiError::internal("namespaces are not served"))
    }
}
