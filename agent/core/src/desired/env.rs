//! Environment variables: what is known when the spec is read, and what only the running container has.

use std::fmt;

use serde::Serialize;

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvVar {
    pub name: String,
    pub value: EnvValue,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum EnvValue {
    /// From the spec: `$(VAR)` in it is expanded.
    Literal(String),
    /// From a ConfigMap or a field: taken as it is.
    Resolved(String),
    /// From a Secret: taken as it is, and never shown.
    Secret(Sensitive),
    /// The box's address, at the time of creation.
    HostIp,
    /// The address of the app's network, at the time of creation.
    PodIp,
}

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Sensitive(pub String);

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}
