//! The cache of EdgeApps: what was seen, what of it is valid, and which nodes it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skerry_api::{EdgeAppSpec, EdgeAppStatus, FieldError, check_spec, revision_name, wire};
use skerry_controller_core::placement::{App, Content};
use skerry_terms::AppKey;
use tracing::{info, warn};

use super::status::Ledger;
use super::timers::Timer;
use super::{At, Hub};
use crate::k8s::{JobKey, Seen, Watched};
use crate::readiness::Part;
use skerry_terms::Chain;

/// An EdgeApp.
#[derive(Debug)]
pub struct AppEntry {
    pub app: App,
    /// The spec as it was seen last; tells a new spec from a mere status write.
    seen: Result<Arc<EdgeAppSpec>, String>,
    pub status: Ledger<EdgeAppStatus>,
}

impl Hub {
    pub(super) fn apply_apps(&mut self, watched: Watched<EdgeAppSpec, EdgeAppStatus>) {
        let position = match watched {
            Watched::Listed { objects, position, list } => {
                let listed: BTreeSet<_> = objects.iter().filter_map(|seen| key(&seen.meta)).collect();
                let gone: Vec<_> = self.apps.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                gone.iter().for_each(|key| self.forget_app(key));
                info!("{} EdgeApps", objects.len());
                objects.into_iter().for_each(|seen| self.see_app(seen));
                self.out.readiness.set(Part::Apps, true);
                let at = At { position, list };
                let before = self.apps_at.take();
                self.listed(super::APPS, before, &at);
                self.apps_at = Some(at);
                position
            }
            Watched::Applied(seen) => {
                let version = seen.version;
                self.see_app(seen);
                version
            }
            Watched::Deleted(seen) => {
                if let Some(key) = key(&seen.meta) {
                    self.forget_app(&key);
                }
                seen.version
            }
            Watched::Position(position) => position,
        };
        if let Some(at) = &mut self.apps_at {
            at.position = position;
        }
        self.moved_on();
    }

    fn see_app(&mut self, seen: Seen<EdgeAppSpec, EdgeAppStatus>) {
        let Some(key) = key(&seen.meta) else { return };
        let uid = seen.meta.uid.clone().unwrap_or_default();
        if self.apps.get(&key).is_some_and(|old| old.app.uid != uid) {
            self.forget_app(&key);
        }
        let generation = seen.meta.generation.unwrap_or_default();
        self.dirty_apps.insert(key.clone());
        let old = self.apps.remove(&key);
        let entry = match old {
            Some(mut old) if same(&old.seen, &seen.spec) => {
                old.status.seen(seen.version, seen.status);
                old.app.generation = generation;
                old
            }
            old => {
                let (before, mut status) = match old {
                    Some(AppEntry { app, seen: _, status }) => (app.content, status),
                    None => (None, Ledger::default()),
                };
                status.seen(seen.version, seen.status);
                self.take_over(key.clone(), uid, generation, seen.spec, before, status)
            }
        };
        self.apps.insert(key, entry);
    }

    /// A new spec: checks and encodes it, once for all nodes, and marks the nodes that it concerns.
    fn take_over(
        &mut self,
        key: AppKey,
        uid: String,
        generation: i64,
        spec: Result<EdgeAppSpec, String>,
        before: Option<Content>,
        status: Ledger<EdgeAppStatus>,
    ) -> AppEntry {
        let seen = spec.map(Arc::new);
        let (content, errors) = match content(&key, &uid, &seen) {
            Ok(content) => (Some(content), Vec::new()),
            Err(errors) => {
                warn!(
                    "app={key} invalid spec: {}",
                    errors.first().map(ToString::to_string).unwrap_or_default()
                );
                // The nodes keep the last good version.
                (before.clone(), errors)
            }
        };
        for (name, node) in &self.nodes {
            let selects =
                |content: &Option<Content>| content.as_ref().is_some_and(|c| c.selects(&node.labels));
            if selects(&before) || selects(&content) || node.state.apps.contains_key(&key) {
                self.dirty_sets.insert(name.clone());
            }
        }
        let app = App { key, uid, generation, errors, content };
        AppEntry { app, seen, status }
    }

    fn forget_app(&mut self, key: &AppKey) {
        let Some(entry) = self.apps.remove(key) else {
            return;
        };
        self.timers.disarm(&Timer::AppStatus(key.clone()));
        self.out.writes.forget(&JobKey::AppStatus(key.clone()));
        self.dirty_apps.remove(key);
        for (name, node) in &self.nodes {
            if entry.app.runs_on(&node.labels) || node.state.apps.contains_key(key) {
                self.dirty_sets.insert(name.clone());
            }
        }
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

/// The checked, encoded form of a spec, or everything that is wrong with it.
fn content(
    key: &AppKey,
    uid: &str,
    spec: &Result<Arc<EdgeAppSpec>, String>,
) -> Result<Content, Vec<FieldError>> {
    let whole = |message: String| vec![FieldError { path: "spec".into(), message }];
    let spec = spec
        .as_ref()
        .map_err(|error| whole(format!("this version of the controller cannot read it: {error}")))?;
    check_spec(spec)?;
    let revision = revision_name(key.name(), &spec.template);
    let payload = wire::payload(uid, &revision, spec, &BTreeMap::new(), &[])
        .map_err(|error| whole(Chain(&error).to_string()))?;
    Ok(Content { spec: spec.clone(), revision, payload })
}
