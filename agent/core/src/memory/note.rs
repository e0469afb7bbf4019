//! What a look at the box tells memory: which containers ended, which were launched, what no one refers to any more.

use std::collections::BTreeMap;
use std::time::Duration;

use skerry_terms::{AppKey, reasons};

use super::{Crash, HookState, Joined, Kill, Memory, Run, Subject, Termination};
use crate::backoff::CRASH_BACKOFF;
use crate::plan::{Why, is_complete};
use crate::unit::{Unit, units};
use crate::{
    ContainerId, ContainerState, Desired, DesiredApp, Monotonic, Observed, Ownership, ProbeKind, Role,
    SpecHash, World,
};

/// A container that ran this long is healthy: its next end counts as the first. Kubernetes' figure.
const HEALTHY_RUN: Duration = Duration::from_secs(600);

impl Memory {
    /// Takes note of containers that ended, and forgets what is no longer desired. Called with every look at the box, before
    /// the plan.
    pub fn note(&mut self, desired: &Desired, observed: &Observed, now: Monotonic) {
        let Observed::Known(world) = observed else { return };
        self.note_runs(world, now);
        for (id, owner, state) in newest_runs(world) {
            let ContainerState::Exited {
                exit_code,
                oom_killed,
                started_at,
                finished_at,
                error: _,
                ref message,
            } = *state
            else {
                continue;
            };
            let Some(DesiredApp::Valid(app)) = desired.apps.get(&owner.app) else { continue };
            let Some(unit) = units(app).into_iter().find(|unit| unit.role == owner.role) else { continue };
            let kill = self.verdict_on(&owner.app, &unit, id);
            // What we stop ourselves has not crashed, unless we stop it because it is not well.
            if kill.is_none() && self.is_doomed(&owner.app, id) {
                continue;
            }
            let counts = kill.is_some() || unit.restarts(app.restart_policy, exit_code, false);
            if owner.hash.as_ref() == Some(&unit.hash) && counts {
                let message = message.clone();
                let last = Termination { exit_code, oom_killed, started_at, finished_at, message };
                self.note_end(&owner.app, &unit, id, last, kill, now);
            }
        }
        self.note_networks(world);
        self.note_success(world);
        self.note_names(world);
        self.supersede(desired, observed);
        self.forget(desired, world);
        self.note_complete(desired, world, now);
    }

    /// Why a container is to be ended, or was: its startup or liveness probe or its postStart hook failed.
    pub(crate) fn verdict_on(&self, app: &AppKey, unit: &Unit<'_>, id: &ContainerId) -> Option<Kill> {
        let container = unit.container?;
        if let (Some(_), Some(HookState::Failed { message })) =
            (&container.lifecycle.post_start, self.hook(app, unit))
        {
            return Some(Kill {
                why: Why::HookFailed,
                grace: None,
                reason: reasons::POST_START_FAILED,
                message: format!("its postStart hook failed: {message}"),
            });
        }
        let probes = &container.probes;
        let asked = [
            (ProbeKind::Startup, "startup", &probes.startup),
            (ProbeKind::Liveness, "liveness", &probes.liveness),
        ];
        asked.into_iter().filter(|(_, _, probe)| probe.is_some()).find_map(|(kind, word, probe)| {
            let failed = self.probe(id, kind).filter(|verdict| !verdict.ok)?;
            Some(Kill {
                why: Why::Unhealthy,
                grace: probe.as_ref().and_then(|probe| probe.grace),
                reason: reasons::UNHEALTHY,
                message: format!("its {word} probe failed: {}", failed.message),
            })
        })
    }

