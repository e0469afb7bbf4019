//! The process is killed at random moments while several clients write: what was acknowledged is there, and whole.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, WatchEvent};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::json;
use skerry_api::EdgeApp;
use skerry_tests::{Plane, Site, eventually};
use tokio::task::JoinSet;

use crate::{Shared, shared};

const ROUNDS: u64 = 8;
const WRITERS: u64 = 4;
/// Names that one writer uses of each kind, so that every write meets an earlier one.
const NAMES: u64 = 5;
/// Long enough for a row to span pages, so that half of one would show.
const FILLING: usize = 9_000;

/// What is known of one object: what was acknowledged, and what may have happened besides.
#[derive(Debug, Clone, Default)]
struct Known {
    acknowledged: Option<State>,
    /// The last write was not answered: this is what it led to, if it happened.
    pending: Option<Option<u64>>,
}

#[derive(Debug, Clone, PartialEq)]
struct State {
    uid: String,
    revision: u64,
    /// Which write this is.
    number: u64,
}

/// By kind and name.
type Ledger = BTreeMap<(&'static str, String), Known>;

const KINDS: [&str; 2] = ["ConfigMap", "EdgeApp"];

fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

fn resource(kind: &str) -> ApiResource {
    if kind == "EdgeApp" { ApiResource::erase::<EdgeApp>(&()) } else { ApiResource::erase::<ConfigMap>(&()) }
}

/// The content of write `number`, which says it twice.
fn content(kind: &str, number: u64) -> serde_json::Value {
    let filling = format!("{number}:").repeat(FILLING / (number.to_string().len() + 1));
    match kind {
        "EdgeApp" => json!({"spec": {
            "placement": {"nodeSelector": {"matchLabels": {"test": "nowhere"}}},
            "template": {"spec": {"containers": [{"name": "a", "image": "x:1", "env": [
                {"name": "NUMBER", "value": number.to_string()}, {"name": "FILLING", "value": filling}]}]}},
        }}),
        _ => json!({"data": {"number": number.to_string(), "filling": filling}}),
    }
}

/// Which write an object is; fails if it is a mixture.
fn number(kind: &str, object: &DynamicObject) -> Result<u64> {
    let (number, filling) = match kind {
        "EdgeApp" => {
            let env = &object.data["spec"]["template"]["spec"]["containers"][0]["env"];
            (&env[0]["value"], &env[1]["value"])
        }
        _ => (&object.data["data"]["number"], &object.data["data"]["filling"]),
    };
    let number = number.as_str().with_context(|| format!("torn: {object:?}"))?;
    let whole = format!("{number}:").repeat(FILLING / (number.len() + 1));
    ensure!(filling.as_str() == Some(&whole), "torn: {}", object.name_any());
    Ok(number.parse()?)
}

fn revision(object: &DynamicObject) -> Result<u64> {
    Ok(object.resource_version().context("a resourceVersion")?.parse()?)
}

fn state(kind: &str, object: &DynamicObject) -> Result<State> {
    Ok(State {
        uid: object.uid().context("a uid")?,
        revision: revision(object)?,
        number: number(kind, object)?,
    })
}

/// Writes until the first failure, which is the kill.
async fn write(
    client: Client,
    namespace: String,
    mut rng: fastrand::Rng,
    mut next: u64,
    mut ledger: Ledger,
) -> Result<(u64, Ledger)> {
    loop {
        let kind = KINDS[rng.usize(..KINDS.len())];
        let name = format!("o{}", rng.u64(..NAMES));
        let objects = api(&client, kind, &namespace);
        let known = ledger.entry((kind, name.clone())).or_default();
        next += 1;
        let mut body = content(kind, next);
        let answer = match &known.acknowledged {
            None => {
                body["metadata"] = json!({"name": name});
                known.pending = Some(Some(next));
                let object: DynamicObject = serde_json::from_value(with_type(kind, body))?;
                objects.create(&PostParams::default(), &object).await.map(Some)
            }
            Some(_) if rng.u8(..4) == 0 => {
                known.pending = Some(None);
                objects.delete(&name, &DeleteParams::default()).await.map(|_| None)
            }
            Some(_) => {
                known.pending = Some(Some(next));
                objects.patch(&name, &PatchParams::default(), &Patch::Merge(&body)).await.map(Some)
            }
        };
        match answer {
            Ok(None) => *known = Known::default(),
            Ok(Some(object)) => {
                let new = state(kind, &object)?;
                ensure!(new.number == next, "write {next} was answered with {new:?}");
                if let Some(old) = &known.acknowledged {
                    ensure!(new.uid == old.uid && new.revision > old.revision, "{old:?} became {new:?}");
                }
                *known = Known { acknowledged: Some(new), pending: None };
            }
            Err(kube::Error::Api(status)) => bail!("{kind} {name}: {status:?}"),
            Err(_) => return Ok((next, ledger)),
        }
    }
}

fn with_type(kind: &str, mut body: serde_json::Value) -> serde_json::Value {
    let resource = resource(kind);
    body["apiVersion"] = resource.api_version.into();
    body["kind"] = resource.kind.into();
    body
}

/// Compares what is stored with what is known, and forgets what was uncertain.
async fn compare(client: &Client, namespace: &str, ledger: &mut Ledger) -> Result<()> {
    for kind in KINDS {
        let list = api(client, kind, namespace).list(&ListParams::default()).await?;
        let at: u64 = list.metadata.resource_version.context("a resourceVersion")?.parse()?;
        let mut stored: HashMap<String, State> = HashMap::new();
        for object in &list.items {
            stored.insert(object.name_any(), state(kind, object)?);
        }
        for ((_, name), known) in ledger.iter_mut().filter(|((of, _), _)| *of == kind) {
            let found = stored.remove(name);
            let numbers =
                [known.acknowledged.as_ref().map(|state| state.number)].into_iter().chain(known.pending);
            let is_one_of_them =
                numbers.into_iter().any(|number| found.as_ref().map(|state| state.number) == number);
            ensure!(is_one_of_them, "{namespace}: {kind} {name}: {found:?} is neither side of {known:?}");
            if let (Some(before), Some(found)) = (&known.acknowledged, &found) {
                ensure!(before.uid == found.uid, "{kind} {name}: another uid");
                ensure!(
                    found.revision >= before.revision && at >= found.revision,
                    "{kind} {name}: {before:?}, {found:?} at {at}"
                );
            }
            *known = Known { acknowledged: found, pending: None };
        }
        ensure!(stored.is_empty(), "{namespace}: nobody wrote {stored:?}");
    }
    Ok(())
}

/// What a watch that was resumed after every end has told.
#[derive(Debug, Default)]
struct Seen {
    revision: u64,
    revisions: HashSet<u64>,
    /// By namespace and name.
    objects: HashMap<(String, String), State>,
}

/// Watches all namespaces from a revision on, over all restarts; a gap or a step back is an error.
async fn follow(client: Client, kind: &'static str, seen: Arc<Mutex<Seen>>) -> Result<()> {
    let objects: Api<DynamicObject> = Api::all_with(client, &resource(kind));
    let lock = || seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    loop {
        let from = lock().revision.to_string();
        let params = WatchParams::default().fields("metadata.name!=kube-root-ca.crt").timeout(60);
        let Ok(stream) = objects.watch(&params, &from).await else {
            tokio::time::sleep(Duration::from_millis(30)).await;
            continue;
        };
        let mut stream = stream.boxed();
        while let Some(Ok(event)) = stream.next().await {
            let (object, is_gone) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => {
                    bail!("the watch of {kind} cannot go on from {from}: {status:?}")
                }
            };
            let mut seen = lock();
            let at = revision(&object)?;
            ensure!(at > seen.revision, "the watch of {kind} went from {} back to {at}", seen.revision);
            seen.revision = at;
            seen.revisions.insert(at);
            let key = (object.namespace().unwrap_or_default(), object.name_any());
            if is_gone {
                seen.objects.remove(&key);
            } else {
                let state = state(kind, &object)?;
                seen.objects.insert(key, state);
            }
        }
    }
}

