//! Where the agent's binary is, and what lies beside it: the candidate, and the one before. Whatever happens, the binary's own path leads to a
//! whole and tried binary: each change of it is one rename, and the folder is synced before anything relies on it.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What runs, also when its path leads to another file by now.
pub(super) const RUNNING: &str = "/proc/self/exe";
/// What the kernel adds to the name of a file that is gone.
const DELETED: &[u8] = b" (deleted)";
/// A release is a few MiB, a debug build some hundred.
const BINARY_MAX: u64 = 1 << 30;
const EXECUTABLE: u32 = 0o755;

/// The path that systemd, or whoever starts the agent, starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    binary: PathBuf,
}

impl Place {
    pub fn new(binary: PathBuf) -> Self {
        Self { binary }
    }

    /// Of this very process. A link to the binary is followed: what it points to is what is exchanged.
    pub fn of_this_process() -> io::Result<Self> {
        let path = fs::read_link(RUNNING)?;
        let bytes = path.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(DELETED).unwrap_or(bytes);
        Ok(Self { binary: OsStr::from_bytes(bytes).into() })
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The binary that is tried.
    pub fn candidate(&self) -> PathBuf {
        self.beside(".new")
    }

    /// The binary that was in place before.
    pub fn previous(&self) -> PathBuf {
        self.beside(".previous")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.binary.clone().into_os_string();
        path.push(suffix);
        path.into()
    }

    /// Copies a binary to where the candidate is, and sees to it that it is on the disk.
    pub fn bring(&self, from: &Path) -> io::Result<()> {
        let candidate = self.candidate();
        // A new file, not new content: the old one may be what runs.
        remove(&candidate)?;
        let copied = copy(from, &candidate).and_then(|()| self.sync());
        if copied.is_err() {
            let _ = remove(&candidate);
        }
        copied
    }

    /// The candidate becomes what is started from now on, and what runs becomes the one before.
    pub fn commit(&self) -> io::Result<()> {
        let (previous, making) = (self.previous(), self.beside(".previous.new"));
        remove(&making)?;
        let is_what_runs = inode(&self.binary).is_some() && inode(&self.binary) == inode(Path::new(RUNNING));
        // Somebody may have put another binary in place since this one was started; not every file system has links.
        if !is_what_runs || fs::hard_link(&self.binary, &making).is_err() {
            copy(Path::new(RUNNING), &making)?;
        }
        fs::rename(&making, &previous)?;
        self.sync()?;
        fs::rename(self.candidate(), &self.binary)?;
        self.sync()
    }

    /// The one before becomes what is started from now on.
    pub fn go_back(&self) -> io::Result<()> {
        fs::rename(self.previous(), &self.binary)?;
        self.sync()
    }

    pub fn discard_candidate(&self) -> io::Result<()> {
        remove(&self.candidate())
    }

    fn sync(&self) -> io::Result<()> {
        let folder = self.binary.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    }
}

/// Which file a path leads to; a rename takes it along.
pub fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let size = source.metadata()?.len();
    if size > BINARY_MAX {
        return Err(io::Error::other(format!("it has {size} bytes, more than {BINARY_MAX}")));
    }
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o700).open(to)?;
    io::copy(&mut source.take(BINARY_MAX), &mut target)?;
    target.set_permissions(Permissions::from_mode(EXECUTABLE))?;
    target.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &tempfile::TempDir) -> Place {
        let place = Place::new(folder.path().join("skerry-agent"));
        fs::write(place.binary(), "old").expect("written");
        let new = folder.path().join("downloaded");
        fs::write(&new, "new").expect("written");
        place.bring(&new).expect("copied");
        place
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).expect("read")
    }

    #[test]
    fn a_candidate_is_put_in_place_and_taken_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(&folder);
        assert_eq!(text(place.binary()), "old");
        let mode = fs::metadata(place.candidate()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, EXECUTABLE);
        let candidate = inode(&place.candidate());
        place.commit().expect("committed");
        assert_eq!((text(place.binary()).as_str(), inode(place.binary())), ("new", candidate));
        // What runs is this test, and it is what was before.
        assert_eq!(
            fs::metadata(place.previous()).expect("there").len(),
            fs::metadata(RUNNING).expect("there").len()
        );
        assert!(!place.candidate().exists());
        fs::write(place.previous(), "old").expect("written");
        place.go_back().expect("back");
        assert_eq!((text(place.binary()).as_str(), place.previous().exists()), ("old", false));
    }

    #[test]
    fn what_cannot_be_copied_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = place(&folder);
        place.bring(&folder.path().join("absent")).expect_err("refused");
        assert!(!place.candidate().exists());
        assert_eq!(text(place.binary()), "old");
        place.discard_candidate().expect("nothing to do");
    }
}
