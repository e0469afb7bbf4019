//! The contract of [`Engine`], as one walk through a container's life. Called with the fake and with Docker.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use skerry_agent::engine::{Engine, EngineError, Signal};
use skerry_agent_core::{
    BoundMount, ContainerId, ContainerState, CreateSpec, Desired, File, Hook, ProjectedVolume, Projection,
    Resources, Volume, World,
};
use skerry_terms::NodeName;
use tokio::sync::mpsc;

use crate::fake::Fake;
use crate::scenario::{app, create_specs, desired, known, ours, owner_of};

/// What differs between the engines under test.
pub struct Bench<E> {
    pub engine: Arc<E>,
    /// Owns what the test creates, and nothing else on the engine.
    pub node: NodeName,
    /// On the engine, with a shell in it.
    pub image: String,
    /// Neither on the engine nor in any registry.
    pub missing_image: String,
    /// Free on the box.
    pub port: NonZeroU16,
}

impl<E: Engine> Bench<E> {
    async fn look(&self, desired: &Desired) -> World {
        known(self.engine.observe(Arc::new(desired.clone())).await)
    }

    async fn state(&self, desired: &Desired, name: &str) -> Option<(ContainerId, ContainerState)> {
        let world = self.look(desired).await;
        let mut found = world.containers.into_iter().filter(|(_, container)| container.name == name);
        found.next().map(|(id, container)| (id, container.state))
    }
}

pub async fn keeps_the_contract<E: Engine>(bench: Bench<E>) {
    let (signals_in, mut signals) = mpsc::channel(64);
    let watching = bench.engine.clone();
    let watch = tokio::spawn(async move { watching.watch(signals_in).await });
    let first = next(&mut signals).await;
    assert!(matches!(first, Signal::Up { .. }), "{first:?}");

    one_container_lives_and_ends(&bench, &mut signals).await;
    what_cannot_be_is_refused(&bench).await;
    a_sandbox_is_joined(&bench).await;
    a_port_is_had_once(&bench).await;
    limits_change_in_place(&bench).await;
    an_address_is_had_while_it_runs(&bench).await;
    what_is_kept_is_told_until_it_is_discarded(&bench).await;
    what_needs_a_running_container_says_so(&bench).await;
    watch.abort();
}

async fn next(signals: &mut mpsc::Receiver<Signal>) -> Signal {
    let next = tokio::time::timeout(Duration::from_secs(20), signals.recv()).await;
    next.expect("a signal in time").expect("a signal")
}

async fn one_container_lives_and_ends<E: Engine>(bench: &Bench<E>, signals: &mut mpsc::Receiver<Signal>) {
    let desired = desired(&bench.node, &[app("single", &[&bench.image], "1")]);
    let spec = &create_specs(&desired)[0];
    let world = bench.look(&desired).await;
    assert!(ours(&world).is_empty(), "{world:?}");
    let Some(Some(image)) = world.images.get(&bench.image) else { panic!("{world:?}") };

    while let Ok(_earlier) = signals.try_recv() {}
    bench.engine.create(spec).await.expect("created");
    bench.engine.create(spec).await.expect("what is there already counts as created");
    let world = bench.look(&desired).await;
    let found = ours(&world);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&spec.name.as_str()]);
    let container = found[spec.name.as_str()];
    assert_eq!((&container.owner, &container.state), (&owner_of(spec), &ContainerState::Created));
    assert_eq!(container.image.as_ref(), Some(image), "it is known what it was created from");

    bench.engine.start(&spec.name).await.expect("started");
    assert_eq!(next(signals).await, Signal::Changed);
    let (id, running) = bench.state(&desired, &spec.name).await.expect("there");
    assert!(matches!(running, ContainerState::Running { .. }), "{running:?}");
    bench.engine.start(&spec.name).await.expect("what runs counts as started");
    assert_eq!(
        bench.state(&desired, &spec.name).await,
        Some((id.clone(), running)),
        "and is not started again"
    );
    assert!(bench.look(&desired).await.images.is_empty(), "nothing is asked of a box at rest");

    let error = bench.engine.remove(&id).await.expect_err("it runs");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    bench.engine.stop(&id, None).await.expect("stopped");
    let (_, ended) = bench.state(&desired, &spec.name).await.expect("there");
    let ContainerState::Exited { started_at, finished_at, .. } = ended else { panic!("{ended:?}") };
    assert!(started_at <= finished_at);
    bench.engine.stop(&id, None).await.expect("what has ended counts as stopped");
    bench.engine.remove(&id).await.expect("removed");
    assert_eq!(bench.state(&desired, &spec.name).await, None);
    bench.engine.stop(&id, None).await.expect("what is gone counts as stopped");
    bench.engine.remove(&id).await.expect("what is gone counts as removed");
}

