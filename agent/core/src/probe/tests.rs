use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::{AppSpec, Handler, Host, Monotonic, Network, Outcome, Owner, Ownership, Resources};

fn probe(success_threshold: u32, failure_threshold: u32) -> Probe {
    Probe {
        handler: Handler::Exec { command: vec!["true".to_owned()] },
        initial_delay: Duration::ZERO,
        timeout: Duration::from_secs(1),
        period: Duration::from_secs(10),
        success_threshold,
        failure_threshold,
        grace: None,
    }
}

/// `+` a success, `-` a failure; the verdicts at the same places, `.` for none.
fn verdicts(kind: ProbeKind, success_threshold: u32, failure_threshold: u32, answers: &str) -> String {
    let mut counter = Counter::new(kind, &probe(success_threshold, failure_threshold));
    let verdict = |answer| match counter.observe(answer == '+', String::new()) {
        None => '.',
        Some(ProbeVerdict { ok: true, .. }) => '+',
        Some(ProbeVerdict { ok: false, .. }) => '-',
    };
    answers.chars().map(verdict).collect()
}

#[test]
fn a_verdict_takes_a_row_of_answers_and_is_given_once() {
    for (kind, success, failure, answers, expected) in [
        (ProbeKind::Readiness, 1, 3, "+++++", "+...."),
        (ProbeKind::Readiness, 1, 3, "-----", "..-.."),
        (ProbeKind::Readiness, 1, 3, "+--+---+", "+.....-+"),
        (ProbeKind::Readiness, 2, 1, "+-+-++-++", ".-...+-.+"),
        (ProbeKind::Readiness, 3, 2, "++-+++--", ".....+.-"),
        (ProbeKind::Liveness, 1, 3, "--+--+---", "..+.....-"),
        (ProbeKind::Startup, 1, 4, "---+", "...+"),
        (ProbeKind::Startup, 1, 4, "----", "...-"),
    ] {
        assert_eq!(verdicts(kind, success, failure, answers), expected, "{kind:?} {answers}");
    }
}

#[test]
fn a_row_that_never_ends_does_not_overflow() {
    let mut counter = Counter::new(ProbeKind::Readiness, &probe(1, 1));
    counter.row = Some((true, u32::MAX));
    assert!(counter.observe(true, String::new()).is_some_and(|verdict| verdict.ok));
    assert_eq!(counter.row, Some((true, u32::MAX)));
}

#[test]
fn what_is_settled_is_asked_no_more() {
    let over = |kind, answers: &[bool]| {
        let mut counter = Counter::new(kind, &probe(1, 1));
        answers.iter().for_each(|answer| drop(counter.observe(*answer, String::new())));
        counter.is_over()
    };
    assert!(!over(ProbeKind::Startup, &[]));
    assert!(over(ProbeKind::Startup, &[true]) && over(ProbeKind::Startup, &[false]));
    assert!(!over(ProbeKind::Liveness, &[true]) && over(ProbeKind::Liveness, &[true, false]));
    assert!(!over(ProbeKind::Readiness, &[true]) && !over(ProbeKind::Readiness, &[true, false]));
}

/// A box with one app that runs.
struct Site {
    desired: Desired,
    world: World,
    memory: Memory,
}

const STARTED: WallMillis = WallMillis(1000);

fn all_probes() -> Probes {
    Probes {
        startup: Some(probe(1, 30)),
        readiness: Some(Probe { period: Duration::from_secs(5), ..probe(1, 3) }),
        liveness: Some(probe(1, 3)),
    }
}

