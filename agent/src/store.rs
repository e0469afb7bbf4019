//! The desired state on disk. What is loaded is either exactly what was stored or an honest answer why not: missing, corrupt and
//! written by a newer agent are three different things, and none of them is an empty set.
//!
//! One file, replaced as a whole: a temporary file, fsync, rename, fsync of the folder. A power cut leaves the old or the new.

mod format;
mod lock;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use skerry_agent_core::Held;
use skerry_terms::Chain;

pub use format::Unreadable;
use lock::Lock;

const FILE: &str = "desired.bin";
const TEMPORARY: &str = "desired.tmp";
const CORRUPT: &str = "desired.corrupt-";
/// Corrupt files kept for whoever looks into it. The oldest give way: a failing disk must not fill itself.
const CORRUPT_KEPT: usize = 3;

/// The agent's folder, locked for as long as this lives.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    _lock: Lock,
}

/// What the folder held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// Nothing was ever stored.
    Missing,
    Held(Held),
    /// Something was stored and cannot be read. It was moved aside.
    Corrupt {
        kept_at: PathBuf,
        why: String,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another agent{} uses the state folder {}; stop it, or give this one its own --state-dir", pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), folder.display())]
    InUse { folder: PathBuf, pid: Option<u32> },
    #[error("{} was written by a newer agent (format {found}, this one reads up to {known}); install that version again", path.display())]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("cannot {verb} {}", path.display())]
    Io {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Adds what was attempted on which path.
pub(crate) fn at<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io { verb, path: path.to_owned(), source }
}

impl Store {
    /// Creates the folder when it is missing, and takes its lock.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(at("create the state folder", folder))?;
        Ok(Self { folder: folder.to_owned(), _lock: Lock::take(folder)? })
    }

    /// Reads what is stored. A corrupt file is moved aside; one of a newer agent stays where it is, and is an error.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let path = self.folder.join(FILE);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::Missing),
            Err(source) => return Err(StoreError::Io { verb: "read", path, source }),
        };
        match format::decode(&bytes) {
            Ok(held) => Ok(Loaded::Held(held)),
            Err(Unreadable::Newer { found }) => {
                Err(StoreError::Newer { path, found, known: format::VERSION })
            }
            // A disk that does not even take a rename must not keep the box from coming up.
            Err(Unreadable::Corrupt { why }) => match self.keep_aside(&path) {
                Ok(kept_at) => Ok(Loaded::Corrupt { kept_at, why }),
                Err(error) => {
                    let why = format!("{why}; and it could not be moved aside: {}", Chain(&error));
                    Ok(Loaded::Corrupt { kept_at: path, why })
                }
            },
        }
    }

    /// When this returns, a power cut does not lose it.
    pub fn save(&self, held: &Held) -> Result<(), StoreError> {
        let temporary = self.folder.join(TEMPORARY);
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&format::encode(held))?;
            file.sync_all()
        };
        write().map_err(at("write", &temporary))?;
        let path = self.folder.join(FILE);
        fs::rename(&temporary, &path).map_err(at("replace", &path))?;
        self.sync_folder()
    }

    /// A rename lasts only once the folder is on disk, too.
    fn sync_folder(&self) -> Result<(), StoreError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at("sync", &self.folder))
    }

    fn keep_aside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let mut numbers = self.corrupt_numbers()?;
        let next = numbers.last().map_or(1, |last| last.saturating_add(1));
        let kept_at = self.folder.join(format!("{CORRUPT}{next}"));
        fs::rename(path, &kept_at).map_err(at("move aside", path))?;
        numbers.push(next);
        let surplus = numbers.len().saturating_sub(CORRUPT_KEPT);
        for number in &numbers[..surplus] {
            let old = self.folder.join(format!("{CORRUPT}{number}"));
            fs::remove_file(&old).map_err(at("remove", &old))?;
        }
        self.sync_folder()?;
        Ok(kept_at)
    }

    /// Numbers of the corrupt files that are kept, ascending.
    fn corrupt_numbers(&self) -> Result<Vec<u64>, StoreError> {
        let entries = fs::read_dir(&self.folder).map_err(at("list", &self.folder))?;
        let mut numbers: Vec<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(CORRUPT)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Reads a file up to the largest size that a store can have: a runaway file must not fill the box's memory.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes =
        Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0).min(format::SIZE_MAX));
    // One byte more than allowed, so that the decoder sees that there is too much.
    file.take(format::SIZE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
