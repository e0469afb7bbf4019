//! Files and folders held by descriptor: what was checked cannot be exchanged for something else.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat, mkdirat, openat};
use rustix::io::Errno;

/// Opens the thing itself, a link included, and gives no access to it.
pub(super) const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The name by which the kernel finds what a descriptor holds, whatever became of its path.
pub(super) fn name(handle: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd())
}

/// Where it is at this moment, without links.
pub(super) fn place(handle: &OwnedFd) -> std::io::Result<PathBuf> {
    fs::read_link(name(handle))
}

pub(super) fn file_type(handle: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(fstat(handle)?.st_mode))
}

/// What is called this in a folder; a folder of this mode is made if nothing is.
pub(super) fn open_or_make(folder: &OwnedFd, name: &OsStr, mode: Mode) -> Result<OwnedFd, Errno> {
    match openat(folder, name, HANDLE, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other,
    }
    match mkdirat(folder, name, mode) {
        Ok(()) => {
            // The mode of creation is cut by the umask.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            fchmod(openat(folder, name, flags, Mode::empty())?, mode)?;
        }
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(folder, name, HANDLE, Mode::empty())
}