async fn what_cannot_be_is_refused<E: Engine>(bench: &Bench<E>) {
    let wanted = desired(&bench.node, &[app("missing", &[&bench.missing_image], "1")]);
    assert_eq!(bench.look(&wanted).await.images.get(&bench.missing_image), Some(&None));
    let error = bench.engine.create(&create_specs(&wanted)[0]).await.expect_err("no image");
    assert!(error.to_string().contains("No such image"), "{error}");
    let error = bench.engine.pull(&bench.missing_image, &[]).await.expect_err("no such image anywhere");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    bench.engine.start("skerry_nothing_of_this_name").await.expect_err("no such container");

    // A name that another container has is not adopted.
    let wanted = desired(&bench.node, &[app("taken", &[&bench.image], "1")]);
    let spec = &create_specs(&wanted)[0];
    bench.engine.create(spec).await.expect("created");
    let other = CreateSpec { restart_count: spec.restart_count + 1, ..spec.clone() };
    let error = bench.engine.create(&other).await.expect_err("the name is taken");
    assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
    let (id, _) = bench.state(&wanted, &spec.name).await.expect("there");
    bench.engine.remove(&id).await.expect("removed");
}

async fn a_sandbox_is_joined<E: Engine>(bench: &Bench<E>) {
    let wanted = desired(&bench.node, &[app("pair", &[&bench.image, &bench.image], "1")]);
    let specs = create_specs(&wanted);
    assert_eq!(specs.len(), 3, "a sandbox and two members");
    for spec in &specs {
        bench.engine.create(spec).await.expect("created");
    }
    for spec in &specs {
        bench.engine.start(&spec.name).await.expect("started");
    }
    let world = bench.look(&wanted).await;
    let (sandbox, _) =
        world.containers.iter().find(|(_, container)| container.name == specs[0].name).expect("the sandbox");
    for member in &specs[1..] {
        let container = ours(&world)[member.name.as_str()];
        assert!(container.state.is_alive(), "{container:?}");
        let joined = container.joined.as_ref().expect("joined");
        assert!(*joined == sandbox.0 || *joined == specs[0].name, "{joined}");
    }
    let again = skerry_agent_core::plan(
        &wanted,
        &skerry_agent_core::Observed::Known(world.clone()),
        &skerry_agent_core::Memory::default(),
        skerry_agent_core::Monotonic::default(),
    );
    let settled = wanted.apps.keys().all(|app| again.apps[app].actions.is_empty());
    assert!(settled, "it is as desired: {again:?}");
    for (id, _) in world.containers.iter().filter(|(_, container)| container.ownership().is_some()) {
        bench.engine.stop(id, None).await.expect("stopped");
        bench.engine.remove(id).await.expect("removed");
    }
}

async fn a_port_is_had_once<E: Engine>(bench: &Bench<E>) {
    let first = app("first", &[&bench.image], "1").with_host_port(bench.port);
    let second = app("second", &[&bench.image], "1").with_host_port(bench.port);
    let wanted = desired(&bench.node, std::slice::from_ref(&first));
    let specs = [
        create_specs(&wanted).remove(0),
        create_specs(&desired(&bench.node, std::slice::from_ref(&second))).remove(0),
    ];
    for spec in &specs {
        bench.engine.create(spec).await.expect("created");
    }
    bench.engine.start(&specs[0].name).await.expect("started");
    let error = bench.engine.start(&specs[1].name).await.expect_err("the port is taken");
    let EngineError::PortTaken { message } = &error else { panic!("{error:?}") };
    assert!(message.contains(&format!("port {} of the node", bench.port)), "{message}");

    let world = bench.look(&wanted).await;
    let ports: Vec<u16> =
        ours(&world)[specs[0].name.as_str()].ports.iter().map(|claim| claim.0.port.get()).collect();
    assert_eq!(ports, [bench.port.get()]);
    for (id, _) in world.containers.iter().filter(|(_, container)| container.ownership().is_some()) {
        bench.engine.stop(id, None).await.expect("stopped");
        bench.engine.remove(id).await.expect("removed");
    }
}

async fn limits_change_in_place<E: Engine>(bench: &Bench<E>) {
    let wanted = desired(&bench.node, &[app("limits", &[&bench.image], "1")]);
    let resources = |cpu_limit, memory_limit, cpu, memory| Resources {
        cpu_limit_millis: NonZeroU64::new(cpu_limit),
        memory_limit_bytes: NonZeroU64::new(memory_limit),
        cpu_request_millis: NonZeroU64::new(cpu),
        memory_request_bytes: NonZeroU64::new(memory),
    };
    let first = resources(3, 64 << 20, 1, 5);
    let spec = CreateSpec { resources: first, ..create_specs(&wanted).remove(0) };
    bench.engine.create(&spec).await.expect("created");
    bench.engine.start(&spec.name).await.expect("started");
    let (id, running) = bench.state(&wanted, &spec.name).await.expect("there");
    let found = async || ours(&bench.look(&wanted).await)[spec.name.as_str()].resources;
    assert_eq!(found().await, first, "told as it was asked for, however the engine keeps it");
    for next in [resources(500, 128 << 20, 250, 0), resources(0, 0, 0, 7), resources(0, 0, 0, 0), first] {
        bench.engine.update(&id, &next).await.expect("changed");
        assert_eq!(found().await, next);
    }
    assert_eq!(
        bench.state(&wanted, &spec.name).await,
        Some((id.clone(), running)),
        "and is not started again"
    );
    bench.engine.stop(&id, None).await.expect("stopped");
    bench.engine.remove(&id).await.expect("removed");
    bench.engine.update(&id, &first).await.expect_err("it is gone");
}

