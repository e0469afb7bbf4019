//! A Docker Engine of few lines: it executes actions and refuses what the real one refuses. What would be a mistake of the
//! planner, such as a name or a port that is not free, panics.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::plan::{Action, CreateSpec, Join, Namespace};
use crate::{
    ContainerId, ContainerState, Desired, Device, HostPort, ImageId, Listener, Memory, Monotonic, Observed,
    ObservedContainer, Outcome, Owner, Ownership, PortClaim, ProbeVerdict, Role, SpecHash, Volume,
    WallMillis, World, probe_tasks,
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
    devices: BTreeMap<ContainerId, BTreeMap<String, (u64, Device)>>,
    next_id: u32,
    next_ip: u16,
    /// Images that no registry has.
    pub missing_images: Vec<String>,
    /// What names mean at the registry where that is not what [`image_of`] says.
    pub registry: BTreeMap<String, ImageId>,
    /// What the processes of containers do, by the container's name in its app; others run for ever and are well.
    pub lives: BTreeMap<String, Life>,
    /// What was written as the files of each app's volumes.
    pub files: BTreeMap<skerry_terms::AppKey, SpecHash>,
    /// What each container's hosts file says of other apps.
    pub hosts: BTreeMap<ContainerId, BTreeMap<String, IpAddr>>,
    /// The postStart hooks that were run, by the container's name on the engine.
    pub hooked: Vec<String>,
    /// Docker refuses to change limits.
    pub refuses_updates: bool,
}

/// What the process of a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It ends at once.
    Ends(i64),
    /// It runs, and every probe of it fails.
    Sick,
    /// It runs, and its postStart hook fails.
    Hookless,
}

