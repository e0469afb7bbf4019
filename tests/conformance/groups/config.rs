//! ConfigMaps and Secrets as files: which, with what mode and owner, and how a change arrives.

use anyhow::ensure;
use serde_json::Value;

use crate::case::{APP, Case};

pub fn cases() -> Vec<Case> {
    let mut cases = config_maps();
    cases.extend(secrets());
    cases.extend(missing());
    cases.extend(changes());
    cases
}

const CONFIG: &str = r#"
kind: ConfigMap
metadata: {name: settings}
data: {data-1: value-1, data-2: value-2, data-3: value-3}
binaryData: {blob: AAEC/w==}
---
kind: Secret
metadata: {name: keys}
stringData: {data-1: secret-1, data-2: secret-2}
"#;

fn config_maps() -> Vec<Case> {
    vec![
        Case::pod(
            "a_config_map_is_a_folder_of_files",
            "[sig-storage] ConfigMap should be consumable from pods in volume",
            r#"
volumes: [{name: config, configMap: {name: settings}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config}]}
"#,
        )
        .with(CONFIG)
        .says("main", "cat /etc/config/data-1", "value-1")
        .says("main", "ls /etc/config", "blob\ndata-1\ndata-2\ndata-3")
        .says("main", "stat -Lc '%a %u %g' /etc/config/data-1", "644 0 0")
        .inspects("main", "/Mounts/0/Destination", "/etc/config")
        .inspects("main", "/Mounts/0/RW", false),
        Case::pod(
            "the_default_mode_of_files",
            "[sig-storage] ConfigMap should be consumable from pods in volume with defaultMode set [LinuxOnly]",
            r#"
volumes: [{name: config, configMap: {name: settings, defaultMode: 0o400}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config}]}
"#,
        )
        .with(CONFIG)
        .says("main", "stat -Lc %a /etc/config/data-1", "400"),
        Case::pod(
            "a_user_reads_the_files",
            "[sig-storage] ConfigMap should be consumable from pods in volume as non-root",
            r#"
securityContext: {runAsUser: 1000}
volumes: [{name: config, configMap: {name: settings}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config}]}
"#,
        )
        .with(CONFIG)
        .says("main", "id -u; cat /etc/config/data-1", "1000\nvalue-1"),
        Case::pod(
            "a_user_reads_files_through_the_fs_group",
            "[sig-storage] ConfigMap should be consumable from pods in volume as non-root with defaultMode and fsGroup set [LinuxOnly]",
            r#"
securityContext: {runAsUser: 1000, fsGroup: 1001}
volumes: [{name: config, configMap: {name: settings, defaultMode: 0o440}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config}]}
"#,
        )
        .with(CONFIG)
        .says("main", "stat -Lc '%a %g' /etc/config/data-1; cat /etc/config/data-1", "440 1001\nvalue-1"),
        Case::pod(
            "the_fs_group_may_read_what_only_the_owner_could",
            "https://kubernetes.io/docs/concepts/configuration/secret/: setting fsGroup sets the mode of projected files to at least 0440 \
             (kubelet's SetVolumeOwnership)",
            r#"
securityContext: {runAsUser: 1000, fsGroup: 1001}
volumes: [{name: config, secret: {secretName: keys, defaultMode: 0o400}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config}]}
"#,
        )
        .with(CONFIG)
        .says("main", "stat -Lc '%a %g' /etc/config/data-1; cat /etc/config/data-1", "440 1001\nsecret-1"),
        Case::pod(
            "keys_are_mapped_to_paths",
            "[sig-storage] ConfigMap should be consumable from pods in volume with mappings",
            r#"
volumes: [{name: config, configMap: {name: settings, items: [{key: data-2, path: path/to/data-2}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config}]}
"#,
        )
        .with(CONFIG)
        .says("main", "cat /etc/config/path/to/data-2; echo; ls /etc/config", "value-2\npath"),
        Case::pod(
            "the_mode_of_one_file",
            "[sig-storage] ConfigMap should be consumable from pods in volume with mappings and Item mode set [LinuxOnly]",
            r#"
volumes:
- name: config
  configMap:
    name: settings
    items: [{key: data-2, path: path/to/data-2, mode: 0o400}, {key: data-3, path: other}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config}]}
