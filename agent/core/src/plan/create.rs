//! Everything that Docker must be told to create a unit's container.

pub(super) mod texts;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::app::{AppView, Placed, Round};
use super::image::chosen;
use super::need::Need;
use super::standing::{Standing, container_name};
use super::stop::stop_rank;
use super::{BoundMount, CreateSpec, Join, Namespace, NetworkOwner};
use crate::unit::Unit;
use crate::{Container, Device, Network, Port, Role, Sensitive, Volume};
use texts::Texts;

/// Longest host name that Linux takes.
const HOSTNAME_MAX: usize = 63;
/// Where the sandbox mounts the volumes that it holds, each in a folder of its name. Nothing in it looks there.
const HELD_VOLUMES: &str = "/volumes";

pub(super) fn create_spec(
    view: &AppView<'_>,
    unit: &Unit<'_>,
    restart_count: u32,
    texts: Texts,
    round: &Round<'_>,
) -> CreateSpec {
    let app = view.app;
    let Texts { command, args, env, sub_paths } = texts;
    let plain = |texts: Vec<Sensitive>| texts.into_iter().map(|Sensitive(text)| text).collect();
    let (join, ports) = network(view, unit, round);
    let has_names = match &join {
        Join::Bridge(_) => true,
        Join::Host(_) => unit.role != Role::Sandbox,
        Join::Container { .. } => false,
    };
    let names = match has_names {
        true => view.names.wanted(view.desired, &app.key, None),
        false => BTreeMap::new(),
    };
    let container = unit.container;
    CreateSpec {
        name: container_name(&view.desired.node, &app.key, unit, restart_count),
        node: view.desired.node.clone(),
        app: app.key.clone(),
        role: unit.role.clone(),
        revision: app.revision.clone(),
        hash: unit.hash.clone(),
        restart_count,
        image: container.map(|container| chosen(view, container).reference.to_owned()),
        command: plain(command),
        args: plain(args),
        working_dir: container.and_then(|container| container.working_dir.clone()),
        env,
        ports,
        resources: container.map(|container| container.resources).unwrap_or_default(),
        qos: app.qos(),
        devices: container.map(|container| devices(view, container)).unwrap_or_default(),
        mounts: match container {
            Some(container) => mounts(view, container, sub_paths),
            None => held_volumes(view),
        },
        groups: container.map(|_| app.supplemental_groups.clone()).unwrap_or_default(),
        fs_group: app.fs_group,
        security: container.map(|container| container.security.clone()).unwrap_or_default(),
        termination_message: container.map(|container| container.termination_message.clone()),
        stdin: container.is_some_and(|container| container.stdin),
        tty: container.is_some_and(|container| container.tty),
        pre_stop: container.and_then(|container| container.lifecycle.pre_stop.clone()),
        join: with_names(join, &names),
        names,
        pid: pid(view, unit, round),
        ipc: ipc(view, unit, round),
        stop_rank: stop_rank(app, unit),
        // The sandbox has nothing to finish.
        grace_seconds: if container.is_some() { app.grace.as_secs() } else { 0 },
        labels: app.labels.clone(),
        annotations: app.annotations.clone(),
    }
}

/// The network, and the ports of it that are published.
fn network(view: &AppView<'_>, unit: &Unit<'_>, round: &Round<'_>) -> (Join, Vec<Port>) {
    let app = view.app;
    let owner = || NetworkOwner {
        hostname: hostname(app.hostname.as_deref().unwrap_or(app.key.name())),
        dns: app.dns.clone(),
        hosts: app
            .host_aliases
            .iter()
            .flat_map(|(ip, names)| names.iter().map(|name| (name.clone(), *ip)))
            .collect(),
        sysctls: app.sysctls.clone(),
    };
    let all_ports = || app.containers().iter().flat_map(|container| container.ports.clone()).collect();
    let own_ports = || unit.container.map(|container| container.ports.clone()).unwrap_or_default();
    let member = app.has_sandbox() && unit.role != Role::Sandbox;
    match (app.network, member) {
        // Each has a hosts file of its own.
        (Network::Host, _) => (Join::Host(owner()), Vec::new()),
        (Network::Bridge, true) => (Join::Container { name: sandbox_name(view, round) }, Vec::new()),
        (Network::Bridge, false) if unit.role == Role::Sandbox => (Join::Bridge(owner()), all_ports()),
        (Network::Bridge, false) => (Join::Bridge(owner()), own_ports()),
    }
}

