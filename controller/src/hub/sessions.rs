//! The sessions: who is connected, what they say, what they are sent. One session per node; the newest wins.

use skerry_api::SessionInfo;
use skerry_controller_core::node_status::{Link, NodeState};
use skerry_controller_core::placement::Labels;
use skerry_controller_core::session::{Effect, Input, Session};
use skerry_proto::caps;
use skerry_terms::{AppKey, NodeName, reasons};
use tokio::time::Instant;
use tracing::{info, warn};

use super::caches::Kind;
use super::nodes::{NodeEntry, unknown_node};
use super::timers::Timer;
use super::{BACK_GRACE, Hub};
use crate::grpc::{FromSession, Greeting, Outgoing, Reply, Report, Said};
use crate::k8s::JobKey;

/// A session that stands.
#[derive(Debug)]
pub struct Live {
    /// Tells it from other sessions of the node.
    id: u64,
    pub reply: Reply,
    pub session: Session,
    /// For the object, if it has to be created.
    pub labels: Labels,
    pub full_report: FullReport,
}

/// Whether the session has told of all apps that the node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullReport {
    Absent,
    /// The rest follows in further frames.
    Begun,
    Complete,
}

impl Hub {
    pub(super) fn apply_session(&mut self, message: FromSession) {
        let FromSession { node, id, said } = message;
        if let Said::Hello(greeting, reply) = said {
            self.greet(node, id, *greeting, reply);
            return;
        }
        let is_this = |entry: &NodeEntry| entry.live.as_ref().is_some_and(|live| live.id == id);
        // Words of a session that was replaced or ended here say nothing any more.
        if !self.nodes.get(&node).is_some_and(is_this) {
            return;
        }
        match said {
            Said::Hello(..) => {}
            Said::Ack(ack) => self.feed(&node, ack),
            Said::Report(report) => self.report(&node, report),
            Said::Transitions(batch) => self.transitions(&node, &batch),
            Said::Gone => self.lose(&node),
        }
    }

    fn greet(&mut self, name: NodeName, id: u64, greeting: Greeting, reply: Reply) {
        let superseded = "another session of this node took over; is the agent running twice?";
        self.refuse(&name, reasons::SUPERSEDED, superseded);
        self.timers.disarm(&Timer::Away(name.clone()));
        let Greeting {
            node: _,
            tells_transitions,
            held,
            state_corrupt,
            labels,
            bad_labels,
            info,
            capacity,
            addresses,
        } = greeting;
        info!("node={name} connected, agent {}", info.agent_version);
        if !bad_labels.is_empty() {
            warn!("node={name} labels that Kubernetes does not take were dropped: {}", bad_labels.join(", "));
        }
        let entry = self.nodes.entry(name.clone()).or_insert_with(|| NodeEntry::new(unknown_node()));
        let was_connected = entry.state.is_connected();
        entry.tells_transitions = tells_transitions;
        entry.state.info = Some(info);
        entry.state.capacity = Some(capacity);
        entry.state.addresses = addresses;
        let since = match &entry.state.link {
            // A break too short to be marked is none.
            Link::Connected(session) if session.replica == self.out.replica => session.since.clone(),
            Link::Connected(_) | Link::Away(_) => super::now(),
        };
        entry.state.link = Link::Connected(SessionInfo { replica: self.out.replica.clone(), since });
        // Of what kept an earlier session from sending, here or at another replica, this one finds out itself what still holds.
        let stalls = [entry.state.stall.take(), NodeState::recall(entry.status.written()).stall];
        entry.live = Some(Live {
            id,
            reply,
            session: Session::new(name.clone()),
            labels,
            full_report: FullReport::Absent,
        });
        self.out.metrics.sessions.inc();
        if let (Some(object), false) = (&entry.object, was_connected) {
            self.out.connected(&name, &object.uid);
        }
        if let (Some(object), false) = (&entry.object, state_corrupt.is_empty()) {
            self.out.events.node(&name, &object.uid, true, reasons::STATE_CORRUPT, &state_corrupt);
        }
        let unregistered = entry.object.is_none() && self.caches.is_filled(Kind::Nodes);
        if let (true, Some(live)) = (unregistered, &entry.live) {
            let labels = live.labels.clone();
            self.register(&name, &labels);
        }
        self.feed(&name, Input::Hello { held, state_corrupt });
        for stall in stalls.into_iter().flatten() {
            self.feed(&name, Input::Recalled(stall));
        }
        if !was_connected {
            self.concern_apps_of(&name);
        }
        self.dirty_sets.insert(name.clone());
        self.dirty_nodes.insert(name);
    }

