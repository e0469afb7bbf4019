//! Ports, shared networks, and two nodes on one Docker Engine.

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{AgentOptions, IMAGE, docker_run, eventually, free_port, get, holds_for};

use crate::apply::{app_yaml, web_yaml};
use crate::{Shared, shared};

pub async fn containers_of_an_app_share_localhost(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let port = free_port()?;
    let pod = format!(
        "{{terminationGracePeriodSeconds: 0, containers: [\
         {{name: server, image: \"{IMAGE}\", command: [sh, -c, \"mkdir /www && echo shared > /www/index.html && exec httpd -f -p 8080 -h /www\"]}}, \
         {{name: client, image: \"{IMAGE}\", command: [sleep, \"1000\"], ports: [{{containerPort: 8080, hostPort: {port}}}]}}]}}"
    );
    site.kubectl().apply(&app_yaml(&namespace, "pair", &node.name, &pod)).await?;
    node.phase(&namespace, "pair", "Running").await?;
    let containers = node.app(&namespace, "pair").await?;
    let client = async || {
        let all = containers.all().await?;
        let client = all.into_iter().find(|(role, _)| role == "client").context("a client")?;
        client.1.id.context("an id")
    };
    let fetch = async || {
        let said = docker_run(&["exec", &client().await?, "wget", "-q", "-O", "-", "http://localhost:8080/"])
            .await?;
        if said == "shared" { Ok(()) } else { bail!("{said:?}") }
    };
    eventually("one container reaches the other on localhost", fetch).await?;
    // The port was declared by the container that does not listen: the network is the app's.
    eventually("the port leads there too", || get(port, "/")).await?;

    // A member that is killed comes back into the same network; the others are not touched.
    let server = |all: Vec<(String, _)>| all.into_iter().filter(|(role, _)| role != "server");
    let before: Vec<_> = server(containers.all().await?)
        .map(|(_, c): (_, bollard::models::ContainerInspectResponse)| c.id)
        .collect();
    let all = containers.all().await?;
    let id =
        all.into_iter().find(|(role, _)| role == "server").and_then(|(_, c)| c.id).context("a server")?;
    docker_run(&["kill", &id]).await?;
    eventually("the server is another", || async {
        let all = containers.all().await?;
        let new = all.into_iter().find(|(role, c)| {
            role == "server"
                && c.id.as_ref() != Some(&id)
                && c.state.as_ref().and_then(|s| s.running) == Some(true)
        });
        new.context("not yet").map(drop)
    })
    .await?;
    eventually("localhost works again", fetch).await?;
    let after: Vec<_> = server(containers.all().await?).map(|(_, c)| c.id).collect();
    ensure!(before == after, "the neighbours were touched");
    Ok(())
}

pub async fn a_taken_port_fails_by_name_and_the_holder_serves_on(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let port = free_port()?;
    site.kubectl().apply(&web_yaml(&namespace, "holder", &node.name, port, "mine")).await?;
    eventually("the holder serves", || get(port, "/")).await?;
    let holder = node.app(&namespace, "holder").await?;
    let before = holder.identities().await?;
    site.kubectl().apply(&web_yaml(&namespace, "late", &node.name, port, "yours")).await?;
    let report = node.phase(&namespace, "late", "Failed").await?;
    ensure!(report.reason == "PortConflict", "{report:?}");
    ensure!(report.message.contains(&port.to_string()) && report.message.contains("holder"), "{report:?}");
    ensure!(holder.identities().await? == before, "the holder was touched");
    ensure!(get(port, "/").await? == (200, "mine\n".into()), "the holder no longer serves");
    // When the holder goes, the late one has the port without anybody's help.
    site.kubectl().run(&["delete", "-n", &namespace, "ea/holder"]).await?;
    eventually("the late one serves", || async {
        match get(port, "/").await? {
            (200, body) if body == "yours\n" => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await
}

pub async fn an_update_to_a_taken_port_keeps_the_old_container(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let port = free_port()?;
    // Held outside Docker: only the box itself can tell.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let taken_port = taken.local_addr()?.port();
    site.kubectl().apply(&web_yaml(&namespace, "web", &node.name, port, "old")).await?;
    eventually("the page is served", || get(port, "/")).await?;
    let containers = node.app(&namespace, "web").await?;
    let before = containers.identities().await?;
    site.kubectl().apply(&web_yaml(&namespace, "web", &node.name, taken_port, "new")).await?;
    let report = node.phase(&namespace, "web", "Failed").await?;
    ensure!(
        report.reason == "PortConflict" && report.message.contains(&taken_port.to_string()),
        "{report:?}"
    );
    ensure!(report.ready, "the old container serves: {report:?}");
    holds_for("the old container serves", std::time::Duration::from_secs(1), || async {
        ensure!(containers.identities().await? == before, "it was touched");
        ensure!(get(port, "/").await?.0 == 200, "it does not serve");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    drop(taken);
    eventually("the new one takes over when the port is free", || get(taken_port, "/")).await?;
    Ok(())
}

pub async fn two_nodes_on_one_engine_are_kept_apart(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let (a, b) = (site.node().await?, site.node().await?);
    let pod = format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    );
    // The same app by name on both, through one selector.
    let group = skerry_tests::unique("group");
    site.kubectl().apply(&app_yaml(&namespace, "both", &group, &pod)).await?;
    for node in [&a, &b] {
        site.kubectl().run(&["label", "--overwrite", "en", &node.name, &format!("test={group}")]).await?;
        node.phase(&namespace, "both", "Running").await?;
    }
    let (on_a, on_b) = (a.app(&namespace, "both").await?, b.app(&namespace, "both").await?);
    let before = on_b.identities().await?;
    ensure!(on_a.identities().await? != before && before.len() == 1, "one container each");
    site.kubectl().run(&["label", "--overwrite", "en", &a.name, "test=elsewhere"]).await?;
    eventually("the first node lets go", || async {
        ensure!(on_a.all().await?.is_empty(), "it still has one");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    ensure!(on_b.identities().await? == before, "the other node's container was touched");
    Ok(())
}

pub async fn the_host_network_is_the_hosts(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let config = "[policy]\nhost-network = true\n".to_owned();
    let node = site.node_with(AgentOptions { config, ..AgentOptions::default() })?;
    node.ready().await?;
    let port = free_port()?;
    let pod = format!(
        "{{hostNetwork: true, terminationGracePeriodSeconds: 0, containers: [\
         {{name: web, image: \"{IMAGE}\", command: [httpd, -f, -p, \"127.0.0.1:{port}\", -h, /etc], ports: [{{containerPort: {port}}}]}}, \
         {{name: side, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    );
    site.kubectl().apply(&app_yaml(&namespace, "host", &node.name, &pod)).await?;
    eventually("it listens on the host", || get(port, "/passwd")).await?;
    let all = node.app(&namespace, "host").await?.all().await?;
    ensure!(all.len() == 2, "in the host's network no other container is needed: {}", all.len());
    for (_, container) in all {
        let mode = container.host_config.and_then(|host| host.network_mode);
        ensure!(mode.as_deref() == Some("host"), "{mode:?}");
    }
    // Two apps in the host's network that declare the same port exclude each other as well.
    site.kubectl().apply(&app_yaml(&namespace, "rival", &node.name, &pod)).await?;
    let report = node.phase(&namespace, "rival", "Failed").await?;
    ensure!(report.reason == "PortConflict" && report.message.contains("host"), "{report:?}");
    Ok(())
}
