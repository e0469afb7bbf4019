//! The order in which nodes are taken for an app with a number of replicas: rendezvous hashing. Each pair of app and node has a score
//! of its own, so that a node that goes or comes changes the order of no others.

use std::hash::Hasher;

use skerry_terms::{AppKey, NodeName};

/// The score of a node for an app; the highest are taken. Every controller, of whatever version, must come to the same: it is
/// spelled out here and not left to a library.
pub fn score(app: &AppKey, node: &NodeName) -> u64 {
    mix(hash([app.namespace(), app.name()]) ^ mix(hash([node.as_str()])))
}

/// FNV-1a over texts, each with an end that none of them contains.
fn hash<const N: usize>(texts: [&str; N]) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    for text in texts {
        hash.write(text.as_bytes());
        hash.write_u8(0);
    }
    hash.finish()
}

struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The finaliser of SplitMix64: names that differ in one letter get scores that have nothing in common.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: usize) -> NodeName {
        format!("box-{n}").parse().expect("a name")
    }

    #[test]
    fn a_known_score_never_changes() {
        // A controller upgrade must not move every replica.
        let app = AppKey::new("default", "web").expect("a key");
        assert_eq!(score(&app, &name(1)), 0xa686_b1e0_0bd5_b039);
    }

    #[test]
    fn apps_spread_over_the_nodes() {
        let mut taken = [0u32; 10];
        for n in 0..1000 {
            let app = AppKey::new("default", &format!("app-{n}")).expect("a key");
            let best = (0..10).max_by_key(|n| score(&app, &name(*n))).expect("a node");
            taken[best] += 1;
        }
        assert!(taken.iter().all(|count| (60..150).contains(count)), "{taken:?}");
    }
}
