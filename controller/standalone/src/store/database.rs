//! The database file: its schema, how a connection is set up, and what is checked before it is used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::directory;
use super::seal::{KEY_CHECK_BYTES, KeyError};

const FILE: &str = "store.db";
const WAL: &str = "store.db-wal";
/// A database that is still being made. What a crash left of one is of no use.
const UNFINISHED: &str = "store.db.new";

/// "SKRY": tells our databases from others.
pub(super) const APPLICATION_ID: i32 = 0x534B_5259;
/// Grows when the schema changes; a newer one than ours is refused.
pub(super) const SCHEMA_VERSION: i32 = 1;

/// A database of at most this size is checked as a whole when it is opened: that takes about 0.1 s, or some
/// tenths when the disk is cold. Beyond, only what is read is checked, as SQLite does by itself: with WAL and
/// `synchronous=FULL` no crash or power cut damages the file, so that an unclean stop is no better reason to
/// look than a clean one, and the start must stay short. Every backup checks the whole copy.
const CHECKED_AT_OPEN: u64 = 64 << 20;

/// Another connection keeps the database locked only for moments (a checkpoint of a backup's connection at its close).
pub(super) const BUSY: Duration = Duration::from_secs(2);

/// Page caches, in KiB. The kernel caches the file too, so that they may be small.
const WRITER_CACHE_KIB: i64 = 1024;
const READER_CACHE_KIB: i64 = 256;

/// Pages of 4 KiB: an object of 3 kB is one page.
const PAGE_BYTES: i64 = 4096;
/// A WAL that grew while a backup kept a snapshot is cut back to this.
const WAL_KEPT_BYTES: i64 = 16 << 20;

/// Every version is a row of `log`, until compaction removes it. `path` is `namespace/name`: so its order is
/// that of etcd's keys. `previous` is the revision of the version that this one replaced. `value` comes last,
/// so that what only reads the other columns does not touch its overflow pages. `meta.floor` is the least
/// revision that the counter may have, besides the newest in `log`; `meta.key_check` is there as soon as
/// anything was sealed.
const SCHEMA: &str = "
    CREATE TABLE log (
        revision INTEGER PRIMARY KEY,
        resource TEXT NOT NULL,
        path TEXT NOT NULL,
        previous INTEGER,
        deleted INTEGER NOT NULL,
        sealed INTEGER NOT NULL,
        value BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX log_by_key ON log (resource, path, revision, deleted);
    CREATE INDEX log_by_resource ON log (resource, revision);
    CREATE TABLE files (name TEXT PRIMARY KEY, sealed INTEGER NOT NULL, content BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        compacted INTEGER NOT NULL,
        floor INTEGER NOT NULL,
        key_check BLOB
    ) STRICT;
    INSERT INTO meta VALUES (1, 1, 1, NULL);
";

/// Why a store was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the folder open.
    #[error("the data directory {} is in use by another process{}", dir.display(), pid.map(|pid| format!(", pid {pid}")).unwrap_or_default())]
    Locked {
        /// The folder.
        dir: PathBuf,
        /// The process that holds it, if it could be told.
        pid: Option<u32>,
    },
    /// A file or folder cannot be made, read or set up.
    #[error("failed to set up {}", path.display())]
    Files {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The file is no database, or a damaged one.
    #[error(
        "the store {} is damaged ({why}); it was left as it is: move the data directory away, restore the newest backup into a new one, \
         and keep the damaged file until the restored store is known to be good",
        file.display()
    )]
    Corrupt {
        /// The database.
        file: PathBuf,
        /// What was found.
        why: String,
    },
    /// The database belongs to another program.
    #[error("{} is not a store of Skerry", file.display())]
    Foreign {
        /// The database.
        file: PathBuf,
    },
    /// The database was written by a newer release.
    #[error("the store {} has format {found}, newer than {SCHEMA_VERSION}, the newest that this release knows; use the release that wrote it, or a newer one", file.display())]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its format.
        found: i32,
    },
    /// The key that sealed objects need.
    #[error("the key of the sealed objects cannot be used")]
    Key(#[from] KeyError),
    /// Another failure of SQLite or of the disk.
    #[error("failed to open the store {}", file.display())]
    Database {
        /// The database.
        file: PathBuf,
        /// What failed.
        #[source]
        source: rusqlite::Error,
    },
}

/// A database that was checked, with the connection of the writer.
#[derive(Debug)]
pub(super) struct Opened {
    pub connection: Connection,
    pub revision: u64,
    pub compacted: u64,
    pub key_check: Option<[u8; KEY_CHECK_BYTES]>,
}

/// The row of `meta`, and what follows from it.
#[derive(Debug)]
pub(super) struct Meta {
    pub revision: u64,
    pub compacted: u64,
    pub key_check: Option<[u8; KEY_CHECK_BYTES]>,
}

pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

pub(super) fn unfinished(dir: &Path) -> PathBuf {
    dir.join(UNFINISHED)
}

/// Opens the database of a folder that is locked, or makes a new one if there was never one.
pub(super) fn open(dir: &Path) -> Result<Opened, OpenError> {
    let file = file(dir);
    let files = |source| OpenError::Files { path: file.clone(), source };
    if !file.try_exists().map_err(files)? {
        if dir.join(WAL).exists() {
            return Err(OpenError::Corrupt { file, why: format!("it is missing, and its {WAL} is there") });
        }
        make(dir)?;
    }
    directory::tighten(&file).map_err(files)?;
    let size = fs::metadata(&file).map_err(files)?.len();
    if size == 0 {
        return Err(OpenError::Corrupt { file, why: "it is empty".to_owned() });
    }
    let failed = |source| failure(&file, source);
    let connection = connect(&file).map_err(failed)?;
    inspect(&connection, &file, size <= CHECKED_AT_OPEN)?;
    let meta = prepare(&connection).map_err(failed)?;
    Ok(Opened { connection, revision: meta.revision, compacted: meta.compacted, key_check: meta.key_check })
}

/// Makes a new database beside its place and then moves it there, so that a crash leaves a whole one or none.
fn make(dir: &Path) -> Result<(), OpenError> {
    let (new, file) = (unfinished(dir), file(dir));
    let files = |source| OpenError::Files { path: new.clone(), source };
    remove_unfinished(dir).map_err(files)?;
    directory::create(&new).map_err(files)?;
    let failed = |source| OpenError::Database { file: new.clone(), source };
    let connection = connect(&new).map_err(failed)?;
    let setup = format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL; BEGIN; {SCHEMA}
         PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    );
    connection.execute_batch(&setup).map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))?;
    fs::File::open(&new).and_then(|new| new.sync_all()).map_err(files)?;
    directory::publish(&new, &file).map_err(files)
}

/// Removes what a crash left of a database that was being made.
pub(super) fn remove_unfinished(dir: &Path) -> io::Result<()> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let path = dir.join(format!("{UNFINISHED}{suffix}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A connection to a file that is there, nothing set up yet.
pub(super) fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // SQLite refuses a path with a symlink anywhere in it under NOFOLLOW, so the folders are resolved first.
    let resolved = match (directory::parent(file).canonicalize(), file.file_name()) {
        (Ok(parent), Some(name)) => parent.join(name),
        (Ok(_) | Err(_), _) => file.to_owned(),
    };
    let connection = Connection::open_with_flags(resolved, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// A connection of a reader.
pub(super) fn connect_reader(file: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(file)?;
    let setup = format!(
        "PRAGMA cache_size = -{READER_CACHE_KIB}; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;"
    );
    connection.execute_batch(&setup)?;
    Ok(connection)
}

/// Refuses what is not ours, too new or damaged, without changing it.
pub(super) fn inspect(connection: &Connection, file: &Path, whole: bool) -> Result<(), OpenError> {
    let failed = |source| failure(file, source);
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    if number("application_id").map_err(failed)? != APPLICATION_ID {
        return Err(OpenError::Foreign { file: file.to_owned() });
    }
    let found = number("user_version").map_err(failed)?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { file: file.to_owned(), found });
    }
    if whole {
        let answer = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
            .map_err(failed)?;
        if answer != "ok" {
            return Err(OpenError::Corrupt { file: file.to_owned(), why: answer });
        }
    }
    Ok(())
}

/// Sets up the connection of the writer.
fn prepare(connection: &Connection) -> rusqlite::Result<Meta> {
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -{WRITER_CACHE_KIB};
         PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = {WAL_KEPT_BYTES};"
    ))?;
    meta(connection)
}

pub(super) fn meta(connection: &Connection) -> rusqlite::Result<Meta> {
    let sql = "SELECT compacted, max(floor, (SELECT ifnull(max(revision), 0) FROM log)), key_check FROM meta";
    connection.prepare_cached(sql)?.query_row([], |row| {
        Ok(Meta { compacted: revision(row.get(0)?), revision: revision(row.get(1)?), key_check: row.get(2)? })
    })
}

/// Revisions are never negative: SQLite's integers begin at 1 here.
pub(super) fn revision(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// A revision beyond what SQLite can hold is beyond all that are stored.
pub(super) fn stored(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// Tells damage from other failures.
pub(super) fn failure(file: &Path, source: rusqlite::Error) -> OpenError {
    let file = file.to_owned();
    if matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) {
        OpenError::Corrupt { file, why: source.to_string() }
    } else {
        OpenError::Database { file, source }
    }
}
