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

/// How the whole object came about that is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It was sent.
    Sent,
    /// It is the stored one with a patch.
    Patched,
    /// It is an apply's merge, which has also worked out `metadata.managedFields`.
    Applied,
}

impl Server {
    /// POST.
    pub async fn create(
        &self,
        target: Target<'_>,
        terms: Terms<'_>,
        body: Body,
    ) -> Result<Written, ApiError> {
        let mut warnings = Vec::new();
        let intent = conform::whole(target, terms, body, &mut warnings)?;
        warnings.extend(prepare::warnings(target, &intent, None));
        let object = self.insert(target, terms, intent, Way::Sent).await?;
        Ok(Written { object, created: true, warnings })
    }

    /// PUT.
    pub async fn replace(
        &self,
        target: Target<'_>,
        terms: Terms<'_>,
        body: Body,
    ) -> Result<Written, ApiError> {
        let mut warnings = Vec::new();
        let intent = conform::whole(target, terms, body, &mut warnings)?;
        conform::same_name(target, &intent)?;
        if prepare::is_made_by_put(target) && self.live(target).await?.is_none() {
            let mut intent = intent;
            // What it claims to have seen is not there to contradict it.
            object::set(&mut intent, "resourceVersion", None);
            let object = self.insert(target, terms, intent, Way::Sent).await?;
            return Ok(Written { object, created: true, warnings });
        }
        let mut of_change = Vec::new();
        let sent = |live: &Value| {
            of_change = prepare::warnings(target, &intent, Some(live));
            Ok(intent.clone())
        };
        let object = self.advance(target, terms, Way::Sent, sent).await?;
        warnings.extend(of_change);
        Ok(Written { object, created: false, warnings })
    }

