//! The one thread that writes. It takes all waiting tasks into one transaction, so that they share one sync;
//! after the commit it publishes the events and then answers. Between batches it removes old history and
//! moves the WAL into the database. With nothing to do it sleeps without a timer.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::batch::{Batch, Fault};
use super::compaction::{self, History, Window};
use super::database::BUSY;
use super::{Change, Event, Expect, Key, Object, Shared, WriteError};

/// Bounds of one transaction: above these a sync is no longer what costs.
const BATCH_TASKS: usize = 256;
const BATCH_BYTES: usize = 4 << 20;

/// Under load, one step of compaction to so many batches: it removes far more than they add.
const BATCHES_PER_STEP: u32 = 8;

/// After a step failed, mostly because the disk is full, the next one waits.
const STEP_RETRY: Duration = Duration::from_secs(30);

/// The WAL is moved into the database after about so many bytes of values, after the answers and not before them.
const CHECKPOINT_BYTES: u64 = 2 << 20;

/// What a step of compaction adds to the WAL, about.
const STEP_BYTES: u64 = 1 << 20;

/// A WAL of so many pages has not been begun anew because readers overlapped: then the writer waits for them,
/// but no longer than this.
const LONG_WAL_PAGES: i64 = 16_384;
const LONG_WAL_WAIT: Duration = Duration::from_millis(100);

#[cfg(test)]
type Errand = Box<dyn FnOnce(&mut Writer) + Send>;

/// What the writer is to do.
pub(super) enum Task {
    Write {
        key: Key,
        expect: Expect,
        change: Change,
        /// An object that must be of this revision.
        within: Option<Box<(Key, u64)>>,
    },
    File {
        name: String,
        content: Vec<u8>,
        sealed: bool,
    },
    /// Lets a test set up a fault or do the work of a timer.
    #[cfg(test)]
    Run(Option<Errand>),
}

/// The object that was written; None if the task was about none.
pub(super) type Answer = Result<Option<Object>, WriteError>;

/// A task with its share of the queue's room, which it gives back when it is done.
pub(super) struct Request {
    pub task: Task,
    pub bytes: usize,
    /// A caller that no longer waits needs no answer.
    pub reply: oneshot::Sender<Answer>,
    pub _room: OwnedSemaphorePermit,
}

/// What a committed batch leaves.
struct Committed {
    revision: u64,
    events: Vec<Event>,
    written: u64,
    full: bool,
}

