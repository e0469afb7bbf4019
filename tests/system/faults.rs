//! The cloud side breaks: no container may notice, and the status must tell the truth.

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{IMAGE, Plane, Site, eventually, unique};

use crate::apply::app_yaml;
use crate::{Shared, shared};

fn sleeper() -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    )
}

pub async fn a_controller_restart_touches_no_container(site: Shared) -> Result<()> {
    // Its own site: it is broken.
    let site = Site::start(shared(site)?.plane()).await?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let deploy = async |name: &str| {
        site.kubectl().apply(&app_yaml(&namespace, name, &node.name, &sleeper())).await?;
        node.phase(&namespace, name, "Running").await
    };
    deploy("one").await?;
    deploy("two").await?;
    // The newest change is a deletion: a fresh cache must not look older than what the node holds.
    site.kubectl().run(&["delete", "-n", &namespace, "ea/two"]).await?;
    let containers = node.containers().await?;
    eventually("one is left", || async {
        match containers.all().await?.len() {
            1 => Ok(()),
            count => bail!("{count} containers"),
        }
    })
    .await?;
    let before = containers.identities().await?;
    site.kill_controller()?;
    site.start_controller().await?;
    node.ready().await?;
    deploy("three").await?;
    ensure!(containers.identities().await?.contains(&before[0]), "the container was touched");
    let code = site.terminate_controller()?;
    ensure!(code == Some(0), "exit code {code:?}\n{}", site.controller_output());
    site.start_controller().await?;
    deploy("four").await?;
    ensure!(containers.identities().await?.contains(&before[0]), "the container was touched");
    Ok(())
}

pub async fn an_api_server_restart_is_survived(site: Shared) -> Result<()> {
    // Its own site: it is broken.
    let site = Site::start(shared(site)?.plane()).await?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    site.kubectl().apply(&app_yaml(&namespace, "one", &node.name, &sleeper())).await?;
    node.phase(&namespace, "one", "Running").await?;
    let containers = node.containers().await?;
    let before = containers.identities().await?;
    let pid = site.controller_pid();
    site.kill_api()?;
    // A crash during the outage is handled by the agent alone, and told afterwards.
    skerry_tests::docker_run(&["kill", &before[0].0]).await?;
    eventually("it is restarted", || async {
        let now = containers.identities().await?;
        if now.len() == 1 && now != before { Ok(()) } else { bail!("{now:?}") }
    })
    .await?;
    site.start_api().await?;
    site.kubectl().apply(&app_yaml(&namespace, "two", &node.name, &sleeper())).await?;
    node.phase(&namespace, "two", "Running").await?;
    eventually("the restart was told", || async {
        let report = node.report(&namespace, "one").await?;
        if report.ready && report.containers[0].restart_count == 1 { Ok(()) } else { bail!("{report:?}") }
    })
    .await?;
    if site.plane() == Plane::Kube {
        ensure!(site.controller_pid() == pid, "the controller was restarted");
    }
    Ok(())
}

pub async fn a_node_that_is_away_is_unknown(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let mut node = site.node().await?;
    site.kubectl().apply(&app_yaml(&namespace, "app", &node.name, &sleeper())).await?;
    node.phase(&namespace, "app", "Running").await?;
    let before = node.containers().await?.identities().await?;
    node.agent()?.kill()?;
    node.condition("Ready", "Unknown").await?;
    let report = node.phase(&namespace, "app", "Unknown").await?;
    ensure!(report.reason == "NodeUnreachable" && report.message.contains("last seen Running"), "{report:?}");
    let counts = eventually("the app counts it as unknown", || async {
        let counts =
            site.apps(&namespace).get("app").await?.status.and_then(|s| s.nodes).context("counts")?;
        if counts.unknown == 1 { Ok(counts) } else { bail!("{counts:?}") }
    })
    .await?;
    ensure!((counts.desired, counts.ready) == (1, 0), "{counts:?}");
    node.start()?;
    node.ready().await?;
    node.phase(&namespace, "app", "Running").await?;
    ensure!(node.containers().await?.identities().await? == before, "the container was touched");
    Ok(())
}

pub async fn a_deleted_node_comes_back_as_a_new_one(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let node = site.node().await?;
    let uid = site.nodes().get(&node.name).await?.metadata.uid;
    site.kubectl().run(&["label", "en", &node.name, &format!("extra={}", unique("x"))]).await?;
    site.kubectl().run(&["delete", "en", &node.name]).await?;
    eventually("the agent joins again", || async {
        let new = site.nodes().get(&node.name).await?;
        if new.metadata.uid == uid { bail!("the old one") } else { Ok(()) }
    })
    .await?;
    node.ready().await?;
    let labels = site.nodes().get(&node.name).await?.metadata.labels.unwrap_or_default();
    ensure!(labels.get("test") == Some(&node.name) && !labels.contains_key("extra"), "{labels:?}");
    Ok(())
}
