//! The cache of EdgeApps: what was seen, what of it is valid, and which nodes it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skerry_api::{EdgeAppSpec, EdgeAppStatus};
use skerry_controller_core::placement::{App, Content, Trouble, selects};
use skerry_terms::AppKey;
use tracing::{info, warn};

use super::Hub;
use super::caches::Kind;
use super::config::Objects;
use super::content::{checked, config_refs, content};
use super::nodes::NodeEntry;
use super::status::Ledger;
use super::timers::Timer;
use crate::k8s::{ConfigRef, JobKey, Seen, Watched};
use crate::readiness::Part;

/// An EdgeApp.
#[derive(Debug)]
pub struct AppEntry {
    pub app: App,
    /// The spec as it was seen last; tells a new spec from a mere status write.
    seen: Result<Arc<EdgeAppSpec>, String>,
    /// The ConfigMaps and Secrets that the newest good spec refers to.
    refs: BTreeSet<ConfigRef>,
    pub status: Ledger<EdgeAppStatus>,
}

impl Hub {
    pub(super) fn apply_apps(&mut self, watched: Watched<Seen<EdgeAppSpec, EdgeAppStatus>>) {
        match watched {
            Watched::Listed { objects, position, list } => {
                let listed: BTreeSet<_> = objects.iter().filter_map(|seen| key(&seen.meta)).collect();
                let gone: Vec<_> = self.apps.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                gone.iter().for_each(|key| self.forget_app(key));
                info!("{} EdgeApps", objects.len());
                objects.into_iter().for_each(|seen| self.see_app(seen));
                self.out.readiness.set(Part::Apps, true);
                self.out.wanted.is_known();
                self.listed(Kind::Apps, position, list);
            }
            Watched::Applied { object, position } => {
                self.see_app(object);
                self.caches.move_on(Kind::Apps, position);
            }
            Watched::Deleted { object, position } => {
                if let Some(key) = key(&object.meta) {
                    self.forget_app(&key);
                }
                self.caches.move_on(Kind::Apps, position);
            }
            Watched::Position(position) => self.caches.move_on(Kind::Apps, position),
            // Without apps there is nothing to do; the watch tries on and says so in the log.
            Watched::Forbidden(_) => {}
        }
        self.moved_on();
    }

    fn see_app(&mut self, seen: Seen<EdgeAppSpec, EdgeAppStatus>) {
        let Some(key) = key(&seen.meta) else { return };
        let Seen { meta, version, spec, status } = seen;
        let uid = meta.uid.unwrap_or_default();
        let generation = meta.generation.unwrap_or_default();
        if self.apps.get(&key).is_some_and(|old| old.app.uid != uid) {
            self.forget_app(&key);
        }
        self.dirty_apps.insert(key.clone());
        match self.apps.get_mut(&key) {
            Some(old) => {
                old.status.seen(version, status);
                old.app.generation = generation;
                if same(&old.seen, &spec) {
                    return;
                }
                old.seen = spec.map(Arc::new);
            }
            None => {
                let created = meta.creation_timestamp.map_or(0, |time| time.0.as_second());
                let app = App { key: key.clone(), uid, generation, created, trouble: None, content: None };
                let mut ledger = Ledger::default();
                ledger.seen(version, status);
                let seen = spec.map(Arc::new);
                self.apps.insert(key.clone(), AppEntry { app, seen, refs: BTreeSet::new(), status: ledger });
            }
        }
        self.take_over(&key);
    }

    /// A new spec: what it refers to is wanted from now on.
    fn take_over(&mut self, key: &AppKey) {
        let Some(entry) = self.apps.get_mut(key) else { return };
        // What a wrong spec refers to is not looked at; the nodes keep the last good version, with its config.
        if let Ok(spec) = checked(&entry.seen) {
            let new = config_refs(key.namespace(), spec);
            let old = std::mem::replace(&mut entry.refs, new.clone());
            self.refer(key, &old, &new);
        }
        self.refresh_app(key);
    }

