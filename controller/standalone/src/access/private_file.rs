//! Writes a file that its owner alone may read, whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};

/// Writes the file with mode 0600 in place of what is there. A power cut leaves the old or the new content.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, false)
}

/// The same, for a file that belongs to whoever owns the folder: root adds a user, and the server, which is not root, reads it.
pub(super) fn write_for_owner_of_folder(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, true)
}

fn write(path: &Path, bytes: &[u8], for_owner_of_folder: bool) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.new", std::process::id()));
    let fresh = Remnant(folder.join(hidden));
    match fs::remove_file(&fresh.0) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh.0)?;
    file.write_all(bytes)?;
    if for_owner_of_folder {
        let owner = fs::metadata(folder)?;
        if owner.uid() != file.metadata()?.uid() {
            chown(&fresh.0, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    file.sync_all()?;
    fs::rename(&fresh.0, path)?;
    // Without this a power cut may bring the old name back.
    File::open(folder)?.sync_all()
}

/// A file that is removed unless it was renamed.
struct Remnant(PathBuf);

impl Drop for Remnant {
    fn drop(&mut self) {
        // Gone if all went well; and a failure to tidy up must not hide the one that led here.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_read_by_nobody_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
        write_private(&path, b"new").expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::create_dir(&path).expect("a folder in its way");
        write_private(&path, b"new").expect_err("a folder is not replaced");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
