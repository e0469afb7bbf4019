//! The Kubernetes API: the connection, the watches, the writes, the Events. The only place that knows kube.

mod client;
mod config;
mod events;
mod lease;
mod watch;
mod write;

pub use client::{connect, epoch};
pub use config::{ConfigKind, ConfigRead, ConfigRef, ConfigSeen, Wanted, run_reads};
#[cfg(test)]
pub use events::Notice;
pub use events::{About, EventSink, Happened, publish};
#[cfg(test)]
pub use lease::Replica;
pub use lease::{Replicas, keep_lease, replicas};
pub use watch::{Kind, ListId, Seen, Watched, watch, whole};
pub use write::{Job, JobKey, WriteQueue, Written, run_writes};
