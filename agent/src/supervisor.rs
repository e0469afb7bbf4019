//! The owner of all state: what is desired, observed and remembered. Everything that happens arrives here as one [`Event`]; `apply` changes
//! the state and never waits; `settle` starts what follows from it. The decisions are the core's: [`plan`] and [`Session`].
//!
//! Architecture Invariant: with no desired state (nothing was ever received, or what was stored is corrupt) the planner does not run and
//! no container is touched.

mod link;
mod look;
mod probing;
mod saves;
mod sources;
mod standing;
mod telling;
mod upkeep;
mod wants;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skerry_agent_core::{
    Action, AppStatus, Decided, Desired, DesiredApp, Effect, Frame, Input, Memory, Monotonic, Notes,
    Observed, Outcome, Plan, Secrets, Session, Step, World, carry_over, plan, report,
};
use skerry_proto::wire;
use skerry_terms::{AppKey, Problem, ProblemKind, reasons};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::engine::execute::{Lost, Progress, Stops, execute};
use crate::engine::{Engine, Signal};
use crate::facts;
use crate::manifests::Manifests;
use crate::notify::Pulse;
use crate::probes::{self, Probed};
use crate::store::{Store, Stored};
use crate::upgrade::Inquiry;
use crate::uplink::LinkEvent;
use link::Link;
use look::Looks;
use saves::{Save, Saves, Told};
use wants::{InForce, Wants};

pub use link::Greeting;
pub use saves::Saved;
pub use sources::{Sources, Taps, sources};
pub use standing::{NodeStanding, Standing, Standings};
use telling::Telling;
pub use telling::{Greeted, OutboxSaved};
pub use upkeep::Upkeep;
pub use wants::{LocalSet, Premises, Source};

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
    Saved(Saved),
    /// The disk answered to the outbox.
    OutboxSaved(OutboxSaved),
    /// Something is wrong with the box itself, or no longer is.
    Problem {
        kind: ProblemKind,
        problem: Option<Problem>,
    },
    /// The box's own apps have changed.
    Local(LocalSet),
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
    session: Session,
    wants: Wants,
    /// Who keeps the box's own apps. Absent where there are none.
    manifests: Option<Arc<Manifests>>,
    saves: Saves,
    /// What was wrong with the stored state at the start, until a set is stored.
    state: Option<Problem>,
    /// Absent: nothing is desired and nothing is undesired, so nothing is done.
    desired: Option<Arc<Desired>>,
    /// The last look was made for what is in force now.
    fresh: bool,
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
    telling: Telling,
    /// When the last plan wants to be asked again.
    wake_at: Option<Monotonic>,
    /// Memory or observation changed: the report may have changed.
    report_due: bool,
    /// Cancelled when the first round is under way, so that containers start before the controller is dialled.
    pub first_round: CancellationToken,
    ending: CancellationToken,
    tasks: TaskTracker,
    /// Proves that this loop is alive.
    pulse: Pulse,
    /// What the first plan of an agent on trial is held to.
    inquiry: Option<Inquiry>,
}

impl<E: Engine> Supervisor<E> {
    /// `session` holds what was on disk, if anything was, and `notes` what was noted of updates.
    pub fn new(
        engine: Arc<E>,
        store: Arc<Store>,
        session: Session,
        notes: Notes,
        greeting: Greeting,
        premises: Premises,
        taps: Taps,
    ) -> Self {
        let manifests = premises.manifests.clone();
        let local = manifests.as_ref().map(|manifests| manifests.local_set()).unwrap_or_default();
        let (state, unwritable) = (premises.state.clone(), premises.unwritable.clone());
        let mut wants = Wants::new(greeting.node.clone(), premises, local, notes);
        let InForce { desired, noted } = wants.follow(session.held());
        let first_round = CancellationToken::new();
        if desired.is_none() {
            first_round.cancel();
        }
        let clock = Clock::start();
        let mut saves = unwritable.map_or_else(Saves::default, |why| Saves::unwritable(why, clock.now()));
        if noted {
            saves.notes();
        }
        let telling = Telling::new(store.load_outbox(), facts::boot_id(), clock.now());
        let mut supervisor = Self {
            engine,
            store,
            clock,
            taps,
            session,
            wants,
            manifests,
            saves,
            state,
            desired: desired.map(Arc::new),
            fresh: false,
            memory: Memory::default(),
            observed: None,
            looks: Looks::default(),
            lists: BTreeMap::new(),
            lost: BTreeMap::new(),
            lost_before: BTreeMap::new(),
            probing: watch::Sender::default(),
            has_looked: false,
            link: Link::new(greeting),
            telling,
            wake_at: None,
            report_due: false,
            first_round,
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
            pulse: Pulse::default(),
            inquiry: None,
        };
        supervisor.tell_state();
        supervisor
    }

