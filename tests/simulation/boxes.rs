//! The boxes: a disk, a Docker (the planner's model) and an agent, which is the real cores with a shell that looks, works and writes when a step
//! says so. What must hold of a box at every moment is checked here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use skerry_agent_core::{
    Action, ContainerId, ContainerState, Decided, Desired, DesiredApp, Effect, Fault, Held, Host, Input,
    Memory, Notes, Observed, Outcome, Outgoing, Plan, Role, Session, SetCaps, SpecHash, Switch, Trials,
    Wanted, plan, report,
};
use skerry_terms::{AppKey, Digest, Generation, NodeName, PayloadSet, reasons};

use crate::content;
use crate::model::Site;

const CAPS: SetCaps = SetCaps { apps: 16, bytes: 4096 };

/// What is on disk.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    pub held: Option<Held>,
    notes: Notes,
}

/// A box.
#[derive(Debug)]
pub struct Edge {
    pub name: NodeName,
    pub site: Site,
    pub docker_up: bool,
    pub disk: Stored,
    pub disk_broken: bool,
    pub corrupt: bool,
    /// Absent while it is down.
    pub agent: Option<Agent>,
    pub link: Option<u64>,
    /// A container of somebody else, which nobody may touch.
    foreign: ContainerId,
}

/// An agent's process: what it loses when it is killed.
#[derive(Debug)]
pub struct Agent {
    session: Session,
    trials: Trials,
    desired: Option<Arc<Desired>>,
    memory: Memory,
    observed: Option<Observed>,
    /// The look under way: the set that it was made for, what it saw, and the apps whose lists had ended before.
    look: Option<(Arc<Desired>, Observed, Vec<AppKey>)>,
    look_wanted: bool,
    fresh: bool,
    /// The lists under way, and whether the app has changed since.
    lists: BTreeMap<AppKey, (VecDeque<Action>, bool)>,
    /// Apps whose list has ended since the last look began.
    left: Vec<AppKey>,
    writing: Option<(Stored, Option<Generation>)>,
    set_waits: Option<Held>,
    notes_wait: bool,
}

/// What the world knows and a box does not: which sets were ever sent, and by which word of a person or none.
#[derive(Debug, Default)]
pub struct Sent {
    sets: BTreeSet<(String, Digest)>,
    past: BTreeSet<(String, Digest)>,
}

impl Sent {
    pub fn note(&mut self, generation: &Generation, digest: Digest, accept_past: bool) {
        self.sets.insert((generation.to_string(), digest));
        if accept_past {
            self.past.insert((generation.to_string(), digest));
        }
    }
}

/// What leaves a box.
#[derive(Debug)]
pub enum Said {
    Frame(Outgoing),
    /// It ends its link.
    Close,
}

impl Edge {
    pub fn new(name: NodeName) -> Result<Self> {
        let mut site = Site::at(1000);
        site.world.cores = 2;
        let foreign = ContainerId(format!("{:f>64}", "oreign"));
        let container = skerry_agent_core::ObservedContainer {
            name: "somebody-elses".to_owned(),
            owner: skerry_agent_core::Owner::Foreign,
            image: None,
            state: ContainerState::Running { started_at: skerry_agent_core::WallMillis(7) },
            ports: Vec::new(),
            host_network: false,
            joined: None,
            ip: None,
            resources: Default::default(),
            devices: BTreeMap::new(),
        };
        site.world.containers.insert(foreign.clone(), container);
        site.lives.extend(content::ill());
        Ok(Self {
            name,
            site,
            docker_up: true,
            disk: Stored::default(),
            disk_broken: false,
            corrupt: false,
            agent: None,
            link: None,
            foreign,
        })
    }

