//! Limits and requests, as the kernel keeps them.

use anyhow::{Context, ensure};
use serde_json::json;

use crate::case::{APP, Case};

/// Prints the memory limit of a container, under either version of cgroups.
const MEMORY: &str =
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
/// Prints quota and period.
const CPU: &str = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us 2>/dev/null || tr ' ' '\\n' < /sys/fs/cgroup/cpu.max";

/// Where `docker inspect` has the rotation of a container's log.
const LOG_CONFIG: &str = "/HostConfig/LogConfig/Config";
/// Docker's `10m`.
const LOG_FILE: u64 = 10_000_000;

pub fn cases() -> Vec<Case> {
    vec![
        Case::pod(
            "limits_are_the_kernels",
            "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#how-pods-with-resource-limits-are-run: The CPU limit defines a hard ceiling; \
             the memory limit defines a memory limit for that cgroup",
            r#"
containers:
- {name: main, command: [sleep, "9999"], resources: {limits: {cpu: 250m, memory: 64Mi}}}
"#,
        )
        .inspects("main", "/HostConfig/NanoCpus", 250_000_000)
        .inspects("main", "/HostConfig/Memory", 64 << 20)
        .says("main", MEMORY, "67108864")
        .says("main", CPU, "25000\n100000"),
        Case::pod(
            "no_limit_is_no_limit",
            "https://kubernetes.io/docs/tasks/configure-pod-container/assign-memory-resource/#if-you-do-not-specify-a-memory-limit: The Container has no upper bound on the \
             amount of memory it uses",
            "{containers: [{name: main, command: [sleep, '9999']}]}",
        )
        .inspects("main", "/HostConfig/NanoCpus", 0)
        .inspects("main", "/HostConfig/Memory", 0),
        Case::pod(
            "a_request_of_cpu_is_a_share",
            "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#how-pods-with-resource-limits-are-run: The CPU request typically defines a \
             weighting",
            r#"
containers:
- {name: small, command: [sleep, "9999"], resources: {requests: {cpu: 50m}}}
- {name: large, command: [sleep, "9999"], resources: {requests: {cpu: 100m}, limits: {cpu: "1"}}}
"#,
        )
        .inspects("small", "/HostConfig/CpuShares", 51)
        .inspects("large", "/HostConfig/CpuShares", 102),
        Case::pod(
            "a_limit_is_a_request_too",
            "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#requests-and-limits: If you specify a limit for a resource, but do not specify \
             any request, Kubernetes copies the limit you specified and uses it as the requested value",
            "{containers: [{name: main, command: [sleep, '9999'], resources: {limits: {cpu: 100m}}}]}",
        )
        .inspects("main", "/HostConfig/CpuShares", 102),
        Case::pod(
            "there_is_no_swap_beyond_the_limit",
            "https://kubernetes.io/docs/concepts/cluster-administration/swap-memory-management/: NoSwap, the default: workloads running as Pods on this node do not and \
             cannot use swap",
            "{containers: [{name: main, command: [sleep, '9999'], resources: {limits: {memory: 64Mi}}}]}",
        )
        .inspects("main", "/HostConfig/MemorySwap", 64 << 20),
        Case::story(
            "one_that_uses_too_much_memory_is_killed_for_it",
            "[sig-node] OOMKiller [LinuxOnly] single process container The containers terminated by OOM killer should have the reason set to OOMKilled",
            async |scene| {
                let pod = r#"
restartPolicy: Never
containers:
- {name: main, command: [sh, -c, 'tail /dev/zero'], resources: {limits: {memory: 16Mi}}}
"#;
                let app = scene.apply(APP, pod).await?;
                let report = app.phase("Failed").await?;
                let container = &report.containers[0];
                // Some engines are not told by their kernel, and say of the container that it was killed and no more.
                let told = app.inspect("main").await?["State"]["OOMKilled"] == true;
                let reason = if told { "OOMKilled" } else { "Error" };
                ensure!(container.reason == reason && container.exit_code == Some(137), "{report:?}");
                Ok(())
            },
        ),
        Case::pod(
            "logs_are_rotated",
            "[sig-node] ContainerLogRotation when a container generates a lot of log should be rotated and limited to a fixed amount of files",
            "{containers: [{name: main, command: [sleep, '9999']}]}",
        )
        .inspects("main", "/HostConfig/LogConfig/Config/max-size", "10m")
        .inspects("main", "/HostConfig/LogConfig/Config/max-file", "3"),
        Case::pod(
            "logs_of_every_kind_of_container_are_rotated",
            "[sig-node] ContainerLogRotation when a container generates a lot of log should be rotated and limited to a fixed amount of files",
            r#"
initContainers:
- {name: init, command: ['true']}
- {name: sidecar, command: [sleep, "9999"], restartPolicy: Always}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .inspects("init", LOG_CONFIG, json!({"max-size": "10m", "max-file": "3"}))
        .inspects("sidecar", LOG_CONFIG, json!({"max-size": "10m", "max-file": "3"}))
        .inspects("POD", LOG_CONFIG, json!({"max-size": "10m", "max-file": "3"})),
        Case::story(
            "a_talkative_container_does_not_fill_the_disk",
            "[sig-node] ContainerLogRotation when a container generates a lot of log should be rotated and limited to a fixed amount of files",
            async |scene| {
                // 40 MB in lines of a kilobyte; what is around each line in Docker's file comes on top.
                let pod = r#"
containers:
- name: main
  command: [sh, -c, 'head -c 40000000 /dev/zero | tr "\0" x | fold -w 1000; touch /tmp/said; exec sleep 9999']
"#;
                let app = scene.apply(APP, pod).await?;
                app.says("main", "test -f /tmp/said && echo said", "said").await?;
                let log = app.inspect("main").await?["LogPath"].as_str().context("a log on disk")?.to_owned();
                let log = std::path::Path::new(&log);
                let mut sizes = Vec::new();
                for entry in std::fs::read_dir(log.parent().context("in a folder")?)? {
                    let entry = entry?;
                    if entry.path().to_string_lossy().starts_with(&*log.to_string_lossy()) {
                        sizes.push(entry.metadata()?.len());
                    }
                }
                // Docker ends a file with the line that goes beyond its size.
                ensure!(sizes.len() == 3, "not all of it was written: {sizes:?}");
                ensure!(sizes.iter().all(|size| *size < LOG_FILE + (1 << 14)), "{sizes:?}");
                Ok(())
            },
        ),
        Case::refused(
            "an_amount_has_a_bound",
            "kubectl explain pod.spec.containers.resources: Limits; no number may be greater than 2^63-1 in magnitude",
            "{containers: [{name: main, resources: {requests: {cpu: 1n}, limits: {cpu: 1e300}}}]}",
            &["limits", "cpu"],
        ),
        Case::refused(
            "no_request_is_larger_than_its_limit",
            "Pod validation: spec.containers[0].resources.requests: Invalid value: must be less than or equal to cpu limit",
            "{containers: [{name: main, resources: {limits: {cpu: 100m}, requests: {cpu: 200m}}}]}",
            &["requests"],
        ),
    ]
}
