//! ConfigMaps and Secrets as far as apps refer to them. The watches see every object there is and hand on only those that are
//! wanted; an object that becomes wanted while its watch stands is read once.
//!
//! Contents are shown nowhere: not in logs, not in errors, not in `Debug`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ListParams;
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde::Deserialize;
use skerry_api::wire::{self, ConfigObject};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::delay;
use skerry_terms::Chain;

/// Reads under way at a time: enough to keep the connection busy, few enough to be a polite client.
const CONCURRENT: usize = 8;

/// A kind of config object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKind {
    ConfigMap,
    Secret,
}

impl ConfigKind {
    pub const ALL: [Self; 2] = [Self::ConfigMap, Self::Secret];

    pub fn plural(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }

    /// The field selector of lists and watches. It leaves out what no app can use, and what a cluster may have many of: the releases
    /// of Helm, which are large, and the tokens of service accounts.
    pub fn fields(self) -> &'static str {
        match self {
            Self::ConfigMap => "",
            Self::Secret => "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token",
        }
    }

    /// True if objects of this type are left out by [`ConfigKind::fields`].
    fn leaves_out(self, type_: &str) -> bool {
        match self {
            Self::ConfigMap => false,
            Self::Secret => matches!(type_, "helm.sh/release.v1" | "kubernetes.io/service-account-token"),
        }
    }

    pub fn resource(self) -> ApiResource {
        match self {
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
        }
    }
}

/// Names an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigRef {
    pub kind: ConfigKind,
    pub namespace: String,
    pub name: String,
}

/// As kubelet writes it, without the namespace: that is the app's own.
impl fmt::Display for ConfigRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ConfigKind::ConfigMap => "configmap",
            ConfigKind::Secret => "secret",
        };
        write!(f, "{kind} {:?}", self.name)
    }
}

/// An object as the API server has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigSeen {
    pub key: ConfigRef,
    /// Its resourceVersion.
    pub version: u64,
    pub object: Arc<ConfigObject>,
}

/// The answer to a read.
#[derive(Debug)]
pub struct ConfigRead {
    pub key: ConfigRef,
    /// That of the read: an answer to an older one says nothing any more.
    pub ticket: u64,
    /// None when there is no such object; the API server's words when it may not be read.
    pub found: Result<Option<ConfigSeen>, String>,
}

/// Which objects are wanted, and which of them have yet to be read. Written by the hub, asked by watches and readers; bounded by what
/// the apps refer to.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    wanted: Arc<Mutex<BTreeSet<ConfigRef>>>,
    unread: Arc<Mutex<BTreeMap<ConfigRef, u64>>>,
    more: Arc<Notify>,
    known: CancellationToken,
}

impl Wanted {
    pub fn want(&self, key: ConfigRef) {
        lock(&self.wanted).insert(key);
    }

    pub fn forget(&self, key: &ConfigRef) {
        lock(&self.wanted).remove(key);
        lock(&self.unread).remove(key);
    }

    fn wants(&self, key: &ConfigRef) -> bool {
        lock(&self.wanted).contains(key)
    }

    /// Asks for a read. It takes the place of one of the same object that has not begun.
    pub fn read(&self, key: ConfigRef, ticket: u64) {
        lock(&self.unread).insert(key, ticket);
        self.more.notify_one();
    }

    /// All apps were listed: what they refer to is wanted.
    pub fn is_known(&self) {
        self.known.cancel();
    }

    /// Waits for that: a list before would keep nothing.
    pub async fn known(&self) {
        self.known.cancelled().await;
    }

    /// Takes the reads that wait, as a test sees them.
    #[cfg(test)]
    pub fn drain(&self) -> BTreeMap<ConfigRef, u64> {
        std::mem::take(&mut *lock(&self.unread))
    }

    fn take_next(&self) -> Option<(ConfigRef, u64)> {
        lock(&self.unread).pop_first()
    }

