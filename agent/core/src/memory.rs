//! What the agent remembers between two looks at the box: how often a container ended, what Docker refused, what is being done right now.
//! It is not stored: after a restart of the agent every wait begins anew.

mod note;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use skerry_terms::{AppKey, reasons};

use crate::backoff::RETRY_BACKOFF;
use crate::plan::{Action, Why};
use crate::unit::Unit;
use crate::{ContainerId, Monotonic, Observed, ProbeKind, Probes, Resources, Role, SpecHash, WallMillis};

/// What the planner remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    crashes: BTreeMap<(AppKey, Role), Crash>,
    failures: BTreeMap<(AppKey, Subject), Failure>,
    /// Containers with `imagePullPolicy: Always` whose image was pulled for the creation that comes next.
    fresh: BTreeSet<(AppKey, Role, SpecHash)>,
    /// For each living container that joined a sandbox: which run of which sandbox it was first seen with.
    networks: BTreeMap<ContainerId, Joined>,
    /// What the volumes of files hold, as they were written last.
    projected: BTreeMap<AppKey, SpecHash>,
    /// The names of other apps that a container was given last.
    named: BTreeMap<ContainerId, BTreeMap<String, IpAddr>>,
    /// The same for containers that were created and not yet seen, by name.
    given: BTreeMap<(AppKey, String), BTreeMap<String, IpAddr>>,
    /// The postStart hooks that have not succeeded, of containers that the agent started. A container that an earlier agent started is not
    /// among them: its hook counts as done, as it does for kubelet after its own restart.
    hooks: BTreeMap<(AppKey, Role, SpecHash), HookState>,
    /// Containers that were ready in their present run.
    proven: BTreeSet<ContainerId>,
    /// The grace period that each container of its app's present spec was to have when it was last desired. It is changed in place, so the
    /// container itself does not know it.
    graces: BTreeMap<ContainerId, Duration>,
    /// Since when all containers of an app's new spec are ready while old ones run beside them.
    complete: BTreeMap<AppKey, Monotonic>,
    /// The last run of each container that was seen alive.
    runs: BTreeMap<ContainerId, Run>,
    /// Containers were looked at before.
    has_looked: bool,
    /// What the probes of living containers say. A probe that has not yet come to a verdict is not in it.
    probes: BTreeMap<(ContainerId, ProbeKind), ProbeVerdict>,
    /// Containers that ran before the agent did: they count as ready until a probe of theirs has come to a verdict.
    assumed: BTreeSet<ContainerId>,
    /// What the executor does at this moment. Written by the shell.
    executing: BTreeMap<AppKey, Step>,
    /// The containers that the lists under way stop or remove: whatever the last look said, they no longer serve.
    doomed: BTreeMap<AppKey, BTreeSet<ContainerId>>,
}

/// One run of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// When it began by Docker's word: tells it from others, and is compared for equality only.
    since: WallMillis,
    /// When it was seen first.
    seen: Monotonic,
    /// It ran before the agent looked for the first time: how long it has run, only the box's clock can say.
    adopted: bool,
}

/// How a container's runs ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The spec that it ran with; another one starts with a clean slate.
    hash: SpecHash,
    /// The run that was counted last.
    pub(crate) id: ContainerId,
    /// Ends in a row without a healthy run in between.
    pub(crate) count: u32,
    pub(crate) restart_at: Monotonic,
    pub(crate) last: Termination,
    /// Absent when it ended by itself.
    pub(crate) kill: Option<Kill>,
}

/// Why the agent ended a container that it wants to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    pub why: Why,
    /// The probe's own. Absent: the app's.
    pub grace: Option<Duration>,
    /// A stable word.
    pub reason: &'static str,
    /// In words: which probe or hook, and what it met.
    pub message: String,
}

/// How far a container's postStart hook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HookState {
    /// The container was started, and nobody has heard of the hook's end.
    Due,
    Failed {
        message: String,
    },
}

