//! The containers that an app consists of, its sandbox included.

use crate::{Container, Kind, RestartPolicy, Role, SpecHash, ValidApp};

/// A container that must be there, once, with this hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit<'a> {
    pub role: Role,
    pub hash: SpecHash,
    /// Absent for the sandbox.
    pub container: Option<&'a Container>,
}

impl Unit<'_> {
    /// Absent for the sandbox.
    pub fn kind(&self) -> Option<Kind> {
        self.container.map(|container| container.kind)
    }

    pub fn is(&self, kind: Kind) -> bool {
        self.kind() == Some(kind)
    }

    /// True if a run that ended is followed by another. `killed`: the agent ended it, because it was not well.
    pub fn restarts(&self, policy: RestartPolicy, exit_code: i64, killed: bool) -> bool {
        let unless_never = policy != RestartPolicy::Never;
        match self.kind() {
            None | Some(Kind::Sidecar) => true,
            Some(Kind::Init) => exit_code != 0 && unless_never,
            Some(Kind::Main) => policy.restarts(exit_code) || killed && unless_never,
        }
    }
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
