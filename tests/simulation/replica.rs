//! A replica of the controller: caches that lag behind the API, and the real cores for placement, sets, sessions and statuses. What is around
//! them is the controller's hub in small.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use skerry_agent_core::{AckOutcome, AppStatus, Frame, Outgoing};
use skerry_api::{AppReport, EdgeAppStatus, EdgeNodeSpec, EdgeNodeStatus, NodeInfo, SessionInfo};
use skerry_controller_core::aggregate::{NodeView, Unplaced, app_status};
use skerry_controller_core::node_status::{Docker, Link as NodeLink, NodeState, node_status};
use skerry_controller_core::placement::{App, Board, Node, Verdict};
use skerry_controller_core::session::{Effect, Held, Input, Lists, Outcome, Session};
use skerry_controller_core::settled::{Write, node_write};
use skerry_controller_core::snapshot::{SetLimits, desired_set};
use skerry_terms::{AppKey, Generation, NodeName, Phase, reasons};

use crate::boxes::Sent;
use crate::cluster::{Change, Cluster, Kind, NodeObject};
use crate::content;
use crate::link::Link;

const LIMITS: SetLimits = SetLimits { apps: 16, bytes: 4096 };
/// After a session broke, how long its node may take to come back before its apps count as unknown.
pub const BACK_GRACE: Duration = Duration::from_secs(5);
/// The same for nodes that an earlier life of the replica had.
pub const START_GRACE: Duration = Duration::from_secs(60);

/// What a replica works on.
#[derive(Debug)]
pub struct Around<'a> {
    pub cluster: &'a mut Cluster,
    pub links: &'a mut BTreeMap<u64, Link>,
    pub sent: &'a mut Sent,
    pub now: Duration,
}

/// How far the cache of a kind is.
#[derive(Debug, Clone)]
struct At {
    position: u64,
    lineage: u64,
    epoch: String,
    round: u64,
}

#[derive(Debug)]
struct Entry {
    object: Option<NodeObject>,
    state: NodeState,
    written: EdgeNodeStatus,
    live: Option<Live>,
    unconfirmed: BTreeSet<AppKey>,
    last_seen: Option<Time>,
    away_at: Option<Duration>,
    wake_at: Option<Duration>,
}

#[derive(Debug)]
struct Live {
    link: u64,
    session: Session,
    full_report: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Replica {
    name: String,
    at: BTreeMap<Kind, At>,
    asked: u64,
    lists_wanted: u64,
    apps: BTreeMap<AppKey, App>,
    nodes: BTreeMap<NodeName, Entry>,
    board: Board,
    waiting: BTreeSet<NodeName>,
    dirty: BTreeSet<NodeName>,
}

pub fn time(now: Duration) -> Time {
    let second = i64::try_from(now.as_secs()).unwrap_or_default();
    Time(Timestamp::from_second(1_700_000_000 + second).unwrap_or_default())
}

impl Replica {
    pub fn new(name: String) -> Self {
        Self {
            name,
            at: BTreeMap::new(),
            asked: 0,
            lists_wanted: 0,
            apps: BTreeMap::new(),
            nodes: BTreeMap::new(),
            board: Board::default(),
            waiting: BTreeSet::new(),
            dirty: BTreeSet::new(),
        }
    }

    fn generation(&self) -> Option<Generation> {
        let epoch = &self.at.get(&Kind::Apps)?.epoch;
        let position = |kind: Kind| {
            let at = self.at.get(&kind).filter(|at| at.epoch == *epoch)?;
            Some((kind.plural().to_owned(), at.position))
        };
        let positions: Option<Vec<_>> = Kind::ALL.into_iter().map(position).collect();
        Generation::new(epoch, positions?).ok()
    }

    fn lists(&self) -> Lists {
        let round = |kind: Kind| self.at.get(&kind).map_or(0, |at| at.round);
        let complete = Kind::ALL.into_iter().map(round).min().unwrap_or_default();
        Lists { asked: self.asked, complete }
    }

    /// True if the cache of a kind has more to hear.
    pub fn lags(&self, kind: Kind, cluster: &Cluster) -> bool {
        self.at.get(&kind).is_none_or(|at| {
            at.lineage != cluster.lineage
                || at.round < self.asked
                || cluster.after(kind, at.position).is_some()
        })
    }

