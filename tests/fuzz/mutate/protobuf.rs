//! Bodies in Kubernetes' protobuf: a magic, an envelope that names the kind, and in it fields at random, well formed for the most part.

use fastrand::Rng;

use super::words::TEXTS;

const MAGIC: &[u8] = b"k8s\0";
/// Fields that hold messages do so this deep.
const DEEP: usize = 5;
/// Kinds that clients send so, with the group and version they say.
const KINDS: [(&str, &str); 9] = [
    ("v1", "Namespace"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Event"),
    ("events.k8s.io/v1", "Event"),
    ("coordination.k8s.io/v1", "Lease"),
    ("apps/v1", "ControllerRevision"),
    ("v1", "DeleteOptions"),
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
];

pub fn body(rng: &mut Rng) -> Vec<u8> {
    let (version, kind) = KINDS[rng.usize(..KINDS.len())];
    let mut types = Vec::new();
    bytes(&mut types, 1, version.as_bytes());
    bytes(&mut types, 2, kind.as_bytes());
    let mut meta = Vec::new();
    bytes(&mut meta, 1, ["p", "a", "", "A_b"][rng.usize(..4)].as_bytes());
    if rng.bool() {
        meta.extend(message(rng, 0));
    }
    let mut raw = Vec::new();
    bytes(&mut raw, 1, &meta);
    raw.extend(message(rng, 0));
    let mut body = MAGIC.to_vec();
    bytes(&mut body, 1, &types);
    bytes(&mut body, 2, &raw);
    body
}

/// Some fields of any type, of messages among them.
fn message(rng: &mut Rng, depth: usize) -> Vec<u8> {
    let mut message = Vec::new();
    for _ in 0..rng.usize(..5) {
        let number = if rng.u8(..20) == 0 { rng.u32(..) } else { rng.u32(1..18) };
        match rng.u8(..8) {
            0 => {
                varint(&mut message, u64::from(number) << 3);
                varint(&mut message, [0, 1, 1 << 31, u64::MAX, 1 << 63][rng.usize(..5)]);
            }
            1 => {
                varint(&mut message, u64::from(number) << 3 | 5);
                message.extend(rng.u32(..).to_le_bytes());
            }
            2 => {
                varint(&mut message, u64::from(number) << 3 | u64::from(rng.u8(..8)));
                varint(&mut message, rng.u64(..));
            }
            3..=4 if depth < DEEP => {
                let inner = self::message(rng, depth + 1);
                bytes(&mut message, number, &inner);
            }
            5 if depth < DEEP => {
                // An entry of a map.
                let mut entry = Vec::new();
                bytes(&mut entry, 1, TEXTS[rng.usize(..TEXTS.len())].as_bytes());
                bytes(&mut entry, 2, TEXTS[rng.usize(..TEXTS.len())].as_bytes());
                bytes(&mut message, number, &entry);
            }
            _ => bytes(&mut message, number, TEXTS[rng.usize(..TEXTS.len())].as_bytes()),
        }
    }
    message
}

fn bytes(message: &mut Vec<u8>, number: u32, content: &[u8]) {
    varint(message, u64::from(number) << 3 | 2);
    varint(message, content.len() as u64);
    message.extend(content);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}
