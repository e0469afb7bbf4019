//! The controller's end of one node's session: what is sent, and when. Sans-IO: the shell feeds [`Input`]s with the time and
//! carries out the [`Effect`]s. One set is on its way at a time; the newest desired set replaces one that waits.
//!
//! Not here: reports. What a node says about its apps does not change what it must run.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use skerry_terms::{AppKey, Digest, Generation, NodeName, Payload, labels, reasons};

use crate::snapshot::{DesiredSet, Withheld};

/// Time since any fixed moment; only differences count.
pub type Monotonic = Duration;

/// How often one set is tried on an agent that refuses it: the first time, and once more as a full snapshot.
const TRIES: u32 = 2;

/// After these tries: nothing here mends the cause, but an agent that was updated meanwhile may take the set.
const RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// How long a full disk is given to get room.
const DISK_RETRY_AFTER: Duration = Duration::from_secs(60);

/// What happens to a session.
#[derive(Debug, Clone)]
pub enum Input {
    /// The agent said hello. First, and once.
    Hello { held: Option<Held>, state_corrupt: String },
    /// What an earlier session found, or an earlier controller wrote. Only a proof that the cluster went back outlives both.
    Recalled(Stall),
    /// What the node must run has changed, the caches have moved on while the session waits for that, or a time asked for by
    /// [`Effect::WakeAt`] has come.
    Desired {
        generation: Generation,
        set: Arc<DesiredSet>,
        /// The EdgeNode's annotation `skerry.dev/accept-past`: the generation that is given up, or the uid of the cluster that is.
        accept_past: Option<String>,
        lists: Lists,
    },
    /// There is no set for the node; it keeps what it has.
    Withheld(Withheld),
    /// The agent answered to a set.
    Ack { generation: Generation, digest: Digest, outcome: Outcome, message: String },
}

/// Rounds of fresh lists, counted from the start of the controller. A round lists every kind, and begins after it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lists {
    /// The newest that was asked for; it may have begun.
    pub asked: u64,
    /// The newest of which the lists of all kinds are in the caches.
    pub complete: u64,
}

/// What an agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub generation: Generation,
    pub digest: Digest,
}

/// The agent's answer to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, and in force.
    Adopted,
    /// Not newer than what the agent holds.
    Stale,
    /// The same generation with other content.
    Conflict,
    /// The frames do not make the announced digest, or do not apply to what the agent holds.
    Garbled,
    /// The agent's disk did not take it.
    NotStored,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Answer the hello.
    Welcome,
    /// Send this set: begin, a frame per change, commit.
    Send(Update),
    /// Something that a person should know, or its end.
    Stall(Option<Stall>),
    /// Come back with the newest [`Input::Desired`] at this time. Replaces an earlier one.
    WakeAt(Monotonic),
    /// List everything afresh, in the round of this number: the caches are behind this node.
    Relist(u64),
}

/// A change of the agent's desired set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub generation: Generation,
    /// The set that the changes apply to. Absent for a snapshot: the apps are everything.
    pub base: Option<Digest>,
    /// The operator has accepted that the cluster went back, or there is nothing to accept: the content stays the same.
    pub accept_past: bool,
    pub apps: Vec<(AppKey, Payload)>,
    pub removed: Vec<AppKey>,
    /// Fingerprint of the whole set afterwards.
    pub digest: Digest,
}

/// Why a node does not get what it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// One of [`skerry_terms::reasons`].
    pub reason: &'static str,
    /// What happened and what to do.
    pub message: String,
}

/// One node's session.
#[derive(Debug)]
pub struct Session {
    node: NodeName,
    /// Set by the hello.
    greeted: bool,
    /// What the agent holds, as far as it said.
    held: Option<Held>,
    /// The content of what the agent holds, when this session knows it: the base of deltas.
    content: Option<Arc<DesiredSet>>,
    wanted: Option<Wanted>,
    /// The set that was sent and not answered yet.
    in_flight: Option<Wanted>,
    refused: Option<Refused>,
    /// While the caches are behind the agent: the round of lists that decides whether they are only late.
    decides: Option<u64>,
    /// It is proven that the cluster's history lacks what the agent holds. From then on positions say nothing: a restored cluster
    /// counts on past them. Ends when the agent holds something else, or what it should.
    went_back: bool,
    stall: Option<Stall>,
}

