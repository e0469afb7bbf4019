//! The planner's invariants as properties. Each app draws one relation between what is desired and what is on the box;
//! the inputs and what must come of it both follow from that one draw.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU64;

use proptest::prelude::*;
use skerry_terms::{AppKey, Phase, reasons};

use super::model::{Life, Site};
use super::{ROUNDS, app_key, container, desired, foreign, probe, settle};
use crate::plan::plan;
use crate::{
    Action, AppNames, AppSpec, Container, ContainerId, ContainerState, Desired, DesiredApp, Device, EnvValue,
    EnvVar, File, Hook, Host, Kind, Memory, Mount, Network, Observed, Owner, Plan, Probes, RestartPolicy,
    Role, SpecHash, Switch, ValidApp, Volume,
};

/// How what is desired of an app and what is on the box stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    OnlyDesired,
    OnlyObserved,
    Same,
    Differs,
    /// In what is changed in place alone: limits, contents of files.
    DiffersInPlace,
    /// It ended, and is to be started again.
    Crashed,
    /// An earlier list was cut after some of its steps.
    Cut(usize),
    /// An agent that does not understand the app.
    Unsupported,
    /// A new spec of which config is missing.
    Missing,
}

/// One app of a scenario.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    relation: Relation,
    /// What comes before the main containers.
    first: Vec<Kind>,
    containers: usize,
    host_network: bool,
    port: Option<u16>,
    policy: RestartPolicy,
    switch: Switch,
    extras: Extras,
}

/// What few apps have.
#[derive(Debug, Clone)]
pub(super) struct Extras {
    probes: bool,
    hook: bool,
    device: bool,
    memory: bool,
    files: bool,
    pod_ip: bool,
    host_ipc: bool,
    share_process_namespace: bool,
}

fn relation() -> impl Strategy<Value = Relation> {
    prop_oneof![
        Just(Relation::OnlyDesired),
        Just(Relation::OnlyObserved),
        Just(Relation::Same),
        Just(Relation::Differs),
        Just(Relation::DiffersInPlace),
        Just(Relation::Crashed),
        (0usize..16).prop_map(Relation::Cut),
        Just(Relation::Unsupported),
        Just(Relation::Missing),
    ]
}

fn extras() -> impl Strategy<Value = Extras> {
    let seldom = || proptest::bool::weighted(0.2);
    let flags = (seldom(), seldom(), seldom(), seldom(), seldom(), seldom(), seldom(), seldom());
    flags.prop_map(|(probes, hook, device, memory, files, pod_ip, host_ipc, share_process_namespace)| {
        Extras { probes, hook, device, memory, files, pod_ip, host_ipc, share_process_namespace }
    })
}

pub(super) fn draw() -> impl Strategy<Value = Draw> {
    let policy =
        prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)];
    let first = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(prop_oneof![Just(Kind::Init), Just(Kind::Sidecar)], 1..4),
    ];
    let switch = prop_oneof![Just(Switch::StopFirst), Just(Switch::StartFirst)];
    let port = proptest::option::of(80u16..83);
    (relation(), first, 1usize..4, any::<bool>(), port, policy, switch, extras()).prop_map(
        |(relation, first, containers, host_network, port, policy, switch, extras)| Draw {
            relation,
            first,
            containers,
            host_network,
            port,
            policy,
            switch,
            extras,
        },
    )
}

/// A box, what is desired of it, and what was drawn for each app.
#[derive(Debug)]
pub(super) struct Scenario {
    pub site: Site,
    pub desired: Desired,
    relations: BTreeMap<AppKey, Relation>,
    /// Containers that no plan may name.
    untouchable: Vec<ContainerId>,
}

