//! Init containers that stay: started in turn, ended last.

use anyhow::ensure;

use crate::case::{APP, Case};

pub fn cases() -> Vec<Case> {
    let mut cases = starts();
    cases.extend(ends());
    cases
}

fn starts() -> Vec<Case> {
    vec![
        Case::pod(
            "it_runs_beside_the_app",
            "[sig-node] [NodeConformance] Containers Lifecycle should run both restartable init containers and a regular container together",
            r#"
initContainers:
- {name: first, restartPolicy: Always, command: [sleep, "9999"]}
- {name: second, restartPolicy: Always, command: [sleep, "9999"]}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .inspects("first", "/State/Running", true)
        .inspects("second", "/State/Running", true)
        .inspects("main", "/State/Running", true),
        Case::pod(
            "the_next_init_container_runs_beside_it",
            "[sig-node] [NodeConformance] Containers Lifecycle should start second restartable init container before third init container",
            r#"
volumes: [{name: turns, emptyDir: {}}]
initContainers:
- {name: one, command: [sh, -c, 'echo one >> /turns/log'], volumeMounts: [{name: turns, mountPath: /turns}]}
- {name: side, restartPolicy: Always, command: [sh, -c, 'echo side >> /turns/log; exec sleep 9999'], volumeMounts: [{name: turns, mountPath: /turns}]}
- {name: two, command: [sh, -c, 'until grep -q side /turns/log; do sleep 0.1; done; echo two >> /turns/log'], volumeMounts: [{name: turns, mountPath: /turns}]}
containers:
- {name: main, command: [sh, -c, 'echo main >> /turns/log; exec sleep 9999'], volumeMounts: [{name: turns, mountPath: /turns}]}
"#,
        )
        .says("main", "cat /turns/log", "one\nside\ntwo\nmain"),
        Case::pod(
            "what_follows_waits_for_its_startup_probe",
            "[sig-node] [NodeConformance] Containers Lifecycle should launch restartable init containers serially considering the startup probe",
            r#"
volumes: [{name: turns, emptyDir: {}}]
initContainers:
- name: side
  restartPolicy: Always
  command: [sh, -c, 'sleep 2; echo up >> /turns/log; exec sleep 9999']
  startupProbe: {exec: {command: [grep, -q, up, /turns/log]}, periodSeconds: 1, timeoutSeconds: 10, failureThreshold: 60}
  volumeMounts: [{name: turns, mountPath: /turns}]
containers:
- {name: main, command: [sh, -c, 'echo main >> /turns/log; exec sleep 9999'], volumeMounts: [{name: turns, mountPath: /turns}]}
"#,
        )
        .says("main", "cat /turns/log", "up\nmain"),
        Case::story(
            "what_follows_waits_for_its_post_start_hook",
            "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/: each sidecar container is started before the next init container, after its \
             startup and its postStart handler",
            async |scene| {
                let pod = r#"
volumes: [{name: turns, emptyDir: {}}]
initContainers:
- name: side
  restartPolicy: Always
  command: [sleep, "9999"]
  lifecycle: {postStart: {exec: {command: [sh, -c, 'sleep 1; echo post >> /turns/log']}}}
  volumeMounts: [{name: turns, mountPath: /turns}]
containers:
- {name: main, command: [sh, -c, 'echo main >> /turns/log; exec sleep 9999'], volumeMounts: [{name: turns, mountPath: /turns}]}
"#;
                let app = scene.ready(APP, pod).await?;
                app.says("main", "cat /turns/log", "post\nmain").await
            },
        ),
        Case::story(
            "its_readiness_is_the_apps",
            "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/: If a readinessProbe is specified for this init container, its result will be \
             used to determine the ready state of the Pod",
            async |scene| {
                let pod = r#"
initContainers:
- name: side
  restartPolicy: Always
  command: [sleep, "9999"]
  readinessProbe: {exec: {command: [test, -f, /tmp/ready]}, periodSeconds: 1, timeoutSeconds: 10}
containers: [{name: main, command: [sleep, "9999"]}]
"#;
                let app = scene.apply(APP, pod).await?;
                app.says("main", "echo runs", "runs").await?;
                ensure!(!app.report("it runs", |report| !report.containers.is_empty()).await?.ready, "it is ready");
                app.sh("side", "touch /tmp/ready").await?;
                app.ready().await?;
                app.sh("side", "rm /tmp/ready").await?;
                app.report("it is no longer ready", |report| !report.ready).await.map(drop)
            },
        ),
        Case::story(
            "one_that_ends_is_started_again",
            "[sig-node] [NodeConformance] Containers Lifecycle should restart a restartable init container after the regular container started",
            async |scene| {
                let pod = r#"
restartPolicy: Never
initContainers: [{name: side, restartPolicy: Always, command: [sleep, "9999"]}]
containers: [{name: main, command: [sleep, "9999"]}]
"#;
                let app = scene.ready(APP, pod).await?;
                let (main, side) = (app.id("main").await?, app.id("side").await?);
                skerry_tests::docker_run(&["kill", &side]).await?;
                app.container_report("side", "was restarted", |one| one.restart_count == 1 && one.id != side).await?;
                ensure!(app.id("main").await? == main, "the app's container was touched");
                Ok(())
            },
        ),
    ]
}

fn ends() -> Vec<Case> {
    vec![
        Case::story(
            "a_job_is_done_when_the_app_is",
            "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/: sidecar containers do not prevent the Job from completing after the main \
             container has finished",
            async |scene| {
                let pod = r#"
restartPolicy: Never
initContainers: [{name: side, restartPolicy: Always, command: [sleep, "9999"]}]
containers: [{name: main, command: [echo, done]}]
"#;
                let app = scene.apply(APP, pod).await?;
                app.phase("Succeeded").await?;
                app.inspects("side", "/State/Running", false.into()).await
            },
        ),
        Case::story(
            "they_end_in_the_reverse_order_after_the_app",
            "[sig-node] [NodeConformance] Containers Lifecycle should terminate sidecars in reverse order after all main containers have exited",
            async |scene| {
                let folder = scene.folder()?;
                // Each notes its end; the app takes a second for it.
                let container = |name: &str, extra: &str, wait: &str| {
                    format!(
                        "{{name: {name}, {extra} command: [sh, -c, 'trap \"{wait} echo {name} >> /turns/log; exit 0\" TERM; while :; do sleep 0.1; done'], \
                         volumeMounts: [{{name: turns, mountPath: /turns}}]}}"
                    )
                };
                let pod = format!(
                    "{{terminationGracePeriodSeconds: 30, volumes: [{{name: turns, hostPath: {{path: {folder}}}}}], initContainers: [{}, {}], containers: [{}]}}",
                    container("first", "restartPolicy: Always,", ""),
                    container("second", "restartPolicy: Always,", ""),
                    container("main", "", "sleep 1;"),
                );
                let app = scene.ready(APP, &pod).await?;
                app.delete().await?;
                let log = std::fs::read_to_string(format!("{folder}/log"))?;
                ensure!(log == "main\nsecond\nfirst\n", "{log:?}");
                Ok(())
            },
        ),
        Case::job(
            "how_a_sidecar_ends_does_not_matter",
            "[sig-node] [NodeConformance] Containers Lifecycle should mark pod as succeeded if any of the restartable init containers have terminated with \
             non-zero exit code",
            r#"
restartPolicy: Never
terminationGracePeriodSeconds: 10
initContainers: [{name: side, restartPolicy: Always, command: [sh, -c, 'trap "exit 7" TERM; while :; do sleep 0.1; done']}]
containers: [{name: main, command: [sleep, "1"]}]
"#,
        )
        .inspects("side", "/State/Running", false),
        Case::refused(
            "only_always_makes_a_sidecar",
            "kubectl explain pod.spec.initContainers.restartPolicy: Setting the RestartPolicy as \"Always\" for the init container will have the following effect",
            "{initContainers: [{name: side, restartPolicy: OnFailure}], containers: [{name: main}]}",
            &["restartPolicy"],
        ),
        Case::refused(
            "a_container_has_no_policy_of_its_own",
            "https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/: restartPolicy of a container is for init containers; rules of regular \
             containers are behind a feature gate of Kubernetes, and not supported here",
            "{containers: [{name: main, restartPolicy: Always}]}",
            &["restartPolicy"],
        ),
    ]
}
