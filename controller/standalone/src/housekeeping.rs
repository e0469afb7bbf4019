//! What is done after a write, without the writer waiting: dependents follow their owners, the content of a namespace follows the
//! namespace. What a crash has cut off is found again at the next start.
//!
//! The work is a set of chores; each is safe to do twice and ends by itself, so nothing is lost or done wrong by doing it again.

mod expiry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::object;
use crate::options::{Delete, Propagation};
use crate::remove::{FOREGROUND, ORPHAN};
use crate::server::{Served, Server};
use crate::status::ApiError;
use crate::store::{Key, Range};
use crate::write::{Target, parse};

/// Before a chore that failed is tried again: the store was full or could not write.
const RETRY: Duration = Duration::from_secs(5);
/// Objects of one kind that are looked at in one go.
const PAGE: usize = 500;

/// Something that may have to be tidied up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Chore {
    /// The object has owners: are they still there?
    Owners(Key),
    /// The object waits for what depends on it.
    Dependents(Key),
    /// The namespace is being deleted: is it empty?
    Namespace(String),
    /// Which events are too old?
    Events,
}

/// The chores that wait, and who is owned by whom.
#[derive(Debug, Default)]
pub struct Chores {
    state: Mutex<State>,
    more: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<Chore>,
    /// By the uid of an owner: the objects that name it. Only objects with owners cost memory here.
    owned: BTreeMap<String, BTreeSet<Key>>,
    /// By object: the uids that it stands under above.
    owners: BTreeMap<Key, Vec<String>>,
    /// By the uid of an owner that waits for its dependents: which object it is.
    awaited: BTreeMap<String, Key>,
    /// The namespaces that are being deleted.
    closing: BTreeSet<String>,
    /// Somebody will look for events that are too old.
    expiry_is_set: bool,
}

impl State {
    /// Notes under which owners an object stands now, and under no other any more.
    fn index(&mut self, key: &Key, owners: &[Owner<'_>]) {
        for uid in self.owners.remove(key).unwrap_or_default() {
            if let Some(owned) = self.owned.get_mut(&uid) {
                owned.remove(key);
                if owned.is_empty() {
                    self.owned.remove(&uid);
                }
            }
        }
        for owner in owners {
            self.owned.entry(owner.uid.to_owned()).or_default().insert(key.clone());
        }
        if !owners.is_empty() {
            self.owners.insert(key.clone(), owners.iter().map(|owner| owner.uid.to_owned()).collect());
        }
    }
}

impl Chores {
    pub fn created(&self, served: &Served, object: &Value) {
        if served.resource.kind == "Event" {
            let mut state = self.lock();
            if !std::mem::replace(&mut state.expiry_is_set, true) {
                self.add(&mut state, vec![Chore::Events]);
            }
        }
        self.note(served, object);
    }

    pub fn updated(&self, served: &Served, object: &Value) {
        self.note(served, object);
    }

    pub fn deleted(&self, served: &Served, object: &Value) {
        let key = served.key(object::namespace(object), object::name(object));
        let mut state = self.lock();
        let mut chores = Vec::new();
        state.index(&key, &[]);
        for owner in owners(object) {
            chores.extend(state.awaited.get(owner.uid).cloned().map(Chore::Dependents));
        }
        let uid = object::uid(object);
        state.awaited.remove(uid);
        chores.extend(state.owned.get(uid).into_iter().flatten().cloned().map(Chore::Owners));
        if served.resource.kind == "Namespace" {
            state.closing.remove(object::name(object));
        } else if state.closing.contains(&*key.namespace) {
            chores.push(Chore::Namespace(key.namespace.to_string()));
        }
        self.add(&mut state, chores);
    }

    fn note(&self, served: &Served, object: &Value) {
        let deleting = object::is_deleting(object);
        let owners = owners(object);
        let key = served.key(object::namespace(object), object::name(object));
        let mut state = self.lock();
        state.index(&key, &owners);
        if owners.is_empty() && !deleting {
            return;
        }
        let mut chores = Vec::new();
        for owner in &owners {
            chores.extend(state.awaited.get(owner.uid).cloned().map(Chore::Dependents));
        }
        if !owners.is_empty() && !deleting {
            chores.push(Chore::Owners(key.clone()));
        }
        if deleting && served.resource.kind == "Namespace" {
            state.closing.insert(object::name(object).to_owned());
            chores.push(Chore::Namespace(object::name(object).to_owned()));
        } else if deleting && object::finalizers(object).iter().any(|own| [FOREGROUND, ORPHAN].contains(own))
        {
            state.awaited.insert(object::uid(object).to_owned(), key.clone());
            chores.push(Chore::Dependents(key));
        }
        self.add(&mut state, chores);
    }

