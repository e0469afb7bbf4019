//! An engine in memory: a state that the calls change, and a script of faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use skerry_agent::engine::{Engine, EngineError, Ran, Signal, Storeroom};
use skerry_agent_core::housekeeping::{Removal, StoredImage};
use skerry_agent_core::{
    ContainerId, ContainerState, CreateSpec, Desired, Hook, HostPort, ImageId, Join, Observed,
    ObservedContainer, Owner, Ownership, PortClaim, Projection, RegistryAuth, Resources, WallMillis, World,
    images_to_inspect,
};
use skerry_terms::{AppKey, NodeName};
use tokio::sync::{mpsc, watch};

/// What the next matching call does instead of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The call is refused with these words.
    Refuse(&'static str),
    /// The engine is gone when the call comes.
    Lost,
    /// The call does not end.
    Hang,
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<ContainerId, Entry>,
    /// What names mean.
    images: BTreeMap<String, ImageId>,
    /// Every image that is there, also where no name means it.
    bits: BTreeSet<ImageId>,
    /// Images that a pull finds.
    registry: BTreeMap<String, ImageId>,
    /// Pins, by the id of their container.
    pins: BTreeMap<ContainerId, ImageId>,
    /// Apps that keep something beside containers.
    kept: BTreeSet<AppKey>,
    faults: VecDeque<(&'static str, Fault)>,
    /// Commands that end with exit code 1; all others succeed.
    sick: BTreeSet<String>,
    /// Every call but looks, as `verb subject`.
    calls: Vec<String>,
    looks: usize,
    next_id: u64,
    /// The engine's own time.
    millis: i64,
}

#[derive(Debug, Clone)]
struct Entry {
    container: ObservedContainer,
    /// What it publishes while it runs.
    publishes: Vec<PortClaim>,
}

/// Cloning shares the state, as two clients share one daemon.
#[derive(Debug, Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    up: watch::Sender<bool>,
    changes: watch::Sender<u64>,
}

fn refused(message: impl Into<String>) -> EngineError {
    EngineError::Refused { message: message.into() }
}

