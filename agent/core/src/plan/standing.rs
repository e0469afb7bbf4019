//! Which of the box's containers is which: what stands where it should, and what is in the way.

use skerry_terms::{AppKey, NodeName};

use super::Why;
use super::probes::{Health, health};
use crate::unit::{Unit, units};
use crate::{
    ContainerId, ContainerState, Kind, Memory, Monotonic, ObservedContainer, Ownership, Role, ValidApp,
    WallMillis,
};

/// One of the app's containers on the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub id: &'a ContainerId,
    pub container: &'a ObservedContainer,
    pub owner: &'a Ownership,
}

/// How a unit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// It runs (or a person paused it), with the right spec, in the right network.
    Serving(Found<'a>),
    /// It ended, and no other run is due.
    Ended(Found<'a>),
    /// It was created and not started: the agent or Docker stopped in between, or its start failed.
    Created(Found<'a>),
    /// It is not there, or not as it must be. `restart_count` is for the container to create; `last` the one whose place it takes.
    Absent { restart_count: u32, last: Option<Found<'a>> },
}

/// A unit, and what there is of it.
pub(super) struct Stood<'a> {
    pub unit: Unit<'a>,
    pub standing: Standing<'a>,
    pub health: Health,
}

/// A container that no unit stands on.
#[derive(Clone, Copy)]
pub(super) struct Stale<'a> {
    pub id: &'a ContainerId,
    pub container: &'a ObservedContainer,
    pub why: Why,
}

/// The app's containers on the box, by what becomes of them.
pub(super) struct Sorted<'a> {
    pub units: Vec<Stood<'a>>,
    pub stale: Vec<Stale<'a>>,
    /// A main container of this spec was started in this sandbox, and runs or was the last to run: what comes before the main ones has had its
    /// turn.
    pub initialized: bool,
}

impl Found<'_> {
    pub fn exit_code(&self) -> Option<i64> {
        match self.container.state {
            ContainerState::Exited { exit_code, .. } => Some(exit_code),
            ContainerState::Created
            | ContainerState::Running { .. }
            | ContainerState::Paused { .. }
            | ContainerState::Removing
            | ContainerState::Dead => None,
        }
    }
}

impl Stood<'_> {
    /// It ended for good, and not well.
    pub fn has_failed(&self) -> bool {
        match &self.standing {
            Standing::Ended(found) => self.health.kill.is_some() || found.exit_code() != Some(0),
            Standing::Serving(_) | Standing::Created(_) | Standing::Absent { .. } => false,
        }
    }
}

impl Sorted<'_> {
    /// True if the app has nothing left to do: every main container ended for good, or an init container failed for good.
    pub fn is_over(&self) -> bool {
        let mut mains = self.units.iter().filter(|stood| stood.unit.is(Kind::Main));
        let ended = mains.all(|stood| matches!(stood.standing, Standing::Ended(_)));
        let mut inits = self.units.iter().filter(|stood| stood.unit.is(Kind::Init));
        ended || !self.initialized && inits.any(Stood::has_failed)
    }

    /// True if containers of another spec run whose network is not gone.
    pub fn old_serves(&self) -> bool {
        self.stale.iter().any(Stale::serves)
    }
}

impl Stale<'_> {
    /// What lives in a network that is gone serves nobody.
    pub fn serves(&self) -> bool {
        self.container.state.is_alive() && self.why != Why::NetworkGone
    }
}

pub(super) fn sort<'a>(
    memory: &Memory,
    app: &'a ValidApp,
    containers: &[(&'a ContainerId, &'a ObservedContainer)],
) -> Sorted<'a> {
    let mut sandbox = None;
    let mut initialized = false;
    let mut kept: Vec<&ContainerId> = Vec::new();
    let mut stood: Vec<Stood<'a>> = Vec::new();
    let units = units(app);
    let others_since = others_since(&units, containers);
    for unit in units {
        let candidates: Vec<Found<'a>> = containers
            .iter()
            .filter_map(|(id, container)| {
                let owner = container.ownership()?;
                (owner.role == unit.role && owner.hash.as_ref() == Some(&unit.hash)).then_some(Found {
                    id,
                    container,
                    owner,
                })
            })
            .collect();
        let member = app.joins_sandbox() && unit.role != Role::Sandbox;
        let in_place = |found: &Found<'_>| !member || lives_in(memory, *found, sandbox);
        // What another spec has prepared since is not what this one's prepared.
        let was_last = |found: &Found<'_>| {
            let state = &found.container.state;
            state.started_at().is_some() && (state.is_alive() || state.started_at() >= others_since)
        };
        initialized |=
            unit.is(Kind::Main) && candidates.iter().any(|found| was_last(found) && in_place(found));
        let standing = stand(memory, app, &unit, &candidates, in_place);
        match standing {
            Standing::Serving(found) | Standing::Created(found) => {
                kept.push(found.id);
                if unit.role == Role::Sandbox {
                    sandbox = Some(found);
                }
            }
            Standing::Ended(found) => kept.push(found.id),
            Standing::Absent { .. } => {}
        }
        let health = health(memory, app, &unit, &standing);
        stood.push(Stood { unit, standing, health });
    }
    let mut sorted = Sorted { units: stood, stale: Vec::new(), initialized };
    if sorted.is_over() {
        // No other run of a sidecar is due either. As in a pod that is done, what it left can be looked at.
        for stood in sorted.units.iter_mut().filter(|stood| stood.unit.is(Kind::Sidecar)) {
            if let Standing::Absent { restart_count: _, last: Some(found) } = stood.standing
                && found.exit_code().is_some()
            {
                kept.push(found.id);
                stood.standing = Standing::Ended(found);
                stood.health = health(memory, app, &stood.unit, &stood.standing);
            }
        }
    }
    let stale = containers.iter().filter(|(id, _)| !kept.contains(id)).map(|(id, container)| Stale {
        id,
        container,
        why: why_stale(memory, &sorted.units, id, container, containers),
    });
    sorted.stale = stale.collect();
    sorted
}

