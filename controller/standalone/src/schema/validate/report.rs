//! Collects what is wrong while a schema is walked, in the words of field errors.

use serde_json::Value;

use crate::schema::golang::{self, quote};
use crate::status::Cause;

/// What a field error without a field has in place of one.
pub(crate) const NO_FIELD: &str = "<nil>";

/// A body of 3 MiB can be wrong in a million places; nobody reads more than these.
const MAX_CAUSES: usize = 500;

/// What was found so far. `matched` counts checks that were made, by which the best alternative of an `anyOf` is chosen.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Where the walk began, if not at the root: `status`.
    prefix: &'static str,
    found: Vec<Found>,
    pub(super) matched: u64,
}

#[derive(Debug)]
struct Found {
    cause: Cause,
    /// By which kube-openapi tells two errors apart.
    text: String,
}

impl Report {
    pub(super) fn new(prefix: &'static str) -> Self {
        Self { prefix, ..Self::default() }
    }

    /// An empty report of the same place, for an alternative that may be thrown away.
    pub(super) fn beside(&self) -> Self {
        Self::new(self.prefix)
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Forgets what was found since there were so many.
    pub(super) fn forget_from(&mut self, len: usize) {
        self.found.truncate(len);
    }

    /// Takes over another report, without what is already here.
    pub(super) fn merge(&mut self, other: Self) {
        self.matched = self.matched.saturating_add(other.matched);
        for found in other.found {
            self.push(found);
        }
    }

    pub(super) fn into_causes(self) -> Vec<Cause> {
        self.found.into_iter().map(|found| found.cause).collect()
    }

    fn push(&mut self, found: Found) {
        if self.found.len() < MAX_CAUSES && self.found.iter().all(|other| other.text != found.text) {
            self.found.push(found);
        }
    }

    fn add(&mut self, reason: &'static str, path: &str, message: String, text: String) {
        let path = path.strip_prefix('.').unwrap_or(path);
        let field = match (self.prefix, path) {
            ("", "") => NO_FIELD.to_owned(),
            (prefix, "") => prefix.to_owned(),
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}.{path}"),
        };
        self.push(Found { cause: Cause { reason: reason.into(), message, field }, text });
    }

    pub(super) fn required(&mut self, path: &str) {
        self.add(
            "FieldValueRequired",
            path,
            "Required value".to_owned(),
            format!("{path} in body is required"),
        );
    }

    /// The value, or what stands for it, and a sentence that begins with the path.
    pub(super) fn invalid(&mut self, path: &str, shown: &str, text: String) {
        self.add("FieldValueInvalid", path, format!("Invalid value: {shown}: {text}"), text);
    }

    pub(super) fn mistyped(&mut self, path: &str, wanted: &str, found: &str) {
        let found = quote(found);
        let text = format!("{path} in body must be of type {wanted}: {found}");
        self.add("FieldValueTypeInvalid", path, format!("Invalid value: {found}: {text}"), text);
    }

    pub(super) fn unsupported(&mut self, path: &str, value: &Value, allowed: &[Value]) {
        let allowed: Vec<String> = allowed
            .iter()
            .map(|one| one.as_str().map_or_else(|| quote(&golang::marshal(one)), quote))
            .collect();
        let message =
            format!("Unsupported value: {}: supported values: {}", golang::show(value), allowed.join(", "));
        self.add(
            "FieldValueNotSupported",
            path,
            message,
            format!("{path} in body should be one of {allowed:?}"),
        );
    }

    pub(super) fn too_long(&mut self, path: &str, most: i64) {
        let unit = if most == 1 { "byte" } else { "bytes" };
        let message = format!("Too long: may not be more than {most} {unit}");
        self.add(
            "FieldValueTooLong",
            path,
            message,
            format!("{path} in body should be at most {most} chars long"),
        );
    }

    pub(super) fn too_many(&mut self, path: &str, actual: usize, most: i64, unit: &str) {
        let item = if most == 1 { "item" } else { "items" };
        let message = format!("Too many: {actual}: must have at most {most} {item}");
        self.add(
            "FieldValueTooMany",
            path,
            message,
            format!("{path} in body should have at most {most} {unit}"),
        );
    }

    /// An error that kube-openapi ties to no field.
    pub(super) fn anywhere(&mut self, text: String) {
        self.add("FieldValueInvalid", "", format!("Invalid value: \"\": {text}"), text);
    }
}
