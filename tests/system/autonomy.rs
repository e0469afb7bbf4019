//! The agent alone: restarted, without a controller, without its state, without Docker.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{AgentOptions, IMAGE, Node, Site, docker_run, eventually, holds_for, unique};

use crate::apply::app_yaml;
use crate::{Shared, shared};

fn pair() -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}, \
         {{name: bb, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    )
}

/// A node that runs a pair of containers, and their identities.
async fn node_with_pair(site: &std::sync::Arc<Site>) -> Result<(Node, String, Vec<(String, String)>)> {
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    site.kubectl().apply(&app_yaml(&namespace, "pair", &node.name, &pair())).await?;
    node.phase(&namespace, "pair", "Running").await?;
    let before = node.containers().await?.identities().await?;
    ensure!(before.len() == 3, "{before:?}");
    Ok((node, namespace, before))
}

async fn unchanged(node: &Node, before: &[(String, String)]) -> Result<()> {
    let containers = node.containers().await?;
    holds_for("containers keep their ids and start times", Duration::from_secs(2), || async {
        let now = containers.identities().await?;
        ensure!(now == before, "{before:?} became {now:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub async fn a_killed_agent_restarts_nothing(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let (mut node, namespace, before) = node_with_pair(&site).await?;
    node.agent()?.kill()?;
    unchanged(&node, &before).await?;
    node.start()?;
    node.phase(&namespace, "pair", "Running").await?;
    unchanged(&node, &before).await
}

pub async fn a_stopped_agent_restarts_nothing(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let (mut node, _, before) = node_with_pair(&site).await?;
    let code = node.agent()?.terminate()?;
    ensure!(code == Some(0), "exit code {code:?}");
    unchanged(&node, &before).await?;
    node.start()?;
    node.ready().await?;
    unchanged(&node, &before).await
}

pub async fn a_container_comes_back_with_no_controller(site: Shared) -> Result<()> {
    // Its own site: the controller is killed.
    let site = Site::start(shared(site)?.plane()).await?;
    let (mut node, _, before) = node_with_pair(&site).await?;
    node.agent()?.kill()?;
    site.kill_controller()?;
    let ids: Vec<&str> = before.iter().map(|(id, _)| id.as_str()).collect();
    docker_run(&[&["rm", "-f"], &ids[..]].concat()).await?;
    node.start()?;
    let containers = node.containers().await?;
    eventually("everything runs again from disk alone", || async {
        match containers.identities().await?.len() {
            3 => Ok(()),
            count => bail!("{count} containers"),
        }
    })
    .await?;
    // A crash is handled alone, too.
    let victim = containers.identities().await?.into_iter().next().context("a container")?.0;
    docker_run(&["rm", "-f", &victim]).await?;
    eventually("what was removed by hand is back", || async {
        let now = containers.identities().await?;
        ensure!(now.len() == 3 && now.iter().all(|(id, _)| *id != victim), "{now:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub async fn a_corrupt_state_is_kept_aside_and_nothing_is_touched(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let (mut node, namespace, before) = node_with_pair(&site).await?;
    node.agent()?.kill()?;
    let file = node.state_dir().join("desired.bin");
    let mut bytes = std::fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes)?;
    node.start()?;
    node.phase(&namespace, "pair", "Running").await?;
    unchanged(&node, &before).await?;
    let kept: Vec<_> = std::fs::read_dir(node.state_dir())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains("corrupt"))
        .collect();
    ensure!(kept.len() == 1, "{kept:?}");
    let events = eventually("it is reported", || async {
        let events = site.kubectl().run(&["get", "events", "-A", "-o", "wide"]).await?;
        if events.lines().any(|line| line.contains("StateCorrupt") && line.contains(&node.name)) {
            Ok(())
        } else {
            bail!("no Event names it")
        }
    });
    events.await?;
    ensure!(file.exists(), "a fresh copy was stored");
    Ok(())
}

pub async fn a_foreign_container_is_not_touched(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let name = unique("foreign");
    // It carries some of our labels, as a curious person might set them, but no node's.
    let label = "skerry.dev/app=pair";
    let id = docker_run(&["run", "-d", "--name", &name, "--label", label, IMAGE, "sleep", "1000"]).await?;
    let result = async {
        let (node, namespace, _) = node_with_pair(&site).await?;
        site.kubectl().run(&["delete", "-n", &namespace, "ea/pair"]).await?;
        let containers = node.containers().await?;
        eventually("ours are gone", || async {
            ensure!(containers.all().await?.is_empty(), "not yet");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let running = docker_run(&["inspect", "-f", "{{.State.Running}}", &id]).await?;
        ensure!(running == "true", "the foreign container was stopped");
        Ok(())
    };
    let result = result.await;
    docker_run(&["rm", "-f", &id]).await?;
    result
}

pub async fn a_missing_docker_is_waited_for(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("docker.sock");
    let mut node =
        site.node_with(AgentOptions { docker_socket: Some(socket.clone()), ..Default::default() })?;
    node.condition("Ready", "False").await?;
    let said = site.nodes().get(&node.name).await?.status.unwrap_or_default();
    let ready = said.conditions.iter().find(|c| c.type_ == "Ready").context("a condition")?;
    ensure!(ready.reason == "DockerUnavailable", "{ready:?}");
    ensure!(ready.message.contains(&socket.display().to_string()), "{ready:?}");
    site.kubectl().apply(&app_yaml(&namespace, "pair", &node.name, &pair())).await?;
    let report = node.phase(&namespace, "pair", "Unknown").await?;
    ensure!(report.reason == "DockerUnavailable", "{report:?}");
    node.agent()?.check_alive()?;
    std::os::unix::fs::symlink("/var/run/docker.sock", &socket)?;
    node.phase(&namespace, "pair", "Running").await?;
    node.ready().await
}
