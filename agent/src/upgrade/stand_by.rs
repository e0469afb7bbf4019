//! What is left of the old agent while a new one is on trial: it starts it, waits for its word, and proves to systemd that somebody is alive.
//! It holds neither the state's lock nor the socket; both are the new agent's. In the end it becomes an agent again: the new one, or the old one.
//!
//! It is a program of its own (the hidden command `stand-by`), begun by exec: nothing of the old agent is left that could hold a lock.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::place::RUNNING;
use super::record::{Outcome, Record, Records, now};
use super::trial::Word;
use super::{Order, Promise, snapshot};
use crate::cli::{ON_TRIAL, STAND_BY};
use crate::notify::{self, Notifier, Pulse};
use crate::{facts, logging};

/// What the process is called, whatever path it was started from.
const NAME: &str = "skerry-agent";
/// An order holds the names and containers of all apps.
const ORDER_MAX: u64 = 32 << 20;
/// How long a new agent has to go on standing before its binary is put in place: one that falls over at once is not.
const STEADY: Duration = Duration::from_secs(5);
/// An agent that was told to end takes a second or two.
const END_WAIT: Duration = Duration::from_secs(5);
/// A process that was killed is gone at once, unless the kernel waits for a disk.
const KILL_WAIT: Duration = Duration::from_secs(5);
/// For a signal that has arrived to be seen.
const GLANCE: Duration = Duration::from_millis(1);
const WORD_MAX: u64 = 64 << 10;

/// What this process becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// An agent, from this binary with these arguments.
    Agent { binary: PathBuf, arguments: Vec<String> },
    /// Nothing: it was told to end.
    Nothing,
}

#[derive(Debug, thiserror::Error)]
pub enum NextError {
    #[error("cannot become {}", binary.display())]
    Exec {
        binary: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read what the agent left to do")]
    Order(#[source] io::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
}

/// The running agent, its work ended, becomes the one that stands by.
pub fn begin(order: &Order) -> Result<Infallible, NextError> {
    // Through memory: it is too much for an argument, and a disk may be full.
    let written = || -> io::Result<File> {
        let mut file = File::from(memfd_create("skerry-upgrade", MemfdFlags::CLOEXEC)?);
        file.write_all(&serde_json::to_vec(order)?)?;
        file.rewind()?;
        Ok(file)
    };
    let file = written().map_err(NextError::Order)?;
    exec(Path::new(RUNNING), &[STAND_BY.to_owned()], Stdio::from(file))
}

/// Becomes what was decided. Returns only where that is nothing.
pub fn become_next(next: Next) -> Result<(), NextError> {
    match next {
        Next::Agent { binary, arguments } => {
            let arguments: Vec<String> = std::iter::once("run".to_owned()).chain(arguments).collect();
            match exec(&binary, &arguments, Stdio::null())? {}
        }
        Next::Nothing => Ok(()),
    }
}

fn exec(binary: &Path, arguments: &[String], stdin: Stdio) -> Result<Infallible, NextError> {
    let source = std::process::Command::new(binary).arg0(NAME).args(arguments).stdin(stdin).exec();
    Err(NextError::Exec { binary: binary.to_owned(), source })
}

/// Why there is no new agent.
enum Failure {
    /// It does not stand.
    No(String),
    /// This process was told to end.
    ToldToEnd,
}

/// Tries the new agent, and says what becomes of this process.
pub fn stand_by() -> Result<Next, NextError> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(ORDER_MAX).read_to_end(&mut bytes).map_err(NextError::Order)?;
    let order: Order =
        serde_json::from_slice(&bytes).map_err(|error| NextError::Order(io::Error::from(error)))?;
    logging::init(order.again.log_format, order.again.log_level);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(NextError::Runtime)?;
    let notifier = Notifier::from_environment();
    notifier.status(&format!("upgrading from {} to {}", order.promise.from, order.promise.to));
    Ok(runtime.block_on(async {
        let mut pulse = Pulse::new(notifier);
        let mut tried = std::pin::pin!(tried(&order));
        loop {
            pulse.beat();
            if let Some(next) = pulse.or_due(&mut tried).await {
                return next;
            }
        }
    }))
}

async fn tried(order: &Order) -> Next {
    let mut told = Told::listen();
    let records = Records::new(&order.again.state_dir);
    let Promise { id, from, to } = order.promise.clone();
    let trying = Record {
        id,
        from: from.clone(),
        to: to.clone(),
        at: now(),
        outcome: Outcome::Trying,
        message: String::new(),
        inode: order.inode,
        starts: 0,
        boot_id: facts::boot_id(),
    };
    let note = |record: &Record| {
        if let Err(error) = records.write(record) {
            warn!("the upgrade cannot be noted: {error}");
        }
    };
    note(&trying);
    if let Err(error) = snapshot::keep(&order.again.state_dir) {
        warn!("the state from before the upgrade cannot be kept: {error}; going on");
    }
    info!("trying version {to}; version {from} stands by");
    let again =
        |binary: &Path| Next::Agent { binary: binary.to_owned(), arguments: order.again.arguments.clone() };
    let stood = match stands(order, &mut told).await {
        Ok(mut on_trial) => {
            // Noted first: after the exchange, whoever starts next is on probation.
            note(&trying.clone().with(Outcome::OnProbation, String::new()));
            let committed = order.place.commit();
            end(&mut on_trial, committed.is_ok()).await;
            committed.map_err(|error| {
                Failure::No(format!(
                    "it stood, but cannot be put at {}: {error}",
                    order.place.binary().display()
                ))
            })
        }
        Err(failure) => Err(failure),
    };
    let next = match stood {
        Ok(()) => {
            info!(
                "version {to} stands and takes over; version {from} is kept at {}",
                order.place.previous().display()
            );
            again(order.place.binary())
        }
        Err(failure) => {
            if let Err(error) = order.place.discard_candidate() {
                warn!("cannot remove {}: {error}", order.place.candidate().display());
            }
            let (why, next) = match failure {
                Failure::No(why) => (why, again(Path::new(RUNNING))),
                Failure::ToldToEnd => ("the agent was told to end".to_owned(), Next::Nothing),
            };
            warn!("version {to} gives way to version {from}: {why}");
            note(&trying.with(Outcome::GaveWay, why));
            next
        }
    };
    // Whoever was told to end while none waited for it does not begin anew.
    if told.has_come().await { Next::Nothing } else { next }
}

/// SIGTERM and SIGINT. Listened for from the beginning to the end: whatever comes in between would be swallowed otherwise.
struct Told(io::Result<(Signal, Signal)>);

impl Told {
    fn listen() -> Self {
        let both = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)));
        Self(both)
    }

    /// Cancel-safe.
    async fn comes(&mut self) {
        match &mut self.0 {
            Ok((terminate, interrupt)) => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            Err(_) => std::future::pending().await,
        }
    }

    async fn has_come(&mut self) -> bool {
        timeout(GLANCE, self.comes()).await.is_ok()
    }
}

