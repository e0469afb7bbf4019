//! Puts the agent together: store, engine, supervisor, uplink, signals. The order is the point: what is on disk is acted upon before
//! the controller is dialled.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skerry_agent_core::{Backoff, Capacity, Device, Host, PathError, Session, SetCaps, at_rest};
use skerry_proto::caps;
use skerry_terms::{Problem, reasons};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, Desk};
use crate::config::Config;
use crate::decode::DEVICE_PREFIX;
use crate::engine::{Docker, Engine as _, Folders};
use crate::housekeeper::{self, Housekeeper, Kernel};
use crate::manifests::{self, ManifestError, Manifests, Site};
use crate::notify::{self, Notifier, Pulse};
use crate::store::{Loaded, Store, StoreError, Stored};
use crate::supervisor::{Greeting, Premises, Supervisor, Taps, sources};
use crate::upgrade::{self, Again, Left, Next, Order, Terms, Trial, Upgrades};
use crate::{facts, store, uplink};

/// How long steps under way may take when the agent is told to end. What is cut off is found and finished by the next agent.
const END_WAIT: Duration = Duration::from_millis(1500);
/// A Docker that neither answers nor refuses must not keep the node from saying so.
const FIRST_ROUND_WAIT: Duration = Duration::from_secs(5);
/// For an agent on trial to say what is wrong with it.
const LAST_WORD_WAIT: Duration = Duration::from_millis(500);
/// Between looks at a state that cannot be read. They cost one read of a file.
const RECHECK: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(30) };
/// For fsync and name lookups; each thread costs memory while it lives.
const BLOCKING_THREADS: usize = 3;
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// What an agent is started with.
#[derive(Debug)]
pub struct Start {
    pub config: Config,
    /// Manifests to take in first: by the name of where they come from, their texts.
    pub handed: Vec<(String, String)>,
    /// How an agent like this one is started.
    pub again: Again,
    /// Another version waits for this one to prove itself.
    pub trial: Option<Trial>,
}

/// Why the agent ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to, or its trial is over.
    Told,
    /// Another version is to take over.
    Upgrading(Box<Order>),
    /// It kept ending badly on probation: the version before takes over.
    Becoming(Next),
}

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the state cannot be read: {0}")]
    Unreadable(String),
    #[error("{file}")]
    Manifest {
        file: String,
        #[source]
        source: ManifestError,
    },
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
}