    /// Starts the agent from what is on disk.
    pub fn start(&mut self) -> Result<()> {
        if self.agent.is_some() {
            return Ok(());
        }
        if std::mem::take(&mut self.corrupt) {
            // Kept aside, and never taken for the empty set: with nothing held, nothing is planned.
            self.disk = Stored::default();
        }
        let Stored { held, notes } = self.disk.clone();
        let mut agent = Agent {
            session: Session::new(held, CAPS),
            trials: Trials::recall(notes),
            desired: None,
            memory: Memory::default(),
            observed: None,
            look: None,
            look_wanted: true,
            fresh: false,
            lists: BTreeMap::new(),
            left: Vec::new(),
            writing: None,
            set_waits: None,
            notes_wait: false,
        };
        agent.enforce(&self.name)?;
        agent.begin_write();
        self.agent = Some(agent);
        Ok(())
    }

    pub fn crash(&mut self, wrote: bool) {
        let Some(agent) = self.agent.take() else { return };
        if let (Some((stored, _)), true, false) = (agent.writing, wrote, self.disk_broken) {
            self.disk = stored;
        }
    }

    /// Gives an input to the session, and does what it says.
    pub fn input(&mut self, input: Input, sent: &Sent) -> Result<Vec<Said>> {
        let Some(agent) = &mut self.agent else { return Ok(Vec::new()) };
        let before = agent.session.held().cloned();
        let mut said = Vec::new();
        for effect in agent.session.handle(input) {
            match effect {
                Effect::Send(outgoing) => {
                    if let Outgoing::Ack {
                        generation,
                        digest,
                        outcome: skerry_agent_core::AckOutcome::Adopted,
                        ..
                    } = &outgoing
                    {
                        let stored = self.disk.held.as_ref().map(|held| (&held.generation, held.digest()));
                        ensure!(
                            stored == Some((generation, *digest)),
                            "A10: {generation} was acknowledged and is not stored"
                        );
                    }
                    said.push(Said::Frame(outgoing));
                }
                Effect::Persist(held) => {
                    ensure!(agent.set_waits.is_none(), "two sets wait for the disk");
                    let whole = sent.sets.contains(&(held.generation.to_string(), held.digest()));
                    ensure!(whole, "a set that nobody sent is stored: {}", held.generation);
                    agent.set_waits = Some(held);
                }
                Effect::Adopt(held) => {
                    ensure!(self.disk.held.as_ref() == Some(&held), "A10: acted upon before it was stored");
                    agent.enforce(&self.name)?;
                }
                Effect::Close { .. } => said.push(Said::Close),
            }
        }
        agent.begin_write();
        if let (Some(before), Some(after)) = (before, agent.session.held()) {
            let same = before.generation == after.generation;
            let past = sent.past.contains(&(after.generation.to_string(), after.digest()));
            ensure!(
                same || past || after.generation.is_newer_than(&before.generation),
                "A8: {} replaced {}",
                after.generation,
                before.generation
            );
            ensure!(!same || before == *after, "one generation with two contents: {}", after.generation);
        }
        Ok(said)
    }

    /// The disk answers.
    pub fn disk(&mut self, sent: &Sent) -> Result<Vec<Said>> {
        let Some(agent) = &mut self.agent else { return Ok(Vec::new()) };
        let Some((stored, set)) = agent.writing.take() else { return Ok(Vec::new()) };
        let input = match (self.disk_broken, set) {
            (false, set) => {
                (self.disk, self.corrupt) = (stored, false);
                set.map(|generation| Input::Persisted { generation })
            }
            (true, Some(_)) => Some(Input::PersistFailed { why: "no space left".to_owned() }),
            (true, None) => None,
        };
        let Some(input) = input else {
            agent.begin_write();
            return Ok(Vec::new());
        };
        // The next write is of what is held then: it begins after the session has heard.
        self.input(input, sent)
    }

