//! Statuses: computed when something that they speak of changed, written when that is worth it.

use skerry_api::{EdgeAppStatus, EdgeNodeStatus};
use skerry_controller_core::aggregate::{NodeView, Unplaced, app_status};
use skerry_controller_core::node_status::{Link, node_status};
use skerry_controller_core::placement::Verdict;
use skerry_controller_core::settled::{Write, app_write, node_write};
use skerry_terms::{AppKey, NodeName, Problems, reasons};
use tokio::time::Instant;

use super::Hub;
use super::caches::Kind;
use super::pace::Pace;
use super::timers::Timer;
use crate::k8s::{Job, JobKey, Written};

/// What an object's status says, as far as is known: what the API server told, and what is on its way to it.
#[derive(Debug, Default)]
pub struct Ledger<T> {
    known: T,
    /// resourceVersion at which the known status was seen.
    version: u64,
    /// The newest write that has not ended, and its number.
    sent: Option<(u64, T)>,
    sequence: u64,
    pace: Pace,
}

impl<T: Clone> Ledger<T> {
    /// The watch told. A status older than our own last write is old news.
    pub fn seen(&mut self, version: u64, status: T) {
        if version >= self.version {
            (self.version, self.known) = (version, status);
        }
    }

    /// What the object says, as far as the API server has told.
    pub fn known(&self) -> &T {
        &self.known
    }

    /// What a new status is compared with.
    pub fn written(&self) -> &T {
        self.sent.as_ref().map_or(&self.known, |(_, status)| status)
    }

    fn send(&mut self, status: &T) -> u64 {
        self.sequence += 1;
        self.pace.spend(Instant::now());
        self.sent = Some((self.sequence, status.clone()));
        self.sequence
    }

    /// Until when a write has to wait. None: not at all.
    fn wait(&self, when: Write, lasted: bool) -> Option<Instant> {
        let now = Instant::now();
        let wanted = match when {
            Write::After(wait) if !lasted => now + wait,
            Write::Never | Write::Now | Write::After(_) => now,
        };
        Some(self.pace.next(wanted)).filter(|at| *at > now)
    }

    fn ended(&mut self, sequence: u64, version: Option<u64>) {
        if let Some((_, status)) = self.sent.take_if(|(sent, _)| *sent == sequence)
            && let Some(version) = version
        {
            self.seen(version, status);
        }
    }
}

impl Hub {
    /// Writes a status, now or later. What has `lasted` is worth a write whatever it is by now, unless it is back to what is written.
    pub(super) fn settle_node(&mut self, name: &NodeName, lasted: bool) {
        let Some((status, when)) = self.node_status(name) else {
            return;
        };
        let timer = Timer::NodeStatus(name.clone());
        match when {
            Write::Never => self.timers.disarm(&timer),
            Write::Now | Write::After(_) => {
                let ledger = self.nodes.get(name).map(|entry| &entry.status);
                match ledger.and_then(|ledger| ledger.wait(when, lasted)) {
                    Some(at) => self.timers.arm_once(timer, at),
                    None => self.write_node(name, status),
                }
            }
        }
    }

    fn node_status(&mut self, name: &NodeName) -> Option<(EdgeNodeStatus, Write)> {
        let node = self.nodes.get_mut(name)?;
        let object = node.object.as_ref()?;
        let status = node_status(&node.state, object.generation, node.status.written(), &super::now());
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let ready = match ready.map(|condition| condition.status.as_str()) {
            Some("True") => "true",
            Some("False") => "false",
            Some(_) | None => "unknown",
        };
        self.out.metrics.node_ready(node.counted.replace(ready), Some(ready));
        let when = node_write(node.status.written(), &status);
        Some((status, when))
    }

    fn write_node(&mut self, name: &NodeName, status: EdgeNodeStatus) {
        self.timers.disarm(&Timer::NodeStatus(name.clone()));
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(object) = &node.object else { return };
        let job = Job::NodeStatus {
            node: name.clone(),
            uid: object.uid.clone(),
            sequence: node.status.send(&status),
            status: Box::new(status),
        };
        self.out.writes.put(job);
    }

    pub(super) fn settle_app(&mut self, key: &AppKey, lasted: bool) {
        let Some((status, when)) = self.app_status(key) else {
            return;
        };
        let timer = Timer::AppStatus(key.clone());
        match when {
            Write::Never => self.timers.disarm(&timer),
            Write::Now | Write::After(_) => {
                let ledger = self.apps.get(key).map(|entry| &entry.status);
                match ledger.and_then(|ledger| ledger.wait(when, lasted)) {
                    Some(at) => self.timers.arm_once(timer, at),
                    None => self.write_app(key, status),
                }
            }
        }
    }

    fn app_status(&self, key: &AppKey) -> Option<(EdgeAppStatus, Write)> {
        // Before the nodes are known every app would seem to run nowhere.
        if !self.caches.is_filled(Kind::Nodes) {
            return None;
        }
        let entry = self.apps.get(key)?;
        let app = &entry.app;
        let (mut placed, mut barred) = (Vec::new(), Vec::new());
        for (name, node) in self.nodes.iter().filter(|(_, node)| node.object.is_some()) {
            let report = node.state.apps.get(key);
            match self.board.verdict(name, key) {
                Some(Verdict::Barred(obstacle)) => {
                    barred.push((name, &**obstacle));
                    continue;
                }
                Some(Verdict::Runs { .. } | Verdict::Waits) => {}
                None if app.is_frozen() && report.is_some() => {}
                None => continue,
            }
            let (connected, last_seen) = match &node.state.link {
                Link::Connected(_) => (true, None),
                Link::Away(last_seen) => (false, last_seen.as_ref()),
            };
            placed.push(NodeView { name, connected, report, last_seen, stall: node.state.stall.as_ref() });
        }
        let unplaced = Unplaced { barred, missing: self.board.missing(key) };
        let status = app_status(app, &placed, unplaced, entry.status.written(), &super::now());
        let when = app_write(entry.status.written(), &status);
        Some((status, when))
    }

