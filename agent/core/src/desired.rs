//! What the node shall run, in a form that cannot be wrong. The shell reads it from the stored payloads; the planner relies
//! on it.

mod container;
mod env;
mod probe;
mod qos;
mod resources;
mod security;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::Deref;
use std::time::Duration;

use serde::Serialize;
use skerry_terms::{AppKey, ContainerName, NodeName};

use crate::{Images, SpecHash};

pub use container::{Container, Kind, PullPolicy, TerminationMessage, TerminationMessagePolicy};
pub use env::{EnvValue, EnvVar, Secrets, Sensitive};
pub use probe::{Handler, Hook, HttpGet, Lifecycle, Probe, ProbeKind, Probes, Scheme};
pub use qos::Qos;
pub use resources::Resources;
pub use security::{Seccomp, Security};
pub use volume::{File, HostPathType, Mount, Reclaim, Volume};

/// Kubernetes' default of `terminationGracePeriodSeconds`.
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// Kubernetes' default of `progressDeadlineSeconds`.
const DEFAULT_PROGRESS_DEADLINE: Duration = Duration::from_secs(600);

/// Everything that the node shall run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The node itself: part of the names and labels of its containers.
    pub node: NodeName,
    pub apps: BTreeMap<AppKey, DesiredApp>,
    /// False while nothing was ever received from a controller and only local manifests are known: containers of other apps are then left alone.
    pub complete: bool,
    /// Local apps that were taken away, and whose containers go even if the set is not complete.
    pub retired: BTreeSet<AppKey>,
    /// What the box itself brings along.
    pub host: Host,
    /// Of apps that run on a revision which proved itself: the images that it proved itself with. Its containers are created from these,
    /// whatever their names mean meanwhile.
    pub images: BTreeMap<AppKey, Images>,
}

impl Desired {
    /// True if what there is of this app is to be removed.
    pub(crate) fn leaves(&self, app: &AppKey) -> bool {
        !self.apps.contains_key(app) && (self.complete || self.retired.contains(app))
    }
}

/// What the box's owner and the box itself contribute to every app.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// The address by which others reach the box: `status.hostIP`. Absent on a box without a network.
    pub ip: Option<IpAddr>,
    /// What `skerry.dev/NAME` resources stand for, by NAME, from the agent's configuration.
    pub devices: BTreeMap<String, Device>,
    /// Which apps can resolve which others.
    pub app_names: AppNames,
    /// What a container without a limit may use: the whole box.
    pub capacity: Capacity,
    /// Why no image is pulled at this moment, in words. Absent: they are.
    pub pulls_wait: Option<String>,
}

/// How much of what the box has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    pub cpu_millis: u64,
    pub memory_bytes: u64,
}

/// A resource of the box that containers ask for by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Device nodes that a container which has the resource gets. All of them.
    pub paths: Vec<String>,
    /// All GPUs of the box, through Docker's GPU support.
    pub gpu: bool,
    /// How much of it there is: how many containers may have it at once.
    pub count: u64,
}

/// Which apps on the box find each other by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppNames {
    /// Those of one namespace.
    #[default]
    Namespace,
    All,
    None,
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
    /// The box's owner does not allow it. What runs of it is left alone.
    Refused {
        revision: String,
        /// The rule and the field, in words.
        why: String,
    },
}

/// An app that passed all checks. Constructed by [`ValidApp::new`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidApp {
    spec: Box<AppSpec>,
    /// Fingerprint of the files of its volumes. Absent when it has none. Kept, because every plan asks for it.
    files: Option<SpecHash>,
}

impl Deref for ValidApp {
    type Target = AppSpec;
    fn deref(&self) -> &AppSpec {
        &self.spec
    }
}

/// What an app consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSpec {
    pub key: AppKey,
    /// uid of the EdgeApp object; empty for a local manifest.
    pub uid: String,
    /// Name of the revision, for display and for the container label.
    pub revision: String,
    pub restart_policy: RestartPolicy,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    pub network: Network,
    pub host_pid: bool,
    pub host_ipc: bool,
    pub share_process_namespace: bool,
    /// Absent: the app's name.
    pub hostname: Option<String>,
    pub dns: Dns,
    /// Further lines of /etc/hosts, in the order of the spec.
    pub host_aliases: Vec<(IpAddr, Vec<String>)>,
    /// Kernel parameters of the app's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The group that owns the app's volumes, which every process is a member of.
    pub fs_group: Option<u32>,
    pub supplemental_groups: Vec<u32>,
    /// Become Docker labels.
    pub labels: BTreeMap<String, String>,
    /// Become Docker labels with a prefix.
    pub annotations: BTreeMap<String, String>,
    /// Init containers and sidecars first, in the order of the spec, then the main ones. At least one main one; names unique,
    /// host ports disjoint.
    pub containers: Vec<Container>,
    /// By name. Every mount names one of them.
    pub volumes: BTreeMap<String, Volume>,
    pub switch: Switch,
    /// How long a new revision may take until it is ready; then the node goes back to the one before.
    pub progress_deadline: Duration,
    /// Credentials for registries, in the order in which they are tried.
    pub registry_auths: Vec<RegistryAuth>,
    /// Config that the app needs and that is not there, in kubelet's words. Nothing is created until it is empty.
    pub missing: Vec<String>,
}

