//! What a container may know of its pod and its node: fieldRef and resourceFieldRef, in the environment and in files.

use anyhow::{Context, ensure};
use serde_json::json;

use crate::case::{APP, Case};

pub fn cases() -> Vec<Case> {
    let mut cases = variables();
    cases.extend(resources());
    cases.extend(files());
    cases
}

fn variables() -> Vec<Case> {
    vec![
        Case::story(
            "name_namespace_and_address",
            "[sig-node] Downward API should provide pod name, namespace and IP address as env vars",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  env:
  - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
  - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
  - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
  - {name: POD_IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
"#;
                let app = scene.ready(APP, pod).await?;
                app.says("main", "echo $POD_NAME $POD_NAMESPACE", &format!("{APP} {}", scene.namespace)).await?;
                let address = app.sh("main", "ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'").await?;
                ensure!(address.contains('.'), "no address: {address:?}");
                app.says("main", "echo $POD_IP $POD_IPS", &format!("{address} {address}")).await
            },
        ),
        Case::story(
            "the_hosts_address",
            "[sig-node] Downward API should provide host IP as an env var",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  env:
  - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
"#;
                let app = scene.ready(APP, pod).await?;
                let host = app.sh("main", "echo $HOST_IP").await?;
                let node = scene.stage.site.nodes().get(&app.node).await?;
                let addresses = node.status.context("a status")?.addresses;
                ensure!(addresses.first() == Some(&host), "{host} is not the first of {addresses:?}");
                Ok(())
            },
        ),
        Case::pod(
            "the_hosts_addresses",
            "[sig-node] Downward API should provide hostIPs as an env var",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  env:
  - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
  - {name: HOST_IPS, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
"#,
        )
        .says("main", "test -n \"$HOST_IP\" && echo \"${HOST_IPS%%,*}\" | grep -qxF \"$HOST_IP\" && echo first", "first"),
        Case::pod(
            "in_the_host_network_both_addresses_are_the_hosts",
            "[sig-node] Downward API should provide host IP and pod IP as an env var if pod uses host network [LinuxOnly]",
            r#"
hostNetwork: true
containers:
- name: main
  command: [sleep, "9999"]
  env:
  - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
  - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
"#,
        )
        .says("main", "test -n \"$HOST_IP\" && test \"$HOST_IP\" = \"$POD_IP\" && echo same", "same"),
        Case::story(
            "the_uid_is_the_apps",
            "[sig-node] Downward API should provide pod UID as env vars",
            async |scene| {
                let pod = "{containers: [{name: main, command: [sleep, '9999'], env: [{name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}]}]}";
                let app = scene.ready(APP, pod).await?;
                let object = scene.stage.site.apps(&scene.namespace).get(APP).await?;
                app.says("main", "echo $POD_UID", &object.metadata.uid.context("a uid")?).await
            },
        ),
        Case::story(
            "labels_annotations_and_the_node",
            "https://kubernetes.io/docs/concepts/workloads/pods/downward-api/: metadata.labels['<KEY>'] and metadata.annotations['<KEY>'] are available; \
             spec.nodeName the name of the node where the Pod is executing",
            async |scene| {
                let pod = r#"
containers:
- name: main
  command: [sleep, "9999"]
  env:
  - {name: TEAM, valueFrom: {fieldRef: {fieldPath: "metadata.labels['team']"}}}
  - {name: NOTE, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['example.com/note']"}}}
  - {name: NONE, valueFrom: {fieldRef: {fieldPath: "metadata.labels['none']"}}}
  - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
  - {name: BOTH, value: '$(TEAM)@$(NODE)'}
"#;
                let metadata = json!({"labels": {"team": "tide"}, "annotations": {"example.com/note": "a b\"c"}});
                let app = scene.apply_with(APP, json!({"template": {"metadata": metadata}}), pod).await?;
                app.ready().await?;
                let line = format!("tide|a b\"c||{}|tide@{0}", app.node);
                app.says("main", "echo \"$TEAM|$NOTE|$NONE|$NODE|$BOTH\"", &line).await
            },
        ),
    ]
}

fn resources() -> Vec<Case> {
    vec![
        Case::pod(
            "limits_and_requests",
            "[sig-node] Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  resources: {limits: {cpu: 1250m, memory: 64Mi}, requests: {cpu: 50m, memory: 32Mi}}
  env:
  - {name: CPU_LIMIT, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
  - {name: MEMORY_LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
  - {name: CPU_REQUEST, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
  - {name: MEMORY_REQUEST, valueFrom: {resourceFieldRef: {resource: requests.memory}}}
"#,
        )
        .says("main", "echo $CPU_LIMIT $MEMORY_LIMIT $CPU_REQUEST $MEMORY_REQUEST", "2 67108864 1 33554432"),
        Case::pod(
            "a_divisor_rounds_up",
            "kubectl explain pod.spec.containers.env.valueFrom.resourceFieldRef.divisor: Specifies the output format of the exposed resources, defaults to \"1\"",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  resources: {limits: {cpu: 1250m, memory: 64Mi}}
  env:
  - {name: MILLIS, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
  - {name: MEBI, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
  - {name: GIBI, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Gi}}}
  - {name: REQUEST, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}}
"#,
        )
        .says("main", "echo $MILLIS $MEBI $GIBI $REQUEST", "1250 64 1 1250"),
        Case::pod(
            "without_a_limit_it_is_what_the_node_has",
            "[sig-node] Downward API should provide default limits.cpu/memory from node allocatable",
            r#"
containers:
- name: main
  command: [sleep, "9999"]
  env:
  - {name: CPU_LIMIT, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
  - {name: MEMORY_LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
"#,
        )
        .says("main", "test $CPU_LIMIT -eq $(nproc) && echo cpus", "cpus")
        .says("main", "test $MEMORY_LIMIT -gt 100000000 && echo memory", "memory"),
        Case::pod(
            "resources_in_files_name_their_container",
            "[sig-storage] Downward API volume should provide container's cpu limit",
            r#"
volumes:
- name: info
  downwardAPI:
    items:
    - {path: cpu_limit, resourceFieldRef: {containerName: other, resource: limits.cpu}}
    - {path: cpu_request, resourceFieldRef: {containerName: other, resource: requests.cpu, divisor: 1m}}
    - {path: memory_limit, resourceFieldRef: {containerName: other, resource: limits.memory}}
    - {path: memory_request, resourceFieldRef: {containerName: other, resource: requests.memory}}
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /etc/podinfo}]}
- {name: other, command: [sleep, "9999"], resources: {limits: {cpu: 1250m, memory: 64Mi}, requests: {cpu: 50m, memory: 32Mi}}}
"#,
        )
        .says("main", "cd /etc/podinfo && cat cpu_limit && echo && cat cpu_request && echo && cat memory_limit && echo && cat memory_request",
            "2\n50\n67108864\n33554432"),
        Case::pod(
            "files_without_a_limit_have_what_the_node_has",
            "[sig-storage] Downward API volume should provide node allocatable (memory) as default memory limit if the limit is not set",
            r#"
volumes:
- name: info
  downwardAPI:
    items:
    - {path: cpu, resourceFieldRef: {containerName: main, resource: limits.cpu}}
    - {path: memory, resourceFieldRef: {containerName: main, resource: limits.memory}}
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /etc/podinfo}]}
"#,
        )
        .says("main", "test $(cat /etc/podinfo/cpu) -eq $(nproc) && test $(cat /etc/podinfo/memory) -gt 100000000 && echo both", "both"),
    ]
}

