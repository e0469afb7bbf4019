//! The links: each carries frames in order, both ways, and may be gone at one end while the other does not know.

use std::collections::{BTreeSet, VecDeque};

use skerry_agent_core::{Frame, Outgoing};
use skerry_controller_core::session::Update;
use skerry_terms::Digest;

/// More than an agent that is listened to ever has under way.
const OUTBOX: usize = 48;

/// One link between an agent and a replica.
#[derive(Debug)]
pub struct Link {
    pub node: usize,
    pub replica: usize,
    pub up: VecDeque<Outgoing>,
    pub down: VecDeque<Frame>,
    /// Each end takes it for good.
    pub agent_end: bool,
    pub replica_end: bool,
    /// Sets that the replica was told the agent holds, on this link.
    pub told: BTreeSet<Digest>,
}

impl Link {
    pub fn new(node: usize, replica: usize) -> Self {
        Self {
            node,
            replica,
            up: VecDeque::new(),
            down: VecDeque::new(),
            agent_end: true,
            replica_end: true,
            told: BTreeSet::new(),
        }
    }

    /// False when it does not take more.
    pub fn say(&mut self, outgoing: Outgoing) -> bool {
        self.up.push_back(outgoing);
        self.up.len() <= OUTBOX
    }

    /// As the controller's shell sends an update: a frame for each part.
    pub fn send(&mut self, update: Update) {
        let Update { generation, base, accept_past, apps, removed, digest } = update;
        self.down.push_back(Frame::Begin { generation, base, accept_past });
        self.down.extend(apps.into_iter().map(|(key, payload)| Frame::App { key, payload }));
        self.down.extend(removed.into_iter().map(|key| Frame::Remove { key }));
        self.down.push_back(Frame::Commit { digest });
    }
}
