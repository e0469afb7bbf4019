//! A process that writes is killed again and again; what it acknowledged must be there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;

const DIR: &str = "SKERRY_STORE_CRASH_DIR";
const ROUNDS: u64 = 25;
const WRITERS: usize = 6;

/// The text of a write: made from its place alone, so that a torn or swapped one shows. Some are long, to span pages.
fn text(name: &str, count: u64) -> String {
    let length = (count * 2_654_435_761) % 9_000;
    format!("{name}.{count}.{}", "z".repeat(usize::try_from(length).unwrap()))
}

/// What the killed process does: tells `ack REVISION NAME COUNT` of each write, and COUNT 0 of a delete.
async fn write_for_ever(dir: &Path) {
    // The harness has begun a line with the name of the test.
    std::io::stdout().write_all(b"\n").unwrap();
    let window = Window { age: Duration::from_millis(100), least: 150, most: 400 };
    let store = Arc::new(Store::open(dir, Options { window, ..options() }).unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let resource = if writer == 0 { SECRETS } else { APPS };
            let key = key(resource, "shop", &format!("w{writer}"));
            let mut current = store.get(&key).await.unwrap();
            while store.revision() > 0 {
                let expect =
                    current.as_ref().map_or(Expect::Absent, |object| Expect::Revision(object.revision));
                let count = store.revision();
                let deletes = current.is_some() && count.is_multiple_of(7);
                let change = if deletes { delete("last") } else { put(&text(&key.name, count)) };
                let object = store.write(key.clone(), expect, change).await.unwrap();
                let line =
                    format!("ack {} {} {} .\n", object.revision, key.name, if deletes { 0 } else { count });
                // Not by println, which the test harness keeps to itself.
                std::io::stdout().write_all(line.as_bytes()).unwrap();
                current = (!deletes).then_some(object);
            }
        });
    }
    // None of them ends but by a panic.
    let _: Option<Result<(), _>> = writers.join_next().await;
}

/// None if the line is one of the test harness, or cut by the kill.
fn ack(line: &str) -> Option<(u64, String, u64)> {
    let words: Vec<_> = line.split(' ').collect();
    let ["ack", revision, name, count, "."] = words[..] else { return None };
    Some((revision.parse().unwrap(), name.to_owned(), count.parse().unwrap()))
}

/// Runs the process for a while, kills it, and returns what it told.
fn round(dir: &Path, for_at_most: Duration, acks: usize) -> Vec<(u64, String, u64)> {
    let name = format!("{}::acknowledged_writes_survive_kills", module_path!().split_once("::").unwrap().1);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = Instant::now();
    let mut told: Vec<_> = Vec::new();
    while told.len() < acks && begun.elapsed() < for_at_most {
        told.extend(ack(&lines.next().expect("it runs until it is killed").unwrap()));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // What was told before the kill is in the pipe.
    told.extend(lines.map_while(Result::ok).filter_map(|line| ack(&line)));
    told
}

#[tokio::test]
async fn acknowledged_writes_survive_kills() {
    if let Some(dir) = std::env::var_os(DIR) {
        return write_for_ever(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut newest: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut reached, mut acknowledged, mut seen) = (1, 0, 1);
    for number in 0..ROUNDS {
        // A different number of writes each time, so that the kill meets commits, checkpoints and compactions.
        let acks = usize::try_from((number * 37) % 211 + 1).unwrap();
        let mut told = round(dir.path(), Duration::from_millis(400), acks);
        told.sort_unstable();
        assert!(!told.is_empty(), "round {number} wrote nothing");
        assert!(told[0].0 > reached, "revision {} was given away twice", told[0].0);
        assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0), "a revision was given away twice");
        acknowledged += told.len();

        let store = open(dir.path());
        assert!(store.revision() >= told.last().unwrap().0, "the counter went back");
        reached = store.revision();
        let (events, from) = resume(&store, seen).await;
        for (revision, name, count) in &told {
            newest.insert(name.clone(), (*revision, *count));
            if *revision > from {
                let event =
                    events.get(revision).unwrap_or_else(|| panic!("the event of {revision} is missing"));
                let expected = if *count == 0 {
                    value("last", *revision)
                } else {
                    value(&text(name, *count), *revision)
                };
                assert!(event.object.value == expected, "revision {revision} is not what was acknowledged");
            }
        }
        seen = reached;
        for (name, (revision, count)) in &newest {
            let resource = if name == "w0" { SECRETS } else { APPS };
            let object = store.get(&key(resource, "shop", name)).await.unwrap();
            // A write that was committed but not yet acknowledged may have come after it.
            match object {
                Some(object) if object.revision == *revision => {
                    assert!(object.value == value(&text(name, *count), *revision), "{name} is torn");
                }
                Some(object) => assert!(object.revision > *revision, "{name} went back"),
                None => assert!(*count == 0 || reached > told.last().unwrap().0, "{name} is gone"),
            }
        }
    }
    assert!(acknowledged > 500, "only {acknowledged} writes");
}

/// Every event of both resources after what was seen, or after the oldest that is kept.
async fn resume(store: &Store, seen: u64) -> (BTreeMap<u64, Event>, u64) {
    let from = seen.max(store.oldest());
    let mut events = BTreeMap::new();
    for resource in [APPS, SECRETS] {
        let mut watch = store.watch(resource, None, from).unwrap();
        let mut last = from;
        while watch.passed() < store.revision() {
            // Nothing may be left of this resource: then the watch waits.
            let Ok(event) = tokio::time::timeout(Duration::from_millis(50), watch.next()).await else {
                continue;
            };
            let event = event.unwrap();
            assert!(event.object.revision > last, "out of order");
            last = event.object.revision;
            assert!(events.insert(last, event).is_none(), "twice");
        }
    }
    let revisions: Vec<_> = events.keys().copied().collect();
    assert_eq!(revisions, (from + 1..=store.revision()).collect::<Vec<_>>(), "events without a gap");
    (events, from)
}
