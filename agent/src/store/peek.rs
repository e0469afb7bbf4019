//! A look at what is stored, by somebody who is not the agent: no lock is taken, nothing is made, moved or repaired.

use std::io;
use std::path::{Path, PathBuf};

use skerry_terms::Chain;

use super::file::{Place, read};
use super::seal::Key;
use super::{DESIRED, KEY, LOCAL, Local, PLACES, Stored, Unreadable, format};

/// What is stored.
#[derive(Debug)]
pub struct Peek {
    /// What the controller asked for.
    pub desired: Peeked<Stored>,
    /// The box's own apps.
    pub local: Peeked<Local>,
    /// Files that could not be read once, and were kept aside.
    pub kept_aside: Vec<PathBuf>,
}

/// One file.
#[derive(Debug)]
pub enum Peeked<T> {
    Missing,
    Loaded(T),
    /// It is there, and not what was stored.
    Corrupt {
        why: String,
    },
    /// Of a newer agent.
    Newer {
        found: u16,
    },
    /// This user may not, or the disk does not let anybody.
    Unreadable {
        denied: bool,
        why: String,
    },
}

impl<T> Peeked<T> {
    /// The same of a part of what was loaded.
    pub fn map<U>(self, part: impl FnOnce(T) -> U) -> Peeked<U> {
        match self {
            Self::Missing => Peeked::Missing,
            Self::Loaded(loaded) => Peeked::Loaded(part(loaded)),
            Self::Corrupt { why } => Peeked::Corrupt { why },
            Self::Newer { found } => Peeked::Newer { found },
            Self::Unreadable { denied, why } => Peeked::Unreadable { denied, why },
        }
    }
}

/// Where the key is, unless the owner has put it elsewhere.
pub fn key_path(folder: &Path) -> PathBuf {
    folder.join(KEY)
}

/// Looks at a state folder. `key`: where the key is.
pub fn peek(folder: &Path, key: &Path) -> Peek {
    let is_aside = |name: &str| PLACES.iter().any(|place| name.starts_with(place.corrupt));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut kept_aside: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_aside))
        .map(|entry| entry.path())
        .collect();
    kept_aside.sort();
    let desired = |content: &[u8], plain| Stored::decode(content, plain);
    let own = |content: &[u8], _plain| Local::decode(content);
    Peek { desired: file(folder, DESIRED, key, desired), local: file(folder, LOCAL, key, own), kept_aside }
}

fn file<T>(
    folder: &Path,
    place: Place,
    key: &Path,
    decode: impl FnOnce(&[u8], bool) -> Result<T, String>,
) -> Peeked<T> {
    let max = place.max + format::EXTRA;
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let bytes = match read(&folder.join(place.file), max) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Peeked::Missing,
        Err(error) => return Peeked::Unreadable { denied: denied(&error), why: error.to_string() },
    };
    let decoded = format::decode(bytes, place.file, max, || Key::read(key));
    match decoded.map(|format::Opened { content, version }| decode(&content, version == format::PLAIN)) {
        Ok(Ok(loaded)) => Peeked::Loaded(loaded),
        Ok(Err(why)) | Err(Unreadable::Corrupt { why }) => Peeked::Corrupt { why },
        Err(Unreadable::Newer { found }) => Peeked::Newer { found },
        // What is wrong with the key; who may not read it may not read the rest.
        Err(Unreadable::Locked(error)) => Peeked::Corrupt { why: Chain(&error).to_string() },
    }
}
