//! Who may come in, what they may, and what others on the machine can read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use skerry_tests::{Kubectl, Plane, Site, eventually, free_port, unique};

use crate::trust::refused;
use crate::{Shared, shared};

/// Runs `standalone user …` on the site's data; returns what it printed.
fn user(site: &Site, args: &[&str]) -> Result<String> {
    let dir = format!("--data-dir={}", site.control_plane.data_dir().display());
    let (code, said) = refused("skerry-controller", &[&["standalone", "user"], args, &[&dir]].concat())?;
    ensure!(code == 0, "user {args:?}: {code}: {said}");
    Ok(said)
}

/// A new user's kubectl; known to the server within a second.
async fn add(site: &Site, dir: &Path, name: &str, role: &[&str]) -> Result<Kubectl> {
    let file = dir.join(name);
    let kubeconfig = format!("--kubeconfig={}", file.display());
    user(site, &[&["add", name], role, &[&kubeconfig]].concat())?;
    ensure!(mode(&file)? == 0o600, "{:o}", mode(&file)?);
    let kubectl = site.control_plane.kubectl_as(&file);
    eventually("the user is known", || async { kubectl.run(&["get", "--raw", "/version"]).await }).await?;
    Ok(kubectl)
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o777)
}

async fn is_forbidden(kubectl: &Kubectl, args: &[&str], said: &str) -> Result<()> {
    match kubectl.run(args).await {
        Ok(answer) => bail!("{args:?} was allowed: {answer}"),
        Err(error) => {
            let text = error.to_string();
            ensure!(text.contains("Forbidden") && text.contains(said), "{args:?}: {text}");
            Ok(())
        }
    }
}

pub async fn each_role_may_what_it_may(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let (own, other) = (site.namespace().await?, site.namespace().await?);
    let dir = tempfile::tempdir()?;
    let [viewer, editor, admin] = ["viewer", "editor", "admin"].map(unique);
    for namespace in [&own, &other] {
        site.kubectl().apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}}).to_string()).await?;
    }
    let map = |namespace: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}})
            .to_string()
    };

    let kubectl = add(&site, dir.path(), &viewer, &["--role=viewer"]).await?;
    for args in [
        &["get", "edgeapps,configmaps,events", "-A"][..],
        &["get", "edgenodes,namespaces"],
        &["auth", "whoami"],
    ] {
        kubectl.run(args).await?;
    }
    let cannot = |verb: &str, what: &str, place: &str| {
        format!("User \"{viewer}\" cannot {verb} resource \"{what}\" in API group \"\" {place}")
    };
    is_forbidden(&kubectl, &["get", "secrets", "-A"], &cannot("list", "secrets", "at the cluster scope"))
        .await?;
    let place = format!("in the namespace \"{own}\"");
    is_forbidden(&kubectl, &["get", "secret", "s", "-n", &own], &cannot("get", "secrets", &place)).await?;
    is_forbidden(&kubectl, &["delete", "secret", "s", "-n", &own], &cannot("delete", "secrets", &place))
        .await?;
    is_forbidden(&kubectl, &["delete", "ns", &own], &cannot("delete", "namespaces", &place)).await?;
    ensure!(kubectl.apply(&map(&own)).await.is_err(), "a viewer wrote");

    let kubectl = add(&site, dir.path(), &editor, &["--role=editor", &format!("--namespace={own}")]).await?;
    // The kubeconfig names the namespace.
    kubectl.run(&["get", "configmaps,secrets,edgeapps"]).await?;
    kubectl.apply(&map(&own)).await?;
    kubectl.run(&["get", "edgenodes"]).await?;
    kubectl.run(&["delete", "secret", "s"]).await?;
    let cannot = |verb: &str, what: &str, group: &str, place: &str| {
        format!("User \"{editor}\" cannot {verb} resource \"{what}\" in API group \"{group}\" {place}")
    };
    let place = format!("in the namespace \"{other}\"");
    is_forbidden(&kubectl, &["get", "cm", "-n", &other], &cannot("list", "configmaps", "", &place)).await?;
    is_forbidden(&kubectl, &["get", "secret", "s", "-n", &other], &cannot("get", "secrets", "", &place))
        .await?;
    ensure!(kubectl.apply(&map(&other)).await.is_err(), "an editor wrote elsewhere");
    is_forbidden(
        &kubectl,
        &["get", "edgeapps", "-A"],
        &cannot("list", "edgeapps", "skerry.dev", "at the cluster scope"),
    )
    .await?;
    is_forbidden(&kubectl, &["delete", "edgenodes", "--all"], "edgenodes").await.or_else(|error| {
        // There is no node to delete, which is no permission either.
        if error.to_string().contains("No resources found") { Ok(()) } else { Err(error) }
    })?;
    is_forbidden(&kubectl, &["delete", "ns", &own], "cannot delete resource \"namespaces\"").await?;
    let may = kubectl.run(&["auth", "can-i", "create", "edgeapps"]).await?;
    ensure!(may == "yes", "{may}");

    let kubectl = add(&site, dir.path(), &admin, &["--role=admin"]).await?;
    kubectl.run(&["get", "secrets", "-A"]).await?;
    kubectl.run(&["delete", "secret", "s", "-n", &other]).await?;
    kubectl.run(&["delete", "namespace", &other]).await?;
    let listed = user(&site, &["list"])?;
    for line in
        [format!("{viewer}\tviewer\t"), format!("{editor}\teditor\t{own}"), format!("{admin}\tadmin\t")]
    {
        ensure!(listed.lines().any(|own| own.trim_end() == line.trim_end()), "{line:?} is not in {listed}");
    }
    Ok(())
}

