//! Volumes of files: what ConfigMaps, Secrets and fields say, as kubelet's AtomicWriter lays it out. A reader in a container sees all old files or
//! all new ones.
//!
//! ```text
//! VOLUME/..2026_11_24_03_57_41.123456789/{a,dir/b}   the files
//! VOLUME/..data -> ..2026_11_24_03_57_41.123456789   changed by one rename
//! VOLUME/a -> ..data/a,  VOLUME/dir -> ..data/dir
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File as Handle, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink,
};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use skerry_agent_core::{File, ProjectedVolume, Projection};
use skerry_terms::AppKey;

use super::{EngineError, Folders, VolumeError, folders, is_memory, part};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";
/// Everything that begins so is the writer's own, in the volume's folder.
const OWN: &str = "..";
/// kubelet's mode for folders in such a volume.
const FOLDER_MODE: u32 = 0o755;
/// What kubelet adds for the group: such volumes are read-only.
const GROUP_MODE: u32 = 0o440;
const GROUP_FOLDER_MODE: u32 = 0o2550;

/// Where a volume of files is kept.
pub(super) fn folder(
    folders: &Folders,
    app: &AppKey,
    volume: &str,
    secret: bool,
) -> Result<PathBuf, VolumeError> {
    let volume = part(volume)?;
    match secret {
        false => Ok(folders.app(app).join("files").join(volume)),
        true => Ok(memory_home(folders)?.join(app.namespace()).join(app.name()).join(volume)),
    }
}

/// A folder where everybody may make folders: it must be the agent's own, and nobody else's to look into.
fn owned(path: &Path) -> Result<(), VolumeError> {
    super::folders::private_anywhere(path)?;
    let found = fs::symlink_metadata(path).map_err(VolumeError::io("look at", path))?;
    let own = found.uid() == rustix::process::geteuid().as_raw();
    match found.is_dir() && own && found.mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(VolumeError::NotPrivate { path: path.to_owned() }),
    }
}

/// Where secrets are kept: in memory or not at all.
fn memory_home(folders: &Folders) -> Result<PathBuf, VolumeError> {
    let root = folders.memory_roots.iter().find(|root| is_memory(root)).ok_or_else(|| {
        let roots: Vec<_> = folders.memory_roots.iter().map(|root| root.display().to_string()).collect();
        VolumeError::NoMemory { roots: roots.join(" nor ") }
    })?;
    let shared = root.join("skerry");
    owned(&shared)?;
    Ok(shared.join(folders.home()))
}

/// Brings every volume to what it shall be; a volume that is so already is not written. One that fails does not keep the others from it.
pub(in crate::engine) fn project(folders: &Folders, projection: &Projection) -> Result<(), EngineError> {
    let Projection { app, fs_group, volumes, digest: _ } = projection;
    let results = volumes.iter().map(|volume| {
        let ProjectedVolume { name, secret, files } = volume;
        folder(folders, app, name, *secret)
            .and_then(|path| {
                // That the app has a folder says that there is something to discard.
                folders::private(folders, &folders.app(app))?;
                write(&path, files, *fs_group, !*secret)
            })
            .map_err(|error| error.of_volume(name))
    });
    results.collect::<Vec<_>>().into_iter().collect()
}

/// `durable`: a power cut leaves the old files or the new.
fn write(volume: &Path, files: &[File], fs_group: Option<u32>, durable: bool) -> Result<(), VolumeError> {
    if let Some(parent) = volume.parent() {
        folders::private_anywhere(parent)?;
    }
    folder_if_missing(volume, fs_group).map_err(VolumeError::io("make folder", volume))?;
    let files: BTreeMap<&Path, &File> =
        files.iter().map(|file| Ok((inner(&file.path)?, file))).collect::<Result<_, VolumeError>>()?;
    let current = fs::read_link(volume.join(DATA)).ok();
    let is_current = current
        .as_ref()
        .is_some_and(|current| holds(&volume.join(current), &files, fs_group).unwrap_or(false));
    if !is_current {
        let next = stamp();
        let written = write_all(&volume.join(&next), &files, fs_group, durable);
        written.map_err(VolumeError::io("write files in", volume))?;
        swap(volume, &next, durable).map_err(VolumeError::io("replace the files in", volume))?;
    }
    show(volume, &files).map_err(VolumeError::io("link files in", volume))
}

