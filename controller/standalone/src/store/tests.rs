//! Tests of the store as its callers see it, and what they share.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod backups;
mod crash;
mod model;
mod objects;
mod opening;
mod room;
mod sealing;
mod speed;
mod watches;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::writer::{Task, Writer};
use super::*;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

const APPS: &str = "edgeapps.skerry.dev";
const SECRETS: &str = "secrets";

fn options() -> Options {
    Options { sealed: vec![Arc::from(SECRETS)], ..Options::default() }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, options()).expect("a store")
}

fn key(resource: &str, namespace: &str, name: &str) -> Key {
    Key { resource: Arc::from(resource), namespace: Arc::from(namespace), name: Arc::from(name) }
}

fn app(name: &str) -> Key {
    key(APPS, "shop", name)
}

/// `{"v":"<text>","rv":"<revision>"}`
fn draft(text: &str) -> Draft {
    Draft { head: format!(r#"{{"v":"{text}","rv":""#).into_bytes(), tail: br#""}"#.to_vec() }
}

fn value(text: &str, revision: u64) -> Bytes {
    Bytes::from(format!(r#"{{"v":"{text}","rv":"{revision}"}}"#))
}

fn put(text: &str) -> Change {
    Change::Put(draft(text))
}

fn delete(text: &str) -> Change {
    Change::Delete(draft(text))
}

fn at(revision: u64) -> Range {
    Range { at: Some(revision), ..Range::default() }
}

fn names(list: &List) -> Vec<String> {
    list.objects.iter().map(|object| format!("{}/{}", object.key.namespace, object.key.name)).collect()
}

impl Store {
    async fn create(&self, key: &Key, text: &str) -> Object {
        self.write(key.clone(), Expect::Absent, put(text)).await.expect("created")
    }

    async fn update(&self, object: &Object, text: &str) -> Object {
        self.write(object.key.clone(), Expect::Revision(object.revision), put(text)).await.expect("updated")
    }

    async fn remove(&self, object: &Object) -> Object {
        self.write(object.key.clone(), Expect::Revision(object.revision), delete("last"))
            .await
            .expect("removed")
    }

    /// Runs something on the thread of the writer.
    async fn on_writer<T: Send + 'static>(&self, run: impl FnOnce(&mut Writer) -> T + Send + 'static) -> T {
        let (tell, told) = oneshot::channel();
        let run = move |writer: &mut Writer| drop(tell.send(run(writer)));
        self.ask(0, Task::Run(Some(Box::new(run)))).await.expect("ran");
        told.await.expect("told")
    }

    async fn compact(&self, revision: u64) {
        self.on_writer(move |writer| writer.compact_to(revision).expect("compacted")).await;
    }
}

async fn next(watch: &mut Watch) -> Result<Event, WatchEnd> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time")
}
