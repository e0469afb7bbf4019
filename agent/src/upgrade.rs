//! Another binary takes over, and no container notices. It has to prove itself at each step, and the box is never without a working agent:
//!
//! 1. `candidate`: the running agent copies the new binary beside its own and asks it about itself.
//! 2. `stand_by`: the running agent ends its work as at SIGTERM, and what is left of it starts the new one on trial and waits.
//! 3. `trial`: the new agent starts as it will, and says whether it stands: state read, Docker looked at, nothing disturbed, controller met.
//! 4. `place`: if it stands, its binary is put in place and this process becomes it. If not, this process becomes the old agent again.
//! 5. `record`: the outcome is kept, and for its first minutes the new agent is on probation.
//!
//! The process id never changes: the processes replace their program (exec), so that systemd, a container's init or a pid file see one agent.

mod candidate;
mod place;
mod record;
mod snapshot;
mod stand_by;
mod trial;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::facts;
use crate::logging::{LogFormat, LogLevel};

pub use candidate::Answer;
pub use place::Place;
pub use record::{Outcome, PROBATION, Record, Records};
pub use stand_by::{Next, NextError, become_next, begin, stand_by};
pub use trial::{Inquiry, Left, Terms, Trial, fails};

/// How long a new agent may take to stand, if nobody says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Whoever waits longer has mistyped.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// What is asked for at the door.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wish {
    /// Absolute, as the agent sees it.
    pub binary: PathBuf,
    #[serde(default)]
    pub timeout_seconds: Option<u64>,
}

/// What the door answers: the hand-over begins now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// As in the [`Record`] that tells of the outcome.
    pub id: String,
    pub from: String,
    pub to: String,
}

/// Why there is no hand-over. The running agent has gone on all the time.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("another upgrade is under way")]
    UnderWay,
    #[error("{0}")]
    Wish(String),
    #[error("{}: {why}", binary.display())]
    Unfit { binary: PathBuf, why: String },
    #[error("cannot copy {} to {}", from.display(), to.display())]
    Copy {
        from: PathBuf,
        to: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What is needed to become an agent like this one again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Again {
    /// Of `skerry-agent run`.
    pub arguments: Vec<String>,
    pub state_dir: PathBuf,
    pub log_format: LogFormat,
    pub log_level: LogLevel,
}

/// What the running agent leaves to the one that stands by. Both are the same binary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub promise: Promise,
    pub place: Place,
    pub again: Again,
    pub timeout: Duration,
    /// Of the candidate.
    pub inode: u64,
    pub terms: Terms,
}

/// The running agent's side of upgrades.
#[derive(Debug)]
pub struct Upgrades {
    again: Again,
    records: Records,
    last: Mutex<Option<Record>>,
    under_way: tokio::sync::Mutex<()>,
    /// The answer is being given; then it begins.
    prepared: Mutex<Option<Prepared>>,
    begin: Notify,
}

/// All that is known before the agent ends its work.
#[derive(Debug)]
pub struct Prepared {
    promise: Promise,
    place: Place,
    timeout: Duration,
    inode: u64,
}

