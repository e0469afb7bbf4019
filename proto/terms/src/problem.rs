//! What can be wrong with a box itself, apart from its apps: one vocabulary for agent, wire and the conditions of an EdgeNode.

use std::collections::BTreeMap;
use std::fmt;

/// What kind of thing is wrong. The words are those of conditions that are True while it is, as a Kubernetes node has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemKind {
    /// A disk that images, containers or the agent's state are on is nearly full.
    DiskPressure,
    /// The box is short of memory.
    MemoryPressure,
    /// What the agent must keep cannot be read or written.
    StateProblem,
    /// The box's clock is not the controller's.
    ClockSkewed,
}

impl ProblemKind {
    pub const ALL: [Self; 4] =
        [Self::DiskPressure, Self::MemoryPressure, Self::StateProblem, Self::ClockSkewed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::DiskPressure => "DiskPressure",
            Self::MemoryPressure => "MemoryPressure",
            Self::StateProblem => "StateProblem",
            Self::ClockSkewed => "ClockSkewed",
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong, and what is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A stable word.
    pub reason: String,
    /// In words, with what to do.
    pub message: String,
}

/// All that is wrong with a box. What is not in it is as it should be.
pub type Problems = BTreeMap<ProblemKind, Problem>;
