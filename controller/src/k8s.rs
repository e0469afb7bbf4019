//! The Kubernetes API: the connection, the watches, the writes, the Events. The only place that knows kube.

mod client;
mod events;
mod watch;
mod write;

pub use client::{connect, epoch};
pub use events::{EventSink, publish};
pub use watch::{ListId, Seen, Watched, watch};
pub use write::{Job, JobKey, WriteQueue, Written, run_writes};
