//! The environment of a container: values, references between them, ConfigMaps and Secrets. A shell drops variables whose names are not
//! a shell's; those are looked for in `/proc/1/environ`.

use anyhow::ensure;
use serde_json::json;

use crate::case::{APP, Case};

pub fn cases() -> Vec<Case> {
    let mut cases = values();
    cases.extend(references());
    cases.extend(missing());
    cases.extend(changes());
    cases
}

const CONFIG: &str = r#"
kind: ConfigMap
metadata: {name: settings}
data: {data-1: value-1, data-2: value-2, shared: from the ConfigMap}
---
kind: Secret
metadata: {name: keys}
stringData: {password: "s3cr3t", shared: from the Secret}
"#;

fn values() -> Vec<Case> {
    vec![
        Case::story(
            "a_value_of_a_secret_is_in_no_message",
            "https://kubernetes.io/docs/concepts/security/secrets-good-practices/: avoid logging secret data",
            async |scene| {
                scene.config("kind: Secret\nmetadata: {name: keys}\nstringData: {key: hunter22}").await?;
                let pod = r#"
containers:
- name: main
  command: ["/$(KEY)/nope"]
  env: [{name: KEY, valueFrom: {secretKeyRef: {name: keys, key: key}}}]
"#;
                let app = scene.apply(APP, pod).await?;
                let report = app.reason("StartError").await?;
                ensure!(report.message.contains("/***/nope"), "{report:?}");
                ensure!(!format!("{report:?}").contains("hunter22"), "{report:?}");
                Ok(())
            },
        ),
        Case::job(
            "a_value_is_composed_of_others",
            "[sig-node] Variable Expansion should allow composing env vars into new env vars",
            r#"
restartPolicy: Never
containers:
- name: main
  command: [sh, -c, env]
  env:
  - {name: FOO, value: foo-value}
  - {name: BAR, value: bar-value}
  - {name: FOOBAR, value: '$(FOO);;$(BAR)'}
"#,
        )
        .prints("main", "FOO=foo-value")
        .prints("main", "BAR=bar-value")
        .prints("main", "FOOBAR=foo-value;;bar-value"),
        Case::job(
            "nearly_every_printable_character_may_be_in_a_name",
            "[sig-node] Variable Expansion allow almost all printable ASCII characters as environment variable names",
            r##"
restartPolicy: Never
containers:
- name: main
  command: [env]
  env:
  - {name: "!\"#$%&'()", value: value-1}
  - {name: "* +,-./0123456789", value: value-2}
  - {name: ":;<>?@", value: value-3}
  - {name: "[\\]^_`{}|~", value: value-4}
"##,
        )
        .prints("main", "!\"#$%&'()=value-1")
        .prints("main", "* +,-./0123456789=value-2")
        .prints("main", ":;<>?@=value-3")
        .prints("main", "[\\]^_`{}|~=value-4"),
        Case::job(
            "only_what_is_above_is_referred_to",
            "kubectl explain pod.spec.containers.env.value: Variable references $(VAR_NAME) are expanded using the previously defined environment \
             variables in the container and any service environment variables",
            r#"
restartPolicy: Never
containers:
- name: main
  command: [sh, -c, 'printf "%s\n" "$EARLY"; printf "%s\n" "$ESCAPED"; printf "%s\n" "$NOBODY"']
  env:
  - {name: EARLY, value: '$(LATE)'}
  - {name: LATE, value: late}
  - {name: ESCAPED, value: '$$(LATE)'}
  - {name: NOBODY, value: '-$(NOT_THERE)-'}
"#,
        )
        .prints("main", "$(LATE)\n$(LATE)\n-$(NOT_THERE)-"),
        Case::pod(
            "a_value_wins_over_the_images",
            "https://kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-container/: Environment variables that you set for a \
             container using env or envFrom override any environment variables specified in the container image",
            r#"
containers:
- {name: image, image: 'conformance:env'}
- {name: ours, image: 'conformance:env', env: [{name: ORIGIN, value: pod}, {name: EMPTY, value: ""}, {name: BARE}]}
"#,
        )
        .says("image", "echo $ORIGIN", "image")
        .says("ours", "echo $ORIGIN", "pod")
        .says("ours", "echo ${EMPTY-unset} ${BARE-unset}", ""),
        Case::pod(
            "the_host_name_is_a_variable",
            "https://kubernetes.io/docs/concepts/containers/container-environment/: The hostname of a Container is the name of the Pod in which the \
             Container is running. It is available through the hostname command",
            "{containers: [{name: main, command: [sleep, '9999']}]}",
        )
        .says("main", "hostname", APP)
        .says("main", "echo $HOSTNAME", APP)
        .inspects("main", "/Config/Hostname", APP),
    ]
}

