//! The one vocabulary of phases: agent, wire, API objects and command line say the same words.

use std::fmt;
use std::str::FromStr;

/// Where an app stands on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Known to the node; nothing has been done yet, or it waits for what its reason names.
    Pending,
    /// An image is being pulled.
    Pulling,
    /// Containers are being created or started.
    Starting,
    /// Started; a startup or readiness probe has not yet succeeded.
    Probing,
    /// Every container runs.
    Running,
    /// Every container ended well and `restartPolicy` asks for no restart.
    Succeeded,
    /// The reason says why; whether it is tried again, the message.
    Failed,
    /// The node went back to the previous revision.
    RolledBack,
    /// The node cannot be asked: it is away, or its Docker Engine does not answer.
    Unknown,
    /// Nothing of the app is left on the node.
    Removed,
}

/// A word that is not a phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a phase")]
pub struct UnknownPhase(pub String);

impl Phase {
    pub const ALL: [Phase; 10] = [
        Phase::Pending,
        Phase::Pulling,
        Phase::Starting,
        Phase::Probing,
        Phase::Running,
        Phase::Succeeded,
        Phase::Failed,
        Phase::RolledBack,
        Phase::Unknown,
        Phase::Removed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "Pending",
            Phase::Pulling => "Pulling",
            Phase::Starting => "Starting",
            Phase::Probing => "Probing",
            Phase::Running => "Running",
            Phase::Succeeded => "Succeeded",
            Phase::Failed => "Failed",
            Phase::RolledBack => "RolledBack",
            Phase::Unknown => "Unknown",
            Phase::Removed => "Removed",
        }
    }

    /// True while the node is still at work: the next report is likely to say something else soon.
    pub fn is_transient(self) -> bool {
        match self {
            Phase::Pending | Phase::Pulling | Phase::Starting | Phase::Probing => true,
            Phase::Running
            | Phase::Succeeded
            | Phase::Failed
            | Phase::RolledBack
            | Phase::Unknown
            | Phase::Removed => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Phase {
    type Err = UnknownPhase;
    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        Phase::ALL
            .into_iter()
            .find(|phase| phase.as_str() == text)
            .ok_or_else(|| UnknownPhase(text.chars().take(32).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_reads_back_what_it_prints() {
        for phase in Phase::ALL {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        assert!("running".parse::<Phase>().is_err());
    }
}
