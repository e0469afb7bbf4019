//! The pod template: the subset of PodSpec that an EdgeApp may use. Names and meanings are Kubernetes' own; a field that is not
//! here is refused at `kubectl apply`, because nothing may be accepted and then ignored. What each field defaults to is a method
//! `effective_…` beside it.

mod container;
mod env;
mod lifecycle;
mod pod;
mod probe;
mod resources;
mod security;
mod volume;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use container::{
    Container, ContainerPort, ImagePullPolicy, SidecarPolicy, TerminationMessagePolicy, TransportProtocol,
    VolumeMount,
};
pub use env::{
    EnvFromSource, EnvVar, EnvVarSource, FieldRef, FieldRefVersion, KeyRef, ObjectRef, ResourceFieldRef,
};
pub use lifecycle::{Lifecycle, LifecycleHandler, SleepAction};
pub use pod::{
    ContainerKind, DnsConfig, DnsOption, DnsPolicy, HostAlias, PodSpec, PullSecretRef, RestartPolicy,
    SchedulerName,
};
pub(crate) use probe::is_port_name;
pub use probe::{
    ExecAction, GrpcAction, HttpGetAction, HttpHeader, IntOrString, PortRef, PortRefError, Probe,
    TcpSocketAction, UriScheme,
};
pub use resources::{CPU, DEVICE_PREFIX, MEMORY, ResourceList, ResourceRequirements};
pub use security::{
    Capabilities, PodSecurityContext, SeccompProfile, SeccompProfileType, SecurityContext, Sysctl,
};
pub use volume::{
    ConfigMapProjection, ConfigMapVolume, DownwardApiFile, DownwardApiProjection, DownwardApiVolume,
    EmptyDir, HostPath, HostPathType, KeyToPath, LocalVolume, ProjectedVolume, ReclaimPolicy,
    SecretProjection, SecretVolume, StorageMedium, Volume, VolumeProjection, VolumeSource,
};

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
        "additionalProperties" = {"type": "string", "maxLength": 63},
        "x-kubernetes-validations" = [{
            "rule": "self.all(k, !k.startsWith('skerry.dev/'))",
            "message": "labels under skerry.dev/ are reserved"
        }]
    ))]
    pub labels: BTreeMap<String, String>,
    /// Become Docker labels with the prefix "annotation.".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 262_144}))]
    pub annotations: BTreeMap<String, String>,
}

/// An enum whose variants are its words. Documentation on the variants would make them separate schemas.
macro_rules! word_enum {
    ($(#[$doc:meta])* $name:ident { $($word:ident $(= $text:literal)?),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name { $($(#[serde(rename = $text)])? $word),* }
    };
}
pub(crate) use word_enum;
