//! What the server decides about an object that is written, whoever asks: identity, generation, which half of it a subresource
//! touches, and whether it may be stored.

use serde_json::{Map, Value};

use super::{Target, Terms, Way};
use crate::clock::now;
use crate::decode::settle_numbers;
use crate::meta::cause;
use crate::object;
use crate::resource::Origin;
use crate::status::{ApiError, Cause, Details};
use crate::{builtin_rules, meta};

/// The fields of metadata that only the server writes.
const SERVERS: [&str; 5] =
    ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"];
/// Of these, the ones that stay as they are once they are set; before, a client that sets them is refused.
const DELETION: [&str; 2] = ["deletionTimestamp", "deletionGracePeriodSeconds"];

/// A kind of which PUT makes the object that is not there.
pub fn is_made_by_put(target: Target<'_>) -> bool {
    target.subresource.is_empty()
        && matches!(&*target.served.stored_as, "leases.coordination.k8s.io" | "events")
}

/// An apply that would make an object must not name one that was.
pub fn claims_no_past(target: Target<'_>, applied: &Value) -> Result<(), ApiError> {
    let resource = &target.served.resource;
    if !object::uid(applied).is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            object::uid(applied)
        );
        return Err(ApiError::conflict(resource, target.name, &why));
    }
    if object::revision(applied).is_some_and(|revision| revision > 0) {
        return Err(ApiError::not_found(resource, target.name));
    }
    Ok(())
}

