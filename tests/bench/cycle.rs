//! One app's life: what it costs the API server, and how fast it ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use skerry_tests::{IMAGE, Node, Site, eventually};

use crate::figures::Figure;
use crate::{at_most, median};

/// Deletions behind the median.
const RUNS: usize = 9;
/// After this time without a write, a cycle's writes are all done.
const QUIET: Duration = Duration::from_secs(4);

fn sleeper(namespace: &str, node: &str, grace: u32) -> String {
    format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: cycle, namespace: {namespace}}}\nspec:\n  \
         placement: {{nodeSelector: {{matchLabels: {{test: {node}}}}}}}\n  template:\n    spec:\n      \
         terminationGracePeriodSeconds: {grace}\n      containers:\n      - {{name: main, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}\n"
    )
}

async fn deploy(site: &Site, node: &Node, namespace: &str, grace: u32) -> Result<()> {
    site.kubectl().apply(&sleeper(namespace, &node.name, grace)).await?;
    let wait = ["wait", "-n", namespace, "ea/cycle", "--for=condition=Available", "--timeout=60s"];
    site.kubectl().run(&wait).await?;
    node.phase(namespace, "cycle", "Running").await.map(drop)
}

/// From the start of `kubectl delete` until object and container are gone. The container ignores SIGTERM, so that its grace period of
/// 1 s is part of the time.
pub async fn delete_to_gone(site: &Site, node: &Node) -> Result<Figure> {
    let namespace = site.namespace().await?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        deploy(site, node, &namespace, 1).await?;
        let containers = node.app(&namespace, "cycle").await?;
        let start = Instant::now();
        site.kubectl().run(&["delete", "-n", &namespace, "ea/cycle"]).await?;
        eventually("the container is gone", || async {
            ensure!(containers.all().await?.is_empty(), "it is there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        times.push(start.elapsed().as_secs_f64() * 1000.0);
    }
    let method =
        format!("median of {RUNS}; kubectl delete to no object and no container, grace 1 s, SIGTERM ignored");
    Ok(at_most("delete_to_gone_ms", median(times), "ms", 1500.0, method))
}

/// Writes to EdgeApps and EdgeNodes for one app created and deleted on one node, besides the user's own create and delete.
pub async fn api_writes(site: &Site, node: &Node) -> Result<Figure> {
    let namespace = site.namespace().await?;
    settled_writes(site).await?;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let before = settled_writes(site).await?;
        deploy(site, node, &namespace, 0).await?;
        settled_writes(site).await?;
        site.kubectl().run(&["delete", "-n", &namespace, "ea/cycle"]).await?;
        let containers = node.app(&namespace, "cycle").await?;
        eventually("the container is gone", || async {
            ensure!(containers.all().await?.is_empty(), "it is there");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let after = settled_writes(site).await?;
        counts.push(after - before - 2.0);
    }
    let method = "median of 3 lives on one node; apiserver_request_total of edgeapps and edgenodes, without the user's \
                  own create and delete, without Events"
        .to_owned();
    Ok(at_most("api_writes_per_app_cycle", median(counts), "writes", 4.0, method))
}

/// The number of writes so far, once it no longer grows.
async fn settled_writes(site: &Site) -> Result<f64> {
    let mut last = writes(site).await?;
    let mut since = Instant::now();
    while since.elapsed() < QUIET {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = writes(site).await?;
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(last)
}

/// The API server's own count of writes to our resources.
pub async fn writes(site: &Site) -> Result<f64> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let metrics = site.client.request_text(request).await?;
    let ours = metrics.lines().filter(|line| {
        line.starts_with("apiserver_request_total{")
            && (line.contains("resource=\"edgeapps\"") || line.contains("resource=\"edgenodes\""))
            && ["POST", "PUT", "PATCH", "APPLY", "DELETE"]
                .iter()
                .any(|v| line.contains(&format!("verb=\"{v}\"")))
            && line.contains("code=\"2")
    });
    ours.map(|line| {
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        value.with_context(|| format!("not a metric: {line}"))
    })
    .sum()
}
