//! Is a body an object of this kind, in this place, and nothing else? Unknown fields, defaults, and the types of built-in kinds.

use serde_json::Value;

use super::{Target, Terms};
use crate::decode::{self, Media};
use crate::object;
use crate::options::FieldValidation;
use crate::resource::{Origin, Resource};
use crate::schema::{defaults, prune, typed};
use crate::status::{ApiError, Cause};

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
        let decoded = decode::decode(bytes, media).map_err(|error| error.refuse(&resource.kind, &resource.version, bytes))?;
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
    is_of_kind(target, &mut value)?;
    known_fields(target, terms, &mut value, &duplicates, warnings, Step::Body)?;
    complete(target, &mut value);
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
    is_of_kind(target, &mut value)?;
    known_fields(target, terms, &mut value, &[], warnings, Step::Patch)?;
    complete(target, &mut value);
    in_namespace(target, &mut value)?;
    Ok(value)
}

/// The intent of an apply, which is not completed: a default that nobody stated is nobody's.
pub fn applied(
    target: Target<'_>,
    terms: Terms<'_>,
    body: Body,
    warnings: &mut Vec<String>,
) -> Result<Value, ApiError> {
    let Body { mut value, duplicates } = body;
    is_of_kind(target, &mut value)?;
    known_fields(target, terms, &mut value, &duplicates, warnings, Step::Patch)?;
    in_namespace(target, &mut value)?;
    if object::name(&value).is_empty() {
        object::set(&mut value, "name", Some(target.name.into()));
    }
    same_name(target, &value)?;
    Ok(value)
}

/// What the schema adds to an object that leaves it out.
pub fn complete(target: Target<'_>, value: &mut Value) {
    defaults::apply(&target.served.resource.schema, value);
}

/// The name in the body is the name in the path.
pub fn same_name(target: Target<'_>, value: &Value) -> Result<(), ApiError> {
    let name = object::name(value);
    if name == target.name {
        return Ok(());
    }
    let message = if name.is_empty() {
        "name must be provided".to_owned()
    } else {
        format!("the name of the object ({name}) does not match the name on the URL ({})", target.name)
    };
    Err(ApiError::bad_request(message))
}

fn is_of_kind(target: Target<'_>, value: &mut Value) -> Result<(), ApiError> {
    let resource = &target.served.resource;
    let expected = &target.served.api_version;
    let stated = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (stated("apiVersion"), stated("kind"));
    match resource.origin {
        // The decoder of a built-in kind takes what is missing from the path.
        Origin::BuiltIn => {
            let fields = object::fields(value);
            if kind.is_empty() {
                fields.insert("kind".to_owned(), resource.kind.clone().into());
            }
            if version.is_empty() {
                fields.insert("apiVersion".to_owned(), expected.clone().into());
            }
        }
        Origin::Custom => {
            if kind.is_empty() {
                return Err(ApiError::bad_request(format!("Object 'Kind' is missing in '{value}'")));
            }
        }
    }
    if !version.is_empty() && &version != expected {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    if !kind.is_empty() && kind != resource.kind && resource.origin == Origin::Custom {
        let cause = Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: \"{kind}\": must be {}", resource.kind),
            field: "kind".to_owned(),
        };
        return Err(ApiError::invalid(resource, object::name(value), vec![cause]));
    }
    if !kind.is_empty() && kind != resource.kind {
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {}: no kind \"{kind}\" is registered for version \"{expected}\"",
            resource.version, resource.kind
        )));
    }
    Ok(())
}

/// Where the words of a strict refusal come from.
#[derive(Debug, Clone, Copy)]
enum Step {
    Body,
    Patch,
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
            typed::check(&resource.schema, value)
        }
        Origin::Custom => typed::check_custom(&resource.schema, value),
    };
    typed.map_err(|why| {
        let Resource { kind, version, .. } = resource;
        ApiError::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
    })?;
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
        FieldValidation::Strict => Err(match step {
            Step::Body => prune::refuse_body(resource, &unknown, duplicates),
            Step::Patch => prune::refuse_patch(resource, &unknown, duplicates),
        }),
    }
}

fn in_namespace(target: Target<'_>, value: &mut Value) -> Result<(), ApiError> {
    let stated = object::namespace(value);
    if !target.served.resource.namespaced {
        return if stated.is_empty() {
            Ok(())
        } else {
            Err(ApiError::bad_request(
                "namespace must be empty: this kind is cluster-scoped, see `kubectl api-resources`",
            ))
        };
    }
    if stated.is_empty() {
        object::set(value, "namespace", Some(target.namespace.into()));
    } else if stated != target.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}
