//! What the owner of a box allows: nothing beyond an app's own containers unless `agent.toml` says so. Kubernetes' Pod Security Standards are
//! the list of what reaches beyond.

use anyhow::{Result, ensure};
use serde_json::json;
use skerry_tests::{AgentOptions, Node};

use crate::case::{APP, Case};
use crate::scene::Scene;

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

/// A box whose owner allows this and nothing else.
async fn with_policy(scene: &Scene, rule: &str) -> Result<Node> {
    let config = format!("[policy]\n{rule}\n");
    let node = scene.stage.site.node_with(AgentOptions { config, ..AgentOptions::default() })?;
    node.ready().await?;
    Ok(node)
}

/// An app that mounts this path of the box is refused by this rule, and nothing of it is created.
async fn mount_is_refused(scene: &Scene, node: &Node, path: &str, rule: &str) -> Result<()> {
    let pod = format!(
        "{{volumes: [{{name: h, hostPath: {{path: {path}}}}}], containers: [{{name: main, command: [sleep, '9999'], \
         volumeMounts: [{{name: h, mountPath: /h}}]}}]}}"
    );
    let app = scene.apply_to(node, APP, json!({}), &pod).await?;
    app.report(&format!("{path} is refused by {rule}"), |report| report.message.contains(rule)).await?;
    ensure!(!app.exists("main").await?, "it was created");
    Ok(())
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
            "the_boxs_network",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: Host Namespaces: hostNetwork",
            "{hostNetwork: true, containers: [{name: main}]}",
            "policy.host-network",
            "hostNetwork",
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
            "policy.docker-socket",
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
            "a_seccomp_profile_where_there_are_none",
            "https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline: Seccomp: a profile of the node, where the node has any",
            "{securityContext: {seccompProfile: {type: Localhost, localhostProfile: a.json}}, containers: [{name: main}]}",
            "seccomp-folder",
            "localhostProfile",
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
            "a_link_to_dockers_socket",
            "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath: hostPath volumes can expose privileged APIs such as the container runtime socket",
            async |scene| {
                let folder = scene.folder()?;
                std::os::unix::fs::symlink("/var/run/docker.sock", format!("{folder}/socket"))?;
                mount_is_refused(scene, scene.node(), &format!("{folder}/socket"), "policy.docker-socket")
                    .await
            },
        ),
        Case::story(
            "the_folder_of_dockers_socket",
            "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath: hostPath volumes can expose privileged APIs such as the container runtime socket; an \
             allowed folder around it does not allow it",
            async |scene| {
                // Docker's own folder has the agent's in it as well, which is refused for that.
                let folder = scene.folder()?;
                let socket = format!("{folder}/docker.sock");
                std::os::unix::fs::symlink("/var/run/docker.sock", &socket)?;
                let config = format!("[policy]\nhost-paths = [{folder:?}]\n");
                let options =
                    AgentOptions { docker_socket: Some(socket.into()), config, ..AgentOptions::default() };
                let node = scene.stage.site.node_with(options)?;
                node.ready().await?;
                mount_is_refused(scene, &node, &folder, "policy.docker-socket").await
            },
        ),
        Case::story(
            "registries_that_are_not_listed",
            "https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#imagepolicywebhook: a policy decides where images may come from",
            async |scene| {
                let node = with_policy(scene, "registries = [\"skerry.local\"]").await?;
                let pod = "{containers: [{name: main, image: 'docker.io/library/nginx:1', command: [sleep, '9999']}]}";
                let app = scene.apply_to(&node, APP, json!({}), pod).await?;
                let report = app.reason("PolicyRefused").await?;
                let says = |word: &str| report.message.contains(word);
                ensure!(
                    says("policy.registries") && says("containers[0].image") && says("docker.io"),
                    "{report:?}"
                );
                ensure!(app.containers().await?.is_empty(), "something was created");
                // The image of the tests is skerry.local's.
                scene
                    .apply_to(&node, APP, json!({}), "{containers: [{name: main, command: [sleep, '9999']}]}")
                    .await?;
                app.ready().await?;
                app.delete().await
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
