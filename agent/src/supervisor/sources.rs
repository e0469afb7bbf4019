//! Every queue into the supervisor, created here and nowhere else. All are bounded: whoever has too much to say waits, and the
//! supervisor never waits for them.

use std::sync::Arc;

use skerry_agent_core::{Desired, Observed};
use skerry_terms::{Problem, ProblemKind};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Event, LocalSet, NodeStanding, OutboxSaved, Saved, Standings, Upkeep};
use crate::engine::Signal;
use crate::engine::execute::Progress;
use crate::probes::Probed;
use crate::uplink::LinkEvent;

/// Room for a burst; more waits at the sender.
const SIGNALS: usize = 32;
const PROGRESS: usize = 32;
const PROBED: usize = 32;
/// At most one of each kind is told at once.
const PROBLEMS: usize = ProblemKind::ALL.len();
/// Frames that may wait here hold payloads; what does not fit stays in the link's window.
const LINK: usize = 4;
/// At most one of each is under way.
const ANSWERS: usize = 1;

/// The receiving ends.
#[derive(Debug)]
pub struct Sources {
    signals: mpsc::Receiver<Signal>,
    progress: mpsc::Receiver<Progress>,
    probed: mpsc::Receiver<Probed>,
    problems: mpsc::Receiver<(ProblemKind, Option<Problem>)>,
    link: mpsc::Receiver<LinkEvent>,
    looked: mpsc::Receiver<(Arc<Desired>, Observed)>,
    saved: mpsc::Receiver<Saved>,
    outbox_saved: mpsc::Receiver<OutboxSaved>,
    /// The box's own apps: the latest counts. Absent where there are none.
    local: Option<watch::Receiver<LocalSet>>,
    end: CancellationToken,
}

/// The sending ends that the supervisor hands to the tasks it starts.
#[derive(Debug, Clone)]
pub struct Taps {
    pub(super) progress: mpsc::Sender<Progress>,
    pub(super) probed: mpsc::Sender<Probed>,
    pub(super) problems: mpsc::Sender<(ProblemKind, Option<Problem>)>,
    pub(super) looked: mpsc::Sender<(Arc<Desired>, Observed)>,
    pub(super) saved: mpsc::Sender<Saved>,
    /// With why not, where the disk did not take the outbox.
    pub(super) outbox_saved: mpsc::Sender<OutboxSaved>,
    pub(super) standings: watch::Sender<Arc<Standings>>,
    pub(super) node: watch::Sender<NodeStanding>,
    pub(super) upkeep: watch::Sender<Option<Upkeep>>,
}

/// All queues: what the supervisor reads, what its own tasks write, what the engine's watch and the uplink write. `end` ends the supervisor.
pub fn sources(end: CancellationToken) -> (Sources, Taps, mpsc::Sender<Signal>, mpsc::Sender<LinkEvent>) {
    let (signals_in, signals) = mpsc::channel(SIGNALS);
    let (progress_in, progress) = mpsc::channel(PROGRESS);
    let (probed_in, probed) = mpsc::channel(PROBED);
    let (problems_in, problems) = mpsc::channel(PROBLEMS);
    let (link_in, link) = mpsc::channel(LINK);
    let (looked_in, looked) = mpsc::channel(ANSWERS);
    let (saved_in, saved) = mpsc::channel(ANSWERS);
    let (outbox_in, outbox_saved) = mpsc::channel(ANSWERS);
    (
        Sources { signals, progress, probed, problems, link, looked, saved, outbox_saved, local: None, end },
        Taps {
            progress: progress_in,
            probed: probed_in,
            problems: problems_in,
            looked: looked_in,
            saved: saved_in,
            outbox_saved: outbox_in,
            standings: watch::Sender::default(),
            node: watch::Sender::default(),
            upkeep: watch::Sender::default(),
        },
        signals_in,
        link_in,
    )
}

impl Taps {
    /// Where is told what is wrong with the box, and that it no longer is.
    pub fn problems(&self) -> mpsc::Sender<(ProblemKind, Option<Problem>)> {
        self.problems.clone()
    }

    /// Where every app stands, from now on.
    pub fn standings(&self) -> watch::Receiver<Arc<Standings>> {
        self.standings.subscribe()
    }

    /// What housekeeping must know of the apps, from now on. Absent until something is desired and was seen.
    pub fn upkeep(&self) -> watch::Receiver<Option<Upkeep>> {
        self.upkeep.subscribe()
    }

    /// How the box itself stands, as it changes.
    pub fn node(&self) -> watch::Receiver<NodeStanding> {
        self.node.subscribe()
    }
}

/// The next set of the box's own apps. Cancel-safe: `changed` is.
async fn changed(local: &mut Option<watch::Receiver<LocalSet>>) -> LocalSet {
    if let Some(receiver) = local
        && receiver.changed().await.is_ok()
    {
        return receiver.borrow_and_update().clone();
    }
    std::future::pending().await
}

impl Sources {
    /// With the box's own apps, as they change from now on.
    pub fn with_local(self, local: watch::Receiver<LocalSet>) -> Self {
        Self { local: Some(local), ..self }
    }

    /// The next thing that happens. Cancel-safe: every arm is a queue's `recv`, a timer or a token.
    pub(super) async fn next(&mut self, wake: Option<Instant>) -> Event {
        let timer = async {
            match wake {
                Some(moment) => tokio::time::sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.end.cancelled() => Event::End,
            Some(signal) = self.signals.recv() => Event::Engine(signal),
            Some(progress) = self.progress.recv() => Event::Executor(progress),
            Some(probed) = self.probed.recv() => Event::Probed(probed),
            Some((kind, problem)) = self.problems.recv() => Event::Problem { kind, problem },
            Some(event) = self.link.recv() => Event::Uplink(event),
            Some((desired, observed)) = self.looked.recv() => Event::Looked { desired, observed },
            Some(saved) = self.saved.recv() => Event::Saved(saved),
            Some(saved) = self.outbox_saved.recv() => Event::OutboxSaved(saved),
            local = changed(&mut self.local) => Event::Local(local),
            () = timer => Event::Wake,
        }
    }

    /// What has happened already. A look's result is not among them: it is judged after everything that came before it.
    pub(super) fn ready(&mut self) -> Option<Event> {
        if let Ok(signal) = self.signals.try_recv() {
            return Some(Event::Engine(signal));
        }
        if let Ok(progress) = self.progress.try_recv() {
            return Some(Event::Executor(progress));
        }
        if let Ok(probed) = self.probed.try_recv() {
            return Some(Event::Probed(probed));
        }
        if let Ok((kind, problem)) = self.problems.try_recv() {
            return Some(Event::Problem { kind, problem });
        }
        if let Ok(saved) = self.saved.try_recv() {
            return Some(Event::Saved(saved));
        }
        self.link.try_recv().ok().map(Event::Uplink)
    }

    /// Takes in whatever still comes and drops it, so that nobody who tells waits.
    pub(super) async fn discard(&mut self) {
        loop {
            tokio::select! {
                Some(_) = self.signals.recv() => {}
                Some(_) = self.progress.recv() => {}
                Some(_) = self.probed.recv() => {}
                Some(_) = self.problems.recv() => {}
                Some(_) = self.link.recv() => {}
                Some(_) = self.looked.recv() => {}
                Some(_) = self.saved.recv() => {}
                Some(_) = self.outbox_saved.recv() => {}
                else => std::future::pending().await,
            }
        }
    }
}
