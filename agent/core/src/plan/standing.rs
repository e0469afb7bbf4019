//! Which of the box's containers is which: what stands where it should, and what is in the way.

use skerry_terms::AppKey;

use crate::unit::{Unit, units};
use crate::{ContainerId, ContainerState, Memory, Monotonic, ObservedContainer, Ownership, Role, ValidApp};

/// How a unit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// It runs (or a person paused it), with the right spec, in the right network.
    Serving { id: &'a ContainerId, owner: &'a Ownership, state: &'a ContainerState },
    /// It ended, and the restart policy asks for no other run.
    Ended { id: &'a ContainerId, owner: &'a Ownership, state: &'a ContainerState },
    /// It was created and not started: the agent or Docker stopped in between, or its start failed.
    Created { id: &'a ContainerId, name: &'a str, owner: &'a Ownership },
    /// It is not there, or not as it must be. `restart_count` is for the container to create; `last` the one whose place it takes.
    Absent { restart_count: u32, last: Option<(&'a ContainerId, &'a ContainerState)> },
}

/// The app's containers on the box, by what becomes of them.
pub(super) struct Sorted<'a> {
    pub units: Vec<(Unit<'a>, Standing<'a>)>,
    /// Containers that no unit stands on, and why.
    pub stale: Vec<(&'a ContainerId, &'a ObservedContainer, super::Why)>,
}

pub(super) fn sort<'a>(
    memory: &Memory,
    app: &'a ValidApp,
    containers: &[(&'a ContainerId, &'a ObservedContainer)],
) -> Sorted<'a> {
    let mut sandbox = None;
    let mut kept: Vec<&ContainerId> = Vec::new();
    let units: Vec<_> = units(app)
        .into_iter()
        .map(|unit| {
            let standing = stand(memory, app, &unit, containers, sandbox);
            match &standing {
                Standing::Serving { id, state, .. } => {
                    kept.push(id);
                    if unit.role == Role::Sandbox {
                        sandbox = Some((*id, Some(*state)));
                    }
                }
                Standing::Created { id, .. } => {
                    kept.push(id);
                    if unit.role == Role::Sandbox {
                        sandbox = Some((*id, None));
                    }
                }
                Standing::Ended { id, .. } => kept.push(id),
                Standing::Absent { .. } => {}
            }
            (unit, standing)
        })
        .collect();
    let stale = containers
        .iter()
        .filter(|(id, _)| !kept.contains(id))
        .map(|(id, container)| (*id, *container, why_stale(&units, container)))
        .collect();
    Sorted { units, stale }
}

type SandboxView<'a> = Option<(&'a ContainerId, Option<&'a ContainerState>)>;

fn stand<'a>(
    memory: &Memory,
    app: &ValidApp,
    unit: &Unit<'_>,
    containers: &[(&'a ContainerId, &'a ObservedContainer)],
    sandbox: SandboxView<'a>,
) -> Standing<'a> {
    let candidates = || {
        containers.iter().filter_map(|(id, container)| {
            let owner = container.ownership()?;
            (owner.role == unit.role && owner.hash.as_ref() == Some(&unit.hash))
                .then_some((*id, *container, owner))
        })
    };
    let member = app.has_sandbox() && unit.role != Role::Sandbox;
    let in_place = |id: &ContainerId, container: &ObservedContainer| {
        !member || lives_in(memory, id, container, sandbox, containers)
    };

    // Of several, the oldest that runs stays: a healthy container is never restarted for a younger twin.
    let alive = candidates()
        .filter(|(id, container, _)| container.state.is_alive() && in_place(id, container))
        .min_by_key(|(id, container, _)| (container.state.started_at(), *id));
    if let Some((id, container, owner)) = alive {
        return Standing::Serving { id, owner, state: &container.state };
    }
    let last = candidates().max_by_key(|(id, _, owner)| (owner.restart_count, *id));
    let created = candidates()
        .filter(|(id, container, _)| container.state == ContainerState::Created && in_place(id, container))
        .max_by_key(|(id, _, owner)| (owner.restart_count, *id));
    if let Some((id, container, owner)) = created {
        return Standing::Created { id, name: &container.name, owner };
    }
    if let Some((id, container, owner)) = last
        && let ContainerState::Exited { exit_code, .. } = container.state
        && unit.role != Role::Sandbox
        && !app.restart_policy.restarts(exit_code)
    {
        return Standing::Ended { id, owner, state: &container.state };
    }
    Standing::Absent {
        restart_count: last.map_or(0, |(_, _, owner)| owner.restart_count.saturating_add(1)),
        last: last.map(|(id, container, _)| (id, &container.state)),
    }
}

/// True if a container is in the network of the sandbox that stands now: of that container, and of its present run. A sandbox that
/// was restarted has a new network, in which those that joined before are not.
fn lives_in(
    memory: &Memory,
    id: &ContainerId,
    container: &ObservedContainer,
    sandbox: SandboxView<'_>,
    containers: &[(&ContainerId, &ObservedContainer)],
) -> bool {
    let (Some((sandbox, state)), Some(joined)) = (sandbox, &container.joined) else {
        return false;
    };
    let name = containers.iter().find(|(other, _)| *other == sandbox).map(|(_, sandbox)| &sandbox.name);
    let same = *joined == sandbox.0 || Some(joined) == name;
    let since = state.and_then(ContainerState::started_at);
    // A member that does not run will join whatever run of the sandbox there is when it starts.
    same && (!container.state.is_alive() || since.is_some() && memory.may_live_in(id, sandbox, since))
}

fn why_stale(units: &[(Unit<'_>, Standing<'_>)], container: &ObservedContainer) -> super::Why {
    let Some(owner) = container.ownership() else {
        return super::Why::Replaced;
    };
    let unit = units.iter().find(|(unit, _)| unit.role == owner.role);
    match unit {
        Some((unit, _)) if owner.hash.as_ref() != Some(&unit.hash) => super::Why::Replaced,
        Some((_, Standing::Absent { .. })) if container.state.is_alive() => super::Why::NetworkGone,
        Some(_) => super::Why::Superseded,
        None => super::Why::Replaced,
    }
}

/// The name of a container to create. It is unique on the Docker Engine: node and app are unique, the hash tells two specs apart, the
/// count two runs.
pub(super) fn container_name(
    node: &skerry_terms::NodeName,
    app: &AppKey,
    unit: &Unit<'_>,
    restart_count: u32,
) -> String {
    let hash = &unit.hash.as_str()[..8];
    format!("skerry_{node}_{}_{}_{}_{hash}_{restart_count}", app.namespace(), app.name(), unit.role)
}

/// The earlier of two wakes.
pub(super) fn earlier(a: Option<Monotonic>, b: Option<Monotonic>) -> Option<Monotonic> {
    [a, b].into_iter().flatten().min()
}
