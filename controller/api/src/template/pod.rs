//! What the containers of an app have in common.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Container, PodSecurityContext, SeccompProfile, Volume, word_enum};
use crate::names;

/// The containers of an app and how they run together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.hostNetwork) || !self.hostNetwork || self.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort == p.containerPort))",
        "message": "with hostNetwork, a hostPort must be the containerPort or absent"
    },
    {
        "rule": "!has(self.hostNetwork) || !self.hostNetwork || !has(self.initContainers) || self.initContainers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort) || p.hostPort == p.containerPort))",
        "message": "with hostNetwork, a hostPort must be the containerPort or absent"
    },
    {
        "rule": "!has(self.initContainers) || self.initContainers.all(i, !self.containers.exists(c, c.name == i.name))",
        "message": "a name is used by a container and an init container",
        "fieldPath": ".initContainers"
    },
    {
        "rule": "self.containers.all(c, !has(c.restartPolicy))",
        "message": "restartPolicy may not be set for non-init containers",
        "fieldPath": ".containers"
    },
    {
        "rule": "!has(self.initContainers) || self.initContainers.all(c, has(c.restartPolicy) || !(has(c.startupProbe) || has(c.readinessProbe) || has(c.livenessProbe) || has(c.lifecycle)))",
        "message": "livenessProbe, readinessProbe, startupProbe and lifecycle may not be set for init containers without restartPolicy Always",
        "fieldPath": ".initContainers"
    },
    {
        "rule": "self.containers.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name)))",
        "message": "volumeMounts name a volume that is not in volumes",
        "fieldPath": ".containers"
    },
    {
        "rule": "!has(self.initContainers) || self.initContainers.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name)))",
        "message": "volumeMounts name a volume that is not in volumes",
        "fieldPath": ".initContainers"
    },
    {
        "rule": "!has(self.dnsPolicy) || self.dnsPolicy != 'None' || has(self.dnsConfig) && has(self.dnsConfig.nameservers) && size(self.dnsConfig.nameservers) > 0",
        "message": "must provide at least one DNS nameserver in dnsConfig when dnsPolicy is None",
        "fieldPath": ".dnsPolicy"
    },
    {
        "rule": "!has(self.hostPID) || !self.hostPID || !has(self.shareProcessNamespace) || !self.shareProcessNamespace",
        "message": "shareProcessNamespace and hostPID cannot both be enabled",
        "fieldPath": ".shareProcessNamespace"
    },
    {
        "rule": "!has(self.hostNetwork) || !self.hostNetwork || !has(self.securityContext) || !has(self.securityContext.sysctls) || self.securityContext.sysctls.all(s, !s.name.startsWith('net.') && !s.name.startsWith('net/'))",
        "message": "settings of net may not be specified when hostNetwork is true: they would change the whole box",
        "fieldPath": ".securityContext.sysctls"
    },
    {
        "rule": "!has(self.hostIPC) || !self.hostIPC || !has(self.securityContext) || !has(self.securityContext.sysctls) || self.securityContext.sysctls.all(s, s.name.startsWith('net.') || s.name.startsWith('net/'))",
        "message": "settings of kernel and fs.mqueue may not be specified when hostIPC is true: they would change the whole box",
        "fieldPath": ".securityContext.sysctls"
    }
]))]
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

    /// Use the box's own network. Ports need no mapping then. Needs the box's owner to allow it: policy.host-network in agent.toml.
    /// Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,

    /// Containers that run before the others, one after the other, each until it ended well. One with restartPolicy Always is
    /// a sidecar: it goes on running beside the others, which start as soon as it has started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub init_containers: Vec<Container>,

    /// Volumes that the containers mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub volumes: Vec<Volume>,

    /// Use the box's process namespace. Needs the box's owner to allow it: policy.host-pid in agent.toml.
    #[serde(rename = "hostPID", default, skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<bool>,

    /// Use the box's IPC namespace. Needs the box's owner to allow it: policy.host-ipc in agent.toml.
    #[serde(rename = "hostIPC", default, skip_serializing_if = "Option::is_none")]
    pub host_ipc: Option<bool>,

    /// All containers of the app see each other's processes. Not together with hostPID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_process_namespace: Option<bool>,

    /// Host name inside the containers. Default: the app's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = names::LABEL))]
    pub hostname: Option<String>,

    /// Where names are resolved: ClusterFirst, ClusterFirstWithHostNet and Default all use the box's resolver, None uses
    /// dnsConfig alone. Default: ClusterFirst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_policy: Option<DnsPolicy>,

    /// Resolver settings; they are added to those of the dnsPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_config: Option<DnsConfig>,

    /// Lines for /etc/hosts of the containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["ip"]))]
    pub host_aliases: Vec<HostAlias>,

    /// Secrets of type kubernetes.io/dockerconfigjson with the credentials of registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<PullSecretRef>,

    /// Users, groups and kernel settings of all containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,

    /// default-scheduler, which Kubernetes fills in, and nothing else: spec.placement says where the app runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<SchedulerName>,
}

