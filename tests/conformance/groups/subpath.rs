//! A part of a volume at a path of a container.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::case::{APP, Case};
use crate::scene::Scene;

const CONFIG: &str = r#"
kind: ConfigMap
metadata: {name: settings}
data: {data-1: value-1}
---
kind: Secret
metadata: {name: keys}
stringData: {data-1: secret-1}
"#;

pub fn cases() -> Vec<Case> {
    let mut cases = expansions();
    cases.extend(paths());
    cases.extend(projections());
    cases
}

/// One container puts a link to the box's own root where the other's mount is to come from, after it was checked and before it is mounted.
async fn exchanged(scene: &Scene, volume: &str, mounts: [&str; 2]) -> Result<()> {
    let [whole, part] = mounts;
    let pod = format!(
        "
volumes: [{{name: v, {volume}}}{extra}]
containers:
- name: first
  command: [sh, -c, 'cd /v && mv sub old && ln -s / sub && sleep 9999']
  lifecycle: {{postStart: {{exec: {{command: [sleep, '1']}}}}}}
  volumeMounts: [{whole}]
- name: second
  command: [sleep, '9999']
  volumeMounts: [{part}]
",
        extra = if part.contains("name: w") {
            format!(", {{name: w, {}}}", volume.replace("}", "/sub}"))
        } else {
            String::new()
        },
    );
    let app = scene.ready(APP, &pod).await?;
    app.says("first", "readlink /v/sub", "/").await?;
    app.says("second", "ls -A /x; echo end", "end").await
}

