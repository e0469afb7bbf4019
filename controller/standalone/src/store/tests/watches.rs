use super::*;

#[tokio::test]
async fn a_watch_gets_live_events_with_what_they_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut watch = store.watch(APPS, None, 1).unwrap();
    let first = store.create(&app("till"), "a").await;
    let second = store.update(&first, "b").await;
    let gone = store.remove(&second).await;
    let events =
        [next(&mut watch).await.unwrap(), next(&mut watch).await.unwrap(), next(&mut watch).await.unwrap()];
    let expected = [
        Event { kind: EventKind::Added, object: first, previous: None },
        Event { kind: EventKind::Modified, object: second, previous: Some(value("a", 2)) },
        Event { kind: EventKind::Deleted, object: gone, previous: Some(value("b", 3)) },
    ];
    assert_eq!(events, expected);
    assert_eq!(expected[2].object.value, value("last", 4));
}

#[tokio::test]
async fn a_watch_resumes_after_a_restart_with_the_same_events() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Vec::new();
    {
        let store = open(dir.path());
        let mut watch = store.watch(APPS, None, 1).unwrap();
        let first = store.create(&app("till"), "a").await;
        let second = store.update(&first, "b").await;
        store.create(&key(SECRETS, "shop", "till"), "s").await;
        store.remove(&second).await;
        store.create(&app("till"), "c").await;
        for _ in 0..4 {
            live.push(next(&mut watch).await.unwrap());
        }
    }
    let store = open(dir.path());
    let mut watch = store.watch(APPS, None, 1).unwrap();
    for event in &live {
        assert_eq!(next(&mut watch).await.unwrap(), *event);
    }
    let mut later = store.watch(APPS, None, live[1].object.revision).unwrap();
    assert_eq!(next(&mut later).await.unwrap(), live[2]);
}

#[tokio::test]
async fn a_watch_sees_only_its_resource_and_namespace_and_passes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut watch = store.watch(APPS, Some("shop"), 1).unwrap();
    store.create(&key(APPS, "shop-2", "till"), "").await;
    store.create(&key("configmaps", "shop", "till"), "").await;
    assert_eq!(watch.passed(), 3);
    let wanted = store.create(&app("till"), "").await;
    assert_eq!(watch.passed(), 3, "an event that was not delivered is not passed");
    assert_eq!(next(&mut watch).await.unwrap().object, wanted);
    store.create(&key("configmaps", "shop", "other"), "").await;
    assert_eq!(watch.passed(), 5);
}

#[tokio::test]
async fn a_slow_watch_reads_on_from_the_database_and_misses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut watch = store.watch(APPS, None, 1).unwrap();
    let mut quiet = store.watch("configmaps", None, 1).unwrap();
    let text = "x".repeat(300_000);
    let mut objects = Vec::new();
    // Five times what the ring holds.
    for index in 0..35 {
        objects.push(store.create(&app(&format!("app-{index}")), &text).await);
    }
    for object in &objects {
        let event = next(&mut watch).await.unwrap();
        assert_eq!((&event.object, event.kind), (object, EventKind::Added));
    }
    assert_eq!(watch.passed(), store.revision());
    assert_eq!(quiet.passed(), store.revision());
}

#[tokio::test]
async fn a_watch_behind_the_window_ends_as_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut object = store.create(&app("till"), "").await;
    let revision = object.revision;
    let mut behind = store.watch(APPS, None, revision).unwrap();
    let text = "x".repeat(500_000);
    for _ in 0..10 {
        object = store.update(&object, &text).await;
    }
    store.compact(revision + 5).await;
    assert!(
        matches!(next(&mut behind).await, Err(WatchEnd::Compacted(Compacted { oldest })) if oldest == revision + 5)
    );
    assert_eq!(store.watch(APPS, None, revision + 4).unwrap_err(), Compacted { oldest: revision + 5 });
    let mut resumed = store.watch(APPS, None, revision + 5).unwrap();
    let event = next(&mut resumed).await.unwrap();
    assert_eq!((event.object.revision, event.previous), (revision + 6, Some(value(&text, revision + 5))));
}

#[tokio::test]
async fn a_watch_can_be_cancelled_at_any_wait() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = open(dir.path());
        for index in 0..200 {
            store.create(&app(&format!("app-{index}")), "").await;
        }
    }
    let store = open(dir.path());
    let mut watch = store.watch(APPS, None, 1).unwrap();
    let mut revisions = Vec::new();
    while revisions.len() < 200 {
        // Polled once, then dropped: reads from the database are given up midway.
        let polled = std::future::poll_fn(|context| {
            let next = std::pin::pin!(watch.next());
            std::task::Poll::Ready(next.poll(context))
        });
        match polled.await {
            std::task::Poll::Ready(event) => revisions.push(event.unwrap().object.revision),
            std::task::Poll::Pending => revisions.push(next(&mut watch).await.unwrap().object.revision),
        }
    }
    assert_eq!(revisions, (2..202).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_write_wakes_no_watch_of_another_resource() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut watch = store.watch("configmaps", None, 1).unwrap();
    let mut waiting = by_hand(&mut watch);
    assert_eq!(waiting.poll(), None);
    for index in 0..10 {
        store.create(&app(&format!("app-{index}")), "").await;
    }
    assert_eq!(waiting.wakes(), 0);
    store.create(&key("configmaps", "shop", "c"), "").await;
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.poll(), Some(12));
}

#[tokio::test]
async fn dropping_the_store_ends_its_watches() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut idle = store.watch(APPS, None, 1).unwrap();
    let waiting = tokio::spawn(async move { next(&mut idle).await });
    tokio::task::yield_now().await;
    let mut late = store.watch(APPS, None, 1).unwrap();
    drop(store);
    assert!(matches!(waiting.await.unwrap(), Err(WatchEnd::Closed)));
    assert!(matches!(next(&mut late).await, Err(WatchEnd::Closed)));
}

/// Polls a watch by hand and counts how often it was woken.
fn by_hand(watch: &mut Watch) -> Waiting<'_> {
    let next = async { watch.next().await.unwrap().object.revision };
    Waiting { next: Box::pin(next), count: Arc::default() }
}

struct Waiting<'a> {
    next: std::pin::Pin<Box<dyn Future<Output = u64> + 'a>>,
    count: Arc<Count>,
}

#[derive(Default)]
struct Count(AtomicU64);

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Waiting<'_> {
    fn poll(&mut self) -> Option<u64> {
        let waker = std::task::Waker::from(Arc::clone(&self.count));
        match self.next.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(revision) => Some(revision),
            std::task::Poll::Pending => None,
        }
    }

    fn wakes(&self) -> u64 {
        self.count.0.load(Ordering::SeqCst)
    }
}
