//! How far the cache of each watched kind is, and the generation that follows from all of them.

use std::collections::BTreeMap;

use skerry_controller_core::session::Lists;
use skerry_terms::Generation;
use tracing::{error, info, warn};

use crate::k8s::{ConfigKind, ListId};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Apps,
    Nodes,
    Config(ConfigKind),
}

impl Kind {
    pub const ALL: [Self; 4] =
        [Self::Apps, Self::Nodes, Self::Config(ConfigKind::ConfigMap), Self::Config(ConfigKind::Secret)];

    /// As generations carry it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Apps => "edgeapps",
            Self::Nodes => "edgenodes",
            Self::Config(kind) => kind.plural(),
        }
    }
}

/// Positions of all kinds.
#[derive(Debug, Default)]
pub struct Caches {
    /// Absent until the first list, and while the kind may not be seen.
    at: BTreeMap<Kind, At>,
    /// Kinds that may not be seen, with the API server's words and how far they were before.
    forbidden: BTreeMap<Kind, Forbidden>,
}

/// How far a cache is.
#[derive(Debug)]
struct At {
    position: u64,
    /// The list that it began with.
    list: ListId,
}

#[derive(Debug)]
struct Forbidden {
    why: String,
    before: Option<At>,
}

/// What a list has told beyond its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The kind was never listed before.
    First,
    Again,
    /// The API server is another cluster now.
    AnotherCluster,
}

impl Caches {
    /// Whether the cache of a kind is filled.
    pub fn is_filled(&self, kind: Kind) -> bool {
        self.at.contains_key(&kind)
    }

    pub fn position(&self, kind: Kind) -> u64 {
        self.at.get(&kind).map_or(0, |at| at.position)
    }

    /// Why a kind may not be seen, in the API server's words.
    pub fn forbidden(&self, kind: Kind) -> Option<&str> {
        self.forbidden.get(&kind).map(|forbidden| forbidden.why.as_str())
    }

    /// The cache of a kind was filled from a list. A consistent list is the truth, even where it is older than what was seen before, or
    /// of another cluster.
    pub fn list(&mut self, kind: Kind, position: u64, list: ListId) -> Listed {
        let forbidden = self.forbidden.remove(&kind);
        if forbidden.is_some() {
            info!("{} may be seen now", kind.plural());
        }
        let before = self.at.remove(&kind).or(forbidden.and_then(|forbidden| forbidden.before));
        let told = match &before {
            None => Listed::First,
            Some(before) if before.list.epoch != list.epoch => {
                error!("the API server is another cluster now: {}, it was {}", list.epoch, before.list.epoch);
                Listed::AnotherCluster
            }
            Some(before) => {
                if before.position > position {
                    let kind = kind.plural();
                    warn!(
                        "the API server has an older history of {kind} than before: was the cluster restored?"
                    );
                }
                Listed::Again
            }
        };
        self.at.insert(kind, At { position, list });
        told
    }

    pub fn move_on(&mut self, kind: Kind, position: u64) {
        if let Some(at) = self.at.get_mut(&kind) {
            at.position = position;
        }
    }

    /// The API server does not let this account see a kind. True if that is news.
    pub fn forbid(&mut self, kind: Kind, why: String) -> bool {
        let before = self.at.remove(&kind);
        let known = self.forbidden.remove(&kind);
        let news = known.as_ref().is_none_or(|known| known.why != why);
        let before = before.or(known.and_then(|known| known.before));
        self.forbidden.insert(kind, Forbidden { why, before });
        news
    }

    /// Whether a kind was listed once.
    pub fn has(&self, kind: Kind) -> bool {
        self.at.contains_key(&kind)
    }

