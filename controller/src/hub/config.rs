//! The cache of ConfigMaps and Secrets: what apps refer to and no more. A change makes the apps that refer to the object anew, and
//! with them the sets of exactly the nodes that run them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skerry_api::wire::ConfigObject;
use skerry_terms::AppKey;
use tracing::{info, warn};

use super::Hub;
use super::caches::Kind;
use crate::k8s::{ConfigKind, ConfigRead, ConfigRef, ConfigSeen, Wanted, Watched};
use crate::readiness::Part;

/// See the module.
#[derive(Debug, Default)]
pub struct Config {
    kept: BTreeMap<ConfigRef, Kept>,
    /// Objects of which a read told more than the watch has.
    ahead: BTreeSet<ConfigRef>,
    /// Counts reads, so that an old answer is not taken for a new one.
    tickets: u64,
}

/// One object that apps refer to.
#[derive(Debug)]
struct Kept {
    apps: BTreeSet<AppKey>,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    /// A list or a read will tell.
    Unread { ticket: u64 },
    /// A read told of a version that the watch has not reached: a set with it would stand at a position that does not have it.
    Ahead(ConfigSeen),
    /// None for an object that does not exist.
    Known(Option<ConfigSeen>),
}

/// The objects that an app refers to.
#[derive(Debug)]
pub enum Objects {
    /// All that exist.
    Ready(Vec<Arc<ConfigObject>>),
    /// Some are being read.
    NotYet,
}

impl Config {
    /// An app refers to these objects and no others. Those that are new have to be read.
    pub fn refer(
        &mut self,
        app: &AppKey,
        old: &BTreeSet<ConfigRef>,
        new: &BTreeSet<ConfigRef>,
        wanted: &Wanted,
    ) -> Vec<ConfigRef> {
        for key in old.difference(new) {
            if let Some(kept) = self.kept.get_mut(key) {
                kept.apps.remove(app);
                if kept.apps.is_empty() {
                    self.kept.remove(key);
                    self.ahead.remove(key);
                    wanted.forget(key);
                }
            }
        }
        let mut unread = Vec::new();
        for key in new {
            let kept = self.kept.entry(key.clone()).or_insert_with(|| {
                unread.push(key.clone());
                wanted.want(key.clone());
                Kept { apps: BTreeSet::new(), state: State::Unread { ticket: 0 } }
            });
            kept.apps.insert(app.clone());
        }
        unread
    }

    pub fn objects(&self, refs: &BTreeSet<ConfigRef>) -> Objects {
        let mut objects = Vec::new();
        for key in refs {
            match self.kept.get(key).map(|kept| &kept.state) {
                Some(State::Known(seen)) => objects.extend(seen.as_ref().map(|seen| seen.object.clone())),
                Some(State::Unread { .. } | State::Ahead(_)) | None => return Objects::NotYet,
            }
        }
        Objects::Ready(objects)
    }

    /// Asks for a read of an object.
    fn read(&mut self, key: &ConfigRef, wanted: &Wanted) {
        self.tickets += 1;
        if let Some(kept) = self.kept.get_mut(key) {
            kept.state = State::Unread { ticket: self.tickets };
            self.ahead.remove(key);
            wanted.read(key.clone(), self.tickets);
        }
    }

    /// The object stands so, as of where the watch is. Returns the apps for which that is news.
    fn know(&mut self, key: &ConfigRef, seen: Option<ConfigSeen>) -> BTreeSet<AppKey> {
        self.ahead.remove(key);
        let Some(kept) = self.kept.get_mut(key) else {
            return BTreeSet::new();
        };
        let content = |state: &State| match state {
            State::Known(seen) => Some(seen.as_ref().map(|seen| seen.object.clone())),
            State::Unread { .. } | State::Ahead(_) => None,
        };
        let before = content(&kept.state);
        kept.state = State::Known(seen);
        if before == content(&kept.state) { BTreeSet::new() } else { kept.apps.clone() }
    }

    /// The objects of a kind that are kept.
    fn of(&self, kind: ConfigKind) -> Vec<ConfigRef> {
        self.kept.keys().filter(|key| key.kind == kind).cloned().collect()
    }
}

impl Hub {
    pub(super) fn apply_config(&mut self, kind: ConfigKind, watched: Watched<ConfigSeen>) {
        let which = Kind::Config(kind);
        let mut concerned = BTreeSet::new();
        match watched {
            Watched::Listed { objects, position, list } => {
                info!("{} {} that apps refer to", objects.len(), kind.plural());
                self.listed(which, position, list);
                self.out.readiness.set(part(kind), true);
                concerned = self.take_list(kind, objects);
            }
            Watched::Applied { object, position } => {
                self.caches.move_on(which, position);
                concerned = self.config.know(&object.key.clone(), Some(object));
            }
            Watched::Deleted { object, position } => {
                self.caches.move_on(which, position);
                concerned = self.config.know(&object.key, None);
            }
            Watched::Position(position) => self.caches.move_on(which, position),
            Watched::Forbidden(why) => {
                // Apps that refer to none go on.
                self.out.readiness.set(part(kind), true);
                concerned = self.forbid(kind, why);
            }
        }
        concerned.extend(self.catch_up(kind));
        concerned.iter().for_each(|app| self.refresh_app(app));
        self.moved_on();
    }

