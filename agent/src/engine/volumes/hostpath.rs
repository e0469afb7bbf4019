//! Paths of the box itself: resolved first, then asked for at the box's owner, then checked and made as kubelet does.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, open, openat};
use rustix::io::Errno;
use skerry_agent_core::HostPathType;

use super::{HostPathRule, VolumeError, handle};

/// kubelet's modes for what it makes.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// What is at the path, and where that is without symbolic links: allowed, of its type, and there.
pub(super) fn resolve(
    path: &Path,
    kind: HostPathType,
    rule: &HostPathRule,
) -> Result<(OwnedFd, PathBuf), VolumeError> {
    if !path.is_absolute() {
        return Err(VolumeError::NotAbsolute { path: path.to_owned() });
    }
    let (found, missing) = resolved(path)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let here = open(&found, flags, Mode::empty()).map_err(VolumeError::sys("open", &found))?;
    // From here on it is this very folder, whatever becomes of its path.
    let place = handle::place(&here).map_err(VolumeError::io("resolve", &found))?;
    let target = missing.iter().fold(place, |path, part| path.join(part));
    rule(&target).map_err(|why| VolumeError::NotAllowed { why })?;
    let thing = match missing.is_empty() {
        true => here,
        false => make(path, &target, here, &missing, kind)?,
    };
    check(path, &thing, kind)?;
    Ok((thing, target))
}

/// Follows every link of the part that exists; the rest is taken as written.
fn resolved(path: &Path) -> Result<(PathBuf, Vec<OsString>), VolumeError> {
    let mut missing = Vec::new();
    let mut rest = path;
    loop {
        match fs::canonicalize(rest) {
            Ok(found) => {
                missing.reverse();
                return Ok((found, missing));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A link that leads nowhere must not become what is made.
                if fs::symlink_metadata(rest).is_ok() {
                    return Err(VolumeError::io("resolve", rest)(error));
                }
                match (rest.components().next_back(), rest.parent()) {
                    (Some(Component::Normal(part)), Some(parent)) => {
                        missing.push(part.to_owned());
                        rest = parent;
                    }
                    // `..` behind what does not exist means nothing.
                    (Some(_) | None, _) => return Err(VolumeError::io("resolve", rest)(error)),
                }
            }
            Err(error) => return Err(VolumeError::io("resolve", rest)(error)),
        }
    }
}

/// Makes what is missing below a folder. A path without a type is made as a folder, as container runtimes do for kubelet.
fn make(
    written: &Path,
    path: &Path,
    mut here: OwnedFd,
    missing: &[OsString],
    kind: HostPathType,
) -> Result<OwnedFd, VolumeError> {
    match kind {
        HostPathType::Unset | HostPathType::DirectoryOrCreate => {
            for part in missing {
                let made = handle::open_or_make(&here, part, Mode::from_raw_mode(FOLDER_MODE));
                here = made.map_err(VolumeError::sys("make folder", path))?;
            }
            Ok(here)
        }
        HostPathType::FileOrCreate => {
            let [name] = missing else {
                return Err(VolumeError::sys("make file", path)(Errno::NOENT));
            };
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(&here, name.as_os_str(), flags, Mode::from_raw_mode(FILE_MODE));
            made.map_err(VolumeError::sys("make file", path))
        }
        HostPathType::Directory
        | HostPathType::File
        | HostPathType::Socket
        | HostPathType::CharDevice
        | HostPathType::BlockDevice => Err(wrong(written, kind)),
    }
}

fn check(written: &Path, thing: &OwnedFd, kind: HostPathType) -> Result<(), VolumeError> {
    let found = handle::file_type(thing).map_err(VolumeError::sys("look at", written))?;
    let fits = match kind {
        // What was exchanged for a link meanwhile is not what was allowed.
        HostPathType::Unset => found != FileType::Symlink,
        HostPathType::DirectoryOrCreate | HostPathType::Directory => found == FileType::Directory,
        HostPathType::FileOrCreate | HostPathType::File => found == FileType::RegularFile,
        HostPathType::Socket => found == FileType::Socket,
        HostPathType::CharDevice => found == FileType::CharacterDevice,
        HostPathType::BlockDevice => found == FileType::BlockDevice,
    };
    if fits { Ok(()) } else { Err(wrong(written, kind)) }
}