    /// Begins a look, or ends the one that was begun: then follow plan, lists and report.
    pub fn look(&mut self, sent: &Sent) -> Result<Vec<Said>> {
        let Some(agent) = &mut self.agent else { return Ok(Vec::new()) };
        let Some((desired, observed, covered)) = agent.look.take() else {
            if let Some(desired) = agent.desired.clone() {
                let observed = match self.docker_up {
                    true => self.site.observed(),
                    false => Observed::Unknown { why: "docker does not answer".to_owned() },
                };
                agent.look = Some((desired, observed, std::mem::take(&mut agent.left)));
                agent.look_wanted = false;
            }
            return Ok(Vec::new());
        };
        covered.iter().for_each(|app| agent.memory.finish(app));
        if agent.observed.is_none() {
            agent.memory.assume_ready(&observed);
        }
        agent.memory.note(&desired, &observed, self.site.now);
        agent.observed = Some(observed.clone());
        agent.fresh = agent.desired.as_ref().is_some_and(|now| Arc::ptr_eq(now, &desired));
        let Some(plan) = agent.plan(&self.name, self.site.now)? else { return Ok(Vec::new()) };
        if agent.fresh {
            for (app, app_plan) in &plan.apps {
                check_plan(&desired, &observed, app, &app_plan.actions)?;
                agent.dispatch(app, app_plan.actions.clone());
            }
        }
        agent.begin_write();
        self.report(&plan, sent)
    }

    fn report(&mut self, plan: &Plan, sent: &Sent) -> Result<Vec<Said>> {
        let Some(agent) = &mut self.agent else { return Ok(Vec::new()) };
        let mut statuses = report(plan);
        statuses.iter_mut().for_each(|status| agent.trials.amend(status));
        self.input(Input::Status(statuses), sent)
    }

    /// Time has passed, or something else happened that a plan on the last look may make something of.
    pub fn plan_again(&mut self, sent: &Sent) -> Result<Vec<Said>> {
        let Some(agent) = &mut self.agent else { return Ok(Vec::new()) };
        let Some(plan) = agent.plan(&self.name, self.site.now)? else { return Ok(Vec::new()) };
        if plan.apps.values().any(|app| !app.actions.is_empty()) {
            agent.look_wanted = true;
        }
        agent.begin_write();
        self.report(&plan, sent)
    }

    /// The executor takes the next step of one of the lists.
    pub fn work(&mut self, list: usize) -> Result<()> {
        let Some(agent) = &mut self.agent else { return Ok(()) };
        let count = agent.lists.len();
        let Some(app) = agent.lists.keys().nth(list.checked_rem(count).unwrap_or_default()).cloned() else {
            return Ok(());
        };
        let Some((actions, outdated)) = agent.lists.get_mut(&app) else { return Ok(()) };
        let outdated = *outdated;
        let action = actions.pop_front();
        // A pull is broken off; all else of a list is carried out, as it was meant.
        let action = action.filter(|action| !(outdated && matches!(action, Action::Pull { .. })));
        let Some(action) = action else {
            agent.leave(&app);
            return Ok(());
        };
        agent.memory.begin(&app, action.step());
        if !self.docker_up {
            // Whether the engine is there, the next look tells.
            agent.leave(&app);
            return Ok(());
        }
        if !outdated && let Some(desired) = &agent.desired {
            check_action(desired, &self.site, &app, &action)?;
        }
        let outcome = match refusal(&self.site, &action) {
            Some(outcome) => outcome,
            None => self.site.carry_out(&app, &action),
        };
        let failed = outcome != Outcome::Done;
        agent.memory.record(&app, &action.step(), outcome, self.site.now);
        if failed || agent.lists.get(&app).is_some_and(|(actions, _)| actions.is_empty()) {
            agent.leave(&app);
        }
        Ok(())
    }

