//! Validation of custom objects against their CRD's schema, with the causes that a real server answers in 422 Invalid.
//!
//! This is the algorithm of kube-openapi's `validate` and not JSON Schema's: null never matches an enum, bounds of whole numbers are
//! cut to whole numbers, a string's first complaint is its last, a format replaces the type check, and what an update leaves as it
//! was is let pass. A JSON Schema crate would have to be corrected in each of these after the fact.

mod formats;
mod lists;
mod node;
mod report;
mod walk;

use serde_json::Value;

pub(super) use self::node::Node;
pub(super) use self::report::NO_FIELD;
use self::report::Report;
use super::rules;
use crate::status::Cause;

/// A schema that cannot be enforced.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("the schema is nested deeper than {} levels", node::MAX_DEPTH)]
    TooDeep,
    #[error("pattern {pattern} cannot be compiled")]
    Pattern {
        pattern: String,
        #[source]
        source: Box<regex::Error>,
    },
    #[error("rule {rule} cannot be compiled: {why}")]
    Rule { rule: String, why: String },
    #[error(
        "rule {rule} may cost {cost} steps, more than the {limit} that a rule may; bound its lists, maps and strings"
    )]
    Costly { rule: String, cost: u64, limit: u64 },
    #[error("rule {rule} uses {feature}, which is not supported")]
    Unsupported { rule: String, feature: &'static str },
}

/// Checks the objects of one version of a CRD.
#[derive(Debug)]
pub struct Validator {
    root: Node,
    has_rules: bool,
}

impl Validator {
    /// Compiles `spec.versions[].schema.openAPIV3Schema` of a CRD.
    pub fn new(crd_schema: &Value) -> Result<Self, SchemaError> {
        let root = Node::compile(crd_schema, 0)?;
        Ok(Self { has_rules: root.has_rules(), root })
    }

    /// What is wrong with a whole object that is created, or that replaces `old`, beside its metadata, which others have looked at.
    pub fn check(&self, metadata: &[Cause], new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut report = Report::new("");
        walk::node(&self.root, new, old, "", &mut report);
        self.finish(metadata, report, new, old)
    }

    /// What is wrong with an object whose status replaces the old one's; its other fields are the old object's.
    pub fn check_status(&self, metadata: &[Cause], new: &Value, old: &Value) -> Vec<Cause> {
        let mut report = Report::new("status");
        if let (Some(node), Some(status)) = (self.root.properties.get("status"), new.get("status")) {
            walk::node(node, status, old.get("status"), "", &mut report);
        }
        self.finish(metadata, report, new, Some(old))
    }

    fn finish(&self, metadata: &[Cause], report: Report, new: &Value, old: Option<&Value>) -> Vec<Cause> {
        let mut causes = report.into_causes();
        lists::embedded(&self.root, new, "", &mut causes);
        let repeated = lists::repeated(&self.root, new);
        let already =
            !repeated.is_empty() && old.is_some_and(|old| !lists::repeated(&self.root, old).is_empty());
        if !already {
            causes.extend(repeated);
        }
        if !self.has_rules {
            return causes;
        }
        if metadata.iter().chain(&causes).any(is_blocking) {
            causes.push(Cause {
                reason: "FieldValueInvalid".into(),
                message: "Invalid value: null: some validation rules were not checked because the object was invalid; \
                          correct the existing errors to complete validation"
                    .to_owned(),
                field: NO_FIELD.to_owned(),
            });
        } else {
            causes.extend(rules::check(&self.root, new, old));
        }
        causes
    }
}

/// After one of these the rules are not run: they may rely on what is missing.
fn is_blocking(cause: &Cause) -> bool {
    matches!(
        cause.reason.as_ref(),
        "FieldValueNotSupported"
            | "FieldValueRequired"
            | "FieldValueTooLong"
            | "FieldValueTooMany"
            | "FieldValueTypeInvalid"
    )
}