fn wrong(written: &Path, kind: HostPathType) -> VolumeError {
    let expected = match kind {
        HostPathType::Unset | HostPathType::DirectoryOrCreate | HostPathType::Directory => "directory",
        HostPathType::FileOrCreate | HostPathType::File => "file",
        HostPathType::Socket => "socket file",
        HostPathType::CharDevice => "character device",
        HostPathType::BlockDevice => "block device",
    };
    VolumeError::HostPathType { path: written.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::sync::Arc;

    use super::*;

    fn resolve(path: &Path, kind: HostPathType, rule: &HostPathRule) -> Result<PathBuf, VolumeError> {
        super::resolve(path, kind, rule).map(|(_, place)| place)
    }

    fn any() -> HostPathRule {
        Arc::new(|_| Ok(()))
    }

    #[test]
    fn each_type_takes_what_it_names_and_says_what_it_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("resolved");
        let file = root.join("file");
        fs::write(&file, "").expect("written");
        let socket = root.join("socket");
        let _listener = UnixListener::bind(&socket).expect("a socket");
        let null = PathBuf::from("/dev/null");
        let missing = root.join("missing");
        for (kind, good, bad, expected) in [
            (HostPathType::Directory, &root, &file, "directory"),
            (HostPathType::DirectoryOrCreate, &root, &file, "directory"),
            (HostPathType::Directory, &root, &missing, "directory"),
            (HostPathType::File, &file, &root, "file"),
            (HostPathType::FileOrCreate, &file, &root, "file"),
            (HostPathType::File, &file, &missing, "file"),
            (HostPathType::Socket, &socket, &file, "socket file"),
            (HostPathType::CharDevice, &null, &file, "character device"),
        ] {
            assert_eq!(&resolve(good, kind, &any()).expect("it fits"), good);
            let error = resolve(bad, kind, &any()).expect_err("another type").to_string();
            assert_eq!(error, format!("hostPath type check failed: {} is not a {expected}", bad.display()));
        }
        let error = resolve(&null, HostPathType::BlockDevice, &any()).expect_err("another type");
        assert_eq!(error.to_string(), "hostPath type check failed: /dev/null is not a block device");
        assert!(!missing.exists());
    }

    #[test]
    fn what_may_be_made_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, kind, is_dir) in [
            ("a/b", HostPathType::DirectoryOrCreate, true),
            ("c/d", HostPathType::Unset, true),
            ("file", HostPathType::FileOrCreate, false),
        ] {
            let made = resolve(&folder.path().join(name), kind, &any()).expect("made");
            assert_eq!(made.is_dir(), is_dir, "{name}");
        }
        resolve(&folder.path().join("no/file"), HostPathType::FileOrCreate, &any()).expect_err("no folder");
    }

    #[test]
    fn the_rule_sees_where_links_lead_before_anything_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("resolved");
        fs::create_dir_all(root.join("allowed")).expect("made");
        fs::create_dir_all(root.join("forbidden")).expect("made");
        symlink("../forbidden", root.join("allowed/link")).expect("linked");
        symlink("nowhere", root.join("allowed/dangling")).expect("linked");
        let allowed = root.join("allowed");
        let rule: HostPathRule = Arc::new(move |path| match path.starts_with(&allowed) {
            true => Ok(()),
            false => Err(format!("policy.host-paths does not allow {}", path.display())),
        });
        let error = resolve(&root.join("allowed/link/new"), HostPathType::DirectoryOrCreate, &rule);
        let error = error.expect_err("it leads elsewhere").to_string();
        assert_eq!(
            error,
            format!("policy.host-paths does not allow {}", root.join("forbidden/new").display())
        );
        assert!(!root.join("forbidden/new").exists());
        for escape in ["allowed/../forbidden", "allowed/missing/../../forbidden", "allowed/dangling"] {
            resolve(&root.join(escape), HostPathType::DirectoryOrCreate, &rule).expect_err(escape);
        }
        resolve(&root.join("allowed/link/../allowed/new"), HostPathType::DirectoryOrCreate, &rule)
            .expect("allowed");
        assert!(root.join("allowed/new").is_dir());
    }
}
