//! Copies of everything, and what nodes make of a past that comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use skerry_tests::{IMAGE, Node, Plane, Site, eventually, holds_for};

use crate::apply::app_yaml;
use crate::trust::refused;
use crate::{Shared, shared};

fn sleeper(text: &str) -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"], \
         env: [{{name: TEXT, value: {text}}}]}}]}}"
    )
}

async fn deploy(site: &Site, node: &Node, namespace: &str, name: &str, text: &str) -> Result<()> {
    site.kubectl().apply(&app_yaml(namespace, name, &node.name, &sleeper(text))).await?;
    eventually("the newest revision runs", || async {
        let app = site.apps(namespace).get(name).await?;
        let counts = app.status.and_then(|status| status.nodes).context("counts")?;
        if counts.ready == 1 && counts.updated == 1 { Ok(()) } else { bail!("{counts:?}") }
    })
    .await?;
    node.phase(namespace, name, "Running").await.map(drop)
}

fn back_up(site: &Site, file: &Path) -> Result<(i32, String)> {
    let dir = format!("--data-dir={}", site.control_plane.data_dir().display());
    refused("skerry-controller", &["standalone", "backup", &file.display().to_string(), &dir])
}

fn restore(file: &Path, dir: &Path, key: Option<&Path>) -> Result<(i32, String)> {
    let (file, dir) = (file.display().to_string(), format!("--data-dir={}", dir.display()));
    let key = key.map(|key| format!("--key-file={}", key.display()));
    let args: Vec<&str> = ["standalone", "restore", &file, &dir].into_iter().chain(key.as_deref()).collect();
    refused("skerry-controller", &args)
}

async fn unchanged(node: &Node, before: &[(String, String)]) -> Result<()> {
    let containers = node.containers().await?;
    holds_for("containers keep their ids and start times", Duration::from_secs(3), || async {
        let now = containers.identities().await?;
        ensure!(now == before, "{before:?} became {now:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A site whose newest state is saved, a file with it, and the key.
async fn saved(dir: &Path) -> Result<(std::sync::Arc<Site>, Node, String, PathBuf, PathBuf)> {
    let site = Site::start(Plane::Standalone).await?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    deploy(&site, &node, &namespace, "one", "old").await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, "stringData": {"k": "hush"}});
    site.kubectl().apply(&secret.to_string()).await?;
    let file = dir.join("backup.db");
    let (code, said) = back_up(&site, &file)?;
    ensure!(code == 0 && said.contains("secrets.key"), "{code}: {said}");
    let key = site.control_plane.data_dir().join("secrets.key");
    Ok((site, node, namespace, file, key))
}

pub async fn a_backup_is_restored_elsewhere(site: Shared) -> Result<()> {
    shared(site)?;
    let dir = tempfile::tempdir()?;
    let (site, node, namespace, file, key) = saved(dir.path()).await?;
    let before = node.containers().await?.identities().await?;
    site.kill_controller()?;
    let there = site.control_plane.elsewhere()?;
    let (code, said) = restore(&file, &there.data_dir(), Some(&key))?;
    ensure!(code == 0, "{code}: {said}");
    site.start_controller_on(&there).await?;
    // The authority is in the backup, so that every kubeconfig goes on working: the site's own is of the lost directory.
    node.ready().await?;
    node.phase(&namespace, "one", "Running").await?;
    unchanged(&node, &before).await?;
    let secret =
        there.kubectl().run(&["get", "secret", "s", "-n", &namespace, "-o", "jsonpath={.data.k}"]).await?;
    ensure!(secret == "aHVzaA==", "{secret}");
    // Nothing was lost, so that nothing waits for a person.
    deploy(&site, &node, &namespace, "two", "new").await?;
    ensure!(
        node.containers().await?.identities().await?.iter().any(|now| before.contains(now)),
        "it was restarted"
    );
    Ok(())
}

pub async fn a_bad_restore_changes_nothing(site: Shared) -> Result<()> {
    shared(site)?;
    let dir = tempfile::tempdir()?;
    let (site, _node, _, file, key) = saved(dir.path()).await?;
    let (code, said) = back_up(&site, &file)?;
    ensure!(
        code == 1 && said.contains(&file.display().to_string()) && said.lines().count() == 1,
        "{code}: {said}"
    );
    let other_key = dir.path().join("other.key");
    fs::write(&other_key, fs::read(&key)?.iter().rev().copied().collect::<Vec<_>>())?;
    let short = dir.path().join("short.db");
    let whole = fs::read(&file)?;
    fs::write(&short, &whole[..whole.len() / 2])?;
    let new = dir.path().join("new");
    let cases = [
        (&file, None, "secrets.key"),
        (&file, Some(other_key.as_path()), "other.key"),
        (&file, Some(Path::new("/nonexistent")), "/nonexistent"),
        (&short, Some(key.as_path()), "short.db"),
        (&other_key, Some(key.as_path()), "other.key"),
    ];
    for (file, key, named) in cases {
        let (code, said) = restore(file, &new, key)?;
        ensure!(code == 1 && said.contains(named) && said.lines().count() == 1, "{code}: {said}");
        ensure!(
            !new.join("store.db").exists() && !new.join("secrets.key").exists(),
            "{named}: something was restored"
        );
    }
    let taken = site.control_plane.data_dir();
    let (code, said) = restore(&file, &taken, Some(&key))?;
    ensure!(code == 1 && said.contains(&taken.display().to_string()), "{code}: {said}");
    // After all these, it works.
    let (code, said) = restore(&file, &new, Some(&key))?;
    ensure!(code == 0, "{code}: {said}");
    Ok(())
}

pub async fn an_old_backup_changes_no_node(site: Shared) -> Result<()> {
    shared(site)?;
    let dir = tempfile::tempdir()?;
    let (site, node, namespace, file, key) = saved(dir.path()).await?;
    deploy(&site, &node, &namespace, "one", "new").await?;
    deploy(&site, &node, &namespace, "two", "new").await?;
    let before = node.containers().await?.identities().await?;
    site.kill_controller()?;
    let there = site.control_plane.elsewhere()?;
    let (code, said) = restore(&file, &there.data_dir(), Some(&key))?;
    ensure!(code == 0, "{code}: {said}");
    site.start_controller_on(&there).await?;
    node.condition("Ready", "True").await?;
    node.condition("Stalled", "True").await?;
    unchanged(&node, &before).await?;
    let status = site.nodes().get(&node.name).await?.status.context("a status")?;
    let stalled =
        status.conditions.iter().find(|condition| condition.type_ == "Stalled").context("Stalled")?;
    ensure!(stalled.reason == "ClusterWentBack", "{stalled:?}");
    // The command in the message is what accepts the past.
    let command = stalled.message.split("kubectl ").nth(1).context("a command")?.replace('\'', "");
    let command = command.trim_end().trim_end_matches(", or all nodes of that one:");
    there.kubectl().run(&command.split_whitespace().collect::<Vec<_>>()).await?;
    eventually("the node follows", || async {
        let now = node.containers().await?.app(&namespace, "two").all().await?;
        ensure!(now.is_empty(), "two runs");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    node.phase(&namespace, "one", "Running").await.map(drop)
}