/// A new agent on trial.
struct OnTrial {
    child: Child,
    words: BufReader<tokio::io::Take<ChildStdout>>,
}

/// Returns with the new agent once it stands. One that does not is gone when this returns.
async fn stands(order: &Order, told: &mut Told) -> Result<OnTrial, Failure> {
    let mut on_trial = start(order).await.map_err(Failure::No)?;
    let failure = tokio::select! {
        stood = watch(&mut on_trial, order.timeout) => match stood {
            Ok(()) => return Ok(on_trial),
            Err(why) => Failure::No(why),
        },
        () = told.comes() => Failure::ToldToEnd,
    };
    end(&mut on_trial, matches!(failure, Failure::ToldToEnd)).await;
    Err(failure)
}

async fn start(order: &Order) -> Result<OnTrial, String> {
    let mut command = Command::new(order.place.candidate());
    command.arg("run").args(&order.again.arguments).arg(ON_TRIAL).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    for name in notify::VARIABLES {
        command.env_remove(name);
    }
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let mut line = serde_json::to_vec(&order.terms).map_err(|error| error.to_string())?;
    line.push(b'\n');
    if let Some(stdin) = child.stdin.as_mut() {
        // One that does not read is found out by what it does not say.
        let _ = timeout(order.timeout, stdin.write_all(&line)).await;
    }
    let stdout = child.stdout.take().ok_or("it has no standard output")?;
    Ok(OnTrial { child, words: BufReader::new(stdout.take(WORD_MAX)) })
}

/// Waits until it stands and has stood for a while, or fails with why it does not.
async fn watch(on_trial: &mut OnTrial, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let mut waits_for = String::new();
    loop {
        match timeout_at(deadline, word(&mut on_trial.words)).await {
            Ok(Some(Word { stands: None, why })) => waits_for = why,
            Ok(Some(Word { stands: Some(true), why: _ })) => break,
            Ok(Some(Word { stands: Some(false), why })) => return Err(why),
            Ok(None) => return Err(ended(&mut on_trial.child, "before it stood").await),
            Err(_elapsed) if waits_for.is_empty() => {
                return Err(format!("it said nothing within {} s", limit.as_secs()));
            }
            Err(_elapsed) => {
                return Err(format!("it did not stand within {} s: {waits_for}", limit.as_secs()));
            }
        }
    }
    match timeout(STEADY, word(&mut on_trial.words)).await {
        Ok(Some(Word { why, .. })) => Err(format!("it stood and then fell: {why}")),
        Ok(None) => Err(ended(&mut on_trial.child, "although it stood").await),
        Err(_elapsed) => Ok(()),
    }
}

/// The next line that is a word. None at the end.
async fn word(words: &mut BufReader<tokio::io::Take<ChildStdout>>) -> Option<Word> {
    let mut line = String::new();
    loop {
        line.clear();
        match words.read_line(&mut line).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => match serde_json::from_str(&line) {
                Ok(word) => return Some(word),
                // Not for us.
                Err(_) => continue,
            },
        }
    }
}

async fn ended(child: &mut Child, when: &str) -> String {
    match timeout(KILL_WAIT, child.wait()).await {
        Ok(Ok(status)) => format!("it ended {when}, with {status}; its log says more"),
        Ok(Err(error)) => format!("it ended {when}: {error}"),
        Err(_elapsed) => format!("it went silent {when}"),
    }
}

/// Ends it, `in_order` or at once, and waits until it is gone: what it holds is needed.
async fn end(on_trial: &mut OnTrial, in_order: bool) {
    // The end of its standard input ends its trial.
    drop(on_trial.child.stdin.take());
    if in_order && timeout(END_WAIT, on_trial.child.wait()).await.is_ok() {
        return;
    }
    if timeout(KILL_WAIT, on_trial.child.kill()).await.is_err() {
        warn!("the agent on trial cannot be killed; going on");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal as Number, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_signal_that_came_while_nobody_waited_is_not_lost() {
        let mut told = Told::listen();
        assert!(!told.has_come().await);
        kill_process(getpid(), Number::TERM).expect("sent");
        assert!(told.has_come().await);
        assert!(!told.has_come().await, "it is heard once");
    }
}
