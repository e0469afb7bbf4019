//! One container.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EnvFromSource, EnvVar, Lifecycle, Probe, ResourceRequirements, SecurityContext, word_enum};
use crate::names;

/// Where a container may leave its last words. Kubernetes' default.
const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.livenessProbe) || !has(self.livenessProbe.successThreshold) || self.livenessProbe.successThreshold == 1",
        "message": "must be 1 for liveness probes",
        "fieldPath": ".livenessProbe.successThreshold"
    },
    {
        "rule": "!has(self.startupProbe) || !has(self.startupProbe.successThreshold) || self.startupProbe.successThreshold == 1",
        "message": "must be 1 for startup probes",
        "fieldPath": ".startupProbe.successThreshold"
    },
    {
        "rule": "!has(self.readinessProbe) || !has(self.readinessProbe.terminationGracePeriodSeconds)",
        "message": "must not be set for readinessProbes: they end nothing",
        "fieldPath": ".readinessProbe.terminationGracePeriodSeconds"
    }
]))]
pub struct Container {
    /// Name of the container: a DNS label, unique within the app.
    #[schemars(length(min = 1, max = 63), regex(pattern = names::LABEL))]
    pub name: String,

    /// Image reference, by tag or by digest.
    #[schemars(length(min = 1, max = 512), regex(pattern = names::IMAGE))]
    pub image: String,

    /// When the image is pulled: Always, IfNotPresent or Never. Default: Always for the tag "latest" or no tag, otherwise
    /// IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Replaces the image's entrypoint. Not run in a shell. $(NAME) is replaced by the variable's value, $$ is a dollar sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 65536)))]
    pub command: Vec<String>,

    /// Arguments of the entrypoint. Replaces the image's arguments. $(NAME) is replaced by the variable's value, $$ is a dollar
    /// sign.
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

    /// Folder that the command starts in. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "self == '' || self.startsWith('/')",
            "message": "must be an absolute path: it begins with '/'"
        },
        {
            "rule": "!('/' + self + '/').contains('/../')",
            "message": "must not contain '..'"
        }
    ]))]
    pub working_dir: Option<String>,

    /// Environment variables from every key of ConfigMaps and Secrets. Later ones win; env wins over all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub env_from: Vec<EnvFromSource>,

    /// Where volumes are mounted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub volume_mounts: Vec<VolumeMount>,

    /// Holds the other probes back until it succeeds. When it fails, the container is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,

    /// Whether the container serves. The app is ready when every container is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,

    /// Whether the container is alive. When it fails, the container is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,

    /// What is done right after the container started and right before it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,

    /// File in the container whose content becomes the message of its end. Default: /dev/termination-log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "self.startsWith('/')",
            "message": "must be an absolute path: it begins with '/'"
        },
        {
            "rule": "!('/' + self + '/').contains('/../')",
            "message": "must not contain '..'"
        }
    ]))]
    pub termination_message_path: Option<String>,

    /// File: the message of the end is the file's content. FallbackToLogsOnError: if that is empty and the container failed, the
    /// end of its log. Default: File.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_message_policy: Option<TerminationMessagePolicy>,

    /// User, groups and rights of the container. Wins over the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,

    /// Keep standard input open. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<bool>,

    /// Give the container a terminal. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<bool>,

    /// Of init containers only. Always makes it a sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<SidecarPolicy>,
}

/// A port of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// Name of the port; probes may refer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15), regex(pattern = names::LABEL))]
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

/// Where a volume is mounted in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.subPath) || !has(self.subPathExpr)",
        "message": "subPathExpr and subPath are mutually exclusive",
        "fieldPath": ".subPathExpr"
    }
]))]
pub struct VolumeMount {
    /// Name of a volume of the app.
    #[schemars(length(min = 1, max = 63), regex(pattern = names::LABEL))]
    pub name: String,
    /// Path in the container. No two mounts of a container share one.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^[^:]*$"))]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "self.startsWith('/')",
            "message": "must be an absolute path: it begins with '/'"
        },
        {
            "rule": "!('/' + self + '/').contains('/../')",
            "message": "must not contain '..'"
        }
    ]))]
    pub mount_path: String,
    /// Path inside the volume that is mounted instead of its root. Made if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "!self.startsWith('/')",
            "message": "must be a relative path: it does not begin with '/'"
        },
        {
            "rule": "!('/' + self + '/').contains('/../')",
            "message": "must not contain '..'"
        }
    ]))]
    pub sub_path: Option<String>,
    /// As subPath, with $(NAME) replaced by the container's variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "!self.startsWith('/')",
            "message": "must be a relative path: it does not begin with '/'"
        },
        {
            "rule": "!('/' + self + '/').contains('/../')",
            "message": "must not contain '..'"
        }
    ]))]
    pub sub_path_expr: Option<String>,
    /// Mount it so that the container cannot write. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

word_enum! {
    /// When an image is pulled.
    ImagePullPolicy { Always, IfNotPresent, Never }
}
word_enum! {
    /// Where the message of a container's end comes from.
    TerminationMessagePolicy { File, FallbackToLogsOnError }
}
word_enum! {
    /// The restart policy of an init container: Always makes it a sidecar.
    SidecarPolicy { Always }
}
word_enum! {
    /// A transport protocol.
    TransportProtocol { Tcp = "TCP", Udp = "UDP", Sctp = "SCTP" }
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

    pub fn effective_termination_message_path(&self) -> &str {
        self.termination_message_path.as_deref().unwrap_or(TERMINATION_MESSAGE_PATH)
    }

    /// Kubernetes' default is File.
    pub fn effective_termination_message_policy(&self) -> TerminationMessagePolicy {
        self.termination_message_policy.unwrap_or(TerminationMessagePolicy::File)
    }

    /// True for an init container that goes on running.
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == Some(SidecarPolicy::Always)
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
