//! What the controller decides, as pure functions and one sans-IO session: which apps a node runs, what it is sent, what the
//! status objects say and when they are worth a write. No clock, no network, no Kubernetes client: the shell in
//! `skerry-controller` feeds these and carries out what they return.

pub mod aggregate;
pub mod node_status;
pub mod placement;
pub mod session;
pub mod settled;
pub mod snapshot;
mod status_size;
pub mod transitions;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A time as messages print it: whole seconds, UTC, as Kubernetes writes its own.
pub(crate) fn rfc3339(time: &Time) -> String {
    time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `1 node`, `2 nodes`.
pub(crate) fn nodes(count: usize) -> String {
    format!("{count} node{}", if count == 1 { "" } else { "s" })
}
