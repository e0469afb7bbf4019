//! Is a body an object of this kind, in this place, and nothing else? Unknown fields, defaults, and the types of built-in kinds.

use serde_json::{Value, json};

use super::{Target, Terms};
use crate::decode::{self, DecodeError, Media, summary};
use crate::meta::{self, cause};
use crate::object;
use crate::options::FieldValidation;
use crate::resource::{Origin, Resource};
use crate::schema::{defaults, prune, typed};
use crate::status::ApiError;

/// A body that was decoded.
#[derive(Debug, Clone)]
pub struct Body {
    pub value: Value,
    /// Paths of fields that stood there twice.
    pub duplicates: Vec<String>,
}

impl Body {
    /// Reads the bytes of a request.
    pub fn decode(target: Target<'_>, bytes: &[u8], media: Media) -> Result<Self, ApiError> {
        let resource = &target.served.resource;
        let decoded = match decode::decode(bytes, media) {
            // The decoder of a built-in kind takes kind and version from the path, and then nothing is an object without fields.
            Err(DecodeError::Nothing(text)) if resource.origin == Origin::BuiltIn && text == "null" => {
                return Ok(Self { value: json!({}), duplicates: Vec::new() });
            }
            decoded => decoded.map_err(|error| error.refuse(&resource.kind, &resource.version, bytes))?,
        };
        Ok(Self { value: decoded.value, duplicates: decoded.duplicates })
    }
}

impl Body {
    /// Reads the bytes of an apply, which are YAML or JSON.
    pub fn decode_apply(bytes: &[u8]) -> Result<Self, ApiError> {
        let decoded = decode::decode(bytes, Media::Yaml).map_err(|error| {
            let why = if let DecodeError::Yaml(_) = error { "error converting YAML to JSON: " } else { "" };
            ApiError::bad_request(format!("error decoding patch: {why}{error}"))
        })?;
        Ok(Self { value: decoded.value, duplicates: decoded.duplicates })
    }
}

/// The whole object of a create or a replace.
pub fn whole(
    target: Target<'_>,
    terms: Terms<'_>,
    body: Body,
    warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let Body { mut value, duplicates } = body;
    is_no_crowd(target, &value)?;
    is_of_kind(target, &mut value, Step::Body)?;
    known_fields(target, terms, &mut value, &duplicates, warnings, Step::Body)?;
    warnings.extend(meta::warnings::drop_repeated_owners(&mut value, false));
    defaults::apply(&target.served.resource.schema, &mut value);
    in_namespace(target, &mut value)?;
    Ok(value)
}

/// An object as a patch has left it.
pub fn patched(
    target: Target<'_>,
    terms: Terms<'_>,
    mut value: Value,
    warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    is_no_crowd(target, &value)?;
    is_of_kind(target, &mut value, Step::Patch)?;
    known_fields(target, terms, &mut value, &[], warnings, Step::Patch)?;
    warnings.extend(meta::warnings::drop_repeated_owners(&mut value, true));
    defaults::apply(&target.served.resource.schema, &mut value);
    in_namespace(target, &mut value)?;
    Ok(value)
}

/// The intent of an apply. It is neither pruned nor completed: the merge itself refuses what the kind does not have, and a default
/// that nobody stated is nobody's.
pub fn applied(target: Target<'_>, body: Body) -> Result<Value, ApiError> {
    let Body { mut value, .. } = body;
    is_no_crowd(target, &value)?;
    let stated = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (stated("apiVersion"), stated("kind"));
    if version != target.served.api_version || kind != target.served.resource.kind {
        let slash = if version.contains('/') { "" } else { "/" };
        return Err(ApiError::bad_request(format!("invalid object type: {slash}{version}, Kind={kind}")));
    }
    if object::name(&value).is_empty() {
        object::set(&mut value, "name", Some(target.name.into()));
    }
    same_name(target, &value)?;
    in_namespace(target, &mut value.clone())?;
    Ok(value)
}

/// The object that the merge of an apply has made. A null that the caller states is for a rule to refuse; one that the merge leaves
/// where nothing is left is nothing.
pub fn merged(target: Target<'_>, applied: &Value, mut value: Value) -> Result<Value, ApiError> {
    let resource = &target.served.resource;
    if resource.origin == Origin::BuiltIn {
        typed::drop_nulls(&resource.schema, &mut value);
        typed::drop_empty(&resource.schema, &mut value);
    }
    if states_null(applied) {
        complete(target, &mut value);
    } else {
        defaults::apply(&resource.schema, &mut value);
    }
    in_namespace(target, &mut value)?;
    Ok(value)
}

fn states_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(states_null),
        Value::Object(fields) => fields.values().any(states_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// What the schema adds to an object that leaves it out.
pub fn complete(target: Target<'_>, value: &mut Value) {
    defaults::fill(&target.served.resource.schema, value);
}

/// The name in the body is the name in the path.
pub fn same_name(target: Target<'_>, value: &Value) -> Result<(), ApiError> {
    let name = object::name(value);
    if name == target.name {
        return Ok(());
    }
    let message = if name.is_empty() {
        format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            target.name
        )
    } else {
        format!("the name of the object ({name}) does not match the name on the URL ({})", target.name)
    };
    Err(ApiError::bad_request(message))
}

