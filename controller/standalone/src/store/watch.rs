//! A watch: every event of a resource after a revision, in order, each once. It takes them from the hub, and
//! from the database what the hub no longer has.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::watch;

use super::hub::{Event, Look};
use super::{ReadError, Shared, query};

/// A watch cannot begin at a revision whose history is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the events after the requested revision were compacted away; the oldest that can be resumed from is {oldest}"
)]
pub struct Compacted {
    /// The oldest revision after which a watch can begin.
    pub oldest: u64,
}

/// Why a watch has no more events.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WatchEnd {
    /// It fell so far behind that events it has not seen are gone.
    #[error(transparent)]
    Compacted(Compacted),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The events it missed cannot be read.
    #[error("failed to read the events that the watch missed")]
    Failed(#[source] ReadError),
}

impl From<ReadError> for WatchEnd {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Compacted { oldest } => Self::Compacted(Compacted { oldest }),
            ReadError::Closed => Self::Closed,
            ReadError::Future { .. } | ReadError::Sealed { .. } | ReadError::Failed(_) => Self::Failed(error),
        }
    }
}

/// Delivers the events of a resource, of all namespaces or of one. It holds no place in the store: a slow one
/// only costs itself.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    resource: Arc<str>,
    namespace: Option<Arc<str>>,
    /// All events up to this revision were delivered.
    passed: u64,
    /// Says when the resource was written. None if the store was closed already.
    signal: Option<watch::Receiver<u64>>,
    /// Events read from the database and not delivered yet.
    missed: VecDeque<Event>,
    /// Where those end.
    missed_through: u64,
}

impl Watch {
    pub(super) fn new(
        shared: Arc<Shared>,
        resource: Arc<str>,
        namespace: Option<Arc<str>>,
        after: u64,
    ) -> Result<Self, Compacted> {
        let oldest = shared.compacted();
        if after < oldest {
            return Err(Compacted { oldest });
        }
        let signal = shared.hub.signal(&resource);
        Ok(Self {
            shared,
            resource,
            namespace,
            passed: after,
            signal,
            missed: VecDeque::new(),
            missed_through: after,
        })
    }

    /// The next event, as soon as there is one. Cancel-safe: an event is taken only by the call that returns it.
    pub async fn next(&mut self) -> Result<Event, WatchEnd> {
        loop {
            if let Some(event) = self.missed.pop_front() {
                self.passed =
                    if self.missed.is_empty() { self.missed_through } else { event.object.revision };
                return Ok(event);
            }
            let signal = self.signal.as_mut().ok_or(WatchEnd::Closed)?;
            // Before the look, so that what is published after it wakes the wait below.
            signal.borrow_and_update();
            match self.shared.hub.look(&self.resource, self.namespace.as_deref(), self.passed) {
                Look::Event(event) => {
                    self.passed = event.object.revision;
                    return Ok(event);
                }
                Look::Nothing { passed } => {
                    self.passed = self.passed.max(passed);
                    signal.changed().await.map_err(|_| WatchEnd::Closed)?;
                }
                Look::Behind => self.catch_up().await?,
                Look::Closed => return Err(WatchEnd::Closed),
            }
        }
    }

    /// The newest revision up to which every event was delivered: what a bookmark says. It grows also while
    /// others write.
    pub fn passed(&mut self) -> u64 {
        if self.missed.is_empty()
            && let Look::Nothing { passed } =
                self.shared.hub.look(&self.resource, self.namespace.as_deref(), self.passed)
        {
            self.passed = self.passed.max(passed);
        }
        self.passed
    }

    /// Reads the next page of what the hub no longer has.
    async fn catch_up(&mut self) -> Result<(), WatchEnd> {
        let (shared, resource, namespace) =
            (Arc::clone(&self.shared), Arc::clone(&self.resource), self.namespace.clone());
        let after = self.passed;
        let read = move |connection: &rusqlite::Connection| {
            query::events(connection, &shared.vault, &resource, namespace.as_deref(), after)
        };
        let page = self.shared.readers.elsewhere(read).await?;
        self.missed = page.events.into();
        self.missed_through = page.through;
        if self.missed.is_empty() {
            self.passed = self.passed.max(page.through);
        }
        Ok(())
    }
}
