//! A path in a volume. What is in the volume was written by containers: a symbolic link in it may lead within the volume and nowhere else.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, fstat, readlinkat};
use rustix::io::Errno;

use super::VolumeError;
use super::handle::{file_type, open_or_make};

/// The kernel's own limit for one path.
const LINKS_MAX: usize = 40;

/// What `sub_path` is in the volume at `root`. What is missing is made, as folders with the volume's own mode.
///
/// Each step is taken from a descriptor of the folder before, and `..` goes back to the one that was come from; so there is no moment at which a
/// container could exchange a folder that was checked. `openat2` does the same in one call, on kernels that have it.
pub(super) fn resolve(root: OwnedFd, sub_path: &str) -> Result<OwnedFd, VolumeError> {
    let error = |errno: Errno| VolumeError::sys("open", Path::new(sub_path))(errno);
    let escapes = || VolumeError::Escapes { sub_path: sub_path.to_owned() };
    let mode = Mode::from_raw_mode(fstat(&root).map_err(error)?.st_mode & 0o7777);
    let mut way = vec![root];
    let mut ahead = parts(Path::new(sub_path)).ok_or_else(escapes)?;
    let mut links = 0;
    while let Some(step) = ahead.pop_front() {
        if step == ".." {
            way.pop();
            if way.is_empty() {
                return Err(escapes());
            }
            continue;
        }
        let here = way.last().ok_or_else(escapes)?;
        let next = open_or_make(here, &step, mode).map_err(error)?;
        if file_type(&next).map_err(error)? != FileType::Symlink {
            way.push(next);
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(VolumeError::Loops { sub_path: sub_path.to_owned() });
        }
        let leads = readlinkat(&next, c"", Vec::new()).map_err(error)?;
        let leads = PathBuf::from(OsString::from_vec(leads.into_bytes()));
        for part in parts(&leads).ok_or_else(escapes)?.into_iter().rev() {
            ahead.push_front(part);
        }
    }
    way.pop().ok_or_else(escapes)
}

/// None for an absolute path.
fn parts(path: &Path) -> Option<VecDeque<OsString>> {
    let mut parts = VecDeque::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push_back(part.to_owned()),
            Component::ParentDir => parts.push_back("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use rustix::fs::open;

    use super::super::handle::{HANDLE, place};
    use super::*;

    fn resolve(root: &Path, sub_path: &str) -> Result<PathBuf, VolumeError> {
        let root = open(root, HANDLE, Mode::empty()).expect("opened");
        super::resolve(root, sub_path).map(|thing| place(&thing).expect("it has a place"))
    }

    fn volume() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = fs::canonicalize(folder.path()).expect("resolved").join("volume");
        fs::create_dir(&root).expect("made");
        (folder, root)
    }

    #[test]
    fn what_is_missing_is_made_with_the_volumes_mode() {
        let (_folder, root) = volume();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o2777)).expect("set");
        assert_eq!(resolve(&root, "a/b").expect("made"), root.join("a/b"));
        assert_eq!(fs::metadata(root.join("a/b")).expect("there").mode() & 0o7777, 0o2777);
        fs::write(root.join("file"), "x").expect("written");
        assert_eq!(resolve(&root, "./file").expect("a file"), root.join("file"));
        resolve(&root, "file/below").expect_err("a file is no folder");
    }

    #[test]
    fn links_lead_within_the_volume_or_nowhere() {
        let (folder, root) = volume();
        fs::create_dir(folder.path().join("outside")).expect("made");
        fs::create_dir_all(root.join("in/deep")).expect("made");
        for (target, name) in [
            ("in/deep", "good"),
            ("../in/deep", "in/round"),
            ("..", "up"),
            ("../outside", "out"),
            ("../volume/in", "out-and-back"),
            ("/etc", "absolute"),
            ("loop", "loop"),
            ("..", "in/up"),
            ("in/new", "dangling"),
        ] {
            symlink(target, root.join(name)).expect("linked");
        }
        assert_eq!(resolve(&root, "good").expect("within"), root.join("in/deep"));
        assert_eq!(resolve(&root, "in/round/x").expect("within"), root.join("in/deep/x"));
        assert_eq!(resolve(&root, "in/up/in").expect("within"), root.join("in"));
        assert_eq!(resolve(&root, "dangling").expect("within"), root.join("in/new"));
        for escape in [
            "up",
            "out",
            "out/x",
            "out-and-back",
            "absolute",
            "absolute/passwd",
            "..",
            "in/../..",
            "/etc",
            "in/up/..",
        ] {
            let error = resolve(&root, escape).expect_err(escape);
            assert!(matches!(error, VolumeError::Escapes { .. }), "{escape}: {error:?}");
        }
        assert!(matches!(resolve(&root, "loop"), Err(VolumeError::Loops { .. })));
        assert!(fs::read_dir(folder.path().join("outside")).expect("read").next().is_none());
    }
}
