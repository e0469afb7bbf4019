//! The cases, one file for each part of a pod.

mod command;
mod config;
mod downward;
mod env;
mod examples;
mod hooks;
mod images;
mod init;
mod names;
mod namespaces;
mod placement;
mod policy;
mod probes;
mod projected;
mod refused;
mod resources;
mod security;
mod sidecars;
mod subpath;
mod termination;
mod updates;
mod volumes;

use crate::case::Case;

/// Every group with its cases. What takes longest comes first, so that nothing long is left for the end.
pub fn all() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("termination", termination::cases()),
        ("probes", probes::cases()),
        ("hooks", hooks::cases()),
        ("updates", updates::cases()),
        ("init", init::cases()),
        ("sidecars", sidecars::cases()),
        ("config", config::cases()),
        ("volumes", volumes::cases()),
        ("subpath", subpath::cases()),
        ("images", images::cases()),
        ("placement", placement::cases()),
        ("names", names::cases()),
        ("env", env::cases()),
        ("downward", downward::cases()),
        ("projected", projected::cases()),
        ("security", security::cases()),
        ("namespaces", namespaces::cases()),
        ("resources", resources::cases()),
        ("policy", policy::cases()),
        ("command", command::cases()),
        ("examples", examples::cases()),
        ("refused", refused::cases()),
    ]
}
