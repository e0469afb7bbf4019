//! Paths that containers could exchange between the moment of the check and the moment at which Docker mounts them: a link in place of the
//! folder, and the container sees another part of the box. Docker is given a mount of the very thing that was checked instead, in a place
//! that only root comes by. As in kubelet, which does the same for every subPath, a mount lives as long as its container.
//!
//! The places are on a file system in memory of their own. A Docker that does not see the agent's mounts therefore finds nothing there, rather than
//! an empty folder, and no `rm -r` of the state directory comes by what containers have mounted.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    unmount,
};
use tracing::warn;

use super::{Folders, VolumeError, handle, part};

/// Only folders and empty files are there: this is for what the kernel keeps about them.
const GROUND: &std::ffi::CStr = c"mode=0700,size=1m,nr_inodes=65536";

/// The containers that are being created at this moment: what is mounted for them is not yet anybody's. Also the lock for all that is done here.
#[derive(Debug, Clone, Default)]
pub(super) struct Making(Arc<Mutex<BTreeSet<String>>>);

/// A container is being created for as long as this lives.
#[derive(Debug)]
pub struct BeingMade {
    making: Making,
    container: String,
}

impl Making {
    /// A poisoned lock holds only names, and each is put in and taken out by one call.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BeingMade {
    fn drop(&mut self) {
        self.making.lock().remove(&self.container);
    }
}

/// How much of a thing is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Without what else is mounted in it, as kubelet mounts a subPath.
    Alone,
    /// With all that is mounted in it, as Docker mounts a folder.
    Whole,
}

/// To be held while a container is created, from before its volumes are made ready.
pub(in crate::engine) fn being_made(folders: &Folders, container: &str) -> BeingMade {
    let making = folders.making.clone();
    making.lock().insert(container.to_owned());
    BeingMade { making, container: container.to_owned() }
}

/// Mounts what `thing` holds for a container, as its mount of this number, and says where.
pub(super) fn pin(
    folders: &Folders,
    container: &str,
    number: usize,
    thing: &OwnedFd,
    depth: Depth,
) -> Result<PathBuf, VolumeError> {
    let _lock = folders.making.lock();
    let folder = ground(folders)?.join(part(container)?);
    super::folders::private_anywhere(&folder)?;
    let place = folder.join(number.to_string());
    release(&place).map_err(VolumeError::io("unmount", &place))?;
    let is_folder =
        handle::file_type(thing).map_err(VolumeError::sys("look at", &place))? == FileType::Directory;
    let made = match is_folder {
        true => DirBuilder::new().mode(0o700).create(&place),
        false => File::create_new(&place).map(drop),
    };
    made.map_err(VolumeError::io("make", &place))?;
    let name = handle::name(thing);
    let mounted = match depth {
        Depth::Alone => mount_bind(name, &place),
        Depth::Whole => mount_bind_recursive(name, &place),
    };
    mounted.map_err(VolumeError::sys("mount on", &place))?;
    private(&place).map_err(VolumeError::sys("mount on", &place))?;
    Ok(place)
}

/// The containers for which something is mounted and that are this process's to clean up: without those that are being created, here or,
/// where another process works, anywhere.
pub(in crate::engine) fn pinned(folders: &Folders) -> Vec<OsString> {
    if !folders.are_tidied() {
        return Vec::new();
    }
    let making = folders.making.lock();
    let entries = fs::read_dir(place_of(folders)).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names.filter(|name| name.to_str().is_none_or(|name| !making.contains(name))).collect()
}

/// Unmounts what was mounted for containers that are gone.
pub(in crate::engine) fn unpin(folders: &Folders, containers: &[OsString]) {
    let _lock = folders.making.lock();
    for container in containers {
        let folder = place_of(folders).join(container);
        let release_all = || -> io::Result<()> {
            for entry in fs::read_dir(&folder)? {
                release(&entry?.path())?;
            }
            fs::remove_dir(&folder)
        };
        if let Err(error) = release_all() {
            warn!("cannot unmount what is mounted in {}: {error}", folder.display());
        }
    }
    // Refused by the kernel while there is anything left.
    let path = place_of(folders);
    let is_empty = fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty && unmount(&path, UnmountFlags::NOFOLLOW).is_ok() {
        let _ = fs::remove_dir(&path);
    }
}

