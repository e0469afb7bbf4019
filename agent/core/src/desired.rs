//! What the node shall run, in a form that cannot be wrong. The shell reads it from the stored payloads; the planner relies
//! on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use serde::Serialize;
use skerry_terms::{AppKey, ContainerName, NodeName};

/// Everything that the node shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The node itself: part of the names and labels of its containers.
    pub node: NodeName,
    pub apps: BTreeMap<AppKey, DesiredApp>,
}

/// One app of the desired set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DesiredApp {
    /// Understood and checked.
    Valid(ValidApp),
    /// This agent cannot honour it, most often because the app uses what a newer agent knows. What runs of it is left
    /// alone, and the reason is reported.
    Unsupported {
        /// The app revision, where it could be read.
        revision: String,
        /// What this agent does not understand, in words.
        why: String,
    },
}

/// An app that passed all checks. Constructed by [`ValidApp::new`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidApp {
    pub key: AppKey,
    /// Name of the revision, for display and for the container label.
    pub revision: String,
    pub restart_policy: RestartPolicy,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    pub network: Network,
    /// Become Docker labels.
    pub labels: BTreeMap<String, String>,
    /// Become Docker labels with a prefix.
    pub annotations: BTreeMap<String, String>,
    /// In start order. Not empty, names unique, host ports disjoint.
    containers: Vec<Container>,
}

/// What is wrong with an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("the app has no container")]
    NoContainers,
    #[error("two containers are named {0}")]
    DuplicateName(ContainerName),
    #[error("containers {first} and {second} both ask for port {port}/{protocol} of the node")]
    DuplicatePort { first: ContainerName, second: ContainerName, port: NonZeroU16, protocol: Protocol },
    #[error("label {0} is reserved")]
    ReservedLabel(String),
}

/// One container of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    pub name: ContainerName,
    pub image: String,
    #[serde(skip)]
    pub pull_policy: PullPolicy,
    /// Replaces the image's entrypoint when not empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments when not empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// In the order of the spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvVar {
    pub name: String,
    pub value: String,
}

/// A port of a container, and the port of the node that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Port {
    pub container_port: NonZeroU16,
    pub protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_port: Option<NonZeroU16>,
    /// Absent: every address of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
}

/// A port of the node that an app asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    pub protocol: Protocol,
    pub port: NonZeroU16,
    /// Absent: every address of the node.
    pub ip: Option<IpAddr>,
}

impl HostPort {
    /// True if both cannot be had at once.
    pub fn overlaps(&self, other: &HostPort) -> bool {
        self.protocol == other.protocol
            && self.port == other.port
            && (self.ip.is_none() || other.ip.is_none() || self.ip == other.ip)
    }
}

/// What a container may use. Absent: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<NonZeroU64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<NonZeroU64>,
}

impl Limits {
    fn is_none(&self) -> bool {
        *self == Limits::default()
    }
}

/// A transport protocol, in Kubernetes' spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

/// Whether a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    /// True if a container that ended with this exit code is started again.
    pub fn restarts(self, exit_code: i64) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => exit_code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// Which network an app's containers live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Network {
    /// The node's own.
    Host,
    /// Docker's default bridge, one namespace per app.
    Bridge,
}

impl ValidApp {
    /// Checks what spans several fields; the fields themselves are checked by their types.
    #[expect(clippy::too_many_arguments, reason = "one constructor, called from the one conversion")]
    pub fn new(
        key: AppKey,
        revision: String,
        restart_policy: RestartPolicy,
        grace: Duration,
        network: Network,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        containers: Vec<Container>,
    ) -> Result<Self, SpecError> {
        if containers.is_empty() {
            return Err(SpecError::NoContainers);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = containers.iter().find(|container| !names.insert(&container.name)) {
            return Err(SpecError::DuplicateName(twice.name.clone()));
        }
        if let Some(label) = labels.keys().find(|label| label.starts_with(skerry_terms::labels::PREFIX)) {
            return Err(SpecError::ReservedLabel(label.clone()));
        }
        let app = Self { key, revision, restart_policy, grace, network, labels, annotations, containers };
        app.check_ports()?;
        Ok(app)
    }

    fn check_ports(&self) -> Result<(), SpecError> {
        let ports: Vec<_> = self
            .containers
            .iter()
            .flat_map(|container| self.host_ports_of(container).map(|port| (&container.name, port)))
            .collect();
        for (i, (first, a)) in ports.iter().enumerate() {
            if let Some((second, _)) = ports[i + 1..].iter().find(|(_, b)| a.overlaps(b)) {
                return Err(SpecError::DuplicatePort {
                    first: (*first).clone(),
                    second: (*second).clone(),
                    port: a.port,
                    protocol: a.protocol,
                });
            }
        }
        Ok(())
    }

    /// In start order; never empty.
    pub fn containers(&self) -> &[Container] {
        &self.containers
    }

    /// True if the app needs a container of its own that holds the network namespace: several containers share one, and it must
    /// outlive each of them. A single container holds its own, which saves a third of the start time.
    pub fn has_sandbox(&self) -> bool {
        match self.network {
            Network::Host => false,
            Network::Bridge => self.containers.len() > 1,
        }
    }

    /// The ports of the node that the app asks for.
    pub fn host_ports(&self) -> impl Iterator<Item = HostPort> + '_ {
        self.containers.iter().flat_map(|container| self.host_ports_of(container))
    }

    /// In the node's own network, a container port is a port of the node, as Kubernetes counts it.
    pub(crate) fn host_ports_of<'a>(
        &self,
        container: &'a Container,
    ) -> impl Iterator<Item = HostPort> + use<'a> {
        let host = self.network == Network::Host;
        container.ports.iter().filter_map(move |port| {
            let number = port.host_port.or(host.then_some(port.container_port))?;
            Some(HostPort { protocol: port.protocol, port: number, ip: port.host_ip })
        })
    }
}
