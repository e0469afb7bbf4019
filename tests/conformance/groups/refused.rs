//! What is wrong is refused at apply, with its path; and one bad app disturbs no other.

use anyhow::{Result, bail, ensure};
use serde_json::json;
use skerry_tests::IMAGE;

use crate::case::{APP, Case};
use crate::scene::Scene;

pub fn cases() -> Vec<Case> {
    let mut cases = fields();
    cases.extend(volumes());
    cases.extend(through_kubectl());
    cases
}

fn fields() -> Vec<Case> {
    vec![
        Case::refused(
            "a_field_that_is_not_supported",
            "https://kubernetes.io/docs/reference/using-api/api-concepts/#validation-for-unrecognized-or-duplicate-fields: Strict: the server rejects",
            "{activeDeadlineSeconds: 5, containers: [{name: main}]}",
            &["activeDeadlineSeconds"],
        ),
        Case::refused(
            "a_quantity_that_is_none",
            "https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/: <quantity> ::= <signedNumber><suffix>",
            "{containers: [{name: main, resources: {limits: {memory: lots}}}]}",
            &["containers[0].resources.limits.memory"],
        ),
        Case::refused(
            "a_resource_that_is_not_known",
            "Pod validation: spec.containers[0].resources.limits[gpu]: Invalid value: must be a standard resource type or fully qualified",
            "{containers: [{name: main, resources: {limits: {gpu: 1}}}]}",
            &["spec.template.spec.containers[0].resources.limits"],
        ),
        Case::refused(
            "no_containers",
            "Pod validation: spec.containers: Required value",
            "{containers: []}",
            &["spec.template.spec.containers"],
        ),
        Case::refused(
            "two_of_one_name",
            "Pod validation: spec.containers[1].name: Duplicate value",
            "{containers: [{name: main}, {name: main}]}",
            &["spec.template.spec.containers"],
        ),
        Case::refused(
            "a_port_beyond_all_ports",
            "Pod validation: spec.containers[0].ports[0].containerPort: must be between 1 and 65535, inclusive",
            "{containers: [{name: main, ports: [{containerPort: 70000}]}]}",
            &["containers[0].ports[0].containerPort"],
        ),
        Case::invalid(
            "a_named_port_that_nobody_has",
            "https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#use-a-named-port: a named port must be one of the container's",
            "{containers: [{name: main, livenessProbe: {tcpSocket: {port: web}}}]}",
            &["livenessProbe"],
        ),
        Case::refused(
            "a_period_of_nothing",
            "Pod validation: spec.containers[0].livenessProbe.periodSeconds: must be greater than 0",
            "{containers: [{name: main, livenessProbe: {tcpSocket: {port: 1}, periodSeconds: -1}}]}",
            &["containers[0].livenessProbe.periodSeconds"],
        ),
        Case::refused(
            "a_value_from_two_places",
            "Pod validation: spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
            "{containers: [{name: main, env: [{name: A, value: a, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]}]}",
            &["containers[0].env[0]"],
        ),
        Case::refused(
            "a_field_that_a_container_cannot_know",
            "Pod validation: spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: error converting fieldPath: field label not supported",
            "{containers: [{name: main, env: [{name: A, valueFrom: {fieldRef: {fieldPath: status.phase}}}]}]}",
            &["containers[0].env[0].valueFrom.fieldRef.fieldPath"],
        ),
        Case::refused(
            "an_environment_variable_without_a_name",
            "Pod validation: spec.containers[0].env[0].name: Required value",
            "{containers: [{name: main, env: [{name: '', value: a}]}]}",
            &["containers[0].env[0].name"],
        ),
        Case::refused(
            "an_alias_of_no_address",
            "Pod validation: spec.hostAliases[0].ip: must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "{hostAliases: [{ip: here, hostnames: [a]}], containers: [{name: main}]}",
            &["hostAliases[0].ip"],
        ),
        Case::refused(
            "a_host_name_that_is_none",
            "Pod validation: spec.hostname: a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'",
            "{hostname: Not_A_Label, containers: [{name: main}]}",
            &["hostname"],
        ),
        Case::refused(
            "a_negative_grace_period",
            "[sig-node] Pod TerminationGracePeriodSeconds is negative pod with negative grace period; refused here, where Kubernetes counts it as 1",
            "{terminationGracePeriodSeconds: -1, containers: [{name: main}]}",
            &["terminationGracePeriodSeconds"],
        ),
        Case::refused(
            "a_user_below_zero",
            "Pod validation: spec.containers[0].securityContext.runAsUser: must be between 0 and 2147483647, inclusive",
            "{containers: [{name: main, securityContext: {runAsUser: -1}}]}",
            &["containers[0].securityContext.runAsUser"],
        ),
        Case::refused(
            "a_cycle_that_cannot_be_said",
            "https://kubernetes.io/docs/concepts/workloads/pods/init-containers/: order is the order of the list; dependsOn of others is no field of a pod",
            "{containers: [{name: a, dependsOn: [b]}, {name: b, dependsOn: [a]}]}",
            &["dependsOn"],
        ),
    ]
}