/// The app as drawn, of this image, with limits and files of this version.
fn valid(draw: &Draw, index: usize, image: &str, version: u64) -> ValidApp {
    let Draw { relation, first, containers, host_network, port, policy, switch, extras } = draw;
    let probe = || Some(probe());
    let before = first.iter().enumerate().map(|(i, kind)| {
        let word = if *kind == Kind::Init { "init" } else { "side" };
        let mut one = Container { kind: *kind, ..container(&format!("{word}{i}"), image, None) };
        if *kind == Kind::Sidecar && extras.probes {
            one.probes = Probes { startup: probe(), ..Probes::default() };
        }
        one
    });
    let port = port.filter(|_| *relation != Relation::Unsupported);
    let mut list: Vec<Container> = before.collect();
    for i in 0..*containers {
        let mut one = container(&format!("c{i}"), image, port.filter(|_| i == 0));
        one.resources.cpu_limit_millis = NonZeroU64::new(100 * version);
        if i == 0 && extras.probes {
            one.probes = Probes { startup: None, readiness: probe(), liveness: probe() };
        }
        if i == 0 && extras.hook {
            one.lifecycle.post_start = Some(Hook::Exec { command: vec!["true".into()] });
        }
        if i == 0 && extras.device {
            one.devices.insert("cam".into(), 1);
        }
        if i == 0 && extras.pod_ip {
            one.env.push(EnvVar { name: "IP".into(), value: EnvValue::PodIp });
        }
        if extras.files {
            one.mounts.push(Mount {
                volume: "files".into(),
                path: "/files".into(),
                read_only: true,
                sub_path: String::new(),
                sub_path_expands: false,
            });
        }
        list.push(one);
    }
    let key = app_key(&format!("app-{index}"));
    let mut spec = AppSpec::new(key, format!("{image}-{version}"), list);
    if extras.memory {
        spec.volumes.insert("memory".into(), Volume::Memory { size: None });
    }
    if extras.files {
        let content = version.to_string().into_bytes().into();
        let files = vec![File { path: "version".into(), mode: 0o644, content }];
        spec.volumes.insert("files".into(), Volume::Files { secret: false, files });
    }
    let network = if *host_network { Network::Host } else { Network::Bridge };
    ValidApp::new(AppSpec {
        restart_policy: *policy,
        network,
        switch: *switch,
        host_ipc: extras.host_ipc,
        share_process_namespace: extras.share_process_namespace,
        ..spec
    })
    .expect("a valid app")
}

fn host() -> Host {
    let cam = Device { paths: vec!["/dev/video0".into()], gpu: false, count: 2 };
    Host {
        ip: Some(IpAddr::from([192, 168, 0, 7])),
        devices: BTreeMap::from([("cam".to_owned(), cam)]),
        app_names: AppNames::Namespace,
        ..Host::default()
    }
}

/// Executes what one app needs, in as many rounds as it takes, up to some number of steps.
fn bring_up(site: &mut Site, app: ValidApp, steps: usize) {
    let key = app.key.clone();
    let alone = Desired { host: host(), ..desired([DesiredApp::Valid(app)]) };
    let mut memory = Memory::default();
    let mut left = steps;
    for _ in 0..ROUNDS {
        memory.note(&alone, &site.observed(), site.now);
        let actions = plan(&alone, &site.observed(), &memory, site.now).apps[&key].actions.clone();
        let before = memory.clone();
        site.execute(&key, &actions, &mut memory, left);
        site.probe(&alone, &mut memory);
        left = left.saturating_sub(actions.len());
        if left == 0 || before == memory && actions.is_empty() {
            return;
        }
    }
}

pub(super) fn scenario(draws: &[Draw]) -> Scenario {
    let mut site = Site::at(5000);
    site.world.cores = 2;
    site.lives.extend((0..4).map(|i| (format!("init{i}"), Life::Ends(0))));
    let mut relations = BTreeMap::new();
    let mut apps = BTreeMap::new();
    let mut untouchable = vec![foreign(&mut site, "somebody-elses")];
    for (i, draw) in draws.iter().enumerate() {
        let key = app_key(&format!("app-{i}"));
        relations.insert(key.clone(), draw.relation);
        let (before, cut) = match draw.relation {
            Relation::OnlyDesired => (None, usize::MAX),
            Relation::Differs | Relation::Missing => (Some(("old:1", 1)), usize::MAX),
            Relation::DiffersInPlace => (Some(("new:1", 1)), usize::MAX),
            Relation::Cut(steps) => (Some(("new:1", 2)), steps),
            Relation::OnlyObserved | Relation::Same | Relation::Crashed | Relation::Unsupported => {
                (Some(("new:1", 2)), usize::MAX)
            }
        };
        if let Some((image, version)) = before {
            bring_up(&mut site, valid(draw, i, image, version), cut);
        }
        match draw.relation {
            Relation::Crashed => {
                for id in site.living(&key).into_values() {
                    site.end(&id, 1);
                }
            }
            Relation::Unsupported | Relation::Missing => untouchable.extend(site.living(&key).into_values()),
            Relation::OnlyDesired
            | Relation::OnlyObserved
            | Relation::Same
            | Relation::Differs
            | Relation::DiffersInPlace
            | Relation::Cut(_) => {}
        }
        let wanted = match draw.relation {
            Relation::OnlyObserved => continue,
            Relation::Unsupported => {
                DesiredApp::Unsupported { revision: "app-x".into(), why: "it needs a newer agent".into() }
            }
            Relation::Missing => {
                let spec = (*valid(draw, i, "new:1", 2)).clone();
                let missing = vec!["configmap \"settings\" not found".to_owned()];
                DesiredApp::Valid(ValidApp::new(AppSpec { missing, ..spec }).expect("a valid app"))
            }
            Relation::OnlyDesired
            | Relation::Same
            | Relation::Differs
            | Relation::DiffersInPlace
            | Relation::Crashed
            | Relation::Cut(_) => DesiredApp::Valid(valid(draw, i, "new:1", 2)),
        };
        apps.insert(key, wanted);
    }
    let desired = Desired { apps, host: host(), ..desired([]) };
    Scenario { site, desired, relations, untouchable }
}

