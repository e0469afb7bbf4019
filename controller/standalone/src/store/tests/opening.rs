use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;

use super::*;

async fn filled(dir: &Path) {
    let store = open(dir);
    for index in 0..200 {
        store.create(&app(&format!("app-{index}")), &"x".repeat(3000)).await;
    }
}

fn corrupt(dir: &Path) -> String {
    let file = dir.join("store.db");
    let before = fs::read(&file).ok();
    match Store::open(dir, options()) {
        Err(error @ OpenError::Corrupt { .. }) => {
            assert_eq!(fs::read(&file).ok(), before, "it is left as it is");
            let text = error.to_string();
            assert!(
                text.contains(file.to_str().unwrap()) && text.contains("restore the newest backup"),
                "{text}"
            );
            text
        }
        other => panic!("{other:?}"),
    }
}

fn sql(dir: &Path, sql: &str) {
    rusqlite::Connection::open(dir.join("store.db")).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stopped_and_leaves_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let store = open(dir.path());
        let object = store.create(&app("till"), "a").await;
        store.update(&object, "b").await
    };
    assert!(!dir.path().join("store.db-wal").exists(), "a clean stop leaves no WAL");
    let store = open(dir.path());
    assert_eq!((store.revision(), store.oldest()), (3, 1));
    assert_eq!(store.get(&app("till")).await.unwrap(), Some(before));
    assert_eq!(store.list(APPS, None, at(2)).await.unwrap().objects[0].value, value("a", 2));
}

#[tokio::test]
async fn the_counter_does_not_go_back_when_the_newest_objects_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        let object = store.create(&app("till"), "a").await;
        store.remove(&object).await;
        store.compact(99).await;
        assert_eq!((store.revision(), store.oldest()), (3, 2));
    }
    let store = open(dir.path());
    assert_eq!((store.revision(), store.oldest()), (3, 2));
    assert_eq!(store.create(&app("till"), "b").await.revision, 4);
}

#[test]
fn files_and_folder_belong_to_their_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let nested = dir.path().join("a/b");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    drop(open(&nested));
    assert_eq!(mode(&nested), 0o700);
    fs::set_permissions(&nested, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(nested.join("store.db"), fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&nested));
    assert_eq!(
        (mode(&nested), mode(&nested.join("store.db")), mode(&nested.join("lock"))),
        (0o700, 0o600, 0o600)
    );
}

#[test]
fn a_second_opener_is_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = Store::open(dir.path(), options()).unwrap_err();
    let expected = format!(
        "the data directory {} is in use by another process, pid {}",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(error.to_string(), expected);
    drop(first);
    open(dir.path());
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let file = dir.path().join("store.db");
    let good = fs::read(&file).unwrap();
    let damage = |offset: u64, bytes: &[u8]| {
        fs::write(&file, &good).unwrap();
        let mut file = fs::OpenOptions::new().write(true).open(&file).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(bytes).unwrap();
    };
    damage(0, &[0xAA; 100]);
    corrupt(dir.path());
    damage(10 * 4096, &[0xAA; 20 * 4096]);
    corrupt(dir.path());
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    corrupt(dir.path());
    fs::write(&file, b"").unwrap();
    assert!(corrupt(dir.path()).contains("it is empty"));
    fs::remove_file(&file).unwrap();
    fs::write(dir.path().join("store.db-wal"), b"what is left").unwrap();
    assert!(corrupt(dir.path()).contains("its store.db-wal is there"));
    fs::remove_file(dir.path().join("store.db-wal")).unwrap();
    fs::write(&file, &good).unwrap();
    assert_eq!(open(dir.path()).revision(), 201);
}

#[tokio::test]
async fn a_newer_or_foreign_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    sql(dir.path(), "PRAGMA user_version = 2");
    assert!(matches!(Store::open(dir.path(), options()), Err(OpenError::Newer { found: 2, .. })));
    sql(dir.path(), "PRAGMA user_version = 1");
    drop(open(dir.path()));
    sql(dir.path(), "PRAGMA application_id = 77");
    assert!(matches!(Store::open(dir.path(), options()), Err(OpenError::Foreign { .. })));
}

#[test]
fn what_a_crash_left_of_a_new_database_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.db.new"), b"half").unwrap();
    fs::write(dir.path().join("store.db.new-journal"), b"half").unwrap();
    assert_eq!(open(dir.path()).revision(), 1);
}
