//! The pod template: the subset of PodSpec that an EdgeApp may use. Names and meanings are Kubernetes' own; a field that is not
//! here is refused at `kubectl apply`, because nothing may be accepted and then ignored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Quantity;

/// An image reference as registries define it: host and port, path in lower case, tag, digest.
const IMAGE: &str = r"^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[a-z0-9]+:[a-f0-9]{32,128})?$";

/// What runs on each node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations of the containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMeta>,
    /// The containers and how they run.
    pub spec: PodSpec,
}

/// Labels and annotations. They become labels of the Docker containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMeta {
    /// Become Docker labels of the same name. Names under skerry.dev/ are reserved.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 64,
        "x-kubernetes-validations" = [{
            "rule": "self.all(k, !k.startsWith('skerry.dev/'))",
            "message": "labels under skerry.dev/ are reserved"
        }]
    ))]
    pub labels: BTreeMap<String, String>,
    /// Become Docker labels with the prefix "annotation.".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
}

/// The containers of an app and how they run together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.hostNetwork) || !self.hostNetwork || self.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort == p.containerPort))",
    "message": "with hostNetwork, a hostPort must be the containerPort or absent"
}]))]
pub struct PodSpec {
    /// The containers, started in this order. Several containers of one app share one network: they reach each other on
    /// localhost.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub containers: Vec<Container>,

    /// Whether a container that ended is started again: Always, OnFailure (exit code other than 0) or Never.
    /// Default: Always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<RestartPolicy>,

    /// Seconds between SIGTERM and SIGKILL when a container is stopped. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,

    /// Use the box's own network. Ports need no mapping then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
}

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Name of the container: a DNS label, unique within the app.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Image reference, by tag or by digest.
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE))]
    pub image: String,

    /// When the image is pulled: Always, IfNotPresent or Never. Default: Always for the tag "latest" or no tag, otherwise
    /// IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Replaces the image's entrypoint. Not run in a shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 65536)))]
    pub command: Vec<String>,

    /// Arguments of the entrypoint. Replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 65536)))]
    pub args: Vec<String>,

    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,

    /// Ports of the container, and the ports of the box that lead to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<ContainerPort>,

    /// What the container may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
}

/// One environment variable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Name of the variable: printable ASCII characters other than '='.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[ -<>-~]+$"))]
    pub name: String,
    /// Its value. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131072))]
    pub value: Option<String>,
}

/// A port of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// Name of the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Port that the container listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: i32,
    /// Port of the box that leads to it. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: Option<i32>,
    /// Address of the box to listen on. Absent: every address.
    #[serde(rename = "hostIP", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45), extend("x-kubernetes-validations" = [{
        "rule": "isIP(self)",
        "message": "must be an IP address"
    }]))]
    pub host_ip: Option<String>,
    /// TCP, UDP or SCTP. Default: TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<TransportProtocol>,
}

/// What a container may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRequirements {
    /// The most that it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// The most that a container may use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.memory) || quantity(string(self.memory)).compareTo(quantity('6Mi')) >= 0",
        "message": "memory must be at least 6Mi, the smallest limit that Docker accepts",
        "fieldPath": ".memory"
    },
    {
        "rule": "!has(self.cpu) || quantity(string(self.cpu)).compareTo(quantity('10m')) >= 0",
        "message": "cpu must be at least 10m, the smallest limit that the kernel accepts",
        "fieldPath": ".cpu"
    }
]))]
pub struct Limits {
    /// Processor time in cores, such as 500m or 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory in bytes, such as 128Mi. A container that needs more is killed (OOMKilled).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident { $($word:ident),* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($word),* }
    };
}

word_enum! {
    /// Whether a container that ended is started again.
    RestartPolicy { Always, OnFailure, Never }
}
word_enum! {
    /// When an image is pulled.
    ImagePullPolicy { Always, IfNotPresent, Never }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TransportProtocol {
    Tcp,
    Udp,
    Sctp,
}

impl PodSpec {
    /// The policy in force: Kubernetes' default is Always.
    pub fn effective_restart_policy(&self) -> RestartPolicy {
        self.restart_policy.unwrap_or(RestartPolicy::Always)
    }

    /// Kubernetes' default is 30 seconds.
    pub fn effective_grace_period_seconds(&self) -> u32 {
        let seconds = self.termination_grace_period_seconds.unwrap_or(30);
        u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
    }

    pub fn uses_host_network(&self) -> bool {
        self.host_network.unwrap_or(false)
    }
}

impl Container {
    /// The policy in force. Kubernetes' default depends on the tag: `latest` moves, so it is pulled each time.
    pub fn effective_pull_policy(&self) -> ImagePullPolicy {
        self.image_pull_policy.unwrap_or_else(|| match image_tag(&self.image) {
            Some("latest") => ImagePullPolicy::Always,
            Some(_) => ImagePullPolicy::IfNotPresent,
            None if self.image.contains('@') => ImagePullPolicy::IfNotPresent,
            None => ImagePullPolicy::Always,
        })
    }
}

impl ContainerPort {
    pub fn effective_protocol(&self) -> TransportProtocol {
        self.protocol.unwrap_or(TransportProtocol::Tcp)
    }
}

/// The tag of an image reference: after the last colon, unless that colon belongs to the registry's port.
fn image_tag(image: &str) -> Option<&str> {
    let name = image.split('@').next().unwrap_or(image);
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split_once(':').map(|(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_pull_policy_follows_the_tag_as_in_kubernetes() {
        let policy =
            |image: &str| Container { image: image.into(), ..Default::default() }.effective_pull_policy();
        assert_eq!(policy("web"), ImagePullPolicy::Always);
        assert_eq!(policy("web:latest"), ImagePullPolicy::Always);
        assert_eq!(policy("web:1.2"), ImagePullPolicy::IfNotPresent);
        assert_eq!(policy("registry.example:5000/web"), ImagePullPolicy::Always);
        assert_eq!(policy("registry.example:5000/web:1"), ImagePullPolicy::IfNotPresent);
        assert_eq!(policy("web@sha256:0123"), ImagePullPolicy::IfNotPresent);
    }
}