    /// A consistent list fills the cache of a kind.
    pub fn list(&mut self, kind: Kind, around: &mut Around<'_>) -> Result<()> {
        let cluster = &*around.cluster;
        let at = At {
            position: cluster.version,
            lineage: cluster.lineage,
            epoch: cluster.epoch.clone(),
            round: self.asked,
        };
        let before = self.at.insert(kind, at.clone());
        let another = before.as_ref().is_some_and(|before| before.epoch != at.epoch);
        match kind {
            Kind::Apps => {
                let gone: Vec<_> =
                    self.apps.keys().filter(|key| !cluster.apps.contains_key(key)).cloned().collect();
                let all: Vec<_> = cluster.apps.iter().map(|(key, app)| (key.clone(), app.clone())).collect();
                gone.into_iter().for_each(|key| self.see_app(key, None));
                for (key, object) in all {
                    self.see_app(
                        key.clone(),
                        Some(content::placed_app(
                            &key,
                            &object.uid,
                            object.generation,
                            object.created,
                            object.version,
                        )?),
                    );
                }
            }
            Kind::Nodes => {
                let has_object = |name: &&NodeName| self.nodes.get(*name).is_some_and(|n| n.object.is_some());
                let known = self.nodes.keys().filter(has_object);
                let gone: Vec<_> = known.filter(|name| !cluster.nodes.contains_key(*name)).cloned().collect();
                let all: Vec<_> =
                    cluster.nodes.iter().map(|(name, node)| (name.clone(), node.clone())).collect();
                gone.iter().for_each(|name| self.forget_node(name, around.links));
                for (name, object) in all {
                    self.see_node(name, object, around)?;
                }
                // Who came before it was known that they have no object.
                let strangers: Vec<_> = self
                    .nodes
                    .iter()
                    .filter(|(_, node)| node.object.is_none())
                    .map(|(name, _)| name.clone())
                    .collect();
                strangers.iter().for_each(|name| around.cluster.join(name, Default::default()));
            }
        }
        if before.is_none() || another {
            self.dirty.extend(self.nodes.keys().cloned());
        }
        if another {
            self.lists_wanted = self.lists_wanted.max(self.asked + 1);
        }
        self.moved_on(around)
    }

    /// The watch of a kind brings some events; one that is broken lists anew.
    pub fn watch(&mut self, kind: Kind, events: usize, around: &mut Around<'_>) -> Result<()> {
        let Some(at) = self.at.get(&kind) else { return self.list(kind, around) };
        if at.lineage != around.cluster.lineage || at.round < self.asked {
            return self.list(kind, around);
        }
        let mut position = at.position;
        for _ in 0..events {
            let Some((version, change)) = around.cluster.after(kind, position).cloned() else {
                // A bookmark.
                position = around.cluster.version;
                break;
            };
            position = version;
            match change {
                Change::App(key, object) => {
                    let app = object
                        .map(|o| content::placed_app(&key, &o.uid, o.generation, o.created, o.version))
                        .transpose()?;
                    self.see_app(key, app);
                }
                Change::Node(name, Some(object)) => self.see_node(name, object, around)?,
                Change::Node(name, None) => self.forget_node(&name, around.links),
            }
        }
        if let Some(at) = self.at.get_mut(&kind) {
            at.position = position;
        }
        self.moved_on(around)
    }

    fn moved_on(&mut self, around: &mut Around<'_>) -> Result<()> {
        self.dirty.extend(self.waiting.iter().cloned());
        self.settle(around)
    }

    fn see_app(&mut self, key: AppKey, app: Option<App>) {
        self.board.set_app(&key, app.as_ref().and_then(App::demand));
        // What it is may change without where it runs.
        let on = self.nodes.keys().filter(|name| self.board.verdict(name, &key).is_some());
        self.dirty.extend(on.cloned());
        match app {
            Some(app) => self.apps.insert(key, app),
            None => self.apps.remove(&key),
        };
    }