fn files() -> Vec<Case> {
    vec![
        Case::pod(
            "the_name_in_a_file",
            "[sig-storage] Downward API volume should provide podname only",
            r#"
volumes: [{name: info, downwardAPI: {items: [{path: podname, fieldRef: {fieldPath: metadata.name}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /etc/podinfo}]}
"#,
        )
        .says("main", "cat /etc/podinfo/podname", APP)
        .says("main", "stat -Lc %a /etc/podinfo/podname", "644"),
        Case::pod(
            "the_default_mode_of_files",
            "[sig-storage] Downward API volume should set DefaultMode on files [LinuxOnly]",
            r#"
volumes: [{name: info, downwardAPI: {defaultMode: 0o400, items: [{path: podname, fieldRef: {fieldPath: metadata.name}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /etc/podinfo}]}
"#,
        )
        .says("main", "stat -Lc %a /etc/podinfo/podname", "400"),
        Case::pod(
            "the_mode_of_one_file",
            "[sig-storage] Downward API volume should set mode on item file [LinuxOnly]",
            r#"
volumes:
- name: info
  downwardAPI:
    items:
    - {path: podname, mode: 0o400, fieldRef: {fieldPath: metadata.name}}
    - {path: namespace, fieldRef: {fieldPath: metadata.namespace}}
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /etc/podinfo}]}
"#,
        )
        .says("main", "stat -Lc %a /etc/podinfo/podname /etc/podinfo/namespace", "400\n644"),
        Case::pod(
            "a_user_reads_files_through_the_fs_group",
            "[sig-storage] Downward API volume should provide podname as non-root with fsgroup and defaultMode [LinuxOnly]",
            r#"
securityContext: {runAsUser: 1001, fsGroup: 1234}
volumes: [{name: info, downwardAPI: {defaultMode: 0o440, items: [{path: podname, fieldRef: {fieldPath: metadata.name}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /etc/podinfo}]}
"#,
        )
        .says("main", "cat /etc/podinfo/podname; echo; stat -Lc '%a %g' /etc/podinfo/podname", "app\n440 1234"),
        Case::story(
            "changed_labels_arrive_in_the_file",
            "[sig-storage] Downward API volume should update labels on modification",
            async |scene| {
                let pod = r#"
volumes: [{name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /etc/podinfo}]}
"#;
                let labels = |labels| json!({"template": {"metadata": {"labels": labels}}});
                let first = labels(json!({"key1": "value1", "key2": "value2"}));
                let app = scene.apply_with(APP, first, pod).await?;
                app.says("main", "cat /etc/podinfo/labels", "key1=\"value1\"\nkey2=\"value2\"").await?;
                let second = labels(json!({"key1": "value1", "key2": "value2", "key3": "value3"}));
                scene.apply_with(APP, second, pod).await?;
                app.says("main", "cat /etc/podinfo/labels", "key1=\"value1\"\nkey2=\"value2\"\nkey3=\"value3\"").await
            },
        ),
        Case::story(
            "changed_annotations_arrive_in_the_file",
            "[sig-storage] Downward API volume should update annotations on modification",
            async |scene| {
                let pod = r#"
volumes: [{name: info, downwardAPI: {items: [{path: annotations, fieldRef: {fieldPath: metadata.annotations}}]}}]
containers:
- {name: main, command: [sleep, "9999"], volumeMounts: [{name: info, mountPath: /etc/podinfo}]}
"#;
                let builder = |name| json!({"template": {"metadata": {"annotations": {"builder": name}}}});
                let app = scene.apply_with(APP, builder("bar"), pod).await?;
                app.says("main", "cat /etc/podinfo/annotations", "builder=\"bar\"").await?;
                scene.apply_with(APP, builder("foo"), pod).await?;
                app.says("main", "cat /etc/podinfo/annotations", "builder=\"foo\"").await
            },
        ),
    ]
}
