//! Paths of the box itself: resolved first, then asked for at the box's owner, then checked and made as kubelet does.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use skerry_agent_core::HostPathType;

use super::{HostPathRule, VolumeError};

/// kubelet's modes for what it makes.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// The path without symbolic links, allowed, of its type, and there. That is what is mounted: not the path that was written.
pub(super) fn resolve(path: &Path, kind: HostPathType, rule: &HostPathRule) -> Result<PathBuf, VolumeError> {
    if !path.is_absolute() {
        return Err(VolumeError::NotAbsolute { path: path.to_owned() });
    }
    let (resolved, exists) = resolved(path)?;
    rule(&resolved).map_err(|why| VolumeError::NotAllowed { why })?;
    if !exists {
        make(path, &resolved, kind)?;
        // What was made is what was allowed, or somebody changed the way there meanwhile.
        let made = fs::canonicalize(&resolved).map_err(VolumeError::io("resolve", &resolved))?;
        rule(&made).map_err(|why| VolumeError::NotAllowed { why })?;
        check(path, &made, kind)?;
        return Ok(made);
    }
    check(path, &resolved, kind)?;
    Ok(resolved)
}

/// Follows every link of the part that exists; the rest is taken as written. False: it does not exist.
fn resolved(path: &Path) -> Result<(PathBuf, bool), VolumeError> {
    let mut missing = Vec::new();
    let mut rest = path;
    loop {
        match fs::canonicalize(rest) {
            Ok(found) => {
                let exists = missing.is_empty();
                return Ok((missing.into_iter().rev().fold(found, |path, part| path.join(part)), exists));
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

/// A path without a type is made as a folder, as container runtimes do for kubelet.
fn make(written: &Path, path: &Path, kind: HostPathType) -> Result<(), VolumeError> {
    match kind {
        HostPathType::Unset | HostPathType::DirectoryOrCreate => {
            let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
            made.map_err(VolumeError::io("make folder", path))
        }
        HostPathType::FileOrCreate => {
            let made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
            made.map(drop).map_err(VolumeError::io("make file", path))
        }
        HostPathType::Directory
        | HostPathType::File
        | HostPathType::Socket
        | HostPathType::CharDevice
        | HostPathType::BlockDevice => Err(wrong(written, kind)),
    }
}

fn check(written: &Path, path: &Path, kind: HostPathType) -> Result<(), VolumeError> {
    let found = fs::metadata(path).map_err(VolumeError::io("look at", path))?.file_type();
    let fits = match kind {
        HostPathType::Unset => true,
        HostPathType::DirectoryOrCreate | HostPathType::Directory => found.is_dir(),
        HostPathType::FileOrCreate | HostPathType::File => found.is_file(),
        HostPathType::Socket => found.is_socket(),
        HostPathType::CharDevice => found.is_char_device(),
        HostPathType::BlockDevice => found.is_block_device(),
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