enum Next {
    Request(Request),
    Step,
    Closed,
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    shared: Arc<Shared>,
    limit: u64,
    revision: u64,
    history: History,
    /// Pages are being given back to the file system.
    tightening: bool,
    /// No step before this.
    paused: Option<Instant>,
    batches_since_step: u32,
    bytes_since_checkpoint: u64,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        revision: u64,
        limit: u64,
        window: Window,
        shared: Arc<Shared>,
    ) -> Self {
        let history = History::new(window, revision, shared.compacted(), Instant::now());
        Self {
            connection,
            shared,
            limit,
            revision,
            history,
            tightening: false,
            paused: None,
            batches_since_step: 0,
            bytes_since_checkpoint: 0,
        }
    }

    /// Runs until the queue is closed and empty.
    pub(super) fn run(mut self, queue: &Receiver<Request>) {
        loop {
            match self.next(queue) {
                Next::Request(first) => self.batch(first, queue),
                Next::Step => self.step(),
                Next::Closed => break,
            }
            if self.bytes_since_checkpoint >= CHECKPOINT_BYTES {
                self.checkpoint();
            }
        }
        // Closing the last connection does this too, but would not tell of a failure.
        if let Err(error) = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)") {
            tracing::warn!(%error, "the WAL of the store stays: it is read at the next start");
        }
    }

    fn next(&mut self, queue: &Receiver<Request>) -> Next {
        let now = Instant::now();
        let due = if self.tightening || self.history.target(now).is_some() {
            Some(now)
        } else {
            self.history.wake()
        };
        let due = due.map(|due| self.paused.map_or(due, |paused| due.max(paused)));
        let Some(due) = due else {
            return queue.recv().map_or(Next::Closed, Next::Request);
        };
        if due <= now && self.batches_since_step >= BATCHES_PER_STEP {
            return Next::Step;
        }
        match queue.recv_timeout(due.saturating_duration_since(now)) {
            Ok(request) => Next::Request(request),
            Err(RecvTimeoutError::Timeout) => Next::Step,
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
        }
    }

    fn batch(&mut self, first: Request, queue: &Receiver<Request>) {
        let mut bytes = first.bytes;
        let mut requests = vec![first];
        while requests.len() < BATCH_TASKS && bytes < BATCH_BYTES {
            match queue.try_recv() {
                Ok(request) => {
                    bytes += request.bytes;
                    requests.push(request);
                }
                Err(mpsc::TryRecvError::Empty | mpsc::TryRecvError::Disconnected) => break,
            }
        }
        #[cfg(test)]
        self.run_of_tests(&mut requests);
        match self.commit(&requests) {
            Ok((answers, committed)) => {
                self.publish(committed);
                for (request, answer) in requests.into_iter().zip(answers) {
                    let _ = request.reply.send(answer);
                }
            }
            Err(error) => {
                tracing::warn!(%error, writes = requests.len(), "failed to write to the store");
                let is_full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
                let error = Arc::new(error);
                for request in requests {
                    let told =
                        if is_full { WriteError::DiskFull } else { WriteError::Failed(Arc::clone(&error)) };
                    let _ = request.reply.send(Err(told));
                }
            }
        }
        self.batches_since_step = self.batches_since_step.saturating_add(1);
    }

    /// The answers count only if this succeeds: also a conflict may be one with a write of the same batch.
    fn commit(&mut self, requests: &[Request]) -> rusqlite::Result<(Vec<Answer>, Committed)> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::new(&transaction, &self.shared.vault, self.revision, self.limit)?;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let done = match &request.task {
                Task::Write { key, expect, change, within } => batch
                    .is_unmoved(within.as_deref())
                    .and_then(|()| batch.write(key, *expect, change))
                    .map(Some),
                Task::File { name, content, sealed } => batch.file(name, content, *sealed).map(|()| None),
                #[cfg(test)]
                Task::Run(_) => Ok(None),
            };
            answers.push(match done {
                Ok(done) => Ok(done),
                Err(Fault::Own(error)) => Err(error),
                Err(Fault::Batch(error)) => return Err(error),
            });
        }
        let Batch { revision, events, full, written, .. } = batch;
        // Nothing to sync if every task was refused.
        if written == 0 {
            transaction.rollback()?
        } else {
            transaction.commit()?
        }
        Ok((answers, Committed { revision, events, full, written }))
    }

    fn publish(&mut self, committed: Committed) {
        let Committed { revision, events, full, written } = committed;
        self.bytes_since_checkpoint += written;
        if full {
            self.history.press();
        }
        if revision > self.revision {
            self.revision = revision;
            self.history.wrote(revision, Instant::now());
            self.shared.hub.publish(events, revision);
        }
    }

    fn step(&mut self) {
        self.batches_since_step = 0;
        self.paused = None;
        let now = Instant::now();
        let stepped = match self.history.target(now) {
            Some(target) => self.compact(target),
            None if self.tightening => self.tighten(),
            None => Ok(()),
        };
        if let Err(error) = stepped {
            tracing::warn!(%error, "failed to remove old history from the store; it is tried again");
            self.paused = Some(now + STEP_RETRY);
        }
    }

    fn compact(&mut self, target: u64) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let compacted = compaction::step(&transaction, self.shared.compacted(), target)?;
        transaction.commit()?;
        self.history.compacted(compacted);
        self.shared.compacted.store(compacted, Ordering::Release);
        self.tightening = compaction::is_loose(&self.connection)?;
        self.bytes_since_checkpoint += STEP_BYTES;
        Ok(())
    }

    fn tighten(&mut self) -> rusqlite::Result<()> {
        compaction::tighten(&self.connection)?;
        self.tightening = compaction::is_loose(&self.connection)?;
        self.bytes_since_checkpoint += STEP_BYTES;
        Ok(())
    }

    /// Readers go on meanwhile. What it could not move yet, the next one moves.
    fn checkpoint(&mut self) {
        self.bytes_since_checkpoint = 0;
        match self.move_wal("PASSIVE") {
            Ok(pages) if pages > LONG_WAL_PAGES => {
                let patience = |time| self.connection.busy_timeout(time);
                let restarted = patience(LONG_WAL_WAIT).and_then(|()| self.move_wal("RESTART"));
                if let Err(error) = restarted.and_then(|_| patience(BUSY)) {
                    tracing::debug!(%error, "the WAL of the store goes on growing");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "failed to move the WAL into the store; it is tried again"),
        }
    }

    /// How many pages the WAL has.
    fn move_wal(&self, mode: &str) -> rusqlite::Result<i64> {
        self.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
    }

    #[cfg(test)]
    fn run_of_tests(&mut self, requests: &mut [Request]) {
        for request in requests {
            if let Task::Run(run) = &mut request.task
                && let Some(run) = run.take()
            {
                run(self);
            }
        }
    }

    /// Removes history up to a revision, as the timer would step by step.
    #[cfg(test)]
    pub(super) fn compact_to(&mut self, target: u64) -> rusqlite::Result<()> {
        while self.shared.compacted() < target.min(self.revision.saturating_sub(1)) {
            self.compact(target.min(self.revision - 1))?;
        }
        Ok(())
    }
}
