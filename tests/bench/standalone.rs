//! What the API inside the controller costs and gives, beside kube-apiserver and etcd with the same content under the same requests, one
//! after the other in the same run. Both are processes of their own, reached by HTTPS.

mod content;
mod server;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::io::AsyncBufReadExt as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use kube::Client;
use serde_json::Value;
use skerry_tests::{Plane, unique};

use crate::figures::{Budget, Figure};
use crate::median;
use content::{APPS, Content, NODES};
use server::Server;

/// Without any request before memory is read: the budget is one at rest.
const QUIET: Duration = Duration::from_secs(30);
const LISTS: usize = 30;
const EVENTS: usize = 300;
const STARTS: usize = 5;
/// Clients that write at the same time, each on a connection of its own, and how long.
const WRITERS: usize = 32;
const WRITING: Duration = Duration::from_secs(8);
/// For one event of a watch; a watch that needs it has failed.
const EVENT: Duration = Duration::from_secs(10);

const NODES_PATH: &str = "/apis/skerry.dev/v1alpha1/edgenodes";
const MERGE: &str = "application/merge-patch+json";

/// What was seen of one server.
#[derive(Debug)]
struct Observed {
    empty_mib: f64,
    filled_mib: f64,
    used_mib: f64,
    list_ms: f64,
    list_mib: f64,
    watch_ms: Vec<f64>,
    start_ms: f64,
    writes_per_s: f64,
}

/// All figures of the standalone API.
pub async fn measure() -> Result<Vec<Figure>> {
    let ours = observe(Plane::Standalone).await?;
    let peer = observe(Plane::Kube).await?;
    let content = format!(
        "{NODES} EdgeNodes of {} bytes, {} of them status, and {APPS} EdgeApps",
        ours.list_bytes_per_node(),
        Content::new().status(0).len()
    );
    let figure = |id, unit, budget, value: fn(&Observed) -> f64, method| Figure {
        id,
        value: value(&ours),
        unit,
        budget: Some(budget),
        peer: Some(value(&peer)),
        method,
    };
    let memory = |observed: &Observed| {
        format!("{:.1} MiB with {content}, {:.1} MiB at last", observed.filled_mib, observed.used_mib)
    };
    Ok(vec![
        figure(
            "standalone_pss_mib",
            "MiB",
            Budget::AtMost(20.0),
            |observed| observed.empty_mib,
            format!(
                "Pss of /proc/PID/smaps_rollup of the whole controller after {} s at rest, empty; {} (after lists, a watch and a \
                 restart); peer: kube-apiserver and etcd together, {}",
                QUIET.as_secs(),
                memory(&ours),
                memory(&peer)
            ),
        ),
        figure(
            "standalone_list_ms",
            "ms",
            Budget::AtMost(50.0),
            |observed| observed.list_ms,
            format!(
                "median of {LISTS} lists of all EdgeNodes as JSON, {:.1} MiB read to the end, no compression; {content}; peer: \
                 kube-apiserver",
                ours.list_mib
            ),
        ),
        figure(
            "standalone_watch_ms",
            "ms",
            Budget::AtMost(5.0),
            |observed| median(observed.watch_ms.clone()),
            format!(
                "median of {EVENTS}; from sending a merge patch of an EdgeNode to its line of a watch on another connection; 99 % \
                 within {:.1} ms; peer: kube-apiserver with an etcd that does not fsync, 99 % within {:.1} ms",
                ours.slowest_percent(),
                peer.slowest_percent()
            ),
        ),
        figure(
            "standalone_writes_per_s",
            "1/s",
            Budget::AtLeast(500.0),
            |observed| observed.writes_per_s,
            format!(
                "{WRITERS} clients for {} s, each creates EdgeNodes and patches status and annotations of each; every answer is on disk; \
                 peer: kube-apiserver with an etcd that does not fsync",
                WRITING.as_secs()
            ),
        ),
        figure(
            "standalone_start_ms",
            "ms",
            Budget::AtMost(1000.0),
            |observed| observed.start_ms,
            format!(
                "median of {STARTS} starts after SIGKILL, from starting the process to the first 200 of a GET of an EdgeNode; {content}; \
                 peer: kube-apiserver alone, its etcd goes on"
            ),
        ),
    ])
}

impl Observed {
    fn list_bytes_per_node(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "a thousand")]
        let bytes = self.list_mib * server::MIB / NODES as f64;
        format!("{bytes:.0}")
    }

    /// Only one event of a hundred took longer.
    fn slowest_percent(&self) -> f64 {
        let mut times = self.watch_ms.clone();
        times.sort_by(f64::total_cmp);
        times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN)
    }
}

