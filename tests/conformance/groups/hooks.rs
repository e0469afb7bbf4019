//! What runs after a container has started and before it is stopped.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::app::App;
use crate::case::{APP, Case};
use crate::scene::Scene;

pub fn cases() -> Vec<Case> {
    let mut cases = post_start();
    cases.extend(pre_stop());
    cases.extend(bounds());
    cases
}

/// An app that prints each request that it gets, and its address.
async fn handler(scene: &Scene) -> Result<(App, String)> {
    let pod = r#"
containers:
- {name: main, command: [sh, -c, 'mkdir /www; cd /www; touch poststart prestop; exec httpd -f -vv -p 8080 -h /www']}
"#;
    let app = scene.ready("handler", pod).await?;
    let inspect = app.inspect("main").await?;
    let address = inspect.pointer("/NetworkSettings/Networks/bridge/IPAddress").and_then(Value::as_str);
    let address = match address {
        Some(address) if !address.is_empty() => address.to_owned(),
        _ => app.sh("main", "hostname -i").await?,
    };
    Ok((app, address))
}

async fn asked(handler: &App, what: &str) -> Result<()> {
    skerry_tests::eventually(&format!("{what} was asked for"), || async {
        let logs = handler.logs("main").await?;
        ensure!(logs.contains(&format!("url:/{what}")), "{logs}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A container that notes SIGTERM in a folder of the box.
fn noting(folder: &str, grace: u32, lifecycle: &str) -> String {
    format!(
        r#"
terminationGracePeriodSeconds: {grace}
volumes: [{{name: notes, hostPath: {{path: {folder}}}}}]
containers:
- name: main
  command: [sh, -c, 'trap "echo term >> /notes/log; exit 0" TERM; while :; do sleep 0.1; done']
  lifecycle: {lifecycle}
  volumeMounts: [{{name: notes, mountPath: /notes}}]
"#
    )
}

fn notes(folder: &str) -> String {
    std::fs::read_to_string(format!("{folder}/log")).unwrap_or_default()
}

fn post_start() -> Vec<Case> {
    vec![
        Case::pod(
            "a_command_runs_after_the_start",
            "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart exec hook properly",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  lifecycle: {postStart: {exec: {command: [sh, -c, 'echo hooked > /tmp/hooked']}}}
"#,
        )
        .says("main", "cat /tmp/hooked", "hooked"),
        Case::story(
            "a_request_is_made_after_the_start",
            "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart http hook properly",
            async |scene| {
                let (handler, address) = handler(scene).await?;
                let pod = format!(
                    "{{containers: [{{name: main, command: [sleep, '9999'], \
                     lifecycle: {{postStart: {{httpGet: {{path: '/poststart', host: {address}, port: 8080}}}}}}}}]}}"
                );
                scene.ready(APP, &pod).await?;
                asked(&handler, "poststart").await
            },
        ),
        Case::story(
            "it_is_not_ready_before_the_hook_is_done",
            "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/: if the execution of a PostStart hook hangs or if it takes too long to run, \
             the container cannot reach a running state",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  lifecycle: {postStart: {exec: {command: [sh, -c, 'until test -f /tmp/go; do sleep 0.1; done']}}}
"#;
                let app = scene.apply(APP, pod).await?;
                app.says("main", "echo runs", "runs").await?;
                skerry_tests::holds_for("it is not ready", Duration::from_secs(2), || async {
                    ensure!(!app.report("it is known", |_| true).await?.ready, "it is ready");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                app.sh("main", "touch /tmp/go").await?;
                app.ready().await.map(drop)
            },
        ),
        Case::story(
            "a_hook_that_fails_kills_the_container",
            "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/: If either a PostStart or PreStop hook fails, it kills the Container",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  lifecycle: {postStart: {exec: {command: [sh, -c, 'exit 5']}}}
"#;
                let app = scene.apply(APP, pod).await?;
                app.container_report("main", "was restarted", |one| one.restart_count >= 1).await?;
                ensure!(!app.report("it is known", |_| true).await?.ready, "it is ready");
                Ok(())
            },
        ),
    ]
}

fn pre_stop() -> Vec<Case> {
    vec![
        Case::story(
            "a_command_runs_before_the_signal",
            "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop exec hook properly",
            async |scene| {
                let folder = scene.folder()?;
                let hook = "{preStop: {exec: {command: [sh, -c, 'sleep 1; echo prestop >> /notes/log']}}}";
                let app = scene.ready(APP, &noting(&folder, 30, hook)).await?;
                app.delete().await?;
                ensure!(notes(&folder) == "prestop\nterm\n", "{:?}", notes(&folder));
                Ok(())
            },
        ),
        Case::story(
            "a_request_is_made_before_the_end",
            "[sig-node] Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop http hook properly",
            async |scene| {
                let (handler, address) = handler(scene).await?;
                let pod = format!(
                    "{{terminationGracePeriodSeconds: 5, containers: [{{name: main, command: [sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 0.1; done'], \
                     lifecycle: {{preStop: {{httpGet: {{path: '/prestop', host: {address}, port: 8080}}}}}}}}]}}"
                );
                let app = scene.ready(APP, &pod).await?;
                app.delete().await?;
                asked(&handler, "prestop").await
            },
        ),
        Case::story(
            "an_update_calls_it_too",
            "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/: PreStop is called immediately before a container is terminated due to an \
             API request or management event",
            async |scene| {
                let folder = scene.folder()?;
                let hook = "{preStop: {exec: {command: [sh, -c, 'echo prestop >> /notes/log']}}}";
                let pod = noting(&folder, 30, hook);
                let app = scene.ready(APP, &pod).await?;
                app.update(&pod.replace("sleep 0.1; done", "sleep 0.2; done")).await?;
                skerry_tests::eventually("the old one was told", || async {
                    ensure!(notes(&folder) == "prestop\nterm\n", "{:?}", notes(&folder));
                    Ok::<_, anyhow::Error>(())
                })
                .await
            },
        ),
        Case::story(
            "a_liveness_probe_that_fails_calls_it",
            "[sig-node] [NodeConformance] Containers Lifecycle A regular container has a PreStop hook A regular container fails a liveness probe should call the container's preStop hook and terminate it if its \
             liveness probe fails",
            async |scene| {
                let folder = scene.folder()?;
                let hook = "{preStop: {exec: {command: [sh, -c, 'echo prestop >> /notes/log']}}}\n  \
                            livenessProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 1}";
                let app = scene.apply(APP, &noting(&folder, 30, hook)).await?;
                app.container_report("main", "was restarted", |one| one.restart_count >= 1).await?;
                ensure!(notes(&folder).starts_with("prestop\nterm\n"), "{:?}", notes(&folder));
                Ok(())
            },
        ),
        Case::story(
            "one_that_ended_by_itself_has_nothing_before_its_end",
            "https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/: A call to the PreStop hook fails if the container is already in a terminated \
             or completed state",
            async |scene| {
                let folder = scene.folder()?;
                let pod = format!(
                    r#"
restartPolicy: Never
volumes: [{{name: notes, hostPath: {{path: {folder}}}}}]
containers:
- name: main
  command: [sh, -c, 'echo ran >> /notes/log']
  lifecycle: {{preStop: {{exec: {{command: [sh, -c, 'echo prestop >> /notes/log']}}}}}}
  volumeMounts: [{{name: notes, mountPath: /notes}}]
"#
                );
                let app = scene.apply(APP, &pod).await?;
                app.phase("Succeeded").await?;
                app.delete().await?;
                ensure!(notes(&folder) == "ran\n", "{:?}", notes(&folder));
                Ok(())
            },
        ),
        Case::story(
            "a_sidecar_has_hooks_as_well",
            "[sig-node] [NodeConformance] Restartable Init Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop exec hook properly",
            async |scene| {
                let folder = scene.folder()?;
                let pod = format!(
                    r#"
terminationGracePeriodSeconds: 20
volumes: [{{name: notes, hostPath: {{path: {folder}}}}}]
initContainers:
- name: side
  restartPolicy: Always
  command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done']
  lifecycle:
    postStart: {{exec: {{command: [sh, -c, 'echo poststart >> /notes/log']}}}}
    preStop: {{exec: {{command: [sh, -c, 'echo prestop >> /notes/log']}}}}
  volumeMounts: [{{name: notes, mountPath: /notes}}]
containers: [{{name: main, command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done']}}]
"#
                );
                let app = scene.ready(APP, &pod).await?;
                ensure!(notes(&folder) == "poststart\n", "{:?}", notes(&folder));
                app.delete().await?;
                ensure!(notes(&folder) == "poststart\nprestop\n", "{:?}", notes(&folder));
                Ok(())
            },
        ),
    ]
}

fn bounds() -> Vec<Case> {
    vec![
        Case::story(
            "it_may_just_wait",
            "[sig-node] Lifecycle Sleep Hook when create a pod with lifecycle hook using sleep action valid prestop hook using sleep action",
            async |scene| {
                let folder = scene.folder()?;
                let app = scene.ready(APP, &noting(&folder, 30, "{preStop: {sleep: {seconds: 3}}}")).await?;
                let begun = Instant::now();
                app.delete().await?;
                let took = begun.elapsed();
                ensure!(took >= Duration::from_secs(3) && took < Duration::from_secs(20), "{took:?}");
                ensure!(notes(&folder) == "term\n", "{:?}", notes(&folder));
                Ok(())
            },
        ),
        Case::story(
            "it_may_wait_for_no_time",
            "[sig-node] Lifecycle sleep action zero value when create a pod with lifecycle hook using sleep action with a duration of zero seconds prestop hook \
             using sleep action with zero duration",
            async |scene| {
                let folder = scene.folder()?;
                let app = scene.ready(APP, &noting(&folder, 30, "{preStop: {sleep: {seconds: 0}}}")).await?;
                let begun = Instant::now();
                app.delete().await?;
                ensure!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
                ensure!(notes(&folder) == "term\n", "{:?}", notes(&folder));
                Ok(())
            },
        ),
        Case::story(
            "the_grace_period_covers_the_hook",
            "[sig-node] [NodeConformance] Containers Lifecycle should respect termination grace period seconds with long-running preStop hook",
            async |scene| {
                let folder = scene.folder()?;
                let hook = "{preStop: {exec: {command: [sh, -c, 'echo prestop >> /notes/log; sleep 1000']}}}";
                let app = scene.ready(APP, &noting(&folder, 3, hook)).await?;
                let begun = Instant::now();
                app.delete().await?;
                let took = begun.elapsed();
                ensure!(took >= Duration::from_secs(3) && took < Duration::from_secs(25), "{took:?}");
                let log = notes(&folder);
                ensure!(log.lines().next().context("a note")? == "prestop", "{log:?}");
                Ok(())
            },
        ),
        Case::refused(
            "a_hook_does_one_thing",
            "kubectl explain pod.spec.containers.lifecycle.postStart; Pod validation: may not specify more than 1 handler type",
            "{containers: [{name: main, lifecycle: {postStart: {exec: {command: ['true']}, sleep: {seconds: 1}}}}]}",
            &["postStart"],
        ),
    ]
}