    fn add(&self, state: &mut State, chores: Vec<Chore>) {
        if !chores.is_empty() {
            state.waiting.extend(chores);
            self.more.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Chore> {
        self.lock().waiting.pop_first()
    }

    fn owned_by(&self, uid: &str) -> Vec<Key> {
        self.lock().owned.get(uid).into_iter().flatten().cloned().collect()
    }
}

/// One entry of ownerReferences.
#[derive(Debug, Clone, Copy)]
struct Owner<'a> {
    api_version: &'a str,
    kind: &'a str,
    name: &'a str,
    uid: &'a str,
    blocks: bool,
}

fn owners(object: &Value) -> Vec<Owner<'_>> {
    let list = object::meta(object, "ownerReferences").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|entry| {
            let text = |field: &str| entry.get(field).and_then(Value::as_str);
            Some(Owner {
                api_version: text("apiVersion")?,
                kind: text("kind")?,
                name: text("name")?,
                uid: text("uid")?,
                blocks: entry.get("blockOwnerDeletion").and_then(Value::as_bool) == Some(true),
            })
        })
        .collect()
}

impl Server {
    /// Does chores for ever; dropped to end it. No timer runs while there is nothing to try again and no event to expire.
    pub async fn keep_house(&self) {
        self.find_chores().await;
        self.chores.lock().waiting.insert(Chore::Events);
        let (mut failed, mut retry_at, mut expire_at) = (Vec::new(), None, None);
        loop {
            if let Some(chore) = self.chores.next() {
                let done = match &chore {
                    Chore::Events => self.expire_events().await.map(|next| {
                        expire_at = next.map(|next| Instant::now() + next);
                        self.chores.lock().expiry_is_set = next.is_some();
                    }),
                    Chore::Owners(key) => self.follow_owners(key).await,
                    Chore::Dependents(key) => self.release_owner(key).await,
                    Chore::Namespace(name) => self.empty_namespace(name).await,
                };
                if let Err(error) = done {
                    warn!("{chore:?} failed, trying again in {} s: {error}", RETRY.as_secs());
                    failed.push(chore);
                    retry_at.get_or_insert_with(|| Instant::now() + RETRY);
                }
                continue;
            }
            tokio::select! {
                () = self.chores.more.notified() => {}
                () = until(retry_at) => {
                    self.chores.lock().waiting.extend(failed.drain(..));
                    retry_at = None;
                }
                () = until(expire_at) => {
                    self.chores.lock().waiting.insert(Chore::Events);
                    expire_at = None;
                }
            }
        }
    }

