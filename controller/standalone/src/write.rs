//! Create, replace, patch and apply: one pipeline that a request's object goes through until it is stored.
//!
//! conform (is it this kind, and nothing else) → prepare (what the server decides) → track (who owns which field) → validate → store.
//! Every step but the last is pure, so a write that meets another one is simply done again on what that has left.

mod conform;
mod prepare;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::access::Identity;
use crate::clock::now;
use crate::fields::{self, Manager};
use crate::object;
use crate::options::FieldValidation;
use crate::patch::Patch;
use crate::server::{Served, Server};
use crate::status::ApiError;
use crate::store::{Change, Expect, Object, WriteError};

pub use conform::Body;
pub use prepare::is_kept;

/// Tries of a write that others get in the way of. Each loss means that another write has won.
const TRIES: usize = 100;
/// Tries at a generated name, as many as Kubernetes makes.
const NAME_TRIES: usize = 8;

/// The object that a request is about.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub served: &'a Arc<Served>,
    /// Empty for a cluster-scoped one.
    pub namespace: &'a str,
    /// Empty for a create.
    pub name: &'a str,
    /// Empty, or `status`, `finalize`, `approval`.
    pub subresource: &'a str,
}

/// How it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Who owns the fields.
    pub manager: &'a str,
    /// Everything is done but the storing.
    pub dry_run: bool,
    /// What happens to unknown and duplicate fields.
    pub validation: FieldValidation,
    pub user: &'a Identity,
}

/// What a write led to.
#[derive(Debug)]
pub struct Written {
    /// The object as it is stored now.
    pub object: Bytes,
    pub created: bool,
    /// For the Warning headers.
    pub warnings: Vec<String>,
}

/// Who has worked out `metadata.managedFields`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ownership {
    /// Nobody yet: by what changes.
    Tracked,
    /// The apply's merge.
    Applied,
}

impl Server {
    /// POST.
    pub async fn create(&self, target: Target<'_>, terms: Terms<'_>, body: Body) -> Result<Written, ApiError> {
        let mut warnings = Vec::new();
        let intent = conform::whole(target, terms, body, &mut warnings)?;
        let object = self.insert(target, terms, intent, Ownership::Tracked).await?;
        Ok(Written { object, created: true, warnings })
    }

    /// PUT.
    pub async fn replace(&self, target: Target<'_>, terms: Terms<'_>, body: Body) -> Result<Written, ApiError> {
        let mut warnings = Vec::new();
        let intent = conform::whole(target, terms, body, &mut warnings)?;
        conform::same_name(target, &intent)?;
        if prepare::is_made_by_put(target) && self.live(target).await?.is_none() {
            let object = self.insert(target, terms, intent, Ownership::Tracked).await?;
            return Ok(Written { object, created: true, warnings });
        }
        prepare::may_be_unconditional(target, &intent)?;
        let object = self.advance(target, terms, Ownership::Tracked, |_| Ok(intent.clone())).await?;
        Ok(Written { object, created: false, warnings })
    }

    /// PATCH with anything but an apply.
    pub async fn patch(&self, target: Target<'_>, terms: Terms<'_>, patch: &Patch) -> Result<Written, ApiError> {
        let mut warnings = Vec::new();
        let patched = |live: &Value| {
            warnings.clear();
            let patched = patch.apply(live, &target.served.resource.schema)?;
            let intent = conform::patched(target, terms, patched, &mut warnings)?;
            conform::same_name(target, &intent)?;
            Ok(intent)
        };
        let object = self.advance(target, terms, Ownership::Tracked, patched).await?;
        Ok(Written { object, created: false, warnings })
    }

    /// PATCH with an apply: the object is made if it is not there.
    pub async fn apply(
        &self,
        target: Target<'_>,
        terms: Terms<'_>,
        body: Body,
        force: bool,
    ) -> Result<Written, ApiError> {
        let mut warnings = Vec::new();
        let applied = conform::applied(target, terms, body, &mut warnings)?;
        let merge = |live: Option<&Value>| {
            let resource = &target.served.resource;
            let manager = manager(target, terms);
            let merged = fields::apply(&resource.schema, live, &applied, &manager, force, &now());
            let mut intent = merged.map_err(|refused| refused.into_api_error(&applied))?;
            conform::complete(target, &mut intent);
            Ok(intent)
        };
        for _ in 0..TRIES {
            if self.live(target).await?.is_some() || !target.subresource.is_empty() {
                match self.advance(target, terms, Ownership::Applied, |live| merge(Some(live))).await {
                    // It went between the look and the write: an apply makes it anew.
                    Err(gone) if gone.reason == "NotFound" && target.subresource.is_empty() => {}
                    done => return done.map(|object| Written { object, created: false, warnings }),
                }
            }
            prepare::claims_no_past(target, &applied)?;
            match self.insert(target, terms, merge(None)?, Ownership::Applied).await {
                Err(lost) if lost.reason == "AlreadyExists" => {}
                done => return done.map(|object| Written { object, created: true, warnings }),
            }
        }
        Err(ApiError::modified(&target.served.resource, target.name))
    }

    /// A change that the server makes itself, past what a subresource or a manager may touch.
    pub async fn amend(&self, target: Target<'_>, change: impl Fn(&mut Value)) -> Result<(), ApiError> {
        for _ in 0..TRIES {
            let stored = self.live(target).await?;
            let stored = stored.ok_or_else(|| ApiError::not_found(&target.served.resource, target.name))?;
            let live = parse(&stored)?;
            let mut made = live.clone();
            change(&mut made);
            if made == live || self.put(target, stored, &made).await?.is_some() {
                return Ok(());
            }
        }
        Err(ApiError::modified(&target.served.resource, target.name))
    }

