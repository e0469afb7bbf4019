//! Writes to the API: statuses by server-side apply, and the creation of EdgeNodes. One job waits per object and the latest wins,
//! so the queue is bounded by the number of objects and an API server that was away is not flooded when it comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::json;
use skerry_api::{EdgeApp, EdgeAppStatus, EdgeNode, EdgeNodeStatus};
use skerry_controller_core::placement::Labels;
use skerry_terms::{AppKey, NodeName};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::delay;
use crate::metrics::Metrics;
use skerry_terms::Chain;

/// The name under which the API server keeps our fields.
pub const FIELD_MANAGER: &str = "skerry-controller";
/// Writes under way at a time: enough to keep the connection busy, few enough to be a polite client.
const CONCURRENT: usize = 8;

/// The object that a job writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKey {
    AppStatus(AppKey),
    NodeStatus(NodeName),
    Register(NodeName),
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobKey::AppStatus(key) => write!(f, "the status of EdgeApp {key}"),
            JobKey::NodeStatus(node) => write!(f, "the status of EdgeNode {node}"),
            JobKey::Register(node) => write!(f, "the new EdgeNode {node}"),
        }
    }
}

/// What is to be written. The uid keeps the status of a deleted object from landing on its successor of the same name; the
/// sequence comes back with the outcome and tells which of several writes for the object it was.
#[derive(Debug, Clone)]
pub enum Job {
    AppStatus { key: AppKey, uid: String, sequence: u64, status: Box<EdgeAppStatus> },
    NodeStatus { node: NodeName, uid: String, sequence: u64, status: Box<EdgeNodeStatus> },
    Register { node: NodeName, labels: Labels },
}

impl Job {
    fn key(&self) -> JobKey {
        match self {
            Job::AppStatus { key, .. } => JobKey::AppStatus(key.clone()),
            Job::NodeStatus { node, .. } => JobKey::NodeStatus(node.clone()),
            Job::Register { node, .. } => JobKey::Register(node.clone()),
        }
    }

    fn sequence(&self) -> u64 {
        match self {
            Job::AppStatus { sequence, .. } | Job::NodeStatus { sequence, .. } => *sequence,
            Job::Register { .. } => 0,
        }
    }

    /// The metrics' word for it.
    fn kind(&self) -> &'static str {
        match self {
            Job::AppStatus { .. } => "edgeapp",
            Job::NodeStatus { .. } => "edgenode",
            Job::Register { .. } => "register",
        }
    }
}

/// How a job ended.
#[derive(Debug)]
pub struct Written {
    pub key: JobKey,
    /// The job's own; 0 for a creation.
    pub sequence: u64,
    /// The object's resourceVersion after the write. Absent when the object is gone or the server refused for good.
    pub version: Option<u64>,
}

/// Jobs that wait.
#[derive(Debug, Clone, Default)]
pub struct WriteQueue {
    waiting: Arc<Mutex<BTreeMap<JobKey, Job>>>,
    more: Arc<Notify>,
}

impl WriteQueue {
    /// Adds a job; it replaces one for the same object that has not begun.
    pub fn put(&self, job: Job) {
        self.lock().insert(job.key(), job);
        self.more.notify_one();
    }

    /// Drops the job of an object that is gone.
    pub fn forget(&self, key: &JobKey) {
        self.lock().remove(key);
    }

    fn take(&self, key: &JobKey) -> Option<Job> {
        self.lock().remove(key)
    }

    fn take_next(&self, busy: &BTreeSet<JobKey>) -> Option<(JobKey, Job)> {
        let mut waiting = self.lock();
        let key = waiting.keys().find(|key| !busy.contains(key)).cloned()?;
        waiting.remove_entry(&key)
    }

