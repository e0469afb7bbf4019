//! The agent's side of the session, without IO: what it holds, what it accepts, what it says. Link, disk and Docker are inputs and
//! effects, so that a crash, a cut or a reordering is a step in a test.
//!
//! Architecture Invariant: persist before acknowledge (A10), an older generation never replaces a newer one (A8), and a set takes
//! effect only when it is whole.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use skerry_terms::{AppKey, Digest, Generation, Payload, PayloadSet};

use crate::AppStatus;

/// A desired set and the generation it was computed from: what is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub generation: Generation,
    pub set: PayloadSet,
}

impl Held {
    pub fn digest(&self) -> Digest {
        Digest::of(&self.set)
    }
}

/// Caps on a set; the shell passes those of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetCaps {
    /// Most apps.
    pub apps: usize,
    /// Most bytes of all payloads together.
    pub bytes: usize,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A link to the controller stands.
    Connected,
    Received(Frame),
    Disconnected,
    /// The disk has it.
    Persisted {
        generation: Generation,
    },
    /// The disk did not take it. It is tried again, and [`Input::Persisted`] may still come.
    PersistFailed {
        why: String,
    },
    /// Where every app stands now, as the planner's report says it.
    Status(Vec<AppStatus>),
}

/// What the controller says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Welcome,
    /// A set begins. With a base, the frames change the set with that digest; without, they are everything.
    Begin {
        generation: Generation,
        base: Option<Digest>,
        accept_past: bool,
    },
    App {
        key: AppKey,
        payload: Payload,
    },
    Remove {
        key: AppKey,
    },
    /// The set is whole, and this is its digest.
    Commit {
        digest: Digest,
    },
    /// The controller ends the session.
    Refusal {
        reason: String,
        message: String,
    },
}

/// What the shell must do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Send(Outgoing),
    /// Write it, and say [`Input::Persisted`] or [`Input::PersistFailed`].
    Persist(Held),
    /// Act on it from now on.
    Adopt(Held),
    /// End the link; it is dialled again later.
    Close {
        why: String,
    },
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    Hello {
        held: Option<(Generation, Digest)>,
    },
    Ack {
        generation: Generation,
        digest: Digest,
        outcome: AckOutcome,
        message: String,
    },
    /// All apps, or those that changed. An app that is gone is among them with the phase Removed.
    Status {
        full: bool,
        apps: Vec<AppStatus>,
    },
}

/// The agent's answer to a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckOutcome {
    /// On disk and in force.
    Adopted,
    /// Not newer than what is held.
    Stale,
    /// The same generation with other content.
    Conflict,
    /// The digest is not that of the frames, or the base is not what is held.
    Garbled,
    /// The disk did not take it.
    NotStored,
}

/// A set that is being received.
#[derive(Debug, Clone)]
struct Staging {
    generation: Generation,
    accept_past: bool,
    /// Absent when the frames' base is not what is held: the frames are skipped, and the commit is answered.
    set: Option<PayloadSet>,
    /// Bytes of all payloads in the set.
    bytes: usize,
}

/// A whole set that waits for the disk.
#[derive(Debug, Clone)]
struct Writing {
    held: Held,
    digest: Digest,
    /// The link that brought it still stands, so that it can be answered there.
    answer: bool,
    /// The disk did not take it at the first try. A later set need not wait for it.
    failed: bool,
}

/// One agent's session, over all links that come and go.
#[derive(Debug)]
pub struct Session {
    caps: SetCaps,
    held: Option<(Held, Digest)>,
    writing: Option<Writing>,
    connected: bool,
    staging: Option<Staging>,
    /// A whole set that arrived while another was being written. Only the newest is kept.
    waiting: Option<(Staging, Digest)>,
    /// Absent until the box was looked at for the first time: nothing is said of apps before.
    status: Option<BTreeMap<AppKey, AppStatus>>,
}