/// A container's place in a network: runs are told apart by their start times, which are compared for equality only. Which of two
/// came first is not asked: the box's clock may have been set back in between.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Joined {
    /// When the member's present run began.
    since: WallMillis,
    sandbox: ContainerId,
    sandbox_since: WallMillis,
}

/// How one run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Termination {
    pub exit_code: i64,
    pub oom_killed: bool,
    pub started_at: WallMillis,
    pub finished_at: WallMillis,
    /// The container's own last words. Empty when it left none.
    pub message: String,
}

/// What was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Pull(Role),
    /// Create or start.
    Launch(Role),
    /// Change in place, to this.
    Update(Role, Resources),
    /// Write the files of volumes.
    Project,
    /// Write the names of other apps.
    Names(ContainerId),
    /// Stop or remove.
    Cleanup,
}

/// Something that Docker refused, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For a pull or a launch: the spec that it was for; another one is tried at once.
    pub(crate) hash: Option<SpecHash>,
    pub(crate) attempts: u32,
    pub(crate) retry_at: Monotonic,
    /// A stable word.
    pub reason: &'static str,
    /// Docker's or the registry's words.
    pub message: String,
}

/// One step of an app's plan, as the executor announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Pull {
        role: Role,
        hash: SpecHash,
        image: String,
    },
    /// `names`: those of other apps that it is created with.
    Create {
        role: Role,
        hash: SpecHash,
        name: String,
        names: BTreeMap<String, IpAddr>,
    },
    Start {
        role: Role,
        hash: SpecHash,
    },
    PostStart {
        role: Role,
        hash: SpecHash,
        name: String,
    },
    Project {
        digest: SpecHash,
    },
    Update {
        id: ContainerId,
        role: Role,
        hash: SpecHash,
        resources: Resources,
    },
    Names {
        id: ContainerId,
        names: BTreeMap<String, IpAddr>,
    },
    Stop,
    Remove,
    Discard,
}

/// What a probe says, after its thresholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeVerdict {
    pub ok: bool,
    /// For people, when it is not: what the last try met.
    pub message: String,
}

/// How a step went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// `reason` is a stable word, `message` the words of Docker or the registry.
    Failed {
        reason: &'static str,
        message: String,
    },
    /// The container could not be created because its image is not on the box, although the plan took it for present.
    NoImage {
        message: String,
    },
}

impl Memory {
    /// A list of actions for an app is under way from now on.
    pub fn dispatch(&mut self, app: &AppKey, actions: &[Action]) {
        let Some(first) = actions.first() else { return };
        self.begin(app, first.step());
        let ids = actions.iter().flat_map(|action| match action {
            Action::Stop { ids, grace: _, why: _ } => ids.clone(),
            Action::Remove { id, why: _ } => vec![id.clone()],
            Action::Pull { .. }
            | Action::Project(_)
            | Action::Create(_)
            | Action::Start { .. }
            | Action::PostStart { .. }
            | Action::Update { .. }
            | Action::Names { .. }
            | Action::Discard => Vec::new(),
        });
        self.doomed.insert(app.clone(), ids.collect());
    }

    /// The executor begins with a step of an app.
    pub fn begin(&mut self, app: &AppKey, step: Step) {
        self.executing.insert(app.clone(), step);
    }

    /// The executor has left the app: its list is done, failed or was cancelled.
    pub fn finish(&mut self, app: &AppKey) {
        self.executing.remove(app);
        self.doomed.remove(app);
    }

    /// What the executor does for an app at this moment. An app that is being worked on is not planned.
    pub fn executing(&self, app: &AppKey) -> Option<&Step> {
        self.executing.get(app)
    }

    /// A probe has come to a verdict, or to another one than before.
    pub fn probed(&mut self, id: &ContainerId, kind: ProbeKind, verdict: ProbeVerdict) {
        let tells = match kind {
            ProbeKind::Readiness => true,
            ProbeKind::Startup | ProbeKind::Liveness => !verdict.ok,
        };
        if tells {
            self.assumed.remove(id);
        }
        if kind == ProbeKind::Readiness && verdict.ok {
            self.proven.insert(id.clone());
        }
        self.probes.insert((id.clone(), kind), verdict);
    }

