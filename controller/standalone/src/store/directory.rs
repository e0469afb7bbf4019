//! The data directory: its mode, its lock, and files that are there after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::OpenError;

const LOCK: &str = "lock";

/// More than the digits of any pid.
const MAX_PID_TEXT: u64 = 20;

/// The right to use a folder, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Writes down who holds it.
    fn tell(&mut self) -> io::Result<()> {
        self.0.set_len(0)?;
        self.0.rewind()?;
        write!(self.0, "{}", std::process::id())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that was just forked, and has not yet become another
        // program, has it open too.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "failed to unlock the data directory");
        }
    }
}

/// Makes the folder if it is absent, for its owner alone, and locks it.
pub(super) fn claim(dir: &Path) -> Result<Lock, OpenError> {
    make(dir).map_err(|source| OpenError::Files { path: dir.to_owned(), source })?;
    let path = dir.join(LOCK);
    let files = |source| OpenError::Files { path: path.clone(), source };
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(files)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Locked { dir: dir.to_owned(), pid: holder(&lock) });
        }
        Err(TryLockError::Error(source)) => return Err(files(source)),
    }
    let mut lock = Lock(lock);
    lock.tell().map_err(files)?;
    Ok(lock)
}

fn holder(lock: &File) -> Option<u32> {
    let mut text = String::new();
    lock.take(MAX_PID_TEXT).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Makes the folder, or takes the rights of others away from the one that is there.
fn make(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        return sync(&parent(dir));
    }
    if fs::metadata(dir)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// What a folder holds besides the lock file.
pub(super) fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().is_none_or(|name| name != LOCK) {
            found.push(path);
        }
    }
    Ok(found)
}

/// A file that only its owner may read. It must not be there yet.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Takes the rights of others away from a file.
pub(super) fn tighten(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Gives a complete and synced file its name, durably, and refuses to replace another one.
pub(super) fn publish(from: &Path, to: &Path) -> io::Result<()> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, flags) {
        // Some file systems that hold backups, NFS among them, know no such rename, but links.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)?;
        }
        renamed => renamed?,
    }
    sync(&parent(to))
}

/// Makes what was created, renamed or removed in a folder durable.
pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}
