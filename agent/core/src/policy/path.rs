//! Paths of the box: below what the owner has listed, and clear of what nobody may have.

use std::path::{Component, Path, PathBuf};

use super::{Policy, Refusal};

/// Why a path of the box may not be mounted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path is not absolute, or has `..` in it")]
    NotPlain,
    #[error("it is not below any of the listed paths")]
    NotListed,
    /// Docker's socket is there, or below.
    #[error(
        "it is, or contains, Docker's socket, which is root on the box; its owner can set docker-socket = true"
    )]
    DockerSocket,
    #[error("it is, contains, or lies in the agent's own folder {}", .0.display())]
    Agent(PathBuf),
}

impl PathError {
    /// The same, about a field.
    pub(super) fn refusal(&self, field: String, path: &str) -> Refusal {
        let rule = match self {
            Self::NotPlain | Self::NotListed | Self::Agent(_) => "policy.host-paths",
            Self::DockerSocket => "policy.docker-socket",
        };
        Refusal { rule: rule.to_owned(), field, why: format!("{path}: {self}") }
    }
}

pub(super) fn judge(policy: &Policy, path: &Path) -> Result<(), PathError> {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(PathError::NotPlain);
    }
    // Components are compared, not letters: `/data` does not contain `/database`.
    if let Some(own) = policy.agent_folders.iter().find(|own| own.starts_with(path) || path.starts_with(own))
    {
        return Err(PathError::Agent(own.clone()));
    }
    let is_socket = policy.docker_sockets.iter().any(|socket| socket == path);
    let holds_socket = policy.docker_sockets.iter().any(|socket| socket.starts_with(path));
    match (holds_socket, policy.docker_socket) {
        (true, false) => return Err(PathError::DockerSocket),
        // What allows the socket allows no folder around it.
        (true, true) if is_socket => return Ok(()),
        (true | false, _) => {}
    }
    let listed = policy.host_paths.iter().any(|allowed| path.starts_with(allowed));
    if listed { Ok(()) } else { Err(PathError::NotListed) }
}
