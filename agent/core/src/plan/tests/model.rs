//! A Docker Engine of few lines: it executes actions and refuses what the real one refuses. What would be a mistake of the
//! planner, such as a name or a port that is not free, panics.

use std::collections::BTreeMap;

use crate::plan::{Action, CreateSpec, Join};
use crate::{
    ContainerId, ContainerState, HostPort, Listener, Memory, Monotonic, Observed, ObservedContainer, Outcome,
    Owner, Ownership, PortClaim, Role, WallMillis, World,
};

/// The box: its containers, and its clock.
#[derive(Debug, Clone, Default)]
pub struct Site {
    pub world: World,
    pub now: Monotonic,
    /// How far Docker's clock is off, in milliseconds.
    pub clock_error: i64,
    /// Ports of containers that do not run, by container: Docker lists those of running ones only.
    bindings: BTreeMap<ContainerId, Vec<PortClaim>>,
    next_id: u32,
    /// Images that no registry has.
    pub missing_images: Vec<String>,
}

impl Site {
    /// An empty box whose agent has run for this long.
    pub fn at(seconds: u64) -> Self {
        Self { now: Monotonic(std::time::Duration::from_secs(seconds)), ..Self::default() }
    }

    pub fn observed(&self) -> Observed {
        Observed::Known(self.world.clone())
    }

    pub fn wall(&self) -> WallMillis {
        WallMillis(i64::try_from(self.now.0.as_millis()).expect("a short test") + self.clock_error)
    }

    pub fn id_of(&self, name: &str) -> Option<ContainerId> {
        self.world.containers.iter().find(|(id, c)| c.name == name || id.0 == name).map(|(id, _)| id.clone())
    }

    /// Puts a container on the box as if an earlier plan had created it.
    pub fn create(&mut self, spec: &CreateSpec) -> ContainerId {
        assert!(self.id_of(&spec.name).is_none(), "A5: the name {} is not free", spec.name);
        let id = ContainerId(format!("{:064x}", self.next_id));
        self.next_id += 1;
        let joined = match &spec.join {
            Join::Container { name } => {
                assert!(self.id_of(name).is_some(), "A5: {} joins {name}, which is not there", spec.name);
                Some(name.clone())
            }
            Join::Host(_) | Join::Bridge(_) => None,
        };
        let ports = spec.ports.iter().filter_map(|port| {
            Some(PortClaim(HostPort { protocol: port.protocol, port: port.host_port?, ip: port.host_ip }))
        });
        self.bindings.insert(id.clone(), ports.collect());
        let owner = Owner::Ours(Ownership {
            app: spec.app.clone(),
            role: spec.role.clone(),
            revision: spec.revision.clone(),
            hash: Some(spec.hash.clone()),
            restart_count: spec.restart_count,
        });
        let container = ObservedContainer {
            name: spec.name.clone(),
            owner,
            state: ContainerState::Created,
            ports: Vec::new(),
            host_network: matches!(spec.join, Join::Host(_)),
            joined,
            ip: None,
            resources: spec.resources,
            devices: spec.devices.iter().map(|(name, (count, _))| (name.clone(), *count)).collect(),
        };
        self.world.containers.insert(id.clone(), container);
        id
    }

    pub fn start(&mut self, id: &ContainerId) -> Result<(), String> {
        let container = self.world.containers[id].clone();
        if let Some(joined) = &container.joined {
            let alive = self.id_of(joined).is_some_and(|id| self.world.containers[&id].state.is_alive());
            assert!(alive, "A5: {} starts before the network it joins", container.name);
        }
        for claim in &self.bindings[id] {
            let holder =
                self.world.containers.values().find(|c| c.ports.iter().any(|p| p.0.overlaps(&claim.0)));
            assert!(holder.is_none(), "A5: port {claim:?} is held by {holder:?}");
            if self.world.listeners.iter().any(|Listener(port)| port.overlaps(&claim.0)) {
                return Err("address already in use".into());
            }
        }
        let started_at = self.wall();
        let ports = self.bindings[id].clone();
        let container = self.world.containers.get_mut(id).expect("it is there");
        container.state = ContainerState::Running { started_at };
        container.ports = ports;
        Ok(())
    }

    /// A container ends by itself or is killed.
    pub fn end(&mut self, id: &ContainerId, exit_code: i64) {
        let finished_at = self.wall();
        let container = self.world.containers.get_mut(id).expect("it is there");
        let started_at = container.state.started_at().unwrap_or(finished_at);
        container.state = ContainerState::Exited {
            exit_code,
            oom_killed: false,
            started_at,
            finished_at,
            error: String::new(),
            message: String::new(),
        };
        container.ports.clear();
    }

    pub fn apply(&mut self, action: &Action) -> Outcome {
        match action {
            Action::Pull { image, .. } => {
                if self.missing_images.contains(image) {
                    let message = format!("manifest for {image} not found");
                    return Outcome::Failed { reason: skerry_terms::reasons::IMAGE_PULL_FAILED, message };
                }
                self.world.images.insert(image.clone(), true);
            }
            Action::Create(spec) => {
                self.create(spec);
            }
            Action::Start { name, .. } => {
                let id =
                    self.id_of(name).unwrap_or_else(|| panic!("A5: {name} is started before it is created"));
                if let Err(message) = self.start(&id) {
                    return Outcome::Failed { reason: skerry_terms::reasons::PORT_CONFLICT, message };
                }
            }
            Action::Stop { ids, .. } => {
                for id in ids {
                    self.assert_ours(id);
                    self.end(id, 137);
                }
            }
            Action::Update { id, resources, .. } => {
                self.assert_ours(id);
                self.world.containers.get_mut(id).expect("it is there").resources = *resources;
            }
            Action::Names { id, .. } => self.assert_ours(id),
            Action::Project(_) | Action::PostStart { .. } | Action::Discard => {}
            Action::Remove { id, .. } => {
                self.assert_ours(id);
                let container = self.world.containers.remove(id).expect("A5: it is removed twice");
                assert!(!container.state.is_alive(), "{} is removed while it runs", container.name);
            }
        }
        Outcome::Done
    }

    fn assert_ours(&self, id: &ContainerId) {
        assert!(self.world.containers[id].ownership().is_some(), "A3: {id} is not ours");
    }

    /// Executes a list as the executor does: each step is recorded, the first failure ends it, and it may be cut after `limit` steps.
    pub fn execute(
        &mut self,
        app: &skerry_terms::AppKey,
        actions: &[Action],
        memory: &mut Memory,
        limit: usize,
    ) {
        for action in actions.iter().take(limit) {
            let outcome = self.apply(action);
            let failed = matches!(outcome, Outcome::Failed { .. });
            memory.record(app, &action.step(), outcome, self.now);
            if failed {
                return;
            }
        }
    }

    /// The living containers of an app, by role.
    pub fn living(&self, app: &skerry_terms::AppKey) -> BTreeMap<Role, ContainerId> {
        let ours = self.world.containers.iter().filter_map(|(id, container)| {
            let owner = container.ownership()?;
            (owner.app == *app && container.state.is_alive()).then(|| (owner.role.clone(), id.clone()))
        });
        ours.collect()
    }
}
