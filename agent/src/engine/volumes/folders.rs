//! The agent's own folders: those of apps, and the volumes that are plain folders.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use skerry_agent_core::{CreateSpec, Reclaim};
use skerry_terms::AppKey;

use super::{Folders, VolumeError, owner, part};

/// For everything that only the agent and Docker go through.
const PRIVATE: u32 = 0o700;
/// What kubelet gives an emptyDir: its users are the container's, whoever they are.
const SHARED: u32 = 0o777;
/// The process in the container may be anybody.
const MESSAGE: u32 = 0o666;
/// Beside a local volume: what becomes of it.
pub(super) const RECLAIM: &str = "reclaim";
pub(super) const DATA: &str = "data";

/// A folder below the state directory that only the agent and Docker go through, with those above it.
pub(super) fn private(folders: &Folders, path: &Path) -> Result<(), VolumeError> {
    debug_assert!(path.starts_with(&folders.state), "only below the state directory");
    private_anywhere(path)
}

pub(super) fn private_anywhere(path: &Path) -> Result<(), VolumeError> {
    let made = DirBuilder::new().recursive(true).mode(PRIVATE).create(path);
    made.map_err(VolumeError::io("make folder", path))
}

/// The folder of an emptyDir.
pub(super) fn empty(
    folders: &Folders,
    app: &AppKey,
    volume: &str,
    fs_group: Option<u32>,
) -> Result<PathBuf, VolumeError> {
    let path = folders.app(app).join("empty").join(part(volume)?);
    shared(folders, &path)?;
    owner::give(&path, fs_group)?;
    Ok(path)
}

/// The folder of a local volume. What becomes of it later is written down now: the spec may be gone then.
pub(super) fn local(
    folders: &Folders,
    app: &AppKey,
    volume: &str,
    reclaim: Reclaim,
    fs_group: Option<u32>,
) -> Result<PathBuf, VolumeError> {
    let home = folders.local(app).join(part(volume)?);
    private(folders, &home)?;
    let word = match reclaim {
        Reclaim::Retain => "Retain",
        Reclaim::Delete => "Delete",
    };
    let policy = home.join(RECLAIM);
    if fs::read_to_string(&policy).ok().as_deref() != Some(word) {
        replace(&policy, word.as_bytes()).map_err(VolumeError::io("write", &policy))?;
    }
    let data = home.join(DATA);
    shared(folders, &data)?;
    owner::give(&data, fs_group)?;
    Ok(data)
}

/// An empty file for a container's last words.
pub(super) fn message(folders: &Folders, spec: &CreateSpec) -> Result<(), VolumeError> {
    private(folders, &folders.messages(&spec.app))?;
    let path = folders.message(spec);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(MESSAGE).open(&path);
    // The mode of creation is cut by the umask.
    let made = file.and_then(|file| file.set_permissions(Permissions::from_mode(MESSAGE)));
    made.map_err(VolumeError::io("make file", &path))
}

/// A folder that the container's users may write to. Its mode is set once: what an app makes of it later is its own.
fn shared(folders: &Folders, path: &Path) -> Result<(), VolumeError> {
    if let Some(parent) = path.parent() {
        private(folders, parent)?;
    }
    match DirBuilder::new().mode(SHARED).create(path) {
        Ok(()) => {
            let set = fs::set_permissions(path, Permissions::from_mode(SHARED));
            set.map_err(VolumeError::io("set the mode of", path))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(VolumeError::io("make folder", path)(error)),
    }
}

/// A power cut leaves the old content or the new.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o7777
    }

    #[test]
    fn an_empty_dir_is_everybodys_and_keeps_its_content() {
        let state = tempfile::tempdir().expect("a folder");
        let folders = Folders::new(state.path());
        let app = "a/b".parse().expect("a key");
        let path = empty(&folders, &app, "cache", None).expect("made");
        assert_eq!(mode(&path), 0o777);
        assert_eq!(mode(path.parent().expect("a parent")), 0o700);
        fs::write(path.join("x"), "kept").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o750)).expect("set by the app");
        assert_eq!(empty(&folders, &app, "cache", None).expect("found"), path);
        assert_eq!(fs::read_to_string(path.join("x")).expect("read"), "kept");
        assert_eq!(mode(&path), 0o750);
        for bad in ["", ".", "..", "a/b", "a\0"] {
            assert!(empty(&folders, &app, bad, None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_reclaim_policy_that_was_asked_for_last_counts() {
        let state = tempfile::tempdir().expect("a folder");
        let folders = Folders::new(state.path());
        let app = "a/b".parse().expect("a key");
        for (policy, word) in
            [(Reclaim::Delete, "Delete"), (Reclaim::Retain, "Retain"), (Reclaim::Retain, "Retain")]
        {
            let data = local(&folders, &app, "db", policy, None).expect("made");
            assert_eq!(mode(&data), 0o777);
            assert_eq!(fs::read_to_string(data.with_file_name(RECLAIM)).expect("read"), word);
        }
    }
}
