//! Why an apply is refused, in the words of a real API server.

use std::fmt::Write as _;

use serde_json::Value;

use super::go;
use super::managed::{Operation, Owner};
use super::path;
use super::update::Clash;
use crate::status::{ApiError, Cause, Details};

/// An apply that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Others own fields that it wants otherwise, and it does not force them.
    #[error("{} fields have other owners", .0.len())]
    Conflicts(Vec<Conflict>),
    /// The applied object has managedFields.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
    /// The applied object cannot be merged: a wrong type, an unknown field, an item without its key or twice.
    #[error("failed to create typed patch object: {0}")]
    Untyped(String),
    /// The stored object's managedFields cannot be read.
    #[error("failed to decode managed fields: {0}")]
    Undecodable(String),
}

/// A field that somebody else owns with another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The owner as messages show it: `"kubectl" using v1`.
    pub manager: String,
    /// `.data.key`.
    pub path: String,
}

impl Conflict {
    pub(super) fn of(clash: &Clash) -> Self {
        Self { manager: display(&clash.owner), path: path::display(&clash.path) }
    }
}

fn display(owner: &Owner) -> String {
    let mut text = go::quote(&owner.name);
    if !owner.subresource.is_empty() {
        let _ = write!(text, " with subresource {}", go::quote(&owner.subresource));
    }
    if owner.operation == Operation::Update {
        let _ = write!(text, " using {}", owner.api_version);
    }
    text
}

impl ApplyError {
    /// What the client is sent; `applied` is what it applied.
    pub fn into_api_error(self, applied: &Value) -> ApiError {
        match self {
            Self::Conflicts(conflicts) => conflict_error(&conflicts),
            Self::ManagedFields => ApiError::bad_request(self.to_string()),
            Self::Untyped(why) => {
                let message = format!("failed to create typed patch object ({}): {why}", about(applied));
                ApiError::new(500, "", message)
            }
            Self::Undecodable(_) => ApiError::new(500, "", self.to_string()),
        }
    }
}

/// `namespace/name; group/version, Kind=Kind`.
fn about(applied: &Value) -> String {
    let text = |path: &str| applied.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let version = text("/apiVersion");
    let slash = if version.contains('/') { "" } else { "/" };
    format!(
        "{}/{}; {slash}{version}, Kind={}",
        text("/metadata/namespace"),
        text("/metadata/name"),
        text("/kind")
    )
}

fn conflict_error(conflicts: &[Conflict]) -> ApiError {
    let causes = conflicts.iter().map(|Conflict { manager, path }| Cause {
        reason: "FieldManagerConflict".into(),
        message: format!("conflict with {manager}"),
        field: path.clone(),
    });
    let message = match conflicts {
        [Conflict { manager, path }] => {
            format!("Apply failed with 1 conflict: conflict with {manager}: {path}")
        }
        many => {
            let mut lines = Vec::new();
            let mut last = None;
            for Conflict { manager, path } in many {
                if last.replace(manager) != Some(manager) {
                    lines.push(format!("conflicts with {manager}:"));
                }
                lines.push(format!("- {path}"));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    ApiError::new(409, "Conflict", message).with(Details { causes: causes.collect(), ..Details::default() })
}
