//! Short words for the apps and plans that the tests speak of.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use prost::Message as _;
use skerry_agent_core::{
    Action, CreateSpec, Desired, Held, Host, Memory, Monotonic, Observed, Owner, Ownership, World, plan,
};
use skerry_proto::wire;
use skerry_terms::{AppKey, Generation, NodeName, PayloadSet};

/// An app by its containers' images, with what a test wants to say about it.
#[derive(Debug, Clone)]
pub struct App {
    pub key: AppKey,
    pub wire: wire::App,
}

/// An app of one container per image; `argument` tells two specs apart.
pub fn app(name: &str, images: &[&str], argument: &str) -> App {
    let container = |(i, image): (usize, &&str)| wire::Container {
        name: format!("c{i}"),
        image: (*image).to_owned(),
        command: vec![
            "sh".to_owned(),
            "-c".to_owned(),
            format!("trap exit TERM; while :; do sleep 1; done # {argument}"),
        ],
        ..Default::default()
    };
    App {
        key: AppKey::new("test", name).expect("a key"),
        wire: wire::App {
            uid: format!("uid-{name}"),
            revision: format!("{name}-{argument}"),
            template: Some(wire::PodTemplate {
                termination_grace_period_seconds: 3,
                containers: images.iter().enumerate().map(container).collect(),
                ..Default::default()
            }),
            ..Default::default()
        },
    }
}

impl App {
    pub fn template(&mut self) -> &mut wire::PodTemplate {
        self.wire.template.as_mut().expect("a template")
    }

    /// With a limit to how long a change may take.
    pub fn with_deadline(mut self, seconds: u32) -> Self {
        self.wire.progress_deadline_seconds = seconds;
        self
    }

    pub fn with_host_port(mut self, port: NonZeroU16) -> Self {
        let port = wire::Port { container_port: 80, host_port: port.get().into(), ..Default::default() };
        self.template().containers[0].ports.push(port);
        self
    }
}

pub fn payloads(apps: &[App]) -> PayloadSet {
    apps.iter().map(|app| (app.key.clone(), app.wire.encode_to_vec().into())).collect()
}

pub fn held(generation: u64, apps: &[App]) -> Held {
    let generation = Generation::new("e", [("edgeapps".to_owned(), generation)]).expect("a generation");
    Held { generation, set: payloads(apps) }
}

pub fn desired(node: &NodeName, apps: &[App]) -> Desired {
    skerry_agent::decode::desired(node, &Host::default(), &payloads(apps)).desired
}

/// What the planner says to create on an empty box where every image is present, in order.
pub fn create_specs(desired: &Desired) -> Vec<CreateSpec> {
    let plan = plan(desired, &Observed::Known(World::default()), &Memory::default(), Monotonic::default());
    let actions = plan.apps.into_values().flat_map(|app| app.actions);
    actions
        .filter_map(|action| match action {
            Action::Create(spec) => Some(*spec),
            Action::Pull { .. }
            | Action::Project(_)
            | Action::Start { .. }
            | Action::PostStart { .. }
            | Action::Update { .. }
            | Action::Names { .. }
            | Action::Stop { .. }
            | Action::Remove { .. }
            | Action::Discard => None,
        })
        .collect()
}

/// What our labels on the container of this spec must say.
pub fn owner_of(spec: &CreateSpec) -> Owner {
    Owner::Ours(Ownership {
        app: spec.app.clone(),
        role: spec.role.clone(),
        revision: spec.revision.clone(),
        hash: Some(spec.hash.clone()),
        restart_count: spec.restart_count,
        stop_rank: spec.stop_rank,
    })
}

/// A world, or the reason why there is none.
pub fn known(observed: Observed) -> World {
    match observed {
        Observed::Known(world) => world,
        Observed::Unknown { why } => panic!("the engine cannot be looked at: {why}"),
    }
}

/// Our containers of a look, by name.
pub fn ours(world: &World) -> BTreeMap<&str, &skerry_agent_core::ObservedContainer> {
    let ours = world.containers.values().filter(|container| container.ownership().is_some());
    ours.map(|container| (container.name.as_str(), container)).collect()
}