/// A path in a volume that leads nowhere else.
fn inner(path: &str) -> Result<&Path, VolumeError> {
    let parts = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    match parts && !path.is_empty() && !path.starts_with(OWN) && !path.ends_with('/') {
        true => Ok(Path::new(path)),
        false => Err(VolumeError::BadName { name: path.to_owned() }),
    }
}

fn folder_if_missing(path: &Path, fs_group: Option<u32>) -> io::Result<()> {
    match DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let (group, mode) = match fs_group {
        Some(group) => (Some(group), FOLDER_MODE | GROUP_FOLDER_MODE),
        None => (None, FOLDER_MODE),
    };
    let found = fs::metadata(path)?;
    if group.is_some_and(|group| found.gid() != group) {
        std::os::unix::fs::chown(path, None, group)?;
    }
    if found.mode() & 0o7777 != mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// What a file's mode becomes for the group.
fn mode(file: &File, fs_group: Option<u32>) -> u32 {
    match fs_group {
        Some(_) => file.mode | GROUP_MODE,
        None => file.mode,
    }
}

/// True if these files are there, and no others.
fn holds(folder: &Path, files: &BTreeMap<&Path, &File>, fs_group: Option<u32>) -> io::Result<bool> {
    let mut found = BTreeSet::new();
    list(folder, Path::new(""), &mut found)?;
    if !found.iter().map(PathBuf::as_path).eq(files.keys().copied()) {
        return Ok(false);
    }
    for (path, file) in files {
        let path = folder.join(path);
        let meta = fs::metadata(&path)?;
        let as_asked = meta.mode() & 0o7777 == mode(file, fs_group)
            && fs_group.is_none_or(|group| meta.gid() == group)
            && meta.len() == file.content.len() as u64;
        if !as_asked || fs::read(&path)? != *file.content {
            return Ok(false);
        }
    }
    Ok(true)
}

fn list(folder: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => list(folder, &path, found)?,
            false => drop(found.insert(path)),
        }
    }
    Ok(())
}

/// The name of a new set of files, as kubelet forms it.
fn stamp() -> String {
    let now = Timestamp::now();
    format!("{OWN}{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond())
}

fn write_all(
    folder: &Path,
    files: &BTreeMap<&Path, &File>,
    fs_group: Option<u32>,
    durable: bool,
) -> io::Result<()> {
    let mut folders = BTreeSet::from([folder.to_owned()]);
    folder_if_missing(folder, fs_group)?;
    for (path, file) in files {
        let path = folder.join(path);
        let mut above: Vec<&Path> = path.ancestors().skip(1).take_while(|above| *above != folder).collect();
        above.reverse();
        for above in above {
            folder_if_missing(above, fs_group)?;
            folders.insert(above.to_owned());
        }
        // Nobody but the agent sees it before it has its owner and its mode.
        let mut handle = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        handle.write_all(&file.content)?;
        if fs_group.is_some() {
            std::os::unix::fs::fchown(&handle, None, fs_group)?;
        }
        handle.set_permissions(Permissions::from_mode(mode(file, fs_group)))?;
        if durable {
            handle.sync_all()?;
        }
    }
    if durable {
        folders.iter().try_for_each(|folder| Handle::open(folder)?.sync_all())?;
    }
    Ok(())
}

/// From here on readers see the new files.
fn swap(volume: &Path, next: &str, durable: bool) -> io::Result<()> {
    let link = volume.join(DATA_NEXT);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    symlink(next, &link)?;
    fs::rename(&link, volume.join(DATA))?;
    if durable {
        Handle::open(volume)?.sync_all()?;
    }
    Ok(())
}

/// The links by which containers find the files. Those of files that are gone go, and so do older sets.
fn show(volume: &Path, files: &BTreeMap<&Path, &File>) -> io::Result<()> {
    let first = |path: &&Path| path.components().next().map(|part| PathBuf::from(part.as_os_str()));
    let shown: BTreeSet<PathBuf> = files.keys().filter_map(first).collect();
    for name in &shown {
        match symlink(Path::new(DATA).join(name), volume.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let current = fs::read_link(volume.join(DATA))?;
    for entry in fs::read_dir(volume)? {
        let name = PathBuf::from(entry?.file_name());
        let stale = name.as_os_str() != DATA && name != current && !shown.contains(&name);
        let path = volume.join(&name);
        match stale {
            true if fs::symlink_metadata(&path)?.is_dir() => fs::remove_dir_all(&path)?,
            true => fs::remove_file(&path)?,
            false => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
