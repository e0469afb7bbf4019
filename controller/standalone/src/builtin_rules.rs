//! What the real server adds to, and asks of, the built-in kinds that are served, beyond their schema and the rules of metadata.

mod certificates;
mod data;
mod events;
mod pem;
mod small;

use serde_json::Value;

use crate::access::Identity;
use crate::meta::cause::invalid_text;
use crate::status::Cause;

/// Finalizers that need no domain before them.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// Sets what the server decides about a new object, or about one that replaces `old`: defaults, folded fields, and fields that an
/// ordinary write does not touch. `object` has its name already, if it will have one.
pub fn prepare(kind: &str, object: &mut Value, old: Option<&Value>) {
    match kind {
        "ConfigMap" => data::prepare_config_map(object),
        "Secret" => data::prepare_secret(object),
        "Lease" => small::prepare_lease(object),
        "ControllerRevision" => small::prepare_controller_revision(object),
        "Namespace" => small::prepare_namespace(object, old),
        "CertificateSigningRequest" => certificates::prepare(object, old),
        "Event" => events::prepare(object),
        _ => {}
    }
}

/// Sets what a write to a subresource leaves as it is in `old`. Metadata it does not: that is written with any.
pub fn prepare_part(kind: &str, subresource: &str, object: &mut Value, old: &Value) {
    match kind {
        "Namespace" => small::prepare_namespace_part(subresource, object, old),
        "CertificateSigningRequest" => certificates::prepare_part(subresource, object, old),
        _ => {}
    }
}

/// What the server states of a new object in its own name. No manager owns it, so it is added when they have been worked out,
/// and when the object has its name.
pub fn add_own(kind: &str, object: &mut Value, creator: &Identity) {
    match kind {
        "Namespace" => small::own_namespace(object),
        "CertificateSigningRequest" => certificates::requested_by(object, creator),
        _ => {}
    }
}

/// What is wrong with an object that is new or replaces `old`, beyond what `meta` finds.
pub fn validate(kind: &str, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let own = match kind {
        "ConfigMap" => data::config_map(object, old),
        "Secret" => data::secret(object, old),
        "Namespace" => small::namespace(object),
        "ControllerRevision" => small::controller_revision(object, old),
        "CertificateSigningRequest" => certificates::validate(object, old),
        "Event" if events::is_strict(object) => events::validate(object, old),
        // These two ask nothing of finalizers.
        "Event" => return events::validate(object, old),
        "Lease" => return small::lease(object),
        _ => return Vec::new(),
    };
    let mut causes = finalizers(object);
    causes.extend(own);
    causes
}

/// What else is wrong with an object whose status was written through the subresource `status`.
pub fn validate_status(kind: &str, object: &Value, old: &Value) -> Vec<Cause> {
    match kind {
        "Namespace" => small::namespace_status(object).into_iter().collect(),
        "CertificateSigningRequest" => certificates::status_change(object, old),
        _ => Vec::new(),
    }
}

/// A finalizer of a built-in object has a domain, or is one of Kubernetes' own.
fn finalizers(object: &Value) -> Vec<Cause> {
    let all = list(object, "/metadata/finalizers").iter().enumerate();
    let own = all.filter_map(|(at, finalizer)| {
        unqualified(&format!("metadata.finalizers[{at}]"), finalizer.as_str()?)
    });
    own.collect()
}

pub fn is_standard_finalizer(finalizer: &str) -> bool {
    STANDARD_FINALIZERS.contains(&finalizer)
}

fn unqualified(field: &str, finalizer: &str) -> Option<Cause> {
    let known = finalizer.contains('/') || is_standard_finalizer(finalizer);
    let detail = "name is neither a standard finalizer name nor is it fully qualified";
    (!known).then(|| invalid_text(field, finalizer, detail))
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Value, path: &str) -> &'a [Value] {
    object.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
