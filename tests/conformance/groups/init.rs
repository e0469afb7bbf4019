//! Init containers: in order, each to its end, before the app's own.

use anyhow::ensure;

use crate::case::{APP, Case};

pub fn cases() -> Vec<Case> {
    let mut cases = orders();
    cases.extend(failures());
    cases.extend(refusals());
    cases
}

/// Three steps that note their turn in a shared volume; the app's container prints it.
macro_rules! three_steps {
    ($policy:literal, $main:literal) => {
        concat!(
            "restartPolicy: ",
            $policy,
            "
volumes: [{name: turns, emptyDir: {}}]
initContainers:
- {name: init1, command: [sh, -c, 'echo init1 >> /turns/log'], volumeMounts: [{name: turns, mountPath: /turns}]}
- {name: init2, command: [sh, -c, 'echo init2 >> /turns/log'], volumeMounts: [{name: turns, mountPath: /turns}]}
containers:
- name: main
  command: [sh, -c, 'echo main >> /turns/log; cat /turns/log",
            $main,
            "']
  volumeMounts: [{name: turns, mountPath: /turns}]
"
        )
    };
}

fn orders() -> Vec<Case> {
    vec![
        Case::job(
            "a_job_runs_after_its_init_containers",
            "[sig-node] InitContainer should invoke init containers on a RestartNever pod",
            three_steps!("Never", ""),
        )
        .prints("main", "init1\ninit2\nmain"),
        Case::pod(
            "a_service_runs_after_its_init_containers",
            "[sig-node] InitContainer should invoke init containers on a RestartAlways pod",
            three_steps!("Always", "; exec sleep 9999"),
        )
        .prints("main", "init1\ninit2\nmain"),
        Case::job(
            "the_next_begins_when_the_one_before_has_ended",
            "[sig-node] [NodeConformance] Containers Lifecycle should launch init container serially before a regular container",
            r#"
restartPolicy: Never
volumes: [{name: turns, emptyDir: {}}]
initContainers:
- {name: init1, command: [sh, -c, 'echo begin >> /turns/log; sleep 1; echo end >> /turns/log'], volumeMounts: [{name: turns, mountPath: /turns}]}
- {name: init2, command: [sh, -c, 'echo begin >> /turns/log; sleep 1; echo end >> /turns/log'], volumeMounts: [{name: turns, mountPath: /turns}]}
containers:
- {name: main, command: [cat, /turns/log], volumeMounts: [{name: turns, mountPath: /turns}]}
"#,
        )
        .prints("main", "begin\nend\nbegin\nend"),
        Case::job(
            "they_have_the_network_of_the_pod",
            "https://kubernetes.io/docs/concepts/workloads/pods/init-containers/: Init containers support all the fields and features of app containers; \
             each of the pod's containers shares the network namespace",
            r#"
restartPolicy: Never
volumes: [{name: notes, emptyDir: {}}]
initContainers:
- {name: init, command: [sh, -c, 'hostname -i > /notes/address; hostname >> /notes/address'], volumeMounts: [{name: notes, mountPath: /notes}]}
containers:
- {name: main, command: [sh, -c, '(hostname -i; hostname) | diff - /notes/address && echo same'], volumeMounts: [{name: notes, mountPath: /notes}]}
"#,
        )
        .prints("main", "same"),
        Case::story(
            "a_restart_of_the_app_does_not_repeat_them",
            "[sig-node] [NodeConformance] Containers Lifecycle shouldn't restart init containers upon regular container restart",
            async |scene| {
                let app = scene.ready(APP, three_steps!("Always", "; exec sleep 9999")).await?;
                app.prints("main", "init1\ninit2\nmain").await?;
                skerry_tests::docker_run(&["kill", &app.id("main").await?]).await?;
                app.prints("main", "init1\ninit2\nmain\nmain").await
            },
        ),
        Case::story(
            "a_changed_init_container_runs_and_so_does_the_app",
            "https://kubernetes.io/docs/concepts/workloads/pods/init-containers/: Altering an init container image field restarts the Pod: all init \
             containers are executed again",
            async |scene| {
                let pod = three_steps!("Always", "; exec sleep 9999");
                let app = scene.ready(APP, pod).await?;
                app.prints("main", "init1\ninit2\nmain").await?;
                let before = app.id("main").await?;
                app.update(&pod.replace("echo init2", "echo changed")).await?;
                skerry_tests::eventually("the changed one ran before a new container", || async {
                    ensure!(app.logs("main").await?.contains("changed\nmain"), "{}", app.logs("main").await?);
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                ensure!(app.id("main").await? != before, "the container is the same");
                app.ready().await.map(drop)
            },
        ),
    ]
}

fn failures() -> Vec<Case> {
    vec![
        Case::story(
            "a_failing_one_is_tried_again_and_nothing_else_starts",
            "[sig-node] InitContainer should not start app containers if init containers fail on a RestartAlways pod",
            async |scene| {
                let pod = r#"
initContainers:
- {name: init1, command: ['false']}
- {name: init2, command: ['true']}
containers: [{name: main, command: [sleep, "9999"]}]
"#;
                let app = scene.apply(APP, pod).await?;
                let report = app
                    .report("the first is tried again", |report| {
                        report.containers.iter().any(|one| one.name == "init1" && one.restart_count >= 1)
                    })
                    .await?;
                ensure!(!report.ready, "{report:?}");
                ensure!(!app.exists("main").await? && !app.exists("init2").await?, "something was started");
                app.report("it says that it backs off", |report| report.reason.contains("CrashLoopBackOff")).await.map(drop)
            },
        ),
        Case::story(
            "a_failing_one_of_a_job_fails_the_job",
            "[sig-node] InitContainer should not start app containers and fail the pod if init containers fail on a RestartNever pod",
            async |scene| {
                let pod = r#"
restartPolicy: Never
initContainers:
- {name: init1, command: ['true']}
- {name: init2, command: [sh, -c, exit 3]}
containers: [{name: main, command: [echo, ran]}]
"#;
                let app = scene.apply(APP, pod).await?;
                let report = app.phase("Failed").await?;
                ensure!(report.message.contains("init2"), "it is not said which: {report:?}");
                ensure!(!app.exists("main").await?, "the app's container was created");
                Ok(())
            },
        ),
        Case::job(
            "one_that_succeeds_later_lets_the_app_run",
            "https://kubernetes.io/docs/concepts/workloads/pods/init-containers/: If a Pod's init container fails, the kubelet repeatedly restarts that init \
             container until it succeeds",
            r#"
restartPolicy: OnFailure
volumes: [{name: turns, emptyDir: {}}]
initContainers:
- {name: init, command: [sh, -c, 'echo try >> /turns/log; test $(wc -l < /turns/log) -ge 2'], volumeMounts: [{name: turns, mountPath: /turns}]}
containers:
- {name: main, command: [cat, /turns/log], volumeMounts: [{name: turns, mountPath: /turns}]}
"#,
        )
        .prints("main", "try\ntry"),
        Case::job(
            "post_start_of_the_app_waits_for_them",
            "[sig-node] [NodeConformance] Containers Lifecycle should run Init container to completion before call to PostStart of regular container",
            r#"
restartPolicy: Never
volumes: [{name: turns, emptyDir: {}}]
initContainers:
- {name: init, command: [sh, -c, 'sleep 1; echo init >> /turns/log'], volumeMounts: [{name: turns, mountPath: /turns}]}
containers:
- name: main
  command: [sh, -c, 'until grep -q post /turns/log; do sleep 0.1; done; cat /turns/log']
  lifecycle: {postStart: {exec: {command: [sh, -c, 'echo post >> /turns/log']}}}
  volumeMounts: [{name: turns, mountPath: /turns}]
"#,
        )
        .prints("main", "init\npost"),
    ]
}

fn refusals() -> Vec<Case> {
    vec![
        Case::refused(
            "a_name_is_taken_once",
            "https://kubernetes.io/docs/concepts/workloads/pods/init-containers/: The name of each app and init container in a Pod must be unique",
            "{initContainers: [{name: main, command: ['true']}], containers: [{name: main}]}",
            &["initContainers", "a name is used by a container and an init container"],
        ),
        Case::refused(
            "they_have_no_probes",
            "https://kubernetes.io/docs/concepts/workloads/pods/init-containers/: Regular init containers do not support the lifecycle, livenessProbe, \
             readinessProbe, or startupProbe fields",
            "{initContainers: [{name: init, readinessProbe: {tcpSocket: {port: 1}}}], containers: [{name: main}]}",
            &["initContainers", "readinessProbe"],
        ),
        Case::refused(
            "they_have_no_hooks",
            "https://kubernetes.io/docs/concepts/workloads/pods/init-containers/: Regular init containers do not support the lifecycle, livenessProbe, \
             readinessProbe, or startupProbe fields",
            "{initContainers: [{name: init, lifecycle: {preStop: {exec: {command: ['true']}}}}], containers: [{name: main}]}",
            &["initContainers", "lifecycle"],
        ),
    ]
}
