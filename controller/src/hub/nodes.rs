//! The cache of EdgeNodes: objects, what their boxes told, and the sets that they shall have.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use skerry_api::{EdgeNodeSpec, EdgeNodeStatus};
use skerry_controller_core::node_status::{Link, NodeState};
use skerry_controller_core::placement::{Labels, Node, Verdict};
use skerry_controller_core::session::Input;
use skerry_controller_core::snapshot::desired_set;
use skerry_controller_core::transitions;
use skerry_terms::{AppKey, NodeName, labels, reasons};
use tokio::time::Instant;
use tracing::{info, warn};

use super::caches::{Kind, Listed};
use super::sessions::{FullReport, Live};
use super::status::Ledger;
use super::timers::Timer;
use super::{BACK_GRACE, Hub, START_GRACE};
use crate::k8s::{Job, JobKey, Seen, Watched};
use crate::readiness::Part;

/// A node: its object, its session, or both.
#[derive(Debug)]
pub struct NodeEntry {
    /// Absent until the object has shown up in the watch.
    pub object: Option<NodeObject>,
    /// The object's labels; empty without one.
    pub labels: Labels,
    pub state: NodeState,
    pub status: Ledger<EdgeNodeStatus>,
    pub live: Option<Live>,
    /// Its agent tells of transitions.
    pub tells_transitions: bool,
    /// What it has told of them.
    pub told: transitions::Ledger,
    /// Apps that a full report over several frames has not named yet.
    pub unconfirmed: BTreeSet<AppKey>,
    /// When the last session ended.
    pub last_seen: Option<Time>,
    /// How the node counts in the metrics.
    pub counted: Option<&'static str>,
}

/// What is needed of an EdgeNode object.
#[derive(Debug)]
pub struct NodeObject {
    pub uid: String,
    pub generation: Option<i64>,
    /// The annotation `skerry.dev/accept-past`.
    pub accept_past: Option<String>,
}

impl NodeEntry {
    pub fn new(state: NodeState) -> Self {
        Self {
            object: None,
            labels: Labels::new(),
            state,
            status: Ledger::default(),
            live: None,
            tells_transitions: false,
            told: transitions::Ledger::default(),
            unconfirmed: BTreeSet::new(),
            last_seen: None,
            counted: None,
        }
    }
}

