//! The one owner of everything that the controller knows: the caches, the sessions, what was written. All sources become one
//! [`Event`]; [`Hub::apply`] takes it in without waiting, [`Hub::settle`] does what follows from a batch of them. Effects leave
//! through channels that never block, so a slow agent or API server holds up nobody.

mod apps;
mod nodes;
mod sessions;
mod status;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use skerry_api::{EdgeAppSpec, EdgeAppStatus, EdgeNodeSpec, EdgeNodeStatus};
use skerry_controller_core::snapshot::SetLimits;
use skerry_proto::caps;
use skerry_terms::{AppKey, Generation, NodeName};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::grpc::FromSession;
use crate::k8s::{EventSink, Watched, WriteQueue, Written};
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};
use apps::AppEntry;
use nodes::NodeEntry;
use timers::Timers;

/// After a session broke, how long its node may take to come back before its apps count as unknown. An agent's first try comes
/// within a second, and a short break is not worth two writes.
const BACK_GRACE: Duration = Duration::from_secs(5);
/// After a start, how long nodes may take that were connected to the controller before: agents wait up to 30 s between tries.
const START_GRACE: Duration = Duration::from_secs(60);
/// Events taken in before what follows from them is done: bounds the delay of the first by the work of the rest.
const BATCH: usize = 256;
/// Plural names of the kinds, as generations carry them.
const APPS: &str = "edgeapps";
const NODES: &str = "edgenodes";

const LIMITS: SetLimits = SetLimits { apps: caps::APPS_MAX, bytes: caps::SET_MAX };

/// Everything that can happen to the hub.
#[derive(Debug)]
pub enum Event {
    /// The cluster was reached, and this is its identity.
    Epoch(String),
    Apps(Watched<EdgeAppSpec, EdgeAppStatus>),
    Nodes(Watched<EdgeNodeSpec, EdgeNodeStatus>),
    Session(FromSession),
    Written(Written),
    /// A timer that was armed has come due.
    Due,
    /// End all sessions.
    Stop,
}

/// Where events come from. All queues are bounded; senders wait when the hub is busy.
#[derive(Debug)]
pub struct Inbox {
    pub cluster: mpsc::Receiver<Event>,
    pub sessions: mpsc::Receiver<FromSession>,
    pub written: mpsc::Receiver<Written>,
    pub stop: CancellationToken,
}

/// Where effects go.
#[derive(Debug, Clone)]
pub struct Outlets {
    pub writes: WriteQueue,
    pub events: EventSink,
    /// Counts up when fresh lists are wanted.
    pub relist: watch::Sender<u64>,
    pub readiness: Readiness,
    pub metrics: Metrics,
    /// Name of this replica.
    pub replica: String,
}

/// See the module.
#[derive(Debug)]
pub struct Hub {
    out: Outlets,
    started: Instant,
    started_at: Time,
    epoch: Option<String>,
    /// How far the cache of each kind is. Absent until the first list.
    apps_position: Option<u64>,
    nodes_position: Option<u64>,
    apps: BTreeMap<AppKey, AppEntry>,
    /// Nodes with an object, a session, or both.
    nodes: BTreeMap<NodeName, NodeEntry>,
    /// What the next [`Hub::settle`] looks at.
    dirty_sets: BTreeSet<NodeName>,
    dirty_nodes: BTreeSet<NodeName>,
    dirty_apps: BTreeSet<AppKey>,
    timers: Timers,
}

impl Hub {
    pub fn new(out: Outlets) -> Self {
        Self {
            out,
            started: Instant::now(),
            started_at: now(),
            epoch: None,
            apps_position: None,
            nodes_position: None,
            apps: BTreeMap::new(),
            nodes: BTreeMap::new(),
            dirty_sets: BTreeSet::new(),
            dirty_nodes: BTreeSet::new(),
            dirty_apps: BTreeSet::new(),
            timers: Timers::default(),
        }
    }

    /// Runs until a stop was asked for.
    pub async fn run(mut self, mut inbox: Inbox) {
        loop {
            let event = self.next(&mut inbox).await;
            let begun = Instant::now();
            let stopping = matches!(event, Event::Stop);
            self.apply(event);
            // What has piled up meanwhile is taken in before anything is computed; what comes alone does not wait.
            for _ in 1..BATCH {
                let Some(event) = waiting(&mut inbox) else { break };
                self.apply(event);
            }
            self.settle();
            self.out.metrics.reconcile.observe(begun.elapsed().as_secs_f64());
            if stopping {
                return;
            }
        }
    }

    async fn next(&self, inbox: &mut Inbox) -> Event {
        let due = self.timers.next();
        // Cancel-safe: `recv` and `cancelled` take nothing when dropped.
        tokio::select! {
            () = inbox.stop.cancelled() => Event::Stop,
            Some(event) = inbox.cluster.recv() => event,
            Some(message) = inbox.sessions.recv() => Event::Session(message),
            Some(written) = inbox.written.recv() => Event::Written(written),
            () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => Event::Due,
        }
    }

    /// Takes an event in. Marks what it may concern; nothing is sent that depends on more than the event.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Epoch(epoch) => {
                info!("cluster {epoch}");
                self.epoch = Some(epoch);
                self.out.readiness.set(Part::Cluster, true);
                self.dirty_sets.extend(self.nodes.keys().cloned());
            }
            Event::Apps(watched) => self.apply_apps(watched),
            Event::Nodes(watched) => self.apply_nodes(watched),
            Event::Session(message) => self.apply_session(message),
            Event::Written(written) => self.apply_written(written),
            Event::Due => self.apply_due(),
            Event::Stop => self.end_all_sessions(),
        }
    }

    /// Does what follows from everything that was taken in: sends sets first, because somebody waits for a container, then
    /// writes statuses.
    pub fn settle(&mut self) {
        let sets = std::mem::take(&mut self.dirty_sets);
        sets.iter().for_each(|node| self.settle_set(node));
        let nodes = std::mem::take(&mut self.dirty_nodes);
        nodes.iter().for_each(|node| self.settle_node(node));
        let apps = std::mem::take(&mut self.dirty_apps);
        apps.iter().for_each(|app| self.settle_app(app));
    }

    /// Where the caches stand. Absent until all of them are filled.
    fn generation(&self) -> Option<Generation> {
        let positions = [(APPS.to_owned(), self.apps_position?), (NODES.to_owned(), self.nodes_position?)];
        // An API server whose uid is not a uid has no generations; nothing is sent then.
        Generation::new(self.epoch.as_deref()?, positions).ok()
    }

    /// A cache has moved on: sessions that wait for that hear of it.
    fn moved_on(&mut self) {
        let waiting = |(name, entry): (&NodeName, &NodeEntry)| {
            let live = entry.live.as_ref()?;
            live.session.waits_for_generation().then(|| name.clone())
        };
        self.dirty_sets.extend(self.nodes.iter().filter_map(waiting));
    }
}

fn waiting(inbox: &mut Inbox) -> Option<Event> {
    let Inbox { cluster, sessions, written, stop: _ } = inbox;
    let cluster = cluster.try_recv().ok();
    let session = || sessions.try_recv().ok().map(Event::Session);
    let written = || written.try_recv().ok().map(Event::Written);
    cluster.or_else(session).or_else(written)
}

/// The time, in whole seconds as Kubernetes keeps times.
fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
