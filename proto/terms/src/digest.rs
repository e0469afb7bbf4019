//! The fingerprint of a node's whole desired set. Both ends compute it over the same bytes, so equal digests
//! mean that nothing has to be sent.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::AppKey;

/// One app as it travels and as the agent stores it: encoded bytes that only the edges open. An agent keeps the
/// bytes it received, fields that it does not know included, so that a newer agent finds them on its disk. They may
/// hold Secrets: they are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Arc<[u8]>);

/// Everything that one node must run.
pub type PayloadSet = BTreeMap<AppKey, Payload>;

/// SHA-256 over a desired set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// Bytes that are not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest has 32 bytes, not {0}")]
pub struct DigestError(usize);

impl Digest {
    /// The digest of a set. Every part is preceded by its length, so that no two sets share an encoding.
    pub fn of(set: &PayloadSet) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        for (key, payload) in set {
            part(key.namespace().as_bytes());
            part(key.name().as_bytes());
            part(payload);
        }
        Self(hash.finalize().into())
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Deref for Payload {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = DigestError;
    fn try_from(bytes: &[u8]) -> Result<Self, DigestError> {
        bytes.try_into().map(Self).map_err(|_| DigestError(bytes.len()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(apps: &[(&str, &str, &[u8])]) -> PayloadSet {
        apps.iter()
            .map(|(namespace, name, payload)| {
                (AppKey::new(namespace, name).expect("a key"), Payload::from(*payload))
            })
            .collect()
    }

    #[test]
    fn the_digest_of_known_sets_never_changes() {
        // Agents in the field compare these with their controller's: a change here re-sends every set once.
        assert_eq!(
            Digest::of(&PayloadSet::new()).to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            Digest::of(&set(&[("a", "b", b"c")])).to_string(),
            "bd735517dea8b04bba91d58ed956ea9ce3296d2f39b4a6e1103884815dd71d0d"
        );
    }

    #[test]
    fn bytes_that_move_between_parts_change_the_digest() {
        let digests = [set(&[("ab", "c", b"d")]), set(&[("a", "bc", b"d")]), set(&[("a", "b", b"cd")])];
        assert_ne!(Digest::of(&digests[0]), Digest::of(&digests[1]));
        assert_ne!(Digest::of(&digests[1]), Digest::of(&digests[2]));
    }

    #[test]
    fn a_payload_shows_its_size_alone() {
        assert_eq!(format!("{:?}", Payload::from(&b"hunter2"[..])), "Payload(7 bytes)");
    }

    #[test]
    fn only_32_bytes_are_a_digest() {
        assert_eq!(Digest::try_from(&[0u8; 31][..]), Err(DigestError(31)));
        let digest = Digest::of(&PayloadSet::new());
        assert_eq!(Digest::try_from(&digest.as_bytes()[..]), Ok(digest));
    }
}