    /// What must hold of a box whatever happens.
    pub fn check(&self) -> Result<()> {
        let foreign = self.site.world.containers.get(&self.foreign);
        ensure!(
            foreign.is_some_and(|container| container.state.is_alive()),
            "A3: a foreign container is gone"
        );
        let mut alive: BTreeMap<(&AppKey, &Role, Option<&SpecHash>), &ContainerId> = BTreeMap::new();
        for (id, container) in &self.site.world.containers {
            if let Some(owner) = container.ownership().filter(|_| container.state.is_alive()) {
                let key = (&owner.app, &owner.role, owner.hash.as_ref());
                if let Some(other) = alive.insert(key, id) {
                    bail!("{other} and {id} are the same container of {}", owner.app);
                }
            }
        }
        let Some(agent) = &self.agent else { return Ok(()) };
        ensure!(
            agent.session.held() == self.disk.held.as_ref() || agent.session.held().is_none(),
            "what is in force is not what is on disk"
        );
        Ok(())
    }

    pub fn wake_at(&self) -> Option<skerry_agent_core::Monotonic> {
        let agent = self.agent.as_ref()?;
        let desired = agent.desired.as_ref()?;
        let observed = agent.observed.as_ref()?;
        let planned = plan(desired, observed, &agent.memory, self.site.now).wake_at;
        [planned, agent.trials.wake_at(desired)].into_iter().flatten().min()
    }

    /// Something is under way that needs no time.
    pub fn is_busy(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| {
            let look = agent.look.is_some() || (agent.look_wanted && agent.desired.is_some());
            look || !agent.lists.is_empty() || agent.writing.is_some()
        })
    }

    pub fn world_changed(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.look_wanted = true;
        }
    }

    /// The containers that run, by app and role, with the hash of their spec.
    pub fn running(&self) -> BTreeSet<(AppKey, Role, Option<SpecHash>)> {
        let owners = self.site.world.containers.values().filter(|container| container.state.is_alive());
        owners
            .filter_map(|container| container.ownership())
            .map(|owner| (owner.app.clone(), owner.role.clone(), owner.hash.clone()))
            .collect()
    }

    /// What the box would run if it followed `set`, as far as trials let it.
    pub fn due(&self, set: &PayloadSet) -> Result<BTreeSet<(AppKey, Role, Option<SpecHash>)>> {
        let mut due = BTreeSet::new();
        let fallbacks = self.agent.as_ref().map(|agent| agent.trials.fallbacks()).unwrap_or_default();
        for (key, payload) in set {
            let DesiredApp::Valid(app) = content::desired_app(key, fallbacks.get(key).unwrap_or(payload))?
            else {
                continue;
            };
            for container in app.containers() {
                let (role, hash) =
                    (Role::Container(container.name.clone()), SpecHash::of_container(&app, container));
                due.insert((key.clone(), role, Some(hash)));
            }
            if app.has_sandbox() {
                due.insert((key.clone(), Role::Sandbox, Some(SpecHash::of_sandbox(&app))));
            }
        }
        Ok(due)
    }

    /// The apps whose wanted revision was tried in vain.
    pub fn rolled_back(&self) -> BTreeSet<AppKey> {
        let fallbacks = self.agent.as_ref().map(|agent| agent.trials.fallbacks());
        fallbacks.into_iter().flat_map(PayloadSet::into_keys).collect()
    }
}

impl Agent {
    pub fn held(&self) -> Option<&Held> {
        self.session.held()
    }

