//! The store against a model of it: a plain list of versions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const RESOURCES: [&str; 2] = [APPS, SECRETS];
const NAMESPACES: [&str; 3] = ["a", "a-b", "b"];
const NAMES: [&str; 3] = ["x", "x-y", "y"];

#[derive(Debug, Clone)]
enum Step {
    /// Writes with the right or a wrong expectation.
    Put {
        key: usize,
        right: bool,
    },
    Delete {
        key: usize,
        right: bool,
    },
    /// Compacts so many revisions before the newest.
    Compact {
        back: u64,
    },
    /// Lists so many revisions before the newest, in pages.
    List {
        resource: usize,
        namespace: Option<usize>,
        back: u64,
        limit: usize,
    },
    /// Watches from so many revisions before the newest.
    Watch {
        resource: usize,
        namespace: Option<usize>,
        back: u64,
    },
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..RESOURCES.len() * NAMESPACES.len() * NAMES.len();
    let namespace = proptest::option::of(0..NAMESPACES.len());
    let right = proptest::bool::weighted(0.9);
    let step = prop_oneof![
        8 => (key.clone(), right).prop_map(|(key, right)| Step::Put { key, right }),
        4 => (key, right).prop_map(|(key, right)| Step::Delete { key, right }),
        1 => (0u64..12).prop_map(|back| Step::Compact { back }),
        3 => (0..RESOURCES.len(), namespace.clone(), 0u64..15, 1usize..5)
            .prop_map(|(resource, namespace, back, limit)| Step::List { resource, namespace, back, limit }),
        3 => (0..RESOURCES.len(), namespace, 0u64..15)
            .prop_map(|(resource, namespace, back)| Step::Watch { resource, namespace, back }),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The key of a number: every number has one.
fn key_of(number: usize) -> Key {
    let (resource, rest) = (number % RESOURCES.len(), number / RESOURCES.len());
    key(RESOURCES[resource], NAMESPACES[rest % NAMESPACES.len()], NAMES[rest / NAMESPACES.len()])
}

fn is_of(key: &Key, resource: &str, namespace: Option<&str>) -> bool {
    &*key.resource == resource && namespace.is_none_or(|namespace| &*key.namespace == namespace)
}

#[derive(Default)]
struct Model {
    events: Vec<Event>,
    compacted: u64,
}

impl Model {
    fn revision(&self) -> u64 {
        1 + self.events.len() as u64
    }

    fn get(&self, key: &Key, at: u64) -> Option<&Object> {
        let newest =
            self.events.iter().rfind(|event| event.object.key == *key && event.object.revision <= at)?;
        (newest.kind != EventKind::Deleted).then_some(&newest.object)
    }

    fn write(&mut self, key: Key, expect: Expect, change: &Change) -> Result<Object, Option<u64>> {
        let current = self.get(&key, u64::MAX).cloned();
        let held = current.as_ref().map(|object| object.revision);
        let deletes = matches!(change, Change::Delete(_));
        let fits = match expect {
            Expect::Absent => held.is_none() && !deletes,
            Expect::Revision(revision) => held == Some(revision),
        };
        if !fits {
            return Err(held);
        }
        let (Change::Put(draft) | Change::Delete(draft)) = change;
        let revision = self.revision() + 1;
        let text = [draft.head.clone(), revision.to_string().into_bytes(), draft.tail.clone()].concat();
        let object = Object { key, revision, value: Bytes::from(text) };
        let kind = match (deletes, &current) {
            (true, _) => EventKind::Deleted,
            (false, Some(_)) => EventKind::Modified,
            (false, None) => EventKind::Added,
        };
        self.events.push(Event {
            kind,
            object: object.clone(),
            previous: current.map(|object| object.value),
        });
        Ok(object)
    }

    fn list(&self, resource: &str, namespace: Option<&str>, at: u64) -> Vec<Object> {
        let keys =
            self.events.iter().map(|event| &event.object.key).filter(|key| is_of(key, resource, namespace));
        let sorted: BTreeMap<String, &Key> =
            keys.map(|key| (format!("{}/{}", key.namespace, key.name), key)).collect();
        sorted.into_values().filter_map(|key| self.get(key, at).cloned()).collect()
    }
}

async fn pages(
    store: &Store,
    resource: &str,
    namespace: Option<&str>,
    at: u64,
    limit: usize,
) -> Result<Vec<Object>, ReadError> {
    let mut all: Vec<Object> = Vec::new();
    loop {
        let after = all.last().map(|last| (last.key.namespace.to_string(), last.key.name.to_string()));
        let page = store.list(resource, namespace, Range { at: Some(at), after, limit: Some(limit) }).await?;
        assert!(page.objects.len() <= limit && page.more == (page.remaining > 0) && page.revision == at);
        all.extend(page.objects);
        if !page.more {
            return Ok(all);
        }
    }
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    let mut model = Model { compacted: 1, ..Model::default() };
    for (number, step) in steps.into_iter().enumerate() {
        let newest = model.revision();
        match step {
            Step::Put { key, right } | Step::Delete { key, right } => {
                let deletes = matches!(step, Step::Delete { .. });
                let key = key_of(key);
                let expect = match (model.get(&key, u64::MAX), right) {
                    (Some(object), true) => Expect::Revision(object.revision),
                    (None, true) | (Some(_), false) => Expect::Absent,
                    (None, false) => Expect::Revision(newest),
                };
                let change = if deletes { delete("last") } else { put(&number.to_string()) };
                let expected = model.write(key.clone(), expect, &change);
                let written = store.write(key, expect, change).await.map_err(|error| {
                    let WriteError::Conflict { current } = error else { panic!("{error}") };
                    current
                });
                assert_eq!(written, expected);
            }
            Step::Compact { back } => {
                let to = newest.saturating_sub(back).min(newest - 1);
                store.compact(to).await;
                model.compacted = model.compacted.max(to);
            }
            Step::List { resource, namespace, back, limit } => {
                let (resource, namespace) = (RESOURCES[resource], namespace.map(|index| NAMESPACES[index]));
                let at = newest.saturating_sub(back).max(1);
                match pages(&store, resource, namespace, at, limit).await {
                    Ok(objects) => assert_eq!(objects, model.list(resource, namespace, at)),
                    Err(ReadError::Compacted { oldest }) => assert!(at < oldest && oldest == model.compacted),
                    Err(other) => panic!("{other}"),
                }
            }
            Step::Watch { resource, namespace, back } => {
                let (resource, namespace) = (RESOURCES[resource], namespace.map(|index| NAMESPACES[index]));
                let after = newest.saturating_sub(back).max(1);
                match store.watch(resource, namespace, after) {
                    Ok(mut watch) => {
                        let of_watch = |event: &&Event| {
                            event.object.revision > after && is_of(&event.object.key, resource, namespace)
                        };
                        for expected in model.events.iter().filter(of_watch) {
                            assert_eq!(next(&mut watch).await.unwrap(), *expected);
                        }
                    }
                    Err(Compacted { oldest }) => assert!(after < oldest && oldest == model.compacted),
                }
            }
            Step::Reopen => {
                drop(store);
                store = open(dir.path());
            }
        }
        assert_eq!((store.revision(), store.oldest()), (model.revision(), model.compacted));
    }
    for number in 0..RESOURCES.len() * NAMESPACES.len() * NAMES.len() {
        let key = key_of(number);
        assert_eq!(store.get(&key).await.unwrap().as_ref(), model.get(&key, u64::MAX));
    }
    // Compaction leaves what is needed and nothing else: live objects and the newest row.
    let newest = model.revision();
    store.compact(newest).await;
    let rows = store
        .on_writer(|writer| {
            writer.connection.query_row("SELECT count(*) FROM log", [], |row| row.get::<_, i64>(0))
        })
        .await
        .unwrap();
    let rows = usize::try_from(rows).unwrap();
    let live: usize = RESOURCES.iter().map(|resource| model.list(resource, None, newest).len()).sum();
    assert!((live..=live + 2).contains(&rows), "{rows} rows for {live} objects");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_as_its_model(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(steps));
    }
}
