//! A Secret's value is in the containers that were given it and nowhere else: not in what the API shows, not in the logs of the daemons,
//! however much they say, not in what the box shows. The apps here fail in as many ways as there are, since failures are what is told.

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{IMAGE, Node, Registry, Site, docker_run, eventually, unique};

use crate::apply::app_yaml;
use crate::{Shared, shared};

/// Everything of Kubernetes that Skerry writes about apps.
const TOLD: &str = "events,edgeapps,edgenodes,controllerrevisions";

/// A container with the token wherever a Secret may go, which runs this command.
fn container(command: &str) -> String {
    format!(
        "{{name: main, image: \"{IMAGE}\", command: [{command}], args: [\"$(T)\"], terminationMessagePolicy: FallbackToLogsOnError, \
         env: [{{name: T, valueFrom: {{secretKeyRef: {{name: keys, key: token}}}}}}], \
         envFrom: [{{prefix: FROM_, secretRef: {{name: keys}}}}], volumeMounts: [{{name: keys, mountPath: /keys}}]}}"
    )
}

fn pod(container: &str) -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, volumes: [{{name: keys, secret: {{secretName: keys}}}}], containers: [{container}]}}"
    )
}

/// Waits until the node gives one of these reasons.
async fn fails(node: &Node, namespace: &str, app: &str, reasons: &[&str]) -> Result<String> {
    eventually(&format!("{app} fails with one of {reasons:?}"), || async {
        let report = node.report(namespace, app).await?;
        if reasons.contains(&report.reason.as_str()) { Ok(report.message) } else { bail!("{report:?}") }
    })
    .await
}

pub async fn a_secret_is_told_nowhere(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let token = unique("sesame-opens");
    let secret =
        ["create", "secret", "generic", "keys", "-n", &namespace, &format!("--from-literal=token={token}")];
    site.kubectl().run(&secret).await?;

    // A command that is not there: Docker repeats it.
    let lost = pod(&container("\"/no/such/$(T)\""));
    site.kubectl().apply(&app_yaml(&namespace, "lost", &node.name, &lost)).await?;
    // One that says what it knows and ends, so that its last words are told.
    let talks = pod(&container("sh, -c, 'echo last words: $T $0; cat /keys/token; exit 3'"));
    site.kubectl().apply(&app_yaml(&namespace, "talks", &node.name, &talks)).await?;
    // One that a probe's failure is told of, with what the probe printed; so does its hook.
    let probed = |seconds: u32| {
        let hook = "lifecycle: {preStop: {exec: {command: [sh, -c, 'cat /keys/token; false']}}}";
        let probe = "readinessProbe: {exec: {command: [sh, -c, 'echo it is $T; false']}, periodSeconds: 1, timeoutSeconds: 10}";
        let container = container(&format!("sh, -c, 'exec sleep {seconds}'"));
        let with_hook = container.replacen('{', &format!("{{{probe}, {hook}, "), 1);
        pod(&with_hook).replacen("Seconds: 0", "Seconds: 2", 1)
    };
    site.kubectl().apply(&app_yaml(&namespace, "probed", &node.name, &probed(9999))).await?;
    // And one that a registry turns away with this password.
    let registry = Registry::start_private().await?;
    let image = registry.push("tools/app:1").await?;
    pull_secret(&site, &namespace, &registry, &token).await?;
    let pulls = format!(
        "{{imagePullSecrets: [{{name: registry}}], containers: [{{name: main, image: \"{image}\", command: [sleep, \"1000\"]}}]}}"
    );
    site.kubectl().apply(&app_yaml(&namespace, "pulls", &node.name, &pulls)).await?;

    let said =
        fails(&node, &namespace, "lost", &["StartError", "CreateContainerError", "CrashLoopBackOff"]).await?;
    ensure!(said.contains("/no/such/"), "Docker's words are passed on: {said}");
    fails(&node, &namespace, "talks", &["CrashLoopBackOff"]).await?;
    let said = eventually("the last words are told", || async {
        let report = node.report(&namespace, "talks").await?;
        let lasts = report.containers.iter().filter_map(|one| one.last_state.as_ref());
        let said = lasts.map(|last| last.message.clone()).collect::<String>();
        if said.contains("last words") { Ok(said) } else { bail!("{report:?}") }
    })
    .await?;
    ensure!(!said.contains(&token), "{said}");
    fails(&node, &namespace, "probed", &["NotReady"]).await?;
    fails(&node, &namespace, "pulls", &["ImagePullFailed"]).await?;
    // It was given to the container, or nothing here is proved.
    let inside = node.app(&namespace, "probed").await?.all().await?;
    let main =
        inside.into_iter().find(|(name, _)| name == "main").context("it runs")?.1.id.context("an id")?;
    ensure!(docker_run(&["exec", &main, "cat", "/keys/token"]).await? == token, "another token");

    // Its hook fails, and that is told, too.
    site.kubectl().apply(&app_yaml(&namespace, "probed", &node.name, &probed(9998))).await?;
    eventually("the hook has failed", || async {
        if node.output().contains("FailedPreStopHook") { Ok(()) } else { bail!("nothing is said of it") }
    })
    .await?;

    nowhere(&site, &node, &namespace, &token).await
}

async fn pull_secret(site: &Site, namespace: &str, registry: &Registry, password: &str) -> Result<()> {
    let args = [
        "create",
        "secret",
        "docker-registry",
        "registry",
        "-n",
        namespace,
        &format!("--docker-server={}", registry.host()),
        "--docker-username=keeper",
        &format!("--docker-password={password}"),
    ];
    site.kubectl().run(&args).await.map(drop)
}

/// Looks through everything that is told to anybody.
async fn nowhere(site: &Site, node: &Node, namespace: &str, token: &str) -> Result<()> {
    let yaml = site.kubectl().run(&["get", TOLD, "-A", "-o", "yaml"]).await?;
    let mut told = vec![(format!("kubectl get {TOLD}"), yaml)];
    ensure!(told[0].1.contains(namespace), "the API tells of the apps");
    let said = node.run(&["status", "-o", "json"], "").await?;
    ensure!(said.stdout.contains(namespace), "the box tells of the apps: {said:?}");
    told.push(("skerry-agent status".to_owned(), said.stdout));
    told.push(("the controller's log".to_owned(), site.controller_output()));
    told.push(("the agent's log".to_owned(), node.output()));
    ensure!(told.iter().all(|(_, text)| text.len() > 100), "something tells nothing");
    let encoded =
        docker_run(&["run", "--rm", IMAGE, "sh", "-c", &format!("printf %s {token} | base64")]).await?;
    // The last letters of base64 depend on what follows.
    let encoded = encoded.trim_end_matches('=');
    let encoded = &encoded[..encoded.len() - 2];
    for (where_, text) in told {
        for form in [token, encoded] {
            if let Some(line) = text.lines().find(|line| line.contains(form)) {
                bail!("{where_} has it: {line}");
            }
        }
    }
    Ok(())
}
