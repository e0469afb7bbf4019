//! Where the door is, and who may have it. Only the agent's user can reach it, from its first moment; a living agent's is never taken.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tokio::net::UnixListener;

/// Where the agent answers when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/skerry/agent.sock";
const FILE: &str = "agent.sock";
/// A folder beside the socket, for the moment in which it is made.
const PRIVATE: &str = ".making";

/// A socket that is ours.
#[derive(Debug)]
pub struct Bound {
    pub(super) listener: UnixListener,
    /// The kernel lets it go when the process ends, however it ends.
    pub(super) lock: File,
}

/// Where an agent answers: where it was told to, else in `/run`, else in its state folder. The command line asks in the same order.
pub fn candidates(wanted: Option<&Path>, state_dir: &Path) -> Vec<PathBuf> {
    match wanted {
        Some(path) => vec![path.to_owned()],
        None => vec![DEFAULT_SOCKET.into(), state_dir.join(FILE)],
    }
}

/// Takes the place of an agent that is gone, never that of one that runs.
pub(super) fn bind(path: &Path) -> io::Result<Bound> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock_path)?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => {
            io::Error::new(io::ErrorKind::AddrInUse, "another agent answers there")
        }
        other => other.into(),
    })?;
    // Whoever connects between bind and chmod would be in: it is bound where only we can go, and moved when its mode is set. The mask of
    // file modes would do, too, but it is that of all threads.
    let private = path.with_file_name(PRIVATE);
    remove(&private.join(FILE))?;
    DirBuilder::new().recursive(true).mode(0o700).create(&private)?;
    let listener = bind_in(&private, path);
    std::fs::remove_dir(&private)?;
    Ok(Bound { listener: listener?, lock })
}

fn bind_in(private: &Path, path: &Path) -> io::Result<UnixListener> {
    std::fs::set_permissions(private, Permissions::from_mode(0o700))?;
    let made = private.join(FILE);
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    Ok(listener)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_agents_user_reaches_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("run/agent.sock");
        let _bound = bind(&path).expect("bound");
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    }

    #[tokio::test]
    async fn a_living_agents_is_never_taken_and_a_dead_ones_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("agent.sock");
        let living = bind(&path).expect("bound");
        let error = bind(&path).expect_err("it is taken");
        assert!(error.to_string().contains("another agent"), "{error}");
        tokio::net::UnixStream::connect(&path).await.expect("the first still answers");
        drop(living);
        assert!(path.exists(), "it is left behind, as by one that was killed");
        let _next = bind(&path).expect("bound");
        tokio::net::UnixStream::connect(&path).await.expect("the next answers");
    }

    #[tokio::test]
    async fn where_nothing_can_be_made_there_is_an_error() {
        assert!(bind(Path::new("/proc/skerry/agent.sock")).is_err());
    }
}
