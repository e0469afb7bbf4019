//! The harness of the whole-system tests and benchmarks: a real control plane, the real daemons, a real Docker Engine. Nothing here is a
//! fake; what is missing on the machine is an error that says how to get it.

mod bare_api;
mod control_plane;
mod daemon;
mod docker;
mod http;
mod kubectl;
mod outpost;
mod private_docker;
mod proxy;
mod registry;
mod site;
mod wait;

pub use bare_api::BareApi;
pub use control_plane::{ControlPlane, Plane};
pub use daemon::{Daemon, build, free_port, program, repository_root, target_dir};
pub use docker::{Containers, DockerHost, docker, run as docker_run};
pub use http::get;
pub use kubectl::Kubectl;
pub use outpost::{Outpost, OutpostOptions};
pub use private_docker::PrivateDocker;
pub use proxy::{Condition, Proxy};
pub use registry::{REGISTRY_PASSWORD, REGISTRY_USER, Registry};
pub use site::{AgentOptions, Node, Said, Site, unique, unmount};
pub use wait::{LIMIT, eventually, holds_for, within};

/// The image of the tests, made by `tests/host/test-image.sh`: busybox, and no entrypoint.
pub const IMAGE: &str = "skerry.local/busybox:1";
