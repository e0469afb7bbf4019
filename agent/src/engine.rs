//! The container engine, as the rest of the agent sees it: look, pull, create, start, stop, remove, and a stream of signals that
//! something changed. [`Docker`] is the real one; tests bring their own, and both keep one contract (`tests/engine_contract`).
//!
//! Architecture Invariant: bollard is named in this folder and nowhere else.

mod auth;
mod create;
mod docker;
mod events;
mod exec;
pub mod execute;
#[cfg(test)]
mod fuzz;
mod hooks;
mod hosts;
mod images;
mod inspect;
mod last_words;
mod listeners;
mod observe;
mod pause;
mod refusal;
mod streams;
mod survey;
mod transport;
mod update;
mod volumes;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skerry_agent_core::housekeeping::{Removal, StoredImage};
use skerry_agent_core::{
    ContainerId, CreateSpec, Desired, Hook, ImageId, Observed, Projection, RegistryAuth, Resources,
};
use skerry_terms::{AppKey, NodeName};
use tokio::sync::mpsc;

pub use docker::Docker;
pub use exec::Ran;
pub use streams::{Chunk, Chunks, Interactive, LogOptions};
pub use survey::{Documents, Survey};
pub use volumes::{Folders, HostPathRule};

/// What the agent needs of a container engine. Every call ends within a bound.
pub trait Engine: Send + Sync + 'static {
    /// A fresh look at everything on the box that the planner needs for this desired set.
    fn observe(&self, desired: Arc<Desired>) -> impl Future<Output = Observed> + Send;

    /// Fetches an image, with the first of the credentials that the registry takes. Dropping the future ends the pull.
    fn pull(
        &self,
        image: &str,
        auths: &[RegistryAuth],
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Creates a container. One that is there already, with this name and these labels, counts as created.
    fn create(&self, spec: &CreateSpec) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Starts a container by name. One that runs already counts as started.
    fn start(&self, name: &str) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Brings the files of an app's volumes to what they shall be; each volume changes at once.
    fn project(&self, projection: &Projection) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Runs a hook in a running container and waits for its end.
    fn hook(&self, name: &str, hook: &Hook) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Runs a command in a running container and waits for its end. One that takes longer than `timeout` is killed, and
    /// [`EngineError::TimedOut`] told.
    fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        timeout: Duration,
    ) -> impl Future<Output = Result<Ran, EngineError>> + Send;

    /// Changes the limits of a container that is there.
    fn update(
        &self,
        id: &ContainerId,
        resources: &Resources,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Makes exactly these names of other apps resolve in a container that is there.
    fn names(
        &self,
        id: &ContainerId,
        names: &BTreeMap<String, IpAddr>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// The container's preStop hook, SIGTERM, SIGKILL after the grace period: `grace`, or the container's own. One that does not run,
    /// or is not there, counts as stopped.
    fn stop(
        &self,
        id: &ContainerId,
        grace: Option<Duration>,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes a stopped container and its anonymous volumes. One that is not there counts as removed.
    fn remove(&self, id: &ContainerId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Removes what is kept on the box for an app, except local volumes that are to be retained. Nothing there counts as done.
    fn discard(&self, app: &AppKey) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Says what happens on the engine until the receiver is gone. Costs nothing while nothing happens.
    fn watch(&self, signals: mpsc::Sender<Signal>) -> impl Future<Output = ()> + Send;
}

/// What housekeeping needs of a container engine. Every call ends within a bound.
pub trait Storeroom: Send + Sync + 'static {
    /// The folder that images and containers are kept in.
    fn root(&self) -> impl Future<Output = Result<PathBuf, EngineError>> + Send;

    /// The images that pulls have brought to the box since this was last asked, each with the tag that it came under; empty where it came by
    /// digest. One that was there before is not among them.
    fn pulled(&self) -> BTreeMap<ImageId, String>;

    /// Every image with a name or of its own.
    fn images(&self) -> impl Future<Output = Result<Vec<StoredImage>, EngineError>> + Send;

    /// Removes an image, and says whether it is gone. One that somebody has begun to use is left.
    fn remove_image(&self, removal: &Removal) -> impl Future<Output = Result<bool, EngineError>> + Send;

    /// Holds an image against every pruning. Done twice, it does nothing.
    fn pin(&self, node: &NodeName, image: &ImageId) -> impl Future<Output = Result<(), EngineError>> + Send;

    /// Lets go of it.
    fn unpin(
        &self,
        node: &NodeName,
        container: &ContainerId,
        image: &ImageId,
    ) -> impl Future<Output = Result<(), EngineError>> + Send;
}

/// What [`Engine::watch`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The engine answers, and from now on every change is signalled. What was known before may be outdated.
    Up {
        /// The engine's version, empty when it does not say.
        version: String,
    },
    /// Containers or images changed: a look would show something new.
    Changed,
    /// The engine does not answer. Sent once; the next signal is `Up`.
    Down {
        /// In words, with what to do about it.
        why: String,
    },
}

/// Why the engine did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// A container cannot start because somebody else has a port of the node that it needs.
    #[error("{message}")]
    PortTaken { message: String },
    /// The image of a container to create is not on the box.
    #[error("{message}")]
    NoImage { message: String },
    /// What the spec refers to on the box, or says of the image, cannot be honoured: no container was created.
    #[error("{message}")]
    Config { message: String },
    /// A volume could not be made ready.
    #[error("{message}")]
    Mount { message: String },
    /// Docker or the registry said no, in these words.
    #[error("{message}")]
    Refused { message: String },
    /// The engine could not be asked: that says nothing about the container.
    #[error("{message}")]
    Unavailable { message: String },
    #[error("no answer within {} s", after.as_secs())]
    TimedOut { after: Duration },
}
