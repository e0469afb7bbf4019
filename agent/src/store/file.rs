//! One file of the store: how it is opened, replaced and kept aside, and which key it is sealed with. What is in it is the matter of `state`
//! and `local`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use tracing::{info, warn};

use super::guard::{Guard, Guards};
use super::seal::{Key, KeyError};
use super::{KEY, KEY_CORRUPT, PLACES, Store, StoreError, Unreadable, at, format};

/// Corrupt files kept for whoever looks into it. The oldest give way: a failing disk must not fill itself.
pub(super) const CORRUPT_KEPT: usize = 3;

/// Where something is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub file: &'static str,
    pub temporary: &'static str,
    /// Before the number of a copy that is kept aside.
    pub corrupt: &'static str,
    /// Most bytes of the content.
    pub max: usize,
}

impl Store {
    pub(super) fn guards(&self) -> MutexGuard<'_, Guards> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content of a file, in words why it is corrupt, or nothing where there is none. An error: it is there and may yet be readable; until
    /// then it is guarded.
    pub(super) fn open_file(
        &self,
        place: Place,
    ) -> Result<Option<Result<format::Opened, String>>, StoreError> {
        let path = self.folder.join(place.file);
        let max = place.max + format::EXTRA;
        let bytes = match read(&path, max) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.guards().lift(place);
                return Ok(None);
            }
            Err(error) => {
                self.guards().replaceable(place);
                return Err(at("read", &path)(error));
            }
        };
        match format::decode(bytes, place.file, max, || Key::read(&self.key)) {
            Ok(opened) => {
                self.guards().lift(place);
                if opened.version > format::VERSION {
                    let newer = opened.version;
                    warn!(
                        "{} is of a newer agent (format {newer}) that lets this one read it; what only that one knows is dropped with the next write",
                        path.display()
                    );
                }
                Ok(Some(Ok(opened)))
            }
            Err(Unreadable::Corrupt { why }) => {
                self.guards().lift(place);
                Ok(Some(Err(why)))
            }
            Err(Unreadable::Newer { found }) => {
                self.guards().keep(place);
                Err(StoreError::Newer { path, found, known: format::VERSION })
            }
            Err(Unreadable::Locked(source)) => {
                match self.key_is_beside() {
                    // A key that lay beside what it sealed and is gone is gone.
                    true => self.guards().replaceable(place),
                    false => self.guards().keep(place),
                }
                Err(StoreError::Key { path, source })
            }
        }
    }

    /// True if a file can be read, is known to be corrupt, or is gone. Changes nothing.
    pub(super) fn probe_file(&self, place: Place) -> bool {
        let max = place.max + format::EXTRA;
        let bytes = match read(&self.folder.join(place.file), max) {
            Ok(bytes) => bytes,
            Err(error) => return error.kind() == io::ErrorKind::NotFound,
        };
        match format::decode(bytes, place.file, max, || Key::read(&self.key)) {
            Ok(_) | Err(Unreadable::Corrupt { .. }) => true,
            Err(Unreadable::Newer { .. } | Unreadable::Locked(_)) => false,
        }
    }

    /// `fresh`: what is written may take the place of what could not be read.
    pub(super) fn write_file(&self, place: Place, content: Vec<u8>, fresh: bool) -> Result<(), StoreError> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(place.file);
        let guard = self.guards().of(place);
        match guard {
            None | Some(Guard::Corrupt) => {}
            Some(Guard::Replaceable) if fresh => self.begin_anew(place)?,
            Some(Guard::Keep | Guard::Replaceable) => return Err(self.why_guarded(place, path)),
        }
        let key =
            self.key_to_seal_with(fresh).map_err(|source| StoreError::Key { path: path.clone(), source })?;
        let bytes = format::encode(content, place.file, &key)
            .map_err(|none| StoreError::Key { path: path.clone(), source: none.into() })?;
        let temporary = self.folder.join(place.temporary);
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        let replace = || {
            write().map_err(at("write", &temporary))?;
            if guard.is_some() && path.exists() {
                let kept_at = self.keep_aside(&path, place.corrupt)?;
                warn!("{} could not be read; it is kept at {}", path.display(), kept_at.display());
            }
            fs::rename(&temporary, &path).map_err(at("replace", &path))
        };
        replace().inspect_err(|_| {
            // Half a file takes room that is short already.
            let _ = fs::remove_file(&temporary);
        })?;
        self.guards().lift(place);
        self.sync_folder()
    }

    /// With one file, all that cannot be read gives way: a box that goes on with what the controller sends must not be left half.
    fn begin_anew(&self, but: Place) -> Result<(), StoreError> {
        for place in PLACES {
            let waits = self.guards().of(place) == Some(Guard::Replaceable);
            if place.file != but.file && waits {
                let path = self.folder.join(place.file);
                let kept_at = self.keep_aside(&path, place.corrupt)?;
                warn!("{} could not be read; it is kept at {}", path.display(), kept_at.display());
                self.guards().lift(place);
            }
        }
        Ok(())
    }

    /// The reason that stands now: it may be another one than when it was found.
    fn why_guarded(&self, place: Place, path: PathBuf) -> StoreError {
        match self.open_file(place) {
            Err(error) => error,
            // It can be read again, and whoever waits for that has not yet seen it.
            Ok(_) => {
                self.guards().replaceable(place);
                StoreError::Guarded { path }
            }
        }
    }

    pub(super) fn key_is_beside(&self) -> bool {
        self.key == self.folder.join(KEY)
    }

    /// A key is made only where nothing lies that another one has sealed. A fresh set is stored even so, where the key lay beside the state:
    /// there it cannot come back by itself.
    fn key_to_seal_with(&self, fresh: bool) -> Result<Key, KeyError> {
        let error = match Key::read(&self.key) {
            Ok(key) => return Ok(key),
            Err(error) => error,
        };
        let sealed = || PLACES.into_iter().filter(|place| self.is_sealed(*place));
        let begin_anew = fresh && self.key_is_beside();
        match &error {
            KeyError::Missing { .. } if sealed().next().is_none() => return Key::make(&self.key),
            KeyError::Missing { .. } if begin_anew => {}
            KeyError::Length { .. } if begin_anew => self.set_aside(&self.key, KEY_CORRUPT)?,
            KeyError::Missing { .. }
            | KeyError::Length { .. }
            | KeyError::Foreign { .. }
            | KeyError::Io { .. }
            | KeyError::NoRandomness(_) => return Err(error),
        }
        for place in sealed() {
            self.set_aside(&self.folder.join(place.file), place.corrupt)?;
            self.guards().lift(place);
        }
        info!("a new key is made at {}", self.key.display());
        Key::make(&self.key)
    }

    fn set_aside(&self, path: &Path, prefix: &str) -> Result<(), KeyError> {
        let kept_at = self
            .keep_aside(path, prefix)
            .map_err(|error| KeyError::Io { path: path.to_owned(), source: io::Error::other(error) })?;
        warn!("{} is of no use without its key; it is kept at {}", path.display(), kept_at.display());
        Ok(())
    }

    /// What cannot be looked at counts as sealed: nothing is lost by caution.
    fn is_sealed(&self, place: Place) -> bool {
        let head = File::open(self.folder.join(place.file)).and_then(|file| {
            let mut head = Vec::new();
            file.take(format::HEAD as u64).read_to_end(&mut head).map(|_| head)
        });
        match head {
            Ok(head) => format::is_sealed(&head),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// A rename lasts only once the folder is on disk, too.
    pub(super) fn sync_folder(&self) -> Result<(), StoreError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at("sync", &self.folder))
    }

    pub(super) fn keep_aside(&self, path: &Path, prefix: &str) -> Result<PathBuf, StoreError> {
        let mut numbers = self.kept_aside(prefix)?;
        let next = numbers.last().map_or(1, |last| last.saturating_add(1));
        let kept_at = self.folder.join(format!("{prefix}{next}"));
        fs::rename(path, &kept_at).map_err(at("move aside", path))?;
        numbers.push(next);
        let surplus = numbers.len().saturating_sub(CORRUPT_KEPT);
        for number in &numbers[..surplus] {
            let old = self.folder.join(format!("{prefix}{number}"));
            // One that cannot be removed must not keep the box from going on.
            let removed = if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
            if let Err(error) = removed {
                warn!("cannot remove {}: {error}", old.display());
            }
        }
        self.sync_folder()?;
        Ok(kept_at)
    }

    /// Numbers of the copies that are kept, ascending.
    pub(super) fn kept_aside(&self, prefix: &str) -> Result<Vec<u64>, StoreError> {
        let entries = fs::read_dir(&self.folder).map_err(at("list", &self.folder))?;
        let mut numbers: Vec<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix(prefix)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Reads a file up to the largest size that a store can have: a runaway file must not fill the box's memory.
pub(super) fn read(path: &Path, max: usize) -> io::Result<Vec<u8>> {
    // Not to wait for a pipe that somebody put there.
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0).min(max));
    // One byte more than allowed, so that the decoder sees that there is too much.
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
