//! What the supervisor knows about the link to the controller: who it says it is, what it says about the box, since when.

use std::collections::BTreeMap;

use skerry_agent_core::{AppStatus, Outgoing, WallMillis};
use skerry_proto::{feature, wire};
use skerry_terms::{AppKey, NodeName, Phase, Problem, ProblemKind, Problems};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::NodeStanding;
use crate::clock::wall_now;
use crate::facts;
use crate::uplink::frames::{self, Context};

/// What this agent says of itself when it comes.
#[derive(Debug, Clone)]
pub struct Greeting {
    pub node: NodeName,
    pub labels: BTreeMap<String, String>,
    /// How many of each device the box lends to apps, by resource name.
    pub devices: BTreeMap<String, u64>,
    /// Where the unreadable desired state was kept, and why it is. Empty when there was none.
    pub state_corrupt: String,
}

impl Greeting {
    fn hello(&self, docker_version: &str) -> wire::Hello {
        wire::Hello {
            protocol: 0,
            features: vec![feature::TRANSITIONS.to_owned()],
            node: self.node.to_string(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: facts::boot_id(),
            labels: self.labels.clone(),
            facts: Some(wire::NodeFacts {
                docker_version: docker_version.to_owned(),
                devices: self.devices.clone(),
                ..facts::node_facts()
            }),
            held: None,
            state_corrupt: self.state_corrupt.clone(),
        }
    }
}

/// Where an app has come to rest, in the box's own log: whoever stands in front of it may have no controller to ask.
fn tell(status: &AppStatus, before: Option<&AppStatus>) {
    let AppStatus { key, phase, reason, message, .. } = status;
    let same = before.is_some_and(|old| (old.phase, &old.reason, &old.message) == (*phase, reason, message));
    if same || phase.is_transient() || *phase == Phase::Unknown {
        return;
    }
    if matches!(phase, Phase::Failed | Phase::RolledBack) {
        warn!("app={key} phase={phase} reason={reason}: {message}");
    } else {
        info!("app={key} phase={phase} reason={reason}");
    }
}

/// The link, whether it stands or not.
#[derive(Debug)]
pub(super) struct Link {
    greeting: Greeting,
    standing: Option<Standing>,
    health: wire::NodeHealth,
    /// Docker was asked, with an answer or in vain.
    docker_asked: bool,
    /// What is wrong with the box; also in `health`.
    problems: Problems,
    /// Whether the controller has greeted on the link that stands, and when that last changed.
    greeted: (bool, Option<WallMillis>),
    /// Each app's last status, and when it began.
    since: BTreeMap<AppKey, (AppStatus, WallMillis)>,
}

#[derive(Debug)]
struct Standing {
    outbox: mpsc::Sender<wire::AgentMessage>,
    close: oneshot::Sender<String>,
    sequence: u64,
    /// What the controller was told last.
    health: Option<wire::NodeHealth>,
}

impl Link {
    pub fn new(greeting: Greeting) -> Self {
        Self {
            greeting,
            standing: None,
            health: super::unknown_health(),
            docker_asked: false,
            problems: Problems::new(),
            greeted: (false, None),
            since: BTreeMap::new(),
        }
    }

    pub fn up(&mut self, outbox: mpsc::Sender<wire::AgentMessage>, close: oneshot::Sender<String>) {
        self.standing = Some(Standing { outbox, close, sequence: 0, health: None });
    }

    pub fn down(&mut self) {
        self.standing = None;
        if self.greeted.0 {
            self.greeted = (false, Some(wall_now()));
        }
    }

    /// The controller takes part in the link.
    pub fn greeted(&mut self) {
        self.greeted = (true, Some(wall_now()));
    }

    /// How the box stands, for whoever asks on the box itself.
    pub fn node_standing(&self) -> NodeStanding {
        let wire::NodeHealth { docker_ready, docker_message, docker_version, problems: _ } =
            self.health.clone();
        let (connected, connected_changed) = self.greeted;
        let problems = self.problems.clone();
        NodeStanding {
            docker_ready,
            docker_version,
            docker_message,
            problems,
            untold: 0,
            lost: 0,
            connected,
            connected_changed,
        }
    }

