use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const MARKER: &str = "plain-text-that-must-not-be-found";

fn secret(name: &str) -> Key {
    key(SECRETS, "shop", name)
}

fn refused(dir: &Path) -> KeyError {
    match Store::open(dir, options()) {
        Err(OpenError::Key(error)) => error,
        other => panic!("{other:?}"),
    }
}

async fn store_with_a_secret(dir: &Path) {
    let store = open(dir);
    assert!(!dir.join("secrets.key").exists(), "a key is made at its first use");
    store.create(&secret("tls"), MARKER).await;
}

#[tokio::test]
async fn no_plain_text_of_a_sealed_object_reaches_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.create(&secret("tls"), MARKER).await;
    for _ in 0..20 {
        object = store.update(&object, MARKER).await;
    }
    store.put_file("ca.key", MARKER.as_bytes().to_vec(), true).await.unwrap();
    store.write(secret("tls"), Expect::Revision(object.revision), delete(MARKER)).await.unwrap();
    store.compact(store.revision() - 1).await;
    let again = store.create(&secret("tls"), MARKER).await;
    store.backup(&dir.path().join("copy")).await.unwrap();
    assert_eq!(store.get(&secret("tls")).await.unwrap().as_ref(), Some(&again));
    let mut searched = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()), "{}", path.display());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
        searched.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    searched.sort();
    assert_eq!(searched, ["copy", "lock", "secrets.key", "store.db", "store.db-shm", "store.db-wal"]);
}

#[tokio::test]
async fn an_object_that_is_not_sealed_is_found_by_the_same_search() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).create(&app("till"), MARKER).await;
    let bytes = fs::read(dir.path().join("store.db")).unwrap();
    assert!(bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()));
}

#[tokio::test]
async fn sealed_objects_are_read_after_a_restart_in_every_way() {
    let dir = tempfile::tempdir().unwrap();
    store_with_a_secret(dir.path()).await;
    let store = open(dir.path());
    assert_eq!(store.get(&secret("tls")).await.unwrap().unwrap().value, value(MARKER, 2));
    assert_eq!(store.list(SECRETS, None, Range::default()).await.unwrap().objects[0].value, value(MARKER, 2));
    let mut watch = store.watch(SECRETS, None, 1).unwrap();
    assert_eq!(next(&mut watch).await.unwrap().object.value, value(MARKER, 2));
}

#[tokio::test]
async fn a_missing_key_is_an_error_and_no_new_one_is_made() {
    let dir = tempfile::tempdir().unwrap();
    store_with_a_secret(dir.path()).await;
    let key = dir.path().join("secrets.key");
    fs::rename(&key, dir.path().join("away")).unwrap();
    for _ in 0..2 {
        assert!(matches!(refused(dir.path()), KeyError::Missing { path } if path == key));
        assert!(!key.exists());
    }
    fs::rename(dir.path().join("away"), &key).unwrap();
    open(dir.path());
}

#[tokio::test]
async fn a_key_that_is_exposed_cut_or_foreign_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    store_with_a_secret(dir.path()).await;
    let key = dir.path().join("secrets.key");
    let bytes = fs::read(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(refused(dir.path()), KeyError::Exposed { mode: 0o640, .. }));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for wrong in [&bytes[..31], &[bytes.clone(), vec![10]].concat(), &[]] {
        fs::write(&key, wrong).unwrap();
        assert!(matches!(refused(dir.path()), KeyError::Length { .. }));
    }
    fs::write(&key, [7; 32]).unwrap();
    assert!(matches!(refused(dir.path()), KeyError::Other { .. }));
    fs::write(&key, bytes).unwrap();
    open(dir.path());
}

#[tokio::test]
async fn a_sealed_row_that_was_moved_or_altered_is_not_read_but_can_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let [a, b] = [store.create(&secret("a"), "a").await, store.create(&secret("b"), "b").await];
    let swap = "UPDATE log SET value = (SELECT value FROM log WHERE revision = 3) WHERE revision = 2";
    store.on_writer(move |writer| writer.connection.execute_batch(swap)).await.unwrap();
    assert!(
        matches!(store.get(&a.key).await, Err(ReadError::Sealed { name, .. }) if name == "secrets shop/a")
    );
    let flip = "UPDATE log SET value = CAST(substr(value, 1, 20) || x'7F' || substr(value, 22) AS BLOB) WHERE revision = 3";
    store.on_writer(move |writer| writer.connection.execute_batch(flip)).await.unwrap();
    assert!(matches!(store.get(&b.key).await, Err(ReadError::Sealed { .. })));
    assert!(matches!(store.list(SECRETS, None, Range::default()).await, Err(ReadError::Sealed { .. })));
    store.update(&a, "new").await;
    store.remove(&b).await;
    assert_eq!(store.get(&a.key).await.unwrap().unwrap().value, value("new", 4));
}
