//! From what a peer sent to the checked terms, and back. A peer is not trusted: names are parsed, counts and sizes
//! are held against their caps.

use skerry_terms::{
    AppKey, Digest, DigestError, Generation, GenerationError, NameError, Payload, PayloadSet, Phase, Problem,
    ProblemKind, Problems,
};

use crate::{caps, wire};

/// What was wrong with a peer's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Generation(#[from] GenerationError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{what} is {size}, at most {max} is allowed")]
    TooLarge { what: &'static str, size: usize, max: usize },
}

/// Fails when a peer sent more than the cap.
pub(crate) fn check_cap(what: &'static str, size: usize, max: usize) -> Result<(), WireError> {
    if size <= max { Ok(()) } else { Err(WireError::TooLarge { what, size, max }) }
}

/// The key of a frame.
pub fn app_key(namespace: &str, name: &str) -> Result<AppKey, WireError> {
    Ok(AppKey::new(namespace, name)?)
}

/// A whole set from its frames, as the agent's store reads it back.
pub fn payload_set(frames: Vec<wire::AppFrame>) -> Result<PayloadSet, WireError> {
    check_cap("the number of apps", frames.len(), caps::APPS_MAX)?;
    check_cap("the size of all apps", frames.iter().map(|f| f.payload.len()).sum(), caps::SET_MAX)?;
    frames.into_iter().map(|frame| frame.checked()).collect()
}

impl wire::AppFrame {
    /// Key and payload, with the name checked and the size within its cap.
    pub fn checked(self) -> Result<(AppKey, Payload), WireError> {
        check_cap("an app's payload", self.payload.len(), caps::PAYLOAD_MAX)?;
        Ok((app_key(&self.namespace, &self.name)?, Payload::from(self.payload)))
    }

    pub fn new(key: &AppKey, payload: &Payload) -> Self {
        Self { namespace: key.namespace().to_owned(), name: key.name().to_owned(), payload: payload.to_vec() }
    }
}

impl From<&Generation> for wire::Generation {
    fn from(generation: &Generation) -> Self {
        Self { epoch: generation.epoch().to_owned(), positions: generation.positions().clone() }
    }
}

impl TryFrom<wire::Generation> for Generation {
    type Error = WireError;
    fn try_from(wire: wire::Generation) -> Result<Self, WireError> {
        Ok(Generation::new(&wire.epoch, wire.positions)?)
    }
}

impl wire::Held {
    pub fn new(generation: &Generation, digest: &Digest) -> Self {
        Self { generation: Some(generation.into()), digest: digest.as_bytes().to_vec() }
    }

    pub fn checked(self) -> Result<(Generation, Digest), WireError> {
        let generation = self.generation.ok_or(WireError::Missing("held.generation"))?;
        Ok((generation.try_into()?, Digest::try_from(&self.digest[..])?))
    }
}

impl From<Phase> for wire::Phase {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Pending => Self::Pending,
            Phase::Pulling => Self::Pulling,
            Phase::Starting => Self::Starting,
            Phase::Probing => Self::Probing,
            Phase::Running => Self::Running,
            Phase::Succeeded => Self::Succeeded,
            Phase::Failed => Self::Failed,
            Phase::RolledBack => Self::RolledBack,
            Phase::Unknown => Self::Unknown,
            Phase::Removed => Self::Removed,
        }
    }
}

impl From<wire::Phase> for Phase {
    /// A phase that this build does not know is `Unknown`, so that a newer agent does not break an older controller.
    fn from(phase: wire::Phase) -> Self {
        match phase {
            wire::Phase::Pending => Self::Pending,
            wire::Phase::Pulling => Self::Pulling,
            wire::Phase::Starting => Self::Starting,
            wire::Phase::Probing => Self::Probing,
            wire::Phase::Running => Self::Running,
            wire::Phase::Succeeded => Self::Succeeded,
            wire::Phase::Failed => Self::Failed,
            wire::Phase::RolledBack => Self::RolledBack,
            wire::Phase::Unspecified | wire::Phase::Unknown => Self::Unknown,
            wire::Phase::Removed => Self::Removed,
        }
    }
}