    /// Takes everything, as a test sees it.
    #[cfg(test)]
    pub fn drain(&self) -> Vec<Job> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<JobKey, Job>> {
        // A map stays whole whatever a holder of the lock did.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries out the jobs until `stop` is cancelled and none is left.
pub async fn run_writes(
    client: Client,
    queue: WriteQueue,
    done: mpsc::Sender<Written>,
    metrics: Metrics,
    stop: tokio_util::sync::CancellationToken,
) {
    let writer = Writer {
        apps: ApiResource::erase::<EdgeApp>(&()),
        nodes: ApiResource::erase::<EdgeNode>(&()),
        client,
        queue: queue.clone(),
        metrics,
    };
    let mut busy = BTreeSet::new();
    let mut running = JoinSet::new();
    loop {
        while running.len() < CONCURRENT
            && let Some((key, job)) = queue.take_next(&busy)
        {
            busy.insert(key.clone());
            let writer = writer.clone();
            running.spawn(async move { writer.carry_out(key, job).await });
        }
        if stop.is_cancelled() && running.is_empty() && queue.is_empty() {
            return;
        }
        tokio::select! {
            // All three are cancel-safe; a lost `notified` is made up for by looking at the queue again.
            Some(result) = running.join_next(), if !running.is_empty() => {
                if let Ok(written) = result {
                    busy.remove(&written.key);
                    // The hub may have ended already during shutdown.
                    let _ = done.send(written).await;
                }
            }
            () = queue.more.notified() => {}
            () = stop.cancelled(), if !stop.is_cancelled() => {}
        }
    }
}

#[derive(Clone)]
struct Writer {
    client: Client,
    apps: ApiResource,
    nodes: ApiResource,
    queue: WriteQueue,
    metrics: Metrics,
}

/// What a failed write means.
pub(super) enum Failure {
    /// The object is not there, or is another one by now: nothing to write to. For a creation: it is there already.
    Moot,
    /// The server will not take it however often it is asked.
    Refused,
    /// Another try may succeed.
    Passing,
}

impl Writer {
    /// Tries until the server has answered for good. A newer job for the object takes the place of one that failed.
    async fn carry_out(self, key: JobKey, mut job: Job) -> Written {
        let kind = job.kind();
        let mut failures = 0;
        let version = loop {
            let error = match self.write(&job).await {
                Ok(object) => {
                    self.metrics.write(kind, "ok");
                    break object.metadata.resource_version.and_then(|version| version.parse().ok());
                }
                Err(error) => error,
            };
            match classify(&error) {
                Failure::Moot => {
                    self.metrics.write(kind, "moot");
                    debug!("nothing to write for {key}: {}", Chain(&error));
                    break None;
                }
                Failure::Refused => {
                    self.metrics.write(kind, "refused");
                    warn!("the API server refused to write {key}: {}", Chain(&error));
                    break None;
                }
                Failure::Passing => {
                    self.metrics.write(kind, "retried");
                    failures += 1;
                    if failures == 1 {
                        warn!("failed to write {key}, trying again: {}", Chain(&error));
                    }
                }
            }
            tokio::time::sleep(delay::before_retry(failures)).await;
            job = self.queue.take(&key).unwrap_or(job);
        };
        Written { key, sequence: job.sequence(), version }
    }

    async fn write(&self, job: &Job) -> kube::Result<DynamicObject> {
        let patch = PatchParams::apply(FIELD_MANAGER).force();
        let nodes: Api<DynamicObject> = Api::all_with(self.client.clone(), &self.nodes);
        match job {
            Job::AppStatus { key, uid, sequence: _, status } => {
                let apps: Api<DynamicObject> =
                    Api::namespaced_with(self.client.clone(), key.namespace(), &self.apps);
                let body = body(&self.apps, key.name(), uid, status);
                apps.patch_status(key.name(), &patch, &Patch::Apply(&body)).await
            }
            Job::NodeStatus { node, uid, sequence: _, status } => {
                let body = body(&self.nodes, node.as_str(), uid, status);
                nodes.patch_status(node.as_str(), &patch, &Patch::Apply(&body)).await
            }
            Job::Register { node, labels } => {
                let mut object = DynamicObject::new(node.as_str(), &self.nodes).data(json!({"spec": {}}));
                object.metadata.labels = Some(labels.clone());
                let manager = Some(FIELD_MANAGER.to_owned());
                let create = PostParams { field_manager: manager, ..PostParams::default() };
                nodes.create(&create, &object).await
            }
        }
    }
}

fn body(resource: &ApiResource, name: &str, uid: &str, status: &impl serde::Serialize) -> serde_json::Value {
    json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "uid": uid},
        "status": status,
    })
}

pub(super) fn classify(error: &kube::Error) -> Failure {
    let kube::Error::Api(status) = error else {
        // No answer: the connection, or what stands between.
        return Failure::Passing;
    };
    match status.code {
        // Not found; and with the uid of a predecessor, or for a name that is taken: conflict.
        404 | 409 => Failure::Moot,
        // Rights are granted while we wait; the rest are the server's own troubles.
        401 | 403 | 408 | 429 | 500.. => Failure::Passing,
        _ => Failure::Refused,
    }
}