fn references() -> Vec<Case> {
    vec![
        Case::pod(
            "a_key_of_a_config_map",
            "[sig-node] ConfigMap should be consumable via environment variable",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  env: [{name: CONFIG_DATA_1, valueFrom: {configMapKeyRef: {name: settings, key: data-1}}}]
"#,
        )
        .with(CONFIG)
        .says("main", "echo $CONFIG_DATA_1", "value-1"),
        Case::pod(
            "every_key_of_a_config_map",
            "[sig-node] ConfigMap should be consumable via the environment",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  envFrom: [{configMapRef: {name: settings}}, {prefix: p_, configMapRef: {name: settings}}]
"#,
        )
        .with(CONFIG)
        .says("main", "tr '\\0' '\\n' < /proc/1/environ | grep -E '^(p_)?data-' | sort", "data-1=value-1\ndata-2=value-2\np_data-1=value-1\np_data-2=value-2"),
        Case::pod(
            "prefixes_of_config_maps_may_be_of_many_characters",
            "[sig-node] ConfigMap should be consumable as environment variable names with various prefixes",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  envFrom:
  - {prefix: '#-', configMapRef: {name: settings}}
  - {prefix: '1a.', configMapRef: {name: settings}}
  - {prefix: '$_-', configMapRef: {name: settings}}
"#,
        )
        .with(CONFIG)
        .says("main", "tr '\\0' '\\n' < /proc/1/environ | grep data-1 | sort", "#-data-1=value-1\n$_-data-1=value-1\n1a.data-1=value-1"),
        Case::pod(
            "a_key_of_a_secret",
            "[sig-node] Secrets should be consumable from pods in env vars",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  env: [{name: SECRET_DATA, valueFrom: {secretKeyRef: {name: keys, key: password}}}]
"#,
        )
        .with(CONFIG)
        .says("main", "echo $SECRET_DATA", "s3cr3t"),
        Case::pod(
            "every_key_of_a_secret",
            "[sig-node] Secrets should be consumable via the environment",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  envFrom: [{secretRef: {name: keys}}, {prefix: p_, secretRef: {name: keys}}]
"#,
        )
        .with(CONFIG)
        .says("main", "env | grep password | sort", "p_password=s3cr3t\npassword=s3cr3t"),
        Case::pod(
            "the_last_source_wins_and_env_over_all",
            "kubectl explain pod.spec.containers.envFrom: When a key exists in multiple sources, the value associated with the last source will take \
             precedence. Values defined by an Env with a duplicate key will take precedence",
            r#"
containers:
- name: secret
  command: [sleep, "9999"]
  envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: keys}}]
- name: config
  command: [sleep, "9999"]
  envFrom: [{secretRef: {name: keys}}, {configMapRef: {name: settings}}]
- name: env
  command: [sleep, "9999"]
  envFrom: [{secretRef: {name: keys}}]
  env: [{name: shared, value: from env}]
"#,
        )
        .with(CONFIG)
        .says("secret", "echo $shared", "from the Secret")
        .says("config", "echo $shared", "from the ConfigMap")
        .says("env", "echo $shared", "from env"),
        Case::pod(
            "values_from_elsewhere_are_referred_to",
            "https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/: dependent variables, whatever their \
             source; so does kubelet's makeEnvironmentVariables",
            r#"
containers:
- name: main
  command: [sh, -c, 'echo "$0"; exec sleep 9999', '$(URL)']
  envFrom: [{prefix: C_, configMapRef: {name: settings}}]
  env:
  - {name: PASSWORD, valueFrom: {secretKeyRef: {name: keys, key: password}}}
  - {name: URL, value: 'tcp://$(PASSWORD)@$(C_shared)'}
"#,
        )
        .with(CONFIG)
        .prints("main", "tcp://s3cr3t@from the ConfigMap"),
        Case::pod(
            "what_is_optional_may_be_missing",
            "kubectl explain pod.spec.containers.env.valueFrom.configMapKeyRef.optional: Specify whether the ConfigMap or its key must be defined",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  envFrom:
  - {configMapRef: {name: nowhere, optional: true}}
  - {secretRef: {name: nowhere, optional: true}}
  env:
  - {name: A, valueFrom: {configMapKeyRef: {name: nowhere, key: a, optional: true}}}
  - {name: B, valueFrom: {configMapKeyRef: {name: settings, key: nothing, optional: true}}}
  - {name: C, valueFrom: {secretKeyRef: {name: keys, key: nothing, optional: true}}}
  - {name: D, value: 'last $(A)'}
"#,
        )
        .with(CONFIG)
        .says("main", "echo ${A-none} ${B-none} ${C-none} \"$D\"", "none none none last $(A)"),
    ]
}

