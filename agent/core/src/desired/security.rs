//! What a container's processes are, and what they may.

use serde::Serialize;

/// A container's security context, merged from the pod's and its own.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Security {
    /// Absent: the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// Absent: the image's own, or 0 with another user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// The container is not created if its processes would be root's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub non_root: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_capabilities: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drop_capabilities: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// No process gets more privileges than its parent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_new_privileges: bool,
    #[serde(skip_serializing_if = "Seccomp::is_default")]
    pub seccomp: Seccomp,
}

impl Security {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which system calls are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub enum Seccomp {
    /// Docker's own profile.
    #[default]
    RuntimeDefault,
    Unconfined,
    /// A profile on the box, relative to the folder that the agent's configuration names.
    Localhost(String),
}

impl Seccomp {
    fn is_default(&self) -> bool {
        *self == Self::RuntimeDefault
    }
}
