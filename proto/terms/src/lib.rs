//! The words that both ends of a session share: how things are named, ordered, hashed and called.
//! Pure data with no IO, so that the planner, the placement and the wire can all use the same types.
//! Not here: what an app looks like. Each tier has its own form of that.

mod chain;
mod digest;
mod generation;
pub mod labels;
mod names;
mod phase;
mod problem;
pub mod reasons;
#[cfg(feature = "strict")]
pub mod strict;

pub use chain::Chain;
pub use digest::{Digest, DigestError, Payload, PayloadSet};
pub use generation::{Generation, GenerationError};
pub use names::{AppKey, ContainerName, NameError, NodeName};
pub use phase::{Phase, UnknownPhase};
pub use problem::{Problem, ProblemKind, Problems};