impl From<ProblemKind> for wire::NodeProblemKind {
    fn from(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::DiskPressure => Self::DiskPressure,
            ProblemKind::MemoryPressure => Self::MemoryPressure,
            ProblemKind::StateProblem => Self::StateProblem,
            ProblemKind::ClockSkewed => Self::ClockSkewed,
        }
    }
}

impl From<wire::NodeProblemKind> for Option<ProblemKind> {
    /// None for a kind that this build does not know.
    fn from(kind: wire::NodeProblemKind) -> Self {
        match kind {
            wire::NodeProblemKind::Unspecified => None,
            wire::NodeProblemKind::DiskPressure => Some(ProblemKind::DiskPressure),
            wire::NodeProblemKind::MemoryPressure => Some(ProblemKind::MemoryPressure),
            wire::NodeProblemKind::StateProblem => Some(ProblemKind::StateProblem),
            wire::NodeProblemKind::ClockSkewed => Some(ProblemKind::ClockSkewed),
        }
    }
}

impl From<&Problems> for wire::NodeProblems {
    fn from(problems: &Problems) -> Self {
        let item = |(kind, Problem { reason, message }): (&ProblemKind, &Problem)| wire::NodeProblem {
            kind: wire::NodeProblemKind::from(*kind).into(),
            reason: caps::truncate(reason, caps::WORD_MAX),
            message: caps::truncate(message, caps::MESSAGE_MAX),
        };
        Self { items: problems.iter().map(item).collect() }
    }
}

impl From<wire::NodeProblems> for Problems {
    /// At most one of each kind, cut to the caps.
    fn from(problems: wire::NodeProblems) -> Self {
        let problem = |item: wire::NodeProblem| {
            let kind = Option::<ProblemKind>::from(item.kind())?;
            let wire::NodeProblem { kind: _, reason, message } = item;
            let reason = caps::truncate(&reason, caps::WORD_MAX);
            Some((kind, Problem { reason, message: caps::truncate(&message, caps::MESSAGE_MAX) }))
        };
        problems.items.into_iter().filter_map(problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_survive_the_wire() {
        for phase in Phase::ALL {
            assert_eq!(Phase::from(wire::Phase::from(phase)), phase);
        }
    }

    #[test]
    fn an_unknown_phase_is_unknown() {
        let status = wire::AppStatus { phase: 4711, ..Default::default() };
        assert_eq!(Phase::from(status.phase()), Phase::Unknown);
    }

    #[test]
    fn problems_survive_the_wire_and_unknown_ones_are_left_out() {
        let problem = |kind: ProblemKind| {
            (kind, Problem { reason: format!("{kind}Reason"), message: "words".to_owned() })
        };
        let problems: Problems = ProblemKind::ALL.map(problem).into();
        let mut wire = wire::NodeProblems::from(&problems);
        wire.items.push(wire::NodeProblem { kind: 4711, ..Default::default() });
        assert_eq!(Problems::from(wire), problems);
    }

    #[test]
    fn a_payload_over_its_cap_is_refused() {
        let frame = |size| wire::AppFrame { namespace: "a".into(), name: "b".into(), payload: vec![0; size] };
        assert!(frame(caps::PAYLOAD_MAX).checked().is_ok());
        assert!(matches!(frame(caps::PAYLOAD_MAX + 1).checked(), Err(WireError::TooLarge { .. })));
        let many = vec![frame(caps::PAYLOAD_MAX); caps::SET_MAX / caps::PAYLOAD_MAX + 1];
        assert!(matches!(payload_set(many), Err(WireError::TooLarge { .. })));
    }

    #[test]
    fn a_generation_survives_the_wire() {
        let generation = Generation::new("e-1", [("edgeapps".to_owned(), 7)]).expect("a generation");
        assert_eq!(Generation::try_from(wire::Generation::from(&generation)), Ok(generation));
    }
}