impl AppSpec {
    /// An app of these containers, with Kubernetes' defaults for all else.
    pub fn new(key: AppKey, revision: String, containers: Vec<Container>) -> Self {
        Self {
            key,
            uid: String::new(),
            revision,
            restart_policy: RestartPolicy::Always,
            grace: DEFAULT_GRACE,
            network: Network::Bridge,
            host_pid: false,
            host_ipc: false,
            share_process_namespace: false,
            hostname: None,
            dns: Dns::default(),
            host_aliases: Vec::new(),
            sysctls: BTreeMap::new(),
            fs_group: None,
            supplemental_groups: Vec::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            containers,
            volumes: BTreeMap::new(),
            switch: Switch::default(),
            progress_deadline: DEFAULT_PROGRESS_DEADLINE,
            registry_auths: Vec::new(),
            missing: Vec::new(),
        }
    }
}

/// How an update changes places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Switch {
    /// The old containers stop, then the new ones start.
    #[default]
    StopFirst,
    /// The new ones start beside the old ones, which stop when the new ones are ready.
    StartFirst,
}

/// Which resolver the containers ask.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Dns {
    /// True for `dnsPolicy: None`: nothing of the box's own resolver is used.
    pub only_these: bool,
    pub nameservers: Vec<IpAddr>,
    pub searches: Vec<String>,
    /// `name` or `name:value`.
    pub options: Vec<String>,
}

/// Credentials for the registries that a pattern names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    /// Host, optionally with port and path, as the key in `auths` of a dockerconfigjson.
    pub registry: String,
    pub username: String,
    pub password: Sensitive,
    pub identity_token: Sensitive,
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
    #[error("container {container} mounts volume {volume:?}, which the app does not have")]
    UnknownVolume { container: ContainerName, volume: String },
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
    pub fn new(spec: AppSpec) -> Result<Self, SpecError> {
        if !spec.containers.iter().any(|container| container.kind == Kind::Main) {
            return Err(SpecError::NoContainers);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = spec.containers.iter().find(|container| !names.insert(&container.name)) {
            return Err(SpecError::DuplicateName(twice.name.clone()));
        }
        if let Some(label) = spec.labels.keys().find(|label| label.starts_with(skerry_terms::labels::PREFIX))
        {
            return Err(SpecError::ReservedLabel(label.clone()));
        }
        for container in &spec.containers {
            if let Some(mount) =
                container.mounts.iter().find(|mount| !spec.volumes.contains_key(&mount.volume))
            {
                return Err(SpecError::UnknownVolume {
                    container: container.name.clone(),
                    volume: mount.volume.clone(),
                });
            }
        }
        let files = SpecHash::of_files(&spec);
        let app = Self { spec: Box::new(spec), files };
        app.check_ports()?;
        Ok(app)
    }

    /// Fingerprint of the files of its volumes. Absent when it has none.
    pub fn files(&self) -> Option<&SpecHash> {
        self.files.as_ref()
    }

    /// True if the new containers of an update start beside the old ones. What needs a port of the node cannot.
    pub fn is_side_by_side(&self) -> bool {
        self.switch == Switch::StartFirst
            && self.network != Network::Host
            && self.host_ports().next().is_none()
    }

    /// True if the containers share a namespace with the app's sandbox, by which it is known whose members they are.
    pub(crate) fn joins_sandbox(&self) -> bool {
        let shares_pid = self.share_process_namespace && !self.host_pid;
        self.has_sandbox() && (self.network == Network::Bridge || !self.host_ipc || shares_pid)
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

    /// What must not be seen in words about this app's containers.
    pub fn secrets(&self) -> Secrets {
        let variables = self.containers().iter().flat_map(|container| &container.env);
        let of_variables = variables.filter_map(|var| match &var.value {
            EnvValue::Secret(Sensitive(value)) => Some(value.as_str()),
            EnvValue::Literal(_) | EnvValue::Resolved(_) | EnvValue::HostIp | EnvValue::PodIp => None,
        });
        let files = self.volumes.values().filter_map(|volume| match volume {
            Volume::Files { secret: true, files } => Some(files),
            Volume::Files { secret: false, .. }
            | Volume::EmptyDir
            | Volume::Memory { .. }
            | Volume::HostPath { .. }
            | Volume::Local { .. } => None,
        });
        let of_files =
            files.flatten().filter_map(|file| Some(str::from_utf8(&file.content).ok()?.trim_end()));
        let of_registries =
            self.registry_auths.iter().flat_map(|auth| [&auth.password.0, &auth.identity_token.0]);
        Secrets::of(of_variables.chain(of_files).chain(of_registries.map(String::as_str)))
    }

    /// Init containers and sidecars first, then the main ones, each in the order of the spec.
    pub fn containers(&self) -> &[Container] {
        &self.containers
    }

    /// True if the app needs a container of its own that holds what the others share and must outlive each of them: a network
    /// namespace, a process namespace, a volume in memory, an address that is known before they start. A single container holds its
    /// own network, which saves a third of the start time.
    pub fn has_sandbox(&self) -> bool {
        let memory = self.volumes.values().any(|volume| matches!(volume, Volume::Memory { .. }));
        let needs_address = || {
            let mut values = self.containers.iter().flat_map(|container| &container.env);
            values.any(|var| var.value == EnvValue::PodIp)
        };
        let shares = memory || self.share_process_namespace;
        match self.network {
            Network::Host => shares || self.containers.iter().any(|container| container.kind != Kind::Main),
            Network::Bridge => shares || self.containers.len() > 1 || needs_address(),
        }
    }

    /// The ports of the node that the app asks for.
    pub fn host_ports(&self) -> impl Iterator<Item = HostPort> + '_ {
        self.containers().iter().flat_map(|container| self.host_ports_of(container))
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