pub async fn a_removed_user_is_a_stranger(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let dir = tempfile::tempdir()?;
    let name = unique("guest");
    let kubectl = add(&site, dir.path(), &name, &["--role=viewer"]).await?;
    let start = std::time::Instant::now();
    user(&site, &["remove", &name])?;
    eventually("the token is refused", || async {
        match kubectl.run(&["get", "--raw", "/version"]).await {
            Err(error) if error.to_string().contains("Unauthorized") => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await?;
    ensure!(start.elapsed().as_secs() < 3, "it took {:?}", start.elapsed());
    let file = dir.path().join(&name).display().to_string();
    let data = format!("--data-dir={}", site.control_plane.data_dir().display());
    let add = ["standalone", "user", "add", &name, "--role=viewer", &format!("--kubeconfig={file}"), &data];
    let (code, said) = refused("skerry-controller", &add)?;
    ensure!(code == 1 && said.contains(&file) && said.lines().count() == 1, "{code}: {said}");
    let remove = ["standalone", "user", "remove", &name, &data];
    let (code, said) = refused("skerry-controller", &remove)?;
    ensure!(code == 1 && said.contains(&name) && said.lines().count() == 1, "{code}: {said}");
    let both = ["standalone", "user", "add", &unique("x"), "--role=editor", &data];
    let (code, said) = refused("skerry-controller", &both)?;
    ensure!(code == 1 && said.contains("namespace") && said.lines().count() == 1, "{code}: {said}");
    Ok(())
}

pub async fn nobody_is_anonymous(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let kubeconfig = Kubeconfig::read_from(site.control_plane.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.auth_info = AuthInfo::default();
    let mut stranger = config.clone();
    stranger.auth_info.token = Some("skerry_nobodyknowsthis".to_owned().into());
    for config in [config, stranger] {
        let client = Client::try_from(config)?;
        for path in ["/version", "/healthz", "/api/v1/namespaces", "/apis", "/nonsense"] {
            let answer = client.send(http::Request::get(path).body(kube::client::Body::empty())?).await?;
            ensure!(answer.status() == 401, "{path}: {}", answer.status());
            let body = String::from_utf8(answer.into_body().collect_bytes().await?.to_vec())?;
            ensure!(body.contains("\"reason\":\"Unauthorized\""), "{path}: {body}");
        }
    }
    Ok(())
}

pub async fn nothing_private_is_readable(site: Shared) -> Result<()> {
    shared(site)?;
    let site = Site::start(Plane::Standalone).await?;
    let namespace = site.namespace().await?;
    let (secret, token) = (unique("hush"), user(&site, &["add", "ci", "--role=viewer"])?);
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": namespace}, "stringData": {"k": secret}});
    site.kubectl().run_with(&["create", "-f", "-"], &object.to_string()).await?;
    let data = site.control_plane.data_dir();
    let encoded =
        site.kubectl().run(&["get", "secret", "s", "-n", &namespace, "-o", "jsonpath={.data.k}"]).await?;
    ensure!(!encoded.is_empty());
    let look = |when: &str| -> Result<()> {
        ensure!(mode(&data)? == 0o700, "{:o}", mode(&data)?);
        for entry in fs::read_dir(&data)? {
            let path = entry?.path();
            ensure!(mode(&path)? & 0o077 == 0, "{when}: {} has mode {:o}", path.display(), mode(&path)?);
            let content = fs::read(&path)?;
            for private in [&secret, &encoded, &token] {
                let holds = content.windows(private.len()).any(|window| window == private.as_bytes());
                ensure!(!holds, "{when}: {} holds a secret in plain text", path.display());
            }
        }
        Ok(())
    };
    look("while it runs")?;
    site.terminate_controller()?;
    look("when it has stopped")?;

    // Users that others could have written are not taken.
    let users = data.join("users.yaml");
    fs::set_permissions(&users, fs::Permissions::from_mode(0o644))?;
    let args = [
        "standalone",
        &format!("--data-dir={}", data.display()),
        &format!("--api-listen=127.0.0.1:{}", free_port()?),
        "--listen=127.0.0.1:0",
        "--http-listen=127.0.0.1:0",
    ];
    let (code, said) = refused("skerry-controller", &args)?;
    ensure!(
        code == 1 && said.contains("users.yaml") && said.contains("644") && said.lines().count() == 1,
        "{code}: {said}"
    );
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600))?;
    site.start_controller().await
}