fn with_names(join: Join, names: &BTreeMap<String, IpAddr>) -> Join {
    let add = |mut owner: NetworkOwner| {
        owner.hosts.extend(names.iter().map(|(name, ip)| (name.clone(), *ip)));
        owner
    };
    match join {
        Join::Host(owner) => Join::Host(add(owner)),
        Join::Bridge(owner) => Join::Bridge(add(owner)),
        Join::Container { name } => Join::Container { name },
    }
}

fn pid(view: &AppView<'_>, unit: &Unit<'_>, round: &Round<'_>) -> Namespace {
    let app = view.app;
    match unit.role {
        _ if app.host_pid => Namespace::Host,
        // Others may join it in any case.
        Role::Sandbox => Namespace::Private,
        Role::Container(_) if app.share_process_namespace => {
            Namespace::Container { name: sandbox_name(view, round) }
        }
        Role::Container(_) => Namespace::Private,
    }
}

fn ipc(view: &AppView<'_>, unit: &Unit<'_>, round: &Round<'_>) -> Namespace {
    let app = view.app;
    match unit.role {
        _ if app.host_ipc => Namespace::Host,
        Role::Sandbox => Namespace::Shareable,
        Role::Container(_) if app.has_sandbox() => Namespace::Container { name: sandbox_name(view, round) },
        Role::Container(_) => Namespace::Private,
    }
}

fn devices(view: &AppView<'_>, container: &Container) -> BTreeMap<String, (u64, Device)> {
    let known = &view.desired.host.devices;
    let devices = container.devices.iter().filter(|(_, count)| **count > 0);
    devices.filter_map(|(name, count)| Some((name.clone(), (*count, known.get(name)?.clone())))).collect()
}

fn mounts(view: &AppView<'_>, container: &Container, sub_paths: Vec<String>) -> Vec<BoundMount> {
    let mounts = container.mounts.iter().zip(sub_paths).filter_map(|(mount, sub_path)| {
        let volume = view.app.volumes.get(&mount.volume)?;
        Some(BoundMount {
            name: mount.volume.clone(),
            volume: volume.clone(),
            path: mount.path.clone(),
            read_only: mount.read_only,
            sub_path,
        })
    });
    mounts.collect()
}

/// What is in memory lasts as long as somebody has it mounted.
fn held_volumes(view: &AppView<'_>) -> Vec<BoundMount> {
    let held = view.app.volumes.iter().filter(|(_, volume)| matches!(volume, Volume::Memory { .. }));
    let mounts = held.map(|(name, volume)| BoundMount {
        name: name.clone(),
        volume: volume.clone(),
        path: format!("{HELD_VOLUMES}/{name}"),
        read_only: false,
        sub_path: String::new(),
    });
    mounts.collect()
}

/// The name or id of the sandbox that stands or is created in this round.
fn sandbox_name(view: &AppView<'_>, round: &Round<'_>) -> String {
    let Some(Placed { stood, need }) = round.units.first() else {
        return String::new();
    };
    match (&stood.standing, need) {
        (Standing::Created(found), _) => found.container.name.clone(),
        (Standing::Serving(found) | Standing::Ended(found), _) => found.id.0.clone(),
        (
            Standing::Absent { restart_count, .. },
            Need::Create { .. }
            | Need::Nothing
            | Need::Start { .. }
            | Need::Pull { .. }
            | Need::Hook { .. }
            | Need::Kill(_)
            | Need::Waits(_)
            | Need::Blocked(_),
        ) => container_name(&view.desired.node, &view.app.key, &stood.unit, *restart_count),
    }
}

fn hostname(app: &str) -> String {
    let cut = app.get(..HOSTNAME_MAX).unwrap_or(app);
    cut.trim_end_matches(['-', '.']).to_owned()
}