    /// With a proof of life for whoever watches over the agent.
    pub fn with_pulse(self, pulse: Pulse) -> Self {
        Self { pulse, ..self }
    }

    /// On trial: a first plan that the inquiry does not allow ends this supervisor before anything is done.
    pub fn with_inquiry(self, inquiry: Inquiry) -> Self {
        if self.desired.is_none() {
            inquiry.nothing_to_plan();
            return self;
        }
        Self { inquiry: Some(inquiry), ..self }
    }

    /// Works until an [`Event::End`], and then until every step that was begun has ended.
    pub async fn run(mut self, mut sources: Sources) {
        self.hand_over();
        let probes = probes::run(self.engine.clone(), self.probing.subscribe(), self.taps.probed.clone());
        let probes = tokio::spawn(probes);
        while !self.ending.is_cancelled() {
            self.pulse.beat();
            let wake = self.next_wake().map(|moment| self.clock.instant(moment));
            let Some(event) = self.pulse.or_due(sources.next(wake)).await else { continue };
            self.apply(event);
            // What has piled up is taken in before anything is done about it.
            while let Some(event) = sources.ready() {
                self.apply(event);
            }
            self.settle();
        }
        probes.abort();
        self.keep_outbox();
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
            Event::Saved(Saved { failure }) => self.saved(failure),
            Event::OutboxSaved(saved) => self.outbox_saved(saved),
            Event::Problem { kind, problem } => {
                if kind == ProblemKind::DiskPressure {
                    self.hold_pulls(problem.as_ref());
                }
                self.problem(kind, problem);
            }
            Event::Local(local) => {
                self.wants.set_local(local);
                self.tell_state();
                self.enforce();
                self.hand_over();
            }
            Event::Wake => {
                let (now, retry) = (self.clock.now(), self.looks.retry_at());
                if [self.wake_at, retry].into_iter().flatten().any(|moment| moment <= now) {
                    self.wake_at = None;
                    self.looks.want();
                }
                // A trial ends on what was seen last: whatever changed since has been signalled.
                self.report_due = true;
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
        let due = std::mem::take(&mut self.report_due);
        if due {
            self.reconcile_probes();
        }
        if due && let Some(plan) = self.plan() {
            // Its moment came between two looks; acting takes a fresh one.
            if plan.apps.values().any(|app| !app.actions.is_empty()) {
                self.looks.want();
            }
            self.report(&plan);
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
        self.look_at_clock();
        self.link.send_health_if_changed(self.wants.uids());
        self.tell();
        self.tell_node();
        if let Some(save) = self.saves.begin(self.clock.now()) {
            self.save(save);
        }
    }

    fn next_wake(&mut self) -> Option<Monotonic> {
        let retry = self.looks.retry_at();
        let trial = self.desired.as_ref().and_then(|desired| self.wants.trials().wake_at(desired));
        let outbox = self.telling.outbox.wake_at();
        [self.wake_at, retry, trial, self.saves.retry_at(), outbox].into_iter().flatten().min()
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Up { version } => {
                info!("docker {version} answers");
                self.docker_is(true, version, String::new());
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
        self.docker_is(false, String::new(), why.clone());
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
                    let version = self.link.docker_version();
                    self.docker_is(true, version, String::new());
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
        self.fresh = self.desired.as_ref().is_some_and(|current| Arc::ptr_eq(current, desired));
        if self.fresh
            && let Some(plan) = self.plan()
        {
            if !self.is_allowed(&plan) {
                return;
            }
            for (app, app_plan) in plan.apps {
                self.dispatch(app, app_plan.actions, false);
            }
            self.first_round.cancel();
        }
        self.forget_retired();
        self.tell_upkeep();
    }

    /// False on trial, of a plan that would disturb what the agent before had brought to rest: then this one ends.
    fn is_allowed(&mut self, plan: &Plan) -> bool {
        let (Some(Observed::Known(world)), Some(inquiry)) = (&self.observed, self.inquiry.take()) else {
            return true;
        };
        let allowed = inquiry.allows(plan, world);
        if !allowed {
            error!("this version would replace containers that are well: it does nothing and ends");
            self.ending.cancel();
        }
        allowed
    }

    /// What to do next, after what it says of the apps on trial was taken in.
    fn plan(&mut self) -> Option<Plan> {
        let (desired, observed) = (self.desired.as_ref()?, self.observed.as_ref()?);
        let now = self.clock.now();
        let plan_now = |desired: &Desired, memory: &Memory| plan(desired, observed, memory, now);
        let plan = plan_now(desired, &self.memory);
        let Decided { rolled_back, noted } =
            self.wants.trials().judge(desired, observed, &plan, &self.memory, self.fresh, now);
        if noted {
            self.saves.notes();
        }
        self.wake_at = plan.wake_at;
        if rolled_back.is_empty() {
            if noted {
                self.pin_images();
            }
            return Some(plan);
        }
        self.enforce();
        let (desired, observed) = (self.desired.as_ref()?, self.observed.as_ref()?);
        let mut plan = skerry_agent_core::plan(desired, observed, &self.memory, now);
        self.wake_at = plan.wake_at;
        // Their images were not asked for; the look that asks is wanted.
        for app in rolled_back {
            plan.apps.entry(app).and_modify(|app| app.actions.clear());
        }
        self.looks.want();
        Some(plan)
    }

    /// What has just proved itself is created from the same images from now on.
    fn pin_images(&mut self) {
        let images = self.wants.trials().images();
        let Some(desired) = self.desired.as_ref().filter(|desired| desired.images != images) else { return };
        self.desired = Some(Arc::new(Desired { images, ..(**desired).clone() }));
        // A look under way asks for what was in force when it began; one that has ended still holds.
        if !self.looks.is_current() {
            self.looks.want();
        }
        self.tell_upkeep();
    }

    /// A disk that is full of what runs must not be filled to the last byte by what is to come.
    fn hold_pulls(&mut self, problem: Option<&Problem>) {
        let full = problem.filter(|problem| problem.reason == reasons::DISK_NEARLY_FULL);
        if self.wants.hold_pulls(full.map(|problem| problem.message.clone())) {
            self.enforce();
        }
    }

    /// What housekeeping must know, as far as anything is desired and was seen.
    fn tell_upkeep(&mut self) {
        let (Some(desired), Some(Observed::Known(world))) = (&self.desired, &self.observed) else { return };
        // A box of its own, to which no controller ever spoke, is complete, too.
        let complete = self.state.is_none() && !self.wants.is_lost();
        let upkeep = Upkeep::of(desired, world, self.wants.trials().needed(), complete);
        self.taps.upkeep.send_if_modified(|told| {
            let changed = told.as_ref() != Some(&upkeep);
            if changed {
                *told = Some(upkeep);
            }
            changed
        });
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
        let secrets = match self.desired.as_ref().and_then(|desired| desired.apps.get(&app)) {
            Some(DesiredApp::Valid(valid)) => valid.secrets(),
            Some(DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. }) | None => Secrets::default(),
        };
        self.tasks.spawn(execute(engine, app, actions, secrets, stops, tell));
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
        let mut statuses = report(plan);
        self.wants.amend(&mut statuses);
        if let Some(observed) = &self.observed {
            let before = self.taps.standings.borrow().clone();
            carry_over(&mut statuses, observed, before.values().map(|standing| &standing.status));
        }
        self.link.stamp(&statuses);
        self.tell_standings(&statuses);
        // The controller does not know the box's own apps.
        statuses.retain(|status| self.wants.source(&status.key) == Source::Cloud);
        let uids = self.wants.uids();
        let uid = |key: &AppKey| uids.get(key).cloned().unwrap_or_default();
        self.telling.follow(&statuses, uid, self.clock.now());
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
                self.telling.asked(self.clock.now());
                self.input(Input::Connected);
            }
            LinkEvent::Received(frame) => {
                if frame == Frame::Welcome {
                    self.link.greeted();
                }
                self.input(Input::Received(frame));
            }
            LinkEvent::Greeted(greeted) => self.telling.greeted(greeted, self.clock.now()),
            LinkEvent::Told { run, upto } => self.telling.outbox.told(run, upto, self.clock.now()),
            LinkEvent::Down => {
                self.link.down();
                self.telling.outbox.closed();
                self.input(Input::Disconnected);
            }
        }
    }

