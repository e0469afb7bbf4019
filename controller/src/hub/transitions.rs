//! What boxes tell afterwards: taken once, shown as Events with the time at which it happened, and acknowledged. What the queue of Events has
//! no room for is not acknowledged: the box keeps it and tells it again.

use k8s_openapi::jiff::Timestamp;
use skerry_controller_core::transitions::{Batch, Shown, Subject, Taken, time};
use skerry_terms::{AppKey, NodeName, reasons};
use tokio::time::Instant;
use tracing::warn;

use super::Hub;
use crate::grpc::Outgoing;
use crate::k8s::{About, Happened};

impl Hub {
    pub(super) fn transitions(&mut self, name: &NodeName, batch: &Batch) {
        let now = Instant::now().duration_since(self.started);
        let Some(entry) = self.nodes.get_mut(name) else { return };
        let (Some(live), Some(last)) = (&entry.live, batch.items.last()) else { return };
        // Without the object there is nothing that an Event could be about. It comes soon.
        let Some(object) = &entry.object else { return };
        if self.out.events.room() < batch.items.len() + 2 {
            self.out.metrics.transitions_deferred.inc();
            return;
        }
        let wall = Timestamp::now().as_millisecond();
        let Taken { shown, withheld, new } = entry.told.take(name, batch, wall, now);
        let ack = Outgoing::Told { run: batch.run, upto: last.sequence };
        if live.reply.frames.try_send(ack).is_err() {
            warn!("node={name} session ended: the agent does not take what it is sent");
            self.out.metrics.sessions_broken.inc();
            self.lose(name);
            return;
        }
        self.out.metrics.transitions(new, shown.len(), withheld.map_or(0, |(count, ..)| count));
        let node = || About::Node(name.clone(), object.uid.clone());
        for Shown { subject, uid, reason, note, warning, count, first, last, id } in shown {
            let known = |key: &AppKey| self.apps.get(key).map(|entry| entry.app.uid.clone());
            let about = match subject {
                Subject::Node(_) => node(),
                Subject::App(key) | Subject::Container(key, _) => {
                    let uid = Some(uid).filter(|uid| !uid.is_empty()).or_else(|| known(&key));
                    // Of an app that nobody knows any more, the box is what is left to look at.
                    uid.map_or_else(node, |uid| About::App(key, uid))
                }
            };
            self.out.events.happened(about, warning, &reason, &note, Happened { id, first, last, count });
        }
        if let Some((count, from, to)) = withheld {
            let note = format!(
                "{count} more things happened from {} to {} than are shown as Events",
                time(from),
                time(to)
            );
            self.out.events.node(name, &object.uid, false, reasons::MORE_HAPPENED, &note);
        }
        let before = entry.state.transitions_dropped;
        // Fewer than before: the box has lost its count with its disk.
        let dropped = if batch.dropped >= before { batch.dropped - before } else { batch.dropped };
        if batch.dropped != before {
            entry.state.transitions_dropped = batch.dropped;
            self.dirty_nodes.insert(name.clone());
        }
        if dropped > 0 {
            self.out.metrics.transitions_dropped.inc_by(dropped);
            let note = format!(
                "{dropped} things that happened while the box could not tell did not fit what it keeps"
            );
            self.out.events.node(name, &object.uid, true, reasons::TRANSITIONS_DROPPED, &note);
        }
    }
}