/// Runs until SIGTERM or SIGINT, or until another version is to take over.
pub fn run(start: Start) -> Result<Ended, RunError> {
    let Start { config, handed, again, trial } = start;
    let store = Store::open(&config.state_dir)?;
    if trial.is_none() {
        if let Some(place) = upgrade::at_start(&config.state_dir, config.store_key.as_deref()) {
            let next = Next::Agent { binary: place.binary().to_owned(), arguments: again.arguments };
            return Ok(Ended::Becoming(next));
        }
    } else if let Some(wrong) = store::inspect(&config.state_dir, config.store_key.as_deref()).pop() {
        // An agent that is trusted moves it aside; this one may be what is wrong.
        return Err(RunError::Unreadable(wrong.why));
    }
    let store = match config.store_key.clone() {
        Some(key) => store.with_key(key),
        None => store,
    };
    let (loaded, state) = read(&store);
    let site = Site {
        architecture: facts::architecture().to_owned(),
        operating_system: std::env::consts::OS.to_owned(),
        labels: config.labels.clone(),
    };
    let store = Arc::new(store);
    let manifests = Arc::new(Manifests::open(store.clone(), Some(config.manifest_dir.clone()), site));
    for (file, text) in handed {
        for key in manifests.accept(&text).map_err(|source| RunError::Manifest { file, source })? {
            info!("app={key} was handed over");
        }
    }
    // One thread: the agent waits most of the time, and each further thread would cost memory on every box.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .build()
        .map_err(RunError::Runtime)?;
    let arguments = again.arguments.clone();
    let stored = (loaded, state);
    let ended = runtime.block_on(serve(config, store, manifests, stored, Upgrades::new(again), trial));
    let ended = match ended {
        Ok(None) => {
            info!("what is stored can be read again; beginning anew with it");
            std::env::current_exe()
                .map(|binary| Ended::Becoming(Next::Agent { binary, arguments }))
                .map_err(RunError::Runtime)
        }
        Ok(Some(ended)) => Ok(ended),
        Err(error) => Err(error),
    };
    // A name lookup or an fsync that hangs is left behind.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// What is stored, and what is wrong with it. What cannot be read keeps nobody from coming up: then no container is touched.
fn read(store: &Store) -> (Loaded, Option<Problem>) {
    match store.load() {
        Ok(loaded) => {
            let state = match &loaded {
                Loaded::Stored(Stored { held: Some(_), notes: _ }) => None,
                // An earlier start may have found it so, and no controller was there since.
                Loaded::Missing | Loaded::Stored(Stored { held: None, notes: _ }) => {
                    store.lost_desired().map(|kept_at| corrupt("at an earlier start", &kept_at))
                }
                Loaded::Corrupt { kept_at, why } => Some(corrupt(why, kept_at)),
            };
            (loaded, state)
        }
        Err(error) => (Loaded::Missing, Some(error.when_reading())),
    }
}

fn corrupt(why: &str, kept_at: &Path) -> Problem {
    Problem {
        reason: reasons::STATE_CORRUPT.to_owned(),
        message: format!(
            "the desired state could not be read: {why}; it was kept at {}. No container is touched until the controller sends a fresh copy",
            kept_at.display()
        ),
    }
}

/// Ends when something that could not be read can be. Asks nothing while all can be read.
async fn readable_again(store: Arc<Store>) {
    let mut attempt = 0;
    while store.is_guarding() {
        tokio::time::sleep(RECHECK.jittered(attempt, uplink::random())).await;
        attempt = u32::saturating_add(attempt, 1);
        let asked = store.clone();
        if tokio::task::spawn_blocking(move || asked.is_readable_again()).await.is_ok_and(|again| again) {
            return;
        }
    }
    std::future::pending().await
}

/// Nothing: something of the store that could not be read can be now.
async fn serve(
    config: Config,
    store: Arc<Store>,
    manifests: Arc<Manifests>,
    (loaded, state): (Loaded, Option<Problem>),
    upgrades: Arc<Upgrades>,
    trial: Option<Trial>,
) -> Result<Option<Ended>, RunError> {
    let told = ending_signal().map_err(RunError::Signals)?;
    // An upgrade ends the agent, too.
    let end = told.child_token();
    let notifier = match &trial {
        Some(_) => Notifier::default(),
        None => Notifier::from_environment(),
    };
    info!(
        "skerry-agent {} node={} controller={} state={}",
        env!("CARGO_PKG_VERSION"),
        config.node,
        config.controller,
        config.state_dir.display()
    );
    let Stored { held, notes } = match loaded {
        Loaded::Missing => {
            // What is wrong, the supervisor says.
            if state.is_none() {
                info!(
                    "no desired state of a controller yet; until then no container is touched but those of local apps"
                );
            }
            Stored::default()
        }
        Loaded::Stored(stored) => {
            if let Some(held) = &stored.held {
                info!("desired state {} with {} apps was loaded", held.generation, held.set.len());
            }
            stored
        }
        Loaded::Corrupt { .. } => Stored::default(),
    };
    let is_corrupt = |problem: &&Problem| problem.reason == reasons::STATE_CORRUPT;
    let state_corrupt = state.as_ref().filter(is_corrupt).map(|problem| problem.message.clone());
    let session = Session::new(held, SetCaps { apps: caps::APPS_MAX, bytes: caps::SET_MAX });
    let engine = Arc::new(Docker::new(&config.docker_socket, folders(&config)));
    let lent = |(name, device): (&String, &Device)| (format!("{DEVICE_PREFIX}{name}"), device.count);
    let devices = config.devices.iter().map(lent).collect();
    let state_corrupt = state_corrupt.unwrap_or_default();
    let greeting = Greeting { node: config.node, labels: config.labels, devices, state_corrupt };
    let (sources, taps, signals, link) = sources(end.clone());
    let facts = facts::node_facts();
    let capacity = Capacity {
        cpu_millis: u64::from(facts.cpu_count).saturating_mul(1000),
        memory_bytes: facts.memory_bytes,
    };
    let (devices, app_names) = (config.devices, config.app_names);
    let host = Host { ip: None, devices, app_names, capacity, pulls_wait: None };
    let unwritable = store.unwritable().map(|why| Problem {
        reason: reasons::STATE_NOT_DURABLE.to_owned(),
        message: format!("{why}; the agent goes on with what is stored, takes nothing new, and tries again"),
    });
    let premises =
        Premises { host, policy: config.policy, manifests: Some(manifests.clone()), state, unwritable };
    // Before the supervisor takes the apps of now, so that no change is lost in between.
    let sources = sources.with_local(manifests.subscribe());
    let desk = Desk {
        node: greeting.node.to_string(),
        controller: config.controller.to_string(),
        standing: taps.node(),
        apps: taps.standings(),
        manifests: manifests.clone(),
        upgrades: upgrades.clone(),
    };
    let keeper = Housekeeper {
        engine: engine.clone(),
        gauges: Kernel,
        store: store.clone(),
        node: greeting.node.clone(),
        state_dir: config.state_dir.clone(),
        rules: config.housekeeping,
        upkeep: taps.upkeep(),
        problems: taps.problems(),
    };
    let door = admin::open(config.admin_socket.as_deref(), &config.state_dir);
    let has_door = door.is_some();
    let seen = taps.clone();
    let readable = readable_again(store.clone());
    let mut supervisor = Supervisor::new(engine.clone(), store, session, notes, greeting, premises, taps)
        .with_pulse(Pulse::new(notifier.clone()));
    let first_round = supervisor.first_round.clone();
    let judging = trial.map(|trial| {
        let (inquiry, first_plan) = trial.inquiry();
        (trial, inquiry, first_plan)
    });
    let judged = match judging {
        Some((trial, inquiry, first_plan)) => {
            supervisor = supervisor.with_inquiry(inquiry);
            let (over, end) = (trial.over.clone(), end.clone());
            tokio::spawn(async move {
                over.cancelled().await;
                end.cancel();
            });
            Some(tokio::spawn(trial.judge(has_door, first_plan, seen.node())))
        }
        None => None,
    };

    let watch = tokio::spawn(async move { engine.watch(signals).await });
    let dialling = first_round.clone();
    let uplink = tokio::spawn(async move {
        let _ = tokio::time::timeout(FIRST_ROUND_WAIT, dialling.cancelled()).await;
        uplink::run(config.controller, link).await;
    });
    let door = door.map(|bound| tokio::spawn(admin::serve(bound, desk)));
    let folder = tokio::spawn(manifests::watch(manifests));
    let keeper = tokio::spawn(housekeeper::run(keeper));
    if notifier.is_asked() {
        tokio::spawn(notify::tell(
            notifier.clone(),
            first_round,
            FIRST_ROUND_WAIT,
            seen.node(),
            seen.standings(),
        ));
    }
    let trusted = upgrades.clone();
    let probation = tokio::spawn(async move { trusted.probation().await });
    let (mut upgrade, mut is_readable) = (None, false);
    let ending = async {
        tokio::select! {
            () = end.cancelled() => notifier.stopping(),
            wanted = upgrades.wanted() => {
                info!("another version is to take over: containers stay as they are");
                upgrade = Some(upgrades.order(wanted, terms(&seen, has_door)));
                end.cancel();
            }
            () = readable => {
                is_readable = true;
                end.cancel();
            }
        }
        tokio::time::sleep(END_WAIT).await;
    };
    tokio::select! {
        () = supervisor.run(sources) => {}
        () = ending => warn!("a step under way was left to Docker"),
    }
    // On trial: what ended the supervisor may be what is to be said.
    if let Some(judged) = judged {
        let _ = tokio::time::timeout(LAST_WORD_WAIT, judged).await;
    }
    if let Some(door) = door {
        door.abort();
    }
    probation.abort();
    folder.abort();
    keeper.abort();
    watch.abort();
    uplink.abort();
    // Whoever was told to end does not begin anew.
    match upgrade.filter(|_| !told.is_cancelled()) {
        Some(order) => Ok(Some(Ended::Upgrading(Box::new(order)))),
        None => {
            upgrades.ended_in_order();
            Ok((!is_readable || told.is_cancelled()).then_some(Ended::Told))
        }
    }
}

/// What a new agent has to reach: what this one has.
fn terms(taps: &Taps, has_door: bool) -> Terms {
    let (node, apps) = (taps.node(), taps.standings());
    let (node, apps) = (node.borrow(), apps.borrow());
    let at_rest = at_rest(apps.values().map(|standing| &standing.status));
    Terms {
        docker: node.docker_ready,
        connected: node.connected,
        door: has_door,
        at_rest: at_rest.into_iter().map(|(app, left)| (app.to_string(), Left::from(left))).collect(),
    }
}

/// Where the agent keeps things, and what of the box containers may see: a path is judged again when its links are resolved.
fn folders(config: &Config) -> Folders {
    let policy = config.policy.clone();
    let rule = move |path: &Path| {
        let refusal = |error: PathError| format!("{}: {}: {error}", error.rule(), path.display());
        policy.host_path_allowed(path).map_err(refusal)
    };
    let folders = Folders::new(&config.state_dir).with_host_path_rule(Arc::new(rule));
    match config.seccomp_folder.clone() {
        Some(folder) => folders.with_seccomp(folder),
        None => folders,
    }
}

/// Cancelled by SIGTERM or SIGINT.
fn ending_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        told.cancel();
    });
    Ok(token)
}

#[cfg(test)]
mod tests {
    use skerry_agent_core::Held;
    use skerry_terms::{Generation, PayloadSet};

    use super::*;

    #[test]
    fn that_the_state_was_lost_is_told_at_every_start_until_a_controller_has_sent_another() {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join("desired.bin"), "garbage").expect("written");
        let start = || {
            let store = Store::open(dir.path()).expect("opened");
            let (_, state) = read(&store);
            (store, state.map(|problem| (problem.reason, problem.message.contains("desired.corrupt-1"))))
        };
        let told = Some((reasons::STATE_CORRUPT.to_owned(), true));
        assert_eq!(start().1, told);
        let (store, state) = start();
        assert_eq!(state, told, "also after a restart");
        store.save(&Stored::default()).expect("notes on local apps");
        drop(store);
        let (store, state) = start();
        assert_eq!(state, told, "also where something else was stored since");
        let generation = Generation::new("e", [("edgeapps".to_owned(), 1)]).expect("a generation");
        store.save_received(&Held { generation, set: PayloadSet::new() }.into()).expect("saved");
        drop(store);
        assert_eq!(start().1, None);
    }
}
