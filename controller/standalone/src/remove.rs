//! DELETE of one object or of a collection: at once, or marked and left to its finalizers.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::clock::now;
use crate::object;
use crate::options::{Delete, Propagation};
use crate::resource::Resource;
use crate::server::Server;
use crate::status::{ApiError, Details};
use crate::store::{Change, Expect, WriteError};
use crate::write::{Target, is_kept, parse, refused_by_store};

/// Waits for the dependents to be deleted first.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Waits for the dependents to be let go.
pub const ORPHAN: &str = "orphan";
/// Tries of a deletion that writes get in the way of.
const TRIES: usize = 100;
/// Namespaces that the server itself lives in.
const KEPT: [&str; 2] = ["default", "kube-system"];

/// What a deletion led to.
#[derive(Debug)]
pub enum Removed {
    /// It is gone; this was its last state.
    Gone(Value),
    /// It is marked and waits for its finalizers.
    Marked(Bytes),
}

impl Server {
    pub async fn delete(&self, target: Target<'_>, options: &Delete) -> Result<Removed, ApiError> {
        let resource = &target.served.resource;
        if resource.kind == "Namespace" && KEPT.contains(&target.name) {
            return Err(ApiError::forbidden(resource, target.name, "this namespace may not be deleted"));
        }
        for _ in 0..TRIES {
            let stored =
                self.live(target).await?.ok_or_else(|| ApiError::not_found(resource, target.name))?;
            // One that cannot be read can still be deleted: nothing else gets it out of the way.
            let live = parse(&stored).unwrap_or_else(|_| unreadable(target));
            check_preconditions(resource, &live, options)?;
            let mut last = live.clone();
            set_propagation(&mut last, options.propagation);
            let waits = is_kept(target, &last);
            if waits {
                mark(resource, &mut last);
            }
            if options.dry_run {
                return Ok(if waits {
                    Removed::Marked(last.to_string().into())
                } else {
                    Removed::Gone(last)
                });
            }
            if waits && last == live {
                return Ok(Removed::Marked(stored.value));
            }
            let draft = object::draft(last.clone());
            let change = if waits { Change::Put(draft) } else { Change::Delete(draft) };
            match self.store.write(stored.key, Expect::Revision(stored.revision), change).await {
                Ok(stored) if waits => {
                    self.chores.updated(target.served, &last);
                    return Ok(Removed::Marked(stored.value));
                }
                Ok(_) => {
                    self.chores.deleted(target.served, &last);
                    return Ok(Removed::Gone(last));
                }
                Err(WriteError::Conflict { .. }) => {}
                Err(failed) => return Err(refused_by_store(failed)),
            }
        }
        Err(ApiError::modified(resource, target.name))
    }
}

/// What is known of a stored object whose text is damaged.
fn unreadable(target: Target<'_>) -> Value {
    json!({
        "apiVersion": target.served.api_version, "kind": target.served.resource.kind,
        "metadata": {"name": target.name, "namespace": target.namespace},
    })
}

fn check_preconditions(resource: &Resource, live: &Value, options: &Delete) -> Result<(), ApiError> {
    // A real server names the kind here, and the plural everywhere else.
    let refuse = |why: String| {
        let refused = ApiError::conflict(resource, object::name(live), &why);
        let kind = resource.kind.clone();
        let message = refused.message.replacen(&resource.plural, &kind, 1);
        let details = refused.details.map(|details| Box::new(Details { kind, ..*details }));
        Err(ApiError { message, details, ..ApiError::new(409, "Conflict", "") })
    };
    let (uid, revision) = (object::uid(live), object::text(live, "resourceVersion"));
    match options {
        Delete { uid: Some(claimed), .. } if claimed != uid => refuse(format!(
            "the UID in the precondition ({claimed}) does not match the UID in record ({uid}). The object might have been deleted \
             and then recreated"
        )),
        Delete { resource_version: Some(claimed), .. } if claimed != revision => refuse(format!(
            "the ResourceVersion in the precondition ({claimed}) does not match the ResourceVersion in record ({revision}). The \
             object might have been modified"
        )),
        _ => Ok(()),
    }
}

/// The policy of a deletion is kept as a finalizer, so that whoever goes on after a crash knows it.
fn set_propagation(object: &mut Value, policy: Option<Propagation>) {
    let Some(policy) = policy else { return };
    let wanted = match policy {
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
        Propagation::Background => None,
    };
    let mut finalizers: Vec<String> = object::finalizers(object)
        .into_iter()
        .filter(|own| *own != FOREGROUND && *own != ORPHAN)
        .map(str::to_owned)
        .collect();
    finalizers.extend(wanted.map(str::to_owned));
    object::set_finalizers(object, &finalizers);
}

/// Marks an object as being deleted.
fn mark(resource: &Resource, object: &mut Value) {
    if object::is_deleting(object) {
        return;
    }
    object::set(object, "deletionTimestamp", Some(now().into()));
    let generation = object::generation(object);
    if resource.kind == "Namespace" {
        object["status"] = json!({"phase": "Terminating"});
        return;
    }
    object::set(object, "deletionGracePeriodSeconds", Some(0.into()));
    if generation > 0 {
        object::set(object, "generation", Some(generation.saturating_add(1).into()));
    }
}

/// What a client is told of an object that is gone.
pub fn success(resource: &Resource, last: &Value) -> Value {
    let mut details = json!({"name": object::name(last), "kind": resource.plural, "uid": object::uid(last)});
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}
