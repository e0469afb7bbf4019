//! What containers share with each other and with the box: network, processes, memory.

use anyhow::ensure;
use skerry_tests::free_port;

use crate::case::{APP, Case};

/// A UDP port of loopback that was free a moment ago.
fn free_udp_port() -> anyhow::Result<u16> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub fn cases() -> Vec<Case> {
    vec![
        Case::pod(
            "containers_share_one_network",
            "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking: Inside a Pod, the containers that belong to the Pod can communicate with one \
             another using localhost",
            r#"
containers:
- {name: server, command: [sh, -c, 'mkdir /www; echo shared > /www/index.html; exec httpd -f -p 127.0.0.1:8080 -h /www']}
- {name: client, command: [sleep, "9999"]}
"#,
        )
        .says("client", "wget -q -O - http://127.0.0.1:8080/", "shared"),
        Case::pod(
            "containers_share_the_host_name",
            "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking: Containers within the Pod see the system hostname as being the same as the \
             configured name for the Pod",
            "{containers: [{name: one, command: [sleep, '9999']}, {name: two, command: [sleep, '9999']}]}",
        )
        .says("one", "hostname", APP)
        .says("two", "hostname", APP),
        Case::story(
            "containers_share_memory_segments",
            "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking: containers in a Pod can also communicate using standard inter-process communications \
             like SystemV semaphores or POSIX shared memory",
            async |scene| {
                let pod = "{containers: [{name: one, command: [sleep, '9999']}, {name: two, command: [sleep, '9999']}]}";
                let app = scene.ready(APP, pod).await?;
                let one = app.sh("one", "readlink /proc/1/ns/ipc").await?;
                ensure!(one == app.sh("two", "readlink /proc/1/ns/ipc").await?, "two IPC namespaces");
                ensure!(one != std::fs::read_link("/proc/self/ns/ipc")?.to_string_lossy(), "the box's");
                Ok(())
            },
        ),
        Case::pod(
            "each_container_is_the_first_process",
            "[sig-node] Security Context [NodeConformance] [LinuxOnly] Container PID namespace sharing containers in pods using isolated PID namespaces should all \
             receive PID 1",
            "{containers: [{name: one, command: [sleep, '9998']}, {name: two, command: [sleep, '9999']}]}",
        )
        .says("one", "tr '\\0' ' ' < /proc/1/cmdline", "sleep 9998")
        .says("two", "tr '\\0' ' ' < /proc/1/cmdline", "sleep 9999"),
        Case::pod(
            "containers_see_each_others_processes",
            "[sig-node] Security Context [NodeConformance] [LinuxOnly] Container PID namespace sharing processes in containers sharing a pod namespace should be able \
             to see each other",
            "{shareProcessNamespace: true, containers: [{name: one, command: [sleep, '9998']}, {name: two, command: [sleep, '9999']}]}",
        )
        .says("one", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q '[s]leep 9999' && echo seen", "seen")
        .says("two", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q '[s]leep 9998' && echo seen", "seen"),
        Case::story(
            "a_process_is_in_the_boxs_namespace",
            "[sig-node] Security Context when creating a pod in the host PID namespace should show its pid in the host PID namespace",
            async |scene| {
                let app = scene.ready(APP, "{hostPID: true, containers: [{name: main, command: [sleep, '9999']}]}").await?;
                app.says("main", "readlink /proc/self/ns/pid", &std::fs::read_link("/proc/self/ns/pid")?.to_string_lossy()).await?;
                app.inspects("main", "/HostConfig/PidMode", "host".into()).await
            },
        ),
        Case::story(
            "a_process_is_not_in_the_boxs_namespace",
            "[sig-node] Security Context when creating a pod in the host PID namespace should not show its pid in the non-hostpid containers",
            async |scene| {
                let app = scene.ready(APP, "{containers: [{name: main, command: [sleep, '9999']}]}").await?;
                let host = std::fs::read_link("/proc/self/ns/pid")?;
                ensure!(app.sh("main", "readlink /proc/self/ns/pid").await? != host.to_string_lossy(), "the box's");
                Ok(())
            },
        ),
        Case::story(
            "memory_segments_are_the_boxs",
            "[sig-node] Security Context when creating a pod in the host IPC namespace should show the shared memory ID in the host IPC containers",
            async |scene| {
                let app = scene.ready(APP, "{hostIPC: true, containers: [{name: main, command: [sleep, '9999']}]}").await?;
                app.says("main", "readlink /proc/self/ns/ipc", &std::fs::read_link("/proc/self/ns/ipc")?.to_string_lossy()).await?;
                app.inspects("main", "/HostConfig/IpcMode", "host".into()).await
            },
        ),
        Case::story(
            "the_network_is_the_boxs",
            "[sig-node] Security Context when creating a pod in the host network namespace should listen on same port in the host network containers",
            async |scene| {
                let port = free_port()?;
                let pod = format!(
                    "{{hostNetwork: true, containers: [{{name: main, command: [sh, -c, 'mkdir /www; echo host > /www/index.html; \
                     exec httpd -f -p 127.0.0.1:{port} -h /www']}}]}}"
                );
                let app = scene.ready(APP, &pod).await?;
                let answer = skerry_tests::eventually("the page is served", || skerry_tests::get(port, "/")).await?;
                ensure!(answer == (200, "host\n".into()), "{answer:?}");
                app.inspects("main", "/HostConfig/NetworkMode", "host".into()).await
            },
        ),
        Case::story(
            "containers_share_the_boxs_network",
            "kubectl explain pod.spec.hostNetwork: Host networking requested for this pod. Use the host's network namespace",
            async |scene| {
                let pod = r#"
hostNetwork: true
initContainers: [{name: init, command: ['true']}]
containers: [{name: one, command: [sleep, "9999"]}, {name: two, command: [sleep, "9999"]}]
"#;
                let app = scene.ready(APP, pod).await?;
                let host = std::fs::read_link("/proc/self/ns/net")?.to_string_lossy().into_owned();
                app.says("one", "readlink /proc/1/ns/net", &host).await?;
                app.says("two", "readlink /proc/1/ns/net", &host).await
            },
        ),
        Case::story(
            "a_port_of_the_box_leads_to_the_container",
            "kubectl explain pod.spec.containers.ports.hostPort: Number of port to expose on the host",
            async |scene| {
                let port = free_port()?;
                let pod = format!(
                    "{{containers: [{{name: main, command: [sh, -c, 'mkdir /www; echo here > /www/index.html; exec httpd -f -p 8080 -h /www'], \
                     ports: [{{name: web, containerPort: 8080, hostPort: {port}, hostIP: 127.0.0.1}}]}}]}}"
                );
                let app = scene.ready(APP, &pod).await?;
                let answer = skerry_tests::eventually("the page is served", || skerry_tests::get(port, "/")).await?;
                ensure!(answer == (200, "here\n".into()), "{answer:?}");
                let bindings = serde_json::json!([{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]);
                app.inspects("main", "/HostConfig/PortBindings/8080~1tcp", bindings).await
            },
        ),
        Case::story(
            "a_udp_port_of_the_box_leads_to_the_container",
            "[sig-network] HostPort validates that there is no conflict between pods with same hostPort but different hostIP and protocol",
            async |scene| {
                let port = free_udp_port()?;
                let pod = format!(
                    "{{containers: [{{name: main, image: 'conformance:health', command: [skerry-health-server, '5353', /tmp/serving], \
                     ports: [{{containerPort: 5353, hostPort: {port}, hostIP: 127.0.0.1, protocol: UDP}}]}}]}}"
                );
                let app = scene.ready(APP, &pod).await?;
                let bindings = serde_json::json!([{"HostIp": "127.0.0.1", "HostPort": port.to_string()}]);
                app.inspects("main", "/HostConfig/PortBindings/5353~1udp", bindings).await?;
                let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
                socket.connect(("127.0.0.1", port)).await?;
                skerry_tests::eventually("a datagram comes back", || async {
                    // What nobody listens for yet is lost.
                    socket.send(b"ahoy").await?;
                    let mut answer = [0; 16];
                    let length =
                        tokio::time::timeout(std::time::Duration::from_millis(500), socket.recv(&mut answer)).await??;
                    ensure!(&answer[..length] == b"ahoy", "{answer:?}");
                    Ok::<_, anyhow::Error>(())
                })
                .await
            },
        ),
        Case::invalid(
            "one_port_is_given_once",
            "Pod validation: spec.containers[1].ports[0].hostPort: Duplicate value",
            "{containers: [{name: a, ports: [{containerPort: 1, hostPort: 8080}]}, {name: b, ports: [{containerPort: 2, hostPort: 8080}]}]}",
            &["ports", "8080"],
        ),
    ]
}
