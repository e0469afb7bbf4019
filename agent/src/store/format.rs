//! The bytes of what is stored: a fixed header that can be checked before anything is believed, then what is sealed.
//!
//! ```text
//! 0   8  magic "SKERRY\r\n": also tells a file that went through a text conversion
//! 8   2  format version, little endian
//! 10  2  the oldest version whose agents may read it; 0: this version
//! 12  8  length of the body, little endian
//! 20 32  SHA-256 over the 20 bytes before and the body
//! 52     body: version 1 the content itself, version 2 the content sealed (see `seal`)
//! ```
//!
//! The checksum tells damage from a wrong key. An agent reads what is older, and what is newer and says that it may: a newer agent whose
//! content only has fields more says so, and a box can step back to the version before.

use sha2::{Digest as _, Sha256};

use super::seal::{self, Key, KeyError, SEALED_EXTRA};

/// The newest format that this agent reads, and the one it writes.
pub(super) const VERSION: u16 = 2;
/// Nothing was sealed in it.
pub(super) const PLAIN: u16 = 1;

const MAGIC: [u8; 8] = *b"SKERRY\r\n";
const CHECKED: usize = 20;
const HEADER: usize = CHECKED + 32;

/// How much of a file tells its version.
pub(super) const HEAD: usize = 12;

/// What a file has beside its content.
pub(super) const EXTRA: usize = HEADER + SEALED_EXTRA;

/// Why bytes are not what was stored.
#[derive(Debug)]
pub enum Unreadable {
    /// Intact, and written by a newer agent that this one cannot follow.
    Newer {
        found: u16,
    },
    /// Intact, and the key does not open it.
    Locked(KeyError),
    Corrupt {
        why: String,
    },
}

/// What was read.
#[derive(Debug)]
pub(super) struct Opened {
    pub content: Vec<u8>,
    /// Of the agent that wrote it.
    pub version: u16,
}

/// Content to the bytes of a file. `place` names the file: what is sealed for one is not taken from another.
pub(super) fn encode(content: Vec<u8>, place: &str, key: &Key) -> Result<Vec<u8>, seal::NoRandomness> {
    let body = seal::seal(key, place, content)?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(0u16.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend([0; HEADER - CHECKED]);
    bytes.extend(body);
    let sum = checksum(&bytes);
    bytes[CHECKED..HEADER].copy_from_slice(&sum);
    Ok(bytes)
}

fn checksum(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(&bytes[..CHECKED]).chain_update(&bytes[HEADER..]).finalize().into()
}

/// True if the beginning of a file says that a key is needed for it.
pub(super) fn is_sealed(head: &[u8]) -> bool {
    head.len() >= HEAD && head.starts_with(&MAGIC) && half(head, 8) != PLAIN
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// The content of a file. `key` is asked only where something is sealed.
pub(super) fn decode(
    mut bytes: Vec<u8>,
    place: &str,
    max: usize,
    key: impl FnOnce() -> Result<Key, KeyError>,
) -> Result<Opened, Unreadable> {
    let corrupt = |why: String| Unreadable::Corrupt { why };
    if bytes.len() > max {
        return Err(corrupt(format!("it has more than {max} bytes")));
    }
    if bytes.len() < HEADER {
        return Err(corrupt(format!("it ends after {} bytes", bytes.len())));
    }
    if bytes[..MAGIC.len()] != MAGIC {
        return Err(corrupt("it does not begin as a Skerry state".to_owned()));
    }
    // Before the version is believed: a flipped bit must not look like a newer agent.
    if bytes[CHECKED..HEADER] != checksum(&bytes) {
        return Err(corrupt("its checksum does not match".to_owned()));
    }
    let (version, oldest) = (half(&bytes, 8), half(&bytes, 10));
    let oldest = if oldest == 0 { version } else { oldest };
    if version < PLAIN || oldest > version {
        return Err(corrupt(format!("no agent writes version {version} for readers from {oldest}")));
    }
    if oldest > VERSION {
        return Err(Unreadable::Newer { found: version });
    }
    let length = u64::from_le_bytes(bytes[12..CHECKED].try_into().expect("eight bytes"));
    if length != (bytes.len() - HEADER) as u64 {
        return Err(corrupt(format!("its body has {} bytes instead of {length}", bytes.len() - HEADER)));
    }
    let body = bytes.split_off(HEADER);
    if version == PLAIN {
        return Ok(Opened { content: body, version });
    }
    let key = key().map_err(Unreadable::Locked)?;
    match seal::unseal(&key, place, body) {
        Ok(content) => Ok(Opened { content, version }),
        Err(seal::Foreign) => Err(Unreadable::Locked(KeyError::Foreign { path: key.path })),
    }
}
