//! Hands committed events to the watches: a ring of the newest ones, bounded by count and bytes, and one
//! signal for each resource, so that a write wakes only the watches of its resource. The writer publishes;
//! watches look here first and read from the database what the ring no longer has. Nobody waits for a slow
//! watch.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::Object;

/// Bounds of the ring. A watch that is further behind reads a page from the database, which costs about a millisecond.
const RING_EVENTS: usize = 1024;
const RING_BYTES: usize = 2 << 20;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was created.
    Added,
    /// It was replaced by another version.
    Modified,
    /// It was removed; its value is its last state.
    Deleted,
}

impl EventKind {
    pub(super) fn of(deleted: bool, replaced: bool) -> Self {
        match (deleted, replaced) {
            (true, _) => Self::Deleted,
            (false, true) => Self::Modified,
            (false, false) => Self::Added,
        }
    }
}

/// One committed write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object as it was written; its revision is that of the event.
    pub object: Object,
    /// The value that was replaced or removed. Absent if the object was created, or if that value was sealed
    /// and cannot be read.
    pub previous: Option<Bytes>,
}

impl Event {
    fn bytes(&self) -> usize {
        self.object.value.len() + self.previous.as_ref().map_or(0, Bytes::len)
    }
}

#[derive(Debug)]
pub(super) struct Hub {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    /// Ordered by revision.
    ring: VecDeque<Event>,
    bytes: usize,
    /// None when the store is closed.
    topics: Option<HashMap<Arc<str>, Topic>>,
    /// Where the ring began.
    opened_at: u64,
    published: u64,
}

/// A resource.
#[derive(Debug)]
struct Topic {
    signal: watch::Sender<u64>,
    /// Its events up to this revision are not in the ring.
    evicted: u64,
}

/// What a watch finds.
#[derive(Debug)]
pub(super) enum Look {
    /// The next event.
    Event(Event),
    /// Nothing up to this revision.
    Nothing { passed: u64 },
    /// The ring does not reach back so far.
    Behind,
    /// The store is closed.
    Closed,
}

impl State {
    fn topic(&mut self, resource: &Arc<str>) -> Option<&mut Topic> {
        let evicted = self.opened_at;
        let topics = self.topics.as_mut()?;
        // Events since the opening have made their topic when they were published.
        Some(
            topics
                .entry(Arc::clone(resource))
                .or_insert_with(|| Topic { signal: watch::Sender::new(0), evicted }),
        )
    }
}

impl Hub {
    pub(super) fn new(revision: u64) -> Self {
        let state = State {
            ring: VecDeque::new(),
            bytes: 0,
            topics: Some(HashMap::new()),
            opened_at: revision,
            published: revision,
        };
        Self { state: Mutex::new(state), revision: watch::Sender::new(revision) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Takes the events of a batch, in the order of their revisions.
    pub(super) fn publish(&self, events: Vec<Event>, revision: u64) {
        let mut touched = HashSet::new();
        let mut guard = self.state();
        let state = &mut *guard;
        for event in events {
            let _ = state.topic(&event.object.key.resource);
            touched.insert(Arc::clone(&event.object.key.resource));
            state.bytes += event.bytes();
            state.ring.push_back(event);
        }
        while state.ring.len() > RING_EVENTS || state.bytes > RING_BYTES {
            let Some(oldest) = state.ring.pop_front() else { break };
            state.bytes = state.bytes.saturating_sub(oldest.bytes());
            if let Some(topic) = state.topic(&oldest.object.key.resource) {
                topic.evicted = oldest.object.revision;
            }
        }
        state.published = revision;
        self.revision.send_replace(revision);
        for resource in touched {
            if let Some(topic) = state.topic(&resource) {
                topic.signal.send_replace(revision);
            }
        }
    }

    /// What tells a watch that its resource was written; None when the store is closed.
    pub(super) fn signal(&self, resource: &Arc<str>) -> Option<watch::Receiver<u64>> {
        self.state().topic(resource).map(|topic| topic.signal.subscribe())
    }

    /// The first event after a revision.
    pub(super) fn look(&self, resource: &Arc<str>, namespace: Option<&str>, after: u64) -> Look {
        let mut state = self.state();
        match state.topic(resource) {
            None => return Look::Closed,
            Some(topic) if after < topic.evicted => return Look::Behind,
            Some(_) => {}
        }
        let first = state.ring.partition_point(|event| event.object.revision <= after);
        let wanted = |event: &&Event| {
            let key = &event.object.key;
            key.resource == *resource && namespace.is_none_or(|namespace| *key.namespace == *namespace)
        };
        match state.ring.iter().skip(first).find(wanted) {
            Some(event) => Look::Event(event.clone()),
            None => Look::Nothing { passed: state.published },
        }
    }

    /// Waits for a revision.
    pub(super) async fn reach(&self, revision: u64, timeout: Duration) -> bool {
        let mut published = self.revision.subscribe();
        let reached = published.wait_for(|published| *published >= revision);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// Ends the watches.
    pub(super) fn close(&self) {
        self.state().topics = None;
    }
}
