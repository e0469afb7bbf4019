//! Gives a volume to a group, as kubelet does for `fsGroup`: every file belongs to the group, which may do what the owner may, and what is
//! made in a folder belongs to it, too. No symbolic link is followed, whoever puts one there meanwhile.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, chownat, fchmod, fchown, fstat, open, openat, statat,
};
use rustix::io::Errno;

use super::VolumeError;

/// Folders in folders. Each level holds a descriptor open; nobody nests as deeply by intent.
const DEPTH_MAX: usize = 128;
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What kubelet adds to a file's mode, and to a folder's.
const FILE_MODE: u32 = 0o660;
const FOLDER_MODE: u32 = 0o2770;

/// Nothing to do without a group.
pub(super) fn give(path: &Path, fs_group: Option<u32>) -> Result<(), VolumeError> {
    let Some(group) = fs_group else { return Ok(()) };
    let error = VolumeError::sys("set the group in", path);
    let given =
        open(path, FOLDER, Mode::empty()).and_then(|folder| give_folder(folder, Gid::from_raw(group), 0));
    match given {
        Ok(()) => Ok(()),
        Err(Errno::LOOP) => Err(VolumeError::TooDeep { path: path.to_owned() }),
        Err(errno) => Err(error(errno)),
    }
}

/// `LOOP` stands for too deep.
fn give_folder(folder: OwnedFd, group: Gid, depth: usize) -> Result<(), Errno> {
    if depth > DEPTH_MAX {
        return Err(Errno::LOOP);
    }
    set(folder.as_fd(), &fstat(&folder)?, group, FOLDER_MODE)?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match give_entry(folder.as_fd(), name, group, depth) {
            // It vanished since the folder was read: a container may be at work.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn give_entry(folder: BorrowedFd<'_>, name: &CStr, group: Gid, depth: usize) -> Result<(), Errno> {
    let found = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => give_folder(openat(folder, name, FOLDER, Mode::empty())?, group, depth + 1),
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(folder, name, flags, Mode::empty())?;
            set(file.as_fd(), &fstat(&file)?, group, FILE_MODE)
        }
        // Links, sockets, devices: the group alone. A mode of theirs cannot be set without following what may have become a link.
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => chownat(folder, name, None, Some(group), AtFlags::SYMLINK_NOFOLLOW),
    }
}

/// A volume that is as it shall be is read and not written.
fn set(file: BorrowedFd<'_>, found: &Stat, group: Gid, add: u32) -> Result<(), Errno> {
    if found.st_gid != group.as_raw() {
        fchown(file, None, Some(group))?;
    }
    let mode = found.st_mode & 0o7777;
    // A change of the group clears setgid.
    if mode | add != mode || found.st_gid != group.as_raw() {
        fchmod(file, Mode::from_raw_mode(mode | add))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn everything_is_the_groups_and_nothing_outside_is_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let outside = tempfile::tempdir().expect("a folder");
        let secret = outside.path().join("secret");
        fs::write(&secret, "x").expect("written");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).expect("made");
        fs::write(inner.join("file"), "x").expect("written");
        fs::set_permissions(inner.join("file"), fs::Permissions::from_mode(0o600)).expect("set");
        symlink(&secret, inner.join("link")).expect("linked");
        symlink(outside.path(), inner.join("folder-link")).expect("linked");
        give(folder.path(), Some(4321)).expect("given");
        let found = |path: &Path| {
            let found = fs::symlink_metadata(path).expect("it is there");
            (found.gid(), found.mode() & 0o7777)
        };
        assert_eq!(found(&inner), (4321, 0o2775));
        assert_eq!(found(&inner.join("file")), (4321, 0o660));
        assert_eq!(found(&inner.join("link")).0, 4321);
        assert_ne!(found(&secret).0, 4321);
        assert_eq!(found(&secret).1, 0o600);
        assert_ne!(found(outside.path()).0, 4321);
    }
}
