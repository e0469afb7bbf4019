//! The state folder, and the room on the disks of the agent and of Docker.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};

use super::{Finding, Site, off_thread, place, read, size};

pub(super) const IDS: &[&str] = &["disk-state", "state-folder"];

/// Below this share of free room, or of free inodes, in percent, it is getting tight, and below that it is as good as full.
const TIGHT_PERCENT: u64 = 10;
const FULL_PERCENT: u64 = 2;
/// A small share of a large disk is still room: from so much on nothing is said, and below that little a large share is none.
const ROOM: u64 = 20 << 30;
const NO_ROOM: u64 = 64 << 20;

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    pub total: u64,
    /// For everybody but root.
    pub free: u64,
    /// 0 where inodes are made as they are needed.
    pub inodes: u64,
    pub inodes_free: u64,
    pub read_only: bool,
}

/// Asks the file system of a path. Can hang where that is on a network.
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let found = statvfs(path)?;
    Ok(Space {
        total: found.f_blocks.saturating_mul(found.f_frsize),
        free: found.f_bavail.saturating_mul(found.f_frsize),
        inodes: found.f_files,
        inodes_free: found.f_favail,
        read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// Whether there is room.
pub(super) fn room(id: &'static str, path: &Path, space: &Space) -> Finding {
    let Space { total, free, inodes, inodes_free, read_only: _ } = *space;
    let percent = |part: u64, whole: u64| (u128::from(part) * 100).checked_div(u128::from(whole));
    let share = |part, whole| percent(part, whole).and_then(|share| u64::try_from(share).ok()).unwrap_or(100);
    let (free_share, inodes_share) = (share(free, total), share(inodes_free, inodes));
    let mut found = format!("{}: {} of {} free", path.display(), size(free), size(total));
    if inodes > 0 && inodes_share < TIGHT_PERCENT {
        found += &format!(", {inodes_free} of {inodes} inodes free");
    }
    let fix = "remove what is not needed: docker system df shows what images, containers and volumes take, journalctl --disk-usage the log";
    if free_share < FULL_PERCENT && free < ROOM || free < NO_ROOM || inodes_share < FULL_PERCENT {
        Finding::failure(id, found, fix)
    } else if free_share < TIGHT_PERCENT && free < ROOM || inodes_share < TIGHT_PERCENT {
        Finding::warning(id, found, fix)
    } else {
        Finding::ok(id, found)
    }
}

/// What is known of the state folder.
#[derive(Debug)]
struct Facts {
    folder: PathBuf,
    /// It, or what is there of its path: that is where it will be made.
    nearest: PathBuf,
    /// Its mode. Absent: it is not there yet.
    mode: Option<u32>,
    is_folder: bool,
    space: Result<Space, String>,
    /// This user may write there.
    writable: bool,
    /// `ext4`, `tmpfs`, … Empty when that is not known.
    kind: String,
    /// Files of the folder that are mounts of their own: they cannot be replaced by a rename.
    mounted: Vec<PathBuf>,
}

pub(super) async fn check(site: Arc<Site>) -> Vec<Finding> {
    let folder = site.config.state_dir.clone();
    off_thread(move || judge(&probe(folder))).await
}

fn probe(folder: PathBuf) -> Facts {
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let nearest = folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned();
    let metadata = fs::metadata(&folder).ok();
    let device = metadata.as_ref().map(|found| found.dev());
    let is_own = |entry: &fs::DirEntry| {
        entry.file_type().is_ok_and(|kind| kind.is_file())
            && entry.metadata().is_ok_and(|found| Some(found.dev()) != device)
    };
    let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
    let mounted = entries.filter(is_own).map(|entry| entry.path()).collect();
    let mounts = place::mounts(&read("/proc/self/mountinfo"));
    let real = nearest.canonicalize().unwrap_or(nearest.clone());
    Facts {
        mode: metadata.as_ref().map(|found| found.permissions().mode() & 0o777),
        is_folder: metadata.is_none_or(|found| found.is_dir()),
        space: space(&nearest).map_err(|error| error.to_string()),
        writable: access(&nearest, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        kind: place::of(&mounts, &real).map(|mount| mount.kind.clone()).unwrap_or_default(),
        mounted,
        nearest,
        folder,
    }
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let disk = match &facts.space {
        Ok(space) => room("disk-state", &facts.nearest, space),
        Err(why) => {
            let found = format!("{}: {why}", facts.nearest.display());
            Finding::failure("disk-state", found, "look at dmesg: the disk may be broken")
        }
    };
    vec![disk, folder(facts)]
}

fn folder(facts: &Facts) -> Finding {
    let Facts { folder, nearest, mode, is_folder, space, writable, kind, mounted } = facts;
    let id = "state-folder";
    let name = folder.display();
    let another = "or name another folder as state-dir in agent.toml";
    if !is_folder {
        return Finding::failure(id, format!("{name} is no folder"), format!("move it away, {another}"));
    }
    if space.as_ref().is_ok_and(|space| space.read_only) {
        let fix =
            format!("mount -o remount,rw {}; after errors, dmesg says which; {another}", nearest.display());
        return Finding::failure(id, format!("{name} is mounted read-only: nothing new can be stored"), fix);
    }
    if !writable {
        let found = format!("this user may not write to {}", nearest.display());
        return Finding::warning(id, found, "run this with sudo, as the user that the agent runs as");
    }
    if let Some(file) = mounted.first() {
        return Finding::failure(
            id,
            format!("{} is a mount of its own and cannot be replaced", file.display()),
            "mount the folder instead of the file",
        );
    }
    let on = if kind.is_empty() { String::new() } else { format!(" on {kind}") };
    match kind.as_str() {
        "tmpfs" | "ramfs" => Finding::warning(
            id,
            format!("{name}{on}: what the box is to run is lost when it is switched off"),
            format!("put it on a disk, {another}"),
        ),
        "overlay" | "aufs" => Finding::warning(
            id,
            format!("{name}{on}: it may be lost with the container or the boot that it belongs to"),
            format!("put it on a disk of its own, {another}"),
        ),
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "vfat" | "exfat" | "msdos" => Finding::warning(
            id,
            format!("{name}{on}: a power cut can cost what was stored, or modes of files do not hold there"),
            format!("put it on a local file system such as ext4, {another}"),
        ),
        fuse if fuse.starts_with("fuse") => Finding::warning(
            id,
            format!("{name}{on}: it is not known whether it keeps what is synced"),
            format!("put it on a local file system such as ext4, {another}"),
        ),
        _ => match mode {
            None => Finding::ok(id, format!("{name}{on}: will be made")),
            Some(mode) if mode & 0o022 != 0 => Finding::warning(
                id,
                format!("{name} has mode {mode:03o}: others may write to it"),
                format!("chmod 700 {name}"),
            ),
            Some(_) => Finding::ok(id, format!("{name}{on}: can be written to")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn space(free: u64, total: u64) -> Space {
        Space { total, free, inodes: 1000, inodes_free: 900, read_only: false }
    }

    #[test]
    fn room_is_judged_by_share_and_by_size() {
        const GIB: u64 = 1 << 30;
        for (space, outcome) in [
            (space(50 * GIB, 100 * GIB), Outcome::Ok),
            (space(5 * GIB, 100 * GIB), Outcome::Warning),
            (space(GIB, 100 * GIB), Outcome::Failure),
            // Three percent of a large disk are room enough.
            (space(60 * GIB, 2000 * GIB), Outcome::Ok),
            (space(30 << 20, 256 << 20), Outcome::Failure),
            (space(0, 0), Outcome::Failure),
            (Space { inodes_free: 50, ..space(50 * GIB, 100 * GIB) }, Outcome::Warning),
            (Space { inodes_free: 3, ..space(50 * GIB, 100 * GIB) }, Outcome::Failure),
            // btrfs has no fixed number.
            (Space { inodes: 0, inodes_free: 0, ..space(50 * GIB, 100 * GIB) }, Outcome::Ok),
        ] {
            let finding = room("disk-state", Path::new("/var"), &space);
            assert_eq!(finding.outcome, outcome, "{finding:?}");
            assert_eq!(finding.fix.is_empty(), outcome == Outcome::Ok, "{finding:?}");
        }
        let full =
            room("disk-state", Path::new("/var"), &Space { inodes_free: 3, ..space(50 * GIB, 100 * GIB) });
        assert!(full.found.contains("3 of 1000 inodes free"), "{}", full.found);
    }

    fn facts() -> Facts {
        Facts {
            folder: "/var/lib/skerry".into(),
            nearest: "/var/lib/skerry".into(),
            mode: Some(0o700),
            is_folder: true,
            space: Ok(space(50 << 30, 100 << 30)),
            writable: true,
            kind: "ext4".to_owned(),
            mounted: Vec::new(),
        }
    }

    #[test]
    fn a_state_folder_that_cannot_keep_anything_is_told() {
        let read_only = Space { read_only: true, ..space(50 << 30, 100 << 30) };
        let cases: [(Facts, Outcome, &str); 9] = [
            (facts(), Outcome::Ok, "on ext4"),
            (Facts { mode: None, nearest: "/var/lib".into(), ..facts() }, Outcome::Ok, "will be made"),
            (Facts { is_folder: false, ..facts() }, Outcome::Failure, "no folder"),
            (Facts { space: Ok(read_only), writable: false, ..facts() }, Outcome::Failure, "read-only"),
            (Facts { writable: false, ..facts() }, Outcome::Warning, "may not write"),
            (Facts { mounted: vec!["/x/desired.bin".into()], ..facts() }, Outcome::Failure, "desired.bin"),
            (Facts { kind: "tmpfs".to_owned(), ..facts() }, Outcome::Warning, "switched off"),
            (Facts { kind: "nfs4".to_owned(), ..facts() }, Outcome::Warning, "power cut"),
            (Facts { mode: Some(0o777), ..facts() }, Outcome::Warning, "mode 777"),
        ];
        for (facts, outcome, words) in cases {
            let finding = folder(&facts);
            assert_eq!(finding.outcome, outcome, "{finding:?}");
            assert!(finding.found.contains(words), "{finding:?}");
            assert_eq!(finding.fix.is_empty(), outcome == Outcome::Ok, "{finding:?}");
        }
    }

    #[test]
    fn a_folder_of_this_machine_is_looked_at_and_not_made() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("a/b");
        let facts = probe(state.clone());
        assert_eq!((facts.mode, facts.nearest.as_path()), (None, dir.path()));
        assert!(facts.writable && facts.space.is_ok() && !facts.kind.is_empty(), "{facts:?}");
        assert!(!state.exists());
    }
}