"#,
        )
        .with(CONFIG)
        .says("main", "stat -Lc %a /etc/config/path/to/data-2 /etc/config/other", "400\n644"),
        Case::pod(
            "one_config_map_is_mounted_twice",
            "[sig-storage] ConfigMap should be consumable in multiple volumes in the same pod",
            r#"
volumes:
- {name: one, configMap: {name: settings}}
- {name: two, configMap: {name: settings}}
containers:
- name: main
  command: [sleep, "9999"]
  volumeMounts: [{name: one, mountPath: /etc/one}, {name: two, mountPath: /etc/two}]
"#,
        )
        .with(CONFIG)
        .says("main", "cat /etc/one/data-1 /etc/two/data-1", "value-1value-1"),
        Case::pod(
            "bytes_arrive_as_they_are",
            "[sig-storage] ConfigMap binary data should be reflected in volume",
            r#"
volumes: [{name: config, configMap: {name: settings}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config}]}
"#,
        )
        .with(CONFIG)
        .says("main", "od -An -tx1 /etc/config/blob", "00 01 02 ff"),
        Case::pod(
            "the_files_cannot_be_written",
            "https://kubernetes.io/docs/concepts/storage/volumes/#configmap: A ConfigMap is always mounted as readOnly",
            r#"
volumes: [{name: config, configMap: {name: settings}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: config, mountPath: /etc/config, readOnly: false}]}
"#,
        )
        .with(CONFIG)
        .says("main", "echo x 2>/dev/null > /etc/config/new || echo refused", "refused"),
    ]
}

fn secrets() -> Vec<Case> {
    vec![
        Case::pod(
            "a_secret_is_a_folder_of_files",
            "[sig-storage] Secrets should be consumable from pods in volume",
            r#"
volumes: [{name: secret, secret: {secretName: keys}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: secret, mountPath: /etc/secret, readOnly: true}]}
"#,
        )
        .with(CONFIG)
        .says("main", "cat /etc/secret/data-1", "secret-1")
        .says("main", "stat -Lc %a /etc/secret/data-1", "644"),
        Case::pod(
            "a_secrets_keys_are_mapped_with_a_mode",
            "[sig-storage] Secrets should be consumable from pods in volume with mappings and Item Mode set [LinuxOnly]",
            r#"
volumes: [{name: secret, secret: {secretName: keys, defaultMode: 0o440, items: [{key: data-1, path: new-path, mode: 0o400}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: secret, mountPath: /etc/secret}]}
"#,
        )
        .with(CONFIG)
        .says("main", "cat /etc/secret/new-path; echo; stat -Lc %a /etc/secret/new-path; ls /etc/secret", "secret-1\n400\nnew-path"),
        Case::pod(
            "a_secret_in_two_volumes",
            "[sig-storage] Secrets should be consumable in multiple volumes in a pod",
            r#"
volumes: [{name: one, secret: {secretName: keys}}, {name: two, secret: {secretName: keys}}]
containers:
- name: main
  command: [sleep, "9999"]
  volumeMounts: [{name: one, mountPath: /etc/one}, {name: two, mountPath: /etc/two}]
"#,
        )
        .with(CONFIG)
        .says("main", "cat /etc/one/data-1 /etc/two/data-1", "secret-1secret-1"),
        Case::story(
            "a_secret_of_another_namespace_is_another",
            "[sig-storage] Secrets should be able to mount in a volume regardless of a different secret existing with same name in different namespace",
            async |scene| {
                let other = crate::scene::Scene::open(scene.stage.clone()).await?;
                other.config(&CONFIG.replace("secret-1", "elsewhere")).await?;
                scene.config(CONFIG).await?;
                let pod = "{volumes: [{name: s, secret: {secretName: keys}}], \
                           containers: [{name: main, command: [sleep, '9999'], volumeMounts: [{name: s, mountPath: /etc/secret}]}]}";
                let (here, there) = (scene.ready(APP, pod).await?, other.ready(APP, pod).await?);
                here.says("main", "cat /etc/secret/data-1", "secret-1").await?;
                there.says("main", "cat /etc/secret/data-1", "elsewhere").await?;
                other.close().await
            },
        ),
        Case::story(
            "secrets_are_in_memory_and_not_in_what_docker_tells",
            "https://kubernetes.io/docs/concepts/configuration/secret/: the kubelet stores a copy of the secret into a tmpfs so that the confidential data \
             is not written to durable storage",
            async |scene| {
                scene.config(CONFIG).await?;
                let pod = "{volumes: [{name: s, secret: {secretName: keys}}], \
                           containers: [{name: main, command: [sleep, '9999'], volumeMounts: [{name: s, mountPath: /etc/secret}]}]}";
                let app = scene.ready(APP, pod).await?;
                app.says("main", "grep ' /etc/secret ' /proc/mounts | cut -d ' ' -f 3", "tmpfs").await?;
                let inspect = app.inspect("main").await?;
                ensure!(!inspect.to_string().contains("secret-1"), "the secret is in docker inspect");
                let source = inspect.pointer("/Mounts/0/Source").and_then(Value::as_str).unwrap_or_default().to_owned();
                ensure!(std::path::Path::new(&source).is_dir(), "{source:?} is no folder of the box");
                app.delete().await?;
                skerry_tests::eventually("the secret is gone from the box", || async {
                    ensure!(!std::path::Path::new(&source).exists(), "{source} is still there");
                    Ok::<_, anyhow::Error>(())
                })
                .await
            },
        ),
    ]
}

