//! What is wanted and what of it is in force: the controller's set and the box's own apps, as the box's owner allows and as trials leave it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skerry_agent_core::{AppStatus, Desired, DesiredApp, Fault, Held, Host, Notes, Policy, Trials, Wanted};
use skerry_terms::{AppKey, NodeName, PayloadSet, Problem, reasons};

use crate::decode::{self, Decoded};
use crate::facts;
use crate::manifests::Manifests;

/// Where an app comes from. Of several, the controller's counts, then the operator's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    Cloud,
    /// A file of the folder of static manifests.
    Static,
    /// Handed over with `skerry-agent run -f`.
    Local,
}

/// The box's own apps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalSet {
    pub apps: PayloadSet,
    pub sources: BTreeMap<AppKey, Source>,
    /// Local apps that are gone and may still have containers, and where they came from.
    pub retired: BTreeMap<AppKey, Source>,
    /// What local apps there were could not be read: an app that nobody asks for may be one of them.
    pub lost: bool,
    /// Why the last change of these could not be stored. Absent when it could.
    pub unsaved: Option<Problem>,
}

/// What the box itself brings along, and what its owner allows.
#[derive(Debug, Clone, Default)]
pub struct Premises {
    /// Without the address, which is asked for with each set.
    pub host: Host,
    pub policy: Policy,
    /// Who keeps the box's own apps. Absent where there are none.
    pub manifests: Option<Arc<Manifests>>,
    /// What is wrong with what is stored, since before the agent began.
    pub state: Option<Problem>,
    /// Why the state folder could not be written when the agent began. Absent when it could.
    pub unwritable: Option<Problem>,
}

/// Everything that is wanted.
#[derive(Debug)]
pub(super) struct Wants {
    node: NodeName,
    premises: Premises,
    local: LocalSet,
    trials: Trials,
    /// Where each app that is wanted comes from.
    sources: BTreeMap<AppKey, Source>,
    /// uid of each app's EdgeApp object.
    uids: BTreeMap<AppKey, String>,
    /// Apps that the controller asked for since the agent began.
    of_cloud: BTreeSet<AppKey>,
}

/// What is in force from now on.
pub(super) struct InForce {
    /// Absent: nothing is desired and nothing is undesired.
    pub desired: Option<Desired>,
    /// What is worth keeping on disk has changed.
    pub noted: bool,
}

impl Wants {
    pub fn new(node: NodeName, premises: Premises, local: LocalSet, notes: Notes) -> Self {
        let mut wants = Self {
            node,
            premises,
            local,
            trials: Trials::default(),
            sources: BTreeMap::new(),
            uids: BTreeMap::new(),
            of_cloud: BTreeSet::new(),
        };
        let Notes { committed, failed } = notes;
        // What the owner no longer allows, or this agent does not understand, is nothing to go back to.
        let sound: PayloadSet =
            committed.iter().map(|(key, committed)| (key.clone(), committed.payload.clone())).collect();
        let apps = wants.read(&sound).desired.apps;
        let is_sound = |key: &AppKey| matches!(apps.get(key), Some(DesiredApp::Valid(_)));
        let committed = committed.into_iter().filter(|(key, _)| is_sound(key)).collect();
        wants.trials = Trials::recall(Notes { committed, failed });
        wants
    }

    pub fn uids(&self) -> &BTreeMap<AppKey, String> {
        &self.uids
    }

    pub fn trials(&mut self) -> &mut Trials {
        &mut self.trials
    }

    /// Whether images are pulled, and if not, why. True if that is another answer than before.
    pub fn hold_pulls(&mut self, why: Option<String>) -> bool {
        let changed = self.premises.host.pulls_wait != why;
        self.premises.host.pulls_wait = why;
        changed
    }

    pub fn set_local(&mut self, local: LocalSet) {
        self.local = local;
    }

    /// What local apps there were could not be read.
    pub fn is_lost(&self) -> bool {
        self.local.lost
    }

    /// Why what is known of local apps is not on disk.
    pub fn local_unsaved(&self) -> Option<&Problem> {
        self.local.unsaved.as_ref()
    }

