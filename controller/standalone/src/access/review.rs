//! Answers `kubectl auth whoami` and `kubectl auth can-i`: the review objects, which are asked and answered in one POST and never
//! stored. The caller decodes the body, answers 201 and, for the sake of sameness, tracks field managers.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Identity;
use super::policy::{Attributes, Policy, Rule};
use crate::status::{ApiError, Cause, Details};

/// Answers a SelfSubjectReview of authentication.k8s.io/v1; `now` is RFC 3339.
pub fn self_review(who: &Identity, now: &str) -> Value {
    json!({
        "kind": "SelfSubjectReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": now},
        "status": {"userInfo": {"username": who.name, "groups": who.groups}},
    })
}

/// What of a SelfSubjectAccessReview's spec decides. Versions and selectors are taken and make no difference.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AccessSpec {
    resource_attributes: Option<ResourceAsked>,
    non_resource_attributes: Option<PathAsked>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResourceAsked {
    namespace: String,
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PathAsked {
    path: String,
    verb: String,
}

/// Answers a SelfSubjectAccessReview of authorization.k8s.io/v1.
pub fn access_review(policy: &Policy, who: &Identity, review: &Value) -> Result<Value, ApiError> {
    const KIND: &str = "SelfSubjectAccessReview";
    let spec = review.get("spec").filter(|spec| !spec.is_null()).cloned().unwrap_or_else(|| json!({}));
    let asked: AccessSpec = decode(KIND, &spec)?;
    let attributes = match (&asked.resource_attributes, &asked.non_resource_attributes) {
        (Some(of), None) => Attributes {
            verb: &of.verb,
            group: &of.group,
            resource: &of.resource,
            subresource: &of.subresource,
            namespace: &of.namespace,
            name: &of.name,
            path: "",
        },
        (None, Some(of)) => Attributes { verb: &of.verb, path: &of.path, ..Attributes::default() },
        (None, None) => return Err(not_one_of_two("null")),
        // Kubernetes prints the names of its own type here, which are not the field's.
        (Some(_), Some(of)) => {
            return Err(not_one_of_two(&format!(
                "{{\"Path\":{},\"Verb\":{}}}",
                json!(of.path),
                json!(of.verb)
            )));
        }
    };
    let metadata = review.get("metadata").and_then(Value::as_object);
    let mut metadata = metadata.cloned().unwrap_or_default();
    metadata.remove("managedFields");
    metadata.remove("creationTimestamp");
    if !metadata.is_empty() {
        return Err(invalid(
            "metadata",
            format!("Invalid value: {}: must be empty", Value::Object(metadata)),
        ));
    }
    let allowed = policy.allows(who, &attributes);
    Ok(json!({
        "kind": KIND,
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": Map::new(),
        "spec": spec,
        "status": {"allowed": allowed},
    }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RulesSpec {
    namespace: String,
}

/// Answers a SelfSubjectRulesReview of authorization.k8s.io/v1.
pub fn rules_review(policy: &Policy, who: &Identity, review: &Value) -> Result<Value, ApiError> {
    const KIND: &str = "SelfSubjectRulesReview";
    let spec = review.get("spec").filter(|spec| !spec.is_null()).cloned().unwrap_or_else(|| json!({}));
    let asked: RulesSpec = decode(KIND, &spec)?;
    if asked.namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let rules: Vec<&Rule> = policy.rules(who, &asked.namespace).collect();
    let of_resources = rules.iter().filter(|rule| rule.paths.is_empty());
    let of_paths = rules.iter().filter(|rule| !rule.paths.is_empty());
    let resource =
        |rule: &&Rule| json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources});
    let path = |rule: &&Rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths});
    Ok(json!({
        "kind": KIND,
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": Map::new(),
        "spec": Map::new(),
        "status": {
            "resourceRules": of_resources.map(resource).collect::<Vec<_>>(),
            "nonResourceRules": of_paths.map(path).collect::<Vec<_>>(),
            "incomplete": false,
        },
    }))
}

fn decode<'de, T: Deserialize<'de>>(kind: &str, spec: &'de Value) -> Result<T, ApiError> {
    T::deserialize(spec).map_err(|error| {
        ApiError::bad_request(format!(
            "{kind} in version \"v1\" cannot be handled as a {kind}: json: {error}"
        ))
    })
}

fn not_one_of_two(found: &str) -> ApiError {
    let what = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
    invalid("spec", format!("Invalid value: {found}: {what}"))
}

/// The words of Kubernetes, which has no name for the kind here.
fn invalid(field: &str, message: String) -> ApiError {
    let whole = format!(".authorization.k8s.io \"\" is invalid: {field}: {message}");
    let cause = Cause { reason: "FieldValueInvalid".into(), message, field: field.to_owned() };
    let details =
        Details { group: "authorization.k8s.io".to_owned(), causes: vec![cause], ..Details::default() };
    ApiError::new(422, "Invalid", whole).with(details)
}