#[derive(Debug, Clone)]
struct Wanted {
    generation: Generation,
    set: Arc<DesiredSet>,
    accept_past: Option<String>,
    lists: Lists,
}

#[derive(Debug)]
struct Refused {
    generation: Generation,
    digest: Digest,
    outcome: Outcome,
    tries: u32,
    /// When the set may be tried again, whatever else holds it.
    retry_at: Monotonic,
}

impl Session {
    pub fn new(node: NodeName) -> Self {
        Self {
            node,
            greeted: false,
            held: None,
            content: None,
            wanted: None,
            in_flight: None,
            refused: None,
            decides: None,
            went_back: false,
            stall: None,
        }
    }

    /// True while the session can do nothing until the caches have moved on: it wants to hear of every generation.
    pub fn waits_for_generation(&self) -> bool {
        let retries = |refused: &Refused| match refused.outcome {
            Outcome::Conflict | Outcome::Stale => refused.tries < TRIES,
            Outcome::Adopted | Outcome::Garbled | Outcome::NotStored => false,
        };
        self.decides.is_some() || self.refused.as_ref().is_some_and(retries)
    }

    /// What keeps the node from getting its set.
    pub fn stall(&self) -> Option<&Stall> {
        self.stall.as_ref()
    }

    pub fn handle(&mut self, input: Input, now: Monotonic) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Hello { held, state_corrupt } => {
                self.greeted = true;
                self.held = held;
                effects.push(Effect::Welcome);
                if !state_corrupt.is_empty() {
                    let message = format!(
                        "the node could not read its stored desired state: {state_corrupt}; a fresh copy is on its way"
                    );
                    self.set_stall(Some((reasons::STATE_CORRUPT, message)), &mut effects);
                }
            }
            Input::Recalled(stall) => {
                if self.held.as_ref().is_some_and(|held| stall.proves_went_back(&held.generation)) {
                    self.went_back = true;
                    self.set_stall(Some((stall.reason, stall.message)), &mut effects);
                }
            }
            Input::Desired { generation, set, accept_past, lists } => {
                self.wanted = Some(Wanted { generation, set, accept_past, lists });
            }
            // The proof stays written down: it must outlive this process.
            Input::Withheld(_) if self.went_back => self.wanted = None,
            Input::Withheld(why) => {
                self.wanted = None;
                let reason = match why {
                    Withheld::Frozen(_) => reasons::INVALID_SPEC,
                    Withheld::Unreadable(_) => reasons::CONFIG_UNREADABLE,
                    Withheld::TooLarge { .. } => reasons::SET_TOO_LARGE,
                };
                self.set_stall(Some((reason, why.to_string())), &mut effects);
            }
            Input::Ack { generation, digest, outcome, message } => {
                self.acknowledged(&generation, digest, outcome, &message, now, &mut effects)
            }
        }
        self.advance(now, &mut effects);
        effects
    }

    fn acknowledged(
        &mut self,
        generation: &Generation,
        digest: Digest,
        outcome: Outcome,
        message: &str,
        now: Monotonic,
        effects: &mut Vec<Effect>,
    ) {
        let answers = |flight: &mut Wanted| flight.generation == *generation && flight.set.digest() == digest;
        // An answer to anything but the set on its way says nothing that is still of use, but for a disk that took it in the end.
        let Some(flight) = self.in_flight.take_if(answers) else {
            if outcome == Outcome::Adopted {
                self.stored_after_all(generation, digest, effects);
            }
            return;
        };
        let reason = match outcome {
            Outcome::Adopted => {
                self.held = Some(Held { generation: flight.generation, digest });
                self.content = Some(flight.set);
                (self.refused, self.went_back) = (None, false);
                self.set_stall(None, effects);
                return;
            }
            Outcome::Stale => reasons::CLUSTER_WENT_BACK,
            Outcome::Conflict => reasons::GENERATION_CONFLICT,
            Outcome::Garbled => reasons::SET_GARBLED,
            Outcome::NotStored => reasons::STATE_NOT_DURABLE,
        };
        let before = self.refused.take().filter(|refused| refused.digest == digest);
        let wait = match outcome {
            Outcome::NotStored => DISK_RETRY_AFTER,
            Outcome::Adopted | Outcome::Stale | Outcome::Conflict | Outcome::Garbled => RETRY_AFTER,
        };
        let retry_at = now + wait;
        effects.push(Effect::WakeAt(retry_at));
        let tries = before.map_or(0, |refused| refused.tries) + 1;
        self.refused = Some(Refused { generation: flight.generation, digest, outcome, tries, retry_at });
        match outcome {
            // The agent may hold something else than this session believes: only a snapshot is safe.
            Outcome::Stale | Outcome::Conflict | Outcome::Garbled => self.content = None,
            Outcome::Adopted | Outcome::NotStored => {}
        }
        if !self.went_back {
            // Without the generation, so that a try that fails like the last one is no news.
            self.set_stall(Some((reason, format!("the node did not take its set: {message}"))), effects);
        }
    }

    /// The node had no room for the set when it came, and has it now.
    fn stored_after_all(&mut self, generation: &Generation, digest: Digest, effects: &mut Vec<Effect>) {
        let it = |refused: &mut Refused| {
            refused.outcome == Outcome::NotStored
                && refused.generation == *generation
                && refused.digest == digest
        };
        if self.refused.take_if(it).is_none() {
            return;
        }
        self.content =
            self.wanted.as_ref().map(|wanted| &wanted.set).filter(|set| set.digest() == digest).cloned();
        self.held = Some(Held { generation: generation.clone(), digest });
        self.went_back = false;
        self.set_stall(None, effects);
    }

    /// Sends what is wanted if the agent lacks it and may have it.
    fn advance(&mut self, now: Monotonic, effects: &mut Vec<Effect>) {
        if !self.greeted || self.in_flight.is_some() {
            return;
        }
        let Some(wanted) = self.wanted.clone() else {
            self.decides = None;
            return;
        };
        let digest = wanted.set.digest();
        if let Some(held) = self.held.as_ref().filter(|held| held.digest == digest) {
            // Equal content is never sent, whatever its generation. It is known now, so the next change can be a delta.
            self.content = Some(wanted.set.clone());
            (self.decides, self.went_back) = (None, false);
            if held.generation.epoch() == wanted.generation.epoch() {
                self.refused = None;
                self.set_stall(None, effects);
                return;
            }
            // Who holds exactly what another cluster wants of it loses nothing by following that one: an operator who has moved
            // everything over has nothing to accept.
            if self.refused.as_ref().is_some_and(|refused| refused.holds(&wanted, now)) {
                return;
            }
            self.set_stall(None, effects);
            effects.push(Effect::Send(update(&wanted, self.content.as_deref(), true)));
            self.in_flight = Some(wanted);
            return;
        }
        if self.refused.as_ref().is_some_and(|refused| refused.holds(&wanted, now)) {
            return;
        }
        let Some(accept_past) = self.may_send(&wanted, effects) else {
            return;
        };
        self.decides = None;
        effects.push(Effect::Send(update(&wanted, self.content.as_deref(), accept_past)));
        self.in_flight = Some(wanted);
    }

    /// Whether the set may go out now, and if so whether as an accepted past.
    fn may_send(&mut self, wanted: &Wanted, effects: &mut Vec<Effect>) -> Option<bool> {
        let Some(Held { generation: held, digest: _ }) = &self.held else {
            return Some(false);
        };
        let is_newer = wanted.generation.is_newer_than(held);
        if is_newer && !self.went_back {
            return Some(false);
        }
        let another_cluster = wanted.generation.epoch() != held.epoch();
        // Of another cluster everything can be accepted at once, with one value for all nodes.
        let accepts = |past: &str| past == held.to_string() || (another_cluster && past == held.epoch());
        if wanted.accept_past.as_deref().is_some_and(accepts) {
            return Some(true);
        }
        let message = went_back(&self.node, &wanted.generation, held);
        if another_cluster {
            self.went_back = true;
        }
        if !self.went_back {
            // A list that began after the agent got its set is at least as new as that, in a history that holds it.
            let decides = *self.decides.get_or_insert_with(|| {
                let next = wanted.lists.asked + 1;
                effects.push(Effect::Relist(next));
                next
            });
            // Other content at the very same position proves nothing: another version of the controller encodes differently.
            self.went_back = wanted.lists.complete >= decides && wanted.generation != *held;
        }
        if self.went_back {
            self.decides = None;
            self.set_stall(Some((reasons::CLUSTER_WENT_BACK, message)), effects);
        }
        None
    }

    fn set_stall(&mut self, stall: Option<(&'static str, String)>, effects: &mut Vec<Effect>) {
        let stall = stall.map(|(reason, message)| Stall { reason, message });
        if self.stall != stall {
            self.stall.clone_from(&stall);
            effects.push(Effect::Stall(stall));
        }
    }
}

