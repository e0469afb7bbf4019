//! The custom resources of `skerry.dev/v1alpha1`: what users write and what `kubectl` prints. Types, validation and
//! defaults; no IO. The CRD manifests in `charts/` and `deploy/` are generated from these types by `make generate`.
//!
//! With the feature `kube` the object types [`EdgeApp`] and [`EdgeNode`] and the CRD generator exist; without it only the
//! specs and statuses do, which is all that the pure crates need.

mod app;
mod condition;
#[cfg(feature = "kube")]
pub mod crds;
mod node;
mod quantity;
mod revision;
mod selector;
mod template;
mod valid;

#[cfg(feature = "kube")]
pub use app::EdgeApp;
pub use app::{EdgeAppSpec, EdgeAppStatus, NodeCounts, NodeFailure, Placement, RolloutStatus};
pub use condition::{condition, set_condition};
#[cfg(feature = "kube")]
pub use node::EdgeNode;
pub use node::{AppReport, ContainerReport, EdgeNodeSpec, EdgeNodeStatus, NodeInfo, Resources, SessionInfo};
pub use quantity::{Quantity, QuantityError};
pub use revision::revision_name;
pub use selector::{LabelSelector, Operator, Requirement};
pub use template::{
    Container, ContainerPort, EnvVar, ImagePullPolicy, Limits, PodSpec, PodTemplate, ResourceRequirements,
    RestartPolicy, TemplateMeta, TransportProtocol,
};
pub use valid::{FieldError, check_spec};

/// API group of everything that Skerry adds to Kubernetes.
pub const GROUP: &str = "skerry.dev";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