fn missing() -> Vec<Case> {
    vec![
        Case::story(
            "a_missing_config_map_is_waited_for",
            "[sig-storage] ConfigMap Should fail non-optional pod creation due to configMap object does not exist",
            async |scene| {
                let pod = "{volumes: [{name: c, configMap: {name: settings}}], \
                           containers: [{name: main, command: [sleep, '9999'], volumeMounts: [{name: c, mountPath: /etc/config}]}]}";
                let app = scene.apply(APP, pod).await?;
                let report = app.report("it says what is missing", |report| report.message.contains("settings")).await?;
                ensure!(report.phase == "Pending", "{report:?}");
                scene.config(CONFIG).await?;
                app.ready().await?;
                app.says("main", "cat /etc/config/data-1", "value-1").await
            },
        ),
        Case::in_phase(
            "a_missing_key_is_waited_for",
            "[sig-storage] ConfigMap Should fail non-optional pod creation due to the key in the configMap object does not exist",
            "{volumes: [{name: c, configMap: {name: settings, items: [{key: nothing, path: x}]}}], \
              containers: [{name: main, command: [sleep, '9999'], volumeMounts: [{name: c, mountPath: /etc/config}]}]}",
            "Pending",
        )
        .with(CONFIG)
        .message("nothing"),
        Case::in_phase(
            "a_missing_secret_is_waited_for",
            "[sig-storage] Secrets Should fail non-optional pod creation due to secret object does not exist",
            "{volumes: [{name: s, secret: {secretName: nowhere}}], \
              containers: [{name: main, command: [sleep, '9999'], volumeMounts: [{name: s, mountPath: /etc/secret}]}]}",
            "Pending",
        )
        .message("secret \"nowhere\""),
    ]
}

