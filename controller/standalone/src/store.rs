//! A durable, crash-safe, revisioned store of objects in one folder, on SQLite: one revision counter, and
//! every version kept in one log until it is compacted, so that a watch resumes from an older revision (also
//! after a restart) and the pages of a list read one consistent past revision. It knows nothing of Kubernetes
//! but the names of things: JSON goes in and out as text. The API's registry calls it; nothing else opens its
//! files.
//!
//! An acknowledged write is on disk (WAL, `synchronous=FULL`). One thread writes, all waiting writes in one
//! transaction; readers have connections of their own and see what is committed. A write that failed for an
//! error of the disk has, as with etcd, an unknown outcome only if the process dies right after: otherwise it
//! did not happen.

mod directory;

mod database;

mod seal;

mod query;

mod readers;

mod compaction;

mod hub;

mod batch;

mod writer;

mod watch;

mod backup;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};

pub use self::backup::{BackupError, RESTORED, RestoreError, backup_directory, restore};
pub use self::compaction::Window;
pub use self::database::OpenError;
pub use self::hub::{Event, EventKind};
pub use self::seal::KeyError;
pub use self::watch::{Compacted, Watch, WatchEnd};

use self::hub::Hub;
use self::readers::Readers;
use self::seal::Vault;
use self::writer::{Answer, Request, Task, Writer};

/// As etcd's default quota: enough for 500,000 objects of 4 kB, and a backup of it still takes seconds.
const MAX_BYTES: u64 = 2 << 30;

/// The longest value, as etcd's limit for a request, to which a real cluster holds its objects.
pub const MAX_VALUE: usize = 3 << 19;

/// What the server may add to an object of that size: the marks of its deletion must not be what keeps it from being deleted.
const MARKS: usize = 64 << 10;

/// Writes that wait for the writer hold together at most this many KiB; those behind them wait to be let in.
const QUEUE_KIB: usize = 16 << 10;

/// What an object is stored under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Plural and group: `edgeapps.skerry.dev`; the core group has none: `secrets`.
    pub resource: Arc<str>,
    /// Empty for an object of the cluster. Holds no `/`.
    pub namespace: Arc<str>,
    /// The object's name.
    pub name: Arc<str>,
}

/// The JSON text of an object, cut where the digits of its resourceVersion stand: the revision is known only at commit.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What precedes the digits.
    pub head: Vec<u8>,
    /// What follows them.
    pub tail: Vec<u8>,
}

/// What must be stored under the key for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// The object of exactly this revision.
    Revision(u64),
}

/// What a write does.
#[derive(Debug, Clone)]
pub enum Change {
    /// Stores a new version.
    Put(Draft),
    /// Removes the object. The draft is its last state, as watchers get it.
    Delete(Draft),
}

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is stored under.
    pub key: Key,
    /// The revision at which this version was written.
    pub revision: u64,
    /// The whole JSON text, resourceVersion included.
    pub value: Bytes,
}

/// Which part of a resource a list returns.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// The revision at which to read; the newest if absent.
    pub at: Option<u64>,
    /// Namespace and name of the last object of the page before.
    pub after: Option<(String, String)>,
    /// At most so many objects.
    pub limit: Option<usize>,
}

/// A page of a list, in the order of etcd's keys: by `namespace/name`, byte by byte.
#[derive(Debug, Clone)]
pub struct List {
    /// The revision at which it was read.
    pub revision: u64,
    /// The page.
    pub objects: Vec<Object>,
    /// There are objects behind the last one.
    pub more: bool,
    /// How many there are behind the last one.
    pub remaining: u64,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The resources whose objects are encrypted at rest.
    pub sealed: Vec<Arc<str>>,
    /// Bound on the size of the database: beyond it only deletes are taken.
    pub max_bytes: u64,
    /// How much history is kept.
    pub window: Window,
}

impl Default for Options {
    fn default() -> Self {
        Self { sealed: Vec::new(), max_bytes: MAX_BYTES, window: Window::default() }
    }
}

