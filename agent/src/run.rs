//! Puts the agent together: store, engine, supervisor, uplink, signals. The order is the point: what is on disk is acted upon before
//! the controller is dialled.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skerry_agent_core::{Backoff, Capacity, Device, Host, PathError, Session, SetCaps};
use skerry_proto::caps;
use skerry_terms::{Problem, reasons};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, Desk};
use crate::config::Config;
use crate::decode::DEVICE_PREFIX;
use crate::engine::{Docker, Engine as _, Folders};
use crate::manifests::{self, ManifestError, Manifests, Site};
use crate::store::{Loaded, Store, StoreError, Stored};
use crate::supervisor::{Greeting, Premises, Supervisor, sources};
use crate::{facts, uplink};

/// How long steps under way may take when the agent is told to end. What is cut off is found and finished by the next agent.
const END_WAIT: Duration = Duration::from_millis(1500);
/// A Docker that neither answers nor refuses must not keep the node from saying so.
const FIRST_ROUND_WAIT: Duration = Duration::from_secs(5);
/// Between looks at a state that cannot be read. They cost one read of a file.
const RECHECK: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(30) };
/// For fsync and name lookups; each thread costs memory while it lives.
const BLOCKING_THREADS: usize = 3;
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
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

/// Runs until SIGTERM or SIGINT. `handed` is handed over first: by the name of where they come from, their texts.
pub fn run(config: Config, handed: Vec<(String, String)>) -> Result<(), RunError> {
    let store = Store::open(&config.state_dir)?;
    let store = match config.store_key.clone() {
        Some(key) => store.with_key(key),
        None => store,
    };
    let site = Site {
        architecture: facts::architecture().to_owned(),
        operating_system: std::env::consts::OS.to_owned(),
        labels: config.labels.clone(),
    };
    let store = Arc::new(store);
    // One thread: the agent waits most of the time, and each further thread would cost memory on every box.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .build()
        .map_err(RunError::Runtime)?;
    let mut handed = Some(handed);
    let ended = loop {
        let (loaded, state) = read(&store);
        let manifests =
            Arc::new(Manifests::open(store.clone(), Some(config.manifest_dir.clone()), site.clone()));
        for (file, text) in handed.take().into_iter().flatten() {
            for key in manifests.accept(&text).map_err(|source| RunError::Manifest { file, source })? {
                info!("app={key} was handed over");
            }
        }
        let life = serve(config.clone(), store.clone(), manifests, loaded, state);
        match runtime.block_on(life) {
            Ok(Ended::Told) => break Ok(()),
            Ok(Ended::Readable) => info!("what is stored can be read again; beginning anew with it"),
            Err(error) => break Err(error),
        }
    };
    // A name lookup or an fsync that hangs is left behind.
    runtime.shutdown_timeout(Duration::from_millis(200));
    ended
}

/// Why a life of the agent ended.
enum Ended {
    /// By a signal.
    Told,
    /// Something of the store that could not be read can be now.
    Readable,
}

/// What is stored, and what is wrong with it. What cannot be read keeps nobody from coming up: then no container is touched.
fn read(store: &Store) -> (Loaded, Option<Problem>) {
    match store.load() {
        Ok(loaded) => {
            let state = match &loaded {
                Loaded::Missing | Loaded::Stored(_) => None,
                Loaded::Corrupt { kept_at, why } => Some(Problem {
                    reason: reasons::STATE_CORRUPT.to_owned(),
                    message: format!(
                        "the desired state could not be read: {why}; it was kept at {}. No container is touched until the controller sends a fresh copy",
                        kept_at.display()
                    ),
                }),
            };
            (loaded, state)
        }
        Err(error) => (Loaded::Missing, Some(error.when_reading())),
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

async fn serve(
    config: Config,
    store: Arc<Store>,
    manifests: Arc<Manifests>,
    loaded: Loaded,
    state: Option<Problem>,
) -> Result<Ended, RunError> {
    let told = ending_signal().map_err(RunError::Signals)?;
    let end = told.child_token();
    info!(
        "skerry-agent {} node={} controller={} state={}",
        env!("CARGO_PKG_VERSION"),
        config.node,
        config.controller,
        config.state_dir.display()
    );
    let (Stored { held, notes }, state_corrupt) = match loaded {
        // What it is, the supervisor says.
        Loaded::Missing if state.is_some() => (Stored::default(), String::new()),
        Loaded::Missing => {
            info!(
                "no desired state of a controller yet; until then no container is touched but those of local apps"
            );
            (Stored::default(), String::new())
        }
        Loaded::Stored(stored) => {
            if let Some(held) = &stored.held {
                info!("desired state {} with {} apps was loaded", held.generation, held.set.len());
            }
            (stored, String::new())
        }
        Loaded::Corrupt { kept_at, why } => {
            let text =
                format!("the desired state could not be read: {why}; it was kept at {}", kept_at.display());
            (Stored::default(), text)
        }
    };
    let session = Session::new(held, SetCaps { apps: caps::APPS_MAX, bytes: caps::SET_MAX });
    let engine = Arc::new(Docker::new(&config.docker_socket, folders(&config)));
    let lent = |(name, device): (&String, &Device)| (format!("{DEVICE_PREFIX}{name}"), device.count);
    let devices = config.devices.iter().map(lent).collect();
    let greeting = Greeting { node: config.node, labels: config.labels, devices, state_corrupt };
    let (sources, taps, signals, link) = sources(end.clone());
    let facts = facts::node_facts();
    let capacity = Capacity {
        cpu_millis: u64::from(facts.cpu_count).saturating_mul(1000),
        memory_bytes: facts.memory_bytes,
    };
    let host = Host { ip: None, devices: config.devices, app_names: config.app_names, capacity };
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
    };
    let door = admin::open(config.admin_socket.as_deref(), &config.state_dir);
    let again = readable_again(store.clone());
    let supervisor = Supervisor::new(engine.clone(), store, session, notes, greeting, premises, taps);
    let first_round = supervisor.first_round.clone();

    let watch = tokio::spawn(async move { engine.watch(signals).await });
    let uplink = tokio::spawn(async move {
        let _ = tokio::time::timeout(FIRST_ROUND_WAIT, first_round.cancelled()).await;
        uplink::run(config.controller, link).await;
    });
    let door = door.map(|bound| tokio::spawn(admin::serve(bound, desk)));
    let folder = tokio::spawn(manifests::watch(manifests));
    let again = async {
        again.await;
        end.cancel();
        std::future::pending::<()>().await
    };
    tokio::select! {
        () = supervisor.run(sources) => {}
        () = async { end.cancelled().await; tokio::time::sleep(END_WAIT).await } => {
            warn!("a step under way was left to Docker");
        }
        () = again => {}
    }
    // Until they are gone: a next life takes their places.
    for task in [Some(watch), Some(uplink), Some(folder), door].into_iter().flatten() {
        task.abort();
        let _ = task.await;
    }
    Ok(if told.is_cancelled() { Ended::Told } else { Ended::Readable })
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