/// When a container of another spec of the app was started last.
fn others_since(units: &[Unit<'_>], containers: &[(&ContainerId, &ObservedContainer)]) -> Option<WallMillis> {
    let is_other = |owner: &Ownership| {
        let same = |unit: &Unit<'_>| unit.role == owner.role && owner.hash.as_ref() == Some(&unit.hash);
        owner.role != Role::Sandbox && !units.iter().any(same)
    };
    let others = containers.iter().filter(|(_, container)| container.ownership().is_some_and(is_other));
    others.filter_map(|(_, container)| container.state.started_at()).max()
}

fn stand<'a>(
    memory: &Memory,
    app: &ValidApp,
    unit: &Unit<'_>,
    candidates: &[Found<'a>],
    in_place: impl Fn(&Found<'_>) -> bool,
) -> Standing<'a> {
    // Of several, the oldest that runs stays: a healthy container is never restarted for a younger twin.
    let alive = candidates
        .iter()
        .filter(|found| found.container.state.is_alive() && in_place(found))
        .min_by_key(|found| (found.container.state.started_at(), found.id));
    if let Some(found) = alive {
        return Standing::Serving(*found);
    }
    let newest = |found: &&Found<'a>| (found.owner.restart_count, found.id);
    let last = candidates.iter().max_by_key(newest);
    let created = candidates
        .iter()
        .filter(|found| found.container.state == ContainerState::Created && in_place(found))
        .max_by_key(newest);
    if let Some(found) = created {
        return Standing::Created(*found);
    }
    if let Some(found) = last
        && let Some(exit_code) = found.exit_code()
        && is_over(memory, app, unit, *found, exit_code, in_place)
    {
        return Standing::Ended(*found);
    }
    Standing::Absent {
        restart_count: last.map_or(0, |found| found.owner.restart_count.saturating_add(1)),
        last: last.copied(),
    }
}

/// True if the run that ended was the unit's last.
fn is_over(
    memory: &Memory,
    app: &ValidApp,
    unit: &Unit<'_>,
    found: Found<'_>,
    exit_code: i64,
    in_place: impl Fn(&Found<'_>) -> bool,
) -> bool {
    let killed = memory.kill(&app.key, unit, found.id).is_some();
    let restarts = unit.restarts(app.restart_policy, exit_code, killed);
    match unit.kind() {
        None | Some(Kind::Sidecar | Kind::Main) => !restarts,
        // What it prepared, it prepared for this sandbox.
        Some(Kind::Init) if exit_code == 0 => in_place(&found),
        // Its own spec may be the same in a revision that mends what it failed on.
        Some(Kind::Init) => !restarts && found.owner.revision == app.revision,
    }
}

/// True if a container is in the network of the sandbox that stands now: of that container, and of its present run. A sandbox that
/// was restarted has a new network, in which those that joined before are not.
fn lives_in(memory: &Memory, found: Found<'_>, sandbox: Option<Found<'_>>) -> bool {
    let (Some(sandbox), Some(joined)) = (sandbox, &found.container.joined) else {
        return false;
    };
    let same = *joined == sandbox.id.0 || *joined == sandbox.container.name;
    let since = sandbox.container.state.started_at();
    // A member that does not run will join whatever run of the sandbox there is when it starts.
    same && (!found.container.state.is_alive()
        || since.is_some() && memory.may_live_in(found.id, sandbox.id, since))
}

fn why_stale(
    memory: &Memory,
    stood: &[Stood<'_>],
    id: &ContainerId,
    container: &ObservedContainer,
    containers: &[(&ContainerId, &ObservedContainer)],
) -> Why {
    let Some(owner) = container.ownership() else {
        return Why::Replaced;
    };
    if container.state.is_alive() && !has_network(memory, id, container, containers) {
        return Why::NetworkGone;
    }
    let same = stood
        .iter()
        .find(|stood| stood.unit.role == owner.role && owner.hash.as_ref() == Some(&stood.unit.hash));
    match same.map(|stood| &stood.standing) {
        // Its sandbox is an old one.
        Some(Standing::Absent { .. } | Standing::Created(_)) if container.state.is_alive() => Why::Replaced,
        Some(Standing::Serving(found)) if found.container.joined != container.joined => Why::Replaced,
        Some(_) => Why::Superseded,
        None => Why::Replaced,
    }
}

/// False if the container lives in a network whose owner ended, or was restarted since.
fn has_network(
    memory: &Memory,
    id: &ContainerId,
    container: &ObservedContainer,
    containers: &[(&ContainerId, &ObservedContainer)],
) -> bool {
    let Some(joined) = &container.joined else { return true };
    let owner = containers.iter().find(|(id, other)| id.0 == *joined || other.name == *joined);
    owner.is_some_and(|(owner, other)| {
        other.state.is_alive() && memory.may_live_in(id, owner, other.state.started_at())
    })
}

/// The name of a container to create. It is unique on the Docker Engine: node and app are unique, the hash tells two specs apart, the
/// count two runs.
pub(super) fn container_name(node: &NodeName, app: &AppKey, unit: &Unit<'_>, restart_count: u32) -> String {
    let hash = &unit.hash.as_str()[..8];
    format!("skerry_{node}_{}_{}_{}_{hash}_{restart_count}", app.namespace(), app.name(), unit.role)
}

/// The earlier of two wakes.
pub(super) fn earlier(a: Option<Monotonic>, b: Option<Monotonic>) -> Option<Monotonic> {
    [a, b].into_iter().flatten().min()
}
