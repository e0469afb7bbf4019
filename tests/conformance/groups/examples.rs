//! The files in `deploy/examples` do what they say. They are applied as they are, but for what this machine does not have:
//! * images that are on the internet are replaced by the same programs as Debian has them, see [`STAND_INS`];
//! * the app goes to one node of the test, and a `hostPort` becomes one that is free here.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use skerry_tests::{IMAGE, eventually, free_port, get, repository_root};

use crate::app::App;
use crate::case::Case;
use crate::images;
use crate::scene::Scene;
use crate::servers::{Mqtt, get_secure, tls_secret};

const STANDS_ON: &str = "deploy/examples/README.md";

/// What runs in place of an image that users name.
const STAND_INS: [(&str, &str); 4] = [
    ("busybox:1.37", IMAGE),
    ("nginx:1.29-alpine", "conformance:web"),
    ("eclipse-mosquitto:2", "conformance:broker"),
    ("registry.example/line-camera:1.4", "conformance:camera"),
];

fn example(file: &str) -> PathBuf {
    repository_root().join("deploy/examples").join(file)
}

/// Applies an example. Returns the app and the port of the box, if it has one.
async fn apply(scene: &Scene, file: &str, name: &str) -> Result<(App, Option<u16>)> {
    let path = example(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    apply_text(scene, &text, name).await
}

async fn apply_text(scene: &Scene, text: &str, name: &str) -> Result<(App, Option<u16>)> {
    let mut port = None;
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut object = Value::deserialize(document)?;
        if object["kind"] == "EdgeApp" {
            object["spec"]["placement"] =
                json!({"nodeSelector": {"matchLabels": {"test": scene.node().name}}});
            let pod = &mut object["spec"]["template"]["spec"];
            for list in ["initContainers", "containers"] {
                for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                    replace_image(container);
                    for one in container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten()
                    {
                        if one.get("hostPort").is_some() {
                            let free = free_port()?;
                            one["hostPort"] = free.into();
                            port = Some(free);
                        }
                    }
                }
            }
        }
        objects.push(object);
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let args = ["apply", "-n", &scene.namespace, "-f", "-"];
    scene.stage.site.kubectl().run_with(&args, &list.to_string()).await?;
    Ok((App::new(scene.clone(), &scene.node().name, name), port))
}

fn replace_image(container: &mut Value) {
    let image = container["image"].as_str().unwrap_or_default().to_owned();
    if let Some((_, ours)) = STAND_INS.iter().find(|(theirs, _)| *theirs == image) {
        container["image"] = images::full(ours).into();
    }
}

async fn served(port: Option<u16>, body: &str) -> Result<()> {
    let port = port.context("a port of the box")?;
    eventually("the page is served", || async {
        let answer = get(port, "/").await?;
        ensure!(answer == (200, body.to_owned()), "{answer:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::story("hello", STANDS_ON, async |scene| {
            let (app, port) = apply(scene, "hello.yaml", "hello").await?;
            app.ready().await?;
            served(port, "Hello from the edge\n").await
        }),
        Case::story("job", STANDS_ON, async |scene| {
            let (app, _) = apply(scene, "job.yaml", "inventory").await?;
            app.phase("Succeeded").await.map(drop)
        }),
        Case::story("sidecar", STANDS_ON, async |scene| {
            let (app, _) = apply(scene, "sidecar.yaml", "sidecar").await?;
            app.ready().await?;
            app.says("client", "wget -q -O - http://localhost:8080/sh | head -c 4 | tail -c 3", "ELF").await
        }),
        Case::story("web", STANDS_ON, async |scene| {
            let (app, port) = apply(scene, "web.yaml", "web").await?;
            let report = app.reason("CreateContainerConfigError").await?;
            ensure!(report.message.contains("secret \"web-tls\""), "{report:?}");
            let (secret, certificate) = tls_secret("web-tls")?;
            scene.config(&secret).await?;
            app.ready().await?;
            served(port, "<h1>Harbour lights</h1>\n").await?;
            let address = app.sh("web", "hostname -i").await?;
            let page = get_secure(&address, 443, &certificate).await?;
            ensure!(page == "<h1>Harbour lights</h1>\n", "{page:?}");
            app.says("web", "stat -Lc %a /etc/nginx/tls/tls.key", "400").await?;
            let before = app.id("web").await?;
            let page = "{kind: ConfigMap, metadata: {name: web-page}, data: {index.html: changed}}";
            scene.config(page).await?;
            served(port, "changed").await?;
            ensure!(app.id("web").await? == before, "a new page needs no new container");
            Ok(())
        }),
        Case::story("broker", STANDS_ON, async |scene| {
            let (app, port) = apply(scene, "broker.yaml", "broker").await?;
            let port = port.context("a port of the box")?;
            app.ready().await?;
            let mut broker = eventually("the broker greets", || Mqtt::connect(port)).await?;
            broker.retain("harbour/tide", "high").await?;
            // What the broker keeps outlives an update.
            let patch = json!({"metadata": {"annotations": {"at": port.to_string()}}});
            let patch = kube::api::Patch::Merge(json!({"spec": {"template": patch}}));
            let apps = scene.stage.site.apps(&scene.namespace);
            let before = app.id("broker").await?;
            apps.patch("broker", &kube::api::PatchParams::default(), &patch).await?;
            eventually("the next one has it", || async {
                ensure!(app.id("broker").await? != before, "the same container");
                let kept = Mqtt::connect(port).await?.retained("harbour/tide").await?;
                ensure!(kept == "high", "{kept:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await
        }),
        Case::story("camera", STANDS_ON, async |scene| {
            let (app, _) = apply(scene, "camera.yaml", "camera").await?;
            app.ready().await?;
            app.says("camera", "test -c /dev/zero && echo device", "device").await?;
            app.inspects("camera", "/HostConfig/Privileged", false.into()).await
        }),
        Case::story("init-and-sidecar", STANDS_ON, async |scene| {
            let (app, port) = apply(scene, "init-and-sidecar.yaml", "report").await?;
            app.ready().await?;
            served(port, "prepared\n").await?;
            eventually("the sidecar sees the log", || async {
                let logs = app.logs("shipper").await?;
                ensure!(logs.contains("url:/"), "{logs:?}");
                Ok::<_, anyhow::Error>(())
            })
            .await
        }),
        Case::story("start-first", STANDS_ON, async |scene| {
            let (app, _) = apply(scene, "start-first.yaml", "api").await?;
            app.ready().await?;
            let client =
                scene.ready("client", "{containers: [{name: main, command: [sleep, '9999']}]}").await?;
            client.says("main", "wget -q -O - http://api:8080/", "version 1").await?;
            // As its comment says: change VERSION and apply again.
            let text = std::fs::read_to_string(example("start-first.yaml"))?;
            let next = text.replace("value: \"1\"", "value: \"2\"");
            ensure!(next != text, "there is no VERSION to change");
            let before = app.id("api").await?;
            apply_text(scene, &next, "api").await?;
            client.says("main", "wget -q -O - http://api:8080/", "version 2").await?;
            app.ready().await?;
            ensure!(app.id("api").await? != before, "the same container");
            Ok(())
        }),
    ]
}
