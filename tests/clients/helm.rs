//! A helm release of edge apps, from install to uninstall.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use skerry_tests::eventually;

use crate::kubectl::make_ready;
use crate::tool::{Tool, chart, holds, is};

const IMAGE: &str = "-o jsonpath={.spec.template.spec.containers[0].image}";

fn install(name: &str) -> String {
    format!("install {name} {}", chart().display())
}

fn upgrade(name: &str) -> String {
    format!("upgrade {name} {}", chart().display())
}

pub async fn a_release_lives_and_ends(h: Tool) -> Result<()> {
    let k = h.kubectl();
    let said = h.ok(&install("r")).await?;
    holds(&said, &["STATUS: deployed", "REVISION: 1", &format!("Installed as r in {}.", h.namespace)])?;
    is(&k.ok("get ea -o name").await?, "edgeapp.skerry.dev/r-one\nedgeapp.skerry.dev/r-two")?;
    is(&k.ok("get cm r-settings -o jsonpath={.data.greeting}").await?, "hello")?;
    is(&k.ok("get ea r-one -o jsonpath={.metadata.labels.app\\.kubernetes\\.io/managed-by}").await?, "Helm")?;
    is(&k.ok("get secrets -o name").await?, "secret/sh.helm.release.v1.r.v1")?;
    is(&k.ok("get secrets -o jsonpath={.items[0].type}").await?, "helm.sh/release.v1")?;
    let list: Value = serde_json::from_str(&h.ok("list -o json").await?)?;
    ensure!(
        list[0]["name"] == "r" && list[0]["status"] == "deployed" && list[0]["chart"] == "edge-1.0.0",
        "{list}"
    );
    holds(&h.ok("status r").await?, &["STATUS: deployed"])?;
    holds(&h.ok("get values r --all").await?, &["greeting: hello", "- one"])?;
    holds(&h.ok("get manifest r").await?, &["kind: EdgeApp", "name: r-two"])?;
    holds(&h.ok("uninstall r").await?, &["release \"r\" uninstalled"])?;
    is(&k.ok("get ea,cm,secrets -o name").await?, "")?;
    let list: Value = serde_json::from_str(&h.ok("list -o json").await?)?;
    ensure!(list == serde_json::json!([]), "{list}");
    holds(&h.fails("status r", "").await?, &["release: not found"])
}

pub async fn a_release_is_upgraded_and_rolled_back(h: Tool) -> Result<()> {
    let k = h.kubectl();
    h.ok(&install("r")).await?;
    let uid = k.ok("get ea r-one -o jsonpath={.metadata.uid}").await?;
    let said = h.ok(&format!("{} --set image=local/web:2,apps={{one,three}}", upgrade("r"))).await?;
    holds(&said, &["has been upgraded", "REVISION: 2"])?;
    is(&k.ok("get ea -o name").await?, "edgeapp.skerry.dev/r-one\nedgeapp.skerry.dev/r-three")?;
    is(&k.ok(&format!("get ea r-one {IMAGE}")).await?, "local/web:2")?;
    is(&k.ok("get ea r-one -o jsonpath={.metadata.uid}").await?, &uid)?;
    holds(&h.ok("get values r").await?, &["image: local/web:2"])?;
    holds(&h.ok("rollback r 1").await?, &["Rollback was a success"])?;
    is(&k.ok("get ea -o name").await?, "edgeapp.skerry.dev/r-one\nedgeapp.skerry.dev/r-two")?;
    is(&k.ok(&format!("get ea r-one {IMAGE}")).await?, "local/web:1")?;
    let history: Value = serde_json::from_str(&h.ok("history r -o json").await?)?;
    let states: Vec<&str> =
        history.as_array().into_iter().flatten().filter_map(|entry| entry["status"].as_str()).collect();
    ensure!(states == ["superseded", "superseded", "deployed"], "{history}");
    // An upgrade to the same is a new revision that touches nothing.
    let before = k.ok("get ea r-one -o jsonpath={.metadata.resourceVersion}").await?;
    h.ok(&upgrade("r")).await?;
    is(&k.ok("get ea r-one -o jsonpath={.metadata.resourceVersion}").await?, &before)
}

