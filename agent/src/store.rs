//! What must not be lost, on disk. What is loaded is either exactly what was stored or an honest answer why not: missing, corrupt, written by
//! a newer agent and sealed with another key are different things, and none of them is an empty set.
//!
//! Each file is replaced as a whole: a temporary file, fsync, rename, fsync of the folder. A power cut leaves the old or the new. Payloads
//! may hold Secrets, so that every file is sealed with the box's own key.
//!
//! Invariant: what cannot be read and may be readable again is never written over, and no key is made while something lies there that
//! another key has sealed.

mod file;
mod format;
#[cfg(test)]
mod fuzz;
mod guard;
mod inspect;
mod local;
mod lock;
mod outbox;
mod peek;
mod pulled;
mod seal;
mod state;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use skerry_terms::{Chain, Problem, reasons};
use tracing::warn;

use file::Place;
pub use format::Unreadable;
use guard::Guards;
pub use inspect::{Wrong, inspect};
pub use local::{Local, LocalLoaded};
use lock::Lock;
pub use peek::{Peek, Peeked, key_path, peek};
pub use pulled::Pulled;
pub use seal::KeyError;
pub use state::Stored;

const DESIRED: Place = Place {
    file: "desired.bin",
    temporary: "desired.tmp",
    corrupt: "desired.corrupt-",
    max: state::CONTENT_MAX,
};
const LOCAL: Place =
    Place { file: "local.bin", temporary: "local.tmp", corrupt: "local.corrupt-", max: local::CONTENT_MAX };
/// What is in it can be done without.
const IMAGES: Place = Place {
    file: "images.bin",
    temporary: "images.tmp",
    corrupt: "images.corrupt-",
    max: pulled::CONTENT_MAX,
};
/// This, too.
const OUTBOX: Place = Place {
    file: "outbox.bin",
    temporary: "outbox.tmp",
    corrupt: "outbox.corrupt-",
    max: outbox::CONTENT_MAX,
};
/// What must not be lost.
const PLACES: [Place; 2] = [DESIRED, LOCAL];
const KEY: &str = "store.key";
/// A damaged key is kept, too: nobody knows what it is still good for.
const KEY_CORRUPT: &str = "store.key.corrupt-";
const KEY_TEMPORARY: &str = "store.tmp";

/// The agent's folder, locked for as long as this lives.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// Where the key is that everything is sealed with.
    key: PathBuf,
    lock: Lock,
    /// Why the folder could not be written when it was opened.
    unwritable: Option<String>,
    guards: Mutex<Guards>,
    /// Held for the whole of a write: two that find no key must not each make one, and what the first sealed must not be set aside by the second.
    writing: Mutex<()>,
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
    Newer { path: PathBuf, found: u16, known: u16 },
    #[error("the key that {} is sealed with cannot be used", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error("{} cannot be read now and is not written over", path.display())]
    Guarded { path: PathBuf },
    #[error("cannot {verb} {}", path.display())]
    Io {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// What is wrong with the box when this came of reading. What was stored stays where it is.
    pub fn when_reading(&self) -> Problem {
        let message =
            format!("{}; nothing is done by it until then, and containers stay as they are", Chain(self));
        Problem {
            reason: self.reason(reasons::STATE_UNREADABLE, reasons::STATE_KEY_UNUSABLE).to_owned(),
            message,
        }
    }

    /// What is wrong with the box when this came of writing.
    pub fn when_writing(&self) -> Problem {
        let message = format!("{}; what is on disk stays in force, and it is tried again", Chain(self));
        Problem {
            reason: self.reason(reasons::STATE_NOT_DURABLE, reasons::STATE_NOT_DURABLE).to_owned(),
            message,
        }
    }

    /// `no_key`: of a key that the disk does not give out, or does not take.
    fn reason(&self, of_the_disk: &'static str, no_key: &'static str) -> &'static str {
        match self {
            Self::Newer { .. } => reasons::STATE_FROM_NEWER_AGENT,
            Self::Key { source: KeyError::Io { .. } | KeyError::NoRandomness(_), .. } => no_key,
            Self::Key {
                source: KeyError::Missing { .. } | KeyError::Length { .. } | KeyError::Foreign { .. },
                ..
            } => reasons::STATE_KEY_UNUSABLE,
            Self::InUse { .. } | Self::Guarded { .. } | Self::Io { .. } => of_the_disk,
        }
    }
}