impl Fake {
    pub fn new() -> Self {
        Self { state: Arc::default(), up: watch::Sender::new(true), changes: watch::Sender::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn has_image(&self, image: &str) {
        self.state().load(image, ImageId(format!("sha256:{image}")));
        self.changed();
    }

    pub fn registry_has(&self, image: &str) {
        self.registry_means(image, &format!("sha256:{image}"));
    }

    /// From now on this name means this image at the registry.
    pub fn registry_means(&self, image: &str, id: &str) {
        self.state().registry.insert(image.to_owned(), ImageId(id.to_owned()));
    }

    /// The images that pins hold.
    pub fn pinned(&self) -> Vec<ImageId> {
        self.state().pins.values().cloned().collect()
    }

    /// `docker container prune`.
    pub fn prune_containers(&self) {
        {
            let mut state = self.state();
            state.containers.retain(|_, entry| entry.container.state.is_alive());
            state.pins.clear();
        }
        self.changed();
    }

    /// `docker image prune -a`.
    pub fn prune_images(&self) {
        {
            let mut state = self.state();
            let containers = state.containers.values().filter_map(|entry| entry.container.image.clone());
            let used: BTreeSet<ImageId> = containers.chain(state.pins.values().cloned()).collect();
            state.bits.retain(|image| used.contains(image));
            state.images.retain(|_, image| used.contains(image));
        }
        self.changed();
    }

    /// The registry is gone for this image.
    pub fn registry_forgets(&self, image: &str) {
        self.state().registry.remove(image);
    }

    /// What the running containers were created from.
    pub fn running_images(&self) -> Vec<Option<ImageId>> {
        let state = self.state();
        let alive = state.containers.values().filter(|entry| entry.container.state.is_alive());
        alive.map(|entry| entry.container.image.clone()).collect()
    }

    /// The next call with this verb has this fault.
    pub fn fault(&self, verb: &'static str, fault: Fault) {
        self.state().faults.push_back((verb, fault));
    }

    /// From now on this command fails, or works again.
    pub fn set_sick(&self, command: &str, sick: bool) {
        match sick {
            true => self.state().sick.insert(command.to_owned()),
            false => self.state().sick.remove(command),
        };
    }

    /// A container of nobody's, with its name for an id.
    pub fn runs(&self, name: &str) {
        let container = ObservedContainer {
            name: name.to_owned(),
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
        let entry = Entry { container, publishes: Vec::new() };
        self.state().containers.insert(ContainerId(name.to_owned()), entry);
        self.changed();
    }

    pub fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }

    /// The calls since the last time this was asked, looks left out.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    /// How often it was looked at, in all.
    pub fn looks(&self) -> usize {
        self.state().looks
    }

    /// Names of the running containers, with their ids.
    pub fn running(&self) -> Vec<(String, ContainerId)> {
        let state = self.state();
        let alive = state.containers.iter().filter(|(_, entry)| entry.container.state.is_alive());
        alive.map(|(id, entry)| (entry.container.name.clone(), id.clone())).collect()
    }

    pub fn count(&self) -> usize {
        self.state().containers.len()
    }

    /// A running container ends by itself.
    pub fn exit(&self, name: &str, exit_code: i64) {
        {
            let mut state = self.state();
            let now = state.tick();
            let entry = state.by_name(name).expect("such a container");
            entry.end(exit_code, now);
        }
        self.changed();
    }

    async fn begin(&self, verb: &'static str, subject: &str) -> Result<(), EngineError> {
        let fault = {
            let mut state = self.state();
            state.calls.push(format!("{verb} {subject}"));
            let at = state.faults.iter().position(|(of, _)| *of == verb);
            at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault)
        };
        match fault {
            None if *self.up.borrow() => Ok(()),
            None | Some(Fault::Lost) => {
                Err(EngineError::Unavailable { message: "the fake is down".to_owned() })
            }
            Some(Fault::Refuse(words)) => Err(refused(words)),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

impl State {
    fn tick(&mut self) -> WallMillis {
        self.millis += 1;
        WallMillis(self.millis)
    }

    fn by_name(&mut self, name: &str) -> Option<&mut Entry> {
        self.containers.values_mut().find(|entry| entry.container.name == name)
    }

    fn load(&mut self, name: &str, image: ImageId) {
        self.bits.insert(image.clone());
        self.images.insert(name.to_owned(), image);
    }

    /// The image that a name or an id means.
    fn image(&self, reference: &str) -> Option<ImageId> {
        let by_id = self.bits.get(&ImageId(reference.to_owned()));
        by_id.or_else(|| self.images.get(reference)).cloned()
    }

    fn port_holder(&self, wanted: &[PortClaim]) -> Option<HostPort> {
        let held = || self.containers.values().flat_map(|entry| entry.container.ports.iter());
        wanted.iter().map(|claim| claim.0).find(|port| held().any(|held| held.0.overlaps(port)))
    }
}

impl Entry {
    fn end(&mut self, exit_code: i64, finished_at: WallMillis) {
        let started_at = self.container.state.started_at().expect("it ran");
        self.container.state = ContainerState::Exited {
            exit_code,
            oom_killed: false,
            started_at,
            finished_at,
            error: String::new(),
            message: String::new(),
        };
        self.container.ports.clear();
        self.container.ip = None;
    }
}

impl Engine for Fake {
    async fn observe(&self, desired: Arc<Desired>) -> Observed {
        if !*self.up.borrow() {
            return Observed::Unknown { why: "the fake is down".to_owned() };
        }
        let mut state = self.state();
        state.looks += 1;
        let containers: BTreeMap<_, _> =
            state.containers.iter().map(|(id, entry)| (id.clone(), entry.container.clone())).collect();
        let wanted = images_to_inspect(&desired, &containers);
        let images = wanted.into_iter().map(|image| (image.clone(), state.image(&image))).collect();
        let (kept, pins) = (state.kept.clone(), state.pins.clone());
        Observed::Known(World { containers, images, kept, pins, ..World::default() })
    }

    async fn pull(&self, image: &str, _auths: &[RegistryAuth]) -> Result<(), EngineError> {
        self.begin("pull", image).await?;
        let mut state = self.state();
        let Some(id) = state.registry.get(image).cloned() else {
            return Err(refused(format!("manifest for {image} not found")));
        };
        state.load(image, id);
        drop(state);
        self.changed();
        Ok(())
    }

    async fn create(&self, spec: &CreateSpec) -> Result<(), EngineError> {
        self.begin("create", &spec.name).await?;
        {
            let mut state = self.state();
            let owner = Owner::Ours(Ownership {
                app: spec.app.clone(),
                role: spec.role.clone(),
                revision: spec.revision.clone(),
                hash: Some(spec.hash.clone()),
                restart_count: spec.restart_count,
                stop_rank: spec.stop_rank,
            });
            if let Some(found) = state.by_name(&spec.name) {
                return match found.container.owner == owner {
                    true => Ok(()),
                    false => Err(refused(format!("Conflict. The name {} is in use", spec.name))),
                };
            }
            let image = match &spec.image {
                None => None,
                Some(reference) => Some(
                    state.image(reference).ok_or_else(|| refused(format!("No such image: {reference}")))?,
                ),
            };
            let joined = match &spec.join {
                Join::Container { name } => {
                    let by_name = state
                        .containers
                        .iter()
                        .find(|(id, entry)| id.0 == *name || entry.container.name == *name);
                    Some(by_name.map(|(id, _)| id.0.clone()).ok_or_else(|| refused("No such container"))?)
                }
                Join::Host(_) | Join::Bridge(_) => None,
            };
            let publishes = spec.ports.iter().filter_map(|port| {
                Some(PortClaim(HostPort { protocol: port.protocol, port: port.host_port?, ip: port.host_ip }))
            });
            state.next_id += 1;
            let id = ContainerId(format!("{:064x}", state.next_id));
            let container = ObservedContainer {
                name: spec.name.clone(),
                owner,
                image,
                state: ContainerState::Created,
                ports: Vec::new(),
                host_network: matches!(spec.join, Join::Host(_)),
                joined,
                ip: None,
                resources: spec.resources,
                devices: spec.devices.iter().map(|(name, (count, _))| (name.clone(), *count)).collect(),
            };
            if spec.termination_message.is_some() || !spec.mounts.is_empty() {
                state.kept.insert(spec.app.clone());
            }
            state.containers.insert(id, Entry { container, publishes: publishes.collect() });
        }
        self.changed();
        Ok(())
    }

    async fn start(&self, name: &str) -> Result<(), EngineError> {
        self.begin("start", name).await?;
        {
            let mut state = self.state();
            let now = state.tick();
            let Some(entry) = state.by_name(name).cloned() else {
                return Err(refused(format!("No such container: {name}")));
            };
            if entry.container.state.is_alive() {
                return Ok(());
            }
            if let Some(port) = state.port_holder(&entry.publishes) {
                let message =
                    format!("port {} of the node is held by another process or container", port.port);
                return Err(EngineError::PortTaken { message });
            }
            let entry = state.by_name(name).expect("found before");
            entry.container.state = ContainerState::Running { started_at: now };
            entry.container.ports.clone_from(&entry.publishes);
            if entry.container.joined.is_none() && !entry.container.host_network {
                let [.., third, fourth] = now.0.to_be_bytes();
                entry.container.ip = Some(IpAddr::from([172, 17, third, fourth]));
            }
        }
        self.changed();
        Ok(())
    }

    async fn stop(&self, id: &ContainerId, _grace: Option<Duration>) -> Result<(), EngineError> {
        self.begin("stop", &id.to_string()).await?;
        {
            let mut state = self.state();
            let now = state.tick();
            match state.containers.get_mut(id) {
                Some(entry) if entry.container.state.is_alive() => entry.end(137, now),
                Some(_) | None => return Ok(()),
            }
        }
        self.changed();
        Ok(())
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), EngineError> {
        self.begin("remove", &id.to_string()).await?;
        let alive = self.state().containers.get(id).is_some_and(|entry| entry.container.state.is_alive());
        if alive {
            return Err(refused(format!("cannot remove container {id}: it is running")));
        }
        self.state().containers.remove(id);
        self.changed();
        Ok(())
    }

    async fn project(&self, projection: &Projection) -> Result<(), EngineError> {
        self.begin("project", &projection.app.to_string()).await?;
        self.state().kept.insert(projection.app.clone());
        Ok(())
    }

    async fn hook(&self, name: &str, _hook: &Hook) -> Result<(), EngineError> {
        self.begin("hook", name).await?;
        let runs = self.state().by_name(name).is_some_and(|entry| entry.container.state.is_alive());
        if runs { Ok(()) } else { Err(refused(format!("container {name} is not running"))) }
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        _timeout: Duration,
    ) -> Result<Ran, EngineError> {
        self.begin("exec", &command.join(" ")).await?;
        let state = self.state();
        match state.containers.get(id) {
            Some(entry) if entry.container.state.is_alive() => {
                let exit_code = i64::from(state.sick.contains(&command.join(" ")));
                Ok(Ran { exit_code, output: String::new() })
            }
            Some(_) | None => Err(refused(format!("container {id} is not running"))),
        }
    }

    async fn update(&self, id: &ContainerId, resources: &Resources) -> Result<(), EngineError> {
        self.begin("update", &id.to_string()).await?;
        match self.state().containers.get_mut(id) {
            Some(entry) => entry.container.resources = *resources,
            None => return Err(refused(format!("No such container: {id}"))),
        }
        self.changed();
        Ok(())
    }

    async fn names(&self, id: &ContainerId, _names: &BTreeMap<String, IpAddr>) -> Result<(), EngineError> {
        self.begin("names", &id.to_string()).await?;
        let runs = self.state().containers.get(id).is_some_and(|entry| entry.container.state.is_alive());
        if runs { Ok(()) } else { Err(refused(format!("container {id} has no /etc/hosts: it does not run"))) }
    }

    async fn discard(&self, app: &AppKey) -> Result<(), EngineError> {
        self.begin("discard", &app.to_string()).await?;
        self.state().kept.remove(app);
        Ok(())
    }

    async fn watch(&self, signals: mpsc::Sender<Signal>) {
        let (mut up, mut changes) = (self.up.subscribe(), self.changes.subscribe());
        let mut was = None;
        loop {
            let is = *up.borrow_and_update();
            let signal = match is {
                true => Signal::Up { version: "fake".to_owned() },
                false => Signal::Down { why: "the fake is down".to_owned() },
            };
            if was != Some(is) && signals.send(signal).await.is_err() {
                return;
            }
            was = Some(is);
            tokio::select! {
                Ok(()) = up.changed() => {}
                Ok(()) = changes.changed() => {
                    if signals.send(Signal::Changed).await.is_err() {
                        return;
                    }
                }
                () = signals.closed() => return,
            }
            // As on a real daemon, an event takes a moment.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Storeroom for Fake {
    async fn root(&self) -> Result<PathBuf, EngineError> {
        Ok("/".into())
    }

    fn pulled(&self) -> BTreeMap<ImageId, String> {
        BTreeMap::new()
    }

    async fn images(&self) -> Result<Vec<StoredImage>, EngineError> {
        Ok(Vec::new())
    }

    async fn remove_image(&self, _removal: &Removal) -> Result<bool, EngineError> {
        Ok(true)
    }

    async fn pin(&self, _node: &NodeName, image: &ImageId) -> Result<(), EngineError> {
        {
            let mut state = self.state();
            if !state.bits.contains(image) {
                return Err(refused(format!("No such image: {}", image.0)));
            }
            state.pins.insert(ContainerId(format!("pin-{}", image.0)), image.clone());
        }
        self.changed();
        Ok(())
    }

    async fn unpin(&self, _: &NodeName, container: &ContainerId, _: &ImageId) -> Result<(), EngineError> {
        self.state().pins.remove(container);
        self.changed();
        Ok(())
    }
}