    /// Gives an input to a node's session and does what it says.
    pub(super) fn feed(&mut self, name: &NodeName, input: Input) {
        let now = Instant::now().duration_since(self.started);
        let Some(entry) = self.nodes.get_mut(name) else {
            return;
        };
        let Some(live) = &mut entry.live else { return };
        let effects = live.session.handle(input, now);
        if live.session.waits_for_generation() {
            self.waiting.insert(name.clone());
        } else {
            self.waiting.remove(name);
        }
        for effect in effects {
            let outgoing = match effect {
                Effect::Welcome => Outgoing::Welcome,
                Effect::Send(update) => {
                    let bytes: usize = update.apps.iter().map(|(_, payload)| payload.len()).sum();
                    let is_delta = update.base.is_some();
                    self.out.metrics.set_sent(is_delta, bytes as u64);
                    info!(
                        "node={name} {} of {} apps, {} removed, generation {}",
                        if is_delta { "delta" } else { "snapshot" },
                        update.apps.len(),
                        update.removed.len(),
                        update.generation
                    );
                    Outgoing::Update(Box::new(update))
                }
                Effect::Stall(stall) => {
                    if let Some(stall) = &stall {
                        warn!("node={name} {}: {}", stall.reason, stall.message);
                        if let Some(object) = &entry.object {
                            self.out.events.node(name, &object.uid, true, stall.reason, &stall.message);
                        }
                    }
                    entry.state.stall = stall;
                    self.dirty_nodes.insert(name.clone());
                    // Each of its apps names it, also one that cannot get there.
                    self.dirty_apps.extend(entry.state.apps.keys().cloned());
                    self.dirty_apps.extend(self.board.on_node(name).map(|(key, _)| key.clone()));
                    continue;
                }
                Effect::WakeAt(at) => {
                    self.timers.arm(Timer::Session(name.clone()), self.started + at);
                    continue;
                }
                Effect::Relist(round) => {
                    self.lists_wanted = self.lists_wanted.max(round);
                    continue;
                }
            };
            if live.reply.frames.try_send(outgoing).is_err() {
                warn!("node={name} session ended: the agent does not take what it is sent");
                self.out.metrics.sessions_broken.inc();
                self.lose(name);
                return;
            }
        }
    }

    fn report(&mut self, name: &NodeName, report: Report) {
        let Some(entry) = self.nodes.get_mut(name) else {
            return;
        };
        let Report { full, apps, docker, problems } = report;
        if let Some((docker, version)) = docker {
            if let (Some(info), false) = (&mut entry.state.info, version.is_empty()) {
                info.docker_version = version;
            }
            entry.state.docker = docker;
        }
        if let Some(problems) = problems {
            // A box that tells of transitions has told this already.
            if let (Some(object), false) = (&entry.object, entry.tells_transitions) {
                self.out.announce_problems(name, &object.uid, entry.state.problems.as_ref(), &problems);
            }
            entry.state.problems = Some(problems);
        }
        let mut changed: Vec<AppKey> = apps.iter().map(|(key, _)| key.clone()).collect();
        let mut full_report = entry.live.as_ref().map_or(FullReport::Absent, |live| live.full_report);
        if full {
            full_report = FullReport::Begun;
            entry.unconfirmed = entry.state.apps.keys().cloned().collect();
        }
        // A frame that is filled may be followed by the rest. To drop now what the rest confirms would show, and write, apps as
        // gone that are there.
        let more_may_follow = apps.len() >= caps::STATUS_APPS_PER_FRAME;
        for (key, report) in apps {
            entry.unconfirmed.remove(&key);
            match report {
                Some(report)
                    if entry.state.apps.len() < caps::APPS_MAX || entry.state.apps.contains_key(&key) =>
                {
                    entry.state.apps.insert(key, report);
                }
                Some(_) => warn!("node={name} reports more than {} apps; {key} is left out", caps::APPS_MAX),
                None => {
                    entry.state.apps.remove(&key);
                }
            }
        }
        if !more_may_follow {
            if full_report == FullReport::Begun {
                full_report = FullReport::Complete;
            }
            for key in std::mem::take(&mut entry.unconfirmed) {
                entry.state.apps.remove(&key);
                changed.push(key);
            }
        }
        if let Some(live) = &mut entry.live {
            live.full_report = full_report;
        }
        // A set that was withheld because of an app that the node has may be possible without it.
        let frozen = |key: &AppKey| self.apps.get(key).is_some_and(|app| app.app.is_frozen());
        if changed.iter().any(frozen) {
            self.dirty_sets.insert(name.clone());
        }
        self.dirty_apps.extend(changed);
        self.dirty_nodes.insert(name.clone());
    }

    /// The session is over; the node has a moment to come back before that counts.
    pub(super) fn lose(&mut self, name: &NodeName) {
        let Some(entry) = self.nodes.get_mut(name) else {
            return;
        };
        if entry.live.take().is_none() {
            return;
        }
        self.waiting.remove(name);
        self.out.metrics.sessions.dec();
        self.timers.disarm(&Timer::Session(name.clone()));
        entry.last_seen = Some(super::now());
        if entry.object.is_some() {
            self.timers.arm(Timer::Away(name.clone()), Instant::now() + BACK_GRACE);
        } else {
            self.out.writes.forget(&JobKey::Register(name.clone()));
            self.nodes.remove(name);
        }
    }

    /// Ends a node's session, if it has one, with a word for the agent.
    pub(super) fn refuse(&mut self, name: &NodeName, reason: &'static str, message: &str) {
        let Some(live) = self.nodes.get(name).and_then(|entry| entry.live.as_ref()) else {
            return;
        };
        info!("node={name} session ended: {reason}");
        let message = message.to_owned();
        // An agent that takes nothing does not learn why either.
        let _ = live.reply.frames.try_send(Outgoing::Refusal { reason, message });
        self.lose(name);
    }

    pub(super) fn end_all_sessions(&mut self) {
        let live = self.nodes.iter().filter(|(_, entry)| entry.live.is_some());
        let names: Vec<_> = live.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.refuse(
                &name,
                reasons::CONTROLLER_STOPPING,
                "the controller is being stopped; come back soon",
            );
        }
    }
}