    /// Ends the link; the uplink dials again later.
    pub fn close(&mut self, why: String) {
        if let Some(standing) = self.standing.take() {
            // It may have ended by itself in the same moment.
            let _ = standing.close.send(why);
        }
    }

    /// Whether Docker answers. The version that answered last is kept while it does not.
    pub fn docker_is(&mut self, ready: bool, version: String, message: String) {
        self.docker_asked = true;
        self.health.docker_ready = ready;
        self.health.docker_message = message;
        if ready {
            self.health.docker_version = version;
        }
    }

    /// Whether Docker answers. Absent while it was not asked.
    pub fn docker_ready(&self) -> Option<bool> {
        self.docker_asked.then_some(self.health.docker_ready)
    }

    /// Something is wrong with the box, or no longer is. True if that is news.
    pub fn problem(&mut self, kind: ProblemKind, problem: Option<Problem>) -> bool {
        let known = self.problems.get(&kind);
        if known == problem.as_ref() {
            return false;
        }
        match problem {
            Some(problem) => {
                warn!("{kind}: {}: {}", problem.reason, problem.message);
                self.problems.insert(kind, problem);
            }
            None => {
                info!("{kind} is over");
                self.problems.remove(&kind);
            }
        }
        self.health.problems = Some((&self.problems).into());
        true
    }

    /// Of the Docker that answered last. Empty when none has.
    pub fn docker_version(&self) -> String {
        self.health.docker_version.clone()
    }

    /// Notes since when each app is as it is.
    pub fn stamp(&mut self, statuses: &[AppStatus]) {
        let now = wall_now();
        let mut before = std::mem::take(&mut self.since);
        for status in statuses {
            let kept = before.remove(&status.key);
            tell(status, kept.as_ref().map(|(old, _)| old));
            let kept = kept.filter(|(old, _)| old == status);
            self.since.insert(status.key.clone(), kept.unwrap_or_else(|| (status.clone(), now)));
        }
    }

    /// Since when an app is as it is.
    pub fn since(&self, key: &AppKey) -> WallMillis {
        self.since.get(key).map_or_else(wall_now, |(_, since)| *since)
    }

    pub fn send(&mut self, outgoing: Outgoing, uids: &BTreeMap<AppKey, String>) {
        let Some(standing) = &mut self.standing else { return };
        if matches!(outgoing, Outgoing::Status { .. }) {
            standing.health = Some(self.health.clone());
        }
        let about = |key: &AppKey| {
            let since = self.since.get(key).map_or_else(wall_now, |(_, since)| *since);
            (uids.get(key).cloned().unwrap_or_default(), since)
        };
        let mut context = Context {
            hello: &|| self.greeting.hello(&self.health.docker_version),
            health: &self.health,
            sequence: &mut standing.sequence,
            about: &about,
        };
        for frame in frames::encode(outgoing, &mut context) {
            if !self.post(frame) {
                return;
            }
        }
    }

    /// Puts a frame on the link, if one stands. False if that was its end.
    pub fn post(&mut self, frame: wire::AgentMessage) -> bool {
        let Some(standing) = &self.standing else { return false };
        match standing.outbox.try_send(frame) {
            Ok(()) => return true,
            // The next hello and full status say everything again.
            Err(TrySendError::Full(_)) => {
                self.close("the link does not take what the node has to say".to_owned());
            }
            Err(TrySendError::Closed(_)) => self.down(),
        }
        false
    }

    /// Docker went away or came back, and no status has told it yet.
    pub fn send_health_if_changed(&mut self, uids: &BTreeMap<AppKey, String>) {
        let told = self.standing.as_ref().map(|standing| standing.health.as_ref());
        if told.is_some_and(|told| told != Some(&self.health)) {
            self.send(Outgoing::Status { full: false, apps: Vec::new() }, uids);
        }
    }
}