    /// Brings in force what is held, as trials leave it.
    fn enforce(&mut self, node: &NodeName) -> Result<()> {
        let Some(held) = self.session.held() else {
            self.desired = None;
            return Ok(());
        };
        let mut apps = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        for (key, payload) in &held.set {
            let app = content::desired_app(key, payload)?;
            let (revision, fault) = match &app {
                DesiredApp::Valid(app) => (app.revision.clone(), None),
                DesiredApp::Unsupported { revision, why } | DesiredApp::Refused { revision, why } => {
                    (revision.clone(), Some(Fault { reason: reasons::UNSUPPORTED, why: why.clone() }))
                }
            };
            let print = Digest::of(&[(key.clone(), payload.clone())].into());
            wanted.insert(key.clone(), Wanted { payload: payload.clone(), print, revision, fault });
            apps.insert(key.clone(), app);
        }
        self.notes_wait |= self.trials.follow(wanted);
        for (key, payload) in self.trials.fallbacks() {
            apps.insert(key.clone(), content::desired_app(&key, &payload)?);
        }
        let new = Desired {
            node: node.clone(),
            apps,
            complete: true,
            retired: BTreeSet::new(),
            host: Host::default(),
            images: self.trials.images(),
        };
        if let (Some(before), Some(observed)) = (&self.desired, &self.observed) {
            self.memory.supersede(before, observed);
        }
        for (app, (_, outdated)) in &mut self.lists {
            let before = self.desired.as_ref().and_then(|before| before.apps.get(app));
            *outdated |= before != new.apps.get(app);
        }
        (self.desired, self.fresh, self.look_wanted) = (Some(Arc::new(new)), false, true);
        Ok(())
    }

    fn plan(&mut self, node: &NodeName, now: skerry_agent_core::Monotonic) -> Result<Option<Plan>> {
        let (Some(desired), Some(observed)) = (self.desired.clone(), self.observed.clone()) else {
            return Ok(None);
        };
        let first = plan(&desired, &observed, &self.memory, now);
        ensure!(first.wake_at.is_none_or(|wake| wake > now), "A9: a wake in the past: {:?}", first.wake_at);
        if matches!(observed, Observed::Unknown { .. }) {
            let idle = first.apps.values().all(|app| app.actions.is_empty());
            ensure!(idle, "A6: something is done about a box that cannot be seen");
        }
        let Decided { rolled_back, noted } =
            self.trials.judge(&desired, &observed, &first, &self.memory, self.fresh, now);
        self.notes_wait |= noted;
        let wake = self.trials.wake_at(&desired);
        ensure!(wake.is_none_or(|wake| wake > now), "A9: a trial ended in the past: {wake:?}");
        if rolled_back.is_empty() {
            return Ok(Some(first));
        }
        self.enforce(node)?;
        let desired = self.desired.clone().unwrap_or(desired);
        Ok(Some(plan(&desired, &observed, &self.memory, now)))
    }

    fn dispatch(&mut self, app: &AppKey, actions: Vec<Action>) {
        if !actions.is_empty() && !self.lists.contains_key(app) {
            self.memory.dispatch(app, &actions);
            self.lists.insert(app.clone(), (actions.into(), false));
        }
    }

    fn leave(&mut self, app: &AppKey) {
        self.lists.remove(app);
        self.left.push(app.clone());
        self.look_wanted = true;
    }

    /// One write at a time, each of everything.
    fn begin_write(&mut self) {
        if self.writing.is_some() || (self.set_waits.is_none() && !self.notes_wait) {
            return;
        }
        self.notes_wait = false;
        let set = self.set_waits.take();
        let generation = set.as_ref().map(|held| held.generation.clone());
        let held = set.or_else(|| self.session.held().cloned());
        self.writing = Some((Stored { held, notes: self.trials.notes() }, generation));
    }
}

