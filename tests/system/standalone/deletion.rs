//! What a cluster's controller manager does: the content of a namespace follows the namespace, dependents follow their owners.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use skerry_tests::{Plane, Site, eventually, holds_for};

use crate::{Shared, shared};

/// A ConfigMap with more metadata.
fn config_map(namespace: &str, name: &str, meta: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": "v"}});
    object["metadata"]["name"] = name.into();
    object["metadata"]["namespace"] = namespace.into();
    object
}

async fn uid(site: &Site, namespace: &str, what: &str) -> Result<String> {
    site.kubectl().run(&["get", "-n", namespace, what, "-o", "jsonpath={.metadata.uid}"]).await
}

/// An entry of ownerReferences.
async fn owner(site: &Site, namespace: &str, name: &str) -> Result<Value> {
    let uid = uid(site, namespace, &format!("cm/{name}")).await?;
    Ok(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}))
}

async fn make(site: &Site, namespace: &str, name: &str, owners: &[Value]) -> Result<()> {
    make_held(site, namespace, name, owners, false).await
}

async fn make_held(site: &Site, namespace: &str, name: &str, owners: &[Value], held: bool) -> Result<()> {
    let mut meta = json!({"ownerReferences": owners});
    if held {
        meta["finalizers"] = json!(["test.skerry.dev/hold"]);
    }
    site.kubectl()
        .run_with(&["create", "-f", "-"], &config_map(namespace, name, meta).to_string())
        .await
        .map(drop)
}

async fn release(site: &Site, namespace: &str, name: &str) -> Result<()> {
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    site.kubectl().run(&["patch", "-n", namespace, "cm", name, "--type=merge", "-p", patch]).await.map(drop)
}

/// The names of the ConfigMaps that are there.
async fn names(site: &Site, namespace: &str) -> Result<Vec<String>> {
    let names = site
        .kubectl()
        .run(&["get", "cm", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}"])
        .await?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

async fn come_down_to(site: &Site, namespace: &str, left: &[&str]) -> Result<()> {
    eventually(&format!("{left:?} is left"), || async {
        let names = names(site, namespace).await?;
        if names == left { Ok(()) } else { bail!("{names:?}") }
    })
    .await
}

async fn stay(site: &Site, namespace: &str, left: &[&str]) -> Result<()> {
    holds_for(&format!("{left:?} stays"), Duration::from_secs(1), || async {
        let names = names(site, namespace).await?;
        if names == left { Ok(()) } else { bail!("{names:?}") }
    })
    .await
}

async fn is_gone(site: &Site, what: &str) -> Result<()> {
    eventually(&format!("{what} is gone"), || async {
        match site.kubectl().run(&["get", what, "-o", "yaml"]).await {
            Err(error) if error.to_string().contains("NotFound") => Ok(()),
            other => bail!("{other:?}"),
        }
    })
    .await
}

/// A namespace with something of every kind in it.
async fn full_namespace(site: &Site) -> Result<String> {
    let namespace = site.namespace().await?;
    let app = json!({"apiVersion": "skerry.dev/v1alpha1", "kind": "EdgeApp", "metadata": {"name": "a", "namespace": namespace},
        "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "x:1"}]}}}});
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": namespace}});
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a", "namespace": namespace}});
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a", "namespace": namespace},
        "involvedObject": {"kind": "ConfigMap", "name": "a", "namespace": namespace}});
    let list = json!({"apiVersion": "v1", "kind": "List",
        "items": [config_map(&namespace, "a", json!({})), app, secret, lease, event]});
    site.kubectl().run_with(&["create", "-f", "-"], &list.to_string()).await?;
    Ok(namespace)
}

pub async fn a_deleted_namespace_takes_its_content_along(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = full_namespace(&site).await?;
    site.kubectl().run(&["delete", "namespace", &namespace, "--wait", "--timeout=30s"]).await?;
    is_gone(&site, &format!("namespace/{namespace}")).await?;
    let kinds = "configmaps,secrets,edgeapps,leases,events";
    let left = site.kubectl().run(&["get", kinds, "-n", &namespace, "-o", "name"]).await?;
    ensure!(left.is_empty(), "{left}");
    // The same name begins anew.
    site.kubectl()
        .apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}).to_string())
        .await?;
    make(&site, &namespace, "a", &[]).await
}

pub async fn a_finalizer_holds_a_namespace(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = full_namespace(&site).await?;
    make_held(&site, &namespace, "held", &[], true).await?;
    site.kubectl().run(&["delete", "namespace", &namespace, "--wait=false"]).await?;
    come_down_to(&site, &namespace, &["held"]).await?;
    stay(&site, &namespace, &["held"]).await?;
    let phase =
        site.kubectl().run(&["get", "namespace", &namespace, "-o", "jsonpath={.status.phase}"]).await?;
    ensure!(phase == "Terminating", "{phase}");
    let refused = make(&site, &namespace, "late", &[]).await;
    let said = refused.err().context("a new object was taken")?.to_string();
    ensure!(said.contains("because it is being terminated"), "{said}");
    release(&site, &namespace, "held").await?;
    is_gone(&site, &format!("namespace/{namespace}")).await
}

