//! Probes as decisions: which questions are to be asked of which containers, and what a row of answers amounts to. Asking is the
//! shell's; what follows from a verdict is the planner's.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use skerry_terms::{AppKey, ContainerName};

use crate::{
    Container, ContainerId, ContainerState, Desired, DesiredApp, Kind, Memory, Observed, ObservedContainer,
    Probe, ProbeKind, ProbeVerdict, Probes, Role, SpecHash, Step, ValidApp, WallMillis, World,
};

/// One probe of one living container, with all that is needed to ask it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTask {
    pub probe: Probe,
    /// Where the container listens. Absent when it has no address.
    pub address: Option<IpAddr>,
    /// When the container's present run began.
    pub started_at: WallMillis,
}

/// All probes that are to run now. A startup probe runs alone until it has succeeded. `None` while nobody knows what runs: then those that
/// run go on.
pub fn probe_tasks(
    desired: &Desired,
    observed: &Observed,
    memory: &Memory,
) -> Option<BTreeMap<(ContainerId, ProbeKind), ProbeTask>> {
    let Observed::Known(world) = observed else { return None };
    let mut tasks = BTreeMap::new();
    for (id, found) in &world.containers {
        let Some((app, container)) = stands_for(desired, found) else { continue };
        // What a person paused cannot answer, and is left alone.
        let ContainerState::Running { started_at } = found.state else { continue };
        if memory.is_doomed(&app.key, id) || is_being_set_up(memory, &app.key, &container.name) {
            continue;
        }
        let address = address(desired, world, found);
        for (kind, probe) in due(container, id, memory) {
            tasks.insert((id.clone(), kind), ProbeTask { probe: probe.clone(), address, started_at });
        }
    }
    Some(tasks)
}

/// The container of the spec that a container on the box is a run of.
fn stands_for<'a>(desired: &'a Desired, found: &ObservedContainer) -> Option<(&'a ValidApp, &'a Container)> {
    let owner = found.ownership()?;
    let DesiredApp::Valid(app) = desired.apps.get(&owner.app)? else { return None };
    let Role::Container(name) = &owner.role else { return None };
    let container = app.containers().iter().find(|container| container.name == *name)?;
    // Hashing is the dear part: it is left for where there is something to ask.
    let is_probed = container.probes != Probes::default() && container.kind != Kind::Init;
    let is_current = || owner.hash.as_ref() == Some(&SpecHash::of_container(app, container));
    (is_probed && is_current()).then_some((app, container))
}

/// As in Kubernetes, a container whose postStart hook runs is not yet probed.
fn is_being_set_up(memory: &Memory, app: &AppKey, container: &ContainerName) -> bool {
    match memory.executing(app) {
        Some(Step::PostStart { role: Role::Container(name), hash: _, name: _ }) => name == container,
        Some(
            Step::PostStart { role: Role::Sandbox, .. }
            | Step::Pull { .. }
            | Step::Create { .. }
            | Step::Start { .. }
            | Step::Project { .. }
            | Step::Update { .. }
            | Step::Names { .. }
            | Step::Stop
            | Step::Remove
            | Step::Discard,
        )
        | None => false,
    }
}

fn due<'a>(
    container: &'a Container,
    id: &ContainerId,
    memory: &Memory,
) -> impl Iterator<Item = (ProbeKind, &'a Probe)> + use<'a> {
    let probes = &container.probes;
    let starting = !memory.has_started(id, probes);
    let asked = [
        (ProbeKind::Startup, probes.startup.as_ref().filter(|_| starting)),
        (ProbeKind::Readiness, probes.readiness.as_ref().filter(|_| !starting)),
        (ProbeKind::Liveness, probes.liveness.as_ref().filter(|_| !starting)),
    ];
    // As in Kubernetes, what is to be restarted is not asked again.
    let is_over = |kind: ProbeKind| {
        kind != ProbeKind::Readiness && memory.probe(id, kind).is_some_and(|verdict| !verdict.ok)
    };
    let asked = asked.map(|(kind, probe)| (kind, probe.filter(|_| !is_over(kind))));
    asked.into_iter().filter_map(|(kind, probe)| Some((kind, probe?)))
}

fn address(desired: &Desired, world: &World, found: &ObservedContainer) -> Option<IpAddr> {
    let owner = match &found.joined {
        Some(joined) => {
            world.containers.iter().find(|(id, other)| id.0 == *joined || other.name == *joined)?.1
        }
        None => found,
    };
    match owner.host_network {
        true => Some(desired.host.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))),
        false => owner.ip,
    }
}

/// What the answers of one probe amount to, by its thresholds.
#[derive(Debug, Clone)]
pub struct Counter {
    kind: ProbeKind,
    success_threshold: u32,
    failure_threshold: u32,
    /// The last answer, and how many alike came in a row.
    row: Option<(bool, u32)>,
    /// Absent until a threshold is met for the first time. Until then a container counts as not started, not ready, and alive.
    verdict: Option<bool>,
}

impl Counter {
    pub fn new(kind: ProbeKind, probe: &Probe) -> Self {
        let Probe { success_threshold, failure_threshold, .. } = *probe;
        Self { kind, success_threshold, failure_threshold, row: None, verdict: None }
    }

    /// Counts an answer. A verdict when it is the first, or another than before.
    pub fn observe(&mut self, success: bool, message: String) -> Option<ProbeVerdict> {
        let alike = self.row.filter(|(last, _)| *last == success).map_or(0, |(_, count)| count);
        let count = alike.saturating_add(1);
        self.row = Some((success, count));
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        if count < threshold || self.verdict == Some(success) {
            return None;
        }
        self.verdict = Some(success);
        Some(ProbeVerdict { ok: success, message })
    }

    /// True if nothing more is asked: the container has started, or is to be restarted.
    pub fn is_over(&self) -> bool {
        match self.kind {
            ProbeKind::Startup => self.verdict.is_some(),
            ProbeKind::Liveness => self.verdict == Some(false),
            ProbeKind::Readiness => false,
        }
    }
}

#[cfg(test)]
mod tests;
