//! What `kubectl` says about an EdgeApp before any node sees it.

use anyhow::{Context as _, Result, bail, ensure};
use skerry_tests::{IMAGE, eventually, repository_root};

use crate::{Shared, shared};

/// An app whose pod spec is the given YAML in flow style.
pub fn app_yaml(namespace: &str, name: &str, node: &str, pod: &str) -> String {
    format!(
        "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  \
         placement: {{nodeSelector: {{matchLabels: {{test: {node}}}}}}}\n  template:\n    spec: {pod}\n"
    )
}

/// An app of one container that serves its environment variable TEXT over HTTP on a port of the node.
pub fn web_yaml(namespace: &str, name: &str, node: &str, port: u16, text: &str) -> String {
    let serve = "mkdir -p /www && echo \\\"$TEXT\\\" > /www/index.html && exec httpd -f -p 8080 -h /www";
    let pod = format!(
        "{{terminationGracePeriodSeconds: 1, containers: [{{name: web, image: \"{IMAGE}\", command: [sh, -c, \"{serve}\"], \
         env: [{{name: TEXT, value: {text}}}], ports: [{{containerPort: 8080, hostPort: {port}, hostIP: 127.0.0.1}}]}}]}}"
    );
    app_yaml(namespace, name, node, &pod)
}

pub async fn a_bad_spec_is_refused_by_name(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let container = format!("name: a, image: \"{IMAGE}\"");
    let cases = [
        // What is not supported is refused, not ignored.
        (
            format!("{{containers: [{{{container}, volumeDevices: [{{name: a, devicePath: /dev/a}}]}}]}}"),
            "volumeDevices",
        ),
        (format!("{{containers: [{{{container}}}], nodeName: x}}"), "spec.template.spec.nodeName"),
        ("{containers: []}".into(), "spec.template.spec.containers"),
        ("{}".into(), "spec.template.spec.containers"),
        ("{containers: [{name: a}]}".into(), "spec.template.spec.containers[0].image"),
        (
            "{containers: [{name: a, image: \"local/BusyBox:1\"}]}".into(),
            "spec.template.spec.containers[0].image",
        ),
        ("{containers: [{name: a, image: \"x:1:2\"}]}".into(), "spec.template.spec.containers[0].image"),
        ("{containers: [{name: a, image: \"a//b\"}]}".into(), "spec.template.spec.containers[0].image"),
        (
            format!("{{containers: [{{name: A_b, image: \"{IMAGE}\"}}]}}"),
            "spec.template.spec.containers[0].name",
        ),
        (format!("{{containers: [{{{container}}}, {{{container}}}]}}"), "spec.template.spec.containers"),
        (format!("{{containers: [{{{container}, env: [{{name: \"A=B\"}}]}}]}}"), "containers[0].env[0].name"),
        (
            format!("{{containers: [{{{container}, env: [{{name: A, value: 1}}]}}]}}"),
            "containers[0].env[0].value",
        ),
        (
            format!("{{containers: [{{{container}, ports: [{{containerPort: 0}}]}}]}}"),
            "ports[0].containerPort",
        ),
        (
            format!("{{containers: [{{{container}, ports: [{{containerPort: 70000}}]}}]}}"),
            "ports[0].containerPort",
        ),
        (
            format!("{{containers: [{{{container}, ports: [{{containerPort: 1, protocol: tcp}}]}}]}}"),
            "ports[0].protocol",
        ),
        (
            format!("{{containers: [{{{container}, ports: [{{containerPort: 1, hostIP: here}}]}}]}}"),
            "ports[0].hostIP",
        ),
        (format!("{{containers: [{{{container}, resources: {{limits: {{cpu: fast}}}}}}]}}"), "limits.cpu"),
        (
            format!("{{containers: [{{{container}, resources: {{limits: {{memory: 1Mi}}}}}}]}}"),
            "resources.limits: Invalid value: memory must be at least 6Mi",
        ),
        (
            format!("{{containers: [{{{container}, resources: {{limits: {{gpu: 1}}}}}}]}}"),
            "resources are cpu, memory and skerry.dev/<device>",
        ),
        (format!("{{containers: [{{{container}, imagePullPolicy: Sometimes}}]}}"), "imagePullPolicy"),
        (format!("{{containers: [{{{container}}}], restartPolicy: Maybe}}"), "restartPolicy"),
        (
            format!("{{containers: [{{{container}}}], terminationGracePeriodSeconds: -1}}"),
            "terminationGracePeriodSeconds",
        ),
        (
            format!(
                "{{hostNetwork: true, containers: [{{{container}, ports: [{{containerPort: 1, hostPort: 2}}]}}]}}"
            ),
            "hostPort",
        ),
    ];
    for (pod, path) in cases {
        for server_side in [false, true] {
            let mut args = vec!["apply", "-f", "-"];
            args.extend(server_side.then_some("--server-side"));
            match site.kubectl().run_with(&args, &app_yaml(&namespace, "bad", "none", &pod)).await {
                Ok(said) => bail!("{pod} was accepted: {said}"),
                Err(error) => {
                    let last = path.rsplit('.').next().unwrap_or(path);
                    let error = format!("{error:#}");
                    ensure!(error.contains(last), "{pod}: {path} is not named in: {error}");
                }
            }
        }
    }
    ensure!(site.apps(&namespace).list(&Default::default()).await?.items.is_empty(), "something was stored");
    Ok(())
}