impl Site {
    fn new(network: Network, containers: Vec<Container>) -> Self {
        let key: AppKey = "plant-a/web".parse().expect("a key");
        let spec = AppSpec { network, ..AppSpec::new(key.clone(), "web-1".to_owned(), containers) };
        let app = ValidApp::new(spec).expect("valid");
        let mut world = World::default();
        let sandbox = app.has_sandbox().then(|| (Role::Sandbox, SpecHash::of_sandbox(&app)));
        let units = app.containers().iter().map(|container| {
            (Role::Container(container.name.clone()), SpecHash::of_container(&app, container))
        });
        for (role, hash) in sandbox.clone().into_iter().chain(units) {
            let owns_network = sandbox.is_none() || role == Role::Sandbox;
            let container = ObservedContainer {
                name: format!("the-{role}"),
                owner: Owner::Ours(Ownership {
                    app: key.clone(),
                    role: role.clone(),
                    revision: "web-1".to_owned(),
                    hash: Some(hash),
                    restart_count: 0,
                    stop_rank: 0,
                }),
                image: None,
                state: ContainerState::Running { started_at: STARTED },
                ports: Vec::new(),
                host_network: network == Network::Host,
                joined: (network == Network::Bridge && !owns_network).then(|| "the-POD".to_owned()),
                ip: (network == Network::Bridge && owns_network).then(|| "172.17.0.9".parse().expect("ip")),
                resources: Resources::default(),
                devices: BTreeMap::new(),
            };
            world.containers.insert(ContainerId(role.to_string()), container);
        }
        let desired = Desired {
            node: "box".parse().expect("a name"),
            apps: BTreeMap::from([(key, DesiredApp::Valid(app))]),
            complete: true,
            retired: BTreeSet::new(),
            host: Host::default(),
            images: BTreeMap::new(),
        };
        Self { desired, world, memory: Memory::default() }
    }

    fn single() -> Self {
        Self::new(Network::Bridge, vec![probed("web", Kind::Main)])
    }

    fn app(&self) -> AppKey {
        self.desired.apps.keys().next().expect("one").clone()
    }

    fn tasks(&self) -> BTreeMap<(ContainerId, ProbeKind), ProbeTask> {
        probe_tasks(&self.desired, &Observed::Known(self.world.clone()), &self.memory).expect("known")
    }

    fn asked(&self) -> Vec<(String, ProbeKind)> {
        self.tasks().into_keys().map(|(id, kind)| (id.0, kind)).collect()
    }

    fn says(&mut self, id: &str, kind: ProbeKind, ok: bool) {
        let verdict = ProbeVerdict { ok, message: String::new() };
        self.memory.probed(&ContainerId(id.to_owned()), kind, verdict);
    }

    fn set_state(&mut self, state: ContainerState) {
        self.world.containers.values_mut().for_each(|container| container.state = state.clone());
    }
}

fn probed(name: &str, kind: Kind) -> Container {
    let container = Container::new(name.parse().expect("a name"), "busybox:1".to_owned());
    Container { kind, probes: all_probes(), ..container }
}

#[test]
fn the_others_wait_until_the_startup_probe_has_succeeded() {
    let mut site = Site::single();
    let web = || "web".to_owned();
    assert_eq!(site.asked(), [(web(), ProbeKind::Startup)]);
    site.says("web", ProbeKind::Startup, true);
    assert_eq!(site.asked(), [(web(), ProbeKind::Readiness), (web(), ProbeKind::Liveness)]);
}

#[test]
fn what_is_to_be_restarted_is_not_asked_again() {
    let web = || "web".to_owned();
    let mut site = Site::single();
    site.says("web", ProbeKind::Startup, false);
    assert_eq!(site.asked(), []);
    let mut site = Site::single();
    site.says("web", ProbeKind::Startup, true);
    site.says("web", ProbeKind::Readiness, false);
    site.says("web", ProbeKind::Liveness, false);
    assert_eq!(site.asked(), [(web(), ProbeKind::Readiness)]);
}

#[test]
fn a_task_says_all_there_is_to_ask() {
    let mut site = Site::single();
    site.says("web", ProbeKind::Startup, true);
    let tasks = site.tasks();
    let expected = ProbeTask {
        probe: all_probes().readiness.expect("there"),
        address: Some("172.17.0.9".parse().expect("ip")),
        started_at: STARTED,
    };
    assert_eq!(tasks[&(ContainerId("web".to_owned()), ProbeKind::Readiness)], expected);
}