/// Before anything walks its metadata.
fn is_no_crowd(target: Target<'_>, value: &Value) -> Result<(), ApiError> {
    let causes = meta::crowds(value);
    if causes.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(&target.served.resource, object::name(value), causes))
    }
}

fn is_of_kind(target: Target<'_>, value: &mut Value, step: Step) -> Result<(), ApiError> {
    let stated = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (stated("apiVersion"), stated("kind"));
    match target.served.resource.origin {
        Origin::BuiltIn => is_of_built_in(target, value, step, &version, &kind),
        Origin::Custom => is_of_custom(target, value, step, &version, &kind),
    }
}

/// The decoder of a built-in kind takes what is missing from the path.
fn is_of_built_in(
    target: Target<'_>,
    value: &mut Value,
    step: Step,
    version: &str,
    kind: &str,
) -> Result<(), ApiError> {
    let resource = &target.served.resource;
    let expected = target.served.api_version.as_str();
    let version = if version.is_empty() { expected } else { version };
    let kind = if kind.is_empty() { resource.kind.as_str() } else { kind };
    let mismatch = if version != expected {
        format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )
    } else if kind != resource.kind {
        format!(
            "{kind} in version \"{version}\" cannot be handled as a {}: it is of another kind",
            resource.kind
        )
    } else {
        let fields = object::fields(value);
        fields.insert("apiVersion".to_owned(), version.into());
        fields.insert("kind".to_owned(), kind.into());
        return Ok(());
    };
    Err(match step {
        Step::Body => ApiError::bad_request(mismatch),
        Step::Patch => step.refuse(resource, value, &mismatch),
    })
}

fn is_of_custom(
    target: Target<'_>,
    value: &Value,
    step: Step,
    version: &str,
    kind: &str,
) -> Result<(), ApiError> {
    let resource = &target.served.resource;
    let expected = target.served.api_version.as_str();
    let must_be = |field: &str, found: &str, right: &str| {
        let cause = cause::invalid_text(field, found, format!("must be {right}"));
        Err(cause::refusal(&resource.group, kind, object::name(value), vec![cause]))
    };
    if kind.is_empty() {
        return Err(step.without_kind(resource, value));
    }
    match step {
        Step::Body if version != expected => Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        ))),
        Step::Patch if version != expected => must_be("apiVersion", version, expected),
        Step::Body | Step::Patch if kind != resource.kind => must_be("kind", kind, &resource.kind),
        Step::Body | Step::Patch => Ok(()),
    }
}

/// Where an object comes from, which words its refusal.
#[derive(Debug, Clone, Copy)]
enum Step {
    Body,
    Patch,
}

impl Step {
    fn without_kind(self, resource: &Resource, value: &Value) -> ApiError {
        let text = value.to_string();
        let missing = DecodeError::Nothing(text.clone());
        match self {
            Self::Body => {
                let Resource { kind, .. } = resource;
                let message = format!(
                    "the object provided is unrecognized (must be of type {kind}): {missing} ({})",
                    summary(text.as_bytes())
                );
                ApiError::bad_request(message)
            }
            Self::Patch => self.refuse(resource, value, &missing.to_string()),
        }
    }

    fn refuse(self, resource: &Resource, value: &Value, why: &str) -> ApiError {
        match self {
            Self::Body => {
                let Resource { kind, version, .. } = resource;
                ApiError::bad_request(format!(
                    "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
                ))
            }
            // A real server says so of no kind and no name, and quotes the whole object.
            Self::Patch => {
                let cause = cause::invalid_text("patch", &value.to_string(), why);
                cause::refusal("", "", "", vec![cause])
            }
        }
    }
}

fn known_fields(
    target: Target<'_>,
    terms: Terms<'_>,
    value: &mut Value,
    duplicates: &[String],
    warnings: &mut Vec<String>,
    step: Step,
) -> Result<(), ApiError> {
    let resource = &target.served.resource;
    let typed = match resource.origin {
        Origin::BuiltIn => {
            typed::drop_nulls(&resource.schema, value);
            typed::check(&resource.schema, value).inspect(|()| {
                typed::settle_times(&resource.schema, value);
                typed::drop_empty(&resource.schema, value);
            })
        }
        Origin::Custom => {
            typed::check_custom(&resource.schema, value).inspect(|()| typed::drop_metadata_nulls(value))
        }
    };
    typed.map_err(|why| step.refuse(resource, value, &why))?;
    let unknown = prune::unknown(&resource.schema, value);
    if unknown.is_empty() && duplicates.is_empty() {
        return Ok(());
    }
    match terms.validation {
        FieldValidation::Ignore => Ok(()),
        FieldValidation::Warn => {
            warnings.extend(prune::warnings(&unknown, duplicates));
            Ok(())
        }
        FieldValidation::Strict => {
            let wrong = prune::warnings(&unknown, duplicates).join(", ");
            Err(step.refuse(resource, value, &format!("strict decoding error: {wrong}")))
        }
    }
}

fn in_namespace(target: Target<'_>, value: &mut Value) -> Result<(), ApiError> {
    if !target.served.resource.namespaced {
        object::set(value, "namespace", None);
        return Ok(());
    }
    let stated = object::namespace(value);
    if stated.is_empty() {
        object::set(value, "namespace", Some(target.namespace.into()));
    } else if stated != target.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}
