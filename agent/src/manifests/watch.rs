//! Watches the folder of static manifests through inotify: an idle box reads nothing.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use skerry_agent_core::Backoff;
use tokio::io::unix::AsyncFd;
use tracing::warn;

use super::Manifests;

/// Between tries to store what the disk did not take.
const RETRY: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };

/// An editor writes a file in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// What may change a manifest.
const IN_FOLDER: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF);
/// What may bring the folder into being.
const ABOVE: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// Rereads the manifests whenever their folder changes, and stores what the disk did not take as soon as it does.
pub async fn watch(manifests: Arc<Manifests>) {
    let folder = async {
        let Some(folder) = manifests.folder.clone() else { return };
        if let Err(error) = follow(&manifests, &folder).await {
            warn!(
                "{} cannot be watched: {error}; changes of manifests count after the next start",
                folder.display()
            );
        }
    };
    tokio::join!(folder, pay(&manifests));
}

/// Costs nothing while nothing is owed.
async fn pay(manifests: &Arc<Manifests>) {
    let mut attempt = 0;
    loop {
        if !manifests.owes() {
            attempt = 0;
            manifests.owing.notified().await;
        }
        tokio::time::sleep(RETRY.jittered(attempt, crate::uplink::random())).await;
        attempt = u32::saturating_add(attempt, 1);
        let keeper = manifests.clone();
        if tokio::task::spawn_blocking(move || keeper.pay()).await.is_err() {
            return;
        }
    }
}

async fn follow(manifests: &Arc<Manifests>, folder: &Path) -> std::io::Result<()> {
    loop {
        #[expect(
            deprecated,
            reason = "an OwnedFd is the same descriptor for as long as it lives; what replaces this call is unsafe code, which is forbidden here"
        )]
        let fd = AsyncFd::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?)?;
        if !arm(&fd, folder)? && folder.exists() {
            // It came into being in between.
            continue;
        }
        // What changed before the watch stood.
        let keeper = manifests.clone();
        tokio::task::spawn_blocking(move || keeper.reread()).await?;
        fd.readable().await?.clear_ready();
        tokio::time::sleep(SETTLE).await;
        // A new watch each time: the folder itself may be another one now, or have come into being.
    }
}

/// Watches the folder, or what is there of the way to it. True if it is the folder.
fn arm(fd: &AsyncFd<OwnedFd>, folder: &Path) -> std::io::Result<bool> {
    let mut place: PathBuf = folder.to_owned();
    let mut flags = IN_FOLDER | WatchFlags::ONLYDIR;
    loop {
        match inotify::add_watch(fd.get_ref(), &place, flags) {
            Ok(_) => return Ok(place == folder),
            Err(Errno::NOENT | Errno::NOTDIR) if place.pop() => flags = ABOVE,
            Err(error) => return Err(error.into()),
        }
    }
}
