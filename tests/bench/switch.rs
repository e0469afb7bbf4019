//! How many requests fail while a web service changes places by `StartFirst`: a client on the same box asks it by name, over a new
//! connection each time, without a pause.

use anyhow::{Context, Result, ensure};
use skerry_tests::{IMAGE, Node, Site, docker_run, eventually};

use crate::at_most;
use crate::figures::Figure;

/// Changes of the service under the loop.
const SWITCHES: usize = 5;
/// Requests that a change must have gone through, from the edit to the last of the old containers.
const REQUESTS_MIN: usize = 100;

pub async fn failed_requests(site: &Site, node: &Node) -> Result<Figure> {
    let namespace = site.namespace().await?;
    site.kubectl().apply(&web(&namespace, &node.name, 0)).await?;
    serves(node, &namespace, 0).await?;
    // A request that hangs counts as failed, too.
    let client =
        "while :; do timeout 5 wget -q -O /dev/null http://web:8080/ && echo ok || echo FAILED; done";
    let containers = format!("[{{name: main, image: \"{IMAGE}\", command: [sh, -c, \"{client}\"]}}]");
    site.kubectl().apply(&app("client", &namespace, &node.name, "StopFirst", &containers)).await?;
    node.phase(&namespace, "client", "Running").await?;
    let client = node.app(&namespace, "client").await?.running().await?.id.context("the client runs")?;
    eventually("the client is answered", || async {
        ensure!(docker_run(&["logs", "--tail", "1", &client]).await? == "ok", "not yet");
        Ok::<_, anyhow::Error>(())
    })
    .await?;

    let (_, failed_before) = requests(&client).await?;
    for version in 1..=SWITCHES {
        let (before, _) = requests(&client).await?;
        site.kubectl().apply(&web(&namespace, &node.name, version)).await?;
        serves(node, &namespace, version).await?;
        let (after, _) = requests(&client).await?;
        let during = after - before;
        ensure!(during >= REQUESTS_MIN, "{during} requests were made during a change: this was no load");
    }
    let (all, failed) = requests(&client).await?;
    let method = format!(
        "{SWITCHES} changes of the image's command by StartFirst, {all} requests by name in a loop, at least {REQUESTS_MIN} \
         during each change"
    );
    #[expect(clippy::cast_precision_loss, reason = "some thousand requests")]
    let value = (failed - failed_before) as f64;
    Ok(at_most("switch_failed_requests", value, "requests", 0.0, method))
}

/// All requests so far, and those that failed.
async fn requests(client: &str) -> Result<(usize, usize)> {
    let log = docker_run(&["logs", client]).await?;
    Ok((log.lines().count(), log.lines().filter(|line| *line == "FAILED").count()))
}

/// Waits until the service runs in this version, and in no other.
async fn serves(node: &Node, namespace: &str, version: usize) -> Result<()> {
    let containers = node.app(namespace, "web").await?;
    eventually(&format!("version {version} serves alone"), || async {
        let running = containers.running().await?;
        let command = running.config.and_then(|config| config.entrypoint).unwrap_or_default().join(" ");
        ensure!(command.contains(&format!("v{version}.")), "{command}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

fn web(namespace: &str, node: &str, version: usize) -> String {
    let serve =
        format!("mkdir -p /www && echo v{version}. >/www/index.html && exec httpd -f -p 8080 -h /www");
    let probe = "readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}";
    let containers = format!("[{{name: main, image: \"{IMAGE}\", command: [sh, -c, \"{serve}\"], {probe}}}]");
    app("web", namespace, node, "StartFirst", &containers)
}

fn app(name: &str, namespace: &str, node: &str, switch: &str, containers: &str) -> String {
    format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
         placement: {{nodeSelector: {{matchLabels: {{test: {node}}}}}}}\n  strategy: {{switch: {switch}}}\n  template:\n    \
         spec:\n      terminationGracePeriodSeconds: 2\n      containers: {containers}\n"
    )
}
