//! The three patches that change an object from its stored form alone: JSON patch, JSON merge patch and strategic merge patch.
//! Server-side apply is not here. What comes out is not yet valid: it is decoded, defaulted and validated like any other object.

mod json;
mod merge;
mod strategic;

use serde_json::Value;

use crate::schema::Schema;
use crate::status::ApiError;

/// Which patch it is, as its content type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6902: `application/json-patch+json`.
    Json,
    /// RFC 7386: `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`; for built-in kinds.
    Strategic,
}

/// A patch that can be applied, and applied again where another write got in the way.
#[derive(Debug, Clone)]
pub struct Patch {
    kind: Kind,
    body: Value,
}

impl Patch {
    /// Reads the body of a request; 400 if it is no JSON. What else is wrong with it shows when it is applied, as in the real server.
    pub fn parse(kind: Kind, body: &[u8]) -> Result<Self, ApiError> {
        let body = serde_json::from_slice(body).map_err(|_| ApiError::bad_request("invalid JSON patch"))?;
        Ok(Self { kind, body })
    }

    /// The object that the patch makes of the live one. Only a strategic patch looks at the schema.
    pub fn apply(&self, live: &Value, schema: &Schema) -> Result<Value, ApiError> {
        match self.kind {
            Kind::Json => json::apply(live, &self.body),
            Kind::Merge => merge::apply(live, self.body.clone()),
            Kind::Strategic => strategic::apply(live, self.body.clone(), schema),
        }
    }
}

/// The patch is readable, but asks for what cannot be done to this object. The real server keeps the reason to itself.
fn inapplicable() -> ApiError {
    let message = "the server rejected our request due to an error in our request";
    ApiError::new(422, "Invalid", message).with(crate::status::Details::default())
}

#[cfg(test)]
mod tests;
