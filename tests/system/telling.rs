//! What happened while nobody could see it is told afterwards, with the time at which it happened; and what the API says is never older than it
//! says.

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use skerry_tests::{AgentOptions, IMAGE, Site, docker_run, eventually};

use crate::apply::app_yaml;
use crate::{Shared, shared};

fn pod(command: &str) -> String {
    format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sh, -c, \"{command}\"]}}]}}"
    )
}

/// The Events about an object, oldest first, as JSON of events.k8s.io.
async fn events(site: &Site, namespace: &str, kind: &str, name: &str) -> Result<Vec<Value>> {
    let text = site.kubectl().run(&["get", "events.events.k8s.io", "-n", namespace, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&text)?;
    let about = |event: &Value| event["regarding"]["kind"] == kind && event["regarding"]["name"] == name;
    let mut events: Vec<Value> =
        list["items"].as_array().context("a list")?.iter().filter(|event| about(event)).cloned().collect();
    events.sort_by_key(|event| event["eventTime"].as_str().map(str::to_owned));
    Ok(events)
}

fn time(event: &Value, pointer: &str) -> Result<Timestamp> {
    let text =
        event.pointer(pointer).and_then(Value::as_str).with_context(|| format!("{pointer} of {event}"))?;
    Ok(text.parse()?)
}

pub async fn what_happened_with_no_controller_is_told_with_its_own_time(site: Shared) -> Result<()> {
    // Its own site: it is broken.
    let site = Site::start(shared(site)?.plane()).await?;
    let namespace = site.namespace().await?;
    let node = site.node().await?;
    site.kubectl().apply(&app_yaml(&namespace, "quiet", &node.name, &pod("exec sleep 1000"))).await?;
    node.phase(&namespace, "quiet", "Running").await?;
    // Ends twenty times a minute for as long as it is not yet backed off.
    site.kubectl().apply(&app_yaml(&namespace, "loop", &node.name, &pod("sleep 1; exit 3"))).await?;
    eventually("the loop has begun", || async {
        let report = node.report(&namespace, "loop").await?;
        ensure!(report.containers.iter().any(|container| container.restart_count > 0), "{report:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    site.kill_controller()?;
    let before = Timestamp::now();
    let quiet = node.app(&namespace, "quiet").await?;
    let victim = quiet.identities().await?.into_iter().next().context("a container")?.0;
    docker_run(&["kill", &victim]).await?;
    eventually("it is back", || async {
        let now = quiet.identities().await?;
        ensure!(now.len() == 1 && now[0].0 != victim, "{now:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let after = Timestamp::now();
    let loops = node.app(&namespace, "loop").await?;
    let first = loops.identities().await?;
    eventually("the loop goes on", || async {
        let now = loops.identities().await?;
        ensure!(!now.is_empty() && now != first, "{now:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    site.start_controller().await?;
    let told = eventually("the crash is told", || async {
        let events = events(&site, &namespace, "EdgeApp", "quiet").await?;
        let crash = events.iter().find(|event| event["reason"] == "Error").cloned();
        crash.with_context(|| format!("{events:?}"))
    })
    .await?;
    let when = time(&told, "/eventTime")?;
    ensure!(before <= when && when <= after, "{before} {when} {after}: {told}");
    let note = told["note"].as_str().unwrap_or_default();
    ensure!(
        note.contains(&node.name) && note.contains("exit code 137") && told["type"] == "Warning",
        "{told}"
    );
    let loops = eventually("the loop is told", || async {
        let events = events(&site, &namespace, "EdgeApp", "loop").await?;
        let offline: Vec<_> = events
            .iter()
            .filter(|event| time(event, "/eventTime").is_ok_and(|at| at >= before))
            .cloned()
            .collect();
        ensure!(offline.iter().any(|event| event["reason"] == "Error"), "{events:?}");
        Ok::<_, anyhow::Error>(offline)
    })
    .await?;
    // The order is that in which it happened, and nothing is told twice.
    let names: Vec<_> = loops.iter().map(|event| event["metadata"]["name"].clone()).collect();
    let unique: std::collections::BTreeSet<_> = names.iter().map(ToString::to_string).collect();
    ensure!(unique.len() == names.len(), "{names:?}");
    let metrics = skerry_tests::get(site.ops_port, "/metrics").await?.1;
    ensure!(metrics.contains("skerry_transitions_total{fate=\"shown\"}"), "{metrics}");
    ensure!(metrics.contains("skerry_transitions_dropped_total 0"), "{metrics}");
    Ok(())
}

/// Debian's libfaketime.
fn faketime() -> Result<String> {
    let found = ["x86_64", "aarch64"].iter().find_map(|arch| {
        let path = format!("/usr/lib/{arch}-linux-gnu/faketime/libfaketimeMT.so.1");
        std::path::Path::new(&path).exists().then_some(path)
    });
    found.context("libfaketime is missing: run `tests/host/prepare.sh --faults`")
}

pub async fn a_box_with_a_wrong_clock_is_reported_and_works(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let namespace = site.namespace().await?;
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let environment = [
        set("LD_PRELOAD", &faketime()?),
        set("FAKETIME", "-400d"),
        set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        set("DONT_FAKE_MONOTONIC", "1"),
    ];
    let options = AgentOptions { environment: environment.into(), ..AgentOptions::default() };
    let node = site.node_with(options)?;
    node.ready().await?;
    node.condition("ClockSkewed", "True").await?;
    let status = site.nodes().get(&node.name).await?.status.unwrap_or_default();
    let skewed = status.conditions.iter().find(|condition| condition.type_ == "ClockSkewed").context("it")?;
    ensure!(skewed.reason == "ClockBehind" && skewed.message.contains("400 d behind"), "{skewed:?}");
    // Nothing waits by that clock: an app comes up, is restarted, and its Events have the right time.
    let before = Timestamp::now();
    site.kubectl().apply(&app_yaml(&namespace, "app", &node.name, &pod("exec sleep 1000"))).await?;
    node.phase(&namespace, "app", "Running").await?;
    let containers = node.app(&namespace, "app").await?;
    let victim = containers.identities().await?.into_iter().next().context("a container")?.0;
    docker_run(&["kill", &victim]).await?;
    let told = eventually("the crash is told", || async {
        let events = events(&site, &namespace, "EdgeApp", "app").await?;
        events.iter().find(|event| event["reason"] == "Error").cloned().with_context(|| format!("{events:?}"))
    })
    .await?;
    let when = time(&told, "/eventTime")?;
    ensure!(before <= when && when <= Timestamp::now(), "{before} {when}: {told}");
    ensure!(told["note"].as_str().is_some_and(|note| note.contains("the box's clock said")), "{told}");
    Ok(())
}

pub async fn a_lease_tells_whether_anybody_keeps_the_status(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let node = site.node().await?;
    let status = site.nodes().get(&node.name).await?.status.unwrap_or_default();
    let replica = status.session.context("a session")?.replica;
    let lease = async || -> Result<Timestamp> {
        let text = site.kubectl().run(&["get", "leases", "-n", "default", "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&text)?;
        let held = |lease: &&Value| lease["spec"]["holderIdentity"] == replica.as_str();
        let lease = list["items"].as_array().context("a list")?.iter().find(held);
        let lease = lease.with_context(|| format!("no Lease of {replica}: {list}"))?;
        ensure!(lease["spec"]["leaseDurationSeconds"] == 40, "{lease}");
        time(lease, "/spec/renewTime")
    };
    let first = lease().await?;
    let next = eventually("it is renewed", || async {
        let next = lease().await?;
        ensure!(next > first, "{next}");
        Ok::<_, anyhow::Error>(next)
    })
    .await?;
    let between = next.duration_since(first).as_secs();
    ensure!((8..40).contains(&between), "renewed after {between} s");
    Ok(())
}