    fn see_node(&mut self, name: NodeName, object: NodeObject, around: &mut Around<'_>) -> Result<()> {
        let other = |entry: &Entry| entry.object.as_ref().is_some_and(|old| old.uid != object.uid);
        if self.nodes.get(&name).is_some_and(other) {
            self.forget_node(&name, around.links);
        }
        let recalled = NodeState::recall(&object.status);
        let entry = self.nodes.entry(name.clone()).or_insert_with(|| Entry::new(recalled.clone()));
        let is_new = entry.object.is_none();
        if is_new || entry.object.as_ref().map(|old| &old.accept_past) != Some(&object.accept_past) {
            self.dirty.insert(name.clone());
        }
        let mut stall = None;
        if is_new && let Some(live) = &entry.live {
            for (key, report) in recalled.apps {
                if !live.full_report {
                    entry.state.apps.entry(key).or_insert(report);
                }
            }
            stall = recalled.stall;
        }
        if is_new
            && entry.live.is_none()
            && entry.state.is_connected()
            && self.name == session_of(&object.status)
        {
            entry.last_seen = Some(time(around.now));
            entry.away_at = Some(around.now + START_GRACE);
        }
        entry.written = object.status.clone();
        let node = Node::new(object.created, object.labels.clone(), &EdgeNodeSpec::default(), &object.status);
        self.board.set_node(&name, Some(node));
        entry.object = Some(object);
        if let Some(stall) = stall {
            self.feed(&name, Input::Recalled(stall), around)?;
        }
        Ok(())
    }

    fn forget_node(&mut self, name: &NodeName, links: &mut BTreeMap<u64, Link>) {
        self.refuse(name, reasons::NODE_DELETED, links);
        self.nodes.remove(name);
        self.waiting.remove(name);
        self.board.set_node(name, None);
    }

    fn refuse(&mut self, name: &NodeName, reason: &str, links: &mut BTreeMap<u64, Link>) {
        let Some(live) = self.nodes.get(name).and_then(|entry| entry.live.as_ref()) else { return };
        if let Some(link) = links.get_mut(&live.link) {
            link.down.push_back(Frame::Refusal { reason: reason.to_owned(), message: String::new() });
            link.replica_end = false;
        }
        self.waiting.remove(name);
        if let Some(entry) = self.nodes.get_mut(name) {
            entry.live = None;
        }
    }

    /// A frame of a link has arrived.
    pub fn hear(
        &mut self,
        link: u64,
        name: &NodeName,
        frame: Outgoing,
        around: &mut Around<'_>,
    ) -> Result<()> {
        match frame {
            Outgoing::Hello { held } => self.greet(link, name, held, around)?,
            Outgoing::Ack { generation, digest, outcome, message } if self.is_live(link, name) => {
                if outcome == AckOutcome::Adopted
                    && let Some(link) = around.links.get_mut(&link)
                {
                    link.told.insert(digest);
                }
                let outcome = match outcome {
                    AckOutcome::Adopted => Outcome::Adopted,
                    AckOutcome::Stale => Outcome::Stale,
                    AckOutcome::Conflict => Outcome::Conflict,
                    AckOutcome::Garbled => Outcome::Garbled,
                    AckOutcome::NotStored => Outcome::NotStored,
                };
                self.feed(name, Input::Ack { generation, digest, outcome, message }, around)?;
            }
            Outgoing::Status { full, apps } if self.is_live(link, name) => {
                self.report(name, full, apps, time(around.now));
                self.dirty.insert(name.clone());
            }
            // Words of a session that was replaced or ended here say nothing any more.
            Outgoing::Ack { .. } | Outgoing::Status { .. } => {}
        }
        self.settle(around)
    }

    fn is_live(&self, link: u64, name: &NodeName) -> bool {
        self.nodes.get(name).and_then(|entry| entry.live.as_ref()).is_some_and(|live| live.link == link)
    }

    fn greet(
        &mut self,
        link: u64,
        name: &NodeName,
        held: Option<(Generation, skerry_terms::Digest)>,
        around: &mut Around<'_>,
    ) -> Result<()> {
        self.refuse(name, reasons::SUPERSEDED, around.links);
        let unknown =
            || NodeState { link: NodeLink::Away(None), ..NodeState::recall(&EdgeNodeStatus::default()) };
        let entry = self.nodes.entry(name.clone()).or_insert_with(|| Entry::new(unknown()));
        (entry.away_at, entry.wake_at) = (None, None);
        entry.state.info = Some(NodeInfo {
            architecture: "amd64".to_owned(),
            operating_system: "linux".to_owned(),
            ..NodeInfo::default()
        });
        entry.state.link =
            NodeLink::Connected(SessionInfo { replica: self.name.clone(), since: time(around.now) });
        let stalls = [entry.state.stall.take(), NodeState::recall(&entry.written).stall];
        entry.live = Some(Live { link, session: Session::new(name.clone()), full_report: false });
        if let (Some((_, digest)), Some(link)) = (&held, around.links.get_mut(&link)) {
            link.told.insert(*digest);
        }
        if entry.object.is_none() && self.at.contains_key(&Kind::Nodes) {
            around.cluster.join(name, Default::default());
        }
        let held = held.map(|(generation, digest)| Held { generation, digest });
        self.feed(name, Input::Hello { held, state_corrupt: String::new() }, around)?;
        for stall in stalls.into_iter().flatten() {
            self.feed(name, Input::Recalled(stall), around)?;
        }
        self.dirty.insert(name.clone());
        Ok(())
    }