fn missing() -> Vec<Case> {
    vec![
        Case::story(
            "a_missing_config_map_is_waited_for_by_name",
            "https://kubernetes.io/docs/concepts/configuration/configmap/: Pods that refer to a ConfigMap that does not exist do not start; kubelet: \
             CreateContainerConfigError, configmap \"settings\" not found",
            async |scene| {
                let pod = "{containers: [{name: main, command: [sleep, '9999'], envFrom: [{configMapRef: {name: settings}}]}]}";
                let app = scene.apply(APP, pod).await?;
                let report = app.reason("CreateContainerConfigError").await?;
                ensure!(report.phase == "Pending" && report.message.contains("configmap \"settings\""), "{report:?}");
                ensure!(app.containers().await?.is_empty(), "a container was created");
                scene.config(CONFIG).await?;
                app.ready().await?;
                app.says("main", "tr '\\0' '\\n' < /proc/1/environ | sed -n 's|^data-1=||p'", "value-1").await
            },
        ),
        Case::story(
            "a_missing_secret_is_waited_for_by_name",
            "https://kubernetes.io/docs/concepts/configuration/secret/: If none of the Pod's containers can start because a Secret is missing, kubelet \
             reports it, with CreateContainerConfigError, secret \"keys\" not found",
            async |scene| {
                let pod = "{containers: [{name: main, command: [sleep, '9999'], \
                           env: [{name: P, valueFrom: {secretKeyRef: {name: keys, key: password}}}]}]}";
                let app = scene.apply(APP, pod).await?;
                let report = app.reason("CreateContainerConfigError").await?;
                ensure!(report.phase == "Pending" && report.message.contains("secret \"keys\""), "{report:?}");
                scene.config(CONFIG).await?;
                app.ready().await?;
                app.says("main", "echo $P", "s3cr3t").await
            },
        ),
        Case::in_phase(
            "a_missing_key_is_named",
            "kubelet: CreateContainerConfigError, couldn't find key nothing in ConfigMap NAMESPACE/settings",
            "{containers: [{name: main, command: [sleep, '9999'], env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: nothing}}}]}]}",
            "Pending",
        )
        .with(CONFIG)
        .reason("CreateContainerConfigError")
        .message("nothing")
        .message("settings"),
    ]
}

fn changes() -> Vec<Case> {
    vec![Case::story(
        "a_changed_value_rolls_its_consumers_and_no_other",
        "https://kubernetes.io/docs/concepts/configuration/configmap/: ConfigMaps consumed as environment variables are not updated automatically and \
         require a pod restart. Skerry makes that restart",
        async |scene| {
            scene.config(CONFIG).await?;
            let pod = r#"
containers:
- {name: consumer, command: [sleep, "9999"], env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: data-1}}}]}
- {name: other, command: [sleep, "9999"], env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: data-2}}}]}
"#;
            let app = scene.ready(APP, pod).await?;
            let other = app.id("other").await?;
            scene.config(&CONFIG.replace("data-1: value-1", "data-1: value-9")).await?;
            app.says("consumer", "echo $A", "value-9").await?;
            let report = app.ready().await?;
            ensure!(
                report.containers.iter().all(|one| one.restart_count == 0),
                "no restart is counted: {report:?}"
            );
            ensure!(app.id("other").await? == other, "the other container was replaced");
            app.inspects("other", "/State/Running", json!(true)).await
        },
    )]
}