pub async fn installing_twice_is_refused(h: Tool) -> Result<()> {
    h.ok(&install("r")).await?;
    holds(&h.fails(&install("r"), "").await?, &["a name that is still in use"])?;
    // Another release may not take what is there.
    h.kubectl().ok("create configmap s-settings").await?;
    holds(&h.fails(&install("s"), "").await?, &["exists and cannot be imported into the current release"])?;
    let said = h.ok(&format!("{} --install --set greeting=again", upgrade("r"))).await?;
    holds(&said, &["REVISION: 2"])?;
    let said = h.ok(&format!("{} --install", upgrade("new"))).await?;
    holds(&said, &["REVISION: 1"])
}

pub async fn waiting_for_apps_to_be_ready(h: Tool) -> Result<()> {
    let k = h.kubectl();
    let chart = chart().display().to_string();
    let waiting = h.start(&["install", "r", &chart, "--wait", "--timeout", "40s"], &[])?;
    for name in ["r-one", "r-two"] {
        eventually("helm creates the apps", || async { k.ok(&format!("get ea {name}")).await }).await?;
        make_ready(&k, name).await?;
    }
    let output = waiting.wait_with_output().await?;
    let said = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    ensure!(output.status.success() && said.contains("STATUS: deployed"), "{said}");
    holds(&h.ok("uninstall r --wait").await?, &["uninstalled"])?;
    is(&k.ok("get ea -o name").await?, "")
}

pub async fn a_bad_upgrade_fails_and_is_undone(h: Tool) -> Result<()> {
    let k = h.kubectl();
    h.ok(&install("r")).await?;
    let said = h.fails(&format!("{} --set image=a//b", upgrade("r")), "").await?;
    holds(&said, &["is invalid", "spec.template.spec.containers[0].image"])?;
    let list: Value = serde_json::from_str(&h.ok("list -o json").await?)?;
    ensure!(list[0]["status"] == "failed" && list[0]["revision"] == "2", "{list}");
    is(&k.ok(&format!("get ea r-one {IMAGE}")).await?, "local/web:1")?;
    h.ok("rollback r 1").await?;
    let list: Value = serde_json::from_str(&h.ok("list -o json").await?)?;
    ensure!(list[0]["status"] == "deployed" && list[0]["revision"] == "3", "{list}");
    Ok(())
}

pub async fn a_template_is_applied_by_kubectl(h: Tool) -> Result<()> {
    let k = h.kubectl();
    let text = h.ok(&format!("template r {} --set greeting=piped", chart().display())).await?;
    let said = k.ok_with("apply -f -", &text).await?;
    holds(
        &said,
        &[
            "configmap/r-settings created",
            "edgeapp.skerry.dev/r-one created",
            "edgeapp.skerry.dev/r-two created",
        ],
    )?;
    ensure!(k.ok_with("apply -f -", &text).await?.lines().all(|line| line.ends_with("unchanged")), "changed");
    is(&k.ok("get cm r-settings -o jsonpath={.data.greeting}").await?, "piped")
}

pub async fn a_dry_run_installs_nothing(h: Tool) -> Result<()> {
    let said = h.ok(&format!("{} --dry-run=server", install("r"))).await?;
    holds(&said, &["kind: EdgeApp"])?;
    is(&h.kubectl().ok("get ea,cm,secrets -o name").await?, "")
}

pub async fn a_release_keeps_what_others_changed(h: Tool) -> Result<()> {
    let k = h.kubectl();
    h.ok(&install("r")).await?;
    k.ok("label ea r-one site=hz").await?;
    make_ready(&k, "r-one").await?;
    h.ok(&format!("{} --set image=local/web:2", upgrade("r"))).await?;
    is(&k.ok("get ea r-one -o jsonpath={.metadata.labels.site}").await?, "hz")?;
    is(&k.ok("get ea r-one -o jsonpath={.status.nodes.ready}").await?, "1")?;
    let generation: i64 =
        k.ok("get ea r-one -o jsonpath={.metadata.generation}").await?.parse().context("a number")?;
    ensure!(generation == 2, "generation {generation}");
    // Deleted behind helm's back: the next upgrade makes it anew.
    k.ok("delete ea r-two").await?;
    h.ok(&format!("{} --set image=local/web:3", upgrade("r"))).await?;
    is(&k.ok(&format!("get ea r-two {IMAGE}")).await?, "local/web:3")
}