    /// Makes an app anew, from its spec and the config that it refers to, and marks the nodes that it concerns.
    pub(super) fn refresh_app(&mut self, key: &AppKey) {
        let made = match self.make(key) {
            None => return,
            Some(Ok(None)) => {
                self.unread.insert(key.clone());
                return;
            }
            Some(Ok(Some(content))) => Ok(content),
            Some(Err(trouble)) => Err(trouble),
        };
        let was_unread = self.unread.remove(key);
        let Some(entry) = self.apps.get_mut(key) else { return };
        let (content, trouble) = match made {
            Ok(content) => (Some(content), None),
            // The nodes keep the last good version.
            Err(trouble) => (entry.app.content.clone(), Some(trouble)),
        };
        if entry.app.trouble != trouble {
            if let Some(trouble) = &trouble {
                warn!("app={key} {trouble}");
            }
            entry.app.trouble = trouble;
            self.dirty_apps.insert(key.clone());
        }
        let is_new = entry.app.content != content;
        if is_new {
            entry.app.content = content;
            self.board.set_app(key, entry.app.demand());
            self.dirty_apps.insert(key.clone());
        }
        if is_new || was_unread {
            self.concern_nodes_of(key, was_unread);
        }
    }

    /// What an app has become. None for one that is gone; `Ok(None)` while its config is being read.
    fn make(&self, key: &AppKey) -> Option<Result<Option<Content>, Trouble>> {
        let AppEntry { app, seen, refs, status: _ } = self.apps.get(key)?;
        let spec = match checked(seen) {
            Ok(spec) => spec,
            Err(errors) => return Some(Err(Trouble::Invalid(errors))),
        };
        if let Some(why) = self.unreadable(refs) {
            return Some(Err(Trouble::Unreadable(why)));
        }
        Some(match self.config.objects(refs) {
            Objects::NotYet => Ok(None),
            Objects::Ready(objects) => {
                content(key, &app.uid, spec, &objects).map(Some).map_err(Trouble::Invalid)
            }
        })
    }

    /// Marks the nodes that have an app or are to have it; when it kept sets back, all on which it did.
    fn concern_nodes_of(&mut self, key: &AppKey, kept_back: bool) {
        for (name, node) in &self.nodes {
            let is_placed = self.board.verdict(name, key).is_some() || node.state.apps.contains_key(key);
            if is_placed || (kept_back && self.asks_for(key, node)) {
                self.dirty_sets.insert(name.clone());
            }
        }
    }

    /// True if the newest spec of an app may place it on a node.
    fn asks_for(&self, key: &AppKey, node: &NodeEntry) -> bool {
        let spec = self.apps.get(key).and_then(|entry| entry.seen.as_ref().ok());
        spec.is_some_and(|spec| selects(spec, &node.labels))
    }

    /// True while the config of an app that concerns a node is being read. A set of which a part is missing would stand at a position
    /// at which the next set has it.
    pub(super) fn is_kept_back(&self, name: &skerry_terms::NodeName, node: &NodeEntry) -> bool {
        self.unread.iter().any(|key| {
            self.board.verdict(name, key).is_some()
                || node.state.apps.contains_key(key)
                || self.asks_for(key, node)
        })
    }

    fn forget_app(&mut self, key: &AppKey) {
        let kept_back = self.unread.remove(key);
        self.concern_nodes_of(key, kept_back);
        let Some(entry) = self.apps.remove(key) else {
            return;
        };
        self.refer(key, &entry.refs, &BTreeSet::new());
        self.board.set_app(key, None);
        self.timers.disarm(&Timer::AppStatus(key.clone()));
        self.out.writes.forget(&JobKey::AppStatus(key.clone()));
        self.dirty_apps.remove(key);
    }
}

fn key(meta: &ObjectMeta) -> Option<AppKey> {
    AppKey::new(meta.namespace.as_deref()?, meta.name.as_deref()?).ok()
}

fn same(old: &Result<Arc<EdgeAppSpec>, String>, new: &Result<EdgeAppSpec, String>) -> bool {
    match (old, new) {
        (Ok(old), Ok(new)) => **old == *new,
        (Err(old), Err(new)) => old == new,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}
