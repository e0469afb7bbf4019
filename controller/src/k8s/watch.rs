//! One kind's watch: list, then follow. Written on kube's `list` and `watch` calls and not on its `watcher`, because the position
//! of a cache in history is the list's own resourceVersion, which `watcher` keeps to itself: without it, a controller that starts
//! after the newest object was deleted would believe itself behind its nodes.

#[cfg(test)]
mod tests;

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, WatchParams};
use kube::core::{DynamicObject, WatchEvent};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use super::client::ask_epoch;
use crate::delay;
use skerry_terms::Chain;

/// Objects in one page of a list: bounds the size of an answer.
const PAGE: u32 = 100;
/// The server ends a watch after this time…
const WATCH_SECONDS: u32 = 290;
/// …and a watch that lives longer hangs on a dead connection.
const WATCH_DEADLINE: Duration = Duration::from_secs(300);
/// A watch that told nothing and ended within this time has failed, whatever the server calls it.
const STANDS_AFTER: Duration = Duration::from_secs(5);
/// HTTP status of a watch whose start is no longer in the server's memory.
const GONE: u16 = 410;
/// HTTP status of what an account may not do.
const FORBIDDEN: u16 = 403;

/// What a watch tells.
#[derive(Debug)]
pub enum Watched<O> {
    /// Everything there is that is looked at, at this position. Replaces all that was known.
    Listed { objects: Vec<O>, position: u64, list: ListId },
    /// One object was created or changed.
    Applied { object: O, position: u64 },
    /// One object is gone.
    Deleted { object: O, position: u64 },
    /// Nothing that is looked at has happened up to this position.
    Position(u64),
    /// The API server does not let this account see the objects, in its own words. It is asked again.
    Forbidden(String),
}

/// What is watched.
pub struct Kind<R> {
    pub api: Api<DynamicObject>,
    /// Plural name, for people and metrics.
    pub name: &'static str,
    /// A field selector: what the server leaves out. Empty for nothing.
    pub fields: &'static str,
    /// Makes an object of what the server sends, with its resourceVersion; None for one that nobody looks at.
    pub read: R,
}

/// Which list it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListId {
    /// The cluster's identity, read after the list: a cluster that was swapped in between is not taken for the old one.
    pub epoch: String,
    /// How often fresh lists had been asked for when it began.
    pub round: u64,
}

/// An object as the API server has it.
#[derive(Debug)]
pub struct Seen<S, T> {
    pub meta: ObjectMeta,
    /// Its resourceVersion.
    pub version: u64,
    /// The spec; or why this build cannot read it, which happens when a newer version wrote it.
    pub spec: Result<S, String>,
    pub status: T,
}

/// Why a watch had to begin again.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("failed to list {0}; are the CRDs installed?")]
    NotFound(String),
    #[error("failed to list or watch {kind}: {message}")]
    Forbidden { kind: String, message: String },
    #[error("failed to list {kind}")]
    List { kind: String, source: kube::Error },
    #[error("failed to watch {kind}")]
    Watch { kind: String, source: kube::Error },
    #[error("the resourceVersion {0:?} is not a number: this API server's versions cannot be compared")]
    Version(String),
    #[error("failed to read the cluster's identity")]
    Epoch(#[source] kube::Error),
    /// Not worth a line.
    #[error("the server forgot where the watch of {0} began")]
    Gone(String),
    /// Not worth a line.
    #[error("a fresh list of {0} was asked for")]
    Asked(String),
    #[error("the controller is being stopped")]
    Closed,
}

/// Follows all objects of a kind until nobody listens. `tell` hands on what was seen; `relist` ticks when a fresh list is wanted;
/// `restarted` is called for each failure.
pub async fn watch<O, R, F>(
    client: Client,
    kind: Kind<R>,
    mut relist: Receiver<u64>,
    tell: impl Fn(Watched<O>) -> F,
    restarted: impl Fn(),
) where
    R: Fn(DynamicObject, u64) -> Option<O>,
    F: Future<Output = bool>,
{
    let name = kind.name;
    let mut health = Health::default();
    // Where to go on. Absent: with a list.
    let mut version: Option<String> = None;
    loop {
        health.stood = false;
        let result = follow(&client, &kind, &mut relist, &mut version, &mut health, &tell).await;
        match result {
            Err(WatchError::Closed) => return,
            Ok(()) if health.stood => continue,
            Ok(()) => debug!("the watch of {name} ended at once"),
            Err(error @ (WatchError::Gone(_) | WatchError::Asked(_))) => {
                debug!("{error}");
                version = None;
                // Who asks for lists waits for one before asking again.
                if health.stood || matches!(error, WatchError::Asked(_)) {
                    continue;
                }
            }
            Err(error) => {
                // The server may have been restored meanwhile: to go on from a version that its history has yet to reach would
                // miss everything in between.
                version = None;
                restarted();
                if let WatchError::Forbidden { message, .. } = &error
                    && !tell(Watched::Forbidden(message.clone())).await
                {
                    return;
                }
                if health.failures == 0 {
                    warn!("trying again: {}", Chain(&error));
                } else {
                    debug!("trying again: {}", Chain(&error));
                }
            }
        }
        health.failures += 1;
        tokio::time::sleep(delay::before_retry(health.failures)).await;
    }
}

/// How the watch is doing.
#[derive(Debug, Default)]
struct Health {
    /// Tries in a row that came to nothing.
    failures: u32,
    /// The watch under way has told something, or has lasted.
    stood: bool,
}