async fn observe(plane: Plane) -> Result<Observed> {
    let mut server = Server::start(plane).await?;
    tokio::time::sleep(QUIET).await;
    let empty_mib = server.pss()?;
    let content = Content::new();
    content.create(&server.client().await?).await?;
    tokio::time::sleep(QUIET).await;
    let filled_mib = server.pss()?;
    let (list_ms, list_mib) = list(&server.client().await?).await?;
    let watch_ms = watch(&server).await?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(server.restart(&format!("{NODES_PATH}/{}", content::node_name(0))).await?);
    }
    list(&server.client().await?).await?;
    watch(&server).await?;
    tokio::time::sleep(QUIET).await;
    let used_mib = server.pss()?;
    let writes_per_s = writes(&server, &content).await?;
    Ok(Observed {
        empty_mib,
        filled_mib,
        used_mib,
        list_ms,
        list_mib,
        watch_ms,
        start_ms: median(starts),
        writes_per_s,
    })
}

/// Milliseconds of a list, and its MiB.
async fn list(client: &Client) -> Result<(f64, f64)> {
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..LISTS {
        let start = Instant::now();
        bytes = client.request_text(Request::get(NODES_PATH).body(Vec::new())?).await?.len();
        times.push(milliseconds(start));
    }
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    let mib = bytes as f64 / server::MIB;
    Ok((median(times), mib))
}

/// Milliseconds from a patch to its event.
async fn watch(server: &Server) -> Result<Vec<f64>> {
    let (watcher, writer) = (server.client().await?, server.client().await?);
    let newest = Request::get(format!("{NODES_PATH}?limit=1")).body(Vec::new())?;
    let newest: Value = writer.request(newest).await?;
    let newest = newest["metadata"]["resourceVersion"].as_str().context("a list has a resourceVersion")?;
    let request =
        Request::get(format!("{NODES_PATH}?watch=true&resourceVersion={newest}")).body(Vec::new())?;
    let mut lines = watcher.request_stream(request).await?.lines();
    let mut times = Vec::new();
    for event in 0..EVENTS {
        let mark = unique("mark");
        let patch = annotate(&content::node_name(event % NODES), &mark)?;
        let start = Instant::now();
        let seen = async {
            while let Some(line) = lines.next().await {
                if line?.contains(&mark) {
                    return Ok(milliseconds(start));
                }
            }
            anyhow::bail!("the watch ended")
        };
        let (patched, seen) = tokio::join!(writer.request_text(patch), tokio::time::timeout(EVENT, seen));
        patched?;
        times.push(seen.context("no event of a write")??);
    }
    Ok(times)
}

fn annotate(node: &str, mark: &str) -> Result<Request<Vec<u8>>> {
    let body = format!("{{\"metadata\":{{\"annotations\":{{\"bench\":\"{mark}\"}}}}}}");
    patch(&format!("{NODES_PATH}/{node}"), body.into_bytes())
}

fn patch(path: &str, body: Vec<u8>) -> Result<Request<Vec<u8>>> {
    Ok(Request::patch(format!("{path}?fieldManager=bench")).header("Content-Type", MERGE).body(body)?)
}

/// Acknowledged creates and updates per second.
async fn writes(server: &Server, content: &Content) -> Result<f64> {
    let clients: Vec<Client> =
        stream::iter(0..WRITERS).then(|_| async { server.client().await }).try_collect().await?;
    // Their connections stand before the clock starts.
    for client in &clients {
        client.request_text(Request::get("/version").body(Vec::new())?).await?;
    }
    let start = Instant::now();
    let writers = clients.into_iter().map(|client| {
        let status = content.status(0);
        tokio::spawn(async move {
            let mut done = 0;
            while start.elapsed() < WRITING {
                let name = unique("written");
                client.request_text(post(NODES_PATH, &content::node(&name, 0))?).await?;
                client.request_text(patch(&format!("{NODES_PATH}/{name}/status"), status.clone())?).await?;
                client.request_text(annotate(&name, "written")?).await?;
                done += 3;
            }
            Ok::<i32, anyhow::Error>(done)
        })
    });
    let mut done = 0;
    for writer in writers.collect::<Vec<_>>() {
        done += writer.await??;
    }
    ensure!(done > 0, "nothing was written");
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}

fn post(path: &str, body: &Value) -> Result<Request<Vec<u8>>> {
    let request =
        Request::post(format!("{path}?fieldManager=bench")).header("Content-Type", "application/json");
    Ok(request.body(serde_json::to_vec(body)?)?)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}
