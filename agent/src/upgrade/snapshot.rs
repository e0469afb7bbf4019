//! The stored state as the old agent left it, kept while a new one is on trial or probation: a newer agent may write a format that the old one
//! cannot read, and going back must not end there. Each file of the state is replaced as a whole, so that a link to it is a copy that costs nothing.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use tracing::warn;

use crate::store;

const FOLDER: &str = "before-upgrade";
/// Every file that holds state is called so.
const EXTENSION: &str = "bin";

/// Keeps the state as it is now.
pub(super) fn keep(state_dir: &Path) -> io::Result<()> {
    forget(state_dir)?;
    let folder = state_dir.join(FOLDER);
    DirBuilder::new().mode(0o700).create(&folder)?;
    for name in files(state_dir)? {
        let (from, to) = (state_dir.join(&name), folder.join(&name));
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
            File::open(&to)?.sync_all()?;
        }
    }
    File::open(&folder)?.sync_all()
}

/// At an agent's start: brings back what was kept, if what is there was written by a newer agent, and forgets it unless `on_probation`. What a
/// newer agent has learnt since is lost: the controller says it again.
pub fn settle(state_dir: &Path, key: Option<&Path>, on_probation: bool) {
    if !state_dir.join(FOLDER).exists() {
        return;
    }
    if store::inspect(state_dir, key).iter().any(|wrong| wrong.is_newer) {
        match restore(state_dir) {
            Ok(count) => {
                warn!(
                    "a newer agent wrote the state; {count} files from before the upgrade are in force again"
                );
            }
            Err(error) => warn!("the state from before the upgrade cannot be brought back: {error}"),
        }
    }
    if !on_probation && let Err(error) = forget(state_dir) {
        warn!("the state from before an upgrade cannot be removed: {error}");
    }
}

fn restore(state_dir: &Path) -> io::Result<usize> {
    let folder = state_dir.join(FOLDER);
    let names = files(&folder)?;
    for name in &names {
        fs::rename(folder.join(name), state_dir.join(name))?;
    }
    File::open(state_dir)?.sync_all()?;
    Ok(names.len())
}

/// The new agent is trusted, or gone.
pub(super) fn forget(state_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(state_dir.join(FOLDER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn files(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let is_state =
        |entry: &fs::DirEntry| Path::new(&entry.file_name()).extension().is_some_and(|e| e == EXTENSION);
    let entries = fs::read_dir(folder)?.filter_map(Result::ok).filter(is_state);
    Ok(entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.file_name())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Loaded, Store, Stored};

    /// A whole file of a format that does not exist yet.
    fn write_newer(path: &Path) {
        use sha2::{Digest as _, Sha256};
        let mut bytes = fs::read(path).expect("read");
        bytes[8..12].copy_from_slice(&99u32.to_le_bytes());
        let sum: [u8; 32] =
            Sha256::new().chain_update(&bytes[..20]).chain_update(&bytes[52..]).finalize().into();
        bytes[20..52].copy_from_slice(&sum);
        // As a store writes: another file in its place.
        fs::remove_file(path).expect("removed");
        fs::write(path, bytes).expect("written");
    }

    #[test]
    fn what_a_newer_agent_wrote_gives_way_to_what_was_before_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opened");
        store.save(&Stored::default()).expect("saved");
        keep(folder.path()).expect("kept");
        let file = folder.path().join("desired.bin");
        let before = fs::read(&file).expect("read");

        store.save(&Stored::default()).expect("saved anew, with another salt");
        let since = fs::read(&file).expect("read");
        assert_ne!(before, since);
        settle(folder.path(), None, true);
        assert_eq!(fs::read(&file).expect("read"), since, "what can be read stays");

        write_newer(&file);
        settle(folder.path(), None, false);
        assert_eq!(fs::read(&file).expect("read"), before);
        assert!(matches!(store.load(), Ok(Loaded::Stored(_))));

        write_newer(&file);
        let newer = fs::read(&file).expect("read");
        settle(folder.path(), None, false);
        assert_eq!(fs::read(&file).expect("read"), newer, "there is nothing to bring back any more");
    }
}
