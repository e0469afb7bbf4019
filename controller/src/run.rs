//! Puts the parts together, and takes them apart again when a stop is asked for.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use kube::Api;
use kube::core::{ApiResource, DynamicObject};
use skerry_api::{EdgeApp, EdgeNode};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::{ReplicaArgs, RunArgs};
use crate::hub::{Event, Hub, Inbox, Outlets};
use crate::k8s::{self, ConfigKind, EventSink, Kind, Wanted, Watched, WriteQueue, whole};
use crate::metrics::Metrics;
use crate::readiness::{Part, Readiness};
use crate::{grpc, ops};

/// Messages of sessions and watches that wait for the hub. Full, their senders wait.
const INBOX: usize = 1024;
/// How long the last status writes may take after a stop: a pod has 30 s in all.
const FLUSH: Duration = Duration::from_secs(5);

/// On a Kubernetes API, until SIGTERM or SIGINT.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let client = k8s::connect(args.kubeconfig.as_deref()).await?;
    replica(client, Doors::open(args.replica).await?).await
}

/// What a replica needs from the machine, taken before anything is changed anywhere: what is wrong with it is told first.
pub struct Doors {
    replica: String,
    sessions: TcpListener,
    ops: TcpListener,
}

impl Doors {
    pub async fn open(args: ReplicaArgs) -> anyhow::Result<Self> {
        grpc::check_plain_text(args.listen)?;
        let replica = match args.replica {
            Some(replica) => replica,
            None => host_name()?,
        };
        let sessions = bind(args.listen, "--listen").await?;
        Ok(Self { replica, sessions, ops: bind(args.http_listen, "--http-listen").await? })
    }
}

/// One controller, whatever serves its client, until SIGTERM or SIGINT.
pub async fn replica(client: kube::Client, doors: Doors) -> anyhow::Result<()> {
    let Doors { replica, sessions: sessions_listener, ops: ops_listener } = doors;
    let (address, ops_address) = (sessions_listener.local_addr()?, ops_listener.local_addr()?);
    info!("agents at {address} (plain text), health and metrics at http://{ops_address}");

    let stop = CancellationToken::new();
    let metrics = Metrics::new();
    let readiness = Readiness::new();
    listen_for_signals(stop.clone(), readiness.clone())?;

    let (cluster_tx, cluster) = mpsc::channel(INBOX);
    let (sessions_tx, sessions) = mpsc::channel(INBOX);
    let (written_tx, written) = mpsc::channel(INBOX);
    let (reads_tx, config_reads) = mpsc::channel(INBOX);
    let wanted = Wanted::default();
    let (events, notices) = EventSink::new(metrics.clone());
    let writes = WriteQueue::default();
    let (relist, relisted) = watch::channel(0);
    let hub = Hub::new(Outlets {
        writes: writes.clone(),
        events,
        wanted: wanted.clone(),
        relist,
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        replica: replica.clone(),
    });
    let hub = tokio::spawn(hub.run(Inbox { cluster, config_reads, sessions, written, stop: stop.clone() }));
    // The ops address answers to the last, so that a probe sees why the replica is not ready.
    let ops =
        tokio::spawn(ops::serve(ops_listener, readiness.clone(), metrics.clone(), CancellationToken::new()));
    let door = tokio::spawn(grpc::serve(sessions_listener, sessions_tx, metrics.clone(), stop.clone()));
    readiness.set(Part::Sessions, true);
    let flushed = CancellationToken::new();
    let writer =
        tokio::spawn(k8s::run_writes(client.clone(), writes, written_tx, metrics.clone(), flushed.clone()));
    let publisher = tokio::spawn(k8s::publish(client.clone(), replica.clone(), notices, metrics.clone()));

    tokio::select! {
        epoch = k8s::epoch(&client) => {
            info!("cluster {}", epoch?);
            readiness.set(Part::Cluster, true);
            // Before nodes are seen: until when an earlier replica kept their statuses, its Lease tells.
            let replicas = k8s::replicas(&client).await.unwrap_or_default();
            // The hub may have ended already.
            let _ = cluster_tx.send(Event::Replicas(replicas)).await;
            tokio::spawn(k8s::keep_lease(client.clone(), replica.clone(), cluster_tx.clone()));
            tokio::spawn(k8s::run_reads(client.clone(), wanted.clone(), reads_tx));
            let watches = Watches { client: client.clone(), hub: cluster_tx, relist: relisted, metrics: metrics.clone() };
            watches.start(&wanted);
            stop.cancelled().await;
        }
        () = stop.cancelled() => {}
    }

    hub.await.context("the hub ended")?;
    door.await.context("the session server ended")?.context("failed to serve agents")?;
    flushed.cancel();
    // The hub is gone, and with it whoever gives them more to do.
    let (written, published) =
        tokio::join!(tokio::time::timeout(FLUSH, writer), tokio::time::timeout(FLUSH, publisher));
    if written.is_err() {
        warn!("some statuses were not written within {} s", FLUSH.as_secs());
    }
    if published.is_err() {
        warn!("some Events were not published within {} s", FLUSH.as_secs());
    }
    ops.abort();
    info!("stopped");
    Ok(())
}

/// What every watch needs.
#[derive(Clone)]
struct Watches {
    client: kube::Client,
    hub: mpsc::Sender<Event>,
    relist: watch::Receiver<u64>,
    metrics: Metrics,
}

impl Watches {
    fn start(self, wanted: &Wanted) {
        let apps = Api::all_with(self.client.clone(), &ApiResource::erase::<EdgeApp>(&()));
        let nodes = Api::all_with(self.client.clone(), &ApiResource::erase::<EdgeNode>(&()));
        let apps = Kind { api: apps, name: "edgeapps", fields: "", read: whole };
        let nodes = Kind { api: nodes, name: "edgenodes", fields: "", read: whole };
        tokio::spawn(self.clone().follow(apps, Event::Apps));
        tokio::spawn(self.clone().follow(nodes, Event::Nodes));
        for kind in ConfigKind::ALL {
            let (watches, wanted) = (self.clone(), wanted.clone());
            tokio::spawn(async move {
                wanted.known().await;
                let api = Api::all_with(watches.client.clone(), &kind.resource());
                let read = move |object, version| wanted.pick(kind, object, version);
                let objects = Kind { api, name: kind.plural(), fields: kind.fields(), read };
                watches.follow(objects, move |watched| Event::Config(kind, watched)).await;
            });
        }
    }

    /// Follows one kind until the hub ends.
    async fn follow<O, R>(self, kind: Kind<R>, event: impl Fn(Watched<O>) -> Event)
    where
        R: Fn(DynamicObject, u64) -> Option<O>,
    {
        let Self { client, hub, relist, metrics } = self;
        let name = kind.name;
        let tell = |watched| {
            let sent = hub.send(event(watched));
            async { sent.await.is_ok() }
        };
        k8s::watch(client, kind, relist, tell, || metrics.watch_restarted(name)).await;
    }
}

pub async fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address} ({flag})"))
}

/// The first SIGTERM or SIGINT stops in order, a second one at once.
fn listen_for_signals(stop: CancellationToken, readiness: Readiness) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(130);
            }
            info!("stopping; once more to stop at once");
            readiness.set(Part::NotStopping, false);
            stop.cancel();
        }
    });
    Ok(())
}

fn host_name() -> anyhow::Result<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("failed to read the host name; give a name with --replica")?;
    Ok(name.trim().to_owned())
}