fn expansions() -> Vec<Case> {
    vec![
        Case::pod(
            "a_sub_path_has_variables",
            "[sig-node] Variable Expansion should allow substituting values in a volume subpath",
            r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- name: main
  command: [sleep, "9999"]
  env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeMounts: [{name: data, mountPath: /logs, subPathExpr: $(POD_NAME)}, {name: data, mountPath: /all}]
"#,
        )
        .says("main", "test -d /all/app && echo x > /logs/f && cat /all/app/f", "x"),
        Case::in_phase(
            "a_variable_does_not_lead_out_of_the_volume",
            "[sig-node] Variable Expansion should fail substituting values in a volume subpath with backticks",
            r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- name: main
  command: [sleep, "9999"]
  env: [{name: POD_NAME, value: ..}]
  volumeMounts: [{name: data, mountPath: /logs, subPathExpr: $(POD_NAME)}]
"#,
            "Failed",
        )
        .reason("CreateContainerConfigError")
        .message(".."),
        Case::in_phase(
            "a_variable_is_no_absolute_path",
            "[sig-node] Variable Expansion should fail substituting values in a volume subpath with absolute path",
            r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- name: main
  command: [sleep, "9999"]
  env: [{name: POD_NAME, value: /tmp}]
  volumeMounts: [{name: data, mountPath: /logs, subPathExpr: $(POD_NAME)}]
"#,
            "Failed",
        )
        .reason("CreateContainerConfigError")
        .message("/tmp"),
        Case::story(
            "a_failing_expansion_is_mended",
            "[sig-node] Variable Expansion should verify that a failing subpath expansion can be modified during the lifecycle of a container",
            async |scene| {
                let pod = r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- name: main
  command: [sleep, "9999"]
  env:
  - {name: POD_NAME, value: foo}
  - {name: ANNOTATION, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['mysubpath']"}}}
  volumeMounts: [{name: data, mountPath: /part, subPathExpr: $(ANNOTATION)/$(POD_NAME)}, {name: data, mountPath: /all}]
"#;
                let metadata = |path| json!({"template": {"metadata": {"annotations": {"mysubpath": path}}}});
                let app = scene.apply_with(APP, metadata("../outside"), pod).await?;
                app.reason("CreateContainerConfigError").await?;
                scene.apply_with(APP, metadata("mypath"), pod).await?;
                app.ready().await?;
                app.says("main", "test -d /all/mypath/foo && echo there", "there").await
            },
        ),
        Case::story(
            "what_is_written_there_is_in_the_volume",
            "[sig-node] Variable Expansion should succeed in writing subpaths in container",
            async |scene| {
                let pod = r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- name: main
  command: [sleep, "9999"]
  env: [{name: PART, value: mypath/foo}]
  volumeMounts: [{name: data, mountPath: /part, subPathExpr: $(PART)}, {name: data, mountPath: /all}]
"#;
                let app = scene.ready(APP, pod).await?;
                app.says("main", "touch /all/mypath/foo/test.log && test -f /part/test.log && echo there", "there").await?;
                app.says("main", "rm -r /part/* && ls /all/mypath/foo", "").await
            },
        ),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        Case::story(
            "a_folder_that_is_exchanged_leads_nowhere",
            "CVE-2017-1002101, CVE-2021-25741: a volume mount with subPath gives access to files outside of the volume",
            async |scene| {
                exchanged(scene, "emptyDir: {}", ["{name: v, mountPath: /v}", "{name: v, mountPath: /x, subPath: sub}"])
                    .await
            },
        ),
        Case::story(
            "a_host_path_that_is_exchanged_leads_nowhere",
            "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath: limit the scope to only the required file or directory",
            async |scene| {
                let folder = scene.folder()?;
                let volume = format!("hostPath: {{path: {folder}}}");
                exchanged(scene, &volume, ["{name: v, mountPath: /v}", "{name: w, mountPath: /x}"]).await
            },
        ),
        Case::pod(
            "a_path_that_is_not_there_is_made",
            "[sig-storage] In-tree Volumes [Driver: emptydir] [Testpattern: Inline-volume (default fs)] subPath should support non-existent path",
            r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- name: main
  command: [sleep, "9999"]
  volumeMounts: [{name: data, mountPath: /part, subPath: a/b}, {name: data, mountPath: /other, subPath: c}, {name: data, mountPath: /all}]
"#,
        )
        .says("main", "echo x > /part/f; echo y > /other/f; cat /all/a/b/f /all/c/f", "x\ny"),
        Case::pod(
            "a_path_is_read_only",
            "[sig-storage] In-tree Volumes [Driver: emptydir] [Testpattern: Inline-volume (default fs)] subPath should support readOnly directory specified in the volumeMount",
            r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- {name: writer, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /data}]}
- {name: reader, command: [sleep, "9999"], volumeMounts: [{name: data, mountPath: /part, subPath: a, readOnly: true}]}
"#,
        )
        .says("writer", "mkdir -p /data/a && echo x > /data/a/f && cat /data/a/f", "x")
        .says("reader", "echo y 2>/dev/null > /part/f || cat /part/f", "x"),
        Case::story(
            "a_file_is_mounted_alone",
            "[sig-storage] In-tree Volumes [Driver: emptydir] [Testpattern: Inline-volume (default fs)] subPath should support file as subpath [LinuxOnly]",
            async |scene| {
                let folder = scene.folder()?;
                std::fs::write(format!("{folder}/file"), "content")?;
                let pod = format!(
                    "{{volumes: [{{name: h, hostPath: {{path: {folder}}}}}], containers: [\
                     {{name: main, command: [sleep, '9999'], volumeMounts: [{{name: h, mountPath: /etc/some-file, subPath: file}}]}}]}}"
                );
                let app = scene.ready(APP, &pod).await?;
                app.says("main", "cat /etc/some-file; test -f /etc/passwd && echo beside", "contentbeside").await
            },
        ),
        Case::story(
            "a_link_does_not_lead_out_of_the_volume",
            "[sig-storage] In-tree Volumes [Driver: emptydir] [Testpattern: Inline-volume (default fs)] subPath should fail if subpath directory is outside the volume",
            async |scene| {
                let folder = scene.folder()?;
                std::os::unix::fs::symlink("/etc", format!("{folder}/out"))?;
                let pod = format!(
                    "{{volumes: [{{name: h, hostPath: {{path: {folder}}}}}], containers: [\
                     {{name: main, command: [sleep, '9999'], volumeMounts: [{{name: h, mountPath: /h, subPath: out}}]}}]}}"
                );
                let app = scene.apply(APP, &pod).await?;
                let report = app.report("it says why", |report| report.message.contains("out")).await?;
                ensure!(!report.ready && !app.exists("main").await?, "{report:?}");
                Ok(())
            },
        ),
        Case::story(
            "a_container_restarts_with_its_path",
            "[sig-storage] In-tree Volumes [Driver: emptydir] [Testpattern: Inline-volume (default fs)] subPath should support restarting containers using directory as subpath",
            async |scene| {
                let pod = r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- {name: main, command: [sh, -c, 'echo x >> /part/starts; exec sleep 9999'], volumeMounts: [{name: data, mountPath: /part, subPath: a}]}
"#;
                let app = scene.ready(APP, pod).await?;
                app.says("main", "cat /part/starts", "x").await?;
                skerry_tests::docker_run(&["kill", &app.id("main").await?]).await?;
                app.says("main", "cat /part/starts", "x\nx").await
            },
        ),
        Case::refused(
            "two_dots_are_refused",
            "[sig-storage] In-tree Volumes [Driver: emptydir] [Testpattern: Inline-volume (default fs)] subPath should fail if subpath with backstepping is outside the volume",
            "{volumes: [{name: d, emptyDir: {}}], containers: [{name: main, volumeMounts: [{name: d, mountPath: /d, subPath: a/../../b}]}]}",
            &["subPath"],
        ),
        Case::refused(
            "an_absolute_path_is_refused",
            "kubectl explain pod.spec.containers.volumeMounts.subPath: Path within the volume from which the container's volume should be mounted. It must be \
             relative (ValidateVolumeMounts)",
            "{volumes: [{name: d, emptyDir: {}}], containers: [{name: main, volumeMounts: [{name: d, mountPath: /d, subPath: /etc}]}]}",
            &["subPath"],
        ),
        Case::refused(
            "a_path_and_an_expression_exclude_each_other",
            "kubectl explain pod.spec.containers.volumeMounts.subPathExpr: SubPathExpr and SubPath are mutually exclusive",
            "{volumes: [{name: d, emptyDir: {}}], containers: [{name: main, volumeMounts: [{name: d, mountPath: /d, subPath: a, subPathExpr: b}]}]}",
            &["subPath"],
        ),
    ]
}

