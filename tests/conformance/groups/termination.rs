//! How a container ends: signals, the grace period, its last message, its exit code.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::case::{APP, Case};
use crate::scene::Scene;

pub fn cases() -> Vec<Case> {
    let mut cases = signals();
    cases.extend(messages());
    cases.extend(restarts());
    cases
}

/// A container that notes this signal in a folder of the box and then does what is said.
fn noting(folder: &str, grace: u32, image: &str, signal: &str, then: &str) -> String {
    format!(
        r#"
terminationGracePeriodSeconds: {grace}
volumes: [{{name: notes, hostPath: {{path: {folder}}}}}]
containers:
- name: main
  {image}
  command: [sh, -c, 'trap "echo {signal} >> /notes/log; {then}" {signal}; while :; do sleep 0.1; done']
  volumeMounts: [{{name: notes, mountPath: /notes}}]
"#
    )
}

/// Deletes a running app of this pod: how long that took, and what was noted.
async fn ends(scene: &Scene, folder: &str, pod: &str) -> Result<(Duration, String)> {
    let app = scene.ready(APP, pod).await?;
    let begun = Instant::now();
    app.delete().await?;
    Ok((begun.elapsed(), std::fs::read_to_string(format!("{folder}/log")).unwrap_or_default()))
}

fn signals() -> Vec<Case> {
    vec![
        Case::story(
            "sigterm_first_and_then_it_may_end_by_itself",
            "[sig-node] Pods Extended Delete Grace Period should be submitted and removed",
            async |scene| {
                let folder = scene.folder()?;
                let (took, log) = ends(scene, &folder, &noting(&folder, 600, "", "TERM", "exit 0")).await?;
                ensure!(log == "TERM\n" && took < Duration::from_secs(20), "{log:?} after {took:?}");
                Ok(())
            },
        ),
        Case::story(
            "sigkill_when_the_grace_period_is_over",
            "[sig-node] [NodeConformance] Containers Lifecycle should respect termination grace period seconds",
            async |scene| {
                let folder = scene.folder()?;
                let (took, log) = ends(scene, &folder, &noting(&folder, 3, "", "TERM", ":")).await?;
                ensure!(log == "TERM\n", "{log:?}");
                ensure!(took >= Duration::from_secs(3) && took < Duration::from_secs(20), "{took:?}");
                Ok(())
            },
        ),
        Case::story(
            "no_grace_is_no_waiting",
            "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-forced: Setting the grace period to 0 forcibly and immediately deletes",
            async |scene| {
                let folder = scene.folder()?;
                let (took, _) = ends(scene, &folder, &noting(&folder, 0, "", "TERM", ":")).await?;
                ensure!(took < Duration::from_secs(15), "{took:?}");
                Ok(())
            },
        ),
        Case::story(
            "the_images_stop_signal_is_sent",
            "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination: Many container runtimes respect the STOPSIGNAL value defined in the \
             container image and send this instead of TERM",
            async |scene| {
                let folder = scene.folder()?;
                let pod = noting(&folder, 30, "image: 'conformance:signal'", "USR1", "exit 0");
                let app = scene.ready(APP, &pod).await?;
                app.inspects("main", "/Config/StopSignal", "SIGUSR1".into()).await?;
                app.delete().await?;
                let log = std::fs::read_to_string(format!("{folder}/log"))?;
                ensure!(log == "USR1\n", "{log:?}");
                Ok(())
            },
        ),
        Case::pod(
            "the_default_grace_period_is_thirty_seconds",
            "kubectl explain pod.spec.terminationGracePeriodSeconds: Defaults to 30 seconds",
            "{terminationGracePeriodSeconds: null, containers: [{name: main, command: [sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 0.1; done']}]}",
        )
        .inspects("main", "/Config/StopTimeout", 30),
        Case::story(
            "one_that_always_fails_can_be_deleted",
            "[sig-node] Kubelet when scheduling a busybox command that always fails in a pod should be possible to delete",
            async |scene| {
                let app = scene.apply(APP, "{containers: [{name: main, command: ['false']}]}").await?;
                app.container_report("main", "has failed", |one| one.restart_count >= 1).await?;
                app.delete().await
            },
        ),
    ]
}

/// A job whose one container's last message is looked at.
fn message(
    name: &'static str,
    stands_on: &'static str,
    pod: &'static str,
    phase: &'static str,
    message: &'static str,
) -> Case {
    Case::story(name, stands_on, async move |scene| {
        let report = scene.apply(APP, pod).await?.phase(phase).await?;
        let said = &report.containers.first().context("a container")?.message;
        ensure!(said == message, "{said:?} in {report:?}");
        Ok(())
    })
}

