//! Measures; run by hand in a release build: `cargo test --release speed -- --ignored --nocapture`.

use std::io::Write;
use std::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, and asserts little"]
async fn speed() {
    let dir = tempfile::tempdir_in(std::env::var_os("SKERRY_STORE_SPEED_DIR").unwrap_or(".".into())).unwrap();
    let mut file = std::fs::File::create(dir.path().join("fsync")).unwrap();
    let begun = Instant::now();
    for _ in 0..100 {
        file.write_all(&[1; 16384]).unwrap();
        file.sync_data().unwrap();
    }
    let sync = begun.elapsed() / 100;

    let data = dir.path().join("data");
    let store = Arc::new(open(&data));
    let text = "x".repeat(3000);
    let begun = Instant::now();
    let each = 250;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let (store, text) = (Arc::clone(&store), text.clone());
            tokio::spawn(async move {
                let mut current: Option<Object> = None;
                for count in 0..each {
                    // 64 objects each, then new versions of the last one.
                    let key = app(&format!("w{writer:02}-{:03}", count.min(63)));
                    let expect = match &current {
                        Some(object) if count > 63 => Expect::Revision(object.revision),
                        Some(_) | None => Expect::Absent,
                    };
                    current = Some(store.write(key, expect, put(&text)).await.unwrap());
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let rate = f64::from(16 * each) / begun.elapsed().as_secs_f64();

    let time = async |times: u32, list: bool| {
        let begun = Instant::now();
        for _ in 0..times {
            if list {
                let limit = Some(1000);
                assert_eq!(
                    store.list(APPS, None, Range { limit, ..Range::default() }).await.unwrap().objects.len(),
                    1000
                );
            } else {
                store.get(&app("w07-033")).await.unwrap().unwrap();
            }
        }
        begun.elapsed() / times
    };
    time(1, true).await;
    let (list, get) = (time(20, true).await, time(2000, false).await);

    let mut watch = store.watch(APPS, None, store.revision()).unwrap();
    let watcher = tokio::spawn(async move {
        let mut times = Vec::new();
        for _ in 0..200 {
            let event = watch.next().await.unwrap();
            times.push((event.object.revision, Instant::now()));
        }
        times
    });
    let mut acknowledged = Vec::new();
    let mut object = store.create(&app("live"), "").await;
    for _ in 0..200 {
        acknowledged.push((object.revision, Instant::now()));
        object = store.update(&object, "").await;
    }
    let mut late: Vec<_> = watcher
        .await
        .unwrap()
        .iter()
        .zip(&acknowledged)
        .map(|(event, ack)| {
            event.1.saturating_duration_since(ack.1).max(ack.1.saturating_duration_since(event.1))
        })
        .collect();
    late.sort();
    let begun = Instant::now();
    store.backup(&dir.path().join("copy")).await.unwrap();
    let backup = begun.elapsed();
    let begun = Instant::now();
    drop(store);
    let close = begun.elapsed();
    let begun = Instant::now();
    drop(open(&data));
    let size = std::fs::metadata(data.join("store.db")).unwrap().len() >> 20;
    eprintln!(
        "fsync of 16 KiB {sync:?}; {rate:.0} writes/s by 16 writers; list of 1000 x 3 kB {list:?}; get {get:?}; event against \
         acknowledgement p50 {:?} p99 {:?}; backup {backup:?}; close {close:?}; open and close of {size} MiB {:?}",
        late[100],
        late[198],
        begun.elapsed()
    );
    assert!(rate > 100.0);
}