    fn input(&mut self, input: Input) {
        for effect in self.session.handle(input) {
            match effect {
                Effect::Send(outgoing) => self.link.send(outgoing, self.wants.uids()),
                Effect::Persist(held) => self.saves.set(held),
                Effect::Adopt(held) => {
                    info!("desired state {} with {} apps is in force", held.generation, held.set.len());
                    self.enforce();
                    self.hand_over();
                }
                Effect::Close { why } => self.link.close(why),
            }
        }
    }

    fn save(&mut self, save: Save) {
        let (store, tell) = (self.store.clone(), self.taps.saved.clone());
        let notes = self.wants.trials().notes();
        let held = self.session.held().cloned();
        self.tasks.spawn(async move {
            let saved = tokio::task::spawn_blocking(move || match save {
                Save::Set(set) => store.save_received(&Stored { held: Some(set), notes }),
                Save::Notes => store.save(&Stored { held, notes }),
                Save::Probe => store.try_writing(),
            });
            let failure = match saved.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.when_writing()),
                Err(panic) => Some(Problem {
                    reason: reasons::STATE_NOT_DURABLE.to_owned(),
                    message: panic.to_string(),
                }),
            };
            let _ = tell.send(Saved { failure }).await;
        });
    }

    fn saved(&mut self, failure: Option<Problem>) {
        let told = self.saves.ended(failure, self.clock.now(), crate::uplink::random());
        if matches!(told, Some(Told::Persisted(_))) {
            self.state = None;
        }
        self.tell_state();
        match told {
            Some(Told::Persisted(generation)) => self.input(Input::Persisted { generation }),
            Some(Told::Failed(problem)) => self.input(Input::PersistFailed { why: problem.message }),
            None => {}
        }
    }

    /// What is wrong with the stored state: the weightiest reason, and all that there is to say.
    fn tell_state(&mut self) {
        let all = [self.state.as_ref(), self.saves.problem(), self.wants.local_unsaved()];
        let mut all = all.into_iter().flatten();
        let problem = all.next().cloned().map(|first| {
            let messages = all.map(|more| &more.message).filter(|more| **more != first.message);
            let message = messages.fold(first.message.clone(), |text, more| format!("{text}. {more}"));
            Problem { message, ..first }
        });
        self.problem(ProblemKind::StateProblem, problem);
    }

    /// Brings in force what is wanted now, as trials leave it.
    fn enforce(&mut self) {
        let InForce { desired, noted } = self.wants.follow(self.session.held());
        if noted {
            self.saves.notes();
        }
        let Some(desired) = desired else {
            self.desired = None;
            return;
        };
        let before = self.desired.as_ref().map(|old| &old.apps);
        let changed = |app: &AppKey| before.and_then(|old| old.get(app)) != desired.apps.get(app);
        self.lists.iter().filter(|(app, _)| changed(app)).for_each(|(_, list)| list.outdated.cancel());
        let changed: BTreeSet<_> = desired.apps.keys().filter(|app| changed(app)).cloned().collect();
        if let (Some(before), Some(observed)) = (&self.desired, &self.observed) {
            self.memory.supersede(before, observed);
        }
        (self.desired, self.fresh) = (Some(Arc::new(desired)), false);
        self.report_due = true;
        // What may be gone back to is held before the first step away from it.
        self.tell_upkeep();
        self.plan_ahead(&changed);
        // What changed nothing on the box is proven by a look, too.
        if changed.iter().any(|app| !self.lists.contains_key(app)) {
            self.looks.want();
        }
    }

    /// What the controller asks for is no longer the box's own.
    fn hand_over(&mut self) {
        let taken = self.wants.taken_over();
        self.tell_manifests(taken, Manifests::taken_over);
    }

    /// Of local apps that were taken away nothing is left.
    fn forget_retired(&mut self) {
        let Some(Observed::Known(world)) = &self.observed else { return };
        let is_left = |key: &AppKey| {
            let of_app = |app: &AppKey| app == key;
            let mut owners = world.containers.values().filter_map(|container| container.ownership());
            owners.any(|owner| of_app(&owner.app))
                || world.kept.contains(key)
                || world.unclear.contains_key(key)
        };
        let gone = self.wants.forgotten(is_left);
        self.tell_manifests(gone, Manifests::forget);
    }

    /// The disk is waited for elsewhere.
    fn tell_manifests(&self, keys: BTreeSet<AppKey>, what: fn(&Manifests, &BTreeSet<AppKey>)) {
        if let (false, Some(manifests)) = (keys.is_empty(), self.manifests.clone()) {
            self.tasks.spawn_blocking(move || what(&manifests, &keys));
        }
    }

    fn tell_node(&self) {
        let outbox = &self.telling.outbox;
        let (untold, lost) = (outbox.waiting().count(), outbox.dropped().total());
        let standing = NodeStanding { untold, lost, ..self.link.node_standing() };
        self.taps.node.send_if_modified(|told| {
            let changed = *told != standing;
            if changed {
                *told = standing;
            }
            changed
        });
    }

    fn tell_standings(&self, statuses: &[AppStatus]) {
        let standings: Standings = statuses
            .iter()
            .map(|status| {
                let source = self.wants.source(&status.key);
                let since = self.link.since(&status.key);
                (status.key.clone(), Standing { status: status.clone(), source, since })
            })
            .collect();
        self.taps.standings.send_if_modified(|told| {
            let changed = **told != standings;
            if changed {
                *told = Arc::new(standings);
            }
            changed
        });
    }
}

/// A health report as it starts: Docker was not asked yet.
pub(crate) fn unknown_health() -> wire::NodeHealth {
    wire::NodeHealth {
        docker_ready: false,
        docker_message: "docker was not asked yet".to_owned(),
        docker_version: String::new(),
        problems: Some(wire::NodeProblems::default()),
    }
}
