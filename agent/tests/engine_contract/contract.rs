//! The contract of [`Engine`], as one walk through a container's life. Called with the fake and with Docker.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use skerry_agent::engine::{Engine, EngineError, Signal};
use skerry_agent_core::{ContainerId, ContainerState, CreateSpec, Desired, World};
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
    assert_eq!(world.images.get(&bench.image), Some(&true));

    while let Ok(_earlier) = signals.try_recv() {}
    bench.engine.create(spec).await.expect("created");
    bench.engine.create(spec).await.expect("what is there already counts as created");
    let world = bench.look(&desired).await;
    let found = ours(&world);
    assert_eq!(found.keys().collect::<Vec<_>>(), [&spec.name.as_str()]);
    let container = found[spec.name.as_str()];
    assert_eq!((&container.owner, &container.state), (&owner_of(spec), &ContainerState::Created));

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
    assert_eq!(bench.look(&wanted).await.images.get(&bench.missing_image), Some(&false));
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
    assert!(again.apps.values().all(|app| app.actions.is_empty()), "it is as desired: {again:?}");
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
