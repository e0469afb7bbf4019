//! The containers that an app consists of, its sandbox included.

use crate::{Container, Role, SpecHash, ValidApp};

/// A container that must be there, once, with this hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit<'a> {
    pub role: Role,
    pub hash: SpecHash,
    /// Absent for the sandbox.
    pub container: Option<&'a Container>,
}

/// An app's units in start order: the sandbox first, when there is one.
pub(crate) fn units(app: &ValidApp) -> Vec<Unit<'_>> {
    let sandbox = app.has_sandbox().then(|| Unit {
        role: Role::Sandbox,
        hash: SpecHash::of_sandbox(app),
        container: None,
    });
    let containers = app.containers().iter().map(|container| Unit {
        role: Role::Container(container.name.clone()),
        hash: SpecHash::of_container(app, container),
        container: Some(container),
    });
    sandbox.into_iter().chain(containers).collect()
}