    /// What was said of a run is not said of the next one, which somebody may begin by hand.
    fn note_runs(&mut self, world: &World, now: Monotonic) {
        let adopted = !std::mem::replace(&mut self.has_looked, true);
        for (id, container) in &world.containers {
            let Some(since) = container.state.started_at().filter(|_| container.state.is_alive()) else {
                continue;
            };
            let before = self.runs.get(id).copied();
            if before.is_some_and(|before| before.since == since) {
                continue;
            }
            self.runs.insert(id.clone(), Run { since, seen: now, adopted });
            if before.is_some() {
                self.probes.retain(|(other, _), _| other != id);
                self.assumed.remove(id);
                self.proven.remove(id);
            }
        }
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

    /// A container is known by its id from the first look that shows it.
    fn note_names(&mut self, world: &World) {
        for (id, container) in &world.containers {
            let Some(owner) = container.ownership() else { continue };
            if let Some(names) = self.given.remove(&(owner.app.clone(), container.name.clone())) {
                self.named.insert(id.clone(), names);
            }
        }
    }

    /// Another set is to take this one's place: what can be changed in place is remembered as it was asked for last.
    pub fn supersede(&mut self, desired: &Desired, observed: &Observed) {
        let Observed::Known(world) = observed else { return };
        for (id, container) in &world.containers {
            let Some(owner) = container.ownership() else { continue };
            let Some(DesiredApp::Valid(app)) = desired.apps.get(&owner.app) else { continue };
            let unit = units(app).into_iter().find(|unit| unit.role == owner.role);
            let current =
                unit.is_some_and(|unit| unit.container.is_some() && owner.hash.as_ref() == Some(&unit.hash));
            match current {
                true => self.graces.insert(id.clone(), app.grace),
                false => self.graces.remove(id),
            };
        }
    }

    fn note_end(
        &mut self,
        app: &AppKey,
        unit: &Unit<'_>,
        id: &ContainerId,
        last: Termination,
        kill: Option<Kill>,
        now: Monotonic,
    ) {
        let key = (app.clone(), unit.role.clone());
        let before = self.crashes.get(&key).filter(|crash| crash.hash == unit.hash);
        // A container that somebody started again ends anew under its old id.
        if before.is_some_and(|crash| crash.id == *id && crash.last.finished_at == last.finished_at) {
            return;
        }
        let healthy = self.was_healthy(id, &last, now);
        let count = before.filter(|_| !healthy).map_or(1, |crash| crash.count.saturating_add(1));
        // As in Kubernetes, the first restart is immediate.
        let restart_at = match count.checked_sub(2) {
            None => now,
            Some(attempt) => now.after(CRASH_BACKOFF.delay(attempt)),
        };
        // The next run starts with a clean slate.
        self.hooks.remove(&(app.clone(), unit.role.clone(), unit.hash.clone()));
        let crash = Crash { hash: unit.hash.clone(), id: id.clone(), count, restart_at, last, kill };
        self.crashes.insert(key, crash);
    }

    /// How long a run took, the box's clock tells only as long as nobody sets it: it is asked about what ran before the agent alone.
    fn was_healthy(&self, id: &ContainerId, last: &Termination, now: Monotonic) -> bool {
        let Some(run) = self.runs.get(id).filter(|run| run.since == last.started_at) else { return false };
        let by_docker = || run.adopted && last.finished_at.since(last.started_at) >= HEALTHY_RUN;
        run.seen.until(now) >= HEALTHY_RUN || by_docker()
    }

    /// From when all that is new is ready, what is old has only so long.
    fn note_complete(&mut self, desired: &Desired, world: &World, now: Monotonic) {
        let mut complete = std::mem::take(&mut self.complete);
        for (key, app) in &desired.apps {
            let DesiredApp::Valid(app) = app else { continue };
            if app.is_side_by_side() && is_complete(app, world, self) {
                self.complete.insert(key.clone(), complete.remove(key).unwrap_or(now));
            }
        }
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
        let find = |app: &AppKey, role: &Role, hash: &SpecHash| {
            roles.get(app).and_then(|units| units.iter().find(|u| u.role == *role && u.hash == *hash))
        };
        let known = |app: &AppKey, role: &Role, hash: &SpecHash| find(app, role, hash).is_some();
        let alive = |id: &ContainerId| world.containers.get(id).is_some_and(|found| found.state.is_alive());
        self.runs.retain(|id, _| world.containers.contains_key(id));
        self.probes.retain(|(id, _), _| alive(id));
        self.assumed.retain(alive);
        self.proven.retain(alive);
        self.graces.retain(|id, _| world.containers.contains_key(id));
        self.named.retain(|id, _| world.containers.contains_key(id));
        // An app whose list has ended was looked at since.
        self.given.retain(|(app, _), _| self.executing.contains_key(app));
        self.projected.retain(|app, _| desired.apps.contains_key(app));
        self.crashes.retain(|(app, role), crash| known(app, role, &crash.hash));
        self.fresh.retain(|(app, role, hash)| known(app, role, hash));
        self.hooks.retain(|(app, role, hash), _| {
            let container = find(app, role, hash).and_then(|unit| unit.container);
            container.is_some_and(|container| container.lifecycle.post_start.is_some())
        });
        self.failures.retain(|(app, subject), failure| match (subject, &failure.hash) {
            (Subject::Pull(role) | Subject::Launch(role), Some(hash)) => known(app, role, hash),
            (Subject::Update(role, resources), Some(hash)) => find(app, role, hash)
                .and_then(|unit| unit.container)
                .is_some_and(|container| container.resources == *resources),
            (Subject::Project, Some(_)) => desired.apps.contains_key(app),
            (Subject::Names(id), _) => world.containers.contains_key(id),
            (Subject::Pull(_) | Subject::Launch(_) | Subject::Update(_, _) | Subject::Project, None) => false,
            (Subject::Cleanup, _) => {
                desired.apps.contains_key(app)
                    || world.kept.contains(app)
                    || world.containers.values().any(|c| c.ownership().is_some_and(|owner| owner.app == *app))
            }
        });
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
