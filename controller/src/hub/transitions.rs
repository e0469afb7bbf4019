//! What boxes tell afterwards: taken once, shown as Events with the time at which it happened, and acknowledged. What the queue of Events has
//! no room for is not acknowledged: the box keeps it and tells it again.

use k8s_openapi::jiff::Timestamp;
use skerry_controller_core::transitions::{Batch, Shown, Subject, Taken};
use skerry_terms::{AppKey, NodeName};
use tokio::time::Instant;
use tracing::warn;

use super::Hub;
use super::caches::Kind;
use super::timers::Timer;
use crate::grpc::Outgoing;
use crate::k8s::{About, Happened};

/// What is said of floods takes so many Events at most.
const SUMMARIES: usize = 2;

impl Hub {
    pub(super) fn transitions(&mut self, name: &NodeName, batch: &Batch) {
        let now = Instant::now().duration_since(self.started);
        let Some(entry) = self.nodes.get_mut(name) else { return };
        let (Some(live), Some(last)) = (&entry.live, batch.items.last()) else { return };
        // Without the objects there is nothing that an Event could be about. They come soon.
        let unknown = entry.object.is_none() || !self.caches.has(Kind::Apps);
        if unknown || self.out.events.room() < batch.items.len() + SUMMARIES {
            self.out.metrics.transitions_deferred.inc();
            return;
        }
        // Taken in and acknowledged, or neither.
        let frames = live.reply.frames.clone();
        let Ok(ack) = frames.try_reserve() else {
            warn!("node={name} session ended: the agent does not take what it is sent");
            self.out.metrics.sessions_broken.inc();
            self.lose(name);
            return;
        };
        let wall = Timestamp::now().as_millisecond();
        let Taken { shown, withheld, new } = entry.told.take(name, batch, wall, now);
        ack.send(Outgoing::Told { run: batch.run, upto: last.sequence });
        self.out.metrics.transitions(new, shown.len(), withheld);
        let before = entry.state.transitions_dropped;
        // Fewer than before: the box has lost its count with its disk.
        let dropped = if batch.dropped >= before { batch.dropped - before } else { batch.dropped };
        if batch.dropped != before {
            entry.state.transitions_dropped = batch.dropped;
            self.dirty_nodes.insert(name.clone());
        }
        entry.told.dropped(dropped);
        self.out.metrics.transitions_dropped.inc_by(dropped);
        self.show(name, shown);
        self.summarize(name);
    }

    /// Says of a node's floods what there is room for, now and later.
    pub(super) fn summarize(&mut self, name: &NodeName) {
        let now = Instant::now().duration_since(self.started);
        let Some(entry) = self.nodes.get_mut(name) else { return };
        if entry.object.is_none() || self.out.events.room() < SUMMARIES {
            return self.timers.arm(Timer::Summary(name.clone()), Instant::now() + super::SUMMARY_RETRY);
        }
        let shown = entry.told.summaries(Timestamp::now().as_millisecond(), now);
        if let Some(at) = entry.told.wake_at() {
            self.timers.arm(Timer::Summary(name.clone()), self.started + at);
        }
        self.show(name, shown);
    }

    fn show(&self, name: &NodeName, shown: Vec<Shown>) {
        let Some(node) = self.nodes.get(name).and_then(|entry| entry.object.as_ref()) else { return };
        for Shown { subject, uid, reason, note, warning, count, first, last, id } in shown {
            let (about, note) = match subject {
                Subject::Node(_) => (About::Node(name.clone(), node.uid.clone()), note),
                Subject::App(key) | Subject::Container(key, _) => match self.uid_on(name, &key, &uid) {
                    Some(uid) => (About::App(key, uid), note),
                    // The box is what is left to look at.
                    None => (About::Node(name.clone(), node.uid.clone()), format!("{key}: {note}")),
                },
            };
            self.out.events.happened(about, warning, &reason, &note, Happened { id, first, last, count });
        }
    }

    /// The uid of an app that is on the node. A box has no say about other objects, be they of another app, in another namespace, or a
    /// predecessor of the same name.
    fn uid_on(&self, name: &NodeName, key: &AppKey, told: &str) -> Option<String> {
        self.board.verdict(name, key)?;
        let known = &self.apps.get(key)?.app.uid;
        (told.is_empty() || told == known).then(|| known.clone())
    }
}