    /// What a probe of a container says. Absent until its thresholds are met for the first time.
    pub fn probe(&self, id: &ContainerId, kind: ProbeKind) -> Option<&ProbeVerdict> {
        self.probes.get(&(id.clone(), kind))
    }

    /// At the agent's first look: what runs was served to others before, and that the agent was restarted does not make it unready.
    pub fn assume_ready(&mut self, observed: &Observed) {
        let Observed::Known(world) = observed else { return };
        let alive = world.containers.iter().filter(|(_, container)| container.state.is_alive());
        let ours = alive.filter(|(_, container)| container.ownership().is_some());
        let ours: Vec<_> = ours.map(|(id, _)| id.clone()).collect();
        self.proven.extend(ours.iter().cloned());
        self.assumed.extend(ours);
    }

    /// True if the container's readiness is from before the agent's start, and nobody has asked yet. Enough to go on serving, not enough to
    /// settle an update.
    pub fn is_assumed(&self, id: &ContainerId) -> bool {
        self.assumed.contains(id)
    }

    /// The grace period that was asked for last, if it can be another than the one that the container was created with.
    pub(crate) fn grace(&self, id: &ContainerId) -> Option<Duration> {
        self.graces.get(id).copied()
    }

    /// True if a container that runs has started, as far as its startup probe says.
    pub fn has_started(&self, id: &ContainerId, probes: &Probes) -> bool {
        probes.startup.is_none() || self.probe(id, ProbeKind::Startup).is_some_and(|verdict| verdict.ok)
    }

    /// True if a container that runs serves, as far as its probes say.
    pub fn is_ready(&self, id: &ContainerId, probes: &Probes) -> bool {
        self.is_assumed(id) || self.is_proven_ready(id, probes)
    }

    /// The same from what the agent has seen itself, since it started: enough to settle an update.
    pub fn is_proven_ready(&self, id: &ContainerId, probes: &Probes) -> bool {
        let asked = || {
            probes.readiness.is_none()
                || self.probe(id, ProbeKind::Readiness).is_some_and(|verdict| verdict.ok)
        };
        self.has_started(id, probes) && asked()
    }

    /// True while a list is under way that stops or removes the container.
    pub(crate) fn is_doomed(&self, app: &AppKey, id: &ContainerId) -> bool {
        self.doomed.get(app).is_some_and(|ids| ids.contains(id))
    }

    /// Remembers how a step went.
    pub fn record(&mut self, app: &AppKey, step: &Step, outcome: Outcome, now: Monotonic) {
        let (subject, hash) = match step {
            Step::Pull { role, hash, .. } => (Subject::Pull(role.clone()), Some(hash.clone())),
            Step::Create { role, hash, .. } | Step::Start { role, hash } => {
                (Subject::Launch(role.clone()), Some(hash.clone()))
            }
            Step::PostStart { role, hash, name: _ } => {
                return self.record_hook((app.clone(), role.clone(), hash.clone()), outcome);
            }
            Step::Update { id: _, role, hash, resources } => {
                (Subject::Update(role.clone(), *resources), Some(hash.clone()))
            }
            Step::Project { digest } => (Subject::Project, Some(digest.clone())),
            Step::Names { id, names: _ } => (Subject::Names(id.clone()), None),
            Step::Stop | Step::Remove | Step::Discard => (Subject::Cleanup, None),
        };
        let key = (app.clone(), subject);
        let (reason, message) = match outcome {
            Outcome::Failed { reason, message } => (reason, message),
            Outcome::NoImage { message } => (reasons::CREATE_FAILED, message),
            Outcome::Done => return self.record_success(app, step, &key),
        };
        let before = self.failures.get(&key).filter(|failure| failure.hash == hash);
        let attempts = before.map_or(0, |failure| failure.attempts.saturating_add(1));
        let retry_at = now.after(RETRY_BACKOFF.delay(attempts));
        self.failures.insert(key, Failure { hash, attempts, retry_at, reason, message });
    }

