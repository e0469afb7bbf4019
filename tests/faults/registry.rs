//! A registry that stops in the middle of a layer holds up the app that waits for it, and nobody else.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{
    Condition, IMAGE, Outpost, OutpostOptions, Proxy, Registry, docker_run, eventually, unique,
};

use crate::apps::{App, Kind, bystander};
use crate::check::{settled, untouched};

/// Of the layer: more than comes through before the registry stops.
const LAYER: usize = 4 << 20;
/// That much comes through: the manifest, and a part of the layer.
const STALL: u64 = 1 << 20;

pub async fn a_registry_that_stalls_mid_layer_holds_up_nobody_else() -> Result<()> {
    let registry = Registry::start().await?;
    let proxy = Proxy::start(registry.port()).await?;
    let (name, image) = (unique("stalls"), layered(&registry).await?);
    let pulled = format!("127.0.0.1:{}/{image}", proxy.port);
    let mut outpost = Outpost::new(OutpostOptions::default())?;
    let (one, two) = (App::new("app", Kind::Pod, 1), App::new("app", Kind::Pod, 2));
    for app in [&one, &bystander()] {
        app.put(&outpost)?;
    }
    outpost.start()?;
    let before = settled(&outpost, &[bystander(), one]).await?;
    proxy.set(Condition::Stalls { after: STALL });
    let slow = App::new(&name, Kind::Single, 3);
    slow.put_with_image(&outpost, &pulled)?;
    eventually("the registry stops", || async {
        ensure!(proxy.carried() >= STALL, "{} bytes", proxy.carried());
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    two.put(&outpost)?;
    eventually("the other app is changed meanwhile", || async {
        let status = outpost.status().await?;
        let apps = status["apps"].as_array().context("apps")?;
        let phase = |name: &str| apps.iter().find(|app| app["name"] == name).map(|app| app["phase"].clone());
        let now = crate::check::containers(&outpost).await?;
        let changed = now.iter().filter(|seen| seen.app == "app" && seen.value == Some(2)).count() == 4;
        match (changed, phase("app"), phase(&name)) {
            (true, Some(app), Some(slow)) if app == "Running" && slow != "Running" => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await?;
    // The connection that hangs ends; Docker asks again.
    proxy.set(Condition::Cut);
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy.set(Condition::Open);
    let after = settled(&outpost, &[bystander(), two, slow]).await;
    drop(outpost);
    docker_run(&["rmi", &pulled]).await?;
    untouched(&before, &after?)
}

/// Pushes an image with a layer that no machine has, and returns its name without the registry.
async fn layered(registry: &Registry) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("noise");
    std::fs::write(&file, std::iter::repeat_with(|| fastrand::u8(..)).take(LAYER).collect::<Vec<_>>())?;
    let (container, image) = (unique("layered"), unique("noise"));
    let reference = registry.reference(&image);
    docker_run(&["create", "--name", &container, IMAGE, "true"]).await?;
    let path = file.to_str().context("a path that is not UTF-8")?;
    let made = async {
        docker_run(&["cp", path, &format!("{container}:/noise")]).await?;
        docker_run(&["commit", &container, &reference]).await?;
        docker_run(&["push", "--quiet", &reference]).await
    };
    let made = made.await;
    docker_run(&["rm", "-f", &container]).await?;
    made?;
    docker_run(&["rmi", &reference]).await?;
    Ok(image)
}
