//! Users, groups and rights.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::word_enum;

/// The shape of capabilities' names. Which ones there are is known to the checks.
const CAPABILITIES_RULE: &str = "self.all(c, c.matches('^[A-Z_]+$') && !c.startsWith('CAP_'))";
const CAPABILITIES_MESSAGE: &str =
    "a capability is written in capitals and without CAP_, such as NET_ADMIN, or ALL";

/// Users, groups and kernel settings of all containers of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSecurityContext {
    /// User id of the processes. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_user: Option<i64>,
    /// Group id of the processes. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_group: Option<i64>,
    /// Refuse to start a container that would run as root. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// A further group of all processes; it owns emptyDir, local and projected volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub fs_group: Option<i64>,
    /// Further groups of all processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(range(min = 0, max = 2_147_483_647)), extend("x-kubernetes-list-type" = "atomic"))]
    pub supplemental_groups: Vec<i64>,
    /// Which system calls are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,
    /// Kernel settings of the app's namespaces. Kubernetes' safe ones; others need the box's owner to allow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub sysctls: Vec<Sysctl>,
}

/// User, groups and rights of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.privileged) || !self.privileged || !has(self.allowPrivilegeEscalation) || self.allowPrivilegeEscalation",
        "message": "cannot be false when privileged is true",
        "fieldPath": ".allowPrivilegeEscalation"
    }
]))]
pub struct SecurityContext {
    /// User id of the processes. Default: the pod's, then the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_user: Option<i64>,
    /// Group id of the processes. Default: the pod's, then the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub run_as_group: Option<i64>,
    /// Refuse to start the container if it would run as root. Default: the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_non_root: Option<bool>,
    /// The container cannot write to its own file system. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only_root_filesystem: Option<bool>,
    /// Capabilities beyond, or less than, Docker's default set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// All rights on the box. Needs the box's owner to allow it: policy.privileged in agent.toml. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// Whether a process may gain more rights than its parent, such as by a setuid file. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_privilege_escalation: Option<bool>,
    /// Which system calls are allowed. Default: the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_profile: Option<SeccompProfile>,
}

/// Changes to Docker's default set of capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Added, such as NET_ADMIN, or ALL. Each needs the box's owner to allow it: policy.capabilities in agent.toml.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": CAPABILITIES_RULE,
        "message": CAPABILITIES_MESSAGE
    }]))]
    pub add: Vec<String>,
    /// Taken away, such as NET_RAW, or ALL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "atomic"))]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": CAPABILITIES_RULE,
        "message": CAPABILITIES_MESSAGE
    }]))]
    pub drop: Vec<String>,
}

/// Which system calls are allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "(self.type == 'Localhost') == has(self.localhostProfile)",
        "message": "must be set if type is Localhost, and only then",
        "fieldPath": ".localhostProfile"
    }
]))]
pub struct SeccompProfile {
    /// RuntimeDefault: Docker's own profile. Unconfined: all; needs the box's owner to allow it. Localhost: localhostProfile.
    #[serde(rename = "type")]
    pub kind: SeccompProfileType,
    /// With type Localhost: path of the profile below the folder that the box's owner names: seccomp-folder in agent.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub localhost_profile: Option<String>,
}

word_enum! {
    /// A seccomp profile.
    SeccompProfileType { RuntimeDefault, Unconfined, Localhost }
}

/// A kernel setting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sysctl {
    /// Its name, such as net.ipv4.ip_unprivileged_port_start.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Value of the setting, as in /proc/sys.
    #[schemars(length(max = 1024))]
    pub value: String,
}

impl SecurityContext {
    pub fn is_privileged(&self) -> bool {
        self.privileged.unwrap_or(false)
    }

    /// Kubernetes' default is true.
    pub fn allows_privilege_escalation(&self) -> bool {
        self.allow_privilege_escalation.unwrap_or(true)
    }
}