fn changes() -> Vec<Case> {
    vec![
        Case::story(
            "a_changed_config_map_arrives_at_once_and_whole",
            "[sig-storage] ConfigMap updates should be reflected in volume",
            async |scene| {
                scene.config(CONFIG).await?;
                // Both files are read through one look at ..data, again and again: no look may see two revisions.
                let pod = r#"
volumes: [{name: c, configMap: {name: settings}}]
containers:
- name: main
  command: [sh, -c]
  args:
  - |
    while :; do
      cd /etc/config/$(readlink /etc/config/..data) || continue
      a=$(cat data-1) && b=$(cat data-2) || continue
      case "$a$b" in value-1value-2|value-8value-9) ;; *) echo "torn: $a $b" ;; esac
    done
  resources: {limits: {cpu: 50m}}
  volumeMounts: [{name: c, mountPath: /etc/config}]
"#;
                let app = scene.ready(APP, pod).await?;
                let before = app.id("main").await?;
                app.says("main", "readlink /etc/config/data-1", "..data/data-1").await?;
                let changed =
                    CONFIG.replace("data-1: value-1, data-2: value-2", "data-1: value-8, data-2: value-9");
                scene.config(&changed).await?;
                app.says("main", "cat /etc/config/data-1 /etc/config/data-2", "value-8value-9").await?;
                ensure!(app.id("main").await? == before, "the container was replaced");
                ensure!(!app.logs("main").await?.contains("torn"), "{}", app.logs("main").await?);
                Ok(())
            },
        ),
        Case::story(
            "what_is_optional_comes_and_goes",
            "[sig-storage] ConfigMap optional updates should be reflected in volume",
            async |scene| {
                let one = |name: &str, data: &str| {
                    format!("{{kind: ConfigMap, metadata: {{name: {name}}}, data: {{data-1: {data}}}}}")
                };
                scene.config(&one("leaving", "there")).await?;
                scene.config(&one("changing", "before")).await?;
                let pod = r#"
volumes:
- {name: leaving, configMap: {name: leaving, optional: true}}
- {name: changing, configMap: {name: changing, optional: true}}
- {name: coming, configMap: {name: coming, optional: true}}
containers:
- name: main
  command: [sleep, "9999"]
  volumeMounts:
  - {name: leaving, mountPath: /etc/leaving}
  - {name: changing, mountPath: /etc/changing}
  - {name: coming, mountPath: /etc/coming}
"#;
                let app = scene.ready(APP, pod).await?;
                let before = app.id("main").await?;
                app.says(
                    "main",
                    "cat /etc/leaving/data-1 /etc/changing/data-1; ls /etc/coming",
                    "therebefore",
                )
                .await?;
                scene.forget("ConfigMap", "leaving").await?;
                scene.config(&one("changing", "after")).await?;
                scene.config(&one("coming", "new")).await?;
                app.says("main", "ls /etc/leaving; cat /etc/changing/data-1 /etc/coming/data-1", "afternew")
                    .await?;
                ensure!(app.id("main").await? == before, "the container was replaced");
                Ok(())
            },
        ),
        Case::story(
            "a_changed_secret_arrives",
            "[sig-storage] Secrets optional updates should be reflected in volume",
            async |scene| {
                scene.config(CONFIG).await?;
                let pod = "{volumes: [{name: s, secret: {secretName: keys}}], \
                           containers: [{name: main, command: [sleep, '9999'], volumeMounts: [{name: s, mountPath: /etc/secret}]}]}";
                let app = scene.ready(APP, pod).await?;
                let before = app.id("main").await?;
                scene.config(&CONFIG.replace("secret-1", "secret-9")).await?;
                app.says("main", "cat /etc/secret/data-1", "secret-9").await?;
                ensure!(app.id("main").await? == before, "the container was replaced");
                Ok(())
            },
        ),
        Case::story(
            "what_goes_missing_leaves_the_container_as_it_is",
            "https://kubernetes.io/docs/concepts/configuration/configmap/: kubelet keeps the mounted files of a ConfigMap that was deleted, and the \
             container runs on",
            async |scene| {
                scene.config(CONFIG).await?;
                let pod = "{volumes: [{name: c, configMap: {name: settings}}], \
                           containers: [{name: main, command: [sleep, '9999'], volumeMounts: [{name: c, mountPath: /etc/config}]}]}";
                let app = scene.ready(APP, pod).await?;
                let before = app.id("main").await?;
                scene.forget("ConfigMap", "settings").await?;
                app.report("it says what is missing", |report| report.message.contains("settings")).await?;
                app.says("main", "cat /etc/config/data-1", "value-1").await?;
                ensure!(app.id("main").await? == before, "the container was replaced");
                Ok(())
            },
        ),
    ]
}
