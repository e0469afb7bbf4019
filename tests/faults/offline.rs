//! A box that boots with no controller, no name server and no registry: all that an app has works from disk alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use skerry_tests::{IMAGE, Node, Plane, Site, docker_run, eventually, holds_for, program};

/// Each of these is asked for below: order, probes, restarts with back-off, files, variables, names.
fn apps(namespace: &str, node: &str) -> String {
    let app = |name: &str, pod: &str| {
        format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
             placement: {{nodeSelector: {{matchLabels: {{test: {node}}}}}}}\n  template:\n    spec:\n      \
             terminationGracePeriodSeconds: 0\n{pod}---\n"
        )
    };
    let server = format!(
        "      volumes: [{{name: config, configMap: {{name: page}}}}]\n      initContainers:\n      \
         - {{name: first, image: \"{IMAGE}\", command: [sh, -c, \"exit 0\"]}}\n      \
         - {{name: beside, image: \"{IMAGE}\", restartPolicy: Always, command: [sleep, \"100000\"]}}\n      containers:\n      \
         - name: main\n        image: \"{IMAGE}\"\n        command: [sh, -c, \"exec httpd -f -p 8080 -h /www\"]\n        \
         env: [{{name: WORD, valueFrom: {{configMapKeyRef: {{name: page, key: word}}}}}}]\n        \
         volumeMounts: [{{name: config, mountPath: /www}}]\n        \
         readinessProbe: {{httpGet: {{path: /index.html, port: 8080}}, periodSeconds: 1}}\n"
    );
    let client = format!(
        "      containers:\n      - name: main\n        image: \"{IMAGE}\"\n        \
         command: [sh, -c, \"touch /tmp/well && exec sleep 100000\"]\n        \
         livenessProbe: {{exec: {{command: [test, -e, /tmp/well]}}, periodSeconds: 1, failureThreshold: 1, initialDelaySeconds: 2, timeoutSeconds: 30}}\n"
    );
    let page = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: page, namespace: {namespace}}}\n\
         data: {{index.html: from-disk, word: kept}}\n---\n"
    );
    page + &app("server", &server) + &app("client", &client)
}

pub async fn all_that_an_app_has_works_from_disk_alone() -> Result<()> {
    let site = Site::start(Plane::Standalone).await?;
    let namespace = site.namespace().await?;
    let mut node = site.node().await?;
    site.kubectl().apply(&apps(&namespace, &node.name)).await?;
    for app in ["server", "client"] {
        node.phase(&namespace, app, "Running").await?;
    }
    // The box loses its power, its link, and everything that ran.
    node.agent()?.kill()?;
    site.kill_controller()?;
    let before = node.output().len();
    let ids = node.containers().await?.all().await?.into_iter().filter_map(|(_, found)| found.id);
    let words: Vec<String> = ["rm".to_owned(), "-f".to_owned()].into_iter().chain(ids).collect();
    docker_run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    node.start()?;
    for app in ["server", "client"] {
        told(&node, app, |one| one["phase"] == "Running" && one["ready"] == true).await?;
    }
    acts_before_it_dials(&node.output()[before..])?;
    in_order(&node, &namespace).await?;
    let main = |app: &'static str| container(&node, &namespace, app);
    let (server, client) = (main("server").await?, main("client").await?);
    let word = docker_run(&["exec", &server, "sh", "-c", "echo $WORD && cat /www/index.html"]).await?;
    ensure!(word.split_whitespace().eq(["kept", "from-disk"]), "{word:?}");
    let page = eventually("an app finds the other by its name", || async {
        docker_run(&[
            "exec",
            &client,
            "timeout",
            "5",
            "wget",
            "-q",
            "-O",
            "-",
            "http://server:8080/index.html",
        ])
        .await
    })
    .await?;
    ensure!(page == "from-disk", "{page:?}");
    // A failed probe restarts; a second one shortly after waits for its back-off.
    docker_run(&["exec", &client, "rm", "/tmp/well"]).await?;
    told(&node, "client", |one| one["containers"][0]["restartCount"] == 1 && one["ready"] == true).await?;
    let again = main("client").await?;
    docker_run(&["exec", &again, "rm", "/tmp/well"]).await?;
    told(&node, "client", |one| one["reason"] == "CrashLoopBackOff").await?;
    holds_for("it waits", Duration::from_secs(3), || async {
        let running = node.app(&namespace, "client").await?.identities().await?;
        ensure!(running.is_empty(), "{running:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    told(&node, "client", |one| one["containers"][0]["restartCount"] == 2 && one["ready"] == true).await?;
    ensure!(main("server").await? == server, "the other app was touched");
    Ok(())
}

/// The id of an app's running main container.
async fn container(node: &Node, namespace: &str, app: &str) -> Result<String> {
    let all = node.app(namespace, app).await?.all().await?;
    let running = all.into_iter().filter(|(role, _)| role == "main").map(|(_, found)| found);
    let mut running =
        running.filter(|found| found.state.as_ref().and_then(|state| state.running).unwrap_or(false));
    running.next_back().and_then(|found| found.id).context("its main container runs")
}

/// Waits until the box's own status says so of an app.
async fn told(node: &Node, app: &str, so: impl Fn(&Value) -> bool) -> Result<()> {
    eventually(&format!("the status says so of {app}"), || async {
        let mut command = tokio::process::Command::new(program("skerry-agent")?);
        command.args(["status", "-o", "json", "--config"]).arg(node.log().join("agent.toml"));
        let output = command.output().await?;
        let status: Value = serde_json::from_slice(&output.stdout).context("no agent answers yet")?;
        ensure!(status["node"]["connected"] == false, "it is connected");
        let apps = status["apps"].as_array().context("a list")?;
        let one = apps.iter().find(|one| one["name"] == app).context("it is not told of")?;
        ensure!(so(one), "{one}");
        Ok(())
    })
    .await
}

/// The first step was announced before the first word about the controller.
fn acts_before_it_dials(log: &str) -> Result<()> {
    let place = |word: &str| log.find(word).with_context(|| format!("{word:?} is not in the log:\n{log}"));
    ensure!(place("create container=")? < place("is unreachable")?, "it dialled first:\n{log}");
    Ok(())
}

/// The init container has ended before the sidecar started, and that one runs before the main container.
async fn in_order(node: &Node, namespace: &str) -> Result<()> {
    let all = node.app(namespace, "server").await?.all().await?;
    let state = |role: &str| {
        let found = all.iter().find(|(name, _)| name == role).and_then(|(_, found)| found.state.clone());
        found.with_context(|| format!("there is no container {role}"))
    };
    let (first, beside, main) = (state("first")?, state("beside")?, state("main")?);
    // Docker's times sort as texts but for their last digits.
    let time = |text: Option<String>| text.unwrap_or_default().trim_end_matches('Z').to_owned();
    let (ended, then, last) = (time(first.finished_at), time(beside.started_at), time(main.started_at));
    ensure!(ended < then && then < last, "{ended}, {then}, {last}");
    Ok(())
}