fn volumes() -> Vec<Case> {
    vec![
        Case::refused(
            "a_mount_of_no_volume",
            "Pod validation: spec.containers[0].volumeMounts[0].name: Not found",
            "{containers: [{name: main, volumeMounts: [{name: nowhere, mountPath: /d}]}]}",
            &["volumeMounts"],
        ),
        Case::refused(
            "two_volumes_of_one_name",
            "Pod validation: spec.volumes[1].name: Duplicate value",
            "{volumes: [{name: d, emptyDir: {}}, {name: d, emptyDir: {}}], containers: [{name: main}]}",
            &["spec.template.spec.volumes"],
        ),
        Case::refused(
            "two_mounts_at_one_path",
            "Pod validation: spec.containers[0].volumeMounts[1].mountPath: Invalid value: must be unique",
            "{volumes: [{name: d, emptyDir: {}}], containers: [{name: main, volumeMounts: [{name: d, mountPath: /d}, {name: d, mountPath: /d}]}]}",
            &["volumeMounts"],
        ),
        Case::refused(
            "a_volume_of_two_kinds",
            "Pod validation: spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
            "{volumes: [{name: d, emptyDir: {}, hostPath: {path: /d}}], containers: [{name: main}]}",
            &["spec.template.spec.volumes[0]"],
        ),
        Case::refused(
            "a_volume_of_no_kind",
            "Pod validation: spec.volumes[0]: Required value: must specify a volume type",
            "{volumes: [{name: d}], containers: [{name: main}]}",
            &["spec.template.spec.volumes[0]"],
        ),
        Case::refused(
            "a_volume_of_a_kind_that_is_not_supported",
            "https://kubernetes.io/docs/reference/using-api/api-concepts/#validation-for-unrecognized-or-duplicate-fields",
            "{volumes: [{name: d, persistentVolumeClaim: {claimName: c}}], containers: [{name: main}]}",
            &["persistentVolumeClaim"],
        ),
        Case::refused(
            "a_path_that_leads_up",
            "Pod validation: spec.volumes[0].configMap.items[0].path: Invalid value: must not contain '..'",
            "{volumes: [{name: d, configMap: {name: c, items: [{key: a, path: ../a}]}}], containers: [{name: main}]}",
            &["spec.template.spec.volumes[0].configMap.items[0].path"],
        ),
        Case::refused(
            "a_mode_beyond_all_modes",
            "Pod validation: spec.volumes[0].configMap.defaultMode: must be a number between 0 and 0777 (octal), both inclusive",
            "{volumes: [{name: d, configMap: {name: c, defaultMode: 512}}], containers: [{name: main}]}",
            &["defaultMode"],
        ),
        Case::refused(
            "a_host_path_that_leads_up",
            "Pod validation: spec.volumes[0].hostPath.path: must not contain '..'",
            "{volumes: [{name: d, hostPath: {path: /data/../etc}}], containers: [{name: main}]}",
            &["hostPath.path"],
        ),
        Case::invalid(
            "a_resource_of_nobody",
            "Pod validation: spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: Required value",
            "{volumes: [{name: d, downwardAPI: {items: [{path: a, resourceFieldRef: {resource: limits.cpu, containerName: nobody}}]}}], containers: [{name: main}]}",
            &["resourceFieldRef"],
        ),
    ]
}

