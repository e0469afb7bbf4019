//! A look at what is stored, by somebody who is not the agent: no lock is taken, nothing is made, moved or repaired.

use std::io;
use std::path::{Path, PathBuf};

use skerry_terms::Chain;

use super::seal::Key;
use super::{CORRUPT, FILE, KEY, Local, Stored, Unreadable, format, local, read, state};

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
        found: u32,
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
    let is_aside = |name: &str| name.starts_with(CORRUPT) || name.starts_with(local::CORRUPT);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut kept_aside: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_aside))
        .map(|entry| entry.path())
        .collect();
    kept_aside.sort();
    let desired = |content: &[u8], plain| Stored::decode(content, plain);
    let own = |content: &[u8], _plain| Local::decode(content);
    Peek {
        desired: file(folder, FILE, state::CONTENT_MAX, key, desired),
        local: file(folder, local::FILE, local::CONTENT_MAX, key, own),
        kept_aside,
    }
}

fn file<T>(
    folder: &Path,
    name: &str,
    content_max: usize,
    key: &Path,
    decode: impl FnOnce(&[u8], bool) -> Result<T, String>,
) -> Peeked<T> {
    let max = content_max + format::EXTRA;
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let bytes = match read(&folder.join(name), max) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Peeked::Missing,
        Err(error) => return Peeked::Unreadable { denied: denied(&error), why: error.to_string() },
    };
    let key = || Key::read(key).map_err(|error| Chain(&error).to_string());
    let decoded = format::decode(bytes, name, max, key);
    match decoded.map(|format::Opened { content, plain }| decode(&content, plain)) {
        Ok(Ok(loaded)) => Peeked::Loaded(loaded),
        Ok(Err(why)) | Err(Unreadable::Corrupt { why }) => Peeked::Corrupt { why },
        Err(Unreadable::Newer { found }) => Peeked::Newer { found },
    }
}
