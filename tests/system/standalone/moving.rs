//! A site that has outgrown the standalone API moves to Kubernetes, by the commands of `docs/moving-on.md`.

use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use skerry_tests::{ControlPlane, IMAGE, Plane, Site, eventually, repository_root};
use tokio::process::Command;

use crate::apply::app_yaml;
use crate::{Shared, shared};

fn app(namespace: &str, node: &str, text: &str) -> String {
    let pod = format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"], \
         env: [{{name: TEXT, value: {text}}}]}}]}}"
    );
    app_yaml(namespace, "one", node, &pod)
}

/// The blocks of commands in the page, in order.
fn blocks() -> Result<Vec<String>> {
    let page = std::fs::read_to_string(repository_root().join("docs/moving-on.md"))?;
    Ok(page.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect())
}

/// Runs a block as a person does, with kubectl in the PATH and the kubeconfigs where the page says.
async fn run(script: &str, old: &ControlPlane, new: &ControlPlane, cluster: &str) -> Result<String> {
    let path = format!("{}:{}", old.assets().display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", path)
        .env("OLD", old.kubeconfig())
        .env("NEW", new.kubeconfig())
        .env("CLUSTER", cluster)
        .current_dir(repository_root())
        .stdin(Stdio::null())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).trim().to_owned();
    ensure!(output.status.success(), "{script}\n{said}");
    Ok(said)
}

pub async fn a_site_moves_on_to_kubernetes(site: Shared) -> Result<()> {
    shared(site)?;
    let site = Site::start(Plane::Standalone).await?;
    let old = &site.control_plane;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    old.kubectl().apply(&app(&namespace, &node.name, "old")).await?;
    node.phase(&namespace, "one", "Running").await?;
    let texts = "a\n  metadata:\n    uid: 5\n";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace, "labels": {"a": "b"}},
        "data": {"uid": "u", "resourceVersion": "7", "text": texts}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, "stringData": {"k": "hush"}});
    for object in [&map, &secret] {
        old.kubectl().apply(&object.to_string()).await?;
    }
    old.kubectl().run(&["label", "edgenode", &node.name, "row=7"]).await?;
    let before = node.containers().await?.identities().await?;

    let new = ControlPlane::start(Plane::Kube).await?;
    let blocks = blocks()?;
    let [copy, accept] = blocks.as_slice() else { bail!("{} blocks in docs/moving-on.md", blocks.len()) };
    site.terminate_controller()?;
    // The page has the API of the old site running while it is copied, but no agent connected.
    site.start_controller().await?;
    let said = run(copy, old, &new, "").await?;
    let cluster = said.lines().last().context("the old cluster's name")?;
    site.terminate_controller()?;
    let moved = new.kubectl();
    let data = moved.run(&["get", "cm/c", "-n", &namespace, "-o", "json"]).await?;
    let data: serde_json::Value = serde_json::from_str(&data)?;
    ensure!(data["data"] == map["data"] && data["metadata"]["labels"] == map["metadata"]["labels"], "{data}");
    let secret = moved.run(&["get", "secret/s", "-n", &namespace, "-o", "jsonpath={.data.k}"]).await?;
    ensure!(secret == "aHVzaA==", "{secret}");

    site.start_controller_on(&new).await?;
    let nodes = kube::Api::<skerry_api::EdgeNode>::all(new.client().await?);
    let condition = async |kind: &str| {
        let node = nodes.get(&node.name).await?;
        let conditions = node.status.map(|status| status.conditions).unwrap_or_default();
        Ok::<_, anyhow::Error>(conditions.into_iter().find(|condition| condition.type_ == kind))
    };
    eventually("the node waits for a word", || async {
        let stalled = condition("Stalled").await?.context("not Stalled")?;
        if stalled.status == "True" && stalled.reason == "ClusterWentBack" {
            Ok(())
        } else {
            bail!("{stalled:?}")
        }
    })
    .await?;
    run(accept, old, &new, cluster).await?;
    eventually("the node has followed", || async {
        match (condition("Ready").await?, condition("Stalled").await?) {
            (Some(ready), None) if ready.status == "True" => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await?;
    ensure!(
        nodes
            .get(&node.name)
            .await?
            .metadata
            .labels
            .unwrap_or_default()
            .get("row")
            .is_some_and(|row| row == "7")
    );
    ensure!(node.containers().await?.identities().await? == before, "the container was touched");

    // The files that the app came from go on as before.
    moved.apply(&app(&namespace, &node.name, "new")).await?;
    eventually("a change reaches the node", || async {
        let now = node.containers().await?.identities().await?;
        ensure!(now.len() == before.len() && now != before, "{now:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}