/// What `kubectl apply` says of an app with this pod spec in JSON.
async fn kubectl(scene: &Scene, name: &str, pod: serde_json::Value) -> Result<String> {
    let app = json!({
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "EdgeApp",
        "metadata": {"name": name, "namespace": scene.namespace},
        "spec": {"placement": {"nodeSelector": {"matchLabels": {"test": scene.node().name}}}, "template": {"spec": pod}},
    });
    match scene.stage.site.kubectl().apply(&app.to_string()).await {
        Ok(said) => bail!("it was accepted: {said}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn through_kubectl() -> Vec<Case> {
    vec![
        Case::story(
            "kubectl_names_an_unknown_field",
            "[sig-api-machinery] FieldValidation should detect unknown and duplicate fields of a typed object",
            async |scene| {
                let said = kubectl(
                    scene,
                    APP,
                    json!({"containers": [{"name": "a", "image": IMAGE, "lifeCycle": {}}]}),
                )
                .await?;
                ensure!(said.contains("unknown field") && said.contains("lifeCycle"), "{said}");
                Ok(())
            },
        ),
        Case::story(
            "kubectl_names_two_dots",
            "[sig-storage] In-tree Volumes [Driver: emptydir] [Testpattern: Inline-volume (default fs)] subPath should fail if subpath with backstepping is outside the \
             volume",
            async |scene| {
                let mount = json!({"name": "d", "mountPath": "/d", "subPath": "../up"});
                let pod = json!({"volumes": [{"name": "d", "emptyDir": {}}], "containers": [{"name": "a", "image": IMAGE, "volumeMounts": [mount]}]});
                let said = kubectl(scene, APP, pod).await?;
                ensure!(said.contains("subPath"), "{said}");
                Ok(())
            },
        ),
        Case::story(
            "kubectl_names_a_missing_volume",
            "Pod validation: spec.containers[0].volumeMounts[0].name: Not found",
            async |scene| {
                let mount = json!({"name": "nowhere", "mountPath": "/d"});
                let said = kubectl(
                    scene,
                    APP,
                    json!({"containers": [{"name": "a", "image": IMAGE, "volumeMounts": [mount]}]}),
                )
                .await?;
                ensure!(said.contains("volumeMounts") || said.contains("nowhere"), "{said}");
                Ok(())
            },
        ),
        Case::story(
            "a_name_that_is_too_long",
            "https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names: contain no more than 253 characters",
            async |scene| {
                let said =
                    kubectl(scene, &"a".repeat(300), json!({"containers": [{"name": "a", "image": IMAGE}]}))
                        .await?;
                ensure!(said.contains("metadata.name"), "{said}");
                Ok(())
            },
        ),
        Case::story(
            "a_thousand_containers",
            "https://kubernetes.io/docs/setup/best-practices/cluster-large/: no more than 110 pods and 300,000 total containers; a box takes far fewer in one app",
            async |scene| {
                let containers: Vec<_> =
                    (0..1000).map(|i| json!({"name": format!("c{i}"), "image": IMAGE})).collect();
                let said = kubectl(scene, APP, json!({"containers": containers})).await?;
                ensure!(said.contains("spec.template.spec.containers"), "{said}");
                Ok(())
            },
        ),
        Case::story(
            "ten_megabytes_of_environment",
            "https://kubernetes.io/docs/concepts/configuration/configmap/: The data stored cannot exceed 1 MiB; the API server's limit of a request is 3 MiB",
            async |scene| {
                let env = json!([{"name": "A", "value": "x".repeat(10 << 20)}]);
                kubectl(scene, APP, json!({"containers": [{"name": "a", "image": IMAGE, "env": env}]}))
                    .await?;
                let apps =
                    scene.stage.site.apps(&scene.namespace).list(&kube::api::ListParams::default()).await?;
                ensure!(apps.items.is_empty(), "it was stored");
                Ok(())
            },
        ),
        Case::story(
            "one_bad_app_disturbs_no_other",
            "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/: each pod has its own phase",
            async |scene| {
                let good =
                    scene.ready("good", "{containers: [{name: main, command: [sleep, '9999']}]}").await?;
                let before = good.id("main").await?;
                let crash =
                    scene.apply("crash", "{containers: [{name: main, command: [/not/there]}]}").await?;
                let missing = scene
                    .apply("missing", "{containers: [{name: main, envFrom: [{secretRef: {name: nowhere}}]}]}")
                    .await?;
                let stuck = scene
                    .apply(
                        "stuck",
                        "{initContainers: [{name: i, command: ['false']}], containers: [{name: main}]}",
                    )
                    .await?;
                crash
                    .report("it says why", |report| {
                        report.reason == "StartError" || report.reason == "CrashLoopBackOff"
                    })
                    .await?;
                missing.reason("CreateContainerConfigError").await?;
                stuck.report("it says why", |report| !report.ready && !report.reason.is_empty()).await?;
                ensure!(good.id("main").await? == before, "the good one was replaced");
                ensure!(good.report("it is known", |_| true).await?.ready, "the good one is not ready");
                Ok(())
            },
        ),
    ]
}
