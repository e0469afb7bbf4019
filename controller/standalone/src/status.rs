//! The errors of the API, as the `Status` object that clients of Kubernetes know.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use crate::resource::Resource;

/// A request that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status.
    pub code: u16,
    /// CamelCase, from the closed list of Kubernetes: NotFound, Conflict, Invalid, …
    pub reason: &'static str,
    pub message: String,
    pub details: Option<Box<Details>>,
    /// Of an expired list: the token that goes on with what is there now. Else empty.
    pub go_on: String,
}

/// What the request was about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (plural) or the kind, whichever the real API server writes in the same place.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cause {
    /// FieldValueInvalid, FieldValueRequired, FieldManagerConflict, …
    pub reason: Cow<'static, str>,
    pub message: String,
    /// Path from the root of the object: `spec.template.spec.containers[0].image`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it out so")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

impl ApiError {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, go_on: String::new() }
    }

    #[must_use]
    pub fn with(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The object that is sent.
    pub fn body(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.go_on.is_empty() {
            body["metadata"]["continue"] = self.go_on.clone().into();
        }
        if !self.reason.is_empty() {
            body["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            body["details"] = json!(details);
        }
        body
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = format!("Internal error occurred: {message}");
        Self::new(500, "InternalError", message)
    }
}

/// The refusals that name a resource and one of its objects.
impl ApiError {
    fn of(
        resource: &Resource,
        name: &str,
        code: u16,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let details = Details {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.plural.clone(),
            ..Details::default()
        };
        Self::new(code, reason, message).with(details)
    }

    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.full_name());
        Self::of(resource, name, 404, "NotFound", message)
    }

    /// The path leads to nothing that is served.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
            .with(Details::default())
    }

    /// The path is of no API at all, and the answer is plain text.
    pub fn no_such_page() -> Self {
        Self::new(404, "", "404 page not found")
    }

    /// Whether the answer is plain text and no Status.
    pub fn is_page(&self) -> bool {
        self.code == 404 && self.reason.is_empty()
    }

    pub fn invalid(resource: &Resource, name: &str, causes: Vec<Cause>) -> Self {
        crate::meta::cause::refusal(resource.home_group(), &resource.kind, name, causes)
    }

    pub fn unsupported_media(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A definition that somebody wants to write.
    pub fn comes_with_the_program(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "{} come with skerry-controller, which serves those of its own version: leave the CRDs out (helm: --skip-crds)",
            resource.full_name()
        );
        Self::of(resource, name, 405, "MethodNotAllowed", message)
    }

    /// What a custom kind's subresource does not do.
    pub fn not_supported(resource: &Resource, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind \"{}\"", resource.full_name());
        Self::of(resource, "", 405, "MethodNotAllowed", message)
    }

    /// A media type that the router of built-in kinds does not know.
    pub fn unrouted_media() -> Self {
        Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type").with(Details::default())
    }

    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).with(Details::default())
    }

    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.full_name());
        Self::of(resource, name, 409, "AlreadyExists", message)
    }

    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.full_name());
        Self::of(resource, name, 409, "Conflict", message)
    }

    /// Somebody else has written since the caller read.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", resource.full_name())
        } else {
            format!("{} \"{name}\" is forbidden: {why}", resource.full_name())
        };
        Self::of(resource, name, 403, "Forbidden", message)
    }

    /// What the history no longer holds, or a token of a list that it no longer holds.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }
}
