use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn list_of(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_backup_under_load_is_one_past_state_and_restores_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = Arc::new(open(&data));
    store.put_file("ca.key", b"ca".to_vec(), true).await.unwrap();
    let mut a = store.create(&app("a"), "0").await;
    let mut b = store.create(&app("b"), "0").await;
    let copy = dir.path().join("copy");
    let backup = tokio::spawn({
        let (store, copy) = (Arc::clone(&store), copy.clone());
        async move { store.backup(&copy).await }
    });
    // b follows a: a state of one moment has them equal, or a one ahead.
    let mut round = 0;
    while !backup.is_finished() || round < 50 {
        round += 1;
        a = store.update(&a, &round.to_string()).await;
        b = store.update(&b, &round.to_string()).await;
    }
    backup.await.unwrap().unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(list_of(dir.path()), ["copy", "data"]);
    let newest = store.revision();
    drop(store);

    let to = dir.path().join("restored");
    restore(&copy, &to, Some(&data.join("secrets.key")), &[]).unwrap();
    assert_eq!(list_of(&to), ["lock", "secrets.key", "store.db"]);
    let store = open(&to);
    assert_eq!(store.get_file("ca.key").await.unwrap().unwrap(), b"ca");
    let list = store.list(APPS, None, Range::default()).await.unwrap();
    let round = |object: &Object| -> u64 {
        let text = std::str::from_utf8(&object.value).unwrap();
        text.split('"').nth(3).unwrap().parse().unwrap()
    };
    let [a, b] = [round(&list.objects[0]), round(&list.objects[1])];
    assert!(a == b || a == b + 1, "{a} {b}");
    assert!(store.revision() > newest, "no revision is given away twice");
    assert!(store.watch(APPS, None, newest).is_err(), "who watched the old store lists anew");
    assert_eq!(store.create(&app("c"), "").await.revision, list.revision + 1);
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_needs_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"));
    let copy = dir.path().join("copy");
    fs::write(&copy, "mine").unwrap();
    assert!(matches!(store.backup(&copy).await, Err(BackupError::Exists { .. })));
    assert_eq!(fs::read(&copy).unwrap(), b"mine");
    let absent = backup_directory(&dir.path().join("nothing"), &dir.path().join("other"), &[]);
    assert!(matches!(absent, Err(BackupError::Absent { .. })));
    assert!(store.backup(&dir.path().join("no/such/folder")).await.is_err());
    drop(store);
    backup_directory(&dir.path().join("data"), &dir.path().join("offline"), &[]).unwrap();
    restore(&dir.path().join("offline"), &dir.path().join("again"), None, &[]).unwrap();
    assert_eq!(list_of(dir.path()), ["again", "copy", "data", "offline"]);
}

#[tokio::test]
async fn a_restore_needs_the_right_key_and_an_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let store = open(&path("data"));
    store.create(&key(SECRETS, "shop", "tls"), "s").await;
    store.backup(&path("copy")).await.unwrap();
    let other = open(&path("other"));
    other.create(&key(SECRETS, "shop", "tls"), "s").await;
    let (right, wrong) = (path("data").join("secrets.key"), path("other").join("secrets.key"));

    let to = path("to");
    let restore_with = |key: Option<&Path>| restore(&path("copy"), &to, key, &[]);
    assert!(matches!(restore_with(None), Err(RestoreError::Key(KeyError::Missing { .. }))));
    assert!(matches!(restore_with(Some(&wrong)), Err(RestoreError::Key(KeyError::Other { .. }))));
    assert!(matches!(restore_with(Some(&path("none"))), Err(RestoreError::Key(KeyError::Missing { .. }))));
    assert_eq!(list_of(&to), ["lock"], "what was refused left nothing");
    fs::copy(&wrong, to.join("secrets.key")).unwrap();
    assert!(matches!(restore_with(None), Err(RestoreError::Key(KeyError::Other { .. }))));
    assert!(matches!(restore_with(Some(&right)), Err(RestoreError::Key(KeyError::Other { .. }))));
    fs::copy(&right, to.join("secrets.key")).unwrap();
    restore_with(None).unwrap();
    assert!(
        matches!(restore_with(None), Err(RestoreError::NotEmpty { found, .. }) if found == to.join("store.db"))
    );
    let restored = open(&to);
    assert!(matches!(restore_with(None), Err(RestoreError::Store(OpenError::Locked { .. }))));
    assert_eq!(restored.get(&key(SECRETS, "shop", "tls")).await.unwrap().unwrap().value, value("s", 2));
}

#[tokio::test]
async fn a_broken_or_foreign_backup_is_refused_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let store = open(&path("data"));
    for index in 0..50 {
        store.create(&app(&format!("app-{index}")), &"x".repeat(3000)).await;
    }
    store.backup(&path("copy")).await.unwrap();
    let good = fs::read(path("copy")).unwrap();
    let mut bad = good.clone();
    bad[5 * 4096..12 * 4096].fill(0xAA);
    for broken in [
        &bad[..],
        &good[..good.len() - 8192],
        &good[..100],
        b"",
        b"no database at all, but some text of a length",
    ] {
        fs::write(path("broken"), broken).unwrap();
        let error = restore(&path("broken"), &path("to"), None, &[]).unwrap_err();
        assert!(
            matches!(error, RestoreError::Store(OpenError::Corrupt { .. } | OpenError::Foreign { .. })),
            "{error:?}"
        );
        assert_eq!(list_of(&path("to")), ["lock"]);
    }
    rusqlite::Connection::open(path("foreign")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let error = restore(&path("foreign"), &path("to"), None, &[]).unwrap_err();
    assert!(matches!(error, RestoreError::Store(OpenError::Foreign { .. })), "{error:?}");
    assert!(matches!(restore(&path("none"), &path("to"), None, &[]), Err(RestoreError::Files { .. })));
}