/// A poisoned lock holds one value, which was put there whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upgrades {
    pub fn new(again: Again) -> Arc<Self> {
        let records = Records::new(&again.state_dir);
        let last = Mutex::new(records.read());
        Arc::new(Self {
            again,
            records,
            last,
            under_way: tokio::sync::Mutex::new(()),
            prepared: Mutex::default(),
            begin: Notify::new(),
        })
    }

    /// The last upgrade, if there was one.
    pub fn last(&self) -> Option<Record> {
        lock(&self.last).clone()
    }

    /// Makes everything ready for a hand-over, without any risk for what runs. `docker_answers` the running agent.
    pub async fn prepare(&self, wish: Wish, docker_answers: bool) -> Result<Promise, Refused> {
        let _turn = self.under_way.try_lock().map_err(|_| Refused::UnderWay)?;
        // Also of an agent that is on trial itself.
        let on_trial = self.last().is_some_and(|record| record.outcome == Outcome::Trying);
        if on_trial || lock(&self.prepared).is_some() {
            return Err(Refused::UnderWay);
        }
        let Wish { binary, timeout_seconds } = wish;
        let timeout = timeout_seconds.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
        if !binary.is_absolute() || timeout.is_zero() || timeout > TIMEOUT_MAX {
            let max = TIMEOUT_MAX.as_secs();
            return Err(Refused::Wish(format!("wanted: an absolute path, and a timeout of 1 to {max} s")));
        }
        let unfit = |why: String| Refused::Unfit { binary: binary.clone(), why };
        candidate::fits(&binary).map_err(unfit)?;
        let place =
            Place::of_this_process().map_err(|error| unfit(format!("where this agent is: {error}")))?;
        let (bringing, from) = (place.clone(), binary.clone());
        let brought = tokio::task::spawn_blocking(move || bringing.bring(&from)).await;
        let brought = brought.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let copy_error = |source| Refused::Copy { from: binary.clone(), to: place.candidate(), source };
        brought.map_err(copy_error)?;
        let asked = candidate::ask(&place.candidate(), &self.again.arguments).await;
        let asked = asked.and_then(|answer| answer.judge(docker_answers).map(|()| answer));
        let answer = match asked {
            Ok(answer) => answer,
            Err(why) => {
                // It is in nobody's way, and the next attempt replaces it.
                let _ = place.discard_candidate();
                return Err(unfit(why));
            }
        };
        let promise = Promise {
            id: format!("{:08x}{:08x}", crate::uplink::random(), crate::uplink::random()),
            from: env!("CARGO_PKG_VERSION").to_owned(),
            to: answer.version,
        };
        let inode = place::inode(&place.candidate()).unwrap_or(0);
        *lock(&self.prepared) = Some(Prepared { promise: promise.clone(), place, timeout, inode });
        Ok(promise)
    }

    /// A conversation at the door has ended: what was promised in it may begin.
    pub fn answered(&self) {
        if lock(&self.prepared).is_some() {
            self.begin.notify_one();
        }
    }

    /// Waits until an upgrade is to begin. Cancel-safe.
    pub async fn wanted(&self) -> Prepared {
        loop {
            self.begin.notified().await;
            if let Some(prepared) = lock(&self.prepared).take() {
                return prepared;
            }
        }
    }

    /// The order to the one that stands by; `terms` are what the new agent must come up to.
    pub fn order(&self, prepared: Prepared, terms: Terms) -> Order {
        let Prepared { promise, place, timeout, inode } = prepared;
        Order { promise, place, again: self.again.clone(), timeout, inode, terms }
    }

    fn note(&self, record: Record) {
        if let Err(error) = self.records.write(&record) {
            warn!("what became of the last upgrade cannot be noted: {error}");
        }
        *lock(&self.last) = Some(record);
    }

    /// The agent was told to end.
    pub fn ended_in_order(&self) {
        if let Some(record) = self.last().and_then(|record| record.at_orderly_end()) {
            self.note(record);
        }
    }

    /// Returns when the agent has run long enough to be trusted, or was trusted already.
    pub async fn probation(&self) {
        let Some(record) = self.last().filter(|record| record.outcome == Outcome::OnProbation) else {
            return;
        };
        tokio::time::sleep(PROBATION).await;
        info!("version {} has run for {} minutes and is trusted", record.to, PROBATION.as_secs() / 60);
        self.note(record.with(Outcome::TookOver, String::new()));
        let _ = snapshot::forget(&self.again.state_dir);
    }
}

/// What an agent does first, when the state folder is its own. Returns the binary before it, where it has to give way to that. Whatever fails
/// here, the agent goes on.
pub fn at_start(state_dir: &Path, key: Option<&Path>) -> Option<Place> {
    let way = give_way(state_dir);
    let record = Records::new(state_dir).read();
    let on_probation = record.is_some_and(|record| record.outcome == Outcome::OnProbation);
    if way.is_none() {
        snapshot::settle(state_dir, key, on_probation);
    }
    way
}

fn give_way(state_dir: &Path) -> Option<Place> {
    let place = Place::of_this_process().ok()?;
    let records = Records::new(state_dir);
    let candidate = place.candidate();
    let seen = record::Seen {
        running: place::inode(Path::new(place::RUNNING)),
        candidate_is_left: candidate.exists(),
        boot_id: facts::boot_id(),
    };
    let found = records.read()?;
    let (before, start) = (found.outcome, found.at_start(&seen));
    match start {
        record::Start::AsItIs => None,
        record::Start::Noting(record) => {
            if record.outcome == Outcome::GaveWay {
                warn!("the upgrade to version {} failed: {}", record.to, record.message);
                let _ = place.discard_candidate();
            }
            if let Err(error) = records.write(&record) {
                warn!("{before:?}: a start cannot be counted: {error}");
            }
            None
        }
        record::Start::GoingBack(record) => {
            warn!("{}; going back to version {}", record.message, record.from);
            match place.go_back() {
                Ok(()) => {
                    if let Err(error) = records.write(&record) {
                        warn!("what became of the last upgrade cannot be noted: {error}");
                    }
                    Some(place)
                }
                Err(error) => {
                    warn!("cannot put {} in place: {error}; going on", place.previous().display());
                    None
                }
            }
        }
    }
}
