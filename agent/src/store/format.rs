//! The bytes of the stored state: a fixed header that can be checked before anything is believed, then protobuf.
//!
//! ```text
//! 0   8  magic "SKERRY\r\n": also tells a file that went through a text conversion
//! 8   4  format version, little endian
//! 12  8  length of the body, little endian
//! 20 32  SHA-256 over the 20 bytes before and the body
//! 52     body: skerry.v1.StoredState
//! ```

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use skerry_agent_core::Held;
use skerry_proto::{caps, payload_set, wire};

/// The newest format that this agent reads, and the one it writes.
pub(super) const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"SKERRY\r\n";
const CHECKED: usize = 20;
const HEADER: usize = CHECKED + 32;

/// A set at its cap, with room for names and generation.
pub(super) const SIZE_MAX: usize = HEADER + caps::SET_MAX + caps::APPS_MAX * 512 + 4096;

/// Why bytes are not a stored state.
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

pub(super) fn encode(held: &Held) -> Vec<u8> {
    let Held { generation, set } = held;
    let body = wire::StoredState {
        generation: Some(generation.into()),
        apps: set.iter().map(|(key, payload)| wire::AppFrame::new(key, payload)).collect(),
    };
    let mut bytes = Vec::with_capacity(HEADER + body.encoded_len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((body.encoded_len() as u64).to_le_bytes());
    bytes.extend([0; HEADER - CHECKED]);
    body.encode(&mut bytes).expect("a Vec grows");
    let sum = checksum(&bytes);
    bytes[CHECKED..HEADER].copy_from_slice(&sum);
    bytes
}

fn checksum(bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(&bytes[..CHECKED]).chain_update(&bytes[HEADER..]).finalize().into()
}

pub(super) fn decode(bytes: &[u8]) -> Result<Held, Unreadable> {
    let corrupt = |why: String| Unreadable::Corrupt { why };
    if bytes.len() > SIZE_MAX {
        return Err(corrupt(format!("it has more than {SIZE_MAX} bytes")));
    }
    if bytes.len() < HEADER {
        return Err(corrupt(format!("it ends after {} bytes", bytes.len())));
    }
    if bytes[..MAGIC.len()] != MAGIC {
        return Err(corrupt("it does not begin as a Skerry state".to_owned()));
    }
    // Before the version is believed: a flipped bit must not look like a newer agent.
    if bytes[CHECKED..HEADER] != checksum(bytes) {
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
    let body = wire::StoredState::decode(&bytes[HEADER..]).map_err(|error| corrupt(error.to_string()))?;
    let wire::StoredState { generation, apps } = body;
    let count = apps.len();
    let generation = generation.ok_or_else(|| corrupt("it has no generation".to_owned()))?;
    let held = Held {
        generation: generation
            .try_into()
            .map_err(|error: skerry_proto::WireError| corrupt(error.to_string()))?,
        set: payload_set(apps).map_err(|error| corrupt(error.to_string()))?,
    };
    if held.set.len() != count {
        return Err(corrupt("an app is in it twice".to_owned()));
    }
    Ok(held)
}
