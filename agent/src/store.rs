//! What must not be lost, on disk. What is loaded is either exactly what was stored or an honest answer why not: missing, corrupt and
//! written by a newer agent are three different things, and none of them is an empty set.
//!
//! Each file is replaced as a whole: a temporary file, fsync, rename, fsync of the folder. A power cut leaves the old or the new. Payloads
//! may hold Secrets, so that every file is sealed with the box's own key.

mod format;
#[cfg(test)]
mod fuzz;
mod inspect;
mod local;
mod lock;
mod outbox;
mod peek;
mod pulled;
mod seal;
mod state;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use skerry_terms::Chain;
use tracing::warn;

pub use format::Unreadable;
pub use inspect::{Wrong, inspect};
pub use local::Local;
use lock::Lock;
pub use peek::{Peek, Peeked, key_path, peek};
pub use pulled::Pulled;
use seal::Key;
pub use seal::KeyError;
pub use state::Stored;

const FILE: &str = "desired.bin";
const TEMPORARY: &str = "desired.tmp";
const CORRUPT: &str = "desired.corrupt-";
const KEY: &str = "store.key";
/// Corrupt files kept for whoever looks into it. The oldest give way: a failing disk must not fill itself.
const CORRUPT_KEPT: usize = 3;

/// The agent's folder, locked for as long as this lives.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// Where the key is that everything is sealed with.
    key: PathBuf,
    _lock: Lock,
}

/// What the folder held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// Nothing was ever stored.
    Missing,
    Stored(Stored),
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
    #[error("what is stored cannot be sealed")]
    Key(#[from] KeyError),
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
        Ok(Self { folder: folder.to_owned(), key: folder.join(KEY), _lock: Lock::take(folder)? })
    }

    /// With the key at another place than the folder.
    pub fn with_key(self, key: PathBuf) -> Self {
        Self { key, ..self }
    }

    /// Reads what is stored. A corrupt file is moved aside; one of a newer agent stays where it is, and is an error.
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let path = self.folder.join(FILE);
        let opened = match self.open_file(&path, FILE, state::CONTENT_MAX) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Loaded::Missing);
            }
            opened => opened?,
        };
        let why = match opened {
            Ok(format::Opened { content, plain }) => match Stored::decode(&content, plain) {
                Ok(stored) => {
                    if plain {
                        self.seal_what_was_plain(&stored);
                    }
                    return Ok(Loaded::Stored(stored));
                }
                Err(why) => why,
            },
            Err(why) => why,
        };
        // A disk that does not even take a rename must not keep the box from coming up.
        match self.keep_aside(&path, CORRUPT) {
            Ok(kept_at) => Ok(Loaded::Corrupt { kept_at, why }),
            Err(error) => {
                let why = format!("{why}; and it could not be moved aside: {}", Chain(&error));
                Ok(Loaded::Corrupt { kept_at: path, why })
            }
        }
    }

    fn seal_what_was_plain(&self, stored: &Stored) {
        match self.save(stored) {
            Ok(()) => {}
            // It is sealed with the next change.
            Err(error) => warn!("the desired state is not yet encrypted: {}", Chain(&error)),
        }
    }

    /// When this returns, a power cut does not lose it.
    pub fn save(&self, stored: &Stored) -> Result<(), StoreError> {
        self.write_file(&self.folder.join(FILE), &self.folder.join(TEMPORARY), FILE, stored.encode())?;
        self.sync_folder()
    }

    /// The content of a file, or in words why it cannot be read although it is there.
    fn open_file(
        &self,
        path: &Path,
        place: &str,
        content_max: usize,
    ) -> Result<Result<format::Opened, String>, StoreError> {
        let max = content_max + format::EXTRA;
        let bytes = read(path, max).map_err(at("read", path))?;
        let key = || Key::read(&self.key).map_err(|error| Chain(&error).to_string());
        match format::decode(bytes, place, max, key) {
            Ok(opened) => Ok(Ok(opened)),
            Err(Unreadable::Corrupt { why }) => Ok(Err(why)),
            Err(Unreadable::Newer { found }) => {
                Err(StoreError::Newer { path: path.to_owned(), found, known: format::VERSION })
            }
        }
    }

    fn write_file(
        &self,
        path: &Path,
        temporary: &Path,
        place: &str,
        content: Vec<u8>,
    ) -> Result<(), StoreError> {
        let key = Key::read_or_make(&self.key)?;
        let bytes = format::encode(content, place, &key).map_err(KeyError::from)?;
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        write().map_err(at("write", temporary))?;
        fs::rename(temporary, path).map_err(at("replace", path))
    }

    /// A rename lasts only once the folder is on disk, too.
    fn sync_folder(&self) -> Result<(), StoreError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at("sync", &self.folder))
    }

    fn keep_aside(&self, path: &Path, prefix: &str) -> Result<PathBuf, StoreError> {
        let mut numbers = self.corrupt_numbers(prefix)?;
        let next = numbers.last().map_or(1, |last| last.saturating_add(1));
        let kept_at = self.folder.join(format!("{prefix}{next}"));
        fs::rename(path, &kept_at).map_err(at("move aside", path))?;
        numbers.push(next);
        let surplus = numbers.len().saturating_sub(CORRUPT_KEPT);
        for number in &numbers[..surplus] {
            let old = self.folder.join(format!("{prefix}{number}"));
            fs::remove_file(&old).map_err(at("remove", &old))?;
        }
        self.sync_folder()?;
        Ok(kept_at)
    }

    /// Numbers of the corrupt files that are kept, ascending.
    fn corrupt_numbers(&self, prefix: &str) -> Result<Vec<u64>, StoreError> {
        let entries = fs::read_dir(&self.folder).map_err(at("list", &self.folder))?;
        let mut numbers: Vec<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(prefix)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Reads a file up to the largest size that a store can have: a runaway file must not fill the box's memory.
fn read(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0).min(max));
    // One byte more than allowed, so that the decoder sees that there is too much.
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