fn messages() -> Vec<Case> {
    vec![
        message(
            "its_last_words_are_in_a_file",
            "[sig-node] Container Runtime blackbox test on terminated container should report termination message if TerminationMessagePath is set",
            "{restartPolicy: Never, containers: [{name: main, command: [sh, -c, 'printf DONE > /dev/termination-log']}]}",
            "Succeeded",
            "DONE",
        ),
        message(
            "the_file_is_anybodys_and_where_it_is_wanted",
            "[sig-node] Container Runtime blackbox test on terminated container should report termination message if TerminationMessagePath is set as non-root user \
             and at a non-default path",
            r#"
restartPolicy: Never
containers:
- name: main
  command: [sh, -c, 'printf DONE > /dev/termination-custom-log']
  terminationMessagePath: /dev/termination-custom-log
  securityContext: {runAsUser: 10000}
"#,
            "Succeeded",
            "DONE",
        ),
        message(
            "the_log_speaks_for_one_that_failed",
            "[sig-node] Container Runtime blackbox test on terminated container should report termination message from log output if TerminationMessagePolicy \
             FallbackToLogsOnError is set",
            r#"
restartPolicy: Never
containers: [{name: main, command: [sh, -c, 'printf DONE; exit 1'], terminationMessagePolicy: FallbackToLogsOnError}]
"#,
            "Failed",
            "DONE",
        ),
        message(
            "the_log_does_not_speak_for_one_that_succeeded",
            "[sig-node] Container Runtime blackbox test on terminated container should report termination message as empty when pod succeeds and \
             TerminationMessagePolicy FallbackToLogsOnError is set",
            r#"
restartPolicy: Never
containers: [{name: main, command: [sh, -c, 'printf DONE'], terminationMessagePolicy: FallbackToLogsOnError}]
"#,
            "Succeeded",
            "",
        ),
        message(
            "the_file_comes_before_the_log",
            "[sig-node] Container Runtime blackbox test on terminated container should report termination message from file when pod succeeds and \
             TerminationMessagePolicy FallbackToLogsOnError is set",
            r#"
restartPolicy: Never
containers: [{name: main, command: [sh, -c, 'printf OK > /dev/termination-log; printf DONE'], terminationMessagePolicy: FallbackToLogsOnError}]
"#,
            "Succeeded",
            "OK",
        ),
        Case::story(
            "the_last_words_are_bounded",
            "https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/: The total message length across all containers is limited to \
             12KiB; each at most 4096 bytes",
            async |scene| {
                let pod = r#"
restartPolicy: Never
containers: [{name: main, command: [sh, -c, 'yes 0123456789 | head -c 100000 > /dev/termination-log']}]
"#;
                let report = scene.apply(APP, pod).await?.phase("Succeeded").await?;
                let said = &report.containers.first().context("a container")?.message;
                ensure!(!said.is_empty() && said.len() <= 4096, "{} bytes", said.len());
                Ok(())
            },
        ),
    ]
}

fn restarts() -> Vec<Case> {
    vec![
        Case::story(
            "the_exit_code_is_told",
            "[sig-node] Kubelet when scheduling a busybox command that always fails in a pod should have an terminated reason",
            async |scene| {
                let pod = "{restartPolicy: Never, containers: [{name: main, command: [sh, -c, 'exit 9']}]}";
                let report = scene.apply(APP, pod).await?.phase("Failed").await?;
                let container = report.containers.first().context("a container")?;
                ensure!(container.exit_code == Some(9) && container.state == "Terminated", "{report:?}");
                ensure!(container.reason == "Error", "{report:?}");
                Ok(())
            },
        ),
        Case::story(
            "never_on_failure_and_always",
            "[sig-node] Container Runtime blackbox test when starting a container that exits should run with the expected status",
            async |scene| {
                let pod = |policy: &str, script: &str| {
                    format!(
                        "{{restartPolicy: {policy}, volumes: [{{name: v, emptyDir: {{}}}}], containers: [\
                         {{name: main, command: [sh, -c, 'echo x >> /v/n; {script}'], volumeMounts: [{{name: v, mountPath: /v}}]}}]}}"
                    )
                };
                let never = scene.apply("never", &pod("Never", "exit 1")).await?;
                let failing =
                    scene.apply("on-failure", &pod("OnFailure", "test $(wc -l < /v/n) -ge 2")).await?;
                let always = scene.apply("always", &pod("Always", "exit 0")).await?;
                let report = never.phase("Failed").await?;
                ensure!(report.containers[0].restart_count == 0, "{report:?}");
                let report = failing.phase("Succeeded").await?;
                ensure!(report.containers[0].restart_count == 1, "{report:?}");
                always.container_report("main", "was restarted", |one| one.restart_count >= 1).await.map(drop)
            },
        ),
        Case::story(
            "the_pause_between_restarts_doubles",
            "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy: the kubelet restarts them with an exponential backoff delay (10s, 20s, \
             40s, …), that is capped at 300 seconds",
            async |scene| {
                let app =
                    scene.apply(APP, "{containers: [{name: main, command: [sh, -c, 'exit 1']}]}").await?;
                let first = app.reason("CrashLoopBackOff").await?;
                ensure!(first.message.contains("10s"), "{first:?}");
                app.report("it waits for 20 s the next time", |report| report.message.contains("20s"))
                    .await
                    .map(drop)
            },
        ),
        Case::story(
            "a_restart_has_a_new_file_system",
            "https://kubernetes.io/docs/concepts/storage/volumes/: When a container crashes, all of the files that were created or modified during the lifetime of the \
             container are lost",
            async |scene| {
                let pod = "{containers: [{name: main, command: [sh, -c, 'ls /tmp/mine 2>/dev/null; touch /tmp/mine; exec sleep 9999']}]}";
                let app = scene.ready(APP, pod).await?;
                let before = app.id("main").await?;
                skerry_tests::docker_run(&["kill", &before]).await?;
                app.container_report("main", "was restarted", |one| {
                    one.restart_count == 1 && one.id != before
                })
                .await?;
                ensure!(app.logs("main").await?.is_empty(), "the file was still there");
                Ok(())
            },
        ),
    ]
}
