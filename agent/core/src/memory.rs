//! What the agent remembers between two looks at the box: how often a container ended, what Docker refused, what is being done right now.
//! It is not stored: after a restart of the agent every wait begins anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use skerry_terms::{AppKey, reasons};

use crate::backoff::{CRASH_BACKOFF, RETRY_BACKOFF};
use crate::plan::Action;
use crate::unit::{Unit, units};
use crate::{
    ContainerId, ContainerState, Desired, DesiredApp, Monotonic, Observed, Ownership, ProbeKind, Probes,
    Resources, Role, SpecHash, WallMillis, World,
};

/// A container that ran this long is healthy: its next end counts as the first. Kubernetes' figure.
const HEALTHY_RUN: Duration = Duration::from_secs(600);

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
    /// What the probes of living containers say. A probe that has not yet come to a verdict is not in it.
    probes: BTreeMap<(ContainerId, ProbeKind), ProbeVerdict>,
    /// Containers that ran before the agent did: they count as ready until a probe of theirs has come to a verdict.
    assumed: BTreeSet<ContainerId>,
    /// What the executor does at this moment. Written by the shell.
    executing: BTreeMap<AppKey, Step>,
    /// The containers that the lists under way stop or remove: whatever the last look said, they no longer serve.
    doomed: BTreeMap<AppKey, BTreeSet<ContainerId>>,
}

/// How a container's runs ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The spec that it ran with; another one starts with a clean slate.
    hash: SpecHash,
    /// The run that was counted last.
    id: ContainerId,
    /// Ends in a row without a healthy run in between.
    pub(crate) count: u32,
    pub(crate) restart_at: Monotonic,
    pub(crate) last: Termination,
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
}