impl Health {
    fn stands(&mut self, kind: &str) {
        self.stood = true;
        if std::mem::take(&mut self.failures) > 0 {
            info!("the watch of {kind} stands again");
        }
    }
}

/// Lists if there is no version to go on from, then watches until the server ends the watch.
async fn follow<O, R, F>(
    client: &Client,
    kind: &Kind<R>,
    relist: &mut Receiver<u64>,
    version: &mut Option<String>,
    health: &mut Health,
    tell: &impl Fn(Watched<O>) -> F,
) -> Result<(), WatchError>
where
    R: Fn(DynamicObject, u64) -> Option<O>,
    F: Future<Output = bool>,
{
    let Kind { api, name, fields, read } = kind;
    let start = match version {
        Some(version) => version.clone(),
        None => {
            let round = *relist.borrow_and_update();
            let (objects, text) = list(kind).await?;
            // Without a uid there are no generations, and nothing is sent.
            let epoch = ask_epoch(client).await.map_err(WatchError::Epoch)?.unwrap_or_default();
            let position = number(&text)?;
            go_on(tell(Watched::Listed { objects, position, list: ListId { epoch, round } }).await)?;
            version.insert(text).clone()
        }
    };
    let watch_error = |source| WatchError::Watch { kind: (*name).to_owned(), source };
    let mut params = WatchParams::default().timeout(WATCH_SECONDS);
    if !fields.is_empty() {
        params = params.fields(fields);
    }
    let begin_error = |source| match is_forbidden(&source) {
        Some(message) => WatchError::Forbidden { kind: (*name).to_owned(), message },
        None => watch_error(source),
    };
    let mut events = pin!(api.watch(&params, &start).await.map_err(begin_error)?);
    let begun = Instant::now();
    loop {
        let next = tokio::select! {
            // Cancel-safe: a dropped `next` has taken nothing from the stream.
            next = timeout_at(begun + WATCH_DEADLINE, events.next()) => next,
            _ = relist.changed() => return Err(WatchError::Asked((*name).to_owned())),
            () = sleep_until(begun + STANDS_AFTER), if !health.stood => {
                health.stands(name);
                continue;
            }
        };
        let Ok(Some(event)) = next else { return Ok(()) };
        let (told, reached) = match event.map_err(watch_error)? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let position = version_of(&object)?;
                let told = match read(object, position) {
                    Some(object) => Watched::Applied { object, position },
                    None => Watched::Position(position),
                };
                (told, position)
            }
            WatchEvent::Deleted(object) => {
                let position = version_of(&object)?;
                let told = match read(object, position) {
                    Some(object) => Watched::Deleted { object, position },
                    None => Watched::Position(position),
                };
                (told, position)
            }
            WatchEvent::Bookmark(bookmark) => {
                let position = number(&bookmark.metadata.resource_version)?;
                (Watched::Position(position), position)
            }
            WatchEvent::Error(status) if status.code == GONE => {
                return Err(WatchError::Gone((*name).to_owned()));
            }
            WatchEvent::Error(status) => return Err(watch_error(kube::Error::Api(status))),
        };
        health.stands(name);
        go_on(tell(told).await)?;
        *version = Some(reached.to_string());
    }
}

/// All objects that are looked at, read consistently, and the version at which they were.
async fn list<O, R>(kind: &Kind<R>) -> Result<(Vec<O>, String), WatchError>
where
    R: Fn(DynamicObject, u64) -> Option<O>,
{
    let Kind { api, name, fields, read } = kind;
    let mut objects = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    if !fields.is_empty() {
        params = params.fields(fields);
    }
    loop {
        let page = api.list(&params).await.map_err(|source| list_error(name, source))?;
        for object in page.items {
            let version = version_of(&object)?;
            objects.extend(read(object, version));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok((objects, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}

fn list_error(kind: &str, source: kube::Error) -> WatchError {
    let kind = kind.to_owned();
    if let kube::Error::Api(status) = &source
        && status.code == 404
    {
        return WatchError::NotFound(kind);
    }
    match is_forbidden(&source) {
        Some(message) => WatchError::Forbidden { kind, message },
        None => WatchError::List { kind, source },
    }
}

/// The API server's words if the account may not do it.
fn is_forbidden(error: &kube::Error) -> Option<String> {
    if let kube::Error::Api(status) = error
        && status.code == FORBIDDEN
    {
        return Some(status.message.clone());
    }
    None
}

/// An object with a spec and a status, whole.
pub fn whole<S: DeserializeOwned, T: DeserializeOwned + Default>(
    object: DynamicObject,
    version: u64,
) -> Option<Seen<S, T>> {
    let DynamicObject { types: _, mut metadata, mut data } = object;
    // Nobody here reads them, and they are a good part of an object's memory.
    metadata.managed_fields = None;
    let mut take = |field: &str| data.get_mut(field).map(Value::take).unwrap_or_default();
    let spec = Some(take("spec")).filter(|spec| !spec.is_null());
    let spec = spec.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    Some(Seen {
        version,
        spec: serde_json::from_value(spec).map_err(|error| error.to_string()),
        // A status that cannot be read is written anew.
        status: serde_json::from_value(take("status")).unwrap_or_default(),
        meta: metadata,
    })
}

fn version_of(object: &DynamicObject) -> Result<u64, WatchError> {
    number(object.metadata.resource_version.as_deref().unwrap_or_default())
}

fn number(version: &str) -> Result<u64, WatchError> {
    version.parse().map_err(|_| WatchError::Version(version.to_owned()))
}

fn go_on(listening: bool) -> Result<(), WatchError> {
    if listening { Ok(()) } else { Err(WatchError::Closed) }
}
