//! What is read from the database: an object, a page of a list, the events after a revision, a file. Each
//! function reads one snapshot.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::database::{self, stored};
use super::hub::{Event, EventKind};
use super::seal::{KeyError, Place, Vault};
use super::{Key, List, Object, Range, ReadError};

/// A page of events holds at most so many rows and, but for the last one, bytes: what a watch that is behind
/// keeps in memory.
const PAGE_EVENTS: usize = 64;
const PAGE_BYTES: usize = 1 << 20;

/// Behind every path of a namespace and before those of the next one: the byte after the slash.
const AFTER_SLASH: char = '0';

/// Behind every path: no UTF-8 text begins with this character but noncharacters, which are no names.
const AFTER_ALL: &str = "\u{10FFFF}";

/// What a key is stored under.
pub(super) fn path(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

fn key(resource: &Arc<str>, path: &str) -> Key {
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    Key { resource: Arc::clone(resource), namespace: Arc::from(namespace), name: Arc::from(name) }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(Arc::new(error))
    }
}

/// The newest version of an object.
pub(super) fn get(connection: &Connection, vault: &Vault, key: &Key) -> Result<Option<Object>, ReadError> {
    let path = path(&key.namespace, &key.name);
    let Some(newest) = newest(connection, &key.resource, &path)?.filter(|newest| !newest.deleted) else {
        return Ok(None);
    };
    let value = plain(vault, &key.resource, &path, newest.revision, newest.sealed, newest.value)?;
    Ok(Some(Object { key: key.clone(), revision: newest.revision, value }))
}

/// The newest row of a key, maybe one that tells of its deletion.
#[derive(Debug)]
pub(super) struct Newest {
    pub revision: u64,
    pub deleted: bool,
    pub sealed: bool,
    pub value: Vec<u8>,
}

pub(super) fn newest(
    connection: &Connection,
    resource: &str,
    path: &str,
) -> rusqlite::Result<Option<Newest>> {
    let sql = "SELECT revision, deleted, sealed, value FROM log
               WHERE resource = ?1 AND path = ?2 ORDER BY revision DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let newest = statement.query_row(params![resource, path], |row| {
        let revision = database::revision(row.get(0)?);
        Ok(Newest { revision, deleted: row.get(1)?, sealed: row.get(2)?, value: row.get(3)? })
    });
    newest.optional()
}

/// The text of a stored value.
pub(super) fn plain(
    vault: &Vault,
    resource: &str,
    path: &str,
    revision: u64,
    sealed: bool,
    value: Vec<u8>,
) -> Result<Bytes, ReadError> {
    if !sealed {
        return Ok(Bytes::from(value));
    }
    let opened = vault.unseal(&Place::Object { resource, path, revision }, &value);
    opened.map(Bytes::from).map_err(|source| unreadable(format!("{resource} {path}"), source))
}

fn unreadable(name: String, source: KeyError) -> ReadError {
    ReadError::Sealed { name, source: Arc::new(source) }
}

