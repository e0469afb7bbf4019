//! The owner of all state: what is desired, observed and remembered. Everything that happens arrives here as one [`Event`]; `apply` changes
//! the state and never waits; `settle` starts what follows from it. The decisions are the core's: [`plan`] and [`Session`].
//!
//! Architecture Invariant: with no desired state (nothing was ever received, or what was stored is corrupt) the planner does not run and
//! no container is touched.

mod link;
mod look;
mod probing;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skerry_agent_core::{
    Action, Desired, Effect, Held, Host, Input, Memory, Monotonic, Observed, Outcome, Plan, Session, Step,
    World, plan, report,
};
use skerry_proto::wire;
use skerry_terms::{AppKey, Chain, NodeName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::decode::{self, Decoded};
use crate::engine::execute::{Lost, Progress, Stops, execute};
use crate::engine::{Engine, Signal};
use crate::probes::{self, Probed};
use crate::store::Store;
use crate::uplink::LinkEvent;
use link::Link;
use look::Looks;

pub use link::Greeting;
pub use sources::{Sources, Taps, sources};

/// Everything that can happen.
#[derive(Debug)]
pub enum Event {
    Engine(Signal),
    Executor(Progress),
    /// A probe has come to a verdict, or to another one than before.
    Probed(Probed),
    Uplink(LinkEvent),
    /// A look has ended. `desired` is the set that it was made for.
    Looked {
        desired: Arc<Desired>,
        observed: Observed,
    },
    /// The disk answered.
    Persisted(Input),
    /// The moment has come that a plan or a retry waited for.
    Wake,
    /// The agent is to end.
    End,
}

/// A list under way.
#[derive(Debug)]
struct List {
    /// Told to stop when the app's spec changes.
    outdated: CancellationToken,
    /// It was planned on a look that had not asked for its images.
    ahead: bool,
}

/// The agent's state, and how it gets at the world.
#[derive(Debug)]
pub struct Supervisor<E: Engine> {
    engine: Arc<E>,
    store: Arc<Store>,
    clock: Clock,
    taps: Taps,
    node: NodeName,
    session: Session,
    /// Absent: nothing is desired and nothing is undesired, so nothing is done.
    desired: Option<Arc<Desired>>,
    uids: BTreeMap<AppKey, String>,
    memory: Memory,
    /// The last look, or that there can be none.
    observed: Option<Observed>,
    looks: Looks,
    /// The lists under way.
    lists: BTreeMap<AppKey, List>,
    /// Steps that ended without an answer, until a look tells whether the engine is there.
    lost: BTreeMap<AppKey, Lost>,
    /// The step of each app that got no answer the last time, although the engine was there.
    lost_before: BTreeMap<AppKey, Step>,
    /// The probes that are to run, for the task that runs them.
    probing: watch::Sender<probes::Tasks>,
    /// False until the first look: what it shows ran before this agent.
    has_looked: bool,
    link: Link,
    /// When the last plan wants to be asked again.
    wake_at: Option<Monotonic>,
    /// Memory or observation changed: the report may have changed.
    report_due: bool,
    /// Cancelled when the first round is under way, so that containers start before the controller is dialled.
    pub first_round: CancellationToken,
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl<E: Engine> Supervisor<E> {
    /// `session` holds what was on disk, if anything was.
    pub fn new(engine: Arc<E>, store: Arc<Store>, session: Session, greeting: Greeting, taps: Taps) -> Self {
        let node = greeting.node.clone();
        let decoded = session.held().map(|held| decode::desired(&node, &Host::default(), &held.set));
        let first_round = CancellationToken::new();
        if decoded.is_none() {
            first_round.cancel();
        }
        let mut supervisor = Self {
            engine,
            store,
            clock: Clock::start(),
            taps,
            node,
            session,
            desired: None,
            uids: BTreeMap::new(),
            memory: Memory::default(),
            observed: None,
            looks: Looks::default(),
            lists: BTreeMap::new(),
            lost: BTreeMap::new(),
            lost_before: BTreeMap::new(),
            probing: watch::Sender::default(),
            has_looked: false,
            link: Link::new(greeting),
            wake_at: None,
            report_due: false,
            first_round,
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        if let Some(Decoded { desired, uids }) = decoded {
            (supervisor.desired, supervisor.uids) = (Some(Arc::new(desired)), uids);
        }
        supervisor
    }

    /// Works until an [`Event::End`], and then until every step that was begun has ended.
    pub async fn run(mut self, mut sources: Sources) {
        let probes = probes::run(self.engine.clone(), self.probing.subscribe(), self.taps.probed.clone());
        let probes = tokio::spawn(probes);
        while !self.ending.is_cancelled() {
            let wake = self.next_wake().map(|moment| self.clock.instant(moment));
            let event = sources.next(wake).await;
            self.apply(event);
            // What has piled up is taken in before anything is done about it.
            while let Some(event) = sources.ready() {
                self.apply(event);
            }
            self.settle();
        }
        probes.abort();
        self.tasks.close();
        // The steps under way tell of their end; nobody acts on it any more.
        tokio::select! {
            () = self.tasks.wait() => {}
            () = sources.discard() => {}
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Engine(signal) => self.signal(signal),
            Event::Executor(progress) => self.progress(progress),
            Event::Probed(probed) => self.probed(probed),
            Event::Uplink(event) => self.uplink(event),
            Event::Looked { desired, observed } => self.looked(&desired, observed),
            Event::Persisted(input) => self.input(input),
            Event::Wake => {
                self.wake_at = None;
                self.looks.want();
            }
            Event::End => {
                info!("ending: containers stay as they are");
                self.ending.cancel();
            }
        }
    }

    /// What follows from the state as it is now.
    fn settle(&mut self) {
        if self.ending.is_cancelled() {
            return;
        }
        if let Some(desired) = self.desired.clone()
            && self.looks.begin(self.clock.now())
        {
            let (engine, looked) = (self.engine.clone(), self.taps.looked.clone());
            self.tasks.spawn(async move {
                let observed = engine.observe(desired.clone()).await;
                let _ = looked.send((desired, observed)).await;
            });
        }
        let due = std::mem::take(&mut self.report_due);
        if due {
            self.reconcile_probes();
        }
        if due && let Some(plan) = self.plan() {
            self.report(&plan);
        }
        self.link.send_health_if_changed(&self.uids);
    }

    fn next_wake(&self) -> Option<Monotonic> {
        let retry = self.looks.retry_at();
        [self.wake_at, retry].into_iter().flatten().min()
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Up { version } => {
                info!("docker {version} answers");
                self.link.docker_is(true, version, String::new());
                self.looks.engine_up();
            }
            Signal::Changed => self.looks.want(),
            Signal::Down { why } => {
                warn!("{why}. Containers are kept as they are");
                self.looks.engine_down();
                self.lost.clear();
                self.lost_before.clear();
                self.cannot_see(why);
                self.first_round.cancel();
            }
        }
    }

    /// Nothing may be stopped or removed on the strength of what was seen before (A6).
    fn cannot_see(&mut self, why: String) {
        self.link.docker_is(false, String::new(), why.clone());
        self.observed = Some(Observed::Unknown { why });
        self.wake_at = None;
        self.report_due = true;
    }

    fn looked(&mut self, desired: &Arc<Desired>, observed: Observed) {
        for app in self.looks.ended() {
            self.memory.finish(&app);
        }
        if !self.looks.is_up() {
            // Already outdated. When the engine is back, a look is made anyway.
            return;
        }
        match &observed {
            Observed::Unknown { why } => {
                if self.looks.failed(self.clock.now()) {
                    warn!("cannot look at the containers: {why}; nothing is done until that works");
                }
                self.cannot_see(why.clone());
                self.first_round.cancel();
                return;
            }
            Observed::Known(_) => {
                if self.looks.succeeded() {
                    self.link.docker_is_back();
                }
            }
        }
        for (app, Lost { step, reason, message }) in std::mem::take(&mut self.lost) {
            // The engine answers. Once may be chance and is tried again at once; twice is a failure of this step.
            if self.lost_before.insert(app.clone(), step.clone()).as_ref() == Some(&step) {
                self.memory.record(&app, &step, Outcome::Failed { reason, message }, self.clock.now());
            }
        }
        if !std::mem::replace(&mut self.has_looked, true) {
            self.memory.assume_ready(&observed);
        }
        self.memory.note(desired, &observed, self.clock.now());
        self.observed = Some(observed);
        self.report_due = true;
        // A look for another set did not ask for the images of this one; the look that does is already wanted.
        if self.desired.as_ref().is_some_and(|current| Arc::ptr_eq(current, desired))
            && let Some(plan) = self.plan()
        {
            for (app, app_plan) in plan.apps {
                self.dispatch(app, app_plan.actions, false);
            }
            self.first_round.cancel();
        }
    }

    fn plan(&mut self) -> Option<Plan> {
        let (desired, observed) = (self.desired.as_ref()?, self.observed.as_ref()?);
        let plan = plan(desired, observed, &self.memory, self.clock.now());
        self.wake_at = plan.wake_at;
        Some(plan)
    }

    /// Starts an app's list as a task of its own.
    fn dispatch(&mut self, app: AppKey, actions: Vec<Action>, ahead: bool) {
        if actions.is_empty() {
            return;
        }
        // Already from now on, so that no second list is made before the first step is announced.
        self.memory.dispatch(&app, &actions);
        let outdated = CancellationToken::new();
        self.lists.insert(app.clone(), List { outdated: outdated.clone(), ahead });
        let stops = Stops { outdated, ending: self.ending.clone() };
        let (engine, tell) = (self.engine.clone(), self.taps.progress.clone());
        self.tasks.spawn(execute(engine, app, actions, stops, tell));
    }

    /// A new set is planned on the last look as far as nothing can be lost by it: what needs no container to be stopped is pulled, created
    /// and started at once. That spares the wait for a look; whether the images are there, Docker says when it creates the
    /// container. The rest waits for the look.
    fn plan_ahead(&mut self, changed: &BTreeSet<AppKey>) {
        let (true, Some(desired), Some(Observed::Known(world))) =
            (self.looks.is_current(), self.desired.as_ref(), self.observed.as_ref())
        else {
            return self.looks.want();
        };
        let unasked = World { images: BTreeMap::new(), listeners: BTreeSet::new(), ..world.clone() };
        let plan = plan(desired, &Observed::Known(unasked), &self.memory, self.clock.now());
        for (app, app_plan) in plan.apps {
            let ahead = changed.contains(&app) && app_plan.actions.iter().all(Action::only_adds);
            match app_plan.actions.is_empty() {
                true => {}
                false if ahead => self.dispatch(app, app_plan.actions, true),
                false => self.looks.want(),
            }
        }
        self.wake_at = plan.wake_at;
        self.report_due = true;
    }

    fn report(&mut self, plan: &Plan) {
        let statuses = report(plan);
        self.link.stamp(&statuses);
        self.input(Input::Status(statuses));
    }

    fn progress(&mut self, progress: Progress) {
        self.report_due = true;
        match progress {
            Progress::Began { app, step } => self.memory.begin(&app, step),
            // The look that follows asks for the image, and the plan pulls it.
            Progress::Ended { app, outcome: Outcome::NoImage { .. }, .. }
                if self.lists.get(&app).is_some_and(|list| list.ahead) => {}
            Progress::Ended { app, step, outcome } => {
                self.memory.record(&app, &step, outcome, self.clock.now());
            }
            Progress::Left { app, lost } => {
                self.lists.remove(&app);
                // It counts as busy until a look that began after this moment has ended: an older one shows what was before.
                self.looks.left(app.clone());
                match lost {
                    // Whether the engine went away or broke off this one call, the next look tells.
                    Some(lost) => {
                        self.lost.insert(app, lost);
                        self.looks.failed(self.clock.now());
                    }
                    None => {
                        self.lost_before.remove(&app);
                        self.looks.want();
                    }
                }
            }
        }
    }

    fn uplink(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { outbox, close } => {
                self.link.up(outbox, close);
                self.input(Input::Connected);
            }
            LinkEvent::Received(frame) => self.input(Input::Received(frame)),
            LinkEvent::Down => {
                self.link.down();
                self.input(Input::Disconnected);
            }
        }
    }

    fn input(&mut self, input: Input) {
        for effect in self.session.handle(input) {
            match effect {
                Effect::Send(outgoing) => self.link.send(outgoing, &self.uids),
                Effect::Persist(held) => self.persist(held),
                Effect::Adopt(held) => self.adopt(&held),
                Effect::Close { why } => self.link.close(why),
            }
        }
    }

    /// The session asks for one at a time.
    fn persist(&mut self, held: Held) {
        let (store, persisted) = (self.store.clone(), self.taps.persisted.clone());
        self.tasks.spawn(async move {
            let generation = held.generation.clone();
            let saved = tokio::task::spawn_blocking(move || store.save(&held)).await;
            let failure = match saved {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Chain(&error).to_string()),
                Err(panic) => Some(panic.to_string()),
            };
            let input = match failure {
                None => Input::Persisted { generation },
                Some(why) => {
                    error!("the desired state could not be stored: {why}; the old one stays in force");
                    Input::PersistFailed { why }
                }
            };
            let _ = persisted.send(input).await;
        });
    }

    fn adopt(&mut self, held: &Held) {
        let Decoded { desired, uids } = decode::desired(&self.node, &Host::default(), &held.set);
        info!("desired state {} with {} apps is in force", held.generation, desired.apps.len());
        let before = self.desired.as_ref().map(|old| &old.apps);
        let changed = |app: &AppKey| before.and_then(|old| old.get(app)) != desired.apps.get(app);
        self.lists.iter().filter(|(app, _)| changed(app)).for_each(|(_, list)| list.outdated.cancel());
        let changed: BTreeSet<_> = desired.apps.keys().filter(|app| changed(app)).cloned().collect();
        (self.desired, self.uids) = (Some(Arc::new(desired)), uids);
        self.report_due = true;
        self.plan_ahead(&changed);
    }
}

/// A health report as it starts: Docker was not asked yet.
pub(crate) fn unknown_health() -> wire::NodeHealth {
    wire::NodeHealth {
        docker_ready: false,
        docker_message: "docker was not asked yet".to_owned(),
        docker_version: String::new(),
    }
}
