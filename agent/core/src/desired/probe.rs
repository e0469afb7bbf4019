//! Probes and hooks: what is asked of a container while it runs, and what it is told when it starts and stops.

use std::num::NonZeroU16;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which question a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Has it started? Until then nothing else is asked.
    Startup,
    /// Does it serve?
    Readiness,
    /// Is it well, or must it be restarted?
    Liveness,
}

/// A container's probes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Probes {
    pub startup: Option<Probe>,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub handler: Handler,
    /// After the container's start.
    pub initial_delay: Duration,
    pub timeout: Duration,
    pub period: Duration,
    /// Successes in a row that turn a failed probe. At least 1.
    pub success_threshold: u32,
    /// Failures in a row that count as one. At least 1.
    pub failure_threshold: u32,
    /// In place of the app's own when this probe has the container killed.
    pub grace: Option<Duration>,
}

/// How a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
    /// A command in the container; exit code 0 is a success.
    Exec { command: Vec<String> },
    /// Any status from 200 to 399 is a success.
    Http(HttpGet),
    /// An accepted connection is a success. Absent host: the container's address.
    Tcp { host: Option<String>, port: NonZeroU16 },
    /// `grpc.health.v1.Health/Check`; SERVING is a success.
    Grpc { port: NonZeroU16, service: String },
}

/// A GET request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpGet {
    pub scheme: Scheme,
    /// Absent: the container's address.
    pub host: Option<String>,
    pub port: NonZeroU16,
    /// With its query; begins with a slash.
    pub path: String,
    /// In the order of the spec.
    pub headers: Vec<(String, String)>,
}

/// How a GET request travels. A certificate is not verified, as kubelet does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheme {
    Http,
    Https,
}

/// What a container is told when it starts and stops.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Lifecycle {
    /// Right after the start; the container is not ready before it ends, and is killed if it fails.
    #[serde(skip)]
    pub post_start: Option<Hook>,
    /// Before SIGTERM, within the grace period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Hook>,
}

impl Lifecycle {
    /// Nothing in it needs a new container.
    pub(super) fn is_free(&self) -> bool {
        self.pre_stop.is_none()
    }
}

/// Something that is done to a container. Serialized into a label of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    Exec { command: Vec<String> },
    Http(HttpGet),
    Sleep(Duration),
}