pub async fn applying_twice_changes_nothing(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    for entry in std::fs::read_dir(repository_root().join("deploy/examples"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        // A namespace of the test's own, and a node that does not exist: this is about the API alone.
        let text = std::fs::read_to_string(&path)?;
        ensure!(
            !text.contains("namespace:"),
            "{}: an example goes where the user's context points",
            path.display()
        );
        let args = ["apply", "-n", &namespace, "-f", "-"];
        let first = site.kubectl().run_with(&args, &text).await?;
        ensure!(first.lines().all(|line| line.ends_with("created")), "{}: {first}", path.display());
        let again = site.kubectl().run_with(&args, &text).await?;
        ensure!(again.lines().all(|line| line.ends_with("unchanged")), "{}: {again}", path.display());
        site.kubectl().run_with(&["delete", "-n", &namespace, "-f", "-"], &text).await?;
    }
    Ok(())
}

pub async fn explain_documents_every_field(site: Shared) -> Result<()> {
    let site = shared(site)?;
    for resource in ["edgeapps", "edgenodes"] {
        let crd =
            site.kubectl().run(&["get", "crd", &format!("{resource}.skerry.dev"), "-o", "json"]).await?;
        let crd: serde_json::Value = serde_json::from_str(&crd)?;
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            check_documented(&schema[part], &format!("{resource}.{part}"))?;
        }
    }
    let explain = ["explain", "edgeapp.spec.template.spec.containers.imagePullPolicy"];
    // The API server publishes the schema of a new CRD a moment after it has established it.
    let said =
        eventually("kubectl explain knows the CRD", || async { site.kubectl().run(&explain).await }).await?;
    ensure!(said.contains("IfNotPresent"), "{said}");
    Ok(())
}

fn check_documented(schema: &serde_json::Value, path: &str) -> Result<()> {
    ensure!(schema["description"].as_str().is_some_and(|text| text.len() > 10), "{path} is not documented");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        check_documented(field, &format!("{path}.{name}"))?;
    }
    for (name, field) in schema["items"]["properties"].as_object().into_iter().flatten() {
        check_documented(field, &format!("{path}[].{name}"))?;
    }
    Ok(())
}

pub async fn an_app_is_listed_with_its_columns(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let pod = format!("{{containers: [{{name: a, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}");
    site.kubectl().apply(&app_yaml(&namespace, "sleeper", &node.name, &pod)).await?;
    let available = ["wait", "-n", &namespace, "ea/sleeper", "--for=condition=Available", "--timeout=30s"];
    site.kubectl().run(&available).await?;
    let table = site.kubectl().run(&["get", "ea", "-n", &namespace]).await?;
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure!(words[0] == ["NAME", "DESIRED", "UPDATED", "READY", "UNKNOWN", "STATUS", "AGE"], "{table}");
    ensure!(words[1][..5] == ["sleeper", "1", "1", "1", "0"], "{table}");
    ensure!(table.lines().all(|line| line.len() <= 80), "wider than 80 columns:\n{table}");
    let table = eventually("the node's row", || async {
        let table = site.kubectl().run(&["get", "en", &node.name]).await?;
        let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        if row.get(1) == Some(&"True") { Ok(table) } else { bail!("{table}") }
    })
    .await?;
    ensure!(table.lines().all(|line| line.len() <= 80), "wider than 80 columns:\n{table}");
    let wide = site.kubectl().run(&["get", "edgenodes,edgeapps", "-A", "-o", "wide"]).await?;
    ensure!(wide.contains("sleeper-"), "the revision is not in:\n{wide}");
    Ok(())
}

pub async fn a_refusal_is_listed_with_its_rule(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    let pod = format!(
        "{{hostPID: true, containers: [{{name: a, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    );
    site.kubectl().apply(&app_yaml(&namespace, "greedy", &node.name, &pod)).await?;
    node.phase(&namespace, "greedy", "Failed").await?;
    eventually("the list has the reason, the wide one the rule", || async {
        let table = site.kubectl().run(&["get", "ea", "-n", &namespace]).await?;
        let row: Vec<&str> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        ensure!(row.get(5) == Some(&"PolicyRefused"), "{table}");
        let wide = site.kubectl().run(&["get", "ea", "-n", &namespace, "-o", "wide"]).await?;
        ensure!(wide.contains("policy.host-pid") && wide.contains("hostPID"), "{wide}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// As whoever reads the README does it: without `--server-side`, so that kubectl keeps the whole of it in an annotation.
pub async fn the_crds_are_applied_plainly(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let crds = repository_root().join("deploy/crds");
    let apply = ["apply", "-f", crds.to_str().context("a path that is not UTF-8")?];
    let all_are = |said: &str, words: &[&str]| {
        let good = |line: &str| words.iter().any(|word| line.ends_with(word));
        said.lines().count() >= 2 && said.lines().all(good)
    };
    let said = site.kubectl().run(&apply).await?;
    ensure!(all_are(&said, &["configured", "created"]), "{said}");
    let said = site.kubectl().run(&apply).await?;
    ensure!(all_are(&said, &["unchanged"]), "{said}");
    Ok(())
}
