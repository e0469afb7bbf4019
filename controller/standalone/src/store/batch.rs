//! One transaction of the writer: each task is checked against what precedes it in the batch. Nothing is
//! answered here: the outcome of every task depends on the commit.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use rusqlite::{Connection, params};

use super::compaction::Size;
use super::database::stored;
use super::hub::{Event, EventKind};
use super::query::{self, Newest};
use super::seal::{KeyError, Place, Sealer, Vault};
use super::{Change, Draft, Expect, Key, Object, WriteError};

/// What a row takes besides its value, counted generously: two index entries, keys, headers.
const ROW_BYTES: u64 = 512;

/// Why a task failed: its own fault, or one that fails the whole batch.
#[derive(Debug)]
pub(super) enum Fault {
    Own(WriteError),
    Batch(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Batch(error)
    }
}

impl From<KeyError> for Fault {
    fn from(error: KeyError) -> Self {
        Self::Own(WriteError::Seal(Arc::new(error)))
    }
}

/// A transaction that is under way.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    vault: &'a Vault,
    /// The last revision that was given away.
    pub revision: u64,
    pub events: Vec<Event>,
    /// Something was refused because the store is full.
    pub full: bool,
    /// Bytes that were written, about.
    pub written: u64,
    used: u64,
    limit: u64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        vault: &'a Vault,
        revision: u64,
        limit: u64,
    ) -> rusqlite::Result<Self> {
        let used = Size::of(connection)?.used();
        Ok(Self { connection, vault, revision, events: Vec::new(), full: false, written: 0, used, limit })
    }

    /// Whether an object is still of the revision at which it was read.
    pub(super) fn is_unmoved(&self, within: Option<&(Key, u64)>) -> Result<(), Fault> {
        let Some((key, revision)) = within else { return Ok(()) };
        let path = query::path(&key.namespace, &key.name);
        let newest = query::newest(self.connection, &key.resource, &path)?;
        match newest {
            Some(newest) if !newest.deleted && newest.revision == *revision => Ok(()),
            _ => Err(Fault::Own(WriteError::Moved)),
        }
    }

    pub(super) fn write(&mut self, key: &Key, expect: Expect, change: &Change) -> Result<Object, Fault> {
        let path = query::path(&key.namespace, &key.name);
        let newest = query::newest(self.connection, &key.resource, &path)?.filter(|newest| !newest.deleted);
        let current = newest.as_ref().map(|newest| newest.revision);
        let (draft, deleted) = match change {
            Change::Put(draft) => (draft, false),
            Change::Delete(draft) => (draft, true),
        };
        let expected = match expect {
            Expect::Absent => None,
            Expect::Revision(revision) => Some(revision),
        };
        if current != expected || (deleted && current.is_none()) {
            return Err(Fault::Own(WriteError::Conflict { current }));
        }
        let value = render(draft, self.revision + 1);
        self.take(value.len(), deleted)?;
        self.insert(key, &path, current, deleted, &value)?;
        self.revision += 1;
        let object = Object { key: key.clone(), revision: self.revision, value };
        let previous = newest.and_then(|newest| self.previous(key, &path, newest));
        let kind = EventKind::of(deleted, current.is_some());
        self.events.push(Event { kind, object: object.clone(), previous });
        Ok(object)
    }

    /// A value that cannot be read any more must not keep its object from being replaced or deleted.
    fn previous(&self, key: &Key, path: &str, newest: Newest) -> Option<Bytes> {
        query::plain(self.vault, &key.resource, path, newest.revision, newest.sealed, newest.value).ok()
    }

    fn insert(
        &self,
        key: &Key,
        path: &str,
        replaced: Option<u64>,
        deleted: bool,
        value: &[u8],
    ) -> Result<(), Fault> {
        let sql = "INSERT INTO log (revision, resource, path, previous, deleted, sealed, value)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let mut statement = self.connection.prepare_cached(sql)?;
        let (revision, resource) = (self.revision + 1, &*key.resource);
        let (number, replaced) = (stored(revision), replaced.map(stored));
        if self.vault.seals(resource) {
            let sealed = self.sealer()?.seal(&Place::Object { resource, path, revision }, value)?;
            statement.execute(params![number, resource, path, replaced, deleted, true, sealed])?;
        } else {
            statement.execute(params![number, resource, path, replaced, deleted, false, value])?;
        }
        Ok(())
    }

    /// The key, known to the database from the transaction on in which it is first used.
    fn sealer(&self) -> Result<Arc<Sealer>, Fault> {
        let sealer = self.vault.sealer()?;
        let sql = "UPDATE meta SET key_check = ?1 WHERE key_check IS NULL";
        self.connection.prepare_cached(sql)?.execute([sealer.check()])?;
        Ok(sealer)
    }

    pub(super) fn file(&mut self, name: &str, content: &[u8], sealed: bool) -> Result<(), Fault> {
        self.take(content.len(), false)?;
        let opaque;
        let content = if sealed {
            opaque = self.sealer()?.seal(&Place::File { name }, content)?;
            &opaque
        } else {
            content
        };
        let sql = "INSERT OR REPLACE INTO files (name, sealed, content) VALUES (?1, ?2, ?3)";
        self.connection.prepare_cached(sql)?.execute(params![name, sealed, content])?;
        Ok(())
    }

    /// Counts what a write needs, and refuses what would go beyond the bound. Deletes make room in the end,
    /// so they pass.
    fn take(&mut self, bytes: usize, deleted: bool) -> Result<(), Fault> {
        let bytes = bytes as u64 + ROW_BYTES;
        if !deleted && self.used + bytes > self.limit {
            self.full = true;
            return Err(Fault::Own(WriteError::Full { limit: self.limit }));
        }
        self.used += bytes;
        self.written += bytes;
        Ok(())
    }
}

fn render(draft: &Draft, number: u64) -> Bytes {
    let digits = number.to_string();
    let mut value = BytesMut::with_capacity(draft.head.len() + digits.len() + draft.tail.len());
    value.put_slice(&draft.head);
    value.put_slice(digits.as_bytes());
    value.put_slice(&draft.tail);
    value.freeze()
}
