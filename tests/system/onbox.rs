//! Whoever stands before the box: apps with no controller at all, by command and by folder, and how a box that joins later takes them over.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use skerry_tests::{AgentOptions, IMAGE, Node, Site, eventually, holds_for};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::apply::app_yaml;
use crate::{Shared, shared};

/// Long enough for a restart that must not happen.
const QUIET: Duration = Duration::from_secs(2);
/// What a container of these tests does first.
const PORT_OF_CALL: &str = "echo made fast; exec sleep 9999";

fn pod(script: &str) -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: main, image: \"{IMAGE}\", command: [sh, -c, '{script}']}}]}}"
    )
}

/// An agent that dials where nobody is, once its socket answers.
async fn alone(site: &Arc<Site>, config: &str) -> Result<Node> {
    let options = AgentOptions { alone: true, config: config.to_owned(), ..AgentOptions::default() };
    let node = site.node_with(options)?;
    eventually("the agent answers", || status(&node)).await?;
    Ok(node)
}

/// `skerry-agent status -o json`.
async fn status(node: &Node) -> Result<Value> {
    let said = node.run(&["status", "-o", "json"], "").await?;
    serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))
}

/// Waits until the box says this of an app.
async fn standing(node: &Node, app: &str, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
    eventually(&format!("{app} {what}"), || async {
        let status = status(node).await?;
        let apps = status["apps"].as_array().context("apps")?;
        let app = apps.iter().find(|one| one["name"] == app);
        match app {
            Some(app) if so(app) => Ok(app.clone()),
            Some(_) | None => bail!("{status}"),
        }
    })
    .await
}

/// Hands an app over and waits until it is ready.
async fn hand_over(node: &Node, yaml: &str) -> Result<()> {
    let said = node.run(&["run", "-f", "-"], yaml).await?;
    ensure!(said.code == Some(0), "{said:?}");
    Ok(())
}

