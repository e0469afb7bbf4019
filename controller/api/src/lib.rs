//! The custom resources of `skerry.dev/v1alpha1`: what users write and what `kubectl` prints. Types, validation and
//! defaults; no IO. The CRD manifests in `charts/` and `deploy/` are generated from these types by `make generate`.
//!
//! Without features only the specs exist, with their checks and defaults. `status`: the statuses and [`EdgeNodeSpec`], which need
//! Kubernetes' own types. `kube`: the object types [`EdgeApp`] and [`EdgeNode`] and the CRD generator. `wire`: from a spec to the
//! bytes that travel.

mod app;
mod bounds;
#[cfg(feature = "status")]
mod condition;
#[cfg(feature = "kube")]
pub mod crds;
mod names;
#[cfg(feature = "status")]
mod node;
mod quantity;
mod references;
mod revision;
mod selector;
mod taint;
pub mod template;
mod valid;
#[cfg(feature = "wire")]
pub mod wire;

#[cfg(feature = "kube")]
pub use app::EdgeApp;
pub use app::{EdgeAppSpec, Placement, Strategy, Switch, Variant, VariantMatch};
#[cfg(feature = "status")]
pub use app::{
    EdgeAppStatus, NodeCounts, NodeFailure, NodeNotPlaceable, NodeStalled, NodeUnknown, RolloutStatus,
};
#[cfg(feature = "status")]
pub use condition::{condition, set_condition};
#[cfg(feature = "kube")]
pub use node::EdgeNode;
#[cfg(feature = "status")]
pub use node::{
    AppReport, ContainerReport, EdgeNodeSpec, EdgeNodeStatus, LastState, NodeInfo, Resources, SessionInfo,
};
pub use quantity::{Quantity, QuantityError};
pub use references::{References, references};
pub use revision::{revision_name, spec_revision};
pub use selector::{LabelSelector, Operator, Requirement};
pub use taint::{Taint, TaintEffect, Toleration, TolerationOperator};
pub use template::{
    Container, ContainerKind, ContainerPort, EnvVar, ImagePullPolicy, PodSpec, PodTemplate, Probe,
    ResourceList, ResourceRequirements, RestartPolicy, TemplateMeta, TransportProtocol, Volume, VolumeMount,
};
pub use valid::{APP_NAME_MAX, FieldError, check_name, check_spec};

/// API group of everything that Skerry adds to Kubernetes.
pub const GROUP: &str = "skerry.dev";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
