//! On which nodes an app runs, which image it has there, and the devices of a node.

use anyhow::{Context, Result, bail, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use skerry_tests::{AgentOptions, IMAGE, Node, eventually};

use crate::app::App;
use crate::case::{APP, Case};
use crate::scene::Scene;

const POD: &str = "{containers: [{name: main, command: [sleep, '9999']}]}";

pub fn cases() -> Vec<Case> {
    let mut cases = nodes();
    cases.extend(variants());
    cases.extend(devices());
    cases
}

/// A selector of both open nodes.
fn both(scene: &Scene) -> Value {
    let names = [&scene.stage.open.name, &scene.stage.second.name];
    json!({"matchExpressions": [{"key": "test", "operator": "In", "values": names}]})
}

/// Applies an app with this placement and returns how it is seen on both open nodes.
async fn placed(scene: &Scene, placement: Value, more: Value) -> Result<[App; 2]> {
    let mut spec = scene.spec("none", more, POD)?;
    spec["placement"] = placement;
    scene.app_object(APP, spec).await?;
    Ok([&scene.stage.open, &scene.stage.second].map(|node| App::new(scene.clone(), &node.name, APP)))
}

/// Waits until the EdgeApp's status is so.
async fn status(scene: &Scene, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
    eventually(what, || async {
        let object = scene.stage.site.apps(&scene.namespace).get(APP).await?;
        let status = serde_json::to_value(object.status)?;
        if so(&status) { Ok(status) } else { bail!("{status}") }
    })
    .await
}

/// Changes a node's spec, which other cases do not look at.
async fn change(scene: &Scene, node: &Node, spec: Value) -> Result<()> {
    let patch = Patch::Merge(json!({"spec": spec}));
    scene.stage.site.nodes().patch(&node.name, &PatchParams::default(), &patch).await?;
    Ok(())
}

fn nodes() -> Vec<Case> {
    vec![
        Case::story(
            "a_selector_chooses_nodes",
            "[sig-scheduling] SchedulerPredicates [Serial] validates that NodeSelector is respected if matching",
            async |scene| {
                let selector = json!({"nodeSelector": {"matchLabels": {"test": scene.stage.second.name}}});
                let [open, second] = placed(scene, selector, json!({})).await?;
                second.ready().await?;
                ensure!(open.containers().await?.is_empty(), "it runs elsewhere as well");
                Ok(())
            },
        ),
        Case::story(
            "a_selector_that_matches_nothing_is_said",
            "[sig-scheduling] SchedulerPredicates [Serial] validates that NodeSelector is respected if not matching",
            async |scene| {
                placed(scene, json!({"nodeSelector": {"matchLabels": {"test": "nobody"}}}), json!({}))
                    .await?;
                status(scene, "it says that no node matches", |status| {
                    status.to_string().contains("NoMatchingNodes")
                })
                .await
                .map(drop)
            },
        ),
        Case::story(
            "so_many_replicas_as_are_asked_for",
            "kubectl explain deployment.spec.replicas: Number of desired pods",
            async |scene| {
                let [open, second] =
                    placed(scene, json!({"nodeSelector": both(scene), "replicas": 1}), json!({})).await?;
                status(scene, "one node has it", |status| status["nodes"]["ready"] == 1).await?;
                let count = open.containers().await?.len() + second.containers().await?.len();
                ensure!(count == 1, "{count} containers");
                placed(scene, json!({"nodeSelector": both(scene), "replicas": 2}), json!({})).await?;
                open.ready().await?;
                second.ready().await?;
                placed(scene, json!({"nodeSelector": both(scene), "replicas": 0}), json!({})).await?;
                open.gone().await?;
                second.gone().await
            },
        ),
        Case::story(
            "a_taint_keeps_away_what_does_not_tolerate_it",
            "[sig-scheduling] SchedulerPredicates [Serial] validates that taints-tolerations is respected if not matching",
            async |scene| {
                // A node of its own: others cannot do without the shared ones.
                let node = scene.stage.site.node().await?;
                let taint = json!({"taints": [{"key": "water", "value": "salt", "effect": "NoSchedule"}]});
                change(scene, &node, taint).await?;
                let selector = json!({"nodeSelector": {"matchLabels": {"test": node.name}}});
                placed(scene, selector.clone(), json!({})).await?;
                status(scene, "it says which taint", |status| status.to_string().contains("water")).await?;
                let app = App::new(scene.clone(), &node.name, APP);
                ensure!(app.containers().await?.is_empty(), "it runs");
                let mut tolerating = selector;
                tolerating["tolerations"] =
                    json!([{"key": "water", "operator": "Equal", "value": "salt", "effect": "NoSchedule"}]);
                placed(scene, tolerating, json!({})).await?;
                app.ready().await?;
                app.delete().await
            },
        ),
        Case::story(
            "a_cordoned_node_gets_nothing_new_and_keeps_what_it_has",
            "https://kubernetes.io/docs/concepts/nodes/node/#manual-node-administration: Marking a node as unschedulable prevents the scheduler from placing new pods onto \
             that Node but does not affect existing Pods",
            async |scene| {
                let node = scene.stage.site.node().await?;
                let selector = json!({"matchLabels": {"test": node.name}});
                let first = scene.apply_to(&node, "first", json!({}), POD).await?;
                first.ready().await?;
                change(scene, &node, json!({"unschedulable": true})).await?;
                placed(scene, json!({"nodeSelector": selector}), json!({})).await?;
                status(scene, "it says that the node is cordoned", |status| {
                    status.to_string().contains("cordoned")
                })
                .await?;
                ensure!(App::new(scene.clone(), &node.name, APP).containers().await?.is_empty(), "it runs");
                first.inspects("main", "/State/Running", true.into()).await?;
                change(scene, &node, json!({"unschedulable": false})).await?;
                let app = App::new(scene.clone(), &node.name, APP);
                app.ready().await?;
                app.delete().await?;
                first.delete().await
            },
        ),
        Case::story(
            "what_does_not_fit_is_not_placed",
            "[sig-scheduling] SchedulerPredicates [Serial] validates resource limits of pods that are allowed to run",
            async |scene| {
                let pod = "{containers: [{name: main, command: [sleep, '9999'], resources: {requests: {cpu: '1000'}}}]}";
                let app = scene.apply(APP, pod).await?;
                status(scene, "it says what is short", |status| status.to_string().contains("cpu")).await?;
                ensure!(app.containers().await?.is_empty(), "it runs");
                Ok(())
            },
        ),
    ]
}

fn variants() -> Vec<Case> {
    vec![
        Case::story(
            "the_first_variant_that_matches_has_the_image",
            "https://kubernetes.io/docs/concepts/containers/images/#multi-architecture-images-with-image-indexes: one name, another image for each architecture; Skerry's \
             variants say it where a registry cannot",
            async |scene| {
                let variants = json!({"variants": [
                    {"match": {"architectures": ["m68k"]}, "images": {"main": "nowhere/at/all:1"}},
                    {"match": {"operatingSystems": ["linux"], "nodeSelector": {"matchLabels": {"test": scene.stage.second.name}}},
                     "images": {"main": crate::images::full("conformance:env")}},
                    {"match": {"architectures": ["amd64", "arm64"]}, "images": {"main": IMAGE}},
                ]});
                let [open, second] = placed(scene, json!({"nodeSelector": both(scene)}), variants).await?;
                open.ready().await?;
                second.ready().await?;
                second.says("main", "echo ${ORIGIN-plain}", "image").await?;
                open.says("main", "echo ${ORIGIN-plain}", "plain").await
            },
        ),
        Case::story(
            "a_node_with_no_variant_says_so_and_others_go_on",
            "https://kubernetes.io/docs/concepts/containers/images/: an image with no manifest for the platform is not pulled: no match for platform in manifest",
            async |scene| {
                let variants = json!({"variants": [
                    {"match": {"nodeSelector": {"matchLabels": {"test": scene.stage.second.name}}}, "images": {"main": IMAGE}},
                ]});
                let [open, second] = placed(scene, json!({"nodeSelector": both(scene)}), variants).await?;
                second.ready().await?;
                let status =
                    status(scene, "it says which node", |status| status.to_string().contains("variant"))
                        .await?;
                ensure!(status.to_string().contains(&scene.stage.open.name), "{status}");
                ensure!(open.containers().await?.is_empty(), "it runs");
                Ok(())
            },
        ),
    ]
}

/// A pod that wants a device of the box.
fn wants(device: &str) -> String {
    format!(
        "{{containers: [{{name: main, command: [sleep, '9999'], resources: {{limits: {{skerry.dev/{device}: 1}}}}}}]}}"
    )
}

fn devices() -> Vec<Case> {
    vec![
        Case::story(
            "a_device_is_in_the_container",
            "[sig-node] Device Plugin DevicePlugin Can schedule a pod that requires a device",
            async |scene| {
                let app = scene.ready(APP, &wants("random")).await?;
                app.says("main", "test -c /dev/urandom && echo device", "device").await?;
                app.inspects("main", "/HostConfig/Devices/0/PathOnHost", "/dev/urandom".into()).await
            },
        ),
        Case::story(
            "a_device_that_no_node_has_is_waited_for",
            "https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/: a Pod that requests a device that no node has is not scheduled",
            async |scene| {
                let app = scene.apply(APP, &wants("lathe")).await?;
                status(scene, "it says which device", |status| {
                    status.to_string().contains("skerry.dev/lathe")
                })
                .await?;
                ensure!(app.containers().await?.is_empty(), "it runs");
                Ok(())
            },
        ),
        Case::story(
            "a_device_has_one_holder",
            "https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/: Devices cannot be shared between containers",
            async |scene| {
                let first = scene.ready("first", &wants("printer")).await?;
                let second = scene.apply(APP, &wants("printer")).await?;
                status(scene, "it says which device", |status| {
                    status.to_string().contains("skerry.dev/printer")
                })
                .await?;
                ensure!(second.containers().await?.is_empty(), "it runs");
                first.inspects("main", "/State/Running", true.into()).await?;
                first.delete().await?;
                second.ready().await.map(drop)
            },
        ),
        Case::story(
            "a_gpu_without_a_runtime_for_it_is_said",
            "https://kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus/: a node must have the driver of the vendor; a container that wants a GPU does not start \
             without",
            async |scene| {
                let config = "[devices.gpu]\ngpu = true\n".to_owned();
                let node = scene.stage.site.node_with(AgentOptions { config, ..AgentOptions::default() })?;
                node.ready().await?;
                let app = scene.apply_to(&node, APP, json!({}), &wants("gpu")).await?;
                let report = app.reason("StartError").await?;
                ensure!(report.message.contains("gpu"), "Docker's words are passed on: {report:?}");
                app.inspects("main", "/HostConfig/DeviceRequests/0/Capabilities", json!([["gpu"]])).await?;
                app.delete().await
            },
        ),
        Case::story(
            "a_devices_capacity_is_the_nodes",
            "https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/: the kubelet advertises those resources to the API server as part of \
             the kubelet node status update",
            async |scene| {
                let node = scene.stage.site.nodes().get(&scene.stage.open.name).await?;
                let capacity = serde_json::to_value(node.status.context("a status")?.capacity)?;
                ensure!(capacity["skerry.dev/random"].to_string().trim_matches('"') == "64", "{capacity}");
                Ok(())
            },
        ),
        Case::invalid(
            "half_a_device_is_refused",
            "https://kubernetes.io/docs/tasks/configure-pod-container/extended-resource/: extended resources are integers, such as 4 or 4000m, not 0.5 or 1500m",
            "{containers: [{name: main, resources: {limits: {skerry.dev/camera: 500m}}}]}",
            &["skerry.dev/camera"],
        ),
    ]
}
