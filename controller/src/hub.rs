//! The one owner of everything that the controller knows: the caches, the sessions, what was written. All sources become one
//! [`Event`]; [`Hub::apply`] takes it in without waiting, [`Hub::settle`] does what follows from a batch of them. Effects leave
//! through channels that never block, so a slow agent or API server holds up nobody.

mod apps;
mod caches;
mod config;
mod content;
mod nodes;
mod pace;
mod sessions;
mod status;
#[cfg(test)]
mod tests;
mod timers;
mod transitions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use skerry_api::{EdgeAppSpec, EdgeAppStatus, EdgeNodeSpec, EdgeNodeStatus};
use skerry_controller_core::placement::Board;
use skerry_controller_core::session::Lists;
use skerry_controller_core::snapshot::SetLimits;
use skerry_proto::caps;
use skerry_terms::{AppKey, NodeName};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::grpc::FromSession;
use crate::k8s::{
    ConfigKind, ConfigRead, ConfigSeen, EventSink, ListId, Replicas, Seen, Wanted, Watched, WriteQueue,
    Written,
};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use apps::AppEntry;
use caches::{Caches, Kind, Listed};
use config::Config;
use nodes::NodeEntry;
use timers::Timers;

/// After a session broke, how long its node may take to come back before its apps count as unknown. An agent's first try comes
/// within a second, and a short break is not worth two writes.
const BACK_GRACE: Duration = Duration::from_secs(5);
/// After a start, how long nodes may take that were connected to the controller before: agents wait up to 30 s between tries.
const START_GRACE: Duration = Duration::from_secs(60);
/// When the queue of Events is full, what is said of floods waits so long.
const SUMMARY_RETRY: Duration = Duration::from_secs(10);
/// Events taken in before what follows from them is done: bounds the delay of the first by the work of the rest.
const BATCH: usize = 256;
const LIMITS: SetLimits = SetLimits { apps: caps::APPS_MAX, bytes: caps::SET_MAX };

/// Everything that can happen to the hub.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "an event is moved once or twice and then taken apart")]
pub enum Event {
    Apps(Watched<Seen<EdgeAppSpec, EdgeAppStatus>>),
    Nodes(Watched<Seen<EdgeNodeSpec, EdgeNodeStatus>>),
    Config(ConfigKind, Watched<ConfigSeen>),
    ConfigRead(ConfigRead),
    Session(FromSession),
    Written(Written),
    /// What the Leases of the controller's replicas say.
    Replicas(Replicas),
    /// A timer that was armed has come due.
    Due,
    /// End all sessions.
    Stop,
}

/// Where events come from. All queues are bounded; senders wait when the hub is busy.
#[derive(Debug)]
pub struct Inbox {
    pub cluster: mpsc::Receiver<Event>,
    pub config_reads: mpsc::Receiver<ConfigRead>,
    pub sessions: mpsc::Receiver<FromSession>,
    pub written: mpsc::Receiver<Written>,
    pub stop: CancellationToken,
}

