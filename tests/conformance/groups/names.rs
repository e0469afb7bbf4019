//! Host names, name servers, /etc/hosts, and the names that apps of a box have for each other.

use anyhow::ensure;
use serde_json::json;
use skerry_tests::{AgentOptions, Node};

use crate::case::{APP, Case};
use crate::scene::Scene;

pub fn cases() -> Vec<Case> {
    let mut cases = host_names();
    cases.extend(name_servers());
    cases.extend(neighbours());
    cases
}

fn host_names() -> Vec<Case> {
    vec![
        Case::pod(
            "the_host_name_is_chosen",
            "[sig-network] DNS HostNetwork spec.Hostname field is not silently ignored and is used for hostname for a Pod",
            "{hostname: harbour, containers: [{name: main, command: [sleep, '9999']}]}",
        )
        .says("main", "hostname", "harbour")
        .inspects("main", "/Config/Hostname", "harbour"),
        Case::story(
            "in_the_host_network_it_is_the_boxs",
            "[sig-network] DNS HostNetwork spec.Hostname field is silently ignored and the node hostname is used when hostNetwork is set to true for a Pod",
            async |scene| {
                let pod = "{hostNetwork: true, hostname: harbour, containers: [{name: main, command: [sleep, '9999']}]}";
                let app = scene.ready(APP, pod).await?;
                app.says("main", "hostname", std::fs::read_to_string("/proc/sys/kernel/hostname")?.trim()).await
            },
        ),
        Case::pod(
            "etc_hosts_is_managed",
            "[sig-node] KubeletManagedEtcHosts should test kubelet managed /etc/hosts file",
            "{containers: [{name: one, command: [sleep, '9999']}, {name: two, command: [sleep, '9999']}]}",
        )
        .says("one", "grep -c '^127.0.0.1[[:space:]]*localhost' /etc/hosts", "1")
        .says("one", "grep -w app /etc/hosts | cut -f 1 | grep -qxF \"$(hostname -i)\" && echo own", "own")
        .says("two", "grep -w app /etc/hosts | cut -f 1 | grep -qxF \"$(hostname -i)\" && echo own", "own"),
        Case::pod(
            "aliases_are_in_etc_hosts",
            "[sig-node] Kubelet when scheduling an agnhost Pod with hostAliases should write entries to /etc/hosts",
            r#"
hostAliases: [{ip: 123.45.67.89, hostnames: [foo, bar]}]
containers: [{name: one, command: [sleep, "9999"]}, {name: two, command: [sleep, "9999"]}]
"#,
        )
        .says("one", "for n in foo bar; do grep -w $n /etc/hosts | tr '\\t' ' ' | cut -d ' ' -f 1; done", "123.45.67.89\n123.45.67.89")
        .says("two", "for n in foo bar; do grep -w $n /etc/hosts | tr '\\t' ' ' | cut -d ' ' -f 1; done", "123.45.67.89\n123.45.67.89"),
        Case::pod(
            "aliases_of_one_container_alone",
            "https://kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods/: you can add additional entries with hostAliases",
            r#"
hostAliases: [{ip: 10.1.2.3, hostnames: [foo.remote]}, {ip: "fd00::7", hostnames: [six]}]
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .says("main", "grep -w foo.remote /etc/hosts | tr '\\t' ' ' | cut -d ' ' -f 1; grep -w six /etc/hosts | tr '\\t' ' ' | cut -d ' ' -f 1", "10.1.2.3\nfd00::7"),
        Case::pod(
            "aliases_in_the_host_network",
            "[sig-node] Kubelet with pods in a privileged namespace when scheduling an agnhost Pod with hostAliases and hostNetwork should write entries to \
             /etc/hosts when hostNetwork is enabled",
            r#"
hostNetwork: true
hostAliases: [{ip: 123.45.67.89, hostnames: [foo]}]
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .says("main", "grep -w foo /etc/hosts | tr '\\t' ' ' | cut -d ' ' -f 1", "123.45.67.89"),
    ]
}

fn name_servers() -> Vec<Case> {
    vec![
        Case::pod(
            "name_servers_are_chosen",
            "[sig-network] DNS should support configurable pod DNS nameservers",
            r#"
dnsPolicy: None
dnsConfig: {nameservers: [1.1.1.1], searches: [resolv.conf.local]}
containers: [{name: main, command: [sleep, "9999"]}]
"#,
        )
        .says(
            "main",
            "grep -E '^(nameserver|search)' /etc/resolv.conf | sort",
            "nameserver 1.1.1.1\nsearch resolv.conf.local",
        )
        .inspects("main", "/HostConfig/Dns", json!(["1.1.1.1"]))
        .inspects("main", "/HostConfig/DnsSearch", json!(["resolv.conf.local"])),
        Case::pod(
            "options_of_the_resolver_are_chosen",
            "[sig-network] DNS should support configurable pod resolv.conf",
            r#"
dnsPolicy: None
dnsConfig: {nameservers: [9.9.9.9], options: [{name: ndots, value: "2"}, {name: edns0}]}
containers: [{name: one, command: [sleep, "9999"]}, {name: two, command: [sleep, "9999"]}]
"#,
        )
        .says(
            "one",
            "grep -E '^(nameserver|options)' /etc/resolv.conf | sort",
            "nameserver 9.9.9.9\noptions ndots:2 edns0",
        )
        .says(
            "two",
            "grep -E '^(nameserver|options)' /etc/resolv.conf | sort",
            "nameserver 9.9.9.9\noptions ndots:2 edns0",
        ),
        Case::story(
            "without_a_policy_the_boxs_resolver_is_used",
            "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-s-dns-policy: \"Default\": The Pod inherits the name resolution configuration \
             from the node that the Pods run on",
            async |scene| {
                let app = scene
                    .ready(APP, "{dnsPolicy: Default, containers: [{name: main, command: [sleep, '9999']}]}")
                    .await?;
                let plain = skerry_tests::docker_run(&[
                    "run",
                    "--rm",
                    skerry_tests::IMAGE,
                    "cat",
                    "/etc/resolv.conf",
                ])
                .await?;
                app.says("main", "cat /etc/resolv.conf", &plain).await
            },
        ),
        Case::story(
            "settings_are_added_to_the_boxs_resolver",
            "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#pod-dns-config: nameservers: will be combined to the base nameservers generated \
             from the specified DNS policy; searches and options: merged into the base ones",
            async |scene| {
                let pod = r#"
dnsPolicy: ClusterFirst
dnsConfig: {nameservers: [192.0.2.53], searches: [tide.example], options: [{name: ndots, value: "3"}]}
containers: [{name: main, command: [sleep, "9999"]}]
"#;
                let app = scene.ready(APP, pod).await?;
                let own = skerry_tests::docker_run(&[
                    "run",
                    "--rm",
                    skerry_tests::IMAGE,
                    "grep",
                    "^nameserver",
                    "/etc/resolv.conf",
                ])
                .await?;
                // A resolver has three servers at most: the box's own come first.
                let mut servers: Vec<&str> = own.lines().chain(["nameserver 192.0.2.53"]).collect();
                servers.truncate(3);
                app.says("main", "grep '^nameserver' /etc/resolv.conf", &servers.join("\n")).await?;
                app.says("main", "grep '^search' /etc/resolv.conf | grep -ow tide.example", "tide.example")
                    .await?;
                app.says("main", "grep '^options' /etc/resolv.conf | grep -ow ndots:3", "ndots:3").await
            },
        ),
        Case::refused(
            "no_policy_needs_name_servers",
            "Pod validation: spec.dnsConfig.nameservers: must provide at least one DNS nameserver when `dnsPolicy` is None",
            "{dnsPolicy: None, containers: [{name: main}]}",
            &["dns"],
        ),
    ]
}

/// An app that serves its own name.
async fn server(scene: &Scene, name: &str) -> anyhow::Result<crate::app::App> {
    let pod = format!(
        "{{containers: [{{name: main, command: [sh, -c, 'mkdir /www; echo {name} > /www/index.html; exec httpd -f -p 8080 -h /www']}}]}}"
    );
    scene.ready(name, &pod).await
}

const CLIENT: &str = "{containers: [{name: main, command: [sleep, '9999']}]}";

/// A box that lets apps see these others.
async fn with_names(scene: &Scene, names: &str) -> anyhow::Result<Node> {
    let keys = format!("app-names = {names:?}\n");
    let node = scene.stage.site.node_with(AgentOptions { keys, ..AgentOptions::default() })?;
    node.ready().await?;
    Ok(node)
}

fn neighbours() -> Vec<Case> {
    vec![
        Case::story(
            "an_app_is_reached_by_its_name",
            "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/#namespaces-of-services: a query for data returns the Service in the Pod's \
             namespace; data.prod with its namespace",
            async |scene| {
                server(scene, "tide").await?;
                let client = scene.ready("client", CLIENT).await?;
                client.says("main", "wget -q -O - http://tide:8080/", "tide").await?;
                let full = format!("wget -q -O - http://tide.{}:8080/", scene.namespace);
                client.says("main", &full, "tide").await
            },
        ),
        Case::story(
            "one_that_comes_later_is_known_without_a_restart",
            "https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/: names are resolved when they are asked for, whatever was first",
            async |scene| {
                let client = scene.ready("client", CLIENT).await?;
                let before = client.id("main").await?;
                let app = server(scene, "tide").await?;
                client.says("main", "wget -q -O - http://tide:8080/", "tide").await?;
                app.delete().await?;
                client.says("main", "grep -cw tide /etc/hosts || true", "0").await?;
                ensure!(client.id("main").await? == before, "the client was replaced");
                Ok(())
            },
        ),
        Case::story(
            "a_restarted_one_is_found_where_it_is_now",
            "https://kubernetes.io/docs/concepts/services-networking/service/: the set of Pods running in one moment in time could be different a moment later; a name \
             keeps track",
            async |scene| {
                let app = server(scene, "tide").await?;
                let client = scene.ready("client", CLIENT).await?;
                client.says("main", "wget -q -O - http://tide:8080/", "tide").await?;
                skerry_tests::docker_run(&["kill", &app.id("main").await?]).await?;
                app.container_report("main", "was restarted", |one| one.restart_count == 1).await?;
                client.says("main", "wget -q -O - http://tide:8080/", "tide").await
            },
        ),
        Case::story(
            "another_namespace_is_not_seen",
            "agent.toml: app-names = \"Namespace\", the default: an app sees those of its own namespace only, as with a default NetworkPolicy of a namespace",
            async |scene| {
                server(scene, "tide").await?;
                let other = Scene::open(scene.stage.clone()).await?;
                let client = other.ready("client", CLIENT).await?;
                let near = server(&other, "near").await?;
                client.says("main", "wget -q -O - http://near:8080/", "near").await?;
                let name = format!("grep -c tide.{} /etc/hosts || true", scene.namespace);
                client.says("main", &name, "0").await?;
                near.delete().await?;
                other.close().await
            },
        ),
        Case::story(
            "all_namespaces_are_seen_where_the_box_allows_it",
            "agent.toml: app-names = \"All\": as Services of all namespaces are found in a cluster without a NetworkPolicy",
            async |scene| {
                let node = with_names(scene, "All").await?;
                let other = Scene::open(scene.stage.clone()).await?;
                let tide = scene.apply_to(&node, "tide", json!({}), CLIENT).await?;
                let client = other.apply_to(&node, "client", json!({}), CLIENT).await?;
                tide.ready().await?;
                client.ready().await?;
                let address = tide.sh("main", "hostname -i").await?;
                let look =
                    format!("grep -w tide.{} /etc/hosts | tr '\\t' ' ' | cut -d ' ' -f 1", scene.namespace);
                client.says("main", &look, &address).await?;
                // The short name is that of a neighbour in the same namespace.
                client
                    .says("main", "grep -cE '[[:space:]]tide($|[[:space:]])' /etc/hosts || true", "0")
                    .await?;
                tide.delete().await?;
                client.delete().await?;
                other.close().await
            },
        ),
        Case::story(
            "no_app_is_seen_where_the_box_allows_none",
            "agent.toml: app-names = \"None\": as with enableServiceLinks: false and no cluster DNS",
            async |scene| {
                let node = with_names(scene, "None").await?;
                let tide = scene.apply_to(&node, "tide", json!({}), CLIENT).await?;
                tide.ready().await?;
                let client = scene.apply_to(&node, "client", json!({}), CLIENT).await?;
                client.ready().await?;
                skerry_tests::holds_for("it is not known", std::time::Duration::from_secs(2), || async {
                    let seen = client.sh("main", "grep -cw tide /etc/hosts || true").await?;
                    ensure!(seen.trim() == "0", "{seen}");
                    Ok::<_, anyhow::Error>(())
                })
                .await?;
                tide.delete().await?;
                client.delete().await
            },
        ),
        Case::story(
            "one_with_several_containers_has_one_name",
            "https://kubernetes.io/docs/concepts/workloads/pods/#pod-networking: every container in a Pod shares the network namespace, including the IP address",
            async |scene| {
                let pod = r#"
containers:
- {name: web, command: [sh, -c, 'mkdir /www; echo both > /www/index.html; exec httpd -f -p 8080 -h /www']}
- {name: other, command: [sleep, "9999"]}
"#;
                scene.ready("tide", pod).await?;
                let client = scene.ready("client", CLIENT).await?;
                client.says("main", "wget -q -O - http://tide:8080/", "both").await
            },
        ),
    ]
}