/// A page of a list.
pub(super) fn list(
    connection: &Connection,
    vault: &Vault,
    resource: &Arc<str>,
    namespace: Option<&str>,
    range: &Range,
) -> Result<List, ReadError> {
    let snapshot = connection.unchecked_transaction()?;
    let meta = database::meta(&snapshot)?;
    let revision = range.at.unwrap_or(meta.revision);
    if revision > meta.revision {
        return Err(ReadError::Future { current: meta.revision });
    }
    if revision < meta.compacted {
        return Err(ReadError::Compacted { oldest: meta.compacted });
    }
    let (mut from, to) = match namespace {
        Some(namespace) => (format!("{namespace}/"), format!("{namespace}{AFTER_SLASH}")),
        None => (String::new(), AFTER_ALL.to_owned()),
    };
    if let Some((namespace, name)) = &range.after {
        from = from.max(path(namespace, name));
    }
    let limit = range.limit.unwrap_or(usize::MAX);
    let (found, remaining) = newest_of_each(&snapshot, resource, (&from, &to), revision, limit)?;
    let mut objects = Vec::with_capacity(found.len());
    let mut fetch = snapshot.prepare_cached("SELECT sealed, value FROM log WHERE revision = ?1")?;
    for (path, revision) in found {
        let (sealed, value) = fetch.query_row([stored(revision)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let value = plain(vault, resource, &path, revision, sealed, value)?;
        objects.push(Object { key: key(resource, &path), revision, value });
    }
    Ok(List { revision, objects, more: remaining > 0, remaining })
}

/// Paths with the revision of their object, and how many follow. It walks the index alone, all versions that
/// are kept: the window bounds them.
fn newest_of_each(
    snapshot: &Connection,
    resource: &str,
    (from, to): (&str, &str),
    revision: u64,
    limit: usize,
) -> rusqlite::Result<(Vec<(String, u64)>, u64)> {
    // SQLite promises that `deleted` is that of the row with the greatest revision.
    let sql = "SELECT path, max(revision), deleted FROM log INDEXED BY log_by_key
               WHERE resource = ?1 AND path > ?2 AND path < ?3 AND revision <= ?4 GROUP BY path";
    let mut statement = snapshot.prepare_cached(sql)?;
    let mut rows = statement.query(params![resource, from, to, stored(revision)])?;
    let (mut found, mut remaining) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if row.get(2)? {
            continue;
        }
        if found.len() < limit {
            found.push((row.get(0)?, database::revision(row.get(1)?)));
        } else {
            remaining += 1;
        }
    }
    Ok((found, remaining))
}

/// Events that a watch missed.
#[derive(Debug)]
pub(super) struct Page {
    pub events: Vec<Event>,
    /// All events up to this revision are in this page or before it.
    pub through: u64,
}

/// The first events of a resource after a revision.
pub(super) fn events(
    connection: &Connection,
    vault: &Vault,
    resource: &Arc<str>,
    namespace: Option<&str>,
    after: u64,
) -> Result<Page, ReadError> {
    let snapshot = connection.unchecked_transaction()?;
    let meta = database::meta(&snapshot)?;
    if after < meta.compacted {
        return Err(ReadError::Compacted { oldest: meta.compacted });
    }
    let sql = "SELECT log.revision, log.path, log.previous, log.deleted, log.sealed, log.value, before.sealed, before.value
               FROM log INDEXED BY log_by_resource LEFT JOIN log AS before ON before.revision = log.previous
               WHERE log.resource = ?1 AND log.revision > ?2 AND (?3 IS NULL OR substr(log.path, 1, length(?3)) = ?3)
               ORDER BY log.revision";
    let mut statement = snapshot.prepare_cached(sql)?;
    let within = namespace.map(|namespace| format!("{namespace}/"));
    let mut rows = statement.query(params![resource, stored(after), within])?;
    let mut page = Page { events: Vec::new(), through: meta.revision };
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let revision = database::revision(row.get(0)?);
        let (path, replaced) = (row.get::<_, String>(1)?, row.get::<_, Option<i64>>(2)?);
        let value = plain(vault, resource, &path, revision, row.get(4)?, row.get(5)?)?;
        let previous = match (replaced, row.get::<_, Option<Vec<u8>>>(7)?) {
            (Some(replaced), Some(value)) => {
                plain(vault, resource, &path, database::revision(replaced), row.get(6)?, value).ok()
            }
            (Some(_) | None, _) => None,
        };
        bytes += value.len() + previous.as_ref().map_or(0, Bytes::len);
        let kind = EventKind::of(row.get(3)?, replaced.is_some());
        page.events.push(Event {
            kind,
            object: Object { key: key(resource, &path), revision, value },
            previous,
        });
        if page.events.len() >= PAGE_EVENTS || bytes >= PAGE_BYTES {
            page.through = revision;
            break;
        }
    }
    Ok(page)
}

/// A small file.
pub(super) fn file(connection: &Connection, vault: &Vault, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
    let mut statement = connection.prepare_cached("SELECT sealed, content FROM files WHERE name = ?1")?;
    let found = statement
        .query_row([name], |row| Ok((row.get::<_, bool>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    match found {
        Some((true, content)) => {
            let opened = vault.unseal(&Place::File { name }, &content);
            opened.map(Some).map_err(|source| unreadable(format!("file {name}"), source))
        }
        Some((false, content)) => Ok(Some(content)),
        None => Ok(None),
    }
}