impl Hub {
    pub(super) fn apply_nodes(&mut self, watched: Watched<Seen<EdgeNodeSpec, EdgeNodeStatus>>) {
        match watched {
            Watched::Listed { objects, position, list } => {
                let listed: BTreeSet<_> = objects.iter().filter_map(|seen| name(&seen.meta)).collect();
                let has_object =
                    |name: &&NodeName| self.nodes.get(*name).is_some_and(|node| node.object.is_some());
                let gone: Vec<_> = self
                    .nodes
                    .keys()
                    .filter(has_object)
                    .filter(|name| !listed.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().for_each(|name| self.forget_node(name));
                info!("{} EdgeNodes", objects.len());
                objects.into_iter().for_each(|seen| self.see_node(seen));
                self.out.readiness.set(Part::Nodes, true);
                if self.listed(Kind::Nodes, position, list) == Listed::First {
                    // Placement is known only now.
                    self.dirty_apps.extend(self.apps.keys().cloned());
                }
                self.register_strangers();
            }
            Watched::Applied { object, position } => {
                self.see_node(object);
                self.caches.move_on(Kind::Nodes, position);
            }
            Watched::Deleted { object, position } => {
                if let Some(name) = name(&object.meta) {
                    self.forget_node(&name);
                }
                self.caches.move_on(Kind::Nodes, position);
            }
            Watched::Position(position) => self.caches.move_on(Kind::Nodes, position),
            // Without nodes there is nothing to do; the watch tries on and says so in the log.
            Watched::Forbidden(_) => {}
        }
        self.moved_on();
    }

    fn see_node(&mut self, seen: Seen<EdgeNodeSpec, EdgeNodeStatus>) {
        let Some(name) = name(&seen.meta) else { return };
        let Seen { meta, version, spec, status } = seen;
        let uid = meta.uid.unwrap_or_default();
        let object_uid = uid.clone();
        let other = |node: &NodeEntry| node.object.as_ref().is_some_and(|object| object.uid != uid);
        if self.nodes.get(&name).is_some_and(other) {
            self.forget_node(&name);
        }
        let recalled = NodeState::recall(&status);
        let was_connected = recalled.is_connected();
        let entry = self.nodes.entry(name.clone()).or_insert_with(|| NodeEntry::new(recalled.clone()));
        let is_new = entry.object.is_none();
        let mut stall = None;
        if let (true, Some(live)) = (is_new, &entry.live) {
            // The agent came before the object was seen. What it said holds; the rest is what an earlier controller wrote, unless
            // the agent has said already that this is all.
            for (key, report) in recalled.apps.clone() {
                if live.full_report != FullReport::Complete
                    && let Entry::Vacant(vacant) = entry.state.apps.entry(key.clone())
                {
                    vacant.insert(report);
                    if live.full_report == FullReport::Begun {
                        entry.unconfirmed.insert(key);
                    }
                }
            }
            entry.state.transitions_dropped = recalled.transitions_dropped;
            stall.clone_from(&recalled.stall);
        }
        let replicas = &self.replicas;
        let of_another = |state: &NodeState| match &state.link {
            Link::Connected(session) if session.replica != self.out.replica => {
                replicas.get(&session.replica).is_some_and(|replica| replica.is_alive)
            }
            Link::Connected(_) | Link::Away(_) => false,
        };
        let mut expected = false;
        // While another replica that is alive has the session, what that one writes is the truth, and nothing here is.
        if !is_new && entry.live.is_none() && (of_another(&recalled) || of_another(&entry.state)) {
            self.dirty_apps.extend(entry.state.apps.keys().chain(recalled.apps.keys()).cloned());
            expected = recalled.is_connected();
            entry.state = recalled;
            entry.unconfirmed.clear();
        }
        let created = meta.creation_timestamp.map_or(0, |time| time.0.as_second());
        let new_labels = meta.labels.unwrap_or_default();
        let object = NodeObject {
            uid,
            generation: meta.generation,
            accept_past: meta.annotations.unwrap_or_default().remove(labels::ACCEPT_PAST),
        };
        let accepts = |object: &NodeObject| object.accept_past.clone();
        if is_new || entry.object.as_ref().and_then(accepts) != accepts(&object) {
            self.dirty_sets.insert(name.clone());
        }
        entry.object = Some(object);
        entry.status.seen(version, status);
        match spec {
            Ok(spec) => {
                entry.labels.clone_from(&new_labels);
                // What is there is what the object says: every controller that is as far comes to the same.
                self.board.set_node(&name, Some(Node::new(created, new_labels, &spec, entry.status.known())));
            }
            Err(error) => warn!("node={name} its spec cannot be read and stays as it was: {error}"),
        }
        self.dirty_nodes.insert(name.clone());
        if expected {
            self.timers.arm_once(Timer::Away(name.clone()), Instant::now() + START_GRACE);
        }
        if is_new && entry.live.is_some() && !was_connected {
            self.out.connected(&name, &object_uid);
        }
        if let Some(stall) = stall {
            self.feed(&name, Input::Recalled(stall));
        } else if is_new && entry.live.is_none() && entry.state.is_connected() {
            // An earlier controller had a session with it: it is expected back. When it was seen last is not known better than until when
            // that controller was alive.
            let until = match &entry.state.link {
                Link::Connected(session) => {
                    self.replicas.get(&session.replica).map(|replica| &replica.renewed)
                }
                Link::Away(_) => None,
            };
            let started = &self.started_at;
            entry.last_seen = Some(until.filter(|until| until.0 < started.0).unwrap_or(started).clone());
            let soonest = self.started + START_GRACE;
            self.timers.arm(Timer::Away(name), soonest.max(Instant::now() + BACK_GRACE));
        }
    }

    /// The object is gone. An agent whose session stands is sent away, and is created anew when it comes back.
    fn forget_node(&mut self, name: &NodeName) {
        let message = "the EdgeNode object was deleted; the node joins anew when it comes back";
        self.refuse(name, reasons::NODE_DELETED, message);
        let Some(entry) = self.nodes.remove(name) else {
            return;
        };
        for timer in
            [Timer::Away, Timer::Session, Timer::NodeStatus, Timer::Summary].map(|of| of(name.clone()))
        {
            self.timers.disarm(&timer);
        }
        self.out.writes.forget(&JobKey::NodeStatus(name.clone()));
        self.out.metrics.node_ready(entry.counted, None);
        self.dirty_apps.extend(entry.state.apps.into_keys());
        self.board.set_node(name, None);
    }

    /// Creates the objects of nodes that connected before it was known that they have none.
    fn register_strangers(&mut self) {
        let strangers = self.nodes.iter().filter(|(_, node)| node.object.is_none());
        for (name, node) in strangers {
            if let Some(live) = &node.live {
                self.register(name, &live.labels);
            }
        }
    }

    pub(super) fn register(&self, name: &NodeName, labels: &Labels) {
        info!("node={name} joins");
        self.out.writes.put(Job::Register { node: name.clone(), labels: labels.clone() });
    }

    /// Hands the node's desired set to its session.
    pub(super) fn settle_set(&mut self, name: &NodeName) {
        let Some(generation) = self.caches.generation() else {
            return;
        };
        let lists = self.lists();
        let Some(node) = self.nodes.get(name) else { return };
        let (Some(object), Some(_)) = (&node.object, &node.live) else {
            return;
        };
        let has = &node.state.apps;
        let waits = |(key, verdict): (&AppKey, &Verdict)| *verdict == Verdict::Waits && has.contains_key(key);
        if self.is_kept_back(name, node) || self.board.on_node(name).any(waits) {
            return;
        }
        let app = |key: &AppKey| self.apps.get(key).map(|entry| &entry.app);
        let input = match desired_set(app, self.board.on_node(name), has.keys(), super::LIMITS) {
            Ok(set) => {
                let accept_past = object.accept_past.clone();
                Input::Desired { generation, set: Arc::new(set), accept_past, lists }
            }
            Err(withheld) => Input::Withheld(withheld),
        };
        self.feed(name, input);
    }

    /// The node did not come back in time.
    pub(super) fn mark_away(&mut self, name: &NodeName) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        if node.live.is_some() || !node.state.is_connected() {
            return;
        }
        if let Link::Connected(session) = &node.state.link
            && session.replica != self.out.replica
            && self.replicas.get(&session.replica).is_some_and(|replica| replica.is_alive)
        {
            // Its session is with another replica.
            self.timers.arm(Timer::Away(name.clone()), Instant::now() + START_GRACE);
            return;
        }
        let of_another = match &node.state.link {
            Link::Connected(session) if session.replica != self.out.replica => {
                self.replicas.get(&session.replica).map(|replica| replica.renewed.clone())
            }
            Link::Connected(_) | Link::Away(_) => None,
        };
        let last_seen = of_another.or_else(|| node.last_seen.clone()).unwrap_or_else(super::now);
        node.state.mark_away(last_seen);
        self.dirty_nodes.insert(name.clone());
        self.dirty_apps.extend(node.state.apps.keys().cloned());
        self.concern_apps_of(name);
        if let Some(object) = self.nodes.get(name).and_then(|node| node.object.as_ref()) {
            let note = "the node has no session; its apps are unknown until it is back";
            self.out.events.node(name, &object.uid, true, "Disconnected", note);
        }
        info!("node={name} is away");
    }

    /// Marks the apps that are placed on a node: whether it can be asked has changed.
    pub(super) fn concern_apps_of(&mut self, name: &NodeName) {
        self.dirty_apps.extend(self.board.on_node(name).map(|(key, _)| key.clone()));
    }
}

/// A node that was never heard of.
pub fn unknown_node() -> NodeState {
    NodeState { link: Link::Away(None), ..NodeState::recall(&EdgeNodeStatus::default()) }
}

fn name(meta: &ObjectMeta) -> Option<NodeName> {
    meta.name.as_deref()?.parse().ok()
}