    /// PATCH with anything but an apply.
    pub async fn patch(
        &self,
        target: Target<'_>,
        terms: Terms<'_>,
        patch: &Patch,
    ) -> Result<Written, ApiError> {
        let mut warnings = Vec::new();
        let patched = |live: &Value| {
            warnings.clear();
            let patched = patch.apply(live, &target.served.resource.schema)?;
            let intent = conform::patched(target, terms, patched, &mut warnings)?;
            conform::same_name(target, &intent)?;
            warnings.extend(prepare::warnings(target, &intent, Some(live)));
            Ok(intent)
        };
        let object = self.advance(target, terms, Way::Patched, patched).await?;
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
        let applied = conform::applied(target, body)?;
        let merge = |live: Option<&Value>| {
            let resource = &target.served.resource;
            let manager = manager(target, terms);
            let merged = fields::apply(&resource.schema, live, &applied, &manager, force, &now());
            conform::merged(target, &applied, merged.map_err(|refused| refused.into_api_error(&applied))?)
        };
        for _ in 0..TRIES {
            if self.live(target).await?.is_some() || !target.subresource.is_empty() {
                match self.advance(target, terms, Way::Applied, |live| merge(Some(live))).await {
                    // It went between the look and the write: an apply makes it anew.
                    Err(gone) if gone.reason == "NotFound" && target.subresource.is_empty() => {}
                    done => {
                        return done.map(|object| Written { object, created: false, warnings: Vec::new() });
                    }
                }
            }
            prepare::claims_no_past(target, &applied)?;
            match self.insert(target, terms, merge(None)?, Way::Applied).await {
                Err(lost) if lost.reason == "AlreadyExists" => {}
                done => return done.map(|object| Written { object, created: true, warnings: Vec::new() }),
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
    async fn put(
        &self,
        target: Target<'_>,
        stored: Object,
        made: &Value,
    ) -> Result<Option<Object>, ApiError> {
        let ended = prepare::is_ended(target, made);
        let draft = object::draft(target.served.stored_form(made.clone()));
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
        way: Way,
    ) -> Result<Bytes, ApiError> {
        let resource = &target.served.resource;
        let mut space = self.open_namespace(target, &intent).await?;
        let mut made = intent;
        prepare::create(target, &mut made)?;
        let base = object::text(&made, "generateName").to_owned();
        let generated = object::name(&made).is_empty() && !base.is_empty();
        if way != Way::Applied {
            fields::track(&resource.schema, None, &mut made, &manager(target, terms), &now());
        }
        for attempt in 1.. {
            if generated {
                object::set(&mut made, "name", Some(crate::meta::generate_name(&base).into()));
            }
            prepare::add_own(target, terms, &mut made);
            prepare::check_create(target, &mut made)?;
            let name = object::name(&made).to_owned();
            let key = target.served.key(target.namespace, &name);
            if !terms.dry_run {
                let draft = object::draft(target.served.stored_form(made.clone()));
                let written = match &space {
                    Some(space) => self.store.create_within(key.clone(), draft, space).await,
                    None => self.store.write(key.clone(), Expect::Absent, Change::Put(draft)).await,
                };
                match written {
                    Ok(stored) => {
                        self.chores.created(target.served, &made);
                        return Ok(stored.value);
                    }
                    Err(WriteError::Moved) if attempt < TRIES => {
                        space = self.open_namespace(target, &made).await?;
                        continue;
                    }
                    Err(WriteError::Conflict { .. }) => {}
                    Err(failed) => return Err(refused_by_store(failed)),
                }
            }
            match self.store.get(&key).await.map_err(ApiError::internal)? {
                None if terms.dry_run => return Ok(target.served.stored_form(made).to_string().into()),
                Some(other) if !generated || attempt >= NAME_TRIES => {
                    let exists = ApiError::already_exists(resource, &name);
                    let is_going = object::is_deleting(&parse(&other)?);
                    let why = if is_going { "object is being deleted: " } else { "" };
                    return Err(ApiError { message: format!("{why}{}", exists.message), ..exists });
                }
                // It has gone again, or another name is tried.
                _ if attempt >= TRIES => return Err(ApiError::already_exists(resource, &name)),
                _ => {}
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
        way: Way,
        mut next: impl FnMut(&Value) -> Result<Value, ApiError>,
    ) -> Result<Bytes, ApiError> {
        let resource = &target.served.resource;
        for _ in 0..TRIES {
            let stored = self.live(target).await?;
            let stored = stored.ok_or_else(|| ApiError::not_found(resource, target.name))?;
            let live = target.served.face_of(parse(&stored)?);
            let mut made = next(&live)?;
            prepare::check_claims(target, &made, &live, way)?;
            prepare::update(target, &mut made, &live);
            if way != Way::Applied {
                fields::track(&resource.schema, Some(&live), &mut made, &manager(target, terms), &now());
            }
            prepare::check_update(target, &mut made, &live)?;
            if fields::same_but_for_times(&made, &live) {
                return Ok(stored.value);
            }
            if terms.dry_run {
                return Ok(target.served.stored_form(made).to_string().into());
            }
            let ended = prepare::is_ended(target, &made);
            if let Some(stored) = self.put(target, stored, &made).await? {
                // What was stored last is what the writer is told of an object that its write has let go.
                return Ok(if ended { made.to_string().into() } else { stored.value });
            }
        }
        Err(ApiError::modified(resource, target.name))
    }

    /// The namespace that an object is made in. Nothing is made in one that is not there or is going.
    async fn open_namespace(&self, target: Target<'_>, intent: &Value) -> Result<Option<Object>, ApiError> {
        if target.namespace.is_empty() {
            return Ok(None);
        }
        let served = self.namespaces()?;
        let space = Target { served, namespace: "", name: target.namespace, subresource: "" };
        let stored =
            self.live(space).await?.ok_or_else(|| ApiError::not_found(&served.resource, target.namespace))?;
        if object::is_deleting(&parse(&stored)?) {
            return Err(prepare::namespace_is_going(target, object::name(intent)));
        }
        Ok(Some(stored))
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
        ApiError::internal(format_args!(
            "{} {}/{} cannot be read: {error}",
            key.resource, key.namespace, key.name
        ))
    })
}

/// What the store says to a write that it cannot take.
pub fn refused_by_store(error: WriteError) -> ApiError {
    match error {
        WriteError::Conflict { .. } | WriteError::Moved => {
            ApiError::internal("a conflict that nobody has handled")
        }
        WriteError::Full { .. } => {
            ApiError::new(507, "InsufficientStorage", format!("{error}: delete what is not needed"))
        }
        WriteError::TooLarge { .. } => ApiError::new(413, "RequestEntityTooLarge", error.to_string()),
        WriteError::DiskFull => ApiError::new(507, "InsufficientStorage", error.to_string()),
        WriteError::Failed(ref cause) => ApiError::internal(format_args!("{error}: {cause}")),
        WriteError::Slash | WriteError::Seal(_) | WriteError::Closed => ApiError::internal(error),
    }
}