/// What was tried in vain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Pull(Role),
    /// Create or start.
    Launch(Role),
    /// Change in place.
    Update(Role),
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
    Pull { role: Role, hash: SpecHash, image: String },
    Create { role: Role, hash: SpecHash },
    Start { role: Role, hash: SpecHash },
    PostStart { role: Role, hash: SpecHash, name: String },
    Project { digest: SpecHash },
    Update { id: ContainerId, role: Role, hash: SpecHash, resources: Resources },
    Names { id: ContainerId, names: BTreeMap<String, IpAddr> },
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
        self.assumed.extend(ours.map(|(id, _)| id.clone()));
    }

    /// True if the container's readiness is from before the agent's start, and nobody has asked yet. Enough to go on serving, not enough to
    /// settle an update.
    pub fn is_assumed(&self, id: &ContainerId) -> bool {
        self.assumed.contains(id)
    }

    /// True if a container that runs has started, as far as its startup probe says.
    pub fn has_started(&self, id: &ContainerId, probes: &Probes) -> bool {
        probes.startup.is_none() || self.probe(id, ProbeKind::Startup).is_some_and(|verdict| verdict.ok)
    }

    /// True if a container that runs serves, as far as its probes say.
    pub fn is_ready(&self, id: &ContainerId, probes: &Probes) -> bool {
        let asked = || {
            probes.readiness.is_none()
                || self.probe(id, ProbeKind::Readiness).is_some_and(|verdict| verdict.ok)
        };
        self.is_assumed(id) || self.has_started(id, probes) && asked()
    }

    /// True while a list is under way that stops or removes the container.
    pub(crate) fn is_doomed(&self, app: &AppKey, id: &ContainerId) -> bool {
        self.doomed.get(app).is_some_and(|ids| ids.contains(id))
    }

    /// Remembers how a step went.
    pub fn record(&mut self, app: &AppKey, step: &Step, outcome: Outcome, now: Monotonic) {
        let (subject, hash) = match step {
            Step::Pull { role, hash, .. } => (Subject::Pull(role.clone()), Some(hash.clone())),
            Step::Create { role, hash } | Step::Start { role, hash } => {
                (Subject::Launch(role.clone()), Some(hash.clone()))
            }
            Step::PostStart { role, hash, name: _ } => (Subject::Launch(role.clone()), Some(hash.clone())),
            Step::Update { id: _, role, hash, resources: _ } => {
                (Subject::Update(role.clone()), Some(hash.clone()))
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

    fn record_success(&mut self, app: &AppKey, step: &Step, key: &(AppKey, Subject)) {
        match step {
            Step::Pull { role, hash, .. } => {
                self.fresh.insert((app.clone(), role.clone(), hash.clone()));
            }
            Step::Create { role, hash } => {
                self.fresh.remove(&(app.clone(), role.clone(), hash.clone()));
                // Whether it can be started is not yet known: earlier failures to start stay remembered.
                return;
            }
            Step::Project { digest } => {
                self.projected.insert(app.clone(), digest.clone());
            }
            Step::Names { id, names } => {
                self.named.insert(id.clone(), names.clone());
            }
            Step::Start { .. }
            | Step::PostStart { .. }
            | Step::Update { .. }
            | Step::Stop
            | Step::Remove
            | Step::Discard => {}
        }
        self.failures.remove(key);
    }

    /// Takes note of containers that ended, and forgets what is no longer desired. Called with every look at the box, before
    /// the plan.
    pub fn note(&mut self, desired: &Desired, observed: &Observed, now: Monotonic) {
        let Observed::Known(world) = observed else { return };
        for (id, owner, state) in newest_runs(world) {
            let ContainerState::Exited {
                exit_code,
                oom_killed,
                started_at,
                finished_at,
                error: _,
                message: _,
            } = *state
            else {
                continue;
            };
            // What we stop ourselves has not crashed.
            if self.is_doomed(&owner.app, id) {
                continue;
            }
            let Some(DesiredApp::Valid(app)) = desired.apps.get(&owner.app) else { continue };
            let Some(unit) = units(app).into_iter().find(|unit| unit.role == owner.role) else { continue };
            let restarts = unit.role == Role::Sandbox || app.restart_policy.restarts(exit_code);
            if owner.hash.as_ref() == Some(&unit.hash) && restarts {
                let last = Termination { exit_code, oom_killed, started_at, finished_at };
                self.note_end(&owner.app, &unit, id, last, now);
            }
        }
        self.note_networks(world);
        self.note_success(world);
        self.forget(desired, world);
    }

    fn note_networks(&mut self, world: &World) {
        let mut networks = std::mem::take(&mut self.networks);
        for (id, container) in &world.containers {
            let (true, Some(joined), Some(since)) =
                (container.state.is_alive(), &container.joined, container.state.started_at())
            else {
                continue;
            };
            let before = networks.remove(id).filter(|before| before.since == since);
            let seen = before.or_else(|| {
                let (sandbox, found) =
                    world.containers.iter().find(|(id, other)| id.0 == *joined || other.name == *joined)?;
                let sandbox_since = found.state.started_at().filter(|_| found.state.is_alive())?;
                Some(Joined { since, sandbox: sandbox.clone(), sandbox_since })
            });
            if let Some(seen) = seen {
                self.networks.insert(id.clone(), seen);
            }
        }
    }

    /// What runs has been launched, whoever did it: an earlier failure to do so is over.
    fn note_success(&mut self, world: &World) {
        for container in world.containers.values().filter(|container| container.state.is_alive()) {
            if let Some(owner) = container.ownership() {
                let key = (owner.app.clone(), Subject::Launch(owner.role.clone()));
                if self.failures.get(&key).is_some_and(|failure| failure.hash == owner.hash) {
                    self.failures.remove(&key);
                }
            }
        }
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

    fn note_end(
        &mut self,
        app: &AppKey,
        unit: &Unit<'_>,
        id: &ContainerId,
        last: Termination,
        now: Monotonic,
    ) {
        let key = (app.clone(), unit.role.clone());
        let before = self.crashes.get(&key).filter(|crash| crash.hash == unit.hash);
        // A container that somebody started again ends anew under its old id.
        if before.is_some_and(|crash| crash.id == *id && crash.last.finished_at == last.finished_at) {
            return;
        }
        let healthy = last.finished_at.since(last.started_at) >= HEALTHY_RUN;
        let count = before.filter(|_| !healthy).map_or(1, |crash| crash.count.saturating_add(1));
        // As in Kubernetes, the first restart is immediate.
        let restart_at = match count.checked_sub(2) {
            None => now,
            Some(attempt) => now.after(CRASH_BACKOFF.delay(attempt)),
        };
        let crash = Crash { hash: unit.hash.clone(), id: id.clone(), count, restart_at, last };
        self.crashes.insert(key, crash);
    }

    /// Drops everything that no app can refer to any more, so that memory stays bounded by what is desired and what is there.
    fn forget(&mut self, desired: &Desired, world: &World) {
        let roles: BTreeMap<&AppKey, Vec<Unit<'_>>> = desired
            .apps
            .iter()
            .filter_map(|(key, app)| match app {
                DesiredApp::Valid(app) => Some((key, units(app))),
                DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. } => None,
            })
            .collect();
        let known = |app: &AppKey, role: &Role, hash: &SpecHash| {
            roles.get(app).is_some_and(|units| units.iter().any(|u| u.role == *role && u.hash == *hash))
        };
        self.probes.retain(|(id, _), _| world.containers.get(id).is_some_and(|found| found.state.is_alive()));
        self.assumed.retain(|id| world.containers.get(id).is_some_and(|found| found.state.is_alive()));
        self.named.retain(|id, _| world.containers.contains_key(id));
        self.projected.retain(|app, _| desired.apps.contains_key(app));
        self.crashes.retain(|(app, role), crash| known(app, role, &crash.hash));
        self.fresh.retain(|(app, role, hash)| known(app, role, hash));
        self.failures.retain(|(app, subject), failure| match (subject, &failure.hash) {
            (Subject::Pull(role) | Subject::Launch(role), Some(hash)) => known(app, role, hash),
            (Subject::Update(role), Some(hash)) => known(app, role, hash),
            (Subject::Project, Some(_)) => desired.apps.contains_key(app),
            (Subject::Names(id), _) => world.containers.contains_key(id),
            (Subject::Pull(_) | Subject::Launch(_) | Subject::Update(_) | Subject::Project, None) => false,
            (Subject::Cleanup, _) => {
                desired.apps.contains_key(app)
                    || world.containers.values().any(|c| c.ownership().is_some_and(|owner| owner.app == *app))
            }
        });
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
}

/// Of each container of each app and spec, the newest run: an older one that is not yet removed was counted when it ended.
fn newest_runs(world: &World) -> impl Iterator<Item = (&ContainerId, &Ownership, &ContainerState)> {
    let mut newest = BTreeMap::new();
    for (id, container) in &world.containers {
        if let Some(owner) = container.ownership() {
            let run = (owner.restart_count, id, owner, &container.state);
            let best = newest.entry((&owner.app, &owner.role, &owner.hash)).or_insert(run);
            if best.0 < run.0 {
                *best = run;
            }
        }
    }
    newest.into_values().map(|(_, id, owner, state)| (id, owner, state))
}