    fn report(&mut self, name: &NodeName, full: bool, apps: Vec<AppStatus>, now: Time) {
        let Some(entry) = self.nodes.get_mut(name) else { return };
        entry.state.docker = Docker::Ready;
        if full {
            entry.unconfirmed = entry.state.apps.keys().cloned().collect();
            if let Some(live) = &mut entry.live {
                live.full_report = true;
            }
        }
        for status in apps {
            entry.unconfirmed.remove(&status.key);
            if status.phase == Phase::Removed {
                entry.state.apps.remove(&status.key);
            } else {
                entry.state.apps.insert(status.key.clone(), app_report(status, &now));
            }
        }
        for key in std::mem::take(&mut entry.unconfirmed) {
            entry.state.apps.remove(&key);
        }
    }

    /// The link is over, and the replica knows.
    pub fn gone(&mut self, link: u64, name: &NodeName, now: Duration) {
        if !self.is_live(link, name) {
            return;
        }
        self.waiting.remove(name);
        let Some(entry) = self.nodes.get_mut(name) else { return };
        (entry.live, entry.wake_at) = (None, None);
        entry.last_seen = Some(time(now));
        if entry.object.is_some() {
            entry.away_at = Some(now + BACK_GRACE);
        } else {
            self.nodes.remove(name);
        }
    }

    fn feed(&mut self, name: &NodeName, input: Input, around: &mut Around<'_>) -> Result<()> {
        let Some(entry) = self.nodes.get_mut(name) else { return Ok(()) };
        let Some(live) = &mut entry.live else { return Ok(()) };
        let effects = live.session.handle(input, around.now);
        match live.session.waits_for_generation() {
            true => self.waiting.insert(name.clone()),
            false => self.waiting.remove(name),
        };
        let Some(link) = around.links.get_mut(&live.link) else { return Ok(()) };
        for effect in effects {
            match effect {
                Effect::Welcome => link.down.push_back(Frame::Welcome),
                Effect::Send(update) => {
                    if let Some(base) = update.base {
                        ensure!(
                            link.told.contains(&base),
                            "the agent never said on this link that it holds {base}"
                        );
                    }
                    around.sent.note(&update.generation, update.digest, update.accept_past);
                    link.send(update);
                }
                Effect::Stall(stall) => entry.state.stall = stall,
                Effect::WakeAt(at) => entry.wake_at = Some(at),
                Effect::Relist(round) => self.lists_wanted = self.lists_wanted.max(round),
            }
        }
        Ok(())
    }

    /// What follows from everything that was taken in.
    fn settle(&mut self, around: &mut Around<'_>) -> Result<()> {
        let moved = self.board.settle();
        self.dirty.extend(moved.nodes);
        for name in std::mem::take(&mut self.dirty) {
            self.settle_set(&name, around)?;
        }
        let Lists { asked, complete } = self.lists();
        if self.lists_wanted > asked && complete >= asked {
            self.asked += 1;
        }
        Ok(())
    }

    fn settle_set(&mut self, name: &NodeName, around: &mut Around<'_>) -> Result<()> {
        let Some(generation) = self.generation() else { return Ok(()) };
        let lists = self.lists();
        let Some(entry) = self.nodes.get(name) else { return Ok(()) };
        let (Some(object), Some(_)) = (&entry.object, &entry.live) else { return Ok(()) };
        let has = &entry.state.apps;
        if self.board.on_node(name).any(|(key, verdict)| *verdict == Verdict::Waits && has.contains_key(key))
        {
            return Ok(());
        }
        let app = |key: &AppKey| self.apps.get(key);
        let input = match desired_set(app, self.board.on_node(name), has.keys(), LIMITS) {
            Ok(set) => Input::Desired {
                generation,
                set: Arc::new(set),
                accept_past: object.accept_past.clone(),
                lists,
            },
            Err(withheld) => Input::Withheld(withheld),
        };
        self.feed(name, input, around)
    }