    /// What the last run has left: every object is looked at once.
    async fn find_chores(&self) {
        for served in self.all().filter(|served| served.is_stored_here()) {
            let mut after = None;
            loop {
                let range = Range { after: after.take(), limit: Some(PAGE), ..Range::default() };
                let page = match self.store.list(&served.stored_as, None, range).await {
                    Ok(page) => page,
                    Err(error) => {
                        warn!(
                            "failed to look through {} for what a stop has left undone: {error}",
                            served.stored_as
                        );
                        break;
                    }
                };
                for object in page.objects.iter().filter_map(|stored| parse(stored).ok()) {
                    self.chores.note(served, &object);
                }
                after = page
                    .objects
                    .last()
                    .map(|last| (last.key.namespace.to_string(), last.key.name.to_string()));
                if !page.more {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }

    /// Deletes an object all of whose owners are gone, and makes one forget those that are.
    async fn follow_owners(&self, key: &Key) -> Result<(), ApiError> {
        let Some(served) = self.stored_as(key) else { return Ok(()) };
        let target = Target { served, namespace: &key.namespace, name: &key.name, subresource: "" };
        let Some(stored) = self.live(target).await? else { return Ok(()) };
        let object = parse(&stored)?;
        let (mut gone, mut left) = (Vec::new(), 0);
        for owner in owners(&object) {
            match self.is_gone(owner, &key.namespace).await? {
                true => gone.push(owner.uid.to_owned()),
                false => left += 1,
            }
        }
        if gone.is_empty() {
            return Ok(());
        }
        if left > 0 {
            return self.forget_owners(target, &gone).await;
        }
        let options = Delete { uid: Some(object::uid(&object).to_owned()), ..Delete::default() };
        absent_is_fine(self.delete(target, &options).await.map(drop))
    }

    async fn is_gone(&self, owner: Owner<'_>, namespace: &str) -> Result<bool, ApiError> {
        // An owner of a kind that is not served here cannot be looked for, and what cannot be known deletes nothing.
        let Some(served) = self.find_kind(owner.api_version, owner.kind) else { return Ok(false) };
        let namespace = if served.resource.namespaced { namespace } else { "" };
        let target = Target { served, namespace, name: owner.name, subresource: "" };
        let stored = self.live(target).await?;
        Ok(match stored {
            Some(stored) => object::uid(&parse(&stored)?) != owner.uid,
            None => true,
        })
    }

    async fn forget_owners(&self, target: Target<'_>, gone: &[String]) -> Result<(), ApiError> {
        let done = self.amend(target, |object| {
            let kept =
                object::meta(object, "ownerReferences").and_then(Value::as_array).into_iter().flatten();
            let kept: Vec<Value> = kept
                .filter(|entry| !gone.iter().any(|uid| entry.get("uid").and_then(Value::as_str) == Some(uid)))
                .cloned()
                .collect();
            object::set(object, "ownerReferences", (!kept.is_empty()).then(|| kept.into()));
        });
        let done = absent_is_fine(done.await);
        let key = target.served.key(target.namespace, target.name);
        let mut state = self.chores.lock();
        for uid in gone {
            if let Some(owned) = state.owned.get_mut(uid) {
                owned.remove(&key);
            }
            state.owned.retain(|_, owned| !owned.is_empty());
        }
        done
    }

    /// Takes the finalizer off an owner that waits for its dependents, when they are gone or let go.
    async fn release_owner(&self, key: &Key) -> Result<(), ApiError> {
        let Some(served) = self.stored_as(key) else { return Ok(()) };
        let target = Target { served, namespace: &key.namespace, name: &key.name, subresource: "" };
        let Some(stored) = self.live(target).await? else { return Ok(()) };
        let object = parse(&stored)?;
        let uid = object::uid(&object).to_owned();
        let finalizer = match object::finalizers(&object) {
            own if !object::is_deleting(&object) || own.is_empty() => return Ok(()),
            own if own.contains(&ORPHAN) => ORPHAN,
            own if own.contains(&FOREGROUND) => FOREGROUND,
            _ => return Ok(()),
        };
        let mut waits = false;
        for dependent in self.chores.owned_by(&uid) {
            let Some(served) = self.stored_as(&dependent) else { continue };
            let target =
                Target { served, namespace: &dependent.namespace, name: &dependent.name, subresource: "" };
            if finalizer == ORPHAN {
                self.forget_owners(target, std::slice::from_ref(&uid)).await?;
                continue;
            }
            let Some(stored) = self.live(target).await? else { continue };
            let object = parse(&stored)?;
            let owners = owners(&object);
            let is_shared = owners.iter().any(|owner| owner.uid != uid);
            if !is_shared && !object::is_deleting(&object) {
                let options = Delete { propagation: Some(Propagation::Foreground), ..Delete::default() };
                absent_is_fine(self.delete(target, &options).await.map(drop))?;
            }
            let blocks = owners.iter().any(|owner| owner.uid == uid && owner.blocks);
            waits |= blocks && !is_shared && self.live(target).await?.is_some();
        }
        if waits {
            // The deletion of what is waited for brings this chore back.
            return Ok(());
        }
        let done = self.amend(target, |object| {
            let kept: Vec<String> = object::finalizers(object)
                .into_iter()
                .filter(|own| *own != finalizer)
                .map(str::to_owned)
                .collect();
            object::set_finalizers(object, &kept);
        });
        absent_is_fine(done.await)
    }

    /// Deletes what is in a namespace, and then lets the namespace go.
    async fn empty_namespace(&self, name: &str) -> Result<(), ApiError> {
        let mut left = false;
        for served in self.all().filter(|served| served.resource.namespaced && served.is_stored_here()) {
            let mut after = None;
            loop {
                let range = Range { after: after.take(), limit: Some(PAGE), ..Range::default() };
                let page = self
                    .store
                    .list(&served.stored_as, Some(name), range)
                    .await
                    .map_err(ApiError::internal)?;
                for stored in &page.objects {
                    let target = Target { served, namespace: name, name: &stored.key.name, subresource: "" };
                    absent_is_fine(self.delete(target, &Delete::default()).await.map(drop))?;
                    left |= self.live(target).await?.is_some();
                }
                after = page
                    .objects
                    .last()
                    .map(|last| (last.key.namespace.to_string(), last.key.name.to_string()));
                if !page.more {
                    break;
                }
            }
        }
        if left {
            // The deletion of what is left brings this chore back.
            return Ok(());
        }
        let served = self.namespaces()?;
        let target = Target { served, namespace: "", name, subresource: "" };
        let done = self.amend(target, |object| {
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("finalizers");
            }
        });
        absent_is_fine(done.await)
    }

    fn stored_as(&self, key: &Key) -> Option<&Arc<Served>> {
        self.all().find(|served| served.stored_as == key.resource && served.is_stored_here())
    }
}

/// Never, if there is no such time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What was to go is gone.
fn absent_is_fine(done: Result<(), ApiError>) -> Result<(), ApiError> {
    match done {
        Err(error) if error.reason == "NotFound" || error.reason == "Conflict" => Ok(()),
        done => done,
    }
}
