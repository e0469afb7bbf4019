//! One node's requests held against what it has. Those that run there come first, then the older apps: nothing that runs makes room
//! for a newcomer.

use super::amounts::{Amounts, Shortage};
use super::{Demand, Node};

/// What is left of a node while its apps are let in, one by one in their order.
#[derive(Debug, Clone)]
pub struct Ledger {
    free: Amounts,
}

impl Ledger {
    pub fn new(node: &Node) -> Self {
        Self { free: node.room.clone() }
    }

    pub fn admit(&mut self, demand: &Demand) -> Result<(), Shortage> {
        self.free.reserve(&demand.requests)
    }
}

/// The two rounds in which apps are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// Apps that the node has already.
    There,
    New,
}

impl Round {
    pub const ALL: [Self; 2] = [Self::There, Self::New];

    /// The round of an app on a node.
    pub fn of(is_there: bool) -> Self {
        if is_there { Self::There } else { Self::New }
    }
}
