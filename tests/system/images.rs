//! Images: pulled by policy, and what is said when that fails.

use anyhow::{Result, bail, ensure};
use skerry_tests::{IMAGE, Registry, docker_run, eventually};

use crate::apply::app_yaml;
use crate::{Shared, shared};

fn pod(image: &str, policy: &str) -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{image}\", imagePullPolicy: {policy}, command: [sleep, \"1000\"]}}]}}"
    )
}

pub async fn an_image_comes_from_a_registry(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let registry = Registry::start().await?;
    let image = registry.push("tools/app:1").await?;
    for policy in ["IfNotPresent", "Always"] {
        let name = policy.to_lowercase();
        site.kubectl().apply(&app_yaml(&namespace, &name, &node.name, &pod(&image, policy))).await?;
        node.phase(&namespace, &name, "Running").await?;
    }
    // With the registry away, what is there is enough for a restart, but not for a first start by Always.
    drop(registry);
    let always = node.app(&namespace, "always").await?;
    let before = always.running().await?.id.unwrap_or_default();
    docker_run(&["kill", &before]).await?;
    eventually("it is restarted from the image that is there", || async {
        let id = always.running().await?.id.unwrap_or_default();
        if id == before { bail!("not yet") } else { Ok(()) }
    })
    .await?;
    site.kubectl().apply(&app_yaml(&namespace, "second", &node.name, &pod(&image, "Always"))).await?;
    let report = node.phase(&namespace, "second", "Failed").await?;
    ensure!(report.reason == "ImagePullFailed", "{report:?}");
    drop(node);
    docker_run(&["rmi", &image]).await?;
    Ok(())
}

pub async fn a_missing_image_fails_in_the_registrys_words(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let registry = Registry::start().await?;
    let image = registry.reference("no-such-thing:7");
    site.kubectl().apply(&app_yaml(&namespace, "lost", &node.name, &pod(&image, "IfNotPresent"))).await?;
    let report = node.phase(&namespace, "lost", "Failed").await?;
    ensure!(report.reason == "ImagePullFailed", "{report:?}");
    ensure!(report.message.contains(&image) && report.message.contains("manifest unknown"), "{report:?}");
    eventually("the app's status names the node", || async {
        let status = site.apps(&namespace).get("lost").await?.status.unwrap_or_default();
        match &status.failures[..] {
            [failure] if failure.node == node.name && failure.message.contains("manifest unknown") => Ok(()),
            _ => bail!("{status:?}"),
        }
    })
    .await?;
    let table = site.kubectl().run(&["get", "ea", "-n", &namespace]).await?;
    ensure!(table.contains("ImagePullFailed"), "{table}");
    Ok(())
}

pub async fn a_missing_image_leaves_the_old_container_serving(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let registry = Registry::start().await?;
    site.kubectl().apply(&app_yaml(&namespace, "app", &node.name, &pod(IMAGE, "Never"))).await?;
    node.phase(&namespace, "app", "Running").await?;
    let containers = node.app(&namespace, "app").await?;
    let before = containers.identities().await?;
    let missing = registry.reference("gone:1");
    site.kubectl().apply(&app_yaml(&namespace, "app", &node.name, &pod(&missing, "IfNotPresent"))).await?;
    let report = node.phase(&namespace, "app", "Failed").await?;
    ensure!(report.reason == "ImagePullFailed" && report.ready, "{report:?}");
    ensure!(containers.identities().await? == before, "the old container was touched");
    Ok(())
}

pub async fn never_means_never(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let image = format!("skerry.local/{}:1", skerry_tests::unique("later"));
    site.kubectl().apply(&app_yaml(&namespace, "never", &node.name, &pod(&image, "Never"))).await?;
    let report = node.phase(&namespace, "never", "Failed").await?;
    ensure!(report.reason == "ErrImageNeverPull" && report.message.contains(&image), "{report:?}");
    // Somebody brings the image; nobody has to tell the agent.
    docker_run(&["tag", IMAGE, &image]).await?;
    node.phase(&namespace, "never", "Running").await?;
    drop(node);
    docker_run(&["rmi", &image]).await?;
    Ok(())
}
