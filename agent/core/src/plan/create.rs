//! Everything that Docker must be told to create a unit's container.

use super::app::{AppView, Round};
use super::standing::{Standing, container_name};
use std::collections::BTreeMap;

use super::{CreateSpec, Join, Namespace, NetworkOwner};
use crate::unit::Unit;
use crate::{Container, EnvValue, EnvVar, Network, Role, Sensitive};

/// Longest host name that Linux takes.
const HOSTNAME_MAX: usize = 63;

pub(super) fn create_spec(
    view: &AppView<'_>,
    unit: &Unit<'_>,
    restart_count: u32,
    round: &Round<'_>,
) -> CreateSpec {
    let app = view.app;
    let all_ports = || app.containers().iter().flat_map(|container| container.ports.clone()).collect();
    let own_ports = || unit.container.map(|container| container.ports.clone()).unwrap_or_default();
    let member = app.has_sandbox() && unit.role != Role::Sandbox;
    let owner = || NetworkOwner {
        hostname: hostname(app.hostname.as_deref().unwrap_or(app.key.name())),
        dns: app.dns.clone(),
        hosts: Vec::new(),
        names: BTreeMap::new(),
        sysctls: app.sysctls.clone(),
    };
    let (join, ports) = match (app.network, member) {
        (Network::Host, _) => (Join::Host(owner()), Vec::new()),
        (Network::Bridge, true) => (Join::Container { name: sandbox_name(view, round) }, Vec::new()),
        (Network::Bridge, false) if unit.role == Role::Sandbox => (Join::Bridge(owner()), all_ports()),
        (Network::Bridge, false) => (Join::Bridge(owner()), own_ports()),
    };
    let container = unit.container;
    CreateSpec {
        name: container_name(view.node, &app.key, unit, restart_count),
        node: view.node.clone(),
        app: app.key.clone(),
        role: unit.role.clone(),
        revision: app.revision.clone(),
        hash: unit.hash.clone(),
        restart_count,
        image: container.map(|container| container.image.clone()),
        command: container.map(|container| container.command.clone()).unwrap_or_default(),
        args: container.map(|container| container.args.clone()).unwrap_or_default(),
        working_dir: container.and_then(|container| container.working_dir.clone()),
        env: container.map(env).unwrap_or_default(),
        ports,
        resources: container.map(|container| container.resources).unwrap_or_default(),
        qos: app.qos(),
        devices: BTreeMap::new(),
        mounts: Vec::new(),
        groups: app.supplemental_groups.clone(),
        fs_group: app.fs_group,
        security: container.map(|container| container.security.clone()).unwrap_or_default(),
        termination_message: container.map(|container| container.termination_message.clone()),
        stdin: container.is_some_and(|container| container.stdin),
        tty: container.is_some_and(|container| container.tty),
        pre_stop: container.and_then(|container| container.lifecycle.pre_stop.clone()),
        join,
        pid: Namespace::Private,
        ipc: Namespace::Private,
        // The sandbox has nothing to finish.
        grace_seconds: if container.is_some() { app.grace.as_secs() } else { 0 },
        labels: app.labels.clone(),
        annotations: app.annotations.clone(),
    }
}

fn env(container: &Container) -> Vec<(String, Sensitive)> {
    let values = container.env.iter().filter_map(|EnvVar { name, value }| {
        let value = match value {
            EnvValue::Literal(text) | EnvValue::Resolved(text) => Sensitive(text.clone()),
            EnvValue::Secret(text) => text.clone(),
            EnvValue::HostIp | EnvValue::PodIp => return None,
        };
        Some((name.clone(), value))
    });
    values.collect()
}

/// The name of the sandbox that stands or is created in this round.
fn sandbox_name(view: &AppView<'_>, round: &Round<'_>) -> String {
    let Some((unit, standing, need)) = round.units.first() else {
        return String::new();
    };
    match (standing, need) {
        (Standing::Created { name, .. }, _) => (*name).to_owned(),
        (Standing::Serving { id, .. } | Standing::Ended { id, .. }, _) => id.0.clone(),
        (Standing::Absent { restart_count, .. }, _) => {
            container_name(view.node, &view.app.key, unit, *restart_count)
        }
    }
}

fn hostname(app: &str) -> String {
    let cut = app.get(..HOSTNAME_MAX).unwrap_or(app);
    cut.trim_end_matches(['-', '.']).to_owned()
}