/// The image that a name means as long as nobody has moved it.
pub fn image_of(name: &str) -> ImageId {
    ImageId(format!("sha256:{name}"))
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
        let of_network = match &spec.join {
            Join::Container { name } => Some(name),
            Join::Host(_) | Join::Bridge(_) => None,
        };
        fn of_namespace(namespace: &Namespace) -> Option<&String> {
            match namespace {
                Namespace::Container { name } => Some(name),
                Namespace::Private | Namespace::Shareable | Namespace::Host => None,
            }
        }
        let joined = [of_network, of_namespace(&spec.ipc), of_namespace(&spec.pid)];
        for name in joined.into_iter().flatten() {
            assert!(self.id_of(name).is_some(), "A5: {} joins {name}, which is not there", spec.name);
        }
        let joined = joined.into_iter().flatten().next().cloned();
        for (name, (count, device)) in &spec.devices {
            assert!(*count > 0 && device.count >= *count, "{name} is given {count} times");
        }
        for mount in &spec.mounts {
            match &mount.volume {
                Volume::Files { .. } => {
                    assert!(
                        self.files.contains_key(&spec.app),
                        "A5: {} mounts what is not written",
                        spec.name
                    );
                }
                Volume::EmptyDir | Volume::Memory { .. } | Volume::Local { .. } => {}
                Volume::HostPath { .. } => continue,
            }
            self.world.kept.insert(spec.app.clone());
        }
        self.hosts.insert(id.clone(), spec.names.clone());
        self.devices.insert(id.clone(), spec.devices.clone());
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
            stop_rank: spec.stop_rank,
        });
        let image = spec.image.as_ref().map(|reference| match self.world.images.get(reference) {
            Some(image) => image.clone().unwrap_or_else(|| panic!("A5: image {reference} is not there")),
            None if reference.starts_with("sha256:") => ImageId(reference.clone()),
            None => image_of(reference),
        });
        let container = ObservedContainer {
            name: spec.name.clone(),
            owner,
            image,
            state: ContainerState::Created,
            ports: Vec::new(),
            host_network: matches!(spec.join, Join::Host(_)),
            joined,
            ip: None,
            resources: spec.resources.normal(self.world.cores),
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
        if let Some(owner) = container.ownership() {
            let inits =
                self.living(&owner.app).into_keys().filter(|role| role.to_string().starts_with("init"));
            let alone = owner.role == Role::Sandbox || inits.count() == 0;
            assert!(alone, "A5: {} starts before an init container ended", container.name);
        }
        for claim in &self.bindings[id] {
            let holder =
                self.world.containers.values().find(|c| c.ports.iter().any(|p| p.0.overlaps(&claim.0)));
            assert!(holder.is_none(), "A5: port {claim:?} is held by {holder:?}");
            if self.world.listeners.iter().any(|Listener(port)| port.overlaps(&claim.0)) {
                return Err("address already in use".into());
            }
        }
        for (name, (count, device)) in &self.devices[id] {
            let living = self.world.containers.values().filter(|c| c.state.is_alive());
            let held: u64 = living.filter_map(|c| c.devices.get(name)).sum();
            assert!(held + count <= device.count, "A5: device {name} is held {held} times");
        }
        let started_at = self.wall();
        let ports = self.bindings[id].clone();
        self.next_ip += 1;
        let own = IpAddr::V4(Ipv4Addr::new(
            172,
            17,
            u8::try_from(self.next_ip >> 8).expect("few"),
            self.next_ip as u8,
        ));
        let container = self.world.containers.get_mut(id).expect("it is there");
        container.state = ContainerState::Running { started_at };
        container.ports = ports;
        container.ip = (!container.host_network && container.joined.is_none()).then_some(own);
        if let Some(Life::Ends(exit_code)) = self.life(id) {
            self.end(id, exit_code);
        }
        Ok(())
    }

    /// What the process of this container does, when it does not run well for ever.
    fn life(&self, id: &ContainerId) -> Option<Life> {
        let owner = self.world.containers[id].ownership()?;
        self.lives.get(&owner.role.to_string()).copied()
    }

    /// Every probe that is due comes to its verdict.
    pub fn probe(&self, desired: &Desired, memory: &mut Memory) {
        let tasks = probe_tasks(desired, &self.observed(), memory).unwrap_or_default();
        for (id, kind) in tasks.into_keys() {
            let ok = self.life(&id) != Some(Life::Sick);
            let message = if ok { String::new() } else { "HTTP 500".to_owned() };
            memory.probed(&id, kind, ProbeVerdict { ok, message });
        }
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
        container.ip = None;
    }

    pub fn apply(&mut self, action: &Action) -> Outcome {
        match action {
            Action::Pull { image, .. } => {
                if self.missing_images.contains(image) {
                    let message = format!("manifest for {image} not found");
                    return Outcome::Failed { reason: skerry_terms::reasons::IMAGE_PULL_FAILED, message };
                }
                let means = self.registry.get(image).cloned().unwrap_or_else(|| image_of(image));
                self.world.images.insert(means.0.clone(), Some(means.clone()));
                self.world.images.insert(image.clone(), Some(means));
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
                if self.refuses_updates {
                    let message = "limits cannot be changed".to_owned();
                    return Outcome::Failed { reason: skerry_terms::reasons::UPDATE_FAILED, message };
                }
                let container = self.world.containers.get_mut(id).expect("it is there");
                assert!(container.state.is_alive(), "{} is changed while it does not run", container.name);
                container.resources = resources.normal(self.world.cores);
            }
            Action::Names { id, names } => {
                self.assert_ours(id);
                assert!(self.world.containers[id].state.is_alive(), "{id} does not run");
                self.hosts.insert(id.clone(), names.clone());
            }
            Action::Project(projection) => {
                self.files.insert(projection.app.clone(), projection.digest.clone());
                self.world.kept.insert(projection.app.clone());
            }
            Action::PostStart { name, .. } => {
                let id = self.id_of(name).unwrap_or_else(|| panic!("A5: {name} has a hook and is not there"));
                self.hooked.push(name.clone());
                if self.life(&id) == Some(Life::Hookless) {
                    let message = "exit code 1".to_owned();
                    return Outcome::Failed { reason: skerry_terms::reasons::POST_START_FAILED, message };
                }
            }
            // The list says of which app: see `carry_out`.
            Action::Discard => {}
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

    /// Executes one step of an app's list.
    pub fn carry_out(&mut self, app: &skerry_terms::AppKey, action: &Action) -> Outcome {
        let outcome = self.apply(action);
        if *action == Action::Discard {
            let left = self.world.containers.values().any(|c| c.ownership().is_some_and(|o| o.app == *app));
            assert!(!left, "the folders of {app} are removed under its containers");
            self.world.kept.remove(app);
            self.files.remove(app);
        }
        outcome
    }

    /// Executes a list as the executor does: each step is recorded, the first failure ends it, and it may be cut after `limit` steps.
    pub fn execute(
        &mut self,
        app: &skerry_terms::AppKey,
        actions: &[Action],
        memory: &mut Memory,
        limit: usize,
    ) {
        memory.dispatch(app, actions);
        for action in actions.iter().take(limit) {
            memory.begin(app, action.step());
            let outcome = self.carry_out(app, action);
            let failed = matches!(outcome, Outcome::Failed { .. });
            memory.record(app, &action.step(), outcome, self.now);
            if failed {
                break;
            }
        }
        memory.finish(app);
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