/// A client that tries nothing twice: a second try would hide what the first led to.
async fn client(site: &Site) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(site.control_plane.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

pub async fn acknowledged_writes_survive_every_kill(site: Shared) -> Result<()> {
    shared(site)?;
    let seed = fastrand::u64(..);
    let outcome = kill_and_compare(seed).await;
    outcome.with_context(|| format!("seed {seed}"))
}

async fn kill_and_compare(seed: u64) -> Result<()> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let site = Site::start(Plane::Standalone).await?;
    let mut writers: Vec<(String, u64, Ledger)> = Vec::new();
    for index in 0..WRITERS {
        writers.push((site.namespace().await?, index << 32, Ledger::new()));
    }
    let client = client(&site).await?;
    let mut watches = JoinSet::new();
    let mut all_seen = Vec::new();
    for kind in KINDS {
        let list = Api::<DynamicObject>::all_with(client.clone(), &resource(kind))
            .list(&ListParams::default())
            .await?;
        let revision = list.metadata.resource_version.context("a resourceVersion")?.parse()?;
        let seen = Arc::new(Mutex::new(Seen { revision, ..Seen::default() }));
        watches.spawn(follow(client.clone(), kind, seen.clone()));
        all_seen.push((kind, seen));
    }
    let mut acknowledged: HashMap<&str, HashSet<u64>> = HashMap::new();
    for round in 0..ROUNDS {
        let mut running = JoinSet::new();
        for (namespace, next, ledger) in writers.drain(..) {
            let (client, rng) = (client.clone(), rng.fork());
            running.spawn(async move {
                let (next, ledger) = write(client, namespace.clone(), rng, next, ledger).await?;
                Ok::<_, anyhow::Error>((namespace, next, ledger))
            });
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(50..600))).await;
        site.kill_controller()?;
        while let Some(ended) = running.join_next().await {
            writers.push(ended??);
        }
        writers.sort_by_key(|(_, next, _)| *next);
        if round % 2 == 1 {
            // Once more while it starts.
            site.launch_controller()?;
            tokio::time::sleep(Duration::from_millis(rng.u64(1..300))).await;
            site.kill_controller()?;
        }
        site.start_controller().await?;
        for (namespace, _, ledger) in &mut writers {
            for ((kind, _), known) in ledger.iter() {
                acknowledged
                    .entry(kind)
                    .or_default()
                    .extend(known.acknowledged.as_ref().map(|state| state.revision));
            }
            compare(&client, namespace, ledger).await?;
        }
        while let Some(ended) = watches.try_join_next() {
            ended??;
        }
    }
    let writes: u64 = writers.iter().map(|(_, next, _)| next & 0xffff_ffff).sum();
    ensure!(writes > 10 * ROUNDS, "only {writes} writes: this showed nothing");
    for (kind, seen) in all_seen {
        let known: HashMap<(String, String), u64> = writers
            .iter()
            .flat_map(|(namespace, _, ledger)| ledger.iter().map(move |(key, known)| (namespace, key, known)))
            .filter(|(_, (of, _), _)| *of == kind)
            .filter_map(|(namespace, (_, name), known)| {
                Some(((namespace.clone(), name.clone()), known.acknowledged.as_ref()?.number))
            })
            .collect();
        eventually(&format!("the watch of {kind} has told everything"), || async {
            let seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let told: HashMap<_, _> =
                seen.objects.iter().map(|(key, state)| (key.clone(), state.number)).collect();
            ensure!(told == known, "told {}, known {}", told.len(), known.len());
            let missed = acknowledged.get(kind).map(|all| all.difference(&seen.revisions).count());
            ensure!(missed.unwrap_or_default() == 0, "{missed:?} acknowledged writes were not told");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    Ok(())
}