    /// A kind may not be seen. Returns the apps that refer to objects of it, if that is news.
    fn forbid(&mut self, kind: ConfigKind, why: String) -> BTreeSet<AppKey> {
        if !self.caches.forbid(Kind::Config(kind), why) {
            return BTreeSet::new();
        }
        self.dirty_sets.extend(self.nodes.keys().cloned());
        let of_kind = self.config.kept.iter().filter(|(key, _)| key.kind == kind);
        of_kind.flat_map(|(_, kept)| kept.apps.clone()).collect()
    }

    /// Everything of a kind that is wanted, as of a list.
    fn take_list(&mut self, kind: ConfigKind, objects: Vec<ConfigSeen>) -> BTreeSet<AppKey> {
        let mut listed: BTreeMap<_, _> = objects.into_iter().map(|seen| (seen.key.clone(), seen)).collect();
        let mut concerned = BTreeSet::new();
        for key in self.config.of(kind) {
            let kept = self.config.kept.get(&key);
            match (listed.remove(&key), kept.map(|kept| &kept.state)) {
                (Some(seen), _) => concerned.extend(self.config.know(&key, Some(seen))),
                (None, Some(State::Known(None)) | None) => {}
                // It is gone, or it became wanted after its page of the list had been read.
                (None, Some(State::Known(Some(_)) | State::Unread { .. } | State::Ahead(_))) => {
                    self.config.read(&key, &self.out.wanted);
                    concerned.extend(self.config.kept.get(&key).iter().flat_map(|kept| kept.apps.clone()));
                }
            }
        }
        // While the kind could not be seen, its apps were told so.
        let apps = self
            .config
            .kept
            .iter()
            .filter(|(key, _)| key.kind == kind)
            .flat_map(|(_, kept)| kept.apps.clone());
        let troubled = |app: &AppKey| self.apps.get(app).is_some_and(|entry| entry.app.trouble.is_some());
        concerned.extend(apps.filter(troubled));
        concerned
    }

    /// What reads told ahead of the watch and the watch has reached.
    fn catch_up(&mut self, kind: ConfigKind) -> BTreeSet<AppKey> {
        let position = self.caches.position(Kind::Config(kind));
        let mut reached = Vec::new();
        for key in self.config.ahead.iter().filter(|key| key.kind == kind) {
            if let Some(State::Ahead(seen)) = self.config.kept.get(key).map(|kept| &kept.state)
                && seen.version <= position
            {
                reached.push(seen.clone());
            }
        }
        reached.into_iter().flat_map(|seen| self.config.know(&seen.key.clone(), Some(seen))).collect()
    }

    pub(super) fn apply_config_read(&mut self, answer: ConfigRead) {
        let ConfigRead { key, ticket, found } = answer;
        let position = self.caches.position(Kind::Config(key.kind));
        let Some(kept) = self.config.kept.get_mut(&key) else {
            return;
        };
        // A watch event or a newer read has told better.
        if kept.state != (State::Unread { ticket }) {
            return;
        }
        let concerned = match found {
            Ok(Some(seen)) if seen.version > position => {
                kept.state = State::Ahead(seen);
                self.config.ahead.insert(key);
                return;
            }
            Ok(seen) => self.config.know(&key, seen),
            Err(why) => {
                warn!("namespace={} {key} may not be read: {why}", key.namespace);
                // The watch, which needs the same rights, decides.
                self.lists_wanted = self.lists_wanted.max(self.lists().asked + 1);
                self.forbid(key.kind, why)
            }
        };
        concerned.iter().for_each(|app| self.refresh_app(app));
    }

    /// What an app refers to has changed: reads what is new, unless a list is about to tell.
    pub(super) fn refer(&mut self, app: &AppKey, old: &BTreeSet<ConfigRef>, new: &BTreeSet<ConfigRef>) {
        for key in self.config.refer(app, old, new, &self.out.wanted) {
            if self.caches.is_filled(Kind::Config(key.kind)) {
                self.config.read(&key, &self.out.wanted);
            }
        }
    }

    /// Why an app's config may not be read, for people.
    pub(super) fn unreadable(&self, refs: &BTreeSet<ConfigRef>) -> Option<String> {
        let mut refs = refs.iter();
        refs.find_map(|key| {
            let why = self.caches.forbidden(Kind::Config(key.kind))?;
            let kind = key.kind.plural();
            Some(format!(
                "the app refers to {key}, and the controller may not read it: {why}; let its account list and watch {kind} in \
                 all namespaces"
            ))
        })
    }
}

fn part(kind: ConfigKind) -> Part {
    match kind {
        ConfigKind::ConfigMap => Part::ConfigMaps,
        ConfigKind::Secret => Part::Secrets,
    }
}