word_enum! {
    /// Who chooses a pod's node in Kubernetes.
    SchedulerName { Default = "default-scheduler" }
}

word_enum! {
    /// Whether a container that ended is started again.
    RestartPolicy { Always, OnFailure, Never }
}
word_enum! {
    /// Where names are resolved.
    DnsPolicy { ClusterFirst, ClusterFirstWithHostNet, Default, None }
}

/// Resolver settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsConfig {
    /// IP addresses of name servers; at most 3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), inner(length(max = 45)), extend("x-kubernetes-list-type" = "atomic"))]
    pub nameservers: Vec<String>,
    /// Domains that are tried for short names; at most 32, 2048 characters together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "atomic"))]
    pub searches: Vec<String>,
    /// Options of resolv.conf, such as ndots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub options: Vec<DnsOption>,
}

/// An option of resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DnsOption {
    /// Name of the option, such as ndots.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[^\s:]+$"))]
    pub name: String,
    /// Its value, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^\S*$"))]
    pub value: Option<String>,
}

/// A line of /etc/hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostAlias {
    /// The IP address.
    #[schemars(length(min = 2, max = 45), extend("x-kubernetes-validations" = [{
        "rule": "isIP(self)",
        "message": "must be an IP address"
    }]))]
    pub ip: String,
    /// The names of the address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN)), extend("x-kubernetes-list-type" = "atomic"))]
    pub hostnames: Vec<String>,
}

/// A Secret with credentials of registries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecretRef {
    /// Name of a Secret in the app's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
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

    pub fn uses_host_pid(&self) -> bool {
        self.host_pid.unwrap_or(false)
    }

    pub fn uses_host_ipc(&self) -> bool {
        self.host_ipc.unwrap_or(false)
    }

    pub fn shares_process_namespace(&self) -> bool {
        self.share_process_namespace.unwrap_or(false)
    }

    /// Kubernetes' default is ClusterFirst.
    pub fn effective_dns_policy(&self) -> DnsPolicy {
        self.dns_policy.unwrap_or(DnsPolicy::ClusterFirst)
    }

    /// Every container with its kind: the init containers first, as they start.
    pub fn all_containers(&self) -> impl Iterator<Item = (ContainerKind, &Container)> {
        let init = self.init_containers.iter().map(|container| {
            (if container.is_sidecar() { ContainerKind::Sidecar } else { ContainerKind::Init }, container)
        });
        init.chain(self.containers.iter().map(|container| (ContainerKind::Main, container)))
    }

    /// The user that a container runs as: its own setting before the pod's. None: the image's.
    pub fn effective_user(&self, container: &Container) -> Option<i64> {
        let own = container.security_context.as_ref().and_then(|context| context.run_as_user);
        own.or_else(|| self.security_context.as_ref().and_then(|context| context.run_as_user))
    }

    /// The group that a container runs as: its own setting before the pod's. None: the image's.
    pub fn effective_group(&self, container: &Container) -> Option<i64> {
        let own = container.security_context.as_ref().and_then(|context| context.run_as_group);
        own.or_else(|| self.security_context.as_ref().and_then(|context| context.run_as_group))
    }

    /// Whether a container is refused when its image would run it as root.
    pub fn effective_non_root(&self, container: &Container) -> bool {
        let own = container.security_context.as_ref().and_then(|context| context.run_as_non_root);
        let common = || self.security_context.as_ref().and_then(|context| context.run_as_non_root);
        own.or_else(common).unwrap_or(false)
    }

    /// The seccomp profile of a container: its own setting before the pod's. None: Docker's own.
    pub fn effective_seccomp<'a>(&'a self, container: &'a Container) -> Option<&'a SeccompProfile> {
        let own = container.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
        own.or_else(|| self.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref()))
    }
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerKind {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that goes on running.
    Sidecar,
    Main,
}
