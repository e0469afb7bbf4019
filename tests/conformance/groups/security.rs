//! Who a container is and what it may do.

use anyhow::ensure;
use serde_json::json;
use skerry_api::AppReport;
use skerry_tests::{IMAGE, docker_run};

use crate::case::{APP, Case};
use crate::stage::SECCOMP;

const PRIVILEGED: &str = r#"
containers:
- {name: privileged, command: [sleep, "9999"], securityContext: {privileged: true}}
- {name: not-privileged, command: [sleep, "9999"]}
"#;

pub fn cases() -> Vec<Case> {
    let mut cases = users();
    cases.extend(groups());
    cases.extend(file_systems());
    cases.extend(privileges());
    cases.extend(kernel());
    cases
}

fn users() -> Vec<Case> {
    vec![
        Case::pod(
            "the_pods_user",
            "[sig-node] Security Context should support pod.Spec.SecurityContext.RunAsUser And pod.Spec.SecurityContext.RunAsGroup [LinuxOnly]",
            r#"
securityContext: {runAsUser: 1001, runAsGroup: 2002}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .says("main", "id -u; id -g", "1001\n2002")
        .inspects("main", "/Config/User", "1001:2002"),
        Case::pod(
            "the_containers_user_comes_before_the_pods",
            "[sig-node] Security Context should support container.SecurityContext.RunAsUser And container.SecurityContext.RunAsGroup [LinuxOnly]",
            r#"
securityContext: {runAsUser: 1001, runAsGroup: 2002}
containers:
- {name: main, command: [sleep, "9999"], securityContext: {runAsUser: 1003, runAsGroup: 2004}}
- {name: other, command: [sleep, "9999"]}
"#,
        )
        .says("main", "id -u; id -g", "1003\n2004")
        .says("other", "id -u; id -g", "1001\n2002"),
        Case::pod(
            "nobody_is_a_user",
            "[sig-node] Security Context When creating a container with runAsUser should run the container with uid 65534 [LinuxOnly]",
            "{containers: [{name: main, command: [sleep, '9999'], securityContext: {runAsUser: 65534}}]}",
        )
        .says("main", "id -u; id -g", "65534\n0")
        .inspects("main", "/Config/User", "65534"),
        Case::pod(
            "root_is_a_user",
            "[sig-node] Security Context When creating a container with runAsUser should run the container with uid 0 [LinuxOnly]",
            "{containers: [{name: main, image: 'conformance:user', securityContext: {runAsUser: 0}}]}",
        )
        .says("main", "id -u", "0"),
        Case::pod(
            "no_root_with_a_users_number",
            "[sig-node] Security Context When creating a container with runAsNonRoot should run with an explicit non-root user ID [LinuxOnly]",
            "{securityContext: {runAsNonRoot: true}, containers: [{name: main, command: [sleep, '9999'], securityContext: {runAsUser: 1234}}]}",
        )
        .says("main", "id -u", "1234"),
        Case::pod(
            "no_root_with_the_images_user",
            "[sig-node] Security Context When creating a container with runAsNonRoot should run with an image specified user ID",
            "{securityContext: {runAsNonRoot: true}, containers: [{name: main, image: 'conformance:user'}]}",
        )
        .says("main", "id -u", "1234"),
        Case::invalid(
            "no_root_refuses_roots_number",
            "[sig-node] Security Context When creating a container with runAsNonRoot should not run with an explicit root user ID [LinuxOnly]",
            "{containers: [{name: main, command: [sleep, '9999'], securityContext: {runAsNonRoot: true, runAsUser: 0}}]}",
            &["runAsNonRoot"],
        ),
        Case::story(
            "no_root_refuses_an_image_of_roots",
            "[sig-node] Security Context When creating a container with runAsNonRoot should not run without a specified user ID",
            async |scene| {
                let pod = "{containers: [{name: main, command: [sleep, '9999'], securityContext: {runAsNonRoot: true}}]}";
                let app = scene.apply(APP, pod).await?;
                let report = app.reason("CreateContainerConfigError").await?;
                ensure!(report.message.contains("runAsNonRoot") || report.message.contains("root"), "{report:?}");
                ensure!(!app.exists("main").await?, "it was created");
                Ok(())
            },
        ),
    ]
}

fn groups() -> Vec<Case> {
    vec![
        Case::pod(
            "groups_of_the_pod",
            "[sig-node] Security Context should support pod.Spec.SecurityContext.SupplementalGroups [LinuxOnly]",
            r#"
securityContext: {supplementalGroups: [1234, 5678]}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .says("main", "id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' '", "0 1234 5678")
        .inspects("main", "/HostConfig/GroupAdd", json!(["1234", "5678"])),
        Case::pod(
            "groups_of_the_image_are_kept",
            "[sig-node] Security Context should add pod.Spec.SecurityContext.SupplementalGroups to them [LinuxOnly] in resultant supplementary groups for the \
             container processes",
            r#"
securityContext: {supplementalGroups: [60000]}
containers: [{name: main, image: 'conformance:named'}]
"#,
        )
        .says("main", "id -u; id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' '", "1000\n1000 50000 60000"),
        Case::pod(
            "the_fs_group_is_a_group",
            "kubectl explain pod.spec.securityContext.fsGroup: A special supplemental group that applies to all containers in a pod",
            r#"
securityContext: {runAsUser: 1001, runAsGroup: 2002, fsGroup: 3003, supplementalGroups: [4004]}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .says("main", "id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' '", "2002 3003 4004")
        .inspects("main", "/HostConfig/GroupAdd", json!(["3003", "4004"])),
    ]
}

fn file_systems() -> Vec<Case> {
    vec![
        Case::pod(
            "the_root_file_system_is_read_only",
            "[sig-node] Kubelet when scheduling a read only busybox container should not write to root filesystem [LinuxOnly]",
            r#"
volumes: [{name: data, emptyDir: {}}]
containers:
- name: main
  command: [sleep, "9999"]
  securityContext: {readOnlyRootFilesystem: true}
  volumeMounts: [{name: data, mountPath: /data}]
"#,
        )
        .says("main", "echo x 2>&1 > /file | grep -o 'Read-only file system'; touch /data/f && echo written", "Read-only file system\nwritten")
        .inspects("main", "/HostConfig/ReadonlyRootfs", true),
        Case::pod(
            "the_root_file_system_is_writable",
            "[sig-node] Security Context When creating a pod with readOnlyRootFilesystem should run the container with writable rootfs when readOnlyRootFilesystem=false",
            "{containers: [{name: main, command: [sleep, '9999'], securityContext: {readOnlyRootFilesystem: false}}]}",
        )
        .says("main", "touch /file && echo written", "written")
        .inspects("main", "/HostConfig/ReadonlyRootfs", false),
    ]
}

/// Prints the effective capabilities of a container's first process.
const CAPABILITIES: &str = "grep CapEff /proc/1/status | cut -f 2";
const NO_NEW_PRIVILEGES: &str = "grep NoNewPrivs /proc/1/status | cut -f 2";

fn privileges() -> Vec<Case> {
    vec![
        Case::pod(
            "it_is_not_privileged",
            "[sig-node] Security Context When creating a pod with privileged should run the container as unprivileged when false [LinuxOnly]",
            "{containers: [{name: main, command: [sleep, '9999'], securityContext: {privileged: false}}]}",
        )
        .says("main", "ip link add dummy1 type dummy 2>/dev/null || echo refused", "refused")
        .inspects("main", "/HostConfig/Privileged", false),
        Case::story(
            "it_is_privileged",
            "[sig-node] PrivilegedPod [NodeConformance] should enable privileged commands [LinuxOnly]",
            async |scene| {
                let app = scene.apply(APP, PRIVILEGED).await?;
                app.report("one is ready", |report| report.containers.iter().any(|one| one.ready)).await?;
                app.inspects("privileged", "/HostConfig/Privileged", true.into()).await?;
                app.says("not-privileged", "mount -t tmpfs none /tmp 2>/dev/null || echo refused", "refused")
                    .await?;
                // A machine that is a container itself may be unable to start any privileged one. Then the app says so, in Docker's words.
                match docker_run(&["run", "--rm", "--privileged", IMAGE, "true"]).await {
                    Ok(_) => {
                        app.ready().await?;
                        app.says("privileged", "mount -t tmpfs none /tmp && echo mounted", "mounted").await
                    }
                    Err(_) => {
                        let failed = |report: &AppReport| report.reason == "StartError";
                        let report = app.report("it could not be started", failed).await?;
                        ensure!(report.message.contains("operation not permitted"), "{report:?}");
                        Ok(())
                    }
                }
            },
        ),
        Case::pod(
            "capabilities_are_dropped_and_added",
            "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#set-capabilities-for-a-container: list the capabilities to add and drop \
             without the CAP_ prefix",
            r#"
containers:
- {name: none, command: [sleep, "9999"], securityContext: {capabilities: {drop: [ALL]}}}
- {name: one, command: [sleep, "9999"], securityContext: {capabilities: {drop: [ALL], add: [NET_ADMIN]}}}
"#,
        )
        .says("none", CAPABILITIES, "0000000000000000")
        .says("one", CAPABILITIES, "0000000000001000")
        .inspects("one", "/HostConfig/CapDrop", json!(["ALL"])),
        Case::pod(
            "a_capability_is_added_to_the_usual_ones",
            "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/: CAP_NET_ADMIN and CAP_SYS_TIME are bits 12 and 25",
            r#"
containers:
- {name: main, command: [sleep, "9999"], securityContext: {capabilities: {add: [NET_ADMIN, SYS_TIME]}}}
"#,
        )
        .says("main", "test $((0x$(grep CapEff /proc/1/status | cut -f 2) >> 12 & 1))$((0x$(grep CapEff /proc/1/status | cut -f 2) >> 25 & 1)) = 11 && echo both", "both"),
        Case::pod(
            "privileges_are_not_escalated",
            "[sig-node] Security Context when creating containers with AllowPrivilegeEscalation should not allow privilege escalation when false [LinuxOnly]",
            "{containers: [{name: main, command: [sleep, '9999'], securityContext: {runAsUser: 1000, allowPrivilegeEscalation: false}}]}",
        )
        .says("main", NO_NEW_PRIVILEGES, "1")
        .inspects("main", "/HostConfig/SecurityOpt", json!(["no-new-privileges"])),
        Case::pod(
            "privileges_may_be_escalated_if_nothing_is_said",
            "[sig-node] Security Context when creating containers with AllowPrivilegeEscalation should allow privilege escalation when not explicitly set and uid != 0 \
             [LinuxOnly]",
            "{containers: [{name: main, command: [sleep, '9999'], securityContext: {runAsUser: 1000}}]}",
        )
        .says("main", NO_NEW_PRIVILEGES, "0"),
        Case::pod(
            "privileges_may_be_escalated",
            "[sig-node] Security Context when creating containers with AllowPrivilegeEscalation should allow privilege escalation when true [LinuxOnly]",
            "{containers: [{name: main, command: [sleep, '9999'], securityContext: {runAsUser: 1000, allowPrivilegeEscalation: true}}]}",
        )
        .says("main", NO_NEW_PRIVILEGES, "0"),
        Case::refused(
            "a_privileged_one_cannot_give_up_escalation",
            "Pod validation: spec.containers[0].securityContext: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            "{containers: [{name: main, securityContext: {privileged: true, allowPrivilegeEscalation: false}}]}",
            &["allowPrivilegeEscalation"],
        ),
    ]
}

fn kernel() -> Vec<Case> {
    vec![
        Case::pod(
            "seccomp_is_the_runtimes",
            "[sig-node] Security Context should support seccomp runtime/default [LinuxOnly]",
            "{securityContext: {seccompProfile: {type: RuntimeDefault}}, containers: [{name: main, command: [sleep, '9999']}]}",
        )
        .says("main", "grep -w Seccomp /proc/1/status | cut -f 2", "2"),
        Case::pod(
            "seccomp_is_off",
            "[sig-node] Security Context should support seccomp unconfined on the container [LinuxOnly]",
            r#"
containers:
- {name: main, command: [sleep, "9999"], securityContext: {seccompProfile: {type: Unconfined}}}
- {name: other, command: [sleep, "9999"]}
"#,
        )
        .says("main", "grep -w Seccomp /proc/1/status | cut -f 2", "0")
        .inspects("main", "/HostConfig/SecurityOpt", json!(["seccomp=unconfined"]))
        .says("other", "grep -w Seccomp /proc/1/status | cut -f 2", "2"),
        Case::story(
            "seccomp_is_a_profile_of_the_box",
            "https://kubernetes.io/docs/tutorials/security/seccomp/#create-pod-with-a-seccomp-profile-for-syscall-auditing: localhostProfile: a profile's path \
             relative to the folder of profiles of the node",
            async |scene| {
                let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
                let folder = scene.stage.host.path().join(SECCOMP).join(&scene.namespace);
                let pod = format!(
                    "{{containers: [{{name: main, command: [sleep, '9999'], securityContext: {{seccompProfile: {{type: Localhost, \
                     localhostProfile: {}/no-mkdir.json}}}}}}, {{name: other, command: [sleep, '9999']}}]}}",
                    scene.namespace
                );
                // A profile that is not there is waited for, and nothing runs without it.
                let app = scene.apply(APP, &pod).await?;
                let report = app.reason("CreateContainerConfigError").await?;
                ensure!(report.message.contains("no-mkdir.json") && !app.exists("main").await?, "{report:?}");
                std::fs::create_dir(&folder)?;
                std::fs::write(folder.join("no-mkdir.json"), profile)?;
                app.ready().await?;
                app.says("main", "mkdir /x 2>/dev/null || echo refused", "refused").await?;
                app.says("other", "mkdir /x && echo made", "made").await?;
                let inspect = app.inspect("main").await?;
                ensure!(inspect["HostConfig"]["SecurityOpt"].to_string().contains("mkdirat"), "{inspect}");
                Ok(())
            },
        ),
        Case::pod(
            "a_sysctl_is_set",
            "[sig-node] Sysctls [LinuxOnly] should support sysctls",
            r#"
securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: "1"}, {name: net.ipv4.ip_local_port_range, value: "20000 30000"}]}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .says("main", "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range", "1\n20000\t30000")
        .inspects(
            "main",
            "/HostConfig/Sysctls",
            json!({"kernel.shm_rmid_forced": "1", "net.ipv4.ip_local_port_range": "20000 30000"}),
        ),
        Case::pod(
            "a_sysctl_has_slashes",
            "[sig-node] Sysctls [LinuxOnly] should support sysctls with slashes as separator",
            r#"
securityContext: {sysctls: [{name: kernel/shm_rmid_forced, value: "1"}]}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .says("main", "cat /proc/sys/kernel/shm_rmid_forced", "1"),
        Case::invalid(
            "a_sysctl_with_a_wrong_name",
            "[sig-node] Sysctls [LinuxOnly] should reject invalid sysctls",
            "{securityContext: {sysctls: [{name: foo-, value: bar}]}, containers: [{name: main}]}",
            &["sysctls"],
        ),
        Case::in_phase(
            "an_unsafe_sysctl_is_not_set",
            "[sig-node] Sysctls [LinuxOnly] should not launch unsafe, but not explicitly enabled sysctls on the node",
            r#"
securityContext: {sysctls: [{name: kernel.msgmax, value: "10000000000"}]}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
            "Failed",
        )
        .message("kernel.msgmax"),
    ]
}