/// How many containers of an app run when it is up.
fn whole(app: &ValidApp) -> usize {
    let lasting = app.containers().iter().filter(|container| container.kind != Kind::Init).count();
    lasting + usize::from(app.has_sandbox())
}

/// The containers that a list of actions stops or removes.
fn victims(actions: &[Action]) -> Vec<ContainerId> {
    let ids = actions.iter().map(|action| match action {
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
    ids.flatten().collect()
}

/// True for what changes a container that serves on, when what it has differs from what it shall have, or nobody knows what it has.
fn is_due_in_place(site: &Site, memory: &Memory, app: &AppKey, action: &Action) -> bool {
    match action {
        Action::Names { id, names } => memory.named(id).is_none() || site.hosts[id] != *names,
        Action::Project(projection) => {
            memory.projected(app).is_none() || site.files.get(app) != Some(&projection.digest)
        }
        Action::Update { id, resources, .. } => {
            site.world.containers[id].resources != resources.normal(site.world.cores)
        }
        Action::Pull { .. }
        | Action::Create(_)
        | Action::Start { .. }
        | Action::PostStart { .. }
        | Action::Stop { .. }
        | Action::Remove { .. }
        | Action::Discard => false,
    }
}

fn actions(plan: &Plan) -> impl Iterator<Item = &Action> {
    plan.apps.values().flat_map(|app| &app.actions)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A1 fixpoint, A2 convergence, and A3, A5 by the model's own checks.
    #[test]
    fn every_box_settles_and_then_nothing_is_planned(draws in prop::collection::vec(draw(), 0..5)) {
        let mut s = scenario(&draws);
        let mut memory = Memory::default();
        settle(&mut s.site, &s.desired, &mut memory);
        let again = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
        prop_assert_eq!(actions(&again).count(), 0, "A1: {:?}", again);
        for id in &s.untouchable {
            prop_assert!(s.site.world.containers[id].state.is_alive(), "A3: {} is gone", id);
        }
        for (key, app) in &s.desired.apps {
            let DesiredApp::Valid(app) = app else { continue };
            if again.apps[key].verdict.phase == Phase::Running {
                prop_assert_eq!(s.site.living(key).len(), whole(app), "{} runs and is not whole", key);
            }
            for id in s.site.living(key).into_values() {
                let container = &s.site.world.containers[&id];
                let owner = container.ownership().expect("it is ours");
                let spec = app.containers().iter().find(|c| Role::Container(c.name.clone()) == owner.role);
                let current = spec.filter(|c| owner.hash == Some(SpecHash::of_container(app, c)));
                if let Some(current) = current.filter(|_| app.missing.is_empty()) {
                    prop_assert_eq!(container.resources, current.resources.normal(2), "limits");
                }
            }
            if again.apps[key].verdict.phase == Phase::Running && app.missing.is_empty() {
                prop_assert_eq!(s.site.files.get(key), app.files(), "files");
            }
        }
        for (key, relation) in &s.relations {
            let left = s.site.world.containers.values().filter(|c| c.ownership().is_some_and(|o| o.app == *key)).count();
            if *relation == Relation::OnlyObserved {
                prop_assert_eq!(left, 0, "{} is still there", key);
            }
        }
    }

    /// A4: whatever happens to the neighbours, an app that is as desired appears in no action.
    #[test]
    fn a_matching_app_is_left_alone(draws in prop::collection::vec(draw(), 1..5)) {
        let mut s = scenario(&draws);
        let mut memory = Memory::default();
        let same: Vec<_> = s.relations.iter().filter(|(_, r)| **r == Relation::Same).map(|(k, _)| k.clone()).collect();
        // Only those that came up in full: the draws may give two apps the same port.
        let running: BTreeMap<_, _> = same.iter().map(|key| (key.clone(), s.site.living(key))).filter(|(key, living)| {
            let DesiredApp::Valid(app) = &s.desired.apps[key] else { return false };
            living.len() == whole(app)
        }).collect();
        for _ in 0..20 {
            memory.note(&s.desired, &s.site.observed(), s.site.now);
            let next = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
            for (key, app_plan) in &next.apps {
                let idle = app_plan.actions.iter().all(|action| is_due_in_place(&s.site, &memory, key, action));
                prop_assert!(!running.contains_key(key) || idle, "A4: {:?}", app_plan);
                s.site.execute(key, &app_plan.actions, &mut memory, usize::MAX);
            }
            if let Some(wake) = next.wake_at {
                s.site.now = wake;
            }
        }
        for (key, living) in running {
            prop_assert_eq!(s.site.living(&key), living);
        }
    }

    /// A6: a look that saw nothing plans nothing.
    #[test]
    fn an_unknown_box_is_left_alone(draws in prop::collection::vec(draw(), 0..5)) {
        let s = scenario(&draws);
        let unknown = Observed::Unknown { why: "docker does not answer".into() };
        let next = plan(&s.desired, &unknown, &Memory::default(), s.site.now);
        prop_assert_eq!(actions(&next).count(), 0);
        prop_assert_eq!(next.apps.len(), s.desired.apps.len());
    }

    /// A7: cut every list anywhere, forget everything, and the box still settles.
    #[test]
    fn a_crash_anywhere_is_survived(draws in prop::collection::vec(draw(), 1..5), cuts in prop::collection::vec(0usize..6, 6)) {
        let mut s = scenario(&draws);
        for cut in cuts {
            let mut memory = Memory::default();
            memory.note(&s.desired, &s.site.observed(), s.site.now);
            let next = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
            for (key, app_plan) in &next.apps {
                s.site.execute(key, &app_plan.actions, &mut memory, cut);
            }
        }
        settle(&mut s.site, &s.desired, &mut Memory::default());
    }

    /// A9: a wake is always in the future, and there is one whenever something waits for a moment in time.
    #[test]
    fn whatever_waits_for_time_has_a_wake(draws in prop::collection::vec(draw(), 1..5), crashes in 1usize..6) {
        let mut s = scenario(&draws);
        let mut memory = Memory::default();
        for _ in 0..crashes {
            settle(&mut s.site, &s.desired, &mut memory);
            let keys: Vec<_> = s.desired.apps.keys().cloned().collect();
            for id in keys.iter().flat_map(|key| s.site.living(key).into_values()).collect::<Vec<_>>() {
                if !s.untouchable.contains(&id) {
                    s.site.end(&id, 1);
                }
            }
            memory.note(&s.desired, &s.site.observed(), s.site.now);
            let next = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
            prop_assert!(next.wake_at.is_none_or(|wake| wake > s.site.now));
            let waits = next.apps.values().any(|app| {
                app.actions.is_empty() && app.verdict.reason == reasons::CRASH_LOOP_BACK_OFF
            });
            prop_assert!(!waits || next.wake_at.is_some(), "A9: {:?}", next);
        }
    }

    /// Nothing that has a successor in waiting is stopped, and nothing is stopped that is not ours.
    #[test]
    fn only_what_is_ours_and_unwanted_is_stopped(draws in prop::collection::vec(draw(), 1..5)) {
        let s = scenario(&draws);
        let next = plan(&s.desired, &s.site.observed(), &Memory::default(), s.site.now);
        for (key, app_plan) in &next.apps {
            for id in victims(&app_plan.actions) {
                let container = &s.site.world.containers[&id];
                let Owner::Ours(owner) = &container.owner else { panic!("A3: {container:?}") };
                prop_assert_eq!(&owner.app, key);
                let stops_for_nothing = container.state.is_alive() && s.relations[key] == Relation::Same
                    && !matches!(container.state, ContainerState::Created);
                let DesiredApp::Valid(app) = &s.desired.apps.get(key).cloned().unwrap_or(DesiredApp::Unsupported {
                    revision: String::new(), why: String::new(),
                }) else { continue };
                let whole = s.site.living(key).len() == whole(app);
                prop_assert!(!(stops_for_nothing && whole), "{:?} is stopped for nothing", container);
            }
        }
    }

    /// A set that may lack apps takes nothing away but what was taken out of it.
    #[test]
    fn an_incomplete_set_leaves_what_it_does_not_know(draws in prop::collection::vec(draw(), 1..5), retire in any::<bool>()) {
        let mut s = scenario(&draws);
        s.desired.complete = false;
        let unknown: Vec<_> = s.relations.iter().filter(|(_, r)| **r == Relation::OnlyObserved).map(|(k, _)| k.clone()).collect();
        let before: Vec<_> = unknown.iter().map(|key| s.site.living(key)).collect();
        if retire {
            s.desired.retired.extend(unknown.iter().cloned());
        }
        settle(&mut s.site, &s.desired, &mut Memory::default());
        for (key, living) in unknown.iter().zip(before) {
            prop_assert_eq!(s.site.living(key), if retire { BTreeMap::new() } else { living });
            prop_assert!(!retire || !s.site.world.kept.contains(key));
        }
    }
}
