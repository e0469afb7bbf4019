//! Probes, and the actions that probes and lifecycle hooks share.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Container, word_enum};

/// How a container is asked whether it is well: exactly one of exec, httpGet, tcpSocket and grpc.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.exec), has(self.httpGet), has(self.tcpSocket), has(self.grpc)].exists_one(given, given)",
        "message": "must specify exactly one handler type: exec, httpGet, tcpSocket, grpc"
    }
]))]
pub struct Probe {
    /// A command in the container: exit code 0 is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// An HTTP request: a status from 200 to 399 is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
    /// A TCP connection that can be opened is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocketAction>,
    /// The gRPC health service: SERVING is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAction>,
    /// Seconds after the container's start before the first probe. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds until a probe without an answer counts as failed. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
    /// Seconds from probe to probe. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub period_seconds: Option<i32>,
    /// Successes in a row after a failure that make it well again. Must be 1 for liveness and startup. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub success_threshold: Option<i32>,
    /// Failures in a row that make it unwell. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub failure_threshold: Option<i32>,
    /// Seconds between SIGTERM and SIGKILL when this probe ends the container. Default: the pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,
}

/// A command in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecAction {
    /// The command and its arguments. Not run in a shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 65536)), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,
}

/// An HTTP request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpGetAction {
    /// Path and query. Default: /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub path: Option<String>,
    /// Number or name of a port of the container.
    pub port: IntOrString,
    /// Host to connect to. Default: the app's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub host: Option<String>,
    /// HTTP or HTTPS; certificates are not verified. Default: HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<UriScheme>,
    /// Headers of the request. A name may repeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub http_headers: Vec<HttpHeader>,
}

word_enum! {
    /// How an HTTP request travels.
    UriScheme { Http = "HTTP", Https = "HTTPS" }
}

/// A header of an HTTP request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// Name of the header.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[-A-Za-z0-9]+$"))]
    pub name: String,
    /// Value of the header.
    #[schemars(length(max = 4096), regex(pattern = r"^[^\r\n]*$"))]
    pub value: String,
}

/// A TCP connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpSocketAction {
    /// Number or name of a port of the container.
    pub port: IntOrString,
    /// Host to connect to. Default: the app's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub host: Option<String>,
}

/// A call of the gRPC health service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAction {
    /// Number of the port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The service that is asked about. Default: empty, the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service: Option<String>,
}

/// A number or a text, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a whole number or a text")]
pub enum IntOrString {
    Int(i32),
    Text(String),
}

/// A port as a probe or a hook names it, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortRef {
    Number(u16),
    /// The name of a port of the same container.
    Name(String),
}

/// Why a number or a text is not a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortRefError {
    #[error("must be between 1 and 65535, inclusive, not {0}")]
    Range(i32),
    #[error(
        "must be a port's number or name; a name has at most 15 of a-z, 0-9 and '-', at least one letter, no '-' at either end and no two in a row"
    )]
    Name,
    #[error("no port of the container is called {0:?}; name one of its ports, or write the number")]
    Unknown(String),
}

impl Default for IntOrString {
    /// Not a port: a default exists so that structs around it have one.
    fn default() -> Self {
        Self::Int(0)
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl JsonSchema for IntOrString {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "IntOrString".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 15,
            "x-kubernetes-int-or-string": true,
        })
    }
}

impl IntOrString {
    /// The port that is meant, by number or by name.
    pub fn port(&self) -> Result<PortRef, PortRefError> {
        match self {
            Self::Int(number) => match u16::try_from(*number) {
                Ok(number @ 1..) => Ok(PortRef::Number(number)),
                Ok(0) | Err(_) => Err(PortRefError::Range(*number)),
            },
            Self::Text(name) if is_port_name(name) => Ok(PortRef::Name(name.clone())),
            Self::Text(_) => Err(PortRefError::Name),
        }
    }

    /// The number of the port that is meant on this container.
    pub fn resolve(&self, container: &Container) -> Result<u16, PortRefError> {
        match self.port()? {
            PortRef::Number(number) => Ok(number),
            PortRef::Name(name) => {
                let port = container.ports.iter().find(|port| port.name.as_deref() == Some(&name));
                let Some(port) = port else { return Err(PortRefError::Unknown(name)) };
                Self::Int(port.container_port).resolve(container)
            }
        }
    }
}

/// Kubernetes' IsValidPortName.
pub(crate) fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.bytes().any(|b| b.is_ascii_lowercase())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-')
}

impl HttpGetAction {
    /// The path with its leading slash: `healthz` means `/healthz`, as in Kubernetes.
    pub fn effective_path(&self) -> String {
        match self.path.as_deref() {
            None | Some("") => "/".to_owned(),
            Some(path) if path.starts_with('/') => path.to_owned(),
            Some(path) => format!("/{path}"),
        }
    }

    /// Kubernetes' default is HTTP.
    pub fn effective_scheme(&self) -> UriScheme {
        self.scheme.unwrap_or(UriScheme::Http)
    }
}

/// A number of seconds or a count; the schema allows no negative one.
fn count(number: Option<i32>, default: u32) -> u32 {
    number.map_or(default, |number| u32::try_from(number).unwrap_or(default))
}

impl Probe {
    /// Kubernetes' default is 0.
    pub fn effective_initial_delay_seconds(&self) -> u32 {
        count(self.initial_delay_seconds, 0)
    }

    /// Kubernetes' default is 1.
    pub fn effective_timeout_seconds(&self) -> u32 {
        count(self.timeout_seconds, 1)
    }

    /// Kubernetes' default is 10.
    pub fn effective_period_seconds(&self) -> u32 {
        count(self.period_seconds, 10)
    }

    /// Kubernetes' default is 1.
    pub fn effective_success_threshold(&self) -> u32 {
        count(self.success_threshold, 1)
    }

    /// Kubernetes' default is 3.
    pub fn effective_failure_threshold(&self) -> u32 {
        count(self.failure_threshold, 3)
    }
}