    /// Apps that were handed over on the box and that the controller asks for, too: from now on they are its.
    pub fn taken_over(&self) -> BTreeSet<AppKey> {
        let both = |(key, source): &(&AppKey, &Source)| {
            **source == Source::Local && self.sources.get(*key) == Some(&Source::Cloud)
        };
        self.local.sources.iter().filter(both).map(|(key, _)| key.clone()).collect()
    }

    /// Local apps that are gone and of which the box has nothing left, or that the controller asks for. They are not asked for twice.
    pub fn forgotten(&mut self, is_left: impl Fn(&AppKey) -> bool) -> BTreeSet<AppKey> {
        let sources = &self.sources;
        let gone: BTreeSet<AppKey> = self
            .local
            .retired
            .keys()
            .filter(|key| sources.get(*key) == Some(&Source::Cloud) || !is_left(key))
            .cloned()
            .collect();
        self.local.retired.retain(|key, _| !gone.contains(key));
        gone
    }

    /// Takes in what is wanted now.
    pub fn follow(&mut self, held: Option<&Held>) -> InForce {
        let LocalSet { apps, sources, retired, lost, unsaved: _ } = &self.local;
        let lost = *lost;
        if held.is_none() && apps.is_empty() && retired.is_empty() {
            return InForce { desired: None, noted: false };
        }
        let cloud = held.map(|held| &held.set);
        let mut set = apps.clone();
        self.sources = sources.clone();
        for (key, payload) in cloud.into_iter().flatten() {
            set.insert(key.clone(), payload.clone());
            self.sources.insert(key.clone(), Source::Cloud);
            self.of_cloud.insert(key.clone());
        }
        let Decoded { mut desired, uids } = self.read(&set);
        // Where it is not known which apps the box had of its own, only what the controller itself took back goes.
        desired.complete = held.is_some() && !lost;
        let gone = retired.keys().chain(self.of_cloud.iter().filter(|_| lost));
        desired.retired = gone.filter(|key| !set.contains_key(*key)).cloned().collect();
        self.uids = uids;
        let wanted = set.into_iter().filter_map(|(key, payload)| {
            let (revision, fault) = match desired.apps.get(&key)? {
                DesiredApp::Valid(app) => (app.revision.clone(), None),
                DesiredApp::Unsupported { revision, why } => {
                    (revision.clone(), Some(Fault { reason: reasons::UNSUPPORTED, why: why.clone() }))
                }
                DesiredApp::Refused { revision, why } => {
                    (revision.clone(), Some(Fault { reason: reasons::POLICY_REFUSED, why: why.clone() }))
                }
            };
            let print = decode::print(&key, &payload);
            Some((key, Wanted { payload, print, revision, fault }))
        });
        let noted = self.trials.follow(wanted.collect());
        let fallbacks = self.read(&self.trials.fallbacks());
        desired.apps.extend(fallbacks.desired.apps);
        desired.images = self.trials.images();
        InForce { desired: Some(desired), noted }
    }

    /// Reads payloads, and holds them against what the owner allows.
    fn read(&self, set: &PayloadSet) -> Decoded {
        let Premises { host, policy, manifests: _, state: _, unwritable: _ } = &self.premises;
        let host = Host { ip: facts::addresses().into_iter().next().or(host.ip), ..host.clone() };
        let mut decoded = decode::desired(&self.node, &host, set);
        for app in decoded.desired.apps.values_mut() {
            if let DesiredApp::Valid(valid) = app
                && let Err(refusal) = policy.judge(valid)
            {
                let revision = valid.revision.clone();
                *app = DesiredApp::Refused { revision, why: refusal.to_string() };
            }
        }
        decoded
    }

    /// Where an app comes from; of one that is going, where it came from as far as that is known.
    pub fn source(&self, key: &AppKey) -> Source {
        let source = self.sources.get(key).or_else(|| self.local.retired.get(key));
        source.copied().unwrap_or(Source::Cloud)
    }

    /// The statuses of a plan, as trials have it.
    pub fn amend(&self, statuses: &mut [AppStatus]) {
        statuses.iter_mut().for_each(|status| self.trials.amend(status));
    }
}