    /// A hook that failed has its container killed; that end is what backs off.
    fn record_hook(&mut self, key: (AppKey, Role, SpecHash), outcome: Outcome) {
        match outcome {
            Outcome::Done => {
                self.hooks.remove(&key);
            }
            Outcome::Failed { reason: _, message } | Outcome::NoImage { message } => {
                self.hooks.insert(key, HookState::Failed { message });
            }
        }
    }

    fn record_success(&mut self, app: &AppKey, step: &Step, key: &(AppKey, Subject)) {
        match step {
            Step::Pull { role, hash, .. } => {
                self.fresh.insert((app.clone(), role.clone(), hash.clone()));
            }
            Step::Create { role, hash, name, names } => {
                self.fresh.remove(&(app.clone(), role.clone(), hash.clone()));
                self.given.insert((app.clone(), name.clone()), names.clone());
                // Whether it can be started is not yet known: earlier failures to start stay remembered.
                return;
            }
            Step::Project { digest } => {
                self.projected.insert(app.clone(), digest.clone());
            }
            Step::Names { id, names } => {
                self.named.insert(id.clone(), names.clone());
            }
            // Whether the unit has a hook at all, the next look tells.
            Step::Start { role, hash } => {
                self.hooks.insert((app.clone(), role.clone(), hash.clone()), HookState::Due);
            }
            Step::PostStart { .. } | Step::Update { .. } | Step::Stop | Step::Remove | Step::Discard => {}
        }
        self.failures.remove(key);
    }

    /// False if a container was seen in the network of another sandbox, or of an earlier run of this one.
    pub(crate) fn may_live_in(
        &self,
        member: &ContainerId,
        sandbox: &ContainerId,
        since: Option<WallMillis>,
    ) -> bool {
        self.networks
            .get(member)
            .is_none_or(|seen| seen.sandbox == *sandbox && Some(seen.sandbox_since) == since)
    }

    /// How the unit's runs ended, when one has.
    pub(crate) fn crash(&self, app: &AppKey, unit: &Unit<'_>) -> Option<&Crash> {
        self.crashes.get(&(app.clone(), unit.role.clone())).filter(|crash| crash.hash == unit.hash)
    }

    pub(crate) fn failure(
        &self,
        app: &AppKey,
        subject: Subject,
        hash: Option<&SpecHash>,
    ) -> Option<&Failure> {
        self.failures.get(&(app.clone(), subject)).filter(|failure| failure.hash.as_ref() == hash)
    }

    /// True if the image was pulled for the creation that comes next.
    pub(crate) fn is_fresh(&self, app: &AppKey, unit: &Unit<'_>) -> bool {
        self.fresh.contains(&(app.clone(), unit.role.clone(), unit.hash.clone()))
    }

    /// Why the agent ended this very run of the unit, if it did.
    pub(crate) fn kill(&self, app: &AppKey, unit: &Unit<'_>, id: &ContainerId) -> Option<&Kill> {
        self.crash(app, unit).filter(|crash| crash.id == *id).and_then(|crash| crash.kill.as_ref())
    }

    /// How far the postStart hook of the unit's container is. Absent when it is done, or of an earlier agent.
    pub(crate) fn hook(&self, app: &AppKey, unit: &Unit<'_>) -> Option<&HookState> {
        self.hooks.get(&(app.clone(), unit.role.clone(), unit.hash.clone()))
    }

    /// True if the container was ready before in its present run.
    pub(crate) fn is_proven(&self, id: &ContainerId) -> bool {
        self.proven.contains(id)
    }

    /// What the files of the app's volumes were last written as.
    pub(crate) fn projected(&self, app: &AppKey) -> Option<&SpecHash> {
        self.projected.get(app)
    }

    /// The names of other apps that a container was last given. Absent when that was before the agent's start.
    pub(crate) fn named(&self, id: &ContainerId) -> Option<&BTreeMap<String, IpAddr>> {
        self.named.get(id)
    }

    /// Since when the app's new containers are ready while old ones run beside them.
    pub(crate) fn complete_since(&self, app: &AppKey) -> Option<Monotonic> {
        self.complete.get(app).copied()
    }
}