    /// The object, if it is wanted and can be used.
    pub fn pick(&self, kind: ConfigKind, object: DynamicObject, version: u64) -> Option<ConfigSeen> {
        let key = ConfigRef {
            kind,
            namespace: object.metadata.namespace.clone()?,
            name: object.metadata.name.clone()?,
        };
        self.wants(&key).then(|| seen(key, object, version)).flatten()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Sets and maps stay whole whatever a holder of the lock did.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts of both kinds that travel.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts {
    #[serde(default, rename = "type")]
    type_: String,
    #[serde(default)]
    data: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, ByteString>>,
}

fn seen(key: ConfigRef, object: DynamicObject, version: u64) -> Option<ConfigSeen> {
    let unreadable = || {
        // Without the error: it would quote the content.
        warn!("namespace={} {key} cannot be read and counts as absent", key.namespace);
    };
    let Ok(Parts { type_, data, binary_data }) = serde_json::from_value(object.data) else {
        unreadable();
        return None;
    };
    if key.kind.leaves_out(&type_) {
        return None;
    }
    let text = |value: serde_json::Value| match key.kind {
        ConfigKind::ConfigMap => value.as_str().map(|text| text.as_bytes().to_vec()),
        ConfigKind::Secret => serde_json::from_value::<ByteString>(value).ok().map(|bytes| bytes.0),
    };
    let data = data.unwrap_or_default().into_iter().map(|(name, value)| Some((name, text(value)?)));
    let Some(data) = data.collect() else {
        unreadable();
        return None;
    };
    let kind = match key.kind {
        ConfigKind::ConfigMap => wire::ConfigKind::ConfigMap,
        ConfigKind::Secret => wire::ConfigKind::Secret,
    };
    let object = ConfigObject {
        kind: kind.into(),
        name: key.name.clone(),
        r#type: type_,
        data,
        binary_data: binary_data
            .unwrap_or_default()
            .into_iter()
            .map(|(name, bytes)| (name, bytes.0))
            .collect(),
    };
    Some(ConfigSeen { key, version, object: Arc::new(object) })
}

/// Reads what is asked for until nobody listens.
pub async fn run_reads(client: Client, wanted: Wanted, answers: mpsc::Sender<ConfigRead>) {
    let mut running = JoinSet::new();
    loop {
        while running.len() < CONCURRENT
            && let Some((key, ticket)) = wanted.take_next()
        {
            running.spawn(read(client.clone(), wanted.clone(), key, ticket));
        }
        tokio::select! {
            // Both are cancel-safe; a lost `notified` is made up for by looking at the queue again.
            Some(result) = running.join_next(), if !running.is_empty() => {
                if let Ok(Some(answer)) = result
                    && answers.send(answer).await.is_err()
                {
                    return;
                }
            }
            () = wanted.more.notified() => {}
            () = answers.closed() => return,
        }
    }
}

/// Tries until the server has answered for good, or the object is not wanted any more.
async fn read(client: Client, wanted: Wanted, key: ConfigRef, ticket: u64) -> Option<ConfigRead> {
    let api: Api<DynamicObject> = Api::namespaced_with(client, &key.namespace, &key.kind.resource());
    // A list of one: it needs no right that the watch does not need.
    let one = ListParams::default().fields(&format!("metadata.name={}", key.name));
    let mut failures = 0;
    while wanted.wants(&key) {
        let error = match api.list(&one).await {
            Ok(list) => {
                let found = list.items.into_iter().next().and_then(|object| {
                    let version = object.metadata.resource_version.as_deref()?.parse().ok()?;
                    seen(key.clone(), object, version)
                });
                return Some(ConfigRead { key, ticket, found: Ok(found) });
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                return Some(ConfigRead { key, ticket, found: Err(status.message) });
            }
            Err(error) => error,
        };
        failures += 1;
        if failures == 1 {
            warn!("failed to read {key}, trying again: {}", Chain(&error));
        } else {
            debug!("failed to read {key}: {}", Chain(&error));
        }
        tokio::time::sleep(delay::before_retry(failures)).await;
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn picked(kind: ConfigKind, object: serde_json::Value) -> Option<ConfigSeen> {
        let wanted = Wanted::default();
        wanted.want(ConfigRef { kind, namespace: "default".into(), name: "x".into() });
        wanted.pick(kind, serde_json::from_value(object).expect("an object"), 7)
    }

    #[test]
    fn contents_travel_as_bytes_and_are_printed_nowhere() {
        let secret = picked(
            ConfigKind::Secret,
            json!({"metadata": {"name": "x", "namespace": "default"}, "type": "Opaque", "data": {"key": "aHVudGVyMg=="}}),
        )
        .expect("a secret");
        assert_eq!(secret.object.data["key"], b"hunter2");
        let printed = format!("{secret:?}");
        assert!(
            !printed.contains("hunter2") && !printed.contains("104") && !printed.contains("aHVu"),
            "{printed}"
        );
        let map = picked(
            ConfigKind::ConfigMap,
            json!({"metadata": {"name": "x", "namespace": "default"}, "data": {"a": "b"}, "binaryData": {"c": "/w=="}}),
        )
        .expect("a map");
        assert_eq!((&*map.object.data["a"], &*map.object.binary_data["c"]), (&b"b"[..], &[0xff][..]));
    }

    #[test]
    fn what_nobody_wants_or_can_use_is_left_out() {
        let object = |name: &str, type_: &str| json!({"metadata": {"name": name, "namespace": "default"}, "type": type_});
        assert!(picked(ConfigKind::Secret, object("y", "Opaque")).is_none());
        assert!(picked(ConfigKind::Secret, object("x", "helm.sh/release.v1")).is_none());
        assert!(picked(ConfigKind::Secret, object("x", "kubernetes.io/dockerconfigjson")).is_some());
        let damaged =
            json!({"metadata": {"name": "x", "namespace": "default"}, "data": {"key": "not base64!"}});
        assert!(picked(ConfigKind::Secret, damaged).is_none());
    }
}