    /// Where the caches stand. Absent until all of them are filled, from one cluster.
    pub fn generation(&self) -> Option<Generation> {
        let apps = self.at.get(&Kind::Apps)?;
        let epoch = &apps.list.epoch;
        // Config that may not be seen holds up no app that has none. Its kind stands where the others do: an API server counts all
        // kinds by one counter, so a list that is allowed later is no older than that.
        let newest = self.at.values().map(|at| at.position).max().unwrap_or_default();
        let position = |kind| match (self.at.get(&kind), self.forbidden.get(&kind), kind) {
            (Some(at), _, _) => (at.list.epoch == *epoch).then_some(at.position),
            (None, Some(Forbidden { before, why: _ }), Kind::Config(_)) => {
                let before = before.as_ref().filter(|before| before.list.epoch == *epoch);
                Some(before.map_or(newest, |before| before.position.max(newest)))
            }
            (None, Some(_) | None, Kind::Apps | Kind::Nodes | Kind::Config(_)) => None,
        };
        let positions = Kind::ALL.map(|kind| Some((kind.plural().to_owned(), position(kind)?)));
        let positions: Option<Vec<_>> = positions.into_iter().collect();
        // An API server whose uid is not a uid has no generations; nothing is sent then.
        Generation::new(epoch, positions?).ok()
    }

    /// Which rounds of lists were asked for and have come. Kinds that may not be seen are not waited for.
    pub fn lists(&self, asked: u64) -> Lists {
        let waited_for = Kind::ALL.into_iter().filter(|kind| !self.forbidden.contains_key(kind));
        let round = |kind| self.at.get(&kind).map_or(0, |at: &At| at.list.round);
        Lists { asked, complete: waited_for.map(round).min().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: Kind = Kind::Config(ConfigKind::Secret);

    fn filled(position: u64) -> Caches {
        let mut caches = Caches::default();
        for kind in Kind::ALL {
            assert!(caches.generation().is_none(), "{kind:?} is not there yet");
            caches.list(kind, position, ListId { epoch: "e".into(), round: 0 });
        }
        caches
    }

    fn list(caches: &mut Caches, kind: Kind, position: u64, epoch: &str) -> Listed {
        caches.list(kind, position, ListId { epoch: epoch.into(), round: 1 })
    }

    #[test]
    fn every_kind_moves_the_generation() {
        for kind in Kind::ALL {
            let mut caches = filled(5);
            let before = caches.generation().expect("a generation");
            caches.move_on(kind, 6);
            assert!(caches.generation().expect("a generation").is_newer_than(&before), "{kind:?}");
        }
    }

    #[test]
    fn a_kind_that_may_not_be_seen_is_not_waited_for_and_history_never_goes_back() {
        let mut caches = filled(5);
        caches.move_on(SECRETS, 9);
        let before = caches.generation().expect("a generation");
        assert!(caches.forbid(SECRETS, "forbidden".into()));
        assert!(!caches.forbid(SECRETS, "forbidden".into()), "no news");
        caches.move_on(Kind::Apps, 12);
        let without = caches.generation().expect("a generation");
        assert!(without.is_newer_than(&before));
        for kind in [Kind::Apps, Kind::Nodes, Kind::Config(ConfigKind::ConfigMap)] {
            list(&mut caches, kind, 12, "e");
        }
        assert_eq!(caches.lists(1).complete, 1);
        assert_eq!(list(&mut caches, SECRETS, 13, "e"), Listed::Again);
        assert!(caches.generation().expect("a generation").is_newer_than(&without));
        assert_eq!(caches.forbidden(SECRETS), None);
    }

    #[test]
    fn a_controller_that_never_saw_secrets_does_not_stand_behind_one_that_did() {
        let mut caches = filled(5);
        caches.at.remove(&SECRETS);
        caches.forbid(SECRETS, "forbidden".into());
        caches.move_on(Kind::Nodes, 40);
        assert_eq!(caches.generation().expect("a generation").positions()["secrets"], 40);
    }

    #[test]
    fn kinds_of_two_clusters_make_no_generation() {
        let mut caches = filled(5);
        assert_eq!(list(&mut caches, Kind::Nodes, 99, "f"), Listed::AnotherCluster);
        assert!(caches.generation().is_none());
    }
}