async fn an_address_is_had_while_it_runs<E: Engine>(bench: &Bench<E>) {
    let wanted = desired(&bench.node, &[app("address", &[&bench.image, &bench.image], "1")]);
    let specs = create_specs(&wanted);
    let addresses = async || -> Vec<bool> {
        let world = bench.look(&wanted).await;
        specs.iter().map(|spec| ours(&world)[spec.name.as_str()].ip.is_some()).collect()
    };
    for spec in &specs {
        bench.engine.create(spec).await.expect("created");
    }
    assert_eq!(addresses().await, [false, false, false]);
    for spec in &specs {
        bench.engine.start(&spec.name).await.expect("started");
    }
    assert_eq!(addresses().await, [true, false, false], "who joins a network has that of its owner");
    for spec in &specs {
        let (id, _) = bench.state(&wanted, &spec.name).await.expect("there");
        bench.engine.stop(&id, None).await.expect("stopped");
        bench.engine.remove(&id).await.expect("removed");
    }
}

async fn what_is_kept_is_told_until_it_is_discarded<E: Engine>(bench: &Bench<E>) {
    let wanted = desired(&bench.node, &[app("keeps", &[&bench.image], "1")]);
    let mount = BoundMount {
        name: "cache".to_owned(),
        volume: Volume::EmptyDir,
        path: "/cache".to_owned(),
        read_only: false,
        sub_path: String::new(),
    };
    let spec = CreateSpec { mounts: vec![mount], ..create_specs(&wanted).remove(0) };
    let keeps = async || bench.look(&wanted).await.kept.contains(&spec.app);
    assert!(!keeps().await);
    bench.engine.create(&spec).await.expect("created");
    let (id, _) = bench.state(&wanted, &spec.name).await.expect("there");
    bench.engine.remove(&id).await.expect("removed");
    assert!(keeps().await, "it outlives its containers");
    bench.engine.discard(&spec.app).await.expect("discarded");
    assert!(!keeps().await);
    bench.engine.discard(&spec.app).await.expect("nothing there counts as done");

    let file = File { path: "a".to_owned(), mode: 0o644, content: b"1"[..].into() };
    let volume = ProjectedVolume { name: "config".to_owned(), secret: false, files: vec![file] };
    let projection = Projection {
        app: spec.app.clone(),
        fs_group: None,
        volumes: vec![volume],
        digest: spec.hash.clone(),
    };
    bench.engine.project(&projection).await.expect("written");
    bench.engine.project(&projection).await.expect("what is there counts as written");
    assert!(keeps().await);
    bench.engine.discard(&spec.app).await.expect("discarded");
    assert!(!keeps().await);
}

async fn what_needs_a_running_container_says_so<E: Engine>(bench: &Bench<E>) {
    let wanted = desired(&bench.node, &[app("idle", &[&bench.image], "1")]);
    let spec = &create_specs(&wanted)[0];
    let hook = Hook::Exec { command: vec!["true".to_owned()] };
    bench.engine.hook(&spec.name, &hook).await.expect_err("no such container");
    bench.engine.create(spec).await.expect("created");
    let (id, _) = bench.state(&wanted, &spec.name).await.expect("there");
    let names = BTreeMap::from([("web.test".to_owned(), IpAddr::from([10, 0, 0, 1]))]);
    bench.engine.hook(&spec.name, &hook).await.expect_err("it does not run");
    bench.engine.names(&id, &names).await.expect_err("it does not run");
    bench.engine.start(&spec.name).await.expect("started");
    bench.engine.hook(&spec.name, &hook).await.expect("done");
    bench.engine.names(&id, &names).await.expect("changed");
    bench.engine.stop(&id, Some(Duration::from_secs(1))).await.expect("stopped");
    bench.engine.remove(&id).await.expect("removed");
    bench.engine.discard(&spec.app).await.expect("discarded");
}

#[tokio::test]
async fn the_fake_keeps_the_contract() {
    let fake = Fake::new();
    fake.has_image("busybox:1");
    keeps_the_contract(Bench {
        engine: Arc::new(fake),
        node: "node".parse().expect("a name"),
        image: "busybox:1".to_owned(),
        missing_image: "localhost:1/missing:1".to_owned(),
        port: NonZeroU16::new(8080).expect("a port"),
    })
    .await;
}