impl Stall {
    /// True if this tells that the cluster went back behind `held`. The generation is in the message with its quotes, so that no
    /// longer number passes for it.
    fn proves_went_back(&self, held: &Generation) -> bool {
        self.reason == reasons::CLUSTER_WENT_BACK && self.message.contains(&format!("'{held}'"))
    }
}

impl Refused {
    /// True if this set must not be tried again, or not yet.
    fn holds(&self, wanted: &Wanted, now: Monotonic) -> bool {
        if self.digest != wanted.set.digest() || now >= self.retry_at {
            return false;
        }
        match self.outcome {
            Outcome::Adopted => false,
            // The disk may have room later, after a reconnect, or for another set.
            Outcome::NotStored => true,
            // A newer generation with this content may be taken where this one was not.
            Outcome::Conflict | Outcome::Stale => {
                self.tries >= TRIES || !wanted.generation.is_newer_than(&self.generation)
            }
            Outcome::Garbled => self.tries >= TRIES,
        }
    }
}

/// The frames that lead from what the agent holds to what it should; without a base they are everything.
fn update(wanted: &Wanted, base: Option<&DesiredSet>, accept_past: bool) -> Update {
    let held = base.map(DesiredSet::apps);
    let lacks = |key: &AppKey, payload: &Payload| held.is_none_or(|held| held.get(key) != Some(payload));
    let target = wanted.set.apps();
    Update {
        generation: wanted.generation.clone(),
        base: base.map(DesiredSet::digest),
        accept_past,
        apps: target
            .iter()
            .filter(|(key, payload)| lacks(key, payload))
            .map(|(key, payload)| (key.clone(), payload.clone()))
            .collect(),
        removed: held
            .into_iter()
            .flat_map(|held| held.keys())
            .filter(|key| !target.contains_key(*key))
            .cloned()
            .collect(),
        digest: wanted.set.digest(),
    }
}

fn went_back(node: &NodeName, ours: &Generation, held: &Generation) -> String {
    let annotation = labels::ACCEPT_PAST;
    let (what, all) = if ours.epoch() == held.epoch() {
        ("a newer state than this cluster has: the cluster was restored from a backup", String::new())
    } else {
        (
            "the state of another cluster: the cluster was restored from a backup or replaced, or the node belonged elsewhere",
            format!(
                ", or all nodes of that one: kubectl annotate edgenodes --all {annotation}={} --overwrite",
                held.epoch()
            ),
        )
    };
    format!(
        "the node holds generation {held}, {what}. It keeps what it runs. To let it follow this cluster: kubectl annotate edgenode \
         {node} {annotation}='{held}' --overwrite{all}"
    )
}