/// Why a write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Something else than expected is stored under the key.
    #[error("the stored revision is {current:?}")]
    Conflict {
        /// The revision of the object that is stored, if there is one.
        current: Option<u64>,
    },
    /// The store has reached its bound; deletes are still taken.
    #[error(
        "the store is full: it has reached its bound of {limit} bytes; delete objects that are no longer needed"
    )]
    Full {
        /// The bound, in bytes.
        limit: u64,
    },
    /// The value is longer than any may be.
    #[error("the object has {bytes} bytes, more than the {MAX_VALUE} that can be stored")]
    TooLarge {
        /// The length of the value.
        bytes: usize,
    },
    /// A namespace may hold no slash.
    #[error("a namespace holds no slash")]
    Slash,
    /// The object could not be encrypted.
    #[error("failed to encrypt the object")]
    Seal(#[source] Arc<KeyError>),
    /// What the object was to be made in has changed or gone since it was read.
    #[error("what the object is made in has changed")]
    Moved,
    /// No space is left on the disk.
    #[error("no space is left on the disk of the data directory: make room, nothing has to be restarted")]
    DiskFull,
    /// The disk is failing, or the database is damaged.
    #[error("failed to write to the store")]
    Failed(#[source] Arc<rusqlite::Error>),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a read returned nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The history of that revision is gone.
    #[error("the requested revision was compacted away; the oldest is {oldest}")]
    Compacted {
        /// The oldest revision that can be read.
        oldest: u64,
    },
    /// The store has not reached that revision.
    #[error("the requested revision is in the future; the newest is {current}")]
    Future {
        /// The newest revision.
        current: u64,
    },
    /// A sealed object cannot be decrypted: the row was altered, or sealed with another key.
    #[error("the stored object {name} cannot be decrypted")]
    Sealed {
        /// Resource, namespace and name.
        name: String,
        /// What failed.
        #[source]
        source: Arc<KeyError>,
    },
    /// The disk is failing, or the database is damaged.
    #[error("failed to read from the store")]
    Failed(#[source] Arc<rusqlite::Error>),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

/// An open store. Dropping it answers the writes that wait, ends the watches and closes the files.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    /// Absent only while the store is dropped: the writer ends when it is gone.
    queue: Option<mpsc::Sender<Request>>,
    /// What the writes that wait may hold together, in KiB.
    room: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
    dir: PathBuf,
    /// Held locked as long as the files are open; the last field, so that it goes last.
    _lock: directory::Lock,
}

/// What the writer, the readers and the watches have in common.
#[derive(Debug)]
struct Shared {
    hub: Hub,
    readers: Readers,
    vault: Vault,
    /// The oldest revision that can still be read. Written by the writer after each step of compaction.
    compacted: AtomicU64,
}

impl Shared {
    fn compacted(&self) -> u64 {
        self.compacted.load(Ordering::Acquire)
    }
}

/// Whether a folder holds a store.
pub fn is_in(dir: &Path) -> bool {
    database::file(dir).is_file()
}

impl Store {
    /// Opens the store in this folder, or makes a new one there. Takes some ms; a large database is not read
    /// as a whole.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let lock = directory::claim(dir)?;
        let opened = database::open(dir)?;
        let vault = Vault::open(dir, options.sealed, opened.key_check)?;
        let shared = Arc::new(Shared {
            hub: Hub::new(opened.revision),
            readers: Readers::new(database::file(dir)),
            vault,
            compacted: AtomicU64::new(opened.compacted),
        });
        let (queue, requests) = mpsc::channel();
        let writer = Writer::new(
            opened.connection,
            opened.revision,
            options.max_bytes,
            options.window,
            Arc::clone(&shared),
        );
        let writer = std::thread::Builder::new()
            .name("skerry-store".to_owned())
            .spawn(move || writer.run(&requests))
            .map_err(|source| OpenError::Files { path: dir.to_owned(), source })?;
        Ok(Self {
            shared,
            queue: Some(queue),
            room: Arc::new(Semaphore::new(QUEUE_KIB)),
            writer: Some(writer),
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// The newest revision that is committed. A store begins at 1, so that its first object has revision 2.
    pub fn revision(&self) -> u64 {
        self.shared.hub.revision()
    }

    /// The oldest revision at which a list can be read, and after which a watch can resume.
    pub fn oldest(&self) -> u64 {
        self.shared.compacted()
    }

    /// Waits until the store has reached a revision; false if it has not within the time.
    pub async fn wait_for(&self, revision: u64, timeout: Duration) -> bool {
        self.shared.hub.reach(revision, timeout).await
    }

    /// Writes one object, durably: when this returns Ok, the version survives a power cut. A caller that
    /// stops waiting does not take the write back.
    pub async fn write(&self, key: Key, expect: Expect, change: Change) -> Result<Object, WriteError> {
        if key.namespace.contains('/') {
            return Err(WriteError::Slash);
        }
        let (Change::Put(draft) | Change::Delete(draft)) = &change;
        let bytes = draft.head.len() + draft.tail.len();
        let most = match (&change, expect) {
            (Change::Delete(_), _) => usize::MAX,
            (Change::Put(_), Expect::Revision(_)) => MAX_VALUE + MARKS,
            (Change::Put(_), Expect::Absent) => MAX_VALUE,
        };
        if bytes > most {
            return Err(WriteError::TooLarge { bytes });
        }
        self.ask(bytes, Task::Write { key, expect, change, within: None }).await?.ok_or(WriteError::Closed)
    }

    /// Stores an object that is not there yet, if the one that it is made in is still as it was read: a namespace that is being
    /// deleted takes in nothing behind the back of who empties it.
    pub async fn create_within(&self, key: Key, draft: Draft, space: &Object) -> Result<Object, WriteError> {
        let bytes = draft.head.len() + draft.tail.len();
        if bytes > MAX_VALUE {
            return Err(WriteError::TooLarge { bytes });
        }
        let within = Some(Box::new((space.key.clone(), space.revision)));
        let task = Task::Write { key, expect: Expect::Absent, change: Change::Put(draft), within };
        self.ask(bytes, task).await?.ok_or(WriteError::Closed)
    }

    /// Stores a small file beside the objects, so that a backup is whole: the CA of the access layer. It
    /// replaces one of the same name, and has no revision. It is encrypted if `sealed`.
    pub async fn put_file(&self, name: &str, content: Vec<u8>, sealed: bool) -> Result<(), WriteError> {
        let name = name.to_owned();
        if content.len() > MAX_VALUE {
            return Err(WriteError::TooLarge { bytes: content.len() });
        }
        self.ask(content.len(), Task::File { name, content, sealed }).await.map(drop)
    }

    async fn ask(&self, bytes: usize, task: Task) -> Answer {
        let kib = u32::try_from(bytes / 1024 + 1).map_err(|_| WriteError::TooLarge { bytes })?;
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_| WriteError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(WriteError::Closed)?;
        queue.send(Request { task, bytes, reply, _room: room }).map_err(|_| WriteError::Closed)?;
        answer.await.map_err(|_| WriteError::Closed)?
    }

    /// The newest version of an object. It reads in place, without the blocking pool: that costs 10 to 30 µs,
    /// less than the hop to another thread.
    pub async fn get(&self, key: &Key) -> Result<Option<Object>, ReadError> {
        let shared = &self.shared;
        shared.readers.here(|connection| query::get(connection, &shared.vault, key)).await
    }

    /// A file that [`Store::put_file`] stored.
    pub async fn get_file(&self, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
        let shared = &self.shared;
        shared.readers.here(|connection| query::file(connection, &shared.vault, name)).await
    }

    /// A page of the objects of a resource, of all namespaces or of one.
    pub async fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
        range: Range,
    ) -> Result<List, ReadError> {
        let (resource, namespace) = (Arc::from(resource), namespace.map(str::to_owned));
        let shared = Arc::clone(&self.shared);
        let list = move |connection: &rusqlite::Connection| {
            query::list(connection, &shared.vault, &resource, namespace.as_deref(), &range)
        };
        self.shared.readers.elsewhere(list).await
    }

    /// Every event of a resource after a revision, in order and without a gap. One that is in the future is waited for.
    pub fn watch(
        &self,
        resource: &str,
        namespace: Option<&str>,
        after_revision: u64,
    ) -> Result<Watch, Compacted> {
        Watch::new(Arc::clone(&self.shared), Arc::from(resource), namespace.map(Arc::from), after_revision)
    }

    /// Writes a copy of the store as it is now into a new file, while writes go on. Sealed objects stay
    /// sealed: the copy is of no use without the `secrets.key` of the folder, which is to be kept elsewhere.
    pub async fn backup(&self, file: &Path) -> Result<(), BackupError> {
        let (dir, file) = (self.dir.clone(), file.to_owned());
        tokio::task::spawn_blocking(move || backup_directory(&dir, &file, &[]))
            .await
            .map_err(|_| BackupError::Stopped)?
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue = None;
        // Before the writer, so that its connection is the last one: SQLite then removes the WAL.
        self.shared.readers.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the store panicked");
        }
        self.shared.hub.close();
    }
}
