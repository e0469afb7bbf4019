use super::*;

#[tokio::test]
async fn the_first_object_has_revision_2_and_its_text_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.revision(), 1);
    let created = store.create(&app("till"), "a").await;
    assert_eq!((created.revision, created.value.clone()), (2, value("a", 2)));
    assert_eq!(store.get(&app("till")).await.unwrap(), Some(created));
    assert_eq!(store.revision(), 2);
}

#[tokio::test]
async fn a_write_that_expects_something_else_is_a_conflict_and_takes_no_revision() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let conflict = async |expect, change| match store.write(app("till"), expect, change).await {
        Err(WriteError::Conflict { current }) => current,
        other => panic!("{other:?}"),
    };
    assert_eq!(conflict(Expect::Revision(1), put("a")).await, None);
    assert_eq!(conflict(Expect::Absent, delete("a")).await, None);
    let first = store.create(&app("till"), "a").await;
    assert_eq!(conflict(Expect::Absent, put("b")).await, Some(2));
    assert_eq!(conflict(Expect::Absent, delete("b")).await, Some(2));
    let second = store.update(&first, "b").await;
    assert_eq!(second.revision, 3);
    assert_eq!(conflict(Expect::Revision(2), put("c")).await, Some(3));
    assert_eq!(store.remove(&second).await.revision, 4);
    assert_eq!(conflict(Expect::Revision(3), delete("c")).await, None);
    assert_eq!(store.get(&app("till")).await.unwrap(), None);
    assert_eq!(store.create(&app("till"), "again").await.revision, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_writes_on_one_revision_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    let mut current = store.create(&app("till"), "0").await;
    for round in 0..10 {
        let rivals: Vec<_> = (0..16)
            .map(|rival| {
                let (store, expect) = (Arc::clone(&store), Expect::Revision(current.revision));
                tokio::spawn(async move {
                    store.write(app("till"), expect, put(&format!("{round}-{rival}"))).await
                })
            })
            .collect();
        let mut winners = Vec::new();
        for rival in rivals {
            match rival.await.unwrap() {
                Ok(object) => winners.push(object),
                Err(WriteError::Conflict { current: Some(_) }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(winners.len(), 1);
        current = winners.remove(0);
        assert_eq!(store.get(&app("till")).await.unwrap().as_ref(), Some(&current));
    }
    assert_eq!(current.revision, 12);
}

#[tokio::test]
async fn a_list_has_the_order_of_etcd_keys() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (namespace, name) in
        [("a", "z"), ("b", "a"), ("a-b", "m"), ("a", "b"), ("aa", "x"), ("a", "b.c"), ("a", "b-c")]
    {
        store.create(&key(APPS, namespace, name), "").await;
    }
    store.create(&key("edgenodes.skerry.dev", "", "n"), "").await;
    let all = store.list(APPS, None, Range::default()).await.unwrap();
    // The slash sorts behind '-' and before letters.
    assert_eq!(names(&all), ["a-b/m", "a/b", "a/b-c", "a/b.c", "a/z", "aa/x", "b/a"]);
    let one = store.list(APPS, Some("a"), Range::default()).await.unwrap();
    assert_eq!(names(&one), ["a/b", "a/b-c", "a/b.c", "a/z"]);
    let nodes = store.list("edgenodes.skerry.dev", None, Range::default()).await.unwrap();
    assert_eq!(names(&nodes), ["/n"]);
    assert_eq!(names(&store.list(APPS, Some("c"), Range::default()).await.unwrap()), [""; 0]);
}

#[tokio::test]
async fn pages_read_one_revision_while_writes_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut objects = Vec::new();
    for index in 0..10 {
        objects.push(store.create(&app(&format!("app-{index}")), "old").await);
    }
    let limit = Some(4);
    let first = store.list(APPS, None, Range { limit, ..Range::default() }).await.unwrap();
    assert_eq!((first.revision, first.objects.len(), first.more, first.remaining), (11, 4, true, 6));
    for object in &objects {
        store.remove(&store.update(object, "new").await).await;
    }
    store.create(&app("app-55"), "new").await;
    let mut seen = names(&first);
    let mut page = first;
    while page.more {
        let last = page.objects.last().unwrap().key.clone();
        let after = Some((last.namespace.to_string(), last.name.to_string()));
        page = store.list(APPS, None, Range { at: Some(11), after, limit }).await.unwrap();
        assert!(page.objects.iter().all(|object| object.value == value("old", object.revision)));
        seen.extend(names(&page));
    }
    assert_eq!(seen, objects.iter().map(|object| format!("shop/{}", object.key.name)).collect::<Vec<_>>());
    assert_eq!(names(&store.list(APPS, None, Range::default()).await.unwrap()), ["shop/app-55"]);
}

#[tokio::test]
async fn a_list_at_a_revision_that_is_gone_or_to_come_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let object = store.create(&app("till"), "a").await;
    let object = store.update(&object, "b").await;
    store.update(&object, "c").await;
    store.compact(3).await;
    let list = async |revision| store.list(APPS, None, at(revision)).await;
    assert!(matches!(list(2).await, Err(ReadError::Compacted { oldest: 3 })));
    assert!(matches!(list(5).await, Err(ReadError::Future { current: 4 })));
    assert!(matches!(list(u64::MAX).await, Err(ReadError::Future { current: 4 })));
    assert_eq!(list(3).await.unwrap().objects[0].value, value("b", 3));
    assert_eq!(list(4).await.unwrap().objects[0].value, value("c", 4));
}

#[tokio::test]
async fn waiting_for_a_revision_ends_with_its_commit_or_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(store.wait_for(1, Duration::ZERO).await);
    assert!(!store.wait_for(2, Duration::from_millis(10)).await);
    let till = app("till");
    let (reached, _) = tokio::join!(store.wait_for(2, PATIENCE), store.create(&till, "a"));
    assert!(reached);
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = "x".repeat(MAX_VALUE);
    let written = store.write(app("till"), Expect::Absent, put(&long)).await;
    assert!(matches!(written, Err(WriteError::TooLarge { bytes }) if bytes > MAX_VALUE));
    let written = store.write(key(APPS, "a/b", "c"), Expect::Absent, put("")).await;
    assert!(matches!(written, Err(WriteError::Slash)));
    store.create(&app("empty"), "").await;
}

#[tokio::test]
async fn a_file_is_replaced_and_found_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.get_file("ca.key").await.unwrap(), None);
    store.put_file("ca.key", b"first".to_vec(), false).await.unwrap();
    store.put_file("ca.key", b"second".to_vec(), true).await.unwrap();
    assert_eq!(store.revision(), 1);
    drop(store);
    assert_eq!(open(dir.path()).get_file("ca.key").await.unwrap(), Some(b"second".to_vec()));
}