fn projections() -> Vec<Case> {
    vec![
        Case::pod(
            "a_key_of_a_config_map_is_one_file",
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with configmap pod with mountPath of existing file",
            r#"
volumes: [{name: config, configMap: {name: settings}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/group, subPath: data-1}]}
"#,
        )
        .with(CONFIG)
        .says("main", "cat /etc/group; test -f /etc/passwd && echo beside", "value-1beside"),
        Case::pod(
            "a_key_of_a_secret_is_one_file",
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with secret pod",
            r#"
volumes: [{name: secret, secret: {secretName: keys}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: secret, mountPath: /etc/key, subPath: data-1}]}
"#,
        )
        .with(CONFIG)
        .says("main", "cat /etc/key", "secret-1"),
        Case::pod(
            "a_downward_file_alone",
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with downward pod",
            r#"
volumes: [{name: info, downwardAPI: {items: [{path: downward/podname, fieldRef: {fieldPath: metadata.name}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /info, subPath: downward}]}
"#,
        )
        .says("main", "cat /info/podname", APP),
        Case::pod(
            "a_projected_folder_alone",
            "[sig-storage] Subpath Atomic writer volumes should support subpaths with projected pod",
            r#"
volumes: [{name: all, projected: {sources: [{configMap: {name: settings, items: [{key: data-1, path: projected/data-1}]}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: all, mountPath: /part, subPath: projected}]}
"#,
        )
        .with(CONFIG)
        .says("main", "cat /part/data-1", "value-1"),
        Case::story(
            "a_part_is_not_updated_until_a_restart",
            "[sig-storage] Subpath Container restart should verify that container can restart successfully after configmaps modified",
            async |scene| {
                scene.config(CONFIG).await?;
                let pod = r#"
volumes: [{name: config, configMap: {name: settings}}]
containers:
- name: main
  command: [sleep, "9999"]
  volumeMounts: [{name: config, mountPath: /all}, {name: config, mountPath: /part, subPath: data-1}]
"#;
                let app = scene.ready(APP, pod).await?;
                let before = app.id("main").await?;
                scene.config(&CONFIG.replace("value-1", "value-9")).await?;
                app.says("main", "cat /all/data-1", "value-9").await?;
                app.says("main", "cat /part", "value-1").await?;
                ensure!(app.id("main").await? == before, "the container was replaced");
                skerry_tests::docker_run(&["kill", &before]).await?;
                app.says("main", "cat /part", "value-9").await
            },
        ),
    ]
}
