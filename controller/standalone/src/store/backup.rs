//! Copies of a store: made while it is in use or not, and put back into an empty folder. A copy holds what is
//! sealed as it is stored: the `secrets.key` of the folder is not part of it, and without that key the copy's
//! secrets cannot be read.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use super::database::{self, OpenError, stored};
use super::seal::{self, KEY_FILE, KeyError, Sealer};
use super::{compaction, directory};

/// What is restored goes on at a revision this far ahead, as etcd's own manual advises: beyond every one that
/// was given away after the backup, so that no client takes a new object for one it has seen, and all begin
/// anew with a list.
const REVISIONS_AHEAD: u64 = 1_000_000_000;

/// Before the name of what stood beside the store.
const BESIDE: &str = "beside/";

/// The file that a restore leaves in the store, with content: whoever opens it next tells those who remember what came after the
/// backup that this history is another one, and empties it.
pub const RESTORED: &str = "restored";

/// Why there is no backup. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file of that name is there.
    #[error("{} exists already; a backup replaces nothing", file.display())]
    Exists {
        /// The file.
        file: PathBuf,
    },
    /// The folder holds no store.
    #[error("there is no store in {}", dir.display())]
    Absent {
        /// The folder.
        dir: PathBuf,
    },
    /// The file cannot be written.
    #[error("failed to write {}", file.display())]
    Files {
        /// The file.
        file: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The store cannot be read, or the copy of it is damaged.
    #[error("failed to copy the store")]
    Store(#[from] OpenError),
    /// The process is stopping.
    #[error("the backup was stopped")]
    Stopped,
}

/// Why nothing was restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder holds something besides a key.
    #[error("{} is not empty: it holds {}; a backup is restored into an empty folder, or one that holds only {KEY_FILE}", dir.display(), found.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
        /// What it holds.
        found: PathBuf,
    },
    /// The backup is damaged or foreign, or the folder is in use.
    #[error("the backup cannot be restored")]
    Store(#[from] OpenError),
    /// The key is missing, wrong or unreadable.
    #[error("the key of the backup's sealed objects cannot be used")]
    Key(#[from] KeyError),
    /// A file cannot be read or written.
    #[error("failed to restore from {} to {}", file.display(), dir.display())]
    Files {
        /// The backup.
        file: PathBuf,
        /// Where it was to go.
        dir: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
}

/// Copies the store of a folder, whether a process has it open or not, into a new file that is durable when
/// this returns. The small files of these names that stand beside the store are put into the copy.
pub fn backup_directory(dir: &Path, file: &Path, beside: &[&str]) -> Result<(), BackupError> {
    let files = |source| BackupError::Files { file: file.to_owned(), source };
    let database = database::file(dir);
    if !database.is_file() {
        return Err(BackupError::Absent { dir: dir.to_owned() });
    }
    if fs::symlink_metadata(file).is_ok() {
        return Err(BackupError::Exists { file: file.to_owned() });
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Unfinished(PathBuf::from(partial));
    directory::create(&partial.0).map_err(files)?;
    copy(&database, &partial.0)?;
    take_along(dir, &partial.0, beside).map_err(files)?;
    File::open(&partial.0).and_then(|copy| copy.sync_all()).map_err(files)?;
    match directory::publish(&partial.0, file) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(BackupError::Exists { file: file.to_owned() })
        }
        published => published.map_err(files),
    }
}

/// One snapshot of the database, without its free pages, checked as a whole.
fn copy(database: &Path, to: &Path) -> Result<(), OpenError> {
    let failed = |source| database::failure(database, source);
    let text = to.to_str().ok_or_else(|| OpenError::Files {
        path: to.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"),
    })?;
    let connection = database::connect_reader(database).map_err(failed)?;
    database::inspect(&connection, database, false)?;
    // It writes a file, which is why the connection must not refuse to write.
    connection.execute_batch("PRAGMA query_only = OFF").map_err(failed)?;
    connection.execute("VACUUM INTO ?1", [text]).map_err(failed)?;
    let copied = database::connect(to).map_err(|source| database::failure(to, source))?;
    database::inspect(&copied, to, true)
}

/// Puts what stands beside the store into its copy.
fn take_along(dir: &Path, copy: &Path, beside: &[&str]) -> io::Result<()> {
    let connection = database::connect(copy).map_err(io::Error::other)?;
    for name in beside {
        match fs::read(dir.join(name)) {
            Ok(content) => connection
                .execute(
                    "INSERT OR REPLACE INTO files (name, sealed, content) VALUES (?1, 0, ?2)",
                    (format!("{BESIDE}{name}"), content),
                )
                .map(drop)
                .map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    connection.close().map_err(|(_, error)| io::Error::other(error))
}

/// Puts beside a restored store what was beside the one that it is a copy of.
fn put_beside(copy: &Path, dir: &Path, beside: &[&str]) -> io::Result<()> {
    let connection = database::connect(copy).map_err(io::Error::other)?;
    for name in beside {
        let stored = format!("{BESIDE}{name}");
        let content: Option<Vec<u8>> = connection
            .query_row("SELECT content FROM files WHERE name = ?1", [&stored], |row| row.get(0))
            .optional()
            .map_err(io::Error::other)?;
        if let Some(content) = content {
            let mut file = directory::create(&dir.join(name))?;
            file.write_all(&content)?;
            file.sync_all()?;
            connection.execute("DELETE FROM files WHERE name = ?1", [&stored]).map_err(io::Error::other)?;
        }
    }
    connection.close().map_err(|(_, error)| io::Error::other(error))
}

/// Puts a backup into a folder that is empty or holds only the key; `key` is put there too. If the backup has
/// sealed objects, the key must be theirs. The backup is checked before anything gets its name, and the
/// folder holds all of it or nothing.
pub fn restore(file: &Path, dir: &Path, key: Option<&Path>, beside: &[&str]) -> Result<(), RestoreError> {
    let files = |source| RestoreError::Files { file: file.to_owned(), dir: dir.to_owned(), source };
    let mut source = File::open(file).map_err(files)?;
    let _lock = directory::claim(dir)?;
    database::remove_unfinished(dir).map_err(files)?;
    let own = dir.join(KEY_FILE);
    if let Some(found) = directory::entries(dir).map_err(files)?.into_iter().find(|found| *found != own) {
        return Err(RestoreError::NotEmpty { dir: dir.to_owned(), found });
    }
    let new = Unfinished(database::unfinished(dir));
    let mut copied = directory::create(&new.0).map_err(files)?;
    io::copy(&mut source, &mut copied).map_err(files)?;
    drop(copied);
    let given = match key {
        Some(path) => {
            Some((path, Sealer::read(path)?.ok_or_else(|| KeyError::Missing { path: path.to_owned() })?))
        }
        None => None,
    };
    let check = advance(&new.0, file)?;
    let there = Sealer::read(&own)?;
    agree(
        check,
        given.as_ref().map(|(path, key)| (*path, key)),
        there.as_ref().map(|key| (own.as_path(), key)),
        &own,
    )?;
    put_beside(&new.0, dir, beside).map_err(files)?;
    File::open(&new.0).and_then(|new| new.sync_all()).map_err(files)?;
    if let (Some((path, _)), None) = (given, there) {
        seal::install(dir, &fs::read(path).map_err(files)?)?;
    }
    directory::publish(&new.0, &database::file(dir)).map_err(files)
}

/// The backup's key must be there if it needs one, and no key may be another than that or than the folder's own.
fn agree(
    check: Option<[u8; seal::KEY_CHECK_BYTES]>,
    given: Option<(&Path, &Sealer)>,
    there: Option<(&Path, &Sealer)>,
    own: &Path,
) -> Result<(), KeyError> {
    let wanted = check.or(there.map(|(_, key)| key.check()));
    if let Some((path, _)) =
        [given, there].into_iter().flatten().find(|(_, key)| Some(key.check()) != wanted && wanted.is_some())
    {
        return Err(KeyError::Other { path: path.to_owned() });
    }
    if check.is_some() && given.is_none() && there.is_none() {
        return Err(KeyError::Missing { path: own.to_owned() });
    }
    Ok(())
}

/// Checks the copy, removes its history and lets its revisions go on far ahead. Errors name the backup, not the copy.
fn advance(copy: &Path, backup: &Path) -> Result<Option<[u8; seal::KEY_CHECK_BYTES]>, OpenError> {
    let failed = |source| database::failure(backup, source);
    let connection = database::connect(copy).map_err(failed)?;
    database::inspect(&connection, backup, true)?;
    let check = forget(&connection).map_err(failed)?;
    connection.close().map_err(|(_, source)| failed(source))?;
    Ok(check)
}

fn forget(connection: &Connection) -> rusqlite::Result<Option<[u8; seal::KEY_CHECK_BYTES]>> {
    // A copy that was made by hand may be in WAL mode; the file that is moved into its place must be whole by itself.
    connection.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; BEGIN")?;
    let meta = database::meta(connection)?;
    let mut compacted = meta.compacted;
    while compacted < meta.revision {
        compacted = compaction::step(connection, compacted, meta.revision)?;
    }
    let ahead = stored(meta.revision.saturating_add(REVISIONS_AHEAD));
    connection.execute("UPDATE meta SET floor = ?1, compacted = ?1", [ahead])?;
    connection
        .execute("INSERT OR REPLACE INTO files (name, sealed, content) VALUES (?1, 0, x'01')", [RESTORED])?;
    connection.execute_batch("COMMIT")?;
    Ok(meta.key_check)
}

/// A file that is removed unless it got its final name.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is there only after a failure, which is what is reported.
        let _ = fs::remove_file(&self.0);
    }
}
