//! ConfigMaps and Secrets on their way from `kubectl` into containers: what waits for them, what follows them, and where they never go.

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{Containers, IMAGE, Node, Site, docker_run, eventually};

use crate::apply::app_yaml;
use crate::{Shared, shared};

/// Two containers, one that mounts the ConfigMap `settings` and one that has a variable of the Secret `keys`.
fn pod() -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, volumes: [{{name: settings, configMap: {{name: settings}}}}], containers: [\
         {{name: file, image: \"{IMAGE}\", command: [sleep, \"1000\"], volumeMounts: [{{name: settings, mountPath: /etc/settings}}]}}, \
         {{name: variable, image: \"{IMAGE}\", command: [sleep, \"1000\"], \
         env: [{{name: TOKEN, valueFrom: {{secretKeyRef: {{name: keys, key: token}}}}}}]}}]}}"
    )
}

/// A ConfigMap `settings` whose file `text` says this.
async fn settings(site: &Site, namespace: &str, text: &str) -> Result<()> {
    let yaml = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings, namespace: {namespace}}}\ndata: {{text: {text}}}\n"
    );
    site.kubectl().apply(&yaml).await?;
    Ok(())
}

/// A Secret `keys` with this token.
async fn keys(site: &Site, namespace: &str, token: &str) -> Result<()> {
    let yaml = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: keys, namespace: {namespace}}}\nstringData: {{token: {token}}}\n"
    );
    site.kubectl().apply(&yaml).await?;
    Ok(())
}

/// A node that runs an app of [`pod`].
async fn node_with_app(site: &std::sync::Arc<Site>, namespace: &str) -> Result<Node> {
    let node = site.node().await?;
    settings(site, namespace, "one").await?;
    keys(site, namespace, "alpha").await?;
    site.kubectl().apply(&app_yaml(namespace, "app", &node.name, &pod())).await?;
    node.phase(namespace, "app", "Running").await?;
    Ok(node)
}

/// Id and start time of the app's running container of this name.
async fn container(containers: &Containers, role: &str) -> Result<(String, String)> {
    let all = containers.all().await?.into_iter().filter(|(name, _)| name == role).map(|(_, one)| one);
    let alive = all.filter(|one| one.state.as_ref().and_then(|state| state.running) == Some(true));
    let mut alive: Vec<_> = alive.collect();
    let (Some(one), true) = (alive.pop(), alive.is_empty()) else { bail!("not one {role} runs") };
    Ok((one.id.context("an id")?, one.state.and_then(|state| state.started_at).context("a start")?))
}

async fn says(containers: &Containers, role: &str, command: &str, expected: &str) -> Result<()> {
    eventually(&format!("{role}: {command} says {expected}"), || async {
        let (id, _) = container(containers, role).await?;
        let said = docker_run(&["exec", &id, "sh", "-c", command]).await?;
        if said == expected { Ok(()) } else { bail!("{said:?}") }
    })
    .await
}

const FILE: &str = "cat /etc/settings/text";
const VARIABLE: &str = "echo $TOKEN";

/// Waits until the node says that an app waits for config, in words that contain these.
async fn waits_for(node: &Node, namespace: &str, names: &[&str]) -> Result<()> {
    eventually(&format!("it waits for {names:?}"), || async {
        let report = node.report(namespace, "app").await?;
        let waits = report.phase == "Pending" && report.reason == "CreateContainerConfigError";
        let named = names.iter().all(|name| report.message.contains(name));
        if waits && named { Ok(()) } else { bail!("{report:?}") }
    })
    .await
}

pub async fn what_is_missing_is_waited_for_by_name(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    site.kubectl().apply(&app_yaml(&namespace, "app", &node.name, &pod())).await?;
    waits_for(&node, &namespace, &["configmap \"settings\" not found"]).await?;
    waits_for(&node, &namespace, &["secret \"keys\" not found"]).await?;
    let containers = node.app(&namespace, "app").await?;
    ensure!(containers.all().await?.is_empty(), "something was started without its config");
    eventually("the app names the node that misses something", || async {
        let status = site.apps(&namespace).get("app").await?.status.unwrap_or_default();
        match &status.failures[..] {
            [failure] if failure.node == node.name && failure.reason == "CreateContainerConfigError" => {
                Ok(())
            }
            _ => bail!("{status:?}"),
        }
    })
    .await?;

    settings(&site, &namespace, "one").await?;
    eventually("only the Secret is missing", || async {
        let report = node.report(&namespace, "app").await?;
        if report.message == "secret \"keys\" not found" { Ok(()) } else { bail!("{report:?}") }
    })
    .await?;
    // It is there, but not the key that is asked for.
    let other = ["create", "secret", "generic", "keys", "-n", &namespace, "--from-literal=other=x"];
    site.kubectl().run(&other).await?;
    waits_for(&node, &namespace, &["token", "keys"]).await?;
    ensure!(containers.all().await?.is_empty(), "something was started without its config");
    keys(&site, &namespace, "alpha").await?;
    node.phase(&namespace, "app", "Running").await?;
    says(&containers, "file", FILE, "one").await?;
    says(&containers, "variable", VARIABLE, "alpha").await
}

pub async fn a_mounted_file_follows_without_a_restart(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = node_with_app(&site, &namespace).await?;
    let containers = node.app(&namespace, "app").await?;
    says(&containers, "file", FILE, "one").await?;
    let before = containers.identities().await?;
    for text in ["two", "three"] {
        settings(&site, &namespace, text).await?;
        says(&containers, "file", FILE, text).await?;
    }
    ensure!(containers.identities().await? == before, "a container was replaced or restarted");
    let report = node.phase(&namespace, "app", "Running").await?;
    ensure!(report.containers.iter().all(|container| container.restart_count == 0), "{report:?}");
    Ok(())
}

