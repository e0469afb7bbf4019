//! The controller's numbers, in one place. Cheap to clone; every part counts on the same set.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Bounds of the reconcile histogram in seconds: a change should reach the wire within single milliseconds.
const RECONCILE_BUCKETS: [f64; 9] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];

/// All metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Sessions that stand.
    pub sessions: Gauge,
    nodes: Family<ReadyLabel, Gauge<i64, AtomicI64>>,
    updates: Family<UpdateLabel, Counter>,
    /// Payload bytes sent.
    pub bytes_sent: Counter,
    writes: Family<WriteLabels, Counter>,
    /// Events that did not fit the queue or were refused.
    pub events_dropped: Counter,
    /// What happened on boxes, by what became of it.
    transitions: Family<FateLabel, Counter>,
    /// Batches that were put off because the queue of Events was full.
    pub transitions_deferred: Counter,
    /// What gave way on boxes for want of room before it was told.
    pub transitions_dropped: Counter,
    watch_restarts: Family<KindLabel, Counter>,
    /// Sessions that were ended because the agent did not keep up or broke the protocol.
    pub sessions_broken: Counter,
    /// From a change in the hub to everything that follows from it.
    pub reconcile: Histogram,
    registry: Arc<Registry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadyLabel {
    ready: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpdateLabel {
    form: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FateLabel {
    fate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("skerry");
        let mut metrics = Self {
            sessions: Gauge::default(),
            nodes: Family::default(),
            updates: Family::default(),
            bytes_sent: Counter::default(),
            writes: Family::default(),
            events_dropped: Counter::default(),
            transitions: Family::default(),
            transitions_deferred: Counter::default(),
            transitions_dropped: Counter::default(),
            watch_restarts: Family::default(),
            sessions_broken: Counter::default(),
            reconcile: Histogram::new(RECONCILE_BUCKETS),
            registry: Arc::new(Registry::default()),
        };
        let m = &metrics;
        registry.register("sessions", "Node sessions that stand", m.sessions.clone());
        registry.register("nodes", "EdgeNodes by the status of their Ready condition", m.nodes.clone());
        registry.register("sets_sent", "Desired sets sent to nodes, as snapshot or delta", m.updates.clone());
        registry.register("payload_bytes_sent", "Bytes of app payloads sent to nodes", m.bytes_sent.clone());
        registry.register("api_writes", "Writes to the Kubernetes API by kind and result", m.writes.clone());
        registry.register(
            "events_dropped",
            "Kubernetes Events that were not published",
            m.events_dropped.clone(),
        );
        registry.register(
            "transitions",
            "What happened on boxes: shown as an Event, withheld from a flood of them, or in the status alone",
            m.transitions.clone(),
        );
        registry.register(
            "transitions_deferred",
            "Batches of transitions that were put off because the queue of Events was full",
            m.transitions_deferred.clone(),
        );
        registry.register(
            "transitions_dropped",
            "Transitions that gave way on boxes for want of room before they were told",
            m.transitions_dropped.clone(),
        );
        registry.register("watch_restarts", "Failures of the watches", m.watch_restarts.clone());
        registry.register(
            "sessions_broken",
            "Sessions ended because the agent was too slow or broke the protocol",
            m.sessions_broken.clone(),
        );
        registry.register(
            "reconcile_seconds",
            "From a batch of changes to the frames and writes that follow",
            m.reconcile.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }

    /// A node's Ready condition changed; `None` stands for no such node.
    pub fn node_ready(&self, before: Option<&'static str>, now: Option<&'static str>) {
        if before == now {
            return;
        }
        let gauge = |ready| self.nodes.get_or_create(&ReadyLabel { ready }).clone();
        if let Some(before) = before {
            gauge(before).dec();
        }
        if let Some(now) = now {
            gauge(now).inc();
        }
    }

    pub fn set_sent(&self, is_delta: bool, bytes: u64) {
        let form = if is_delta { "delta" } else { "snapshot" };
        self.updates.get_or_create(&UpdateLabel { form }).inc();
        self.bytes_sent.inc_by(bytes);
    }

    pub fn write(&self, kind: &'static str, result: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind, result }).inc();
    }

    /// Of new transitions, how many are shown and how many are withheld.
    pub fn transitions(&self, new: usize, shown: usize, withheld: usize) {
        let silent = new.saturating_sub(shown + withheld);
        for (fate, count) in [("shown", shown), ("withheld", withheld), ("status", silent)] {
            self.transitions.get_or_create(&FateLabel { fate }).inc_by(count as u64);
        }
    }

    pub fn watch_restarted(&self, kind: &'static str) {
        self.watch_restarts.get_or_create(&KindLabel { kind }).inc();
    }

    /// Everything as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
