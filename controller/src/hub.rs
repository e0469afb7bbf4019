//! The one owner of everything that the controller knows: the caches, the sessions, what was written. All sources become one
//! [`Event`]; [`Hub::apply`] takes it in without waiting, [`Hub::settle`] does what follows from a batch of them. Effects leave
//! through channels that never block, so a slow agent or API server holds up nobody.

mod apps;
mod nodes;
mod pace;
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
use skerry_controller_core::session::Lists;
use skerry_controller_core::snapshot::SetLimits;
use skerry_proto::caps;
use skerry_terms::{AppKey, Generation, NodeName};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::grpc::FromSession;
use crate::k8s::{EventSink, ListId, Watched, WriteQueue, Written};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
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
    /// How far the cache of each kind is. Absent until the first list.
    apps_at: Option<At>,
    nodes_at: Option<At>,
    /// The newest round of lists that somebody waits for.
    lists_wanted: u64,
    apps: BTreeMap<AppKey, AppEntry>,
    /// Nodes with an object, a session, or both.
    nodes: BTreeMap<NodeName, NodeEntry>,
    /// What the next [`Hub::settle`] looks at.
    dirty_sets: BTreeSet<NodeName>,
    dirty_nodes: BTreeSet<NodeName>,
    dirty_apps: BTreeSet<AppKey>,
    timers: Timers,
}

/// How far a cache is.
#[derive(Debug)]
struct At {
    position: u64,
    /// The list that it began with.
    list: ListId,
}

impl Hub {
    pub fn new(out: Outlets) -> Self {
        Self {
            out,
            started: Instant::now(),
            started_at: now(),
            apps_at: None,
            nodes_at: None,
            lists_wanted: 0,
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
        self.ask_for_lists();
        let nodes = std::mem::take(&mut self.dirty_nodes);
        nodes.iter().for_each(|node| self.settle_node(node, false));
        let apps = std::mem::take(&mut self.dirty_apps);
        apps.iter().for_each(|app| self.settle_app(app, false));
    }

    /// Where the caches stand. Absent until all of them are filled, from one cluster.
    fn generation(&self) -> Option<Generation> {
        let (apps, nodes) = (self.apps_at.as_ref()?, self.nodes_at.as_ref()?);
        let epoch = &apps.list.epoch;
        let positions = [(APPS.to_owned(), apps.position), (NODES.to_owned(), nodes.position)];
        // An API server whose uid is not a uid has no generations; nothing is sent then.
        (*epoch == nodes.list.epoch).then(|| Generation::new(epoch, positions).ok())?
    }

    /// Which rounds of lists were asked for and have come.
    fn lists(&self) -> Lists {
        let round = |at: &Option<At>| at.as_ref().map_or(0, |at| at.list.round);
        Lists { asked: *self.out.relist.borrow(), complete: round(&self.apps_at).min(round(&self.nodes_at)) }
    }

    /// Asks for a round of lists if somebody waits for one. One at a time, for all who wait.
    fn ask_for_lists(&self) {
        let Lists { asked, complete } = self.lists();
        if self.lists_wanted > asked && complete >= asked {
            self.out.relist.send_replace(asked + 1);
        }
    }

    /// The cache of a kind was filled from a list. A consistent list is the truth, even where it is older than what was seen
    /// before, or of another cluster.
    fn listed(&mut self, kind: &str, before: Option<At>, now: &At) {
        let same_cluster = before.as_ref().is_some_and(|before| before.list.epoch == now.list.epoch);
        if let Some(before) = before {
            if !same_cluster {
                let (old, new) = (&before.list.epoch, &now.list.epoch);
                error!("the API server is another cluster now: {new}, it was {old}");
                // The caches of the other kinds may follow the old one still.
                self.lists_wanted = self.lists_wanted.max(self.lists().asked + 1);
            } else if before.position > now.position {
                warn!("the API server has an older history of {kind} than before: was the cluster restored?");
            }
        }
        if !same_cluster {
            self.dirty_sets.extend(self.nodes.keys().cloned());
        }
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
