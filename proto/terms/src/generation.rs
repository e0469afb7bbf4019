//! Which state of the cluster a desired set was computed from, and which of two is the newer.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Most resource kinds in one generation: a bound for the decoder, far above what Skerry watches.
pub const POSITIONS_MAX: usize = 32;
/// Longest epoch: a Kubernetes uid has 36 characters.
pub const EPOCH_MAX: usize = 64;
/// Longest kind name in a generation.
const KIND_MAX: usize = 63;

/// Where the controller's watch caches stood when it computed a desired set.
///
/// Two generations of one epoch compare kind by kind, as a version vector does: one is newer when it is ahead
/// in some kind and behind in none. Two replicas whose caches run at different speeds can produce generations
/// that do not compare; neither may then replace the other. Generations of different epochs never compare.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Generation {
    epoch: String,
    positions: BTreeMap<String, u64>,
}

/// Why a text or a message is not a generation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerationError {
    #[error("a generation needs an epoch of 1 to {EPOCH_MAX} letters, digits and '-'")]
    Epoch,
    #[error("a generation has {count} kinds, at most {POSITIONS_MAX} are allowed")]
    TooManyKinds { count: usize },
    #[error("{0:?} is not the name of a resource kind")]
    Kind(String),
    #[error("{0:?} is not EPOCH:KIND=VERSION,…")]
    Shape(String),
}

impl Generation {
    /// `epoch` is the uid of the cluster's `kube-system` namespace; a position is the newest resourceVersion
    /// that the watch cache of that kind has seen.
    pub fn new(
        epoch: &str,
        positions: impl IntoIterator<Item = (String, u64)>,
    ) -> Result<Self, GenerationError> {
        let word = |text: &str, max: usize| {
            (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        if !word(epoch, EPOCH_MAX) {
            return Err(GenerationError::Epoch);
        }
        let positions: BTreeMap<_, _> = positions.into_iter().collect();
        if positions.len() > POSITIONS_MAX {
            return Err(GenerationError::TooManyKinds { count: positions.len() });
        }
        if let Some(kind) = positions.keys().find(|kind| !word(kind, KIND_MAX)) {
            return Err(GenerationError::Kind(kind.chars().take(KIND_MAX).collect()));
        }
        Ok(Self { epoch: epoch.to_owned(), positions })
    }

    pub fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The newest resourceVersion seen, by kind.
    pub fn positions(&self) -> &BTreeMap<String, u64> {
        &self.positions
    }

    /// True if a set of this generation may take the place of one of `held`.
    pub fn is_newer_than(&self, held: &Generation) -> bool {
        self.partial_cmp(held) == Some(Ordering::Greater)
    }
}

impl PartialOrd for Generation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self.epoch != other.epoch {
            return None;
        }
        let position = |g: &Self, kind: &String| g.positions.get(kind).copied().unwrap_or(0);
        let kinds = self.positions.keys().chain(other.positions.keys());
        kinds.map(|kind| position(self, kind).cmp(&position(other, kind))).try_fold(
            Ordering::Equal,
            |sum, next| match (sum, next) {
                (Ordering::Equal, next) => Some(next),
                (sum, Ordering::Equal) => Some(sum),
                (sum, next) => (sum == next).then_some(sum),
            },
        )
    }
}

/// `EPOCH:KIND=VERSION,KIND=VERSION`, as status messages print it and an operator copies it.
impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.epoch)?;
        for (i, (kind, version)) in self.positions.iter().enumerate() {
            write!(f, "{}{kind}={version}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Generation {
    type Err = GenerationError;
    fn from_str(text: &str) -> Result<Self, GenerationError> {
        let shape = || GenerationError::Shape(text.chars().take(80).collect());
        let (epoch, positions) = text.split_once(':').ok_or_else(shape)?;
        let position = |part: &str| {
            let (kind, version) = part.split_once('=')?;
            Some((kind.to_owned(), version.parse().ok()?))
        };
        let positions: Option<Vec<_>> =
            positions.split(',').filter(|part| !part.is_empty()).map(position).collect();
        Self::new(epoch, positions.ok_or_else(shape)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn generation(apps: u64, nodes: u64) -> Generation {
        Generation::new("e", [("edgeapps".into(), apps), ("edgenodes".into(), nodes)]).expect("a generation")
    }

    #[test]
    fn ahead_in_one_kind_and_behind_in_none_is_newer() {
        assert!(generation(2, 1).is_newer_than(&generation(1, 1)));
        assert!(!generation(1, 1).is_newer_than(&generation(1, 1)));
        assert!(!generation(1, 1).is_newer_than(&generation(1, 2)));
    }

    #[test]
    fn crossed_caches_do_not_compare() {
        assert_eq!(generation(2, 1).partial_cmp(&generation(1, 2)), None);
    }

    #[test]
    fn another_cluster_is_never_newer() {
        let other = Generation::new("f", [("edgeapps".to_owned(), 9)]).expect("a generation");
        assert!(!other.is_newer_than(&generation(1, 1)) && !generation(1, 1).is_newer_than(&other));
    }

    #[test]
    fn a_kind_that_one_side_does_not_know_counts_as_never_seen() {
        let more =
            Generation::new("e", [("edgeapps".into(), 1), ("edgenodes".into(), 1), ("secrets".into(), 1)]);
        assert!(more.expect("a generation").is_newer_than(&generation(1, 1)));
    }

    #[test]
    fn bad_texts_are_refused() {
        for text in ["", "e", ":a=1", "e:a", "e:a=x", "e:=1", "e e:a=1", "e:a=99999999999999999999"] {
            assert!(text.parse::<Generation>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn order_is_antisymmetric_and_print_reads_back(a in (0u64..4, 0u64..4), b in (0u64..4, 0u64..4)) {
            let (a, b) = (generation(a.0, a.1), generation(b.0, b.1));
            prop_assert_eq!(a.partial_cmp(&b), b.partial_cmp(&a).map(Ordering::reverse));
            prop_assert_eq!(a.partial_cmp(&b) == Some(Ordering::Equal), a == b);
            prop_assert_eq!(a.to_string().parse::<Generation>(), Ok(a));
        }
    }
}
