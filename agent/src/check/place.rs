//! What file system a path is on, as the kernel's table of mounts says it.

use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub point: PathBuf,
    /// `ext4`, `tmpfs`, …
    pub kind: String,
}

/// Reads `/proc/self/mountinfo`. What cannot be read is left out.
pub(super) fn mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = unescape(before.split(' ').nth(4)?);
        Some(Mount { point: point.into(), kind: after.split(' ').next()?.to_owned() })
    };
    text.lines().filter_map(mount).collect()
}

/// The kernel writes blanks and the like in octal.
fn unescape(text: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// The mount that a resolved path is on. Of two at one place the later one covers the other.
pub(super) fn of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:5 / /run rw,nosuid shared:2 - tmpfs tmpfs rw,mode=755
24 22 8:2 / /var/lib rw - f2fs /dev/sda2 rw
25 22 8:3 / /media/a\040stick rw - vfat /dev/sdb1 rw
26 22 8:4 / /var/lib rw - xfs /dev/sda4 rw
garbage
";

    #[test]
    fn a_path_is_on_the_nearest_mount_above_it() {
        let mounts = mounts(TABLE);
        assert_eq!(mounts.len(), 5);
        let kind = |path: &str| of(&mounts, Path::new(path)).map(|mount| mount.kind.as_str());
        assert_eq!(kind("/etc/skerry"), Some("ext4"));
        assert_eq!(kind("/runner"), Some("ext4"));
        assert_eq!(kind("/run/skerry"), Some("tmpfs"));
        assert_eq!(kind("/var/lib/skerry"), Some("xfs"), "the later mount covers the earlier");
        assert_eq!(kind("/media/a stick/key"), Some("vfat"));
        assert_eq!(of(&[], Path::new("/")), None);
    }
}