/// Before an object is made.
pub fn create(target: Target<'_>, made: &mut Value) -> Result<(), ApiError> {
    let resource = &target.served.resource;
    let generation = match resource.origin {
        Origin::Custom => Some(1.into()),
        // Nobody counts the generations of a built-in kind that is served here, but one that is stated is kept.
        Origin::BuiltIn => object::meta(made, "generation").filter(|stated| **stated != 0).cloned(),
    };
    if !matches!(object::text(made, "resourceVersion"), "" | "0") {
        return Err(ApiError::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    for field in SERVERS.into_iter().chain(["resourceVersion"]) {
        object::set(made, field, None);
    }
    object::set(made, "generation", generation);
    object::set(made, "uid", Some(uuid::Uuid::new_v4().to_string().into()));
    object::set(made, "creationTimestamp", Some(now().into()));
    if resource.has("status") {
        object::fields(made).remove("status");
    }
    builtin_rules::prepare(&resource.kind, made, None);
    // The defaults of what was dropped come back, as they do for readers of a real server.
    super::conform::complete(target, made);
    Ok(())
}

/// What the server states of it in its own name, when the managers of the rest have been worked out.
pub fn add_own(target: Target<'_>, terms: Terms<'_>, made: &mut Value) {
    builtin_rules::add_own(&target.served.resource.kind, made, terms.user);
}

/// What a caller claims to have seen is still so.
pub fn check_claims(target: Target<'_>, made: &Value, live: &Value, way: Way) -> Result<(), ApiError> {
    let resource = &target.served.resource;
    let (claimed, is) = (object::uid(made), object::uid(live));
    if way != Way::Patched && !claimed.is_empty() && claimed != is {
        let kept_as =
            if resource.origin == Origin::Custom { format!("{}/", resource.group) } else { String::new() };
        let space =
            if target.namespace.is_empty() { String::new() } else { format!("{}/", target.namespace) };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{kept_as}{}/{space}{}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {claimed}, UID in object meta: {is}",
            resource.plural, target.name
        );
        return Err(ApiError::conflict(resource, target.name, &why));
    }
    match object::text(made, "resourceVersion") {
        "" | "0" if may_be_unconditional(target) => Ok(()),
        "" | "0" => {
            let cause =
                cause::invalid_json("metadata.resourceVersion", "0", "must be specified for an update");
            Err(cause::refusal(&resource.group, &resource.plural, target.name, vec![cause]))
        }
        claimed if claimed == object::text(live, "resourceVersion") => Ok(()),
        claimed if claimed.parse::<u64>().is_err() => {
            let why = format!("strconv.ParseUint: parsing {}: invalid syntax", cause::quote(claimed));
            Err(ApiError::new(500, "", why))
        }
        _ => Err(ApiError::modified(resource, target.name)),
    }
}

/// Whether a replace may leave out the resourceVersion.
fn may_be_unconditional(target: Target<'_>) -> bool {
    target.served.resource.origin == Origin::BuiltIn
        && &*target.served.stored_as != "leases.coordination.k8s.io"
}

/// Before a stored object is replaced.
pub fn update(target: Target<'_>, made: &mut Value, live: &Value) {
    // One that a patch has changed stays, to be refused.
    if object::uid(made).is_empty() {
        object::set(made, "uid", object::meta(live, "uid").cloned());
    }
    let resource = &target.served.resource;
    if resource.origin == Origin::Custom && !target.subresource.is_empty() {
        only(made, live, target.subresource);
        return;
    }
    for field in SERVERS.into_iter().chain(["resourceVersion"]) {
        let kept = object::meta(live, field).cloned();
        if kept.is_some() || !DELETION.contains(&field) {
            object::set(made, field, kept);
        }
    }
    if !target.subresource.is_empty() {
        builtin_rules::prepare_part(&resource.kind, target.subresource, made, live);
        return;
    }
    if resource.has("status") {
        object::put(object::fields(made), "status", live.get("status").cloned());
    }
    builtin_rules::prepare(&resource.kind, made, Some(live));
    super::conform::complete(target, made);
    if resource.origin == Origin::Custom && declared(made) != declared(live) {
        object::set(made, "generation", Some(object::generation(live).saturating_add(1).into()));
    }
}

/// Everything but metadata and status: what a change of makes a new generation.
fn declared(object: &Value) -> Option<Map<String, Value>> {
    let mut fields = object.as_object()?.clone();
    fields.remove("metadata");
    fields.remove("status");
    Some(fields)
}

/// The live object with one field of the new one.
fn only(made: &mut Value, live: &Value, field: &str) {
    let stated = made.get(field).cloned();
    let managed = object::meta(made, "managedFields").cloned();
    *made = live.clone();
    object::put(object::fields(made), field, stated);
    object::set(made, "managedFields", managed);
}

/// What the server takes, but warns of.
pub fn warnings(target: Target<'_>, made: &Value, live: Option<&Value>) -> Vec<String> {
    match target.served.resource.origin {
        Origin::Custom => meta::warnings::finalizers(made, live),
        Origin::BuiltIn => Vec::new(),
    }
}

/// Whether an object may be made.
pub fn check_create(target: Target<'_>, made: &mut Value) -> Result<(), ApiError> {
    let mut causes = meta::validate_create(made, &target.served.resource);
    causes.extend(rules(target, &causes, made, None));
    refuse(target, made, causes)
}

/// Whether an object may become this one.
pub fn check_update(target: Target<'_>, made: &mut Value, live: &Value) -> Result<(), ApiError> {
    let mut causes = meta::validate_update(made, live, &target.served.resource);
    causes.extend(rules(target, &causes, made, Some(live)));
    refuse(target, made, causes)
}

fn rules(target: Target<'_>, metadata: &[Cause], made: &Value, live: Option<&Value>) -> Vec<Cause> {
    let kind = &target.served.resource.kind;
    match (&target.served.validator, live) {
        (Some(validator), Some(live)) if target.subresource == "status" => {
            validator.check_status(metadata, made, live)
        }
        (Some(validator), live) => validator.check(metadata, made, live),
        (None, Some(live)) if target.subresource == "status" => [
            builtin_rules::validate(kind, made, Some(live)),
            builtin_rules::validate_status(kind, made, live),
        ]
        .concat(),
        (None, live) => builtin_rules::validate(kind, made, live),
    }
}

fn refuse(target: Target<'_>, made: &mut Value, causes: Vec<Cause>) -> Result<(), ApiError> {
    if causes.is_empty() {
        if target.served.resource.origin == Origin::Custom {
            // Only the rules still had to tell 1.0 from 1.
            settle_numbers(made);
        }
        return Ok(());
    }
    Err(ApiError::invalid(&target.served.resource, object::name(made), causes))
}

/// A deleted object that nothing keeps any more.
pub fn is_ended(target: Target<'_>, made: &Value) -> bool {
    object::is_deleting(made) && !is_kept(target, made)
}

/// Whether a deletion has to wait: for a finalizer or, of a namespace, for its content.
pub fn is_kept(target: Target<'_>, object: &Value) -> bool {
    let content =
        object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    !object::finalizers(object).is_empty() || (target.served.resource.kind == "Namespace" && content)
}

/// Nothing new goes into a namespace that is being deleted.
pub fn namespace_is_going(target: Target<'_>, name: &str) -> ApiError {
    let resource = &target.served.resource;
    let space = target.namespace;
    let why = format!("unable to create new content in namespace {space} because it is being terminated");
    let refused = ApiError::forbidden(resource, name, &why);
    let cause = Cause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {space} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    let details = refused.details.clone().map(|details| Details { causes: vec![cause], ..*details });
    ApiError { details: details.map(Box::new), ..refused }
}
