//! Encryption of sealed objects at rest: AES-256-GCM, with the key in a file of the data directory. What is
//! sealed is bound to its place (resource, namespace, name, revision), so that rows cannot be swapped.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::directory;

/// The file with the key.
pub(super) const KEY_FILE: &str = "secrets.key";
const UNFINISHED: &str = "secrets.key.new";
const KEY_BYTES: usize = 32;
/// Says whether a key is the one that sealed the database, and nothing else about it.
pub(super) const KEY_CHECK_BYTES: usize = 16;
/// The first byte of what is sealed, so that another way can be told from this one.
const FORMAT: u8 = 1;

/// What is wrong with the key, or with what was sealed by it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Sealed objects are stored, and the key is not there.
    #[error("the key {} is missing, and without it the sealed objects in the store cannot be read: put it back", path.display())]
    Missing {
        /// Where it belongs.
        path: PathBuf,
    },
    /// Others than the owner may read it.
    #[error("the key {} has mode {mode:03o}, so that others may read it: set it to 600", path.display())]
    Exposed {
        /// The key.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key.
    #[error("the key {} is not a file of {KEY_BYTES} bytes", path.display())]
    Length {
        /// The key.
        path: PathBuf,
    },
    /// It is the key of another store.
    #[error("the key {} is not the one that the objects in the store were sealed with", path.display())]
    Other {
        /// The key.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("failed to read or write the key {}", path.display())]
    Files {
        /// The key.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// What is stored is not what was sealed there.
    #[error("it was altered, moved, or sealed with another key")]
    Altered,
}

/// Which resources are sealed, and the key as soon as there is one.
#[derive(Debug)]
pub(super) struct Vault {
    dir: PathBuf,
    sealed: HashSet<Arc<str>>,
    sealer: Mutex<Option<Arc<Sealer>>>,
}

impl Vault {
    /// Takes the key that is there. `check` is what the database says about its key: absent if nothing was ever sealed.
    pub(super) fn open(
        dir: &Path,
        sealed: Vec<Arc<str>>,
        check: Option<[u8; KEY_CHECK_BYTES]>,
    ) -> Result<Self, KeyError> {
        let path = dir.join(KEY_FILE);
        let sealer = Sealer::read(&path)?;
        match (&sealer, check) {
            (None, Some(_)) => return Err(KeyError::Missing { path }),
            (Some(sealer), Some(check)) if sealer.check() != check => return Err(KeyError::Other { path }),
            (Some(_) | None, _) => {}
        }
        let sealed = sealed.into_iter().collect();
        Ok(Self { dir: dir.to_owned(), sealed, sealer: Mutex::new(sealer.map(Arc::new)) })
    }

    pub(super) fn seals(&self, resource: &str) -> bool {
        self.sealed.contains(resource)
    }

    /// The key. Only the writer calls this, and it may be the first use: then the key is made, and is durable
    /// before anything is sealed with it.
    pub(super) fn sealer(&self) -> Result<Arc<Sealer>, KeyError> {
        let mut sealer = self.sealer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sealer) = &*sealer {
            return Ok(Arc::clone(sealer));
        }
        let made = Arc::new(Sealer::make(&self.dir)?);
        *sealer = Some(Arc::clone(&made));
        Ok(made)
    }

    /// Opens what is sealed.
    pub(super) fn unseal(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let sealer = self.sealer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        sealer.ok_or_else(|| KeyError::Missing { path: self.dir.join(KEY_FILE) })?.unseal(place, sealed)
    }
}

/// Where something sealed belongs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Object { resource: &'a str, path: &'a str, revision: u64 },
    File { name: &'a str },
}

impl Place<'_> {
    /// No two places have the same bytes: each part has its length before it.
    fn bytes(&self) -> Vec<u8> {
        let (kind, parts, revision) = match *self {
            Self::Object { resource, path, revision } => (b'o', [resource, path], revision),
            Self::File { name } => (b'f', [name, ""], 0),
        };
        let mut bytes = vec![kind];
        for part in parts {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(&revision.to_be_bytes());
        bytes
    }
}

/// The key in use.
#[derive(Debug)]
pub(super) struct Sealer {
    master: hmac::Key,
}

impl Sealer {
    fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { master: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The key in a file; None if there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let files = |source| KeyError::Files { path: path.to_owned(), source };
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files(error)),
        };
        let about = file.metadata().map_err(files)?;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::new();
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(files)?;
        let key =
            <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| KeyError::Length { path: path.to_owned() })?;
        Ok(Some(Self::new(&key)))
    }

    fn make(dir: &Path) -> Result<Self, KeyError> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new().fill(&mut key).map_err(|_| KeyError::Random)?;
        install(dir, &key)?;
        Ok(Self::new(&key))
    }

    /// What the database keeps to know its key again.
    pub(super) fn check(&self) -> [u8; KEY_CHECK_BYTES] {
        let tag = hmac::sign(&self.master, b"skerry.dev/store/key-check");
        let mut check = [0; KEY_CHECK_BYTES];
        for (to, from) in check.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        check
    }

    /// Every place has a key of its own, derived from the one in the file: so the number of objects that may
    /// safely be sealed with random nonces has no bound that a store could reach.
    fn key(&self, place: &[u8]) -> Result<LessSafeKey, KeyError> {
        let derived = hmac::sign(&self.master, place);
        UnboundKey::new(&AES_256_GCM, derived.as_ref()).map(LessSafeKey::new).map_err(|_| KeyError::Altered)
    }

    pub(super) fn seal(&self, place: &Place<'_>, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let place = place.bytes();
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| KeyError::Random)?;
        let mut text = plain.to_vec();
        self.key(&place)?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&place), &mut text)
            .map_err(|_| KeyError::Altered)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    fn unseal(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let place = place.bytes();
        let (&format, rest) = sealed.split_first().ok_or(KeyError::Altered)?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN).ok_or(KeyError::Altered)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Altered)?;
        if format != FORMAT {
            return Err(KeyError::Altered);
        }
        let mut text = text.to_vec();
        let opened = self.key(&place)?.open_in_place(nonce, Aad::from(&place), &mut text);
        let length = opened.map_err(|_| KeyError::Altered)?.len();
        text.truncate(length);
        Ok(text)
    }
}

/// Puts a key into a folder that has none, durably.
pub(super) fn install(dir: &Path, key: &[u8]) -> Result<(), KeyError> {
    let (path, new) = (dir.join(KEY_FILE), dir.join(UNFINISHED));
    let files = |source| KeyError::Files { path: path.clone(), source };
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(files(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = directory::create(&new).map_err(files)?;
    file.write_all(key).and_then(|()| file.sync_all()).map_err(files)?;
    directory::publish(&new, &path).map_err(files)
}
