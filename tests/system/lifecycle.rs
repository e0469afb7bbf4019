//! An app's life: created, changed, moved, ended, deleted.

use anyhow::{Context, Result, bail, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use skerry_tests::{IMAGE, docker_run, eventually, free_port, get, holds_for};

use crate::apply::{app_yaml, web_yaml};
use crate::{Shared, shared};

/// Long enough for a restart that must not happen to happen.
const QUIET: std::time::Duration = std::time::Duration::from_secs(2);

pub async fn an_app_is_deployed_and_served(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let port = free_port()?;
    site.kubectl().apply(&web_yaml(&namespace, "web", &node.name, port, "hello")).await?;
    let body = eventually("the page is served", || get(port, "/")).await?;
    ensure!(body == (200, "hello\n".into()), "{body:?}");

    let container = node.app(&namespace, "web").await?.running().await?;
    let config = container.config.context("a config")?;
    let labels = config.labels.unwrap_or_default();
    let revision = labels.get("skerry.dev/revision").cloned().unwrap_or_default();
    for (label, value) in [
        ("skerry.dev/node", node.name.as_str()),
        ("skerry.dev/namespace", &namespace),
        ("skerry.dev/app", "web"),
        ("skerry.dev/container", "web"),
    ] {
        ensure!(labels.get(label).map(String::as_str) == Some(value), "label {label}: {labels:?}");
    }
    ensure!(labels.get("skerry.dev/spec-hash").is_some_and(|hash| hash.len() == 16), "{labels:?}");

    let available = ["wait", "-n", &namespace, "ea/web", "--for=condition=Available", "--timeout=30s"];
    site.kubectl().run(&available).await?;
    let app = site.apps(&namespace).get("web").await?;
    let status = app.status.context("a status")?;
    ensure!(status.observed_generation == app.metadata.generation, "{status:?}");
    let counts = status.nodes.context("counts")?;
    ensure!((counts.desired, counts.updated, counts.ready, counts.unknown) == (1, 1, 1, 0), "{counts:?}");
    ensure!(
        status.rollout.context("a rollout")?.target_revision == revision,
        "another revision than {revision}"
    );
    let truth = |kind: &str| status.conditions.iter().find(|c| c.type_ == kind).map(|c| c.status.clone());
    ensure!(truth("Ready").as_deref() == Some("True"), "{:?}", status.conditions);
    for kind in ["Stalled", "Reconciling", "Degraded"] {
        ensure!(truth(kind).as_deref() != Some("True"), "{:?}", status.conditions);
    }
    let report = node.phase(&namespace, "web", "Running").await?;
    ensure!(report.ready && report.revision == revision && report.containers.len() == 1, "{report:?}");
    ensure!(report.containers[0].id == container.id.unwrap_or_default(), "{report:?}");
    Ok(())
}

pub async fn a_changed_variable_makes_a_new_container(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let port = free_port()?;
    site.kubectl().apply(&web_yaml(&namespace, "web", &node.name, port, "one")).await?;
    eventually("the first page", || get(port, "/")).await?;
    let before = node.app(&namespace, "web").await?.identities().await?;
    site.kubectl().apply(&web_yaml(&namespace, "web", &node.name, port, "two")).await?;
    eventually("the second page", || async {
        match get(port, "/").await? {
            (200, body) if body == "two\n" => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await?;
    let containers = node.app(&namespace, "web").await?;
    eventually("the old container is removed", || async {
        match containers.all().await?.len() {
            1 => Ok(()),
            count => bail!("{count} containers"),
        }
    })
    .await?;
    ensure!(containers.identities().await? != before, "the same container");
    let report = node.phase(&namespace, "web", "Running").await?;
    ensure!(report.containers[0].restart_count == 0, "an update is no restart: {report:?}");
    Ok(())
}

pub async fn a_label_on_the_object_restarts_nothing(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let port = free_port()?;
    site.kubectl().apply(&web_yaml(&namespace, "web", &node.name, port, "hello")).await?;
    eventually("the page is served", || get(port, "/")).await?;
    let containers = node.app(&namespace, "web").await?;
    let before = containers.identities().await?;
    site.kubectl().run(&["label", "-n", &namespace, "ea/web", "team=a"]).await?;
    site.kubectl().run(&["annotate", "-n", &namespace, "ea/web", "note=b"]).await?;
    holds_for("the container is the same", QUIET, || async {
        ensure!(containers.identities().await? == before, "another container");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub async fn a_node_label_moves_the_app(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let (a, b) = (site.node().await?, site.node().await?);
    let pod = format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    );
    let group = skerry_tests::unique("group");
    site.kubectl().apply(&app_yaml(&namespace, "scaled", &group, &pod)).await?;
    let desired = |count: i32| {
        let site = site.clone();
        let namespace = namespace.clone();
        async move {
            eventually("the counts follow the labels", || async {
                let counts =
                    site.apps(&namespace).get("scaled").await?.status.and_then(|status| status.nodes);
                match counts {
                    Some(counts) if (counts.desired, counts.ready) == (count, count) => Ok(()),
                    other => bail!("{other:?}"),
                }
            })
            .await
        }
    };
    desired(0).await?;
    for node in [&a, &b] {
        site.kubectl().run(&["label", "--overwrite", "en", &node.name, &format!("test={group}")]).await?;
    }
    desired(2).await?;
    a.app(&namespace, "scaled").await?.running().await?;
    let on_b = b.app(&namespace, "scaled").await?;
    let before = on_b.identities().await?;
    site.kubectl().run(&["label", "--overwrite", "en", &a.name, "test=elsewhere"]).await?;
    desired(1).await?;
    let on_a = a.app(&namespace, "scaled").await?;
    eventually("nothing is left on the first node", || async {
        ensure!(on_a.all().await?.is_empty(), "something is left");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    ensure!(on_b.identities().await? == before, "the other node's container was touched");
    Ok(())
}

pub async fn a_deleted_app_leaves_nothing(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let networks = docker_run(&["network", "ls", "-q"]).await?;
    let pod = format!(
        "{{terminationGracePeriodSeconds: 1, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}, \
         {{name: bb, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    );
    site.kubectl().apply(&app_yaml(&namespace, "pair", &node.name, &pod)).await?;
    node.phase(&namespace, "pair", "Running").await?;
    let containers = node.containers().await?;
    ensure!(containers.all().await?.len() == 3, "two containers and their network");
    site.kubectl().run(&["delete", "-n", &namespace, "ea/pair", "--timeout=30s"]).await?;
    eventually("every container is gone", || async {
        match containers.all().await?.len() {
            0 => Ok(()),
            count => bail!("{count} containers"),
        }
    })
    .await?;
    ensure!(docker_run(&["network", "ls", "-q"]).await? == networks, "a network is left");
    eventually("the node no longer reports it", || async {
        match node.report(&namespace, "pair").await {
            Err(_) => Ok(()),
            Ok(report) => bail!("{report:?}"),
        }
    })
    .await
}

pub async fn limits_and_names_reach_docker(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let yaml = format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: full, namespace: {namespace}}}\nspec:\n  \
         placement: {{nodeSelector: {{matchExpressions: [{{key: test, operator: In, values: [{}]}}]}}}}\n  template:\n    \
         metadata: {{labels: {{team: a}}, annotations: {{note: \"b c\"}}}}\n    spec:\n      terminationGracePeriodSeconds: 7\n      \
         containers:\n      - name: main\n        image: {IMAGE}\n        command: [sh, -c]\n        args: ['test \"$X\" = \"a b\" && sleep 1000']\n        \
         env: [{{name: X, value: \"a b\"}}, {{name: EMPTY}}]\n        resources: {{limits: {{cpu: 250m, memory: 64Mi}}}}\n",
        node.name
    );
    site.kubectl().apply(&yaml).await?;
    node.phase(&namespace, "full", "Running").await?;
    let container = node.app(&namespace, "full").await?.running().await?;
    let host = container.host_config.context("a host config")?;
    ensure!(host.nano_cpus == Some(250_000_000), "{:?}", host.nano_cpus);
    ensure!(host.memory == Some(64 << 20), "{:?}", host.memory);
    let config = container.config.context("a config")?;
    ensure!(config.entrypoint == Some(vec!["sh".into(), "-c".into()]), "{:?}", config.entrypoint);
    let env = config.env.unwrap_or_default();
    ensure!(env.contains(&"X=a b".into()) && env.contains(&"EMPTY=".into()), "{env:?}");
    let labels = config.labels.unwrap_or_default();
    ensure!(labels.get("team").is_some_and(|value| value == "a"), "{labels:?}");
    ensure!(labels.get("annotation.note").is_some_and(|value| value == "b c"), "{labels:?}");
    ensure!(config.stop_timeout == Some(7), "{:?}", config.stop_timeout);
    Ok(())
}

pub async fn a_job_runs_once(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    for (name, policy, code, phase) in [
        ("good", "OnFailure", 0, "Succeeded"),
        ("bad", "Never", 3, "Failed"),
        ("never", "Never", 0, "Succeeded"),
    ] {
        let pod = format!(
            "{{restartPolicy: {policy}, containers: [{{name: job, image: \"{IMAGE}\", command: [sh, -c, \"exit {code}\"]}}]}}"
        );
        site.kubectl().apply(&app_yaml(&namespace, name, &node.name, &pod)).await?;
        let report = node.phase(&namespace, name, phase).await?;
        ensure!(report.containers[0].exit_code == Some(code), "{report:?}");
    }
    let containers = node.containers().await?;
    let ids = || async {
        let all = containers.all().await?;
        Ok::<_, anyhow::Error>(all.into_iter().filter_map(|(_, c)| c.id).collect::<Vec<_>>())
    };
    let before = ids().await?;
    holds_for("no job runs again", QUIET, || async {
        ensure!(ids().await? == before, "other containers");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

pub async fn a_crash_loop_shows_its_back_off(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let pod = format!("{{containers: [{{name: crash, image: \"{IMAGE}\", command: [sh, -c, \"exit 7\"]}}]}}");
    site.kubectl().apply(&app_yaml(&namespace, "crash", &node.name, &pod)).await?;
    let report = eventually("the back-off shows", || async {
        let report = node.report(&namespace, "crash").await?;
        if report.reason == "CrashLoopBackOff" { Ok(report) } else { bail!("{report:?}") }
    })
    .await?;
    ensure!(report.phase == "Failed" && !report.ready, "{report:?}");
    ensure!(report.message.contains("exit code 7") && report.message.contains("back-off 10s"), "{report:?}");
    ensure!(report.containers[0].restart_count >= 1, "{report:?}");
    eventually("the app is degraded", || async {
        let status = site.apps(&namespace).get("crash").await?.status.unwrap_or_default();
        let degraded = status.conditions.iter().any(|c| c.type_ == "Degraded" && c.status == "True");
        let told = status.failures.iter().any(|f| f.node == node.name && f.reason == "CrashLoopBackOff");
        if degraded && told { Ok(()) } else { bail!("{status:?}") }
    })
    .await?;
    eventually("an Event tells", || async {
        let events = site.kubectl().run(&["get", "events", "-n", &namespace, "-o", "wide"]).await?;
        if events.contains("CrashLoopBackOff") { Ok(()) } else { bail!("{events}") }
    })
    .await
}

/// A node that never received a set touches nothing; one that received the empty set removes what is left.
pub async fn an_empty_set_is_not_no_set(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let mut node = site.node().await?;
    let pod = format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    );
    site.kubectl().apply(&app_yaml(&namespace, "app", &node.name, &pod)).await?;
    node.phase(&namespace, "app", "Running").await?;
    node.agent()?.kill()?;
    let patch = json!({"spec": {"placement": {"nodeSelector": {"matchLabels": {"test": "nobody"}}}}});
    site.apps(&namespace).patch("app", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    node.start()?;
    let containers = node.app(&namespace, "app").await?;
    eventually("what is no longer desired is gone", || async {
        ensure!(containers.all().await?.is_empty(), "it is still there");
        Ok::<_, anyhow::Error>(())
    })
    .await
}
