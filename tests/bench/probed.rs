//! What probes cost: memory and processor time of an agent whose containers are all asked over HTTP every few seconds.

use std::time::Duration;

use anyhow::Result;
use skerry_tests::{IMAGE, Node, Site};

use crate::at_most;
use crate::figures::Figure;
use crate::rest::{cpu_seconds, pss};

/// Containers on the node while it is watched.
const CONTAINERS: usize = 10;
/// Seconds between two tries of each probe.
const PERIOD: u64 = 5;
/// After the last container is ready, before the watch begins.
const SETTLE: Duration = Duration::from_secs(10);

/// Both figures, from one watch.
pub async fn measure(site: &Site, mut node: Node, seconds: u64) -> Result<Vec<Figure>> {
    let namespace = site.namespace().await?;
    for i in 0..CONTAINERS {
        let yaml = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: probed-{i}, namespace: {namespace}}}\nspec:\n  \
             placement: {{nodeSelector: {{matchLabels: {{test: {}}}}}}}\n  template:\n    spec:\n      \
             terminationGracePeriodSeconds: 0\n      containers:\n      - name: main\n        image: \"{IMAGE}\"\n        \
             command: [sh, -c, \"mkdir -p /www && echo ok >/www/healthz && exec httpd -f -p 8080 -h /www\"]\n        \
             readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: {PERIOD}}}\n",
            node.name
        );
        site.kubectl().apply(&yaml).await?;
    }
    for i in 0..CONTAINERS {
        node.phase(&namespace, &format!("probed-{i}"), "Running").await?;
    }
    tokio::time::sleep(SETTLE).await;
    let agent = node.agent()?.pid();
    let before = cpu_seconds(agent)?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let cpu = cpu_seconds(agent)? - before;

    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let time = seconds as f64;
    let watched =
        format!("over {seconds} s, {CONTAINERS} containers, each with an HTTP probe every {PERIOD} s");
    Ok(vec![
        at_most(
            "agent_pss_probed_mib",
            pss(agent)?,
            "MiB",
            8.0,
            format!("Pss of /proc/PID/smaps_rollup, {watched}"),
        ),
        at_most(
            "agent_probed_cpu_percent",
            cpu / time * 100.0,
            "%",
            0.5,
            format!("run time of all threads by /proc/PID/task/*/schedstat, {watched}"),
        ),
    ])
}
