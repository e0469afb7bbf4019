//! Everything that Docker must be told to create one container, and what the files of an app's volumes are to be.

use std::collections::BTreeMap;
use std::net::IpAddr;

use skerry_terms::{AppKey, NodeName};

use crate::{
    Device, Dns, File, Hook, Port, Qos, Resources, Role, Security, Sensitive, SpecHash, TerminationMessage,
    Volume,
};

/// The files of an app's volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    pub app: AppKey,
    /// The group that owns the files.
    pub fs_group: Option<u32>,
    pub volumes: Vec<ProjectedVolume>,
    /// Fingerprint of all of it: what `Memory` remembers as written.
    pub digest: SpecHash,
}

/// One volume of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectedVolume {
    pub name: String,
    /// The files must not reach a disk.
    pub secret: bool,
    pub files: Vec<File>,
}

/// Everything that Docker must be told to create one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateSpec {
    /// The container's name, unique on the Docker Engine.
    pub name: String,
    pub node: NodeName,
    pub app: AppKey,
    pub role: Role,
    pub revision: String,
    pub hash: SpecHash,
    pub restart_count: u32,
    /// Its name, or its id where the name means something else by now. Absent for a sandbox: it runs the agent's own.
    pub image: Option<String>,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub working_dir: Option<String>,
    /// Expanded, in the order in which they are set. Values may be secret.
    pub env: Vec<(String, Sensitive)>,
    /// Ports to expose, and those of the node that lead to them.
    pub ports: Vec<Port>,
    pub resources: Resources,
    /// The class of the whole app: which of the box's processes the kernel ends first.
    pub qos: Qos,
    /// What the `skerry.dev/NAME` resources that it has stand for; by NAME, with how much of it it has.
    pub devices: BTreeMap<String, (u64, Device)>,
    /// Volumes that the container mounts, in the order of the spec. For a sandbox those that it must hold.
    pub mounts: Vec<BoundMount>,
    /// Groups of every process, beside its own.
    pub groups: Vec<u32>,
    /// The group that owns the volumes.
    pub fs_group: Option<u32>,
    pub security: Security,
    pub termination_message: Option<TerminationMessage>,
    pub stdin: bool,
    pub tty: bool,
    pub pre_stop: Option<Hook>,
    pub join: Join,
    /// The names of other apps as they are now; for [`crate::Memory`], which compares them with what they become.
    pub names: BTreeMap<String, IpAddr>,
    pub pid: Namespace,
    pub ipc: Namespace,
    /// A label of the container: those with a lower number are stopped before it.
    pub stop_rank: u32,
    /// Seconds between SIGTERM and SIGKILL.
    pub grace_seconds: u64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// A volume, and where the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundMount {
    /// Name of the volume within the app.
    pub name: String,
    pub volume: Volume,
    pub path: String,
    pub read_only: bool,
    /// Expanded; empty for all of the volume.
    pub sub_path: String,
}

/// Whose namespace a container lives in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Namespace {
    /// Its own.
    #[default]
    Private,
    /// Its own, and others may join it.
    Shareable,
    Host,
    /// That of the container with this name.
    Container {
        name: String,
    },
}

/// What only the container that owns the network has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkOwner {
    pub hostname: String,
    pub dns: Dns,
    /// Lines of /etc/hosts: the spec's host aliases, then [`CreateSpec::names`].
    pub hosts: Vec<(String, IpAddr)>,
    pub sysctls: BTreeMap<String, String>,
}

/// Which network a container is created in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    /// The box's own.
    Host(NetworkOwner),
    /// Docker's default bridge.
    Bridge(NetworkOwner),
    /// The network namespace of the container with this name.
    Container { name: String },
}
