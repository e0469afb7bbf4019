//! The planner on a model of Docker: invariants as properties, and the cases that people ask about as scenarios.

mod at_rest;
mod crashes;
mod creation;
mod hooks_and_probes;
mod in_place;
mod initialising;
mod invariants;
mod model;
mod scenarios;
mod switching;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use skerry_terms::AppKey;

use self::model::Site;
use super::plan;
use crate::{
    Action, AppPlan, AppSpec, Container, ContainerId, ContainerState, Desired, DesiredApp, Handler, Host,
    Memory, Network, ObservedContainer, Owner, Plan, Port, Probe, Protocol, Resources, RestartPolicy, Role,
    ValidApp, WallMillis,
};

/// More rounds than any box of these tests needs to settle.
const ROUNDS: usize = 40;

fn app_key(name: &str) -> AppKey {
    AppKey::new("plant-a", name).expect("a key")
}

fn container(name: &str, image: &str, port: Option<u16>) -> Container {
    let port = port.and_then(NonZeroU16::new).map(|host| Port {
        container_port: host,
        protocol: Protocol::Tcp,
        host_port: Some(host),
        host_ip: None,
    });
    Container {
        ports: port.into_iter().collect(),
        ..Container::new(name.parse().expect("a name"), image.into())
    }
}

/// A probe with Kubernetes' defaults.
fn probe() -> Probe {
    Probe {
        handler: Handler::Exec { command: vec!["true".into()] },
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace: None,
    }
}

/// An app of `count` containers c0, c1, …; the first has the port.
fn app(
    name: &str,
    network: Network,
    count: usize,
    port: Option<u16>,
    policy: RestartPolicy,
    image: &str,
) -> ValidApp {
    let containers =
        (0..count).map(|i| container(&format!("c{i}"), image, port.filter(|_| i == 0))).collect();
    valid(name, network, policy, containers)
}

fn valid(name: &str, network: Network, policy: RestartPolicy, containers: Vec<Container>) -> ValidApp {
    let spec = AppSpec::new(app_key(name), format!("{name}-1"), containers);
    ValidApp::new(AppSpec { restart_policy: policy, network, ..spec }).expect("a valid app")
}

fn desired(apps: impl IntoIterator<Item = DesiredApp>) -> Desired {
    let key = |app: DesiredApp| match &app {
        DesiredApp::Valid(valid) => (valid.key.clone(), app),
        DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. } => (app_key("unsupported"), app),
    };
    Desired {
        node: "box-1".parse().expect("a name"),
        apps: apps.into_iter().map(key).collect(),
        complete: true,
        retired: BTreeSet::new(),
        host: Host::default(),
        images: BTreeMap::new(),
    }
}

/// Puts a running container on the box that is not ours.
fn foreign(site: &mut Site, name: &str) -> ContainerId {
    let id = ContainerId(format!("f{name:0>63}"));
    let container = ObservedContainer {
        name: name.into(),
        owner: Owner::Foreign,
        image: None,
        state: ContainerState::Running { started_at: WallMillis(0) },
        ports: Vec::new(),
        host_network: false,
        joined: None,
        ip: None,
        resources: Resources::default(),
        devices: BTreeMap::new(),
    };
    site.world.containers.insert(id.clone(), container);
    id
}

/// The plan for an app at this moment.
fn next(site: &Site, desired: &Desired, memory: &mut Memory, key: &AppKey) -> AppPlan {
    memory.note(desired, &site.observed(), site.now);
    plan(desired, &site.observed(), memory, site.now).apps[key].clone()
}

/// One round for one app: plan, execute; what its probes say comes after.
fn round(site: &mut Site, desired: &Desired, memory: &mut Memory, key: &AppKey) -> AppPlan {
    let app_plan = next(site, desired, memory, key);
    site.execute(key, &app_plan.actions, memory, usize::MAX);
    app_plan
}

fn role(name: &str) -> Role {
    Role::Container(name.parse().expect("a name"))
}

/// The words of a list: one letter per action.
fn shape(actions: &[Action]) -> String {
    let letter = |action: &Action| match action {
        Action::Pull { .. } => 'P',
        Action::Create(_) => 'C',
        Action::Start { .. } => 'S',
        Action::Stop { .. } => 'X',
        Action::Remove { .. } => 'R',
        Action::Project(_) => 'F',
        Action::PostStart { .. } => 'H',
        Action::Update { .. } => 'U',
        Action::Names { .. } => 'N',
        Action::Discard => 'D',
    };
    actions.iter().map(letter).collect()
}

/// Plans and executes until nothing is left to do, however long the waits are. Panics if that does not happen (A2).
fn settle(site: &mut Site, desired: &Desired, memory: &mut Memory) -> Plan {
    for _ in 0..ROUNDS {
        memory.note(desired, &site.observed(), site.now);
        let next = plan(desired, &site.observed(), memory, site.now);
        assert!(next.wake_at.is_none_or(|wake| wake > site.now), "A9: a wake in the past");
        let before = memory.clone();
        site.probe(desired, memory);
        let idle = next.apps.values().all(|app| app.actions.is_empty()) && before == *memory;
        for (key, app) in &next.apps {
            site.execute(key, &app.actions, memory, usize::MAX);
        }
        match next.wake_at {
            // A failure that repeats for ever is as settled as it gets.
            Some(wake) if idle && site.missing_images.is_empty() && site.world.listeners.is_empty() => {
                site.now = wake;
            }
            Some(_) | None if idle => return next,
            Some(_) | None => {}
        }
    }
    panic!("A2: the box does not settle: {:?}", plan(desired, &site.observed(), memory, site.now));
}
