//! One agent per state folder. The kernel lets the lock go when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::{StoreError, at};

const FILE: &str = "lock";

/// Held for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    _folder: File,
}

impl Lock {
    /// Fails with the holder's process id when another agent has it.
    pub fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        // The folder itself is locked: that needs no room on the disk and no right to write, and a box whose flash is worn out must
        // still come up.
        let locked = File::open(folder).map_err(at("open", folder))?;
        match flock(&locked, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Err(StoreError::InUse { folder: folder.to_owned(), pid });
            }
            Err(error) => return Err(at("lock", folder)(error.into())),
        }
        Ok(Self { _folder: locked })
    }

    /// Tells a second agent who was first; without that it is still refused. Fails where the folder cannot be written.
    pub fn sign(&self, folder: &Path) -> Result<(), StoreError> {
        let path = folder.join(FILE);
        let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        open.and_then(|mut file| writeln!(file, "{}", std::process::id())).map_err(at("write", &path))
    }
}
