//! Encryption of what is stored: ChaCha20-Poly1305, which is fast and even in its time on boxes without instructions for AES. The key lies
//! in a file of its own, by default beside what it seals; the owner may put it on another medium.
//!
//! ```text
//! 0  16  salt: the key in use is derived from the file's key, the salt and the place
//! 16 12  nonce
//! 28     ciphertext, and 16 bytes that prove it
//! ```
//!
//! Salt and nonce are random with each write: 28 bytes together, so that no pair of key and nonce is ever used twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use tracing::warn;

const KEY_BYTES: usize = 32;
const SALT: usize = 16;
const TAG: usize = 16;
/// What sealing adds to the content.
pub(super) const SEALED_EXTRA: usize = SALT + NONCE_LEN + TAG;

/// The key of a box, as its file has it.
pub(super) struct Key {
    secret: hmac::Key,
    /// Where it lies.
    pub path: PathBuf,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(not shown)")
    }
}

/// What is wrong with the key, or with what was sealed by it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key {} is missing, and without it what is stored cannot be read; put it back", path.display())]
    Missing { path: PathBuf },
    #[error("the key {} is not a file of {KEY_BYTES} bytes", path.display())]
    Length { path: PathBuf },
    #[error("the key {} is another one than what is stored was sealed with; put the right one back", path.display())]
    Foreign { path: PathBuf },
    #[error("cannot read or write the key {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NoRandomness;

/// The proof does not hold. Damage was ruled out before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another key than the one that is there, or for another place")]
pub(super) struct Foreign;

impl Key {
    fn new(bytes: &[u8; KEY_BYTES], path: &Path) -> Self {
        Self { secret: hmac::Key::new(hmac::HMAC_SHA256, bytes), path: path.to_owned() }
    }

    /// The key for one write to one place.
    fn derive(&self, place: &str, salt: &[u8]) -> LessSafeKey {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(salt);
        context.update(place.as_bytes());
        let derived = context.sign();
        let key = UnboundKey::new(&CHACHA20_POLY1305, derived.as_ref()).expect("both have 32 bytes");
        LessSafeKey::new(key)
    }

    /// Reads the key. It is read anew each time: what a person has done to the file counts.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let files = |source| KeyError::Io { path: path.to_owned(), source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeyError::Missing { path: path.to_owned() });
            }
            Err(error) => return Err(files(error)),
        };
        let mode = file.metadata().map_err(files)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            // Not refused: a medium may have a file system without modes.
            warn!("the key {} has mode {mode:03o}: others may read it; set it to 600", path.display());
        }
        let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(files)?;
        let bytes =
            <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| KeyError::Length { path: path.to_owned() })?;
        Ok(Self::new(&bytes, path))
    }

    /// Makes a key that is on disk before anything is sealed with it.
    pub fn make(path: &Path) -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        fill(&mut bytes)?;
        install(path, &bytes).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
        Ok(Self::new(&bytes, path))
    }
}

fn install(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&unfinished);
    })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn fill(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    SystemRandom::new().fill(bytes).map_err(|_| NoRandomness)
}

pub(super) fn seal(key: &Key, place: &str, mut content: Vec<u8>) -> Result<Vec<u8>, NoRandomness> {
    let mut random = [0; SALT + NONCE_LEN];
    fill(&mut random)?;
    let (salt, nonce) = random.split_at(SALT);
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("a nonce's length");
    key.derive(place, salt)
        .seal_in_place_append_tag(nonce, Aad::from(place), &mut content)
        .expect("no content of ours is as long as the cipher's limit of 256 GiB");
    content.splice(..0, random);
    Ok(content)
}

pub(super) fn unseal(key: &Key, place: &str, mut sealed: Vec<u8>) -> Result<Vec<u8>, Foreign> {
    let (random, text) = sealed.split_at_mut_checked(SALT + NONCE_LEN).ok_or(Foreign)?;
    let (salt, nonce) = random.split_at(SALT);
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Foreign)?;
    let opened = key.derive(place, salt).open_in_place(nonce, Aad::from(place), text).map_err(|_| Foreign)?;
    let length = opened.len();
    sealed.drain(..SALT + NONCE_LEN);
    sealed.truncate(length);
    Ok(sealed)
}