    /// Timers that have come due.
    pub fn pass(&mut self, around: &mut Around<'_>) -> Result<()> {
        let now = around.now;
        for (name, entry) in &mut self.nodes {
            if entry.away_at.take_if(|at| *at <= now).is_some() && entry.live.is_none() {
                let last_seen = entry.last_seen.clone().unwrap_or_else(|| time(now));
                entry.state.mark_away(last_seen);
            }
            if entry.wake_at.take_if(|at| *at <= now).is_some() {
                self.dirty.insert(name.clone());
            }
        }
        self.settle(around)
    }

    pub fn next_timer(&self) -> Option<Duration> {
        self.nodes.values().flat_map(|entry| [entry.away_at, entry.wake_at]).flatten().min()
    }

    /// Writes the statuses of the nodes that are this replica's. True if one was worth it.
    pub fn write(&mut self, around: &mut Around<'_>) -> Result<bool> {
        let mut wrote = false;
        for (name, entry) in &mut self.nodes {
            let is_mine = entry.live.is_some() || session_of(&entry.written) == self.name;
            let (Some(object), true) = (&entry.object, is_mine) else { continue };
            let status = node_status(&entry.state, Some(1), &entry.written, &time(around.now));
            check_status(entry, &status, around.now)?;
            let there = around.cluster.nodes.get(name).is_some_and(|node| node.uid == object.uid);
            if there && node_write(&entry.written, &status) != Write::Never {
                around.cluster.change_node(name, |node| node.status = status.clone());
                entry.written = status;
                wrote = true;
            }
        }
        Ok(wrote)
    }

    /// What it says of an app over all nodes.
    pub fn app_status(&self, key: &AppKey, now: Duration) -> Option<EdgeAppStatus> {
        let app = self.apps.get(key)?;
        let placed: Vec<NodeView<'_>> = self
            .nodes
            .iter()
            .filter(|(name, _)| {
                matches!(self.board.verdict(name, key), Some(Verdict::Runs { .. } | Verdict::Waits))
            })
            .map(|(name, entry)| NodeView {
                name,
                connected: entry.state.is_connected(),
                report: entry.state.apps.get(key),
                last_seen: match &entry.state.link {
                    NodeLink::Connected(_) => None,
                    NodeLink::Away(last_seen) => last_seen.as_ref(),
                },
                stall: entry.state.stall.as_ref(),
            })
            .collect();
        Some(app_status(app, &placed, Unplaced::default(), &EdgeAppStatus::default(), &time(now)))
    }
}

impl Entry {
    fn new(state: NodeState) -> Self {
        Self {
            object: None,
            state,
            written: EdgeNodeStatus::default(),
            live: None,
            unconfirmed: BTreeSet::new(),
            last_seen: None,
            away_at: None,
            wake_at: None,
        }
    }
}

/// D10: what is said of a node that is away is never that something runs.
fn check_status(entry: &Entry, status: &EdgeNodeStatus, now: Duration) -> Result<()> {
    let is_expected = entry.away_at.is_some_and(|at| at > now);
    if entry.live.is_some() || is_expected {
        return Ok(());
    }
    let runs = status.apps.iter().find(|app| app.ready || app.phase == "Running");
    ensure!(runs.is_none(), "D10: the node is away, and its status says {runs:?}");
    ensure!(status.session.is_none(), "D10: the node is away, and its status has a session");
    Ok(())
}

fn session_of(status: &EdgeNodeStatus) -> &str {
    status.session.as_ref().map_or("", |session| session.replica.as_str())
}

fn app_report(status: AppStatus, now: &Time) -> AppReport {
    AppReport {
        namespace: status.key.namespace().to_owned(),
        name: status.key.name().to_owned(),
        revision: status.revision,
        phase: status.phase.to_string(),
        ready: status.ready,
        reason: status.reason,
        message: status.message,
        observed_at: Some(now.clone()),
        containers: Vec::new(),
    }
}