/// Waits until nothing of the node is left in Docker.
async fn nothing_left(node: &Node) -> Result<()> {
    eventually("nothing is left", || async {
        let left = node.containers().await?.all().await?;
        ensure!(left.is_empty(), "{} containers", left.len());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub async fn an_app_is_handed_over_used_and_taken_back(site: Shared) -> Result<()> {
    let mut node = alone(&shared(site)?, "").await?;
    let mode = std::fs::metadata(node.socket())?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "others may speak to the agent: {mode:o}");

    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    std::fs::write(file.path(), app_yaml("default", "web", "nobody", &pod(PORT_OF_CALL)))?;
    let path = file.path().to_str().context("a path that is not UTF-8")?;
    let said = node.run(&["run", "-f", path], "").await?;
    ensure!(said.code == Some(0), "{said:?}");
    // It has waited: there is nothing more to wait for.
    let report = status(&node).await?;
    let app = &report["apps"][0];
    ensure!(app["source"] == "Local" && app["ready"] == true && app["phase"] == "Running", "{report}");
    ensure!(report["node"]["connected"] == false, "{report}");
    ensure!(node.run(&["status"], "").await?.code == Some(0), "all is well");

    follows_a_log(&node).await?;
    passes_input_and_code(&node).await?;

    node.agent()?.kill()?;
    ensure!(node.run(&["status"], "").await?.code == Some(1), "no agent answers");
    let said = node.run(&["logs", "web"], "").await?;
    ensure!(said.code == Some(0) && said.stdout.contains("made fast"), "{said:?}");
    passes_input_and_code(&node).await?;

    let before = node.app("default", "web").await?.identities().await?;
    node.start()?;
    standing(&node, "web", "is known again", |app| app["ready"] == true).await?;
    ensure!(node.app("default", "web").await?.identities().await? == before, "it was restarted");
    let said = node.run(&["remove", "web"], "").await?;
    ensure!(said.code == Some(0), "{said:?}");
    nothing_left(&node).await?;
    eventually("it is forgotten", || async {
        let status = status(&node).await?;
        ensure!(status["apps"].as_array().is_some_and(Vec::is_empty), "{status}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A line that is printed while `logs -f` looks on arrives there.
async fn follows_a_log(node: &Node) -> Result<()> {
    let mut child = node.command(&["logs", "web", "-f"])?.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    let mut next = async || -> Result<Option<String>> {
        let line = tokio::time::timeout(skerry_tests::LIMIT, lines.next_line()).await;
        Ok(line.context("no line came")??)
    };
    ensure!(next().await?.as_deref() == Some("made fast"), "the log begins with its first line");
    let said = node.run(&["exec", "web", "--", "sh", "-c", "echo cast off > /proc/1/fd/1"], "").await?;
    ensure!(said.code == Some(0), "{said:?}");
    let line = next().await?;
    ensure!(line.as_deref() == Some("cast off"), "{line:?}");
    Ok(child.kill().await?)
}

/// `exec -i` passes standard input on and returns the command's exit code.
async fn passes_input_and_code(node: &Node) -> Result<()> {
    let said = node.run(&["exec", "-i", "web", "--", "sh", "-c", "cat; exit 7"], "harbour\n").await?;
    ensure!(said.stdout == "harbour\n" && said.code == Some(7), "{said:?}");
    Ok(())
}

pub async fn a_file_in_the_folder_runs_is_edited_and_goes(site: Shared) -> Result<()> {
    let node = alone(&shared(site)?, "").await?;
    let (folder, file) = (node.manifests(), node.manifests().join("web.yaml"));
    std::fs::create_dir(&folder)?;
    let write = |word: &str| {
        let yaml = app_yaml("default", "web", "nobody", &pod(&format!("echo {word}; exec sleep 9999")));
        std::fs::write(&file, yaml)
    };
    write("ebb")?;
    standing(&node, "web", "runs", |app| app["source"] == "Static" && app["ready"] == true).await?;
    let prints = async |word: &str| {
        eventually(&format!("it prints {word}"), || async {
            let said = node.run(&["logs", "web"], "").await?;
            ensure!(said.stdout.trim() == word, "{said:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    };
    prints("ebb").await?;
    write("flood")?;
    prints("flood").await?;
    // What is wrong leaves in force what was there before, and is said.
    std::fs::write(&file, "kind: EdgeApp\nnonsense: true\n")?;
    eventually("the file is found wrong", || async {
        let status = status(&node).await?;
        let problems = status["node"]["manifestProblems"].to_string();
        ensure!(problems.contains("web.yaml"), "{status}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    prints("flood").await?;
    let said = node.run(&["remove", "web"], "").await?;
    ensure!(said.code == Some(1) && said.stderr.contains("manifests"), "it is a file's: {said:?}");
    std::fs::remove_file(&file)?;
    nothing_left(&node).await
}

pub async fn a_box_that_joins_later_restarts_nothing(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let mut node = alone(&site, "").await?;
    let yaml = app_yaml(&namespace, "web", &node.name, &pod(PORT_OF_CALL));
    hand_over(&node, &yaml).await?;
    let containers = node.app(&namespace, "web").await?;
    let before = containers.identities().await?;
    ensure!(!before.is_empty(), "nothing runs");

    node.join()?;
    node.ready().await?;
    // The controller's set is empty, and takes nothing away that is not its own.
    let same = || async {
        ensure!(containers.identities().await? == before, "it was restarted");
        Ok::<_, anyhow::Error>(())
    };
    holds_for("it runs on", QUIET, same).await?;
    site.kubectl().apply(&yaml).await?;
    standing(&node, "web", "is the controller's", |app| app["source"] == "Cloud" && app["ready"] == true)
        .await?;
    node.phase(&namespace, "web", "Running").await?;
    holds_for("it runs on", QUIET, same).await
}

pub async fn a_device_that_a_cloud_app_has_is_not_taken(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let config = "[devices.camera]\npaths = [\"/dev/zero\"]\ncount = 1\n".to_owned();
    let node = site.node_with(AgentOptions { config, ..AgentOptions::default() })?;
    node.ready().await?;
    let wants = |device: &str| {
        pod(PORT_OF_CALL).replace(
            "{name: main,",
            &format!("{{name: main, resources: {{limits: {{skerry.dev/{device}: 1}}}},"),
        )
    };
    site.kubectl().apply(&app_yaml(&namespace, "holder", &node.name, &wants("camera"))).await?;
    node.phase(&namespace, "holder", "Running").await?;
    let before = node.app(&namespace, "holder").await?.identities().await?;

    let said = node
        .run(&["run", "--no-wait", "-f", "-"], &app_yaml("default", "rival", "nobody", &wants("camera")))
        .await?;
    ensure!(said.code == Some(0), "{said:?}");
    let app = standing(&node, "rival", "waits", |app| app["reason"] == "DeviceConflict").await?;
    let holder = format!("{namespace}/holder");
    ensure!(app["message"].to_string().contains(&holder), "the holder is not named: {app}");
    ensure!(node.app("default", "rival").await?.all().await?.is_empty(), "something was created");
    ensure!(node.app(&namespace, "holder").await?.identities().await? == before, "the holder was touched");

    // One that the box does not offer is no matter of waiting.
    let lathe = app_yaml("default", "lathe", "nobody", &wants("lathe"));
    let said = node.run(&["run", "--no-wait", "-f", "-"], &lathe).await?;
    ensure!(said.code == Some(0), "{said:?}");
    let app = standing(&node, "lathe", "is refused", |app| app["reason"] == "PolicyRefused").await?;
    ensure!(app["message"].to_string().contains("devices.lathe"), "{app}");
    Ok(())
}
