use std::process::Command;

use super::compaction::{self, Size};
use super::*;

const KIB: usize = 1024;

fn small(dir: &Path, max_bytes: u64) -> Store {
    Store::open(dir, Options { max_bytes, ..options() }).expect("a store")
}

/// Creates objects of 100 KiB until one is refused.
async fn fill(store: &Store) -> (Vec<Object>, WriteError) {
    let mut objects = Vec::new();
    loop {
        let key = app(&format!("app-{:04}", objects.len()));
        match store.write(key, Expect::Absent, put(&"x".repeat(100 * KIB))).await {
            Ok(object) => objects.push(object),
            Err(error) => return (objects, error),
        }
        assert!(objects.len() < 1000, "never full");
    }
}

#[tokio::test]
async fn a_full_store_takes_deletes_and_then_writes_again() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 2 << 20;
    let store = small(dir.path(), limit);
    let (objects, error) = fill(&store).await;
    assert!(matches!(error, WriteError::Full { limit: found } if found == limit), "{error}");
    assert!((15..=20).contains(&objects.len()), "{}", objects.len());
    assert!(matches!(store.put_file("f", vec![0; 200 * KIB], false).await, Err(WriteError::Full { .. })));
    for object in &objects[..5] {
        store.remove(object).await;
    }
    // A refused write has the history removed at once, and not only with its age.
    let waited = std::time::Instant::now();
    let new = app("new");
    while let Err(error) = store.write(new.clone(), Expect::Absent, put(&"x".repeat(100 * KIB))).await {
        assert!(matches!(error, WriteError::Full { .. }), "{error}");
        assert!(waited.elapsed() < PATIENCE, "no room was made");
    }
    assert_eq!(store.list(APPS, None, Range::default()).await.unwrap().objects.len(), objects.len() - 4);
}

#[tokio::test]
async fn a_database_that_cannot_grow_fails_the_write_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.create(&app("till"), "a").await;
    let pages = |count: u32| {
        store.on_writer(move |writer| writer.connection.pragma_update(None, "max_page_count", count))
    };
    pages(40).await.unwrap();
    let (objects, error) = fill(&store).await;
    assert!(matches!(error, WriteError::DiskFull), "{error}");
    let revision = store.revision();
    assert_eq!(revision, 2 + objects.len() as u64, "what failed took no revision");
    let list = store.list(APPS, None, Range::default()).await.unwrap();
    assert_eq!((list.objects.len(), list.revision), (objects.len() + 1, revision));
    pages(1_000_000).await.unwrap();
    let next = store.create(&app("zoo"), "b").await;
    assert_eq!(next.revision, revision + 1);
}

/// A file system of 3 MiB in memory, for as long as it is held.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "none"]).arg(dir.path()).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test mounts a tmpfs: run it as root");
        Self(dir)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_the_store_goes_on_when_there_is_room() {
    let disk = Tmpfs::mount();
    let dir = disk.0.path();
    let store = open(&dir.join("data"));
    std::fs::write(dir.join("ballast"), vec![0; 1 << 20]).unwrap();
    let (objects, error) = fill(&store).await;
    assert!(matches!(error, WriteError::DiskFull), "{error}");
    let list = store.list(APPS, None, Range::default()).await.unwrap();
    assert_eq!(list.objects, objects, "reads go on, and nothing is torn");
    std::fs::remove_file(dir.join("ballast")).unwrap();
    let next = store.create(&app("zoo"), "b").await;
    assert_eq!(next.revision, objects.last().unwrap().revision + 1);
    // Full again, then killed in effect: the files are opened as they are.
    let _ = fill(&store).await;
    let kept = store.list(APPS, None, Range::default()).await.unwrap();
    drop(store);
    let store = open(&dir.join("data"));
    assert_eq!(store.list(APPS, None, Range::default()).await.unwrap().objects, kept.objects);
}

#[tokio::test]
async fn space_of_removed_history_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.create(&app("till"), "a").await;
    for _ in 0..40 {
        object = store.update(&object, &"x".repeat(1 << 20)).await;
    }
    let size = || std::fs::metadata(dir.path().join("store.db")).unwrap().len();
    store
        .on_writer(|writer| writer.connection.query_row("PRAGMA wal_checkpoint", [], |_| Ok(())))
        .await
        .unwrap();
    assert!(size() > 40 << 20);
    let moved = store
        .on_writer(move |writer| -> rusqlite::Result<u64> {
            writer.compact_to(object.revision)?;
            let before = Size::of(&writer.connection)?;
            compaction::tighten(&writer.connection)?;
            let after = Size::of(&writer.connection)?;
            Ok(before.pages - after.pages)
        })
        .await
        .unwrap();
    assert_eq!(moved, compaction::STEP_PAGES, "one step moves all that it may, in one transaction");
    let waited = std::time::Instant::now();
    while size() > 8 << 20 {
        // The writer goes on by itself; only the WAL has to be moved for the file to show it.
        store
            .on_writer(|writer| writer.connection.query_row("PRAGMA wal_checkpoint", [], |_| Ok(())))
            .await
            .unwrap();
        assert!(waited.elapsed() < PATIENCE, "the file keeps {} bytes", size());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
