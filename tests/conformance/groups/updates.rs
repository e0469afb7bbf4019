//! What a change does: in place or anew, what is left alone, and how a box goes back by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use skerry_tests::{IMAGE, Registry, docker_run, eventually, holds_for};

use crate::app::App;
use crate::case::{APP, Case};
use crate::scene::Scene;

/// Long enough for a replacement that must not happen to happen.
const QUIET: Duration = Duration::from_secs(3);
/// An update is settled when it was ready for 10 s.
const SETTLED: Duration = Duration::from_secs(11);

pub fn cases() -> Vec<Case> {
    let mut cases = in_place();
    cases.extend(anew());
    cases.extend(back());
    cases.extend(names());
    cases.extend(start_first());
    cases
}

/// A container with everything that can be changed in place.
const PLAIN: &str = r#"
restartPolicy: Always
terminationGracePeriodSeconds: 1
containers:
- name: main
  command: [sleep, "9999"]
  env: [{name: VERSION, value: one}]
  resources: {limits: {cpu: 500m, memory: 64Mi}}
  readinessProbe: {exec: {command: ['true']}, periodSeconds: 1, timeoutSeconds: 10}
"#;

/// Applies a change of [`PLAIN`] and proves that the container is still the same one.
async fn same(scene: &Scene, from: &str, to: &str) -> Result<App> {
    let app = scene.ready(APP, PLAIN).await?;
    let before = app.id("main").await?;
    ensure!(PLAIN.contains(from), "{from:?} is not in the pod");
    app.update(&PLAIN.replace(from, to)).await?;
    let object = scene.stage.site.apps(&scene.namespace).get(APP).await?;
    let target = object.metadata.generation;
    eventually("the change has arrived", || async {
        let status = scene.stage.site.apps(&scene.namespace).get(APP).await?.status.unwrap_or_default();
        let updated = status.nodes.is_some_and(|nodes| nodes.updated == 1);
        ensure!(status.observed_generation == target && updated, "{status:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    holds_for("the container is the same", QUIET, || async {
        ensure!(app.id("main").await? == before, "another container");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    Ok(app)
}

fn in_place() -> Vec<Case> {
    vec![
        Case::story(
            "limits_are_changed_in_place",
            "[sig-node] Pod InPlace Resize Container burstable pods - extended 6 containers - various operations performed (including adding limits and requests)",
            async |scene| {
                let app = same(scene, "cpu: 500m, memory: 64Mi", "cpu: 250m, memory: 96Mi").await?;
                app.inspects("main", "/HostConfig/NanoCpus", json!(250_000_000)).await?;
                app.inspects("main", "/HostConfig/Memory", json!(96 << 20)).await?;
                let memory = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
                app.says("main", memory, &(96 << 20).to_string()).await
            },
        ),
        Case::story(
            "the_restart_policy_is_changed_in_place",
            "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy; a Deployment would replace the pod, a box has no reason to",
            async |scene| {
                let app = same(scene, "restartPolicy: Always", "restartPolicy: Never").await?;
                holds_for("the change settles: before, the box would go back", SETTLED, || async {
                    ensure!(app.report("it is known", |_| true).await?.ready, "not ready");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                skerry_tests::docker_run(&["kill", &app.id("main").await?]).await?;
                app.phase("Failed").await.map(drop)
            },
        ),
        Case::story(
            "a_probe_is_changed_in_place",
            "kubernetes/enhancements 5495: container probes of a running pod are mutable; a box needs no new container for them",
            async |scene| {
                let app = same(
                    scene,
                    "command: ['true']}, periodSeconds: 1",
                    "command: ['true']}, periodSeconds: 2",
                )
                .await?;
                app.update(&PLAIN.replace("command: ['true']", "command: ['false']")).await?;
                app.report("the new probe decides", |report| !report.ready).await.map(drop)
            },
        ),
        Case::story(
            "the_grace_period_is_changed_in_place",
            "kubectl explain pod.spec.terminationGracePeriodSeconds; it matters when the container ends, not before",
            async |scene| {
                let app = same(scene, "terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 4")
                    .await?;
                let begun = Instant::now();
                app.delete().await?;
                ensure!(begun.elapsed() >= Duration::from_secs(4), "gone after {:?}", begun.elapsed());
                Ok(())
            },
        ),
        Case::story(
            "a_label_of_the_app_changes_nothing",
            "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#updating-a-deployment: A Deployment's rollout is triggered if and only if the \
             Deployment's Pod template is changed",
            async |scene| {
                let app = scene.ready(APP, PLAIN).await?;
                let before = app.id("main").await?;
                scene
                    .stage
                    .site
                    .kubectl()
                    .run(&["label", "-n", &scene.namespace, "ea", APP, "team=tide"])
                    .await?;
                holds_for("the container is the same", QUIET, || async {
                    ensure!(app.id("main").await? == before, "another container");
                    Ok::<_, anyhow::Error>(())
                })
                .await
            },
        ),
        Case::story(
            "the_agents_restart_touches_nothing",
            "[sig-node] Not Change Container Status should not affect pod status when pod has multiple containers with startup and readiness probes",
            async |scene| {
                let mut node = scene.stage.site.node().await?;
                let pod = r#"
initContainers: [{name: init, command: ['true']}]
containers:
- name: one
  command: [sleep, "9999"]
  startupProbe: {exec: {command: ['true']}, periodSeconds: 1, timeoutSeconds: 10}
  readinessProbe: {exec: {command: ['true']}, periodSeconds: 1, timeoutSeconds: 10}
- {name: two, command: [sleep, "9999"]}
"#;
                let app = scene.apply_to(&node, APP, json!({}), pod).await?;
                app.ready().await?;
                let containers = node.app(&scene.namespace, APP).await?;
                let before = containers.identities().await?;
                node.agent()?.kill()?;
                node.start()?;
                node.ready().await?;
                app.ready().await?;
                holds_for("every container is the same", QUIET, || async {
                    ensure!(containers.identities().await? == before, "other containers");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                app.delete().await
            },
        ),
    ]
}

fn anew() -> Vec<Case> {
    vec![
        Case::story(
            "an_image_is_changed_with_a_new_container",
            "[sig-node] [NodeConformance] Containers Lifecycle should successfully restart when the image is updated, restartPolicy=Always",
            async |scene| {
                let pod = "{containers: [{name: main, command: [sleep, '9999']}]}";
                let app = scene.ready(APP, pod).await?;
                let before = app.id("main").await?;
                app.update(&pod.replace("name: main", "name: main, image: 'conformance:env'")).await?;
                app.says("main", "echo $ORIGIN", "image").await?;
                let report = app.ready().await?;
                ensure!(report.containers[0].restart_count == 0, "an update is no restart: {report:?}");
                ensure!(app.id("main").await? != before, "the same container");
                Ok(())
            },
        ),
        Case::story(
            "only_what_changed_is_replaced",
            "https://kubernetes.io/docs/concepts/workloads/pods/#pod-update-and-replacement: Kubernetes replaces the pod; a box replaces the container that changed, and \
             its neighbour loses nothing",
            async |scene| {
                let pod = "{containers: [{name: one, command: [sleep, '9999'], env: [{name: V, value: a}]}, {name: two, command: [sleep, '9999']}]}";
                let app = scene.ready(APP, pod).await?;
                let (sandbox, two) = (app.id("POD").await?, app.id("two").await?);
                app.update(&pod.replace("value: a", "value: b")).await?;
                app.says("one", "echo $V", "b").await?;
                app.ready().await?;
                ensure!(
                    app.id("two").await? == two && app.id("POD").await? == sandbox,
                    "a neighbour was replaced"
                );
                Ok(())
            },
        ),
        Case::story(
            "a_container_comes_and_goes",
            "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#updating-a-deployment: the template's containers are what runs",
            async |scene| {
                let one = "{containers: [{name: one, command: [sleep, '9999']}, {name: two, command: [sleep, '9999']}]}";
                let app = scene.ready(APP, one).await?;
                let kept = app.id("one").await?;
                app.update("{containers: [{name: one, command: [sleep, '9999']}, {name: three, command: [sleep, '9999']}]}").await?;
                app.says("three", "echo runs", "runs").await?;
                eventually("the other is gone", || async {
                    ensure!(!app.exists("two").await?, "two is still there");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                ensure!(app.id("one").await? == kept, "the one that stays was replaced");
                Ok(())
            },
        ),
    ]
}

/// A container whose readiness is a variable's.
fn versioned(version: &str, ready: bool) -> String {
    format!(
        "{{containers: [{{name: main, command: [sleep, '9999'], env: [{{name: VERSION, value: {version}}}], \
         readinessProbe: {{exec: {{command: ['{ready}']}}, periodSeconds: 1, timeoutSeconds: 10}}}}]}}"
    )
}

/// A deadline that a busy machine keeps as well.
const AMPLE: u32 = 60;

fn deadline(seconds: u32) -> Value {
    json!({"strategy": {"progressDeadlineSeconds": seconds}})
}

fn back() -> Vec<Case> {
    vec![
        Case::story(
            "what_is_not_ready_in_time_is_taken_back",
            "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment: .spec.progressDeadlineSeconds; higher level orchestrators can roll back \
             the Deployment to its previous version. The box does that by itself",
            async |scene| {
                let app = scene.apply_with(APP, deadline(AMPLE), &versioned("good", true)).await?;
                app.ready().await?;
                scene.apply_with(APP, deadline(4), &versioned("bad", false)).await?;
                let report = app.phase("RolledBack").await?;
                ensure!(report.reason == "ProgressDeadlineExceeded", "{report:?}");
                app.says("main", "echo $VERSION", "good").await
            },
        ),
        Case::story(
            "what_crashes_is_taken_back_and_not_tried_again",
            "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment: when the Deployment is not stable, such as crash looping",
            async |scene| {
                let app = scene.apply_with(APP, deadline(AMPLE), &versioned("good", true)).await?;
                app.ready().await?;
                let crash = "{containers: [{name: main, command: [sh, -c, 'exit 3'], env: [{name: VERSION, value: bad}]}]}";
                scene.apply_with(APP, deadline(5), crash).await?;
                app.phase("RolledBack").await?;
                app.says("main", "echo $VERSION", "good").await?;
                let before = app.id("main").await?;
                holds_for("the failed revision is not tried again", QUIET, || async {
                    ensure!(app.id("main").await? == before, "another container");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                scene.apply_with(APP, deadline(AMPLE), &versioned("better", true)).await?;
                app.says("main", "echo $VERSION", "better").await?;
                app.ready().await.map(drop)
            },
        ),
        Case::story(
            "a_name_that_moved_is_taken_back_to_the_old_image",
            "https://kubernetes.io/docs/concepts/containers/images/#image-names: if the registry were to change the code that a tag represents, you might end up with a mix of \
             Pods. What a box goes back to is what was good there, with no registry at all",
            async |scene| {
                let registry = Registry::start().await?;
                let image = registry.push("tools/app:latest").await?;
                let pod = |version: &str| {
                    format!(
                        "{{containers: [{{name: main, image: '{image}', imagePullPolicy: Always, env: [{{name: VERSION, value: {version}}}], \
                     command: [sh, -c, 'test -z \"$ORIGIN\" && exec sleep 9999']}}]}}"
                    )
                };
                let app = scene.apply_with(APP, deadline(8), &pod("good")).await?;
                app.ready().await?;
                let good = docker_run(&["image", "inspect", "--format", "{{.Id}}", &image]).await?;
                app.inspects("main", "/Image", json!(good)).await?;
                holds_for("it proves itself", SETTLED, || async {
                    ensure!(app.report("it is known", |_| true).await?.ready, "not ready");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                // With this one the command fails.
                registry.push_image(&crate::images::full("conformance:env"), "tools/app:latest").await?;
                scene.apply_with(APP, deadline(8), &pod("bad")).await?;
                eventually("the new image runs", || async {
                    let runs = app.inspect("main").await?["Image"].clone();
                    ensure!(runs != json!(good), "{runs}");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                drop(registry);
                let report = app.phase("RolledBack").await?;
                ensure!(report.reason == "ProgressDeadlineExceeded", "{report:?}");
                app.inspects("main", "/State/Running", true.into()).await?;
                app.inspects("main", "/Image", json!(good)).await?;
                app.says("main", "echo $VERSION", "good").await?;
                app.delete().await?;
                docker_run(&["rmi", &image]).await.map(drop)
            },
        ),
        Case::story(
            "an_image_that_cannot_be_pulled_stops_nothing",
            "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment: image pull errors; the old ReplicaSet's Pods keep serving",
            async |scene| {
                let app = scene.ready(APP, "{containers: [{name: main, command: [sleep, '9999']}]}").await?;
                let before = app.id("main").await?;
                let missing = format!("127.0.0.1:{}/nowhere:1", skerry_tests::free_port()?);
                app.update(&format!(
                    "{{containers: [{{name: main, image: '{missing}', command: [sleep, '9999']}}]}}"
                ))
                .await?;
                let report = app.reason("ImagePullFailed").await?;
                ensure!(report.ready, "the old one serves on: {report:?}");
                ensure!(app.id("main").await? == before, "it was replaced");
                app.inspects("main", "/State/Running", true.into()).await
            },
        ),
        Case::story(
            "the_first_revision_has_nothing_to_go_back_to",
            "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#failed-deployment: a Deployment's first rollout that fails stays failed",
            async |scene| {
                let app = scene.apply_with(APP, deadline(2), &versioned("bad", false)).await?;
                app.says("main", "echo $VERSION", "bad").await?;
                let before = app.id("main").await?;
                holds_for("it is left running", Duration::from_secs(4), || async {
                    ensure!(app.id("main").await? == before, "it was replaced");
                    let report = app.report("it is known", |_| true).await?;
                    ensure!(!report.ready && report.phase != "RolledBack", "{report:?}");
                    Ok::<_, anyhow::Error>(())
                })
                .await
            },
        ),
    ]
}

/// Names of containers that somebody else has.
fn names() -> Vec<Case> {
    vec![Case::story(
        "a_name_that_somebody_else_has_stops_nothing",
        "https://kubernetes.io/docs/concepts/overview/working-with-objects/names/: only one object of a kind can have a given name at a time; here the next container's, \
         which a foreign one has taken",
        async |scene| {
            let app = scene.ready(APP, &versioned("one", true)).await?;
            scene.apply(APP, &versioned("two", true)).await?;
            app.says("main", "echo $VERSION", "two").await?;
            let name = app.inspect("main").await?["Name"]
                .as_str()
                .context("a name")?
                .trim_start_matches('/')
                .to_owned();
            scene.apply(APP, &versioned("one", true)).await?;
            app.says("main", "echo $VERSION", "one").await?;
            app.ready().await?;
            eventually("the second is gone", || async {
                let count = app.containers().await?.iter().filter(|(name, _)| name == "main").count();
                ensure!(count == 1, "{count} containers");
                Ok::<_, anyhow::Error>(())
            })
            .await?;

            let before = app.id("main").await?;
            let foreign = docker_run(&["create", "--name", &name, IMAGE, "true"]).await?;
            let conflict = async {
                scene.apply(APP, &versioned("two", true)).await?;
                app.report("the holder is named", |report| {
                    report.reason == "CreateContainerError"
                        && report.message.contains(&name)
                        && report.message.contains(&foreign)
                })
                .await?;
                ensure!(app.id("main").await? == before, "the old one was replaced");
                app.inspects("main", "/State/Running", true.into()).await
            };
            let conflict = conflict.await;
            docker_run(&["rm", &foreign]).await?;
            conflict?;
            // The name is free: it goes on by itself.
            app.says("main", "echo $VERSION", "two").await
        },
    )]
}

const START_FIRST: &str = "StartFirst";

/// A web page of this text, ready when it is served.
fn page(text: &str) -> String {
    format!(
        "{{terminationGracePeriodSeconds: 10, containers: [{{name: main, \
         command: [sh, -c, 'trap \"exit 0\" TERM; mkdir /www; echo {text} > /www/index.html; httpd -f -p 8080 -h /www & wait'], \
         readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1, timeoutSeconds: 5}}}}]}}"
    )
}

fn start_first() -> Vec<Case> {
    vec![
        Case::story(
            "no_request_fails_while_it_changes",
            "https://kubernetes.io/docs/tutorials/kubernetes-basics/update/update-intro/: Rolling updates allow Deployments' update to take place with zero downtime by \
             incrementally updating Pods instances with new ones",
            async |scene| {
                let strategy = json!({"strategy": {"switch": START_FIRST}});
                let tide = scene.apply_with("tide", strategy.clone(), &page("one")).await?;
                tide.ready().await?;
                let client =
                    scene.ready("client", "{containers: [{name: main, command: [sleep, '9999']}]}").await?;
                client.says("main", "wget -q -O - http://tide:8080/", "one").await?;
                let script = "while test ! -f /tmp/stop; do timeout 5 wget -q -O /dev/null http://tide:8080/ || echo x >> /tmp/failed; echo x >> /tmp/asked; done";
                let id = client.id("main").await?;
                skerry_tests::docker_run(&["exec", "-d", &id, "sh", "-c", script]).await?;
                scene.apply_with("tide", strategy, &page("two")).await?;
                client.says("main", "wget -q -O - http://tide:8080/", "two").await?;
                tide.ready().await?;
                eventually("the old one is gone", || async {
                    let count = tide.containers().await?.iter().filter(|(name, _)| name == "main").count();
                    ensure!(count == 1, "{count} containers");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                client.sh("main", "touch /tmp/stop").await?;
                let asked: u32 = client.sh("main", "wc -l < /tmp/asked").await?.trim().parse()?;
                ensure!(asked > 10, "only {asked} requests were made");
                client.says("main", "cat /tmp/failed 2>/dev/null | wc -l", "0").await
            },
        ),
        Case::story(
            "the_old_one_serves_until_the_new_one_is_ready",
            "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-unavailable: with maxUnavailable 0, an old Pod is not killed until a new one is ready",
            async |scene| {
                let strategy = |seconds: u32| json!({"strategy": {"switch": START_FIRST, "progressDeadlineSeconds": seconds}});
                let app = scene.apply_with(APP, strategy(AMPLE), &versioned("good", true)).await?;
                app.ready().await?;
                let before = app.id("main").await?;
                // Time enough to be seen beside the old one, on a busy machine as well.
                scene.apply_with(APP, strategy(15), &versioned("bad", false)).await?;
                eventually("the new one starts beside it", || async {
                    let running = app.containers().await?.into_iter().filter(|(name, one)| {
                        name == "main" && one.state.as_ref().and_then(|state| state.running).unwrap_or(false)
                    });
                    let ids: Vec<_> = running.filter_map(|(_, one)| one.id).collect();
                    ensure!(ids.len() == 2 && ids.contains(&before), "{ids:?}");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                app.phase("RolledBack").await?;
                eventually("only the old one is left", || async {
                    let all = app.containers().await?;
                    let mains: Vec<_> = all.iter().filter(|(name, _)| name == "main").collect();
                    ensure!(
                        mains.len() == 1 && mains[0].1.id.as_ref() == Some(&before),
                        "{} containers",
                        mains.len()
                    );
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                app.says("main", "echo $VERSION", "good").await
            },
        ),
        Case::story(
            "ports_of_the_box_cannot_be_in_two_hands",
            "https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-surge: a surge pod with the same hostPort cannot run on the same node",
            async |scene| {
                let strategy = json!({"strategy": {"switch": START_FIRST}});
                for pod in [
                    "{containers: [{name: main, ports: [{containerPort: 8080, hostPort: 8080}]}]}",
                    "{hostNetwork: true, containers: [{name: main}]}",
                ] {
                    let Err(error) = scene.apply_with(APP, strategy.clone(), pod).await else {
                        anyhow::bail!("{pod} was accepted")
                    };
                    ensure!(error.to_string().contains("StartFirst"), "{error}");
                }
                Ok(())
            },
        ),
    ]
}
