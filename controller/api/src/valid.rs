//! Everything that can be wrong with a spec. The schema of the CRD refuses most of it at `kubectl apply`; these checks are the whole
//! truth, because the agent reads manifests of its box without any schema. The controller checks a spec before a node sees it; what
//! fails here shows as the condition Stalled with the field's path. The words are Kubernetes' own where it has some.

mod app;
mod container;
mod env;
mod image;
mod pod;
mod ports;
mod probe;
mod report;
mod resources;
mod security;
mod text;
mod volume;

use std::fmt;

use crate::EdgeAppSpec;
use report::{Path, Report};

/// Longest name of an app. Labels and host names have room for no more.
pub const APP_NAME_MAX: usize = crate::bounds::LABEL;

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path from the object's root, such as `spec.template.spec.containers[0].ports[1].hostPort`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for FieldError {}

/// Checks a whole spec and returns what is wrong with it, as far as a person wants to read.
pub fn check_spec(spec: &EdgeAppSpec) -> Result<(), Vec<FieldError>> {
    let mut report = Report::default();
    app::check(spec, &Path::root("spec"), &mut report);
    report.into_result()
}

/// Checks the name of an app: the API server allows longer ones for objects in general.
pub fn check_name(name: &str) -> Result<(), FieldError> {
    let problem = match name.len() {
        1..=APP_NAME_MAX if text::is_subdomain(name) => return Ok(()),
        1..=APP_NAME_MAX => text::SUBDOMAIN.to_owned(),
        0 => "must be given".to_owned(),
        length => {
            format!(
                "must be no more than {APP_NAME_MAX} characters, because it becomes a label and a host name; it has {length}"
            )
        }
    };
    Err(FieldError { path: "metadata.name".into(), message: problem })
}

#[cfg(test)]
mod tests;