/// A4, as a plan must keep it: an app of which everything is as desired is in no list.
fn check_plan(desired: &Desired, observed: &Observed, app: &AppKey, actions: &[Action]) -> Result<()> {
    let (Some(DesiredApp::Valid(valid)), Observed::Known(world)) = (desired.apps.get(app), observed) else {
        return Ok(());
    };
    let alive = |role: &Role, hash: &SpecHash| {
        world.containers.values().any(|container| {
            let is_it = container
                .ownership()
                .is_some_and(|o| o.app == *app && o.role == *role && o.hash.as_ref() == Some(hash));
            is_it && container.state.is_alive()
        })
    };
    let of_app = world.containers.values().filter(|c| c.ownership().is_some_and(|o| o.app == *app)).count();
    let whole = valid.containers().len() + usize::from(valid.has_sandbox());
    let all = valid
        .containers()
        .iter()
        .all(|c| alive(&Role::Container(c.name.clone()), &SpecHash::of_container(valid, c)));
    let sandbox = !valid.has_sandbox() || alive(&Role::Sandbox, &SpecHash::of_sandbox(valid));
    // A sandbox that ended and was started again has a network that its members do not know.
    let may = |action: &Action| match action {
        Action::Names { .. } | Action::Project(_) | Action::Update { .. } => true,
        Action::Stop { .. } | Action::Remove { .. } | Action::Create(_) | Action::Start { .. } => {
            valid.has_sandbox()
        }
        Action::Pull { .. } | Action::PostStart { .. } | Action::Discard => false,
    };
    ensure!(
        !(all && sandbox && of_app == whole) || actions.iter().all(may),
        "A4: {app} is as desired and {actions:?} is planned"
    );
    Ok(())
}

/// A4, as the executor must keep it: no container is ended that is as desired, and none that still serves before its successor does.
fn check_action(desired: &Desired, site: &Site, app: &AppKey, action: &Action) -> Result<()> {
    let Action::Stop { ids, why, .. } = action else { return Ok(()) };
    let Some(DesiredApp::Valid(valid)) = desired.apps.get(app) else {
        ensure!(!desired.apps.contains_key(app), "what this agent does not understand is left alone: {app}");
        return Ok(());
    };
    if valid.has_sandbox() || *why == skerry_agent_core::Why::Superseded {
        return Ok(());
    }
    for owner in ids.iter().filter_map(|id| site.world.containers.get(id)?.ownership()) {
        let same = |c: &&skerry_agent_core::Container| {
            owner.role == Role::Container(c.name.clone())
                && owner.hash.as_ref() == Some(&SpecHash::of_container(valid, c))
        };
        ensure!(
            !valid.containers().iter().any(|c| same(&c)),
            "A4: {app} is stopped and is as desired: {why:?}"
        );
        if valid.switch == Switch::StartFirst && valid.is_side_by_side() {
            let next = |c: &skerry_agent_core::Container| {
                site.world.containers.values().any(|running| {
                    running.state.is_alive()
                        && running.ownership().is_some_and(|o| o.app == *app && same_as(o, valid, c))
                })
            };
            ensure!(valid.containers().iter().all(next), "{app} is stopped before its successor runs");
        }
    }
    Ok(())
}

fn same_as(
    owner: &skerry_agent_core::Ownership,
    app: &skerry_agent_core::ValidApp,
    container: &skerry_agent_core::Container,
) -> bool {
    owner.role == Role::Container(container.name.clone())
        && owner.hash.as_ref() == Some(&SpecHash::of_container(app, container))
}

/// What a real Docker refuses because the box has changed since the look; the model takes that for a mistake of the planner.
fn refusal(site: &Site, action: &Action) -> Option<Outcome> {
    let failed = |reason| Some(Outcome::Failed { reason, message: "the box has changed".to_owned() });
    let alive = |name: &str| {
        site.id_of(name).is_some_and(|id| site.world.containers.get(&id).is_some_and(|c| c.state.is_alive()))
    };
    match action {
        Action::Start { name, .. } => {
            let joined = site.id_of(name).and_then(|id| site.world.containers.get(&id)?.joined.clone());
            if joined.is_some_and(|joined| !alive(&joined)) { failed(reasons::START_FAILED) } else { None }
        }
        Action::Names { id, .. } | Action::Update { id, .. } if !alive(&id.0) => {
            failed(reasons::MOUNT_FAILED)
        }
        Action::Pull { .. }
        | Action::Project(_)
        | Action::Create(_)
        | Action::PostStart { .. }
        | Action::Update { .. }
        | Action::Names { .. }
        | Action::Stop { .. }
        | Action::Remove { .. }
        | Action::Discard => None,
    }
}
