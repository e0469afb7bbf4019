//! Several sources in one volume.

use crate::case::{APP, Case};

const CONFIG: &str = r#"
kind: ConfigMap
metadata: {name: settings}
data: {config-data: from the ConfigMap, both: ConfigMap}
---
kind: Secret
metadata: {name: keys}
stringData: {secret-data: from the Secret, both: Secret}
"#;

pub fn cases() -> Vec<Case> {
    vec![
        Case::pod(
            "every_source_is_in_one_folder",
            "[sig-storage] Projected combined should project all components that make up the projection API [Projection]",
            r#"
volumes:
- name: all
  projected:
    sources:
    - configMap: {name: settings, items: [{key: config-data, path: configmap-data}]}
    - secret: {name: keys, items: [{key: secret-data, path: nested/secret-data}]}
    - downwardAPI:
        items:
        - {path: podname, fieldRef: {fieldPath: metadata.name}}
        - {path: cpu, resourceFieldRef: {containerName: main, resource: limits.cpu, divisor: 1m}}
containers:
- name: main
  command: [sleep, "9999"]
  resources: {limits: {cpu: 500m}}
  volumeMounts: [{name: all, mountPath: /all}]
"#,
        )
        .with(CONFIG)
        .says("main", "cd /all && for f in configmap-data nested/secret-data podname cpu; do cat $f; echo; done", "from the ConfigMap\nfrom the Secret\napp\n500")
        .inspects("main", "/Mounts/0/RW", false),
        Case::pod(
            "the_default_mode_is_for_every_source",
            "[sig-storage] Projected configMap should be consumable from pods in volume with defaultMode set [LinuxOnly]",
            r#"
volumes:
- name: all
  projected:
    defaultMode: 0o400
    sources: [{configMap: {name: settings}}, {secret: {name: keys, items: [{key: secret-data, path: secret-data}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: all, mountPath: /all}]}
"#,
        )
        .with(CONFIG)
        .says("main", "stat -Lc %a /all/config-data /all/secret-data", "400\n400"),
        Case::pod(
            "the_mode_of_one_file",
            "[sig-storage] Projected configMap should be consumable from pods in volume with mappings and Item mode set [LinuxOnly]",
            r#"
volumes:
- name: all
  projected:
    sources:
    - configMap: {name: settings, items: [{key: config-data, path: path/to/data, mode: 0o400}]}
    - secret: {name: keys, items: [{key: secret-data, path: data}]}
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: all, mountPath: /all}]}
"#,
        )
        .with(CONFIG)
        .says("main", "stat -Lc %a /all/path/to/data /all/data", "400\n644"),
        Case::pod(
            "a_user_reads_them_through_the_fs_group",
            "[sig-storage] Projected secret should be consumable from pods in volume as non-root with defaultMode and fsGroup set [LinuxOnly]",
            r#"
securityContext: {runAsUser: 1000, fsGroup: 1001}
volumes: [{name: all, projected: {defaultMode: 0o440, sources: [{secret: {name: keys}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: all, mountPath: /all}]}
"#,
        )
        .with(CONFIG)
        .says("main", "stat -Lc '%a %g' /all/secret-data; cat /all/secret-data", "440 1001\nfrom the Secret"),
        Case::pod(
            "an_optional_source_may_be_missing",
            "[sig-storage] Projected configMap optional updates should be reflected in volume",
            r#"
volumes:
- name: all
  projected:
    sources: [{configMap: {name: nowhere, optional: true}}, {secret: {name: nowhere, optional: true}}, {secret: {name: keys}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: all, mountPath: /all}]}
"#,
        )
        .with(CONFIG)
        .says("main", "ls /all", "both\nsecret-data"),
        Case::pod(
            "the_later_source_has_the_path",
            "https://kubernetes.io/docs/concepts/storage/projected-volumes/: sources are projected in order; kubelet's collectData has the later one \
             replace what has the same path",
            r#"
volumes: [{name: all, projected: {sources: [{configMap: {name: settings}}, {secret: {name: keys}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: all, mountPath: /all}]}
"#,
        )
        .with(CONFIG)
        .says("main", "cat /all/both", "Secret"),
        Case::story(
            "a_changed_source_arrives",
            "[sig-storage] Projected configMap updates should be reflected in volume",
            async |scene| {
                scene.config(CONFIG).await?;
                let pod = "{volumes: [{name: all, projected: {sources: [{configMap: {name: settings}}]}}], \
                           containers: [{name: main, command: [sleep, '9999'], volumeMounts: [{name: all, mountPath: /all}]}]}";
                let app = scene.ready(APP, pod).await?;
                let before = app.id("main").await?;
                scene.config(&CONFIG.replace("from the ConfigMap", "changed")).await?;
                app.says("main", "cat /all/config-data", "changed").await?;
                anyhow::ensure!(app.id("main").await? == before, "the container was replaced");
                Ok(())
            },
        ),
        Case::pod(
            "the_name_through_a_projection",
            "[sig-storage] Projected downwardAPI should provide podname only",
            r#"
volumes: [{name: all, projected: {sources: [{downwardAPI: {items: [{path: podname, fieldRef: {fieldPath: metadata.name}}]}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: all, mountPath: /all}]}
"#,
        )
        .says("main", "cat /all/podname", APP),
    ]
}
