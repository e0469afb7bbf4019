//! Every queue into the supervisor, created here and nowhere else. All are bounded: whoever has too much to say waits, and the
//! supervisor never waits for them.

use std::sync::Arc;

use skerry_agent_core::{Desired, Input, Observed};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Event;
use crate::engine::Signal;
use crate::engine::execute::Progress;
use crate::probes::Probed;
use crate::uplink::LinkEvent;

/// Room for a burst; more waits at the sender.
const SIGNALS: usize = 32;
const PROGRESS: usize = 32;
const PROBED: usize = 32;
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
    link: mpsc::Receiver<LinkEvent>,
    looked: mpsc::Receiver<(Arc<Desired>, Observed)>,
    persisted: mpsc::Receiver<Input>,
    end: CancellationToken,
}

/// The sending ends that the supervisor hands to the tasks it starts.
#[derive(Debug, Clone)]
pub struct Taps {
    pub(super) progress: mpsc::Sender<Progress>,
    pub(super) probed: mpsc::Sender<Probed>,
    pub(super) looked: mpsc::Sender<(Arc<Desired>, Observed)>,
    pub(super) persisted: mpsc::Sender<Input>,
}

/// All queues: what the supervisor reads, what its own tasks write, what the engine's watch and the uplink write. `end` ends the supervisor.
pub fn sources(end: CancellationToken) -> (Sources, Taps, mpsc::Sender<Signal>, mpsc::Sender<LinkEvent>) {
    let (signals_in, signals) = mpsc::channel(SIGNALS);
    let (progress_in, progress) = mpsc::channel(PROGRESS);
    let (probed_in, probed) = mpsc::channel(PROBED);
    let (link_in, link) = mpsc::channel(LINK);
    let (looked_in, looked) = mpsc::channel(ANSWERS);
    let (persisted_in, persisted) = mpsc::channel(ANSWERS);
    (
        Sources { signals, progress, probed, link, looked, persisted, end },
        Taps { progress: progress_in, probed: probed_in, looked: looked_in, persisted: persisted_in },
        signals_in,
        link_in,
    )
}

impl Sources {
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
            Some(event) = self.link.recv() => Event::Uplink(event),
            Some((desired, observed)) = self.looked.recv() => Event::Looked { desired, observed },
            Some(input) = self.persisted.recv() => Event::Persisted(input),
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
        if let Ok(input) = self.persisted.try_recv() {
            return Some(Event::Persisted(input));
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
                Some(_) = self.link.recv() => {}
                Some(_) = self.looked.recv() => {}
                Some(_) = self.persisted.recv() => {}
                else => std::future::pending().await,
            }
        }
    }
}