/// Where effects go.
#[derive(Debug, Clone)]
pub struct Outlets {
    pub writes: WriteQueue,
    pub events: EventSink,
    /// Which ConfigMaps and Secrets apps refer to.
    pub wanted: Wanted,
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
    /// How far the cache of each kind is.
    caches: Caches,
    /// The newest round of lists that somebody waits for.
    lists_wanted: u64,
    apps: BTreeMap<AppKey, AppEntry>,
    /// The controller's replicas, as their Leases tell.
    replicas: Replicas,
    /// Nodes with an object, a session, or both.
    nodes: BTreeMap<NodeName, NodeEntry>,
    config: Config,
    /// Where every app stands on every node.
    board: Board,
    /// Apps whose config is being read: what they concern is not sent yet.
    unread: BTreeSet<AppKey>,
    /// Nodes whose session wants to hear of every generation.
    waiting: BTreeSet<NodeName>,
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
            caches: Caches::default(),
            lists_wanted: 0,
            apps: BTreeMap::new(),
            replicas: Replicas::new(),
            nodes: BTreeMap::new(),
            config: Config::default(),
            board: Board::default(),
            unread: BTreeSet::new(),
            waiting: BTreeSet::new(),
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
            Some(answer) = inbox.config_reads.recv() => Event::ConfigRead(answer),
            Some(message) = inbox.sessions.recv() => Event::Session(message),
            Some(written) = inbox.written.recv() => Event::Written(written),
            () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => Event::Due,
        }
    }

    /// Takes an event in. Marks what it may concern; nothing is sent that depends on more than the event.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Apps(watched) => self.apply_apps(watched),
            Event::Nodes(watched) => self.apply_nodes(watched),
            Event::Config(kind, watched) => self.apply_config(kind, watched),
            Event::ConfigRead(answer) => self.apply_config_read(answer),
            Event::Session(message) => self.apply_session(message),
            Event::Written(written) => self.apply_written(written),
            Event::Replicas(replicas) => {
                // Of this one's own predecessor is known what its Lease said before this one renewed it.
                let own = self.replicas.remove_entry(&self.out.replica);
                self.replicas = replicas;
                self.replicas.extend(own);
            }
            Event::Due => self.apply_due(),
            Event::Stop => self.end_all_sessions(),
        }
    }

    /// Does what follows from everything that was taken in: sends sets first, because somebody waits for a container, then
    /// writes statuses.
    pub fn settle(&mut self) {
        let moved = self.board.settle();
        self.dirty_sets.extend(moved.nodes);
        self.dirty_apps.extend(moved.apps);
        let sets = std::mem::take(&mut self.dirty_sets);
        sets.iter().for_each(|node| self.settle_set(node));
        self.ask_for_lists();
        let nodes = std::mem::take(&mut self.dirty_nodes);
        nodes.iter().for_each(|node| self.settle_node(node, false));
        let apps = std::mem::take(&mut self.dirty_apps);
        apps.iter().for_each(|app| self.settle_app(app, false));
    }

    /// Which rounds of lists were asked for and have come.
    fn lists(&self) -> Lists {
        self.caches.lists(*self.out.relist.borrow())
    }

    /// Asks for a round of lists if somebody waits for one. One at a time, for all who wait.
    fn ask_for_lists(&self) {
        let Lists { asked, complete } = self.lists();
        if self.lists_wanted > asked && complete >= asked {
            self.out.relist.send_replace(asked + 1);
        }
    }

    /// The cache of a kind was filled from a list.
    fn listed(&mut self, kind: Kind, position: u64, list: ListId) -> Listed {
        let told = self.caches.list(kind, position, list);
        match told {
            Listed::Again => {}
            Listed::First => self.dirty_sets.extend(self.nodes.keys().cloned()),
            Listed::AnotherCluster => {
                // The caches of the other kinds may follow the old one still.
                self.lists_wanted = self.lists_wanted.max(self.lists().asked + 1);
                self.dirty_sets.extend(self.nodes.keys().cloned());
            }
        }
        told
    }

    /// A cache has moved on: sessions that wait for that hear of it, and nobody else does.
    fn moved_on(&mut self) {
        self.dirty_sets.extend(self.waiting.iter().cloned());
    }
}

fn waiting(inbox: &mut Inbox) -> Option<Event> {
    let Inbox { cluster, config_reads, sessions, written, stop: _ } = inbox;
    let cluster = cluster.try_recv().ok();
    let read = || config_reads.try_recv().ok().map(Event::ConfigRead);
    let session = || sessions.try_recv().ok().map(Event::Session);
    let written = || written.try_recv().ok().map(Event::Written);
    cluster.or_else(read).or_else(session).or_else(written)
}

/// The time, in whole seconds as Kubernetes keeps times.
fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
