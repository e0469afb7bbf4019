//! The box's own apps, with no cloud at all: files in a folder of the operator's, as kubelet has static pods, and what was handed over with
//! `skerry-agent run -f`. Both hold the same YAML that kubectl takes; both become the same payloads that a controller sends, so that a box
//! that joins one later adopts its containers.
//!
//! A file that is wrong leaves in force what it held before, restarts of the agent included. What is answered is on disk.

mod document;
mod fields;
#[cfg(test)]
mod fuzz;
mod object;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skerry_proto::caps;
use skerry_terms::{AppKey, Chain, PayloadSet, Problem, reasons};
use tokio::sync::{Notify, watch as bus};
use tracing::{info, warn};

use crate::store::{Local, LocalLoaded, Store, StoreError};
use crate::supervisor::{LocalSet, Source};

pub use document::TEXT_MAX;
pub use object::Site;
pub use watch::watch;

/// Files that are looked at; their names are sorted, and what comes after is reported.
const FILES_MAX: usize = 256;

/// Why a manifest was not taken. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("document {document}: {why}")]
    Document { document: usize, why: String },
    #[error("EdgeApp {key}: {}", errors.join("; "))]
    App { key: AppKey, errors: Vec<String> },
    #[error("{0} is in it twice")]
    Twice(String),
    #[error("there is no EdgeApp in it")]
    Empty,
    #[error("EdgeApp {key} is in the file {file} already; change it there")]
    InFile { key: AppKey, file: String },
    #[error("no app {0} was handed over with run -f")]
    NotHandedOver(AppKey),
    #[error(
        "the box would have {count} apps of its own with {bytes} bytes, at most {} and {} are possible",
        caps::APPS_MAX,
        caps::SET_MAX
    )]
    TooMany { count: usize, bytes: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeper of the box's own apps. Every call may wait for the disk.
#[derive(Debug)]
pub struct Manifests {
    store: Arc<Store>,
    /// Absent: the box has no folder of static manifests.
    folder: Option<PathBuf>,
    site: Site,
    kept: Mutex<Kept>,
    /// Something could not be stored, and is to be tried again.
    owing: Notify,
    tell: bus::Sender<LocalSet>,
}

#[derive(Debug, Default)]
struct Kept {
    /// As it is on disk.
    local: Local,
    /// Apps that were of a file last. An agent that starts anew knows only those whose file is gone since it ran.
    filed: BTreeSet<AppKey>,
    /// What is wrong with which file, or with the folder.
    problems: BTreeMap<String, String>,
    /// What local apps there were is not known.
    lost: bool,
    /// Why what is stored could not be read. Absent when it could, or was kept aside since.
    unread: Option<Problem>,
    /// Why the last change could not be stored. Absent when it could.
    unsaved: Option<Problem>,
    /// Apps that are to be dropped, and are not yet on disk.
    to_drop: BTreeSet<AppKey>,
}

impl Manifests {
    /// Reads what was handed over, and the folder. Where the store cannot be read, nothing is known of local apps, and nothing is taken.
    pub fn open(store: Arc<Store>, folder: Option<PathBuf>, site: Site) -> Self {
        let kept = match store.load_local() {
            Ok(LocalLoaded { local, lost }) => Kept { local, lost, ..Kept::default() },
            Err(error) => Kept { lost: true, unread: Some(error.when_reading()), ..Kept::default() },
        };
        let (kept, tell) = (Mutex::new(kept), bus::Sender::default());
        let manifests = Self { store, folder, site, kept, owing: Notify::new(), tell };
        manifests.reread();
        manifests
    }

    /// The box's own apps as they are.
    pub fn local_set(&self) -> LocalSet {
        self.tell.borrow().clone()
    }

    /// The same, as it changes.
    pub fn subscribe(&self) -> bus::Receiver<LocalSet> {
        self.tell.subscribe()
    }

    /// What is wrong with which static manifest.
    pub fn problems(&self) -> BTreeMap<String, String> {
        self.kept().problems.clone()
    }

    /// Takes the apps of a manifest, all or none. When this returns, they are on disk. An app that was handed over before is replaced.
    pub fn accept(&self, text: &str) -> Result<Vec<AppKey>, ManifestError> {
        let apps = object::apps(text, &self.site)?;
        if apps.is_empty() {
            return Err(ManifestError::Empty);
        }
        let mut kept = self.kept();
        for key in apps.keys() {
            if let Some((file, _)) = kept.local.files.iter().find(|(_, held)| held.contains_key(key)) {
                return Err(ManifestError::InFile { key: key.clone(), file: file.clone() });
            }
        }
        let keys: Vec<AppKey> = apps.keys().cloned().collect();
        let mut local = kept.local.clone();
        local.known.extend(keys.iter().cloned());
        local.apps.extend(apps);
        check_size(&local)?;
        kept.filed.retain(|key| !keys.contains(key));
        self.keep(&mut kept, local)?;
        Ok(keys)
    }

    /// Takes back what was handed over. Its containers go.
    pub fn remove(&self, key: &AppKey) -> Result<(), ManifestError> {
        let mut kept = self.kept();
        let mut local = kept.local.clone();
        if local.apps.remove(key).is_none() {
            return Err(ManifestError::NotHandedOver(key.clone()));
        }
        Ok(self.keep(&mut kept, local)?)
    }

    /// The controller asks for these: they are no longer the box's own.
    pub fn taken_over(&self, keys: &BTreeSet<AppKey>) {
        self.drop_and_log(keys, "the controller asks for it from now on; what was handed over is dropped");
    }

    /// Nothing is left of these on the box.
    pub fn forget(&self, keys: &BTreeSet<AppKey>) {
        self.drop_and_log(keys, "it was taken away, and nothing is left of it");
    }

    fn drop_and_log(&self, keys: &BTreeSet<AppKey>, why: &str) {
        let mut kept = self.kept();
        kept.to_drop.extend(keys.iter().cloned());
        keys.iter().for_each(|key| info!("app={key} {why}"));
        if let Err(error) = self.drop_due(&mut kept) {
            warn!("that could not be stored: {}; it is tried again", Chain(&error));
        }
    }

    fn drop_due(&self, kept: &mut Kept) -> Result<(), StoreError> {
        let mut local = kept.local.clone();
        let in_files: BTreeSet<AppKey> = local.files.values().flat_map(PayloadSet::keys).cloned().collect();
        for key in &kept.to_drop {
            local.apps.remove(key);
            // A file of the operator stays the operator's.
            if !in_files.contains(key) {
                local.known.remove(key);
                kept.filed.remove(key);
            }
        }
        self.keep(kept, local)?;
        kept.to_drop.clear();
        Ok(())
    }

    /// True while something waits for the disk.
    fn owes(&self) -> bool {
        let kept = self.kept();
        kept.unsaved.is_some() || kept.unread.is_some()
    }

    /// Tries again what could not be stored.
    fn pay(&self) {
        let dropped = {
            let mut kept = self.kept();
            kept.to_drop.is_empty() || self.drop_due(&mut kept).is_ok()
        };
        if dropped {
            self.reread();
        }
    }

    /// Looks at the folder again.
    pub fn reread(&self) {
        let mut kept = self.kept();
        kept.lost = self.store.local_is_lost();
        if !self.store.local_waits() {
            kept.unread = None;
        }
        let mut local = kept.local.clone();
        kept.filed.extend(local.files.values().flat_map(PayloadSet::keys).cloned());
        let mut problems = BTreeMap::new();
        match self.folder.as_deref().map(read_folder) {
            None => local.files.clear(),
            Some(Err(error)) => {
                let folder = self.folder.as_deref().unwrap_or(Path::new("")).display().to_string();
                problems.insert(folder, format!("cannot be read: {error}"));
            }
            Some(Ok(texts)) => {
                let mut files = BTreeMap::new();
                for (name, text) in texts {
                    let apps = text.and_then(|text| {
                        let apps =
                            object::apps(&text, &self.site).map_err(|error| Chain(&error).to_string())?;
                        clash(&files, &apps).map_or(Ok(apps), Err)
                    });
                    let before = || local.files.get(&name).cloned().unwrap_or_default();
                    let apps = apps.unwrap_or_else(|why| {
                        problems.insert(name.clone(), why);
                        before()
                    });
                    files.insert(name, apps);
                }
                local.files = files;
            }
        }
        let keys: BTreeSet<AppKey> = local.files.values().flat_map(PayloadSet::keys).cloned().collect();
        local.known.extend(keys.iter().cloned());
        kept.filed.extend(keys);
        for (name, why) in problems.iter().filter(|(name, why)| kept.problems.get(*name) != Some(why)) {
            warn!("manifest {name}: {why}; what it held before stays in force");
        }
        kept.problems = problems;
        let stored = check_size(&local)
            .map_err(|error| error.to_string())
            .and_then(|()| self.keep(&mut kept, local).map_err(|error| Chain(&error).to_string()));
        if let Err(why) = stored {
            warn!("the manifests are not taken: {why}");
            kept.problems.insert("(all)".to_owned(), why);
            self.say(&kept);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On disk first, then told.
    fn keep(&self, kept: &mut Kept, local: Local) -> Result<(), StoreError> {
        if kept.local != local {
            if let Err(error) = self.store.save_local(&local) {
                kept.unsaved = Some(error.when_writing());
                self.say(kept);
                self.owing.notify_one();
                return Err(error);
            }
            kept.local = local;
        }
        kept.unsaved = None;
        self.say(kept);
        Ok(())
    }

    fn say(&self, kept: &Kept) {
        let Local { apps, files, known } = &kept.local;
        let lost = kept.lost;
        let record_lost = || {
            lost.then(|| Problem {
                reason: reasons::STATE_CORRUPT.to_owned(),
                message: "what was handed over with run -f could not be read and is kept aside as local.corrupt-N; hand it over again, remove that copy and restart the agent. Until then containers of apps that nobody asks for are left alone".to_owned(),
            })
        };
        let unsaved = kept.unread.clone().or_else(|| kept.unsaved.clone()).or_else(record_lost);
        let mut set = LocalSet { apps: apps.clone(), lost, unsaved, ..LocalSet::default() };
        set.sources.extend(apps.keys().map(|key| (key.clone(), Source::Local)));
        // Of two files the first counts.
        for (key, payload) in files.values().rev().flatten() {
            set.apps.insert(key.clone(), payload.clone());
            set.sources.insert(key.clone(), Source::Static);
        }
        let origin = |key| if kept.filed.contains(key) { Source::Static } else { Source::Local };
        let gone = known.iter().filter(|key| !set.apps.contains_key(*key));
        set.retired = gone.map(|key| (key.clone(), origin(key))).collect();
        self.tell.send_if_modified(|told| {
            let changed = *told != set;
            if changed {
                *told = set;
            }
            changed
        });
    }
}

fn check_size(local: &Local) -> Result<(), ManifestError> {
    let sets = || std::iter::once(&local.apps).chain(local.files.values());
    let count = sets().map(PayloadSet::len).sum();
    let bytes = sets().flat_map(PayloadSet::values).map(|payload| payload.len()).sum();
    match count <= caps::APPS_MAX && bytes <= caps::SET_MAX {
        true => Ok(()),
        false => Err(ManifestError::TooMany { count, bytes }),
    }
}

fn clash(files: &BTreeMap<String, PayloadSet>, apps: &PayloadSet) -> Option<String> {
    let shared = |held: &PayloadSet| apps.keys().find(|key| held.contains_key(*key)).cloned();
    let (file, key) = files.iter().find_map(|(file, held)| Some((file, shared(held)?)))?;
    Some(format!("EdgeApp {key} is in the file {file} already"))
}

/// The text of each manifest by its name, or why it cannot be read. A folder that is not there has none.
type Texts = BTreeMap<String, Result<String, String>>;

/// How many manifests a folder has, and what is wrong with which: as the agent would see it, for somebody who is not the agent.
pub fn look(folder: &Path, site: &Site) -> io::Result<(usize, BTreeMap<String, String>)> {
    let texts = read_folder(folder)?;
    let count = texts.len();
    let mut files = BTreeMap::new();
    let mut wrong = BTreeMap::new();
    for (name, text) in texts {
        let apps = text.and_then(|text| {
            let apps = object::apps(&text, site).map_err(|error| Chain(&error).to_string())?;
            clash(&files, &apps).map_or(Ok(apps), Err)
        });
        match apps {
            Ok(apps) => drop(files.insert(name, apps)),
            Err(why) => drop(wrong.insert(name, why)),
        }
    }
    Ok((count, wrong))
}

fn read_folder(folder: &Path) -> io::Result<Texts> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Texts::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !name.starts_with('.') && ["yaml", "yml", "json"].contains(&extension) && !path.is_dir() {
            paths.push((name, path));
        }
    }
    paths.sort();
    let read = paths.into_iter().enumerate().map(|(i, (name, path))| {
        let text = match i < FILES_MAX {
            true => read_text(&path).map_err(|error| format!("cannot be read: {error}")),
            false => Err(format!("at most {FILES_MAX} files are read")),
        };
        (name, text)
    });
    Ok(read.collect())
}

fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One byte more than is taken, so that the reader sees that there is too much.
    fs::File::open(path)?.take(document::TEXT_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}