/// Beside the folder of what is kept in memory: every name in that one is a namespace's.
fn place_of(folders: &Folders) -> PathBuf {
    folders.mounts_root.join("skerry").join(format!("{}.mounts", folders.home()))
}

/// The place where mounts are made, with a file system of its own.
fn ground(folders: &Folders) -> Result<PathBuf, VolumeError> {
    let path = place_of(folders);
    super::folders::private_anywhere(&path)?;
    let device = |path: &Path| fs::symlink_metadata(path).map(|found| found.dev());
    let io = |error| VolumeError::io("look at", &path)(error);
    let above = path.parent().map(device).transpose().map_err(io)?;
    if Some(device(&path).map_err(io)?) == above {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", &path, "tmpfs", flags, GROUND).map_err(VolumeError::sys("mount a tmpfs on", &path))?;
    }
    Ok(path)
}

/// What happens here is not to happen where the thing came from: least of all that what is mounted in it is unmounted.
fn private(place: &Path) -> rustix::io::Result<()> {
    mount_change(place, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// Unmounts a place and removes it. What is still mounted there is never touched: the kernel refuses to remove a mount point.
fn release(place: &Path) -> io::Result<()> {
    if private(place).is_ok() {
        unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    }
    let removed = match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => fs::remove_dir(place),
        Ok(_) => fs::remove_file(place),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use rustix::fs::{Mode, OFlags, open};

    use super::*;

    fn held(path: &Path) -> OwnedFd {
        open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("opened")
    }

    /// Mounts need root, as the agent has it.
    fn site() -> (tempfile::TempDir, Folders) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut folders = Folders::new(&folder.path().join("state"));
        folders.mounts_root = folder.path().join("run");
        (folder, folders)
    }

    fn leave(folders: &Folders) {
        unpin(folders, &pinned(folders));
        assert!(!place_of(folders).exists(), "nothing is mounted there any more");
    }

    #[test]
    fn what_was_checked_is_mounted_whatever_becomes_of_its_path() {
        let (folder, folders) = site();
        let (good, evil) = (folder.path().join("good"), folder.path().join("evil"));
        for path in [&good, &evil] {
            fs::create_dir(path).expect("made");
            fs::write(path.join("who"), path.to_string_lossy().as_bytes()).expect("written");
        }
        let (thing, file) = (held(&good), held(&good.join("who")));
        fs::rename(&good, folder.path().join("moved")).expect("moved");
        symlink(&evil, &good).expect("linked");
        let expected = good.to_string_lossy();
        for (number, thing, name) in [(0, &thing, "who"), (1, &file, "")] {
            for _ in ["first", "again"] {
                let place = pin(&folders, "box_app_web", number, thing, Depth::Alone).expect("mounted");
                let path = if name.is_empty() { place } else { place.join(name) };
                assert_eq!(fs::read_to_string(path).expect("read"), expected);
            }
        }
        leave(&folders);
        assert!(folder.path().join("moved/who").exists(), "what was mounted is left alone");
    }

    #[test]
    fn a_container_that_is_being_created_is_nobodys_to_clean_up() {
        let (folder, folders) = site();
        let being_made = being_made(&folders, "young");
        for container in ["young", "old"] {
            pin(&folders, container, 0, &held(folder.path()), Depth::Whole).expect("mounted");
        }
        assert_eq!(pinned(&folders), ["old"]);
        drop(being_made);
        assert_eq!(pinned(&folders).len(), 2);
        assert!(pinned(&folders.clone().only_looked_at()).is_empty(), "another process may be creating them");
        leave(&folders);
    }
}
