//! From the start of the `kubectl apply` process to the first HTTP 200, against the same container by `docker run`.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt as _;
use skerry_tests::{IMAGE, Node, Site, docker_run, eventually, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::figures::Figure;
use crate::{at_most, median};

/// Runs that are not counted: caches of both sides are warm afterwards.
const WARM_UP: usize = 2;

/// How the container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Host,
    Bridge,
}

/// The median ratio over pairs of runs in alternating order.
pub async fn ratio(
    site: &Site,
    node: &Node,
    id: &'static str,
    network: Network,
    budget: f64,
    pairs: usize,
) -> Result<Figure> {
    let namespace = site.namespace().await?;
    let (mut ratios, mut ours, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs + WARM_UP {
        let port = free_port()?;
        let (skerry, docker) = if pair % 2 == 0 {
            let skerry = through_skerry(site, node, &namespace, network, port).await?;
            (skerry, through_docker(network, port).await?)
        } else {
            let docker = through_docker(network, port).await?;
            (through_skerry(site, node, &namespace, network, port).await?, docker)
        };
        if pair >= WARM_UP {
            ratios.push(skerry.as_secs_f64() / docker.as_secs_f64());
            ours.push(skerry.as_secs_f64() * 1000.0);
            floor.push(docker.as_secs_f64() * 1000.0);
        }
    }
    let method = format!(
        "median of {pairs} pairs in alternating order; kubectl apply {:.0} ms, docker run {:.0} ms (medians)",
        median(ours),
        median(floor)
    );
    Ok(at_most(id, median(ratios), "ratio", budget, method))
}

fn serve(network: Network, port: u16) -> String {
    let port = if network == Network::Host { port } else { 8080 };
    format!("mkdir -p /www && echo ok > /www/index.html && exec httpd -f -p {port} -h /www")
}

async fn through_skerry(
    site: &Site,
    node: &Node,
    namespace: &str,
    network: Network,
    port: u16,
) -> Result<Duration> {
    let (host_network, ports) = match network {
        Network::Host => ("true", format!("{{containerPort: {port}}}")),
        Network::Bridge => ("false", format!("{{containerPort: 8080, hostPort: {port}, hostIP: 127.0.0.1}}")),
    };
    let yaml = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: web, namespace: {namespace}}}\nspec:\n  \
         placement: {{nodeSelector: {{matchLabels: {{test: {}}}}}}}\n  template:\n    spec:\n      hostNetwork: {host_network}\n      \
         terminationGracePeriodSeconds: 0\n      containers:\n      - {{name: web, image: \"{IMAGE}\", \
         command: [sh, -c, \"{}\"], ports: [{ports}]}}\n",
        node.name,
        serve(network, port)
    );
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), yaml)?;
    let started = next_start().await?;
    let start = Instant::now();
    let mut apply = site.kubectl().command();
    let mut apply = apply.args(["apply", "-f"]).arg(file.path()).stdout(Stdio::null()).spawn()?;
    first_answer(started, port).await?;
    let took = start.elapsed();
    ensure!(apply.wait()?.success(), "kubectl apply failed");
    site.kubectl().run(&["delete", "-n", namespace, "ea/web"]).await?;
    let containers = node.app(namespace, "web").await?;
    eventually("the container is gone", || async {
        ensure!(containers.all().await?.is_empty(), "it is there");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    Ok(took)
}

async fn through_docker(network: Network, port: u16) -> Result<Duration> {
    let name = skerry_tests::unique("bench");
    let publish = format!("127.0.0.1:{port}:8080");
    let network_args = match network {
        Network::Host => vec!["--network", "host"],
        Network::Bridge => vec!["-p", &publish],
    };
    let started = next_start().await?;
    let start = Instant::now();
    let mut run = Command::new("docker")
        .args(["run", "-d", "--name", &name])
        .args(network_args)
        .args([IMAGE, "sh", "-c", &serve(network, port)])
        .stdout(Stdio::null())
        .spawn()?;
    first_answer(started, port).await?;
    let took = start.elapsed();
    ensure!(run.wait()?.success(), "docker run failed");
    docker_run(&["rm", "-f", &name]).await?;
    Ok(took)
}

/// Ends when Docker starts a container after this call.
///
/// Asking earlier would do harm: a packet to an address of the bridge that nobody has yet makes the kernel wait a full second before it looks
/// for that address again, which would hide all differences.
async fn next_start() -> Result<oneshot::Receiver<()>> {
    let filters = HashMap::from([("type", vec!["container"]), ("event", vec!["start"])]);
    let options = EventsOptionsBuilder::default().filters(&filters).build();
    let docker = skerry_tests::docker().await?;
    let (tell, started) = oneshot::channel();
    let (subscribed, is_subscribed) = oneshot::channel();
    tokio::spawn(async move {
        let mut events = std::pin::pin!(docker.events(Some(options)));
        let mut next = events.next();
        // The request is on its way once the stream was polled.
        let _ = futures::poll!(&mut next);
        let _ = subscribed.send(());
        let _ = next.await;
        let _ = tell.send(());
    });
    is_subscribed.await?;
    tokio::time::sleep(SUBSCRIBE).await;
    Ok(started)
}

/// Docker takes a subscription in far less; it says nothing when it has.
const SUBSCRIBE: Duration = Duration::from_millis(50);

/// From the start on, asks every millisecond until the answer is 200.
async fn first_answer(started: oneshot::Receiver<()>, port: u16) -> Result<()> {
    let asked = async {
        started.await?;
        while !ask(port).await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.context("no answer within 60 s")?
}

async fn ask(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(&head[9..] == b"200")
}
