//! What the owner of a box allows: nothing beyond an app's own containers unless `agent.toml` says so. Kubernetes' Pod Security Standards are
//! the list of what reaches beyond.

use anyhow::ensure;
use serde_json::json;

use crate::case::{APP, Case};

/// A pod that the strict box refuses, with the rule and the field that its refusal names.
fn denied(
    name: &'static str,
    stands_on: &'static str,
    pod: &'static str,
    rule: &'static str,
    field: &'static str,
) -> Case {
    Case::story(name, stands_on, async move |scene| {
        let app = scene.apply_to(&scene.stage.strict, APP, json!({}), pod).await?;
        let report = app.reason("PolicyRefused").await?;
        ensure!(report.phase == "Failed", "{report:?}");
        ensure!(report.message.contains(rule) && report.message.contains(field), "{report:?}");
        ensure!(app.containers().await?.is_empty(), "something was created");
        Ok(())
    })
}

pub fn cases() -> Vec<Case> {
    vec![
        denied(
            "privileged_containers",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: Privileged Containers",
            "{containers: [{name: main, securityContext: {privileged: true}}]}",
            "policy.privileged",
            "securityContext.privileged",
        ),
        denied(
            "the_boxs_processes",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: Host Namespaces: hostPID",
            "{hostPID: true, containers: [{name: main}]}",
            "policy.host-pid",
            "hostPID",
        ),
        denied(
            "the_boxs_ipc",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: Host Namespaces: hostIPC",
            "{hostIPC: true, containers: [{name: main}]}",
            "policy.host-ipc",
            "hostIPC",
        ),
        denied(
            "paths_of_the_box",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: HostPath Volumes",
            "{volumes: [{name: h, hostPath: {path: /etc}}], containers: [{name: main, volumeMounts: [{name: h, mountPath: /h}]}]}",
            "policy.host-paths",
            "hostPath",
        ),
        denied(
            "dockers_socket",
            "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath: hostPath volumes can expose privileged APIs such as the container runtime socket",
            "{volumes: [{name: h, hostPath: {path: /var/run/docker.sock}}], containers: [{name: main, volumeMounts: [{name: h, mountPath: /h}]}]}",
            "policy.",
            "hostPath",
        ),
        denied(
            "added_capabilities",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: Capabilities: adding additional capabilities beyond the listed must be disallowed",
            "{containers: [{name: main, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}",
            "policy.capabilities",
            "SYS_ADMIN",
        ),
        denied(
            "no_seccomp",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: Seccomp: profile must not be explicitly set to Unconfined",
            "{securityContext: {seccompProfile: {type: Unconfined}}, containers: [{name: main}]}",
            "policy.seccomp-unconfined",
            "seccompProfile",
        ),
        denied(
            "unsafe_sysctls",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: Sysctls can disable security mechanisms or affect all containers on a host, and \
             should be disallowed except for an allowed \"safe\" subset",
            "{securityContext: {sysctls: [{name: net.core.somaxconn, value: '1024'}]}, containers: [{name: main}]}",
            "policy.sysctls",
            "net.core.somaxconn",
        ),
        Case::story(
            "a_link_out_of_an_allowed_folder",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: HostPath Volumes; links are resolved when they are mounted",
            async |scene| {
                let folder = scene.folder()?;
                std::os::unix::fs::symlink("/etc", format!("{folder}/etc"))?;
                let pod = format!(
                    "{{volumes: [{{name: h, hostPath: {{path: {folder}/etc}}}}], containers: [{{name: main, command: [sleep, '9999'], \
                     volumeMounts: [{{name: h, mountPath: /h}}]}}]}}"
                );
                let app = scene.apply(APP, &pod).await?;
                app.report("it is refused", |report| report.message.contains("policy.host-paths")).await?;
                ensure!(!app.exists("main").await?, "it was created");
                Ok(())
            },
        ),
        Case::story(
            "what_is_refused_leaves_what_runs_alone",
            "https://kubernetes.io/docs/concepts/security/pod-security-admission/: enforce: policy violations will cause the pod to be rejected; it does not touch what runs",
            async |scene| {
                let plain = "{containers: [{name: main, command: [sleep, '9999']}]}";
                let app = scene.apply_to(&scene.stage.strict, APP, json!({}), plain).await?;
                app.ready().await?;
                let before = app.id("main").await?;
                let greedy = "{hostPID: true, containers: [{name: main, command: [sleep, '9999']}]}";
                scene.apply_to(&scene.stage.strict, APP, json!({}), greedy).await?;
                app.reason("PolicyRefused").await?;
                ensure!(app.id("main").await? == before, "the old one was replaced");
                app.inspects("main", "/State/Running", true.into()).await?;
                scene.apply_to(&scene.stage.strict, APP, json!({}), plain).await?;
                app.ready().await?;
                ensure!(app.id("main").await? == before, "the old one was replaced");
                Ok(())
            },
        ),
        Case::story(
            "what_is_within_the_rules_runs",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted: a restricted pod, on a box whose owner allows nothing",
            async |scene| {
                let pod = r#"
securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
containers:
- name: main
  command: [sleep, "9999"]
  securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, readOnlyRootFilesystem: true}
"#;
                let app = scene.apply_to(&scene.stage.strict, APP, json!({}), pod).await?;
                app.ready().await?;
                app.says("main", "id -u", "1000").await
            },
        ),
    ]
}
