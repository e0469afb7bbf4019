//! One container of an app.

use std::collections::BTreeMap;

use serde::Serialize;
use skerry_terms::ContainerName;

use super::{EnvVar, Lifecycle, Mount, Port, Probes, Resources, Security};

/// One container of an app. What is left out of the serialized form is changed without a new container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    pub name: ContainerName,
    #[serde(skip_serializing_if = "Kind::is_main")]
    pub kind: Kind,
    pub image: String,
    #[serde(skip)]
    pub pull_policy: PullPolicy,
    /// Replaces the image's entrypoint when not empty. `$(VAR)` is not yet expanded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments when not empty. `$(VAR)` is not yet expanded.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Absent: the image's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// In the order in which they are set; of two with one name the later counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    #[serde(skip)]
    pub resources: Resources,
    /// How much of which `skerry.dev/NAME` resource it has, by NAME.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub devices: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    #[serde(skip)]
    pub probes: Probes,
    /// `preStop` is kept as a label of the container, so that it is known when the spec is not; it is part of the serialized form.
    #[serde(skip_serializing_if = "Lifecycle::is_free")]
    pub lifecycle: Lifecycle,
    #[serde(skip_serializing_if = "TerminationMessage::is_default")]
    pub termination_message: TerminationMessage,
    /// Merged from the pod's and the container's own.
    #[serde(skip_serializing_if = "Security::is_default")]
    pub security: Security,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stdin: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
}

impl Container {
    /// A main container with nothing but a name and an image.
    pub fn new(name: ContainerName, image: String) -> Self {
        Self {
            name,
            kind: Kind::Main,
            image,
            pull_policy: PullPolicy::IfNotPresent,
            command: Vec::new(),
            args: Vec::new(),
            working_dir: None,
            env: Vec::new(),
            ports: Vec::new(),
            resources: Resources::default(),
            devices: BTreeMap::new(),
            mounts: Vec::new(),
            probes: Probes::default(),
            lifecycle: Lifecycle::default(),
            termination_message: TerminationMessage::default(),
            security: Security::default(),
            stdin: false,
            tty: false,
        }
    }
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// Runs to completion before what comes after it.
    Init,
    /// An init container with `restartPolicy: Always`: started before what comes after it, and kept running.
    Sidecar,
    Main,
}

impl Kind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
    fn is_main(&self) -> bool {
        *self == Self::Main
    }
}

impl TerminationMessage {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// Where a container leaves its last words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TerminationMessage {
    /// A file in the container.
    pub path: String,
    pub policy: TerminationMessagePolicy,
}

/// What counts as the last words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TerminationMessagePolicy {
    File,
    /// The end of the log where the file is empty and the container failed.
    FallbackToLogsOnError,
}

impl Default for TerminationMessage {
    fn default() -> Self {
        Self { path: "/dev/termination-log".to_owned(), policy: TerminationMessagePolicy::File }
    }
}