#[test]
fn a_member_is_asked_at_its_sandbox_and_one_on_the_host_at_the_host() {
    let two = || vec![probed("a", Kind::Main), probed("b", Kind::Main)];
    let addresses = |site: &Site| {
        let found: BTreeSet<_> = site.tasks().into_values().map(|task| task.address).collect();
        found.into_iter().collect::<Vec<_>>()
    };
    let ip = |text: &str| Some(text.parse().expect("ip"));
    assert_eq!(addresses(&Site::new(Network::Bridge, two())), [ip("172.17.0.9")]);
    let mut site = Site::new(Network::Host, two());
    assert_eq!(addresses(&site), [ip("127.0.0.1")]);
    site.desired.host.ip = ip("10.0.0.7");
    assert_eq!(addresses(&site), [ip("10.0.0.7")]);
}

#[test]
fn sidecars_are_probed_and_init_containers_are_not() {
    let containers =
        vec![probed("init", Kind::Init), probed("side", Kind::Sidecar), probed("web", Kind::Main)];
    let asked = Site::new(Network::Bridge, containers).asked();
    assert_eq!(asked.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["side", "web"]);
}

#[test]
fn only_what_runs_as_desired_is_asked() {
    let mut site = Site::single();
    site.set_state(ContainerState::Paused { started_at: STARTED });
    assert_eq!(site.asked(), []);
    site.set_state(ContainerState::Created);
    assert_eq!(site.asked(), []);

    let mut site = Site::single();
    let other = Site::new(
        Network::Bridge,
        vec![Container { image: "busybox:2".to_owned(), ..probed("web", Kind::Main) }],
    );
    site.desired = other.desired;
    assert_eq!(site.asked(), [], "it runs the spec of before");
}

#[test]
fn a_container_that_is_being_stopped_or_set_up_is_not_asked() {
    let mut site = Site::single();
    let app = site.app();
    let stop = crate::Action::Stop {
        ids: vec![ContainerId("web".to_owned())],
        grace: None,
        why: crate::Why::Unhealthy,
    };
    site.memory.dispatch(&app, &[stop]);
    assert_eq!(site.asked(), []);

    let mut site = Site::single();
    let role = Role::Container("web".parse().expect("a name"));
    let hash = SpecHash::of(&"any");
    let step = Step::PostStart { role, hash, name: "the-web".to_owned() };
    site.memory.begin(&app, step.clone());
    assert_eq!(site.asked(), []);
    site.memory.record(&app, &step, Outcome::Done, Monotonic::default());
    site.memory.finish(&app);
    assert_eq!(site.asked().len(), 1);
}

#[test]
fn when_nobody_knows_what_runs_nothing_is_said() {
    let site = Site::single();
    let unknown = Observed::Unknown { why: "docker is away".to_owned() };
    assert_eq!(probe_tasks(&site.desired, &unknown, &site.memory), None);
}

#[test]
fn what_ran_before_the_agent_is_ready_until_a_probe_says_otherwise() {
    let id = ContainerId("web".to_owned());
    let mut site = Site::single();
    let probes = all_probes();
    assert!(!site.memory.is_ready(&id, &probes), "it was just started");
    site.memory.assume_ready(&Observed::Known(site.world.clone()));
    assert!(site.memory.is_ready(&id, &probes) && site.memory.is_assumed(&id));
    site.says("web", ProbeKind::Startup, true);
    assert!(site.memory.is_ready(&id, &probes), "readiness was not yet asked");
    site.says("web", ProbeKind::Liveness, true);
    assert!(site.memory.is_assumed(&id));
    site.says("web", ProbeKind::Readiness, false);
    assert!(!site.memory.is_ready(&id, &probes) && !site.memory.is_assumed(&id));
    site.says("web", ProbeKind::Readiness, true);
    assert!(site.memory.is_ready(&id, &probes));
}

#[test]
fn what_ran_before_the_agent_and_ends_is_assumed_no_more() {
    let mut site = Site::single();
    site.memory.assume_ready(&Observed::Known(site.world.clone()));
    site.set_state(ContainerState::Dead);
    site.memory.note(&site.desired, &Observed::Known(site.world.clone()), Monotonic::default());
    assert!(!site.memory.is_assumed(&ContainerId("web".to_owned())));
}