    /// Stores what an object has become, or its end. None: another write came between.
    async fn put(&self, target: Target<'_>, stored: Object, made: &Value) -> Result<Option<Object>, ApiError> {
        let ended = prepare::is_ended(target, made);
        let draft = object::draft(made.clone());
        let change = if ended { Change::Delete(draft) } else { Change::Put(draft) };
        match self.store.write(stored.key, Expect::Revision(stored.revision), change).await {
            Ok(stored) => {
                if ended {
                    self.chores.deleted(target.served, made);
                } else {
                    self.chores.updated(target.served, made);
                }
                Ok(Some(stored))
            }
            Err(WriteError::Conflict { .. }) => Ok(None),
            Err(failed) => Err(refused_by_store(failed)),
        }
    }

    /// The stored object that a request is about.
    pub async fn live(&self, target: Target<'_>) -> Result<Option<Object>, ApiError> {
        self.store.get(&target.served.key(target.namespace, target.name)).await.map_err(ApiError::internal)
    }

    /// Stores an object that must not be there yet.
    async fn insert(
        &self,
        target: Target<'_>,
        terms: Terms<'_>,
        intent: Value,
        ownership: Ownership,
    ) -> Result<Bytes, ApiError> {
        let resource = &target.served.resource;
        self.check_namespace(target, &intent).await?;
        let mut made = intent;
        prepare::create(target, terms, &mut made)?;
        let base = object::text(&made, "generateName").to_owned();
        let generated = object::name(&made).is_empty() && !base.is_empty();
        if ownership == Ownership::Tracked {
            fields::track(&resource.schema, None, &mut made, &manager(target, terms), &now());
        }
        for attempt in 1.. {
            if generated {
                object::set(&mut made, "name", Some(crate::meta::generate_name(&base).into()));
            }
            prepare::check_create(target, &made)?;
            let name = object::name(&made).to_owned();
            let key = target.served.key(target.namespace, &name);
            let taken = if terms.dry_run {
                if self.store.get(&key).await.map_err(ApiError::internal)?.is_none() {
                    return Ok(made.to_string().into());
                }
                true
            } else {
                match self.store.write(key, Expect::Absent, Change::Put(object::draft(made.clone()))).await {
                    Ok(stored) => {
                        self.chores.created(target.served, &made);
                        return Ok(stored.value);
                    }
                    Err(WriteError::Conflict { .. }) => true,
                    Err(failed) => return Err(refused_by_store(failed)),
                }
            };
            if taken && (!generated || attempt >= NAME_TRIES) {
                return Err(ApiError::already_exists(resource, &name));
            }
        }
        Err(ApiError::internal("no name was free"))
    }

    /// Takes a stored object to what `next` makes of it, again for each write that comes between. `next` answers with the whole
    /// object; a resourceVersion in it is a claim that nothing came between.
    async fn advance(
        &self,
        target: Target<'_>,
        terms: Terms<'_>,
        ownership: Ownership,
        mut next: impl FnMut(&Value) -> Result<Value, ApiError>,
    ) -> Result<Bytes, ApiError> {
        let resource = &target.served.resource;
        for _ in 0..TRIES {
            let stored = self.live(target).await?;
            let stored = stored.ok_or_else(|| ApiError::not_found(resource, target.name))?;
            let live = parse(&stored)?;
            let mut made = next(&live)?;
            prepare::check_claims(target, &made, &live)?;
            prepare::update(target, &mut made, &live);
            if ownership == Ownership::Tracked {
                fields::track(&resource.schema, Some(&live), &mut made, &manager(target, terms), &now());
            }
            prepare::check_update(target, &made, &live)?;
            if fields::same_but_for_times(&made, &live) {
                return Ok(stored.value);
            }
            if terms.dry_run {
                return Ok(made.to_string().into());
            }
            if let Some(stored) = self.put(target, stored, &made).await? {
                return Ok(stored.value);
            }
        }
        Err(ApiError::modified(resource, target.name))
    }

    /// Nothing is made in a namespace that is not there or is going.
    async fn check_namespace(&self, target: Target<'_>, intent: &Value) -> Result<(), ApiError> {
        if target.namespace.is_empty() {
            return Ok(());
        }
        let served = self.namespaces()?;
        let space = Target { served, namespace: "", name: target.namespace, subresource: "" };
        let Some(stored) = self.live(space).await? else {
            return Err(ApiError::not_found(&served.resource, target.namespace));
        };
        if object::is_deleting(&parse(&stored)?) {
            return Err(prepare::namespace_is_going(target, object::name(intent)));
        }
        Ok(())
    }
}

/// The manager that owns what a request writes.
fn manager<'a>(target: Target<'a>, terms: Terms<'a>) -> Manager<'a> {
    Manager::of(&target.served.resource, &target.served.api_version, target.subresource, terms.manager)
}

/// A stored object as a value.
pub fn parse(stored: &Object) -> Result<Value, ApiError> {
    serde_json::from_slice(&stored.value).map_err(|error| {
        let Object { key, .. } = stored;
        ApiError::internal(format_args!("{} {}/{} cannot be read: {error}", key.resource, key.namespace, key.name))
    })
}

/// What the store says to a write that it cannot take.
pub fn refused_by_store(error: WriteError) -> ApiError {
    match error {
        WriteError::Conflict { .. } => ApiError::internal("a conflict that nobody has handled"),
        WriteError::Full { .. } => ApiError::new(507, "InsufficientStorage", format!("{error}: delete what is not needed")),
        WriteError::TooLarge { .. } => ApiError::new(413, "RequestEntityTooLarge", error.to_string()),
        other => ApiError::internal(other),
    }
}