impl Session {
    /// `held` is what was on disk, if anything was.
    pub fn new(held: Option<Held>, caps: SetCaps) -> Self {
        let held = held.map(|held| {
            let digest = held.digest();
            (held, digest)
        });
        Self { caps, held, writing: None, connected: false, staging: None, waiting: None, status: None }
    }

    /// The set in force.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref().map(|(held, _)| held)
    }

    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Connected => self.connected(),
            Input::Disconnected => self.disconnected(),
            Input::Received(frame) => self.received(frame),
            Input::Persisted { generation } => self.persisted(&generation),
            Input::PersistFailed { why } => self.persist_failed(why),
            Input::Status(apps) => self.status(apps),
        }
    }

    fn connected(&mut self) -> Vec<Effect> {
        self.disconnected();
        self.connected = true;
        let held = self.held.as_ref().map(|(held, digest)| (held.generation.clone(), *digest));
        let full = self.status.as_ref().map(|status| {
            Effect::Send(Outgoing::Status { full: true, apps: status.values().cloned().collect() })
        });
        std::iter::once(Effect::Send(Outgoing::Hello { held })).chain(full).collect()
    }

    /// What was half received is dropped; what is being written is finished, and the next hello tells.
    fn disconnected(&mut self) -> Vec<Effect> {
        self.connected = false;
        self.staging = None;
        self.waiting = None;
        if let Some(writing) = &mut self.writing {
            writing.answer = false;
        }
        Vec::new()
    }

    fn received(&mut self, frame: Frame) -> Vec<Effect> {
        if !self.connected {
            return Vec::new();
        }
        match frame {
            Frame::Welcome => Vec::new(),
            Frame::Begin { generation, base, accept_past } => self.begin(generation, base, accept_past),
            Frame::App { key, payload } => self.stage(key, Some(payload)),
            Frame::Remove { key } => self.stage(key, None),
            Frame::Commit { digest } => match self.staging.take() {
                Some(staging) => self.commit(staging, digest),
                None => self.close("a commit came without a begin"),
            },
            Frame::Refusal { reason, message } => {
                self.close(&format!("the controller refused the session: {message} ({reason})"))
            }
        }
    }

    fn begin(&mut self, generation: Generation, base: Option<Digest>, accept_past: bool) -> Vec<Effect> {
        let set = match base {
            None => Some(PayloadSet::new()),
            Some(base) => self.known().find(|(_, digest)| *digest == base).map(|(set, _)| set.clone()),
        };
        let bytes = set.iter().flat_map(PayloadSet::values).map(|payload| payload.len()).sum();
        self.staging = Some(Staging { generation, accept_past, set, bytes });
        Vec::new()
    }

    /// The sets that the controller can know of: what is being written, and what is held.
    fn known(&self) -> impl Iterator<Item = (&PayloadSet, Digest)> {
        let writing = self.writing.iter().map(|writing| (&writing.held.set, writing.digest));
        writing.chain(self.held.iter().map(|(held, digest)| (&held.set, *digest)))
    }

    fn stage(&mut self, key: AppKey, payload: Option<Payload>) -> Vec<Effect> {
        let caps = self.caps;
        let Some(staging) = &mut self.staging else {
            return self.close("a frame came without a begin");
        };
        let Some(set) = &mut staging.set else {
            return Vec::new();
        };
        let size = |payload: &Option<Payload>| payload.as_ref().map_or(0, |payload| payload.len());
        let added = size(&payload);
        let before = match payload {
            Some(payload) => set.insert(key, payload),
            None => set.remove(&key),
        };
        staging.bytes = staging.bytes + added - size(&before);
        if set.len() > caps.apps || staging.bytes > caps.bytes {
            return self.close(&format!(
                "the desired set is larger than {} apps or {} bytes",
                caps.apps, caps.bytes
            ));
        }
        Vec::new()
    }

    fn commit(&mut self, staging: Staging, digest: Digest) -> Vec<Effect> {
        if self.writing.as_ref().is_some_and(|writing| !writing.failed) {
            self.waiting = Some((staging, digest));
            return Vec::new();
        }
        let Staging { generation, accept_past, set, bytes: _ } = staging;
        let answer = |outcome, message: &str| {
            let message = message.to_owned();
            vec![Effect::Send(Outgoing::Ack { generation: generation.clone(), digest, outcome, message })]
        };
        let Some(set) = set else {
            return answer(AckOutcome::Garbled, "the base of the delta is not what is held");
        };
        if Digest::of(&set) != digest {
            return answer(AckOutcome::Garbled, "the digest is not that of the frames");
        }
        if let Some((held, held_digest)) = &self.held {
            let same = *held_digest == digest;
            if held.generation == generation {
                return match same {
                    true => answer(AckOutcome::Adopted, ""),
                    false => answer(AckOutcome::Conflict, "the same generation was held with other content"),
                };
            }
            if !accept_past && !generation.is_newer_than(&held.generation) {
                return answer(AckOutcome::Stale, &format!("{} is held", held.generation));
            }
        }
        let held = Held { generation, set };
        self.writing = Some(Writing { held: held.clone(), digest, answer: true, failed: false });
        vec![Effect::Persist(held)]
    }

    fn persisted(&mut self, generation: &Generation) -> Vec<Effect> {
        let Some(Writing { held, digest, answer, failed: _ }) =
            self.writing.take_if(|w| w.held.generation == *generation)
        else {
            return Vec::new();
        };
        self.held = Some((held.clone(), digest));
        let generation = held.generation.clone();
        let mut effects = vec![Effect::Adopt(held)];
        if answer {
            let (outcome, message) = (AckOutcome::Adopted, String::new());
            effects.push(Effect::Send(Outgoing::Ack { generation, digest, outcome, message }));
        } else if self.connected {
            // The hello on this link told of the set before. Whoever heard it may send nothing, or what can only be refused.
            effects.extend(
                self.close("a set that an earlier link brought is in force now, and the hello did not tell"),
            );
        }
        effects.extend(self.commit_waiting());
        effects
    }

    /// The set stays at hand for when the disk takes it; whoever sent it hears once that it is not in force.
    fn persist_failed(&mut self, why: String) -> Vec<Effect> {
        let Some(Writing { held, digest, answer, failed }) = &mut self.writing else {
            return Vec::new();
        };
        let first = !std::mem::replace(failed, true);
        let mut effects = Vec::new();
        if *answer && first {
            let (generation, digest) = (held.generation.clone(), *digest);
            let outcome = AckOutcome::NotStored;
            effects.push(Effect::Send(Outgoing::Ack { generation, digest, outcome, message: why }));
        }
        effects.extend(self.commit_waiting());
        effects
    }

    fn commit_waiting(&mut self) -> Vec<Effect> {
        match self.waiting.take() {
            Some((staging, digest)) => self.commit(staging, digest),
            None => Vec::new(),
        }
    }

    fn status(&mut self, apps: Vec<AppStatus>) -> Vec<Effect> {
        let new: BTreeMap<_, _> = apps.into_iter().map(|app| (app.key.clone(), app)).collect();
        let full = self.status.is_none();
        let old = self.status.take().unwrap_or_default();
        let new = self.status.insert(new);
        let mut apps: Vec<AppStatus> =
            new.values().filter(|app| old.get(&app.key) != Some(app)).cloned().collect();
        apps.extend(old.into_keys().filter(|key| !new.contains_key(key)).map(AppStatus::removed));
        if !self.connected || (apps.is_empty() && !full) {
            return Vec::new();
        }
        vec![Effect::Send(Outgoing::Status { full, apps })]
    }

    fn close(&mut self, why: &str) -> Vec<Effect> {
        self.disconnected();
        vec![Effect::Close { why: why.to_owned() }]
    }
}
