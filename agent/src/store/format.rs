//! The bytes of what is stored: a fixed header that can be checked before anything is believed, then what is sealed.
//!
//! ```text
//! 0   8  magic "SKERRY\r\n": also tells a file that went through a text conversion
//! 8   4  format version, little endian
//! 12  8  length of the body, little endian
//! 20 32  SHA-256 over the 20 bytes before and the body
//! 52     body: version 1 the content itself, version 2 the content sealed (see `seal`)
//! ```
//!
//! The checksum tells damage from a wrong key.

use sha2::{Digest as _, Sha256};

use super::seal::{self, Key, SEALED_EXTRA};

/// The newest format that this agent reads, and the one it writes.
pub(crate) const VERSION: u32 = 2;
/// Nothing was sealed in it.
const PLAIN: u32 = 1;

const MAGIC: [u8; 8] = *b"SKERRY\r\n";
const CHECKED: usize = 20;
const HEADER: usize = CHECKED + 32;

/// What a file has beside its content.
pub(super) const EXTRA: usize = HEADER + SEALED_EXTRA;

/// Why bytes are not what was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Intact, and written by a newer agent.
    Newer {
        found: u32,
    },
    Corrupt {
        why: String,
    },
}

/// What was read.
#[derive(Debug)]
pub(super) struct Opened {
    pub content: Vec<u8>,
    /// It was not sealed: an agent of the version before wrote it.
    pub plain: bool,
}

/// Content to the bytes of a file. `place` names the file: what is sealed for one is not taken from another.
pub(super) fn encode(content: Vec<u8>, place: &str, key: &Key) -> Result<Vec<u8>, seal::NoRandomness> {
    let body = seal::seal(key, place, content)?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
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

/// The content of a file. `key` is asked only where something is sealed, and answers with words why there is none.
pub(super) fn decode(
    mut bytes: Vec<u8>,
    place: &str,
    max: usize,
    key: impl FnOnce() -> Result<Key, String>,
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
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    if version > VERSION {
        return Err(Unreadable::Newer { found: version });
    }
    let length = u64::from_le_bytes(bytes[12..CHECKED].try_into().expect("eight bytes"));
    if length != (bytes.len() - HEADER) as u64 {
        return Err(corrupt(format!("its body has {} bytes instead of {length}", bytes.len() - HEADER)));
    }
    let body = bytes.split_off(HEADER);
    if version == PLAIN {
        return Ok(Opened { content: body, plain: true });
    }
    let key = key().map_err(corrupt)?;
    let content = seal::unseal(&key, place, body).map_err(|error| corrupt(error.to_string()))?;
    Ok(Opened { content, plain: false })
}