pub async fn a_variable_follows_in_a_new_container_of_its_own(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = node_with_app(&site, &namespace).await?;
    let containers = node.app(&namespace, "app").await?;
    says(&containers, "variable", VARIABLE, "alpha").await?;
    let (file, variable) = (container(&containers, "file").await?, container(&containers, "variable").await?);
    let revision = node.report(&namespace, "app").await?.revision;
    keys(&site, &namespace, "beta").await?;
    says(&containers, "variable", VARIABLE, "beta").await?;
    ensure!(container(&containers, "variable").await?.0 != variable.0, "a variable cannot change in place");
    ensure!(container(&containers, "file").await? == file, "its neighbour was touched");
    let report = node.phase(&namespace, "app", "Running").await?;
    ensure!(report.revision == revision, "the template is the same: {report:?}");
    eventually("the old container is removed", || async {
        let all = containers.all().await?;
        let count = all.iter().filter(|(role, _)| role == "variable").count();
        if count == 1 { Ok(()) } else { bail!("{count} of them") }
    })
    .await
}

pub async fn a_deleted_secret_leaves_what_runs_alone(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let mut node = node_with_app(&site, &namespace).await?;
    let containers = node.app(&namespace, "app").await?;
    let before = containers.identities().await?;
    site.kubectl().run(&["delete", "secret", "keys", "-n", &namespace]).await?;
    waits_for(&node, &namespace, &["secret \"keys\" not found"]).await?;
    let report = node.report(&namespace, "app").await?;
    ensure!(report.ready, "what runs serves on: {report:?}");
    ensure!(containers.identities().await? == before, "a container was touched");
    // A new agent knows no more of the Secret, and leaves them alone as well.
    node.agent()?.kill()?;
    node.start()?;
    node.ready().await?;
    waits_for(&node, &namespace, &["secret \"keys\" not found"]).await?;
    ensure!(containers.identities().await? == before, "a container was touched");
    // The same Secret again is no change.
    keys(&site, &namespace, "alpha").await?;
    node.phase(&namespace, "app", "Running").await?;
    ensure!(containers.identities().await? == before, "a container was touched");
    Ok(())
}

pub async fn config_goes_to_the_nodes_that_run_the_app_alone(site: Shared) -> Result<()> {
    /// Bytes of the Secret: much more than everything else that is sent.
    const SIZE: usize = 100_000;
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let (with, without) = (site.node().await?, site.node().await?);
    let token: String = std::iter::repeat_with(fastrand::alphanumeric).take(SIZE).collect();
    settings(&site, &namespace, "one").await?;
    keys(&site, &namespace, &token).await?;
    site.kubectl().apply(&app_yaml(&namespace, "app", &with.name, &mounts_keys())).await?;
    with.phase(&namespace, "app", "Running").await?;
    let containers = with.app(&namespace, "app").await?;
    says(&containers, "main", "cat /etc/keys/token | wc -c", &SIZE.to_string()).await?;

    // The other node has been sent something since.
    let sleeper = format!("{{containers: [{{name: a, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}");
    site.kubectl().apply(&app_yaml(&namespace, "sleeper", &without.name, &sleeper)).await?;
    without.phase(&namespace, "sleeper", "Running").await?;
    let stored = |node: &Node| Ok::<_, anyhow::Error>(std::fs::read(node.state_dir().join("desired.bin"))?);
    ensure!(stored(&with)?.len() > SIZE / 2, "the Secret is not in what the node is to run");
    ensure!(stored(&without)?.len() < SIZE / 2, "a node that does not run the app has its Secret");
    // What is stored is sealed.
    let piece = token.as_bytes()[..64].to_vec();
    let is_plain = stored(&with)?.windows(piece.len()).any(|window| window == piece);
    ensure!(!is_plain, "the Secret is on the disk for everyone to read");
    for node in [&with, &without] {
        ensure!(!node.output().contains(&token[..64]), "the Secret is in the log of {}", node.name);
    }
    ensure!(!site.controller_output().contains(&token[..64]), "the Secret is in the controller's log");
    Ok(())
}

fn mounts_keys() -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, volumes: [{{name: keys, secret: {{secretName: keys}}}}], containers: [\
         {{name: main, image: \"{IMAGE}\", command: [sleep, \"1000\"], volumeMounts: [{{name: keys, mountPath: /etc/keys}}]}}]}}"
    )
}

pub async fn a_restarted_agent_serves_config_with_no_controller(site: Shared) -> Result<()> {
    // Its own site: the controller is killed.
    let site = Site::start(shared(site)?.plane()).await?;
    let namespace = site.namespace().await?;
    let mut node = node_with_app(&site, &namespace).await?;
    // The newest version is the one that counts.
    let containers = node.app(&namespace, "app").await?;
    settings(&site, &namespace, "two").await?;
    keys(&site, &namespace, "beta").await?;
    says(&containers, "file", FILE, "two").await?;
    says(&containers, "variable", VARIABLE, "beta").await?;
    node.agent()?.kill()?;
    site.kill_controller()?;
    let old: Vec<_> = containers.all().await?.into_iter().filter_map(|(_, one)| one.id).collect();
    let mut remove = vec!["rm", "-f"];
    remove.extend(old.iter().map(String::as_str));
    docker_run(&remove).await?;
    node.start()?;
    says(&containers, "file", FILE, "two").await?;
    says(&containers, "variable", VARIABLE, "beta").await
}