    fn write_app(&mut self, key: &AppKey, status: EdgeAppStatus) {
        self.timers.disarm(&Timer::AppStatus(key.clone()));
        let Some(entry) = self.apps.get_mut(key) else {
            return;
        };
        let nodes = &self.nodes;
        let tells = |node: &str| {
            let node = node.parse().ok().and_then(|name: NodeName| nodes.get(&name));
            node.is_some_and(|node| node.tells_transitions)
        };
        self.out.announce(key, &entry.app.uid, entry.status.written(), &status, tells);
        let job = Job::AppStatus {
            key: key.clone(),
            uid: entry.app.uid.clone(),
            sequence: entry.status.send(&status),
            status: Box::new(status),
        };
        self.out.writes.put(job);
    }

    pub(super) fn apply_written(&mut self, written: Written) {
        let Written { key, sequence, version } = written;
        match key {
            JobKey::AppStatus(key) => {
                if let Some(entry) = self.apps.get_mut(&key) {
                    entry.status.ended(sequence, version);
                }
            }
            JobKey::NodeStatus(name) => {
                if let Some(entry) = self.nodes.get_mut(&name) {
                    entry.status.ended(sequence, version);
                }
            }
            // The object shows up in the watch.
            JobKey::Register(_) => {}
        }
    }

    pub(super) fn apply_due(&mut self) {
        let now = Instant::now();
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Away(name) => self.mark_away(&name),
                Timer::Session(name) => {
                    self.dirty_sets.insert(name);
                }
                Timer::NodeStatus(name) => self.settle_node(&name, true),
                Timer::AppStatus(key) => self.settle_app(&key, true),
                Timer::Summary(name) => self.summarize(&name),
            }
        }
    }
}

impl super::Outlets {
    pub(super) fn connected(&self, name: &NodeName, uid: &str) {
        self.events.node(name, uid, false, "Connected", "a session with the node stands");
    }

    /// Tells what has newly become wrong with a box, and what no longer is.
    pub(super) fn announce_problems(
        &self,
        node: &NodeName,
        uid: &str,
        before: Option<&Problems>,
        now: &Problems,
    ) {
        let reason = |problems: Option<&Problems>, kind| {
            problems.and_then(|problems| problems.get(&kind)).map(|problem| problem.reason.clone())
        };
        for (kind, problem) in now {
            if reason(before, *kind).as_deref() != Some(&problem.reason) {
                self.events.node(node, uid, true, &problem.reason, &format!("{kind}: {}", problem.message));
            }
        }
        for kind in before.into_iter().flat_map(Problems::keys).filter(|kind| !now.contains_key(kind)) {
            self.events.node(node, uid, false, reasons::NO_PROBLEM, &format!("{kind} is over"));
        }
    }

    /// Tells an app's turning points as Events. What fails on a node whose box `tells` of it itself, with the time at which it happened, is
    /// not told twice.
    fn announce(
        &self,
        key: &AppKey,
        uid: &str,
        before: &EdgeAppStatus,
        now: &EdgeAppStatus,
        tells: impl Fn(&str) -> bool,
    ) {
        let find = |status: &EdgeAppStatus, kind: &str| {
            let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
            condition.map(|c| (c.status == "True", c.reason.clone(), c.message.clone()))
        };
        let holds = |status, kind| find(status, kind).is_some_and(|(holds, ..)| holds);
        let known = |failure: &&skerry_api::NodeFailure| {
            let same =
                |old: &skerry_api::NodeFailure| old.node == failure.node && old.reason == failure.reason;
            !before.failures.iter().any(same)
        };
        for failure in now.failures.iter().filter(known).filter(|failure| !tells(&failure.node)) {
            let note = format!("{}: {}", failure.node, failure.message);
            self.events.app(key, uid, true, &failure.reason, &note);
        }
        let told = |new: &&skerry_api::NodeNotPlaceable| {
            let same = |old: &skerry_api::NodeNotPlaceable| old.node == new.node && old.reason == new.reason;
            !before.not_placeable.iter().any(same)
        };
        for node in now.not_placeable.iter().filter(told) {
            let note = format!("{} cannot have the app: {}", node.node, node.message);
            // A node that its owner keeps free is nothing to be warned of.
            let intended = [reasons::TAINTED, reasons::UNSCHEDULABLE].contains(&node.reason.as_str());
            self.events.app(key, uid, !intended, &node.reason, &note);
        }
        if holds(now, "Stalled")
            && !holds(before, "Stalled")
            && let Some((_, reason, message)) = find(now, "Stalled")
        {
            self.events.app(key, uid, true, &reason, &message);
        }
        let target =
            |status: &EdgeAppStatus| status.rollout.as_ref().map(|rollout| rollout.target_revision.clone());
        let settled = holds(now, "Ready");
        if settled
            && (!holds(before, "Ready") || target(before) != target(now))
            && let Some((_, reason, message)) = find(now, "Ready")
            && reason != reasons::NO_MATCHING_NODES
        {
            self.events.app(key, uid, false, reasons::ROLLED_OUT, &message);
        }
    }
}