pub async fn a_killed_controller_finishes_deleting(site: Shared) -> Result<()> {
    shared(site)?;
    // Its own site: it is broken.
    let site = Site::start(Plane::Standalone).await?;
    for _ in 0..3 {
        let namespace = site.namespace().await?;
        let items: Vec<Value> =
            (0..300).map(|n| config_map(&namespace, &format!("c{n}"), json!({}))).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        site.kubectl().run_with(&["create", "-f", "-"], &list.to_string()).await?;
        // A chain, so that the owner's deletion is cut off as well.
        let other = site.namespace().await?;
        make(&site, &other, "o0", &[]).await?;
        for n in 1..20 {
            let parent = owner(&site, &other, &format!("o{}", n - 1)).await?;
            make(&site, &other, &format!("o{n}"), &[parent]).await?;
        }
        site.kubectl().run(&["delete", "namespace", &namespace, "--wait=false"]).await?;
        site.kubectl().run(&["delete", "-n", &other, "cm/o0", "--wait=false"]).await?;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..60))).await;
        site.kill_controller()?;
        site.start_controller().await?;
        is_gone(&site, &format!("namespace/{namespace}")).await?;
        come_down_to(&site, &other, &[]).await?;
    }
    Ok(())
}

pub async fn dependents_follow_their_owner(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    make(&site, &namespace, "a", &[]).await?;
    make(&site, &namespace, "b", &[]).await?;
    let (a, b) = (owner(&site, &namespace, "a").await?, owner(&site, &namespace, "b").await?);
    make(&site, &namespace, "of-a", std::slice::from_ref(&a)).await?;
    let grand = owner(&site, &namespace, "of-a").await?;
    make(&site, &namespace, "of-of-a", &[grand]).await?;
    make(&site, &namespace, "of-both", &[a.clone(), b]).await?;
    site.kubectl().run(&["delete", "-n", &namespace, "cm/a", "--cascade=background"]).await?;
    come_down_to(&site, &namespace, &["b", "of-both"]).await?;
    let left = |name: &'static str| {
        let (site, namespace) = (&site, &namespace);
        async move {
            let path = "jsonpath={.metadata.ownerReferences[*].name}";
            site.kubectl().run(&["get", "-n", namespace, "cm", name, "-o", path]).await
        }
    };
    eventually("of-both has one owner left", || async {
        let owners = left("of-both").await?;
        if owners == "b" { Ok(()) } else { bail!("{owners:?}") }
    })
    .await?;
    site.kubectl().run(&["delete", "-n", &namespace, "cm/b"]).await?;
    come_down_to(&site, &namespace, &[]).await?;

    // An owner that is gone already, and another object of its name.
    make(&site, &namespace, "a", &[]).await?;
    make(&site, &namespace, "late", &[a]).await?;
    let stranger = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "11111111-1111-1111-1111-111111111111"});
    make(&site, &namespace, "lost", &[stranger]).await?;
    come_down_to(&site, &namespace, &["a"]).await
}

pub async fn a_foreground_deletion_waits(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    make(&site, &namespace, "a", &[]).await?;
    make(&site, &namespace, "z", &[]).await?;
    let mut blocking = owner(&site, &namespace, "a").await?;
    let plain = blocking.clone();
    blocking["blockOwnerDeletion"] = true.into();
    let z = owner(&site, &namespace, "z").await?;
    make_held(&site, &namespace, "blocks", std::slice::from_ref(&blocking), true).await?;
    make(&site, &namespace, "lets", &[plain]).await?;
    make(&site, &namespace, "shared", &[blocking, z]).await?;
    site.kubectl().run(&["delete", "-n", &namespace, "cm/a", "--cascade=foreground", "--wait=false"]).await?;
    come_down_to(&site, &namespace, &["a", "blocks", "shared", "z"]).await?;
    stay(&site, &namespace, &["a", "blocks", "shared", "z"]).await?;
    let finalizers = ["get", "-n", &namespace, "cm/a", "-o", "jsonpath={.metadata.finalizers}"];
    ensure!(site.kubectl().run(&finalizers).await? == r#"["foregroundDeletion"]"#);
    release(&site, &namespace, "blocks").await?;
    come_down_to(&site, &namespace, &["shared", "z"]).await?;
    stay(&site, &namespace, &["shared", "z"]).await
}

pub async fn orphans_stay(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    make(&site, &namespace, "a", &[]).await?;
    let a = owner(&site, &namespace, "a").await?;
    make(&site, &namespace, "b", &[a]).await?;
    let before = uid(&site, &namespace, "cm/b").await?;
    site.kubectl().run(&["delete", "-n", &namespace, "cm/a", "--cascade=orphan"]).await?;
    come_down_to(&site, &namespace, &["b"]).await?;
    stay(&site, &namespace, &["b"]).await?;
    let owners = site
        .kubectl()
        .run(&["get", "-n", &namespace, "cm/b", "-o", "jsonpath={.metadata.ownerReferences}"])
        .await?;
    ensure!(owners.is_empty() && uid(&site, &namespace, "cm/b").await? == before, "{owners}");
    Ok(())
}

pub async fn an_owner_that_is_not_known_keeps_its_dependents(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    make(&site, &namespace, "a", &[]).await?;
    let a = owner(&site, &namespace, "a").await?;
    let foreign = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "11111111-1111-1111-1111-111111111111"});
    make(&site, &namespace, "b", std::slice::from_ref(&foreign)).await?;
    make(&site, &namespace, "c", &[foreign, a]).await?;
    site.kubectl().run(&["delete", "-n", &namespace, "cm/a"]).await?;
    stay(&site, &namespace, &["b", "c"]).await
}