/// Adds what was attempted on which path.
pub(crate) fn at<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> StoreError + use<'a> {
    move |source| StoreError::Io { verb, path: path.to_owned(), source }
}

impl Store {
    /// Creates the folder when it is missing, and takes its lock. A folder that cannot be written is no reason not to come up.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(at("create the state folder", folder))?;
        let lock = Lock::take(folder)?;
        let unwritable = lock.sign(folder).err().map(|error| Chain(&error).to_string());
        // Of writes that a power cut ended.
        for temporary in PLACES.map(|place| place.temporary).into_iter().chain([
            IMAGES.temporary,
            OUTBOX.temporary,
            KEY_TEMPORARY,
        ]) {
            let _ = fs::remove_file(folder.join(temporary));
        }
        let (folder, guards, writing) = (folder.to_owned(), Mutex::default(), Mutex::default());
        Ok(Self { key: folder.join(KEY), folder, lock, unwritable, guards, writing })
    }

    /// With the key at another place than the folder.
    pub fn with_key(self, key: PathBuf) -> Self {
        Self { key, ..self }
    }

    /// Why the folder could not be written when it was opened. Absent when it could.
    pub fn unwritable(&self) -> Option<&str> {
        self.unwritable.as_deref()
    }

    /// Whether the folder takes a write now.
    pub fn try_writing(&self) -> Result<(), StoreError> {
        self.lock.sign(&self.folder)
    }

    /// Reads what is stored. A corrupt file is moved aside. An error: it cannot be read by this agent, with this key or from this disk, and
    /// stays where it is until it can ([`Store::is_readable_again`]) or a fresh copy takes its place ([`Store::save_received`]).
    pub fn load(&self) -> Result<Loaded, StoreError> {
        let Some(opened) = self.open_file(DESIRED)? else { return Ok(Loaded::Missing) };
        let why = match opened {
            Ok(format::Opened { content, version }) => {
                let plain = version == format::PLAIN;
                match Stored::decode(&content, plain) {
                    Ok(stored) => {
                        if plain {
                            self.seal_what_was_plain(&stored);
                        }
                        return Ok(Loaded::Stored(stored));
                    }
                    Err(why) => why,
                }
            }
            Err(why) => why,
        };
        // A disk that does not even take a rename must not keep the box from coming up.
        match self.keep_aside(&self.folder.join(DESIRED.file), DESIRED.corrupt) {
            Ok(kept_at) => Ok(Loaded::Corrupt { kept_at, why }),
            Err(error) => {
                self.guards().corrupt(DESIRED);
                let why = format!("{why}; and it could not be moved aside: {}", Chain(&error));
                Ok(Loaded::Corrupt { kept_at: self.folder.join(DESIRED.file), why })
            }
        }
    }

    /// The newest copy of a desired state that could not be read, while nothing has taken its place: until then nobody knows what this box is to
    /// run, also after the start that found it so.
    pub fn lost_desired(&self) -> Option<PathBuf> {
        let newest = *self.kept_aside(DESIRED.corrupt).ok()?.last()?;
        Some(self.folder.join(format!("{}{newest}", DESIRED.corrupt)))
    }

    fn seal_what_was_plain(&self, stored: &Stored) {
        match self.save(stored) {
            Ok(()) => {}
            // It is sealed with the next change.
            Err(error) => warn!("the desired state is not yet encrypted: {}", Chain(&error)),
        }
    }

    /// When this returns, a power cut does not lose it. What could not be read is not written over.
    pub fn save(&self, stored: &Stored) -> Result<(), StoreError> {
        self.write_file(DESIRED, stored.encode(), false)
    }

    /// The same for a set that came from a controller: it may take the place of what this box can no longer read, which is kept aside.
    pub fn save_received(&self, stored: &Stored) -> Result<(), StoreError> {
        self.write_file(DESIRED, stored.encode(), true)
    }

    /// True while something that is stored cannot be read and waits for it.
    pub fn is_guarding(&self) -> bool {
        PLACES.into_iter().any(|place| self.guards().waits(place))
    }

    /// True if something of that can be read now, or is gone: then it is time to load again.
    pub fn is_readable_again(&self) -> bool {
        let waits = |place: &Place| self.guards().waits(*place);
        PLACES.into_iter().filter(waits).any(|place| self.probe_file(place))
    }
}

#[cfg(test)]
mod tests;
