//! Environment variables and where their values come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::word_enum;
use crate::{Quantity, names};

/// One environment variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.valueFrom) || !has(self.value) || size(self.value) == 0",
        "message": "may not be specified when value is not empty",
        "fieldPath": ".valueFrom"
    }
]))]
pub struct EnvVar {
    /// Name of the variable: printable ASCII characters other than '='.
    #[schemars(length(min = 1, max = 256), regex(pattern = names::ENV))]
    pub name: String,
    /// Its value. $(NAME) is replaced by the value of a variable before it, $$ is a dollar sign. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131072))]
    pub value: Option<String>,
    /// Where the value comes from, instead of value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a variable's value comes from: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.fieldRef), has(self.configMapKeyRef), has(self.secretKeyRef), has(self.resourceFieldRef)].exists_one(given, given)",
        "message": "must specify exactly one source: fieldRef, configMapKeyRef, secretKeyRef, resourceFieldRef"
    }
]))]
pub struct EnvVarSource {
    /// A field of the app or of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// A resource of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldRef>,
}

/// A field of the app or of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldRef {
    /// metadata.name, metadata.namespace, metadata.uid (all three of the EdgeApp), metadata.labels['x'],
    /// metadata.annotations['x'] (of the template), spec.nodeName, status.hostIP, status.hostIPs, status.podIP or status.podIPs.
    #[schemars(length(min = 1, max = 512), regex(pattern = names::FIELD_PATH))]
    pub field_path: String,
    /// v1, which Kubernetes fills in, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<FieldRefVersion>,
}

word_enum! {
    /// The version of the schema that a field's path is of. There is one.
    FieldRefVersion { V1 = "v1" }
}

/// A key of a ConfigMap or Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Name of the object in the app's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
    /// Key of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::CONFIG_KEY))]
    pub key: String,
    /// The variable is left out when object or key are missing. Default: false, the app waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A resource of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceFieldRef {
    /// limits.cpu, limits.memory, requests.cpu or requests.memory.
    #[schemars(length(min = 1, max = 64), regex(pattern = names::RESOURCE))]
    pub resource: String,
    /// The container. Default in env: this one. Needed in volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = names::LABEL))]
    pub container_name: Option<String>,
    /// The unit that the value is given in; it is rounded up: 1, 1m (cpu only), 1k … 1E, 1Ki … 1Ei. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divisor: Option<Quantity>,
}

/// Every key of a ConfigMap or Secret as variables: exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.configMapRef), has(self.secretRef)].exists_one(given, given)",
        "message": "must specify exactly one source: configMapRef, secretRef"
    }
]))]
pub struct EnvFromSource {
    /// Put before each key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = r"^[ -<>-~]*$"))]
    pub prefix: Option<String>,
    /// Every key of this ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ObjectRef>,
    /// Every key of this Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ObjectRef>,
}

/// A ConfigMap or Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Name of the object in the app's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
    /// Nothing is added when the object is missing. Default: false, the app waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

impl KeyRef {
    pub fn is_optional(&self) -> bool {
        self.optional.unwrap_or(false)
    }
}

impl ObjectRef {
    pub fn is_optional(&self) -> bool {
        self.optional.unwrap_or(false)
    }
}
