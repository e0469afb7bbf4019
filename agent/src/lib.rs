//! The agent's shell: everything around [`skerry_agent_core`] that touches the world.
//!
//! ```text
//!   store ──▶ supervisor ◀──▶ uplink ◀──▶ controller
//!               │    ▲
//!        actions│    │signals, looks, progress
//!               ▼    │
//!              engine ◀──▶ Docker
//! ```
//!
//! Architecture Invariant: the supervisor is the only one that decides, and it decides nothing itself: it asks the core's planner
//! and session, and passes on. bollard is named only under `engine`, tonic only under `uplink`.

pub mod admin;
pub mod archive;
pub mod bundle;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod engine;
pub mod facts;
#[cfg(test)]
mod fuzz;
pub mod housekeeper;
pub mod http_get;
pub mod logging;
pub mod manifests;
pub mod notify;
pub mod probes;
pub mod run;
pub mod store;
pub mod supervisor;
pub mod upgrade;
pub mod uplink;
