//! Upgrades of an agent that has a controller and no systemd. Those that fail, and those under systemd, are in `tests/systemd`.

use anyhow::{Context as _, Result, ensure};
use skerry_tests::{AgentOptions, IMAGE, target_dir};

use crate::apply::app_yaml;
use crate::{Shared, shared};

pub async fn a_new_version_meets_the_controller_before_it_is_trusted(site: Shared) -> Result<()> {
    let site = shared(site)?;
    let folder = tempfile::tempdir()?;
    let (own, other) = (folder.path().join("skerry-agent"), folder.path().join("other"));
    let build = target_dir()?.join("skerry-agent");
    for (path, more) in [(&own, &b""[..]), (&other, &b"\nanother build"[..])] {
        // A copy with the build's mode; upgrades replace it.
        std::fs::copy(&build, path)?;
        let mut content = std::fs::read(path)?;
        content.extend(more);
        std::fs::write(path, content)?;
    }
    let node = site.node_with(AgentOptions { binary: Some(own.clone()), ..Default::default() })?;
    node.ready().await?;
    let namespace = site.namespace().await?;
    let pair = format!(
        "{{terminationGracePeriodSeconds: 0, containers: [{{name: aa, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}, \
         {{name: bb, image: \"{IMAGE}\", command: [sleep, \"1000\"]}}]}}"
    );
    site.kubectl().apply(&app_yaml(&namespace, "pair", &node.name, &pair)).await?;
    node.phase(&namespace, "pair", "Running").await?;
    let before = node.containers().await?.identities().await?;

    let said = node.run(&["upgrade", other.to_str().context("UTF-8")?], "").await?;
    ensure!(said.code == Some(0) && said.stderr.contains("has taken over"), "{said:?}\n{}", node.output());
    ensure!(std::fs::read(&own)? == std::fs::read(&other)?, "the new binary is in place");
    // Once on trial and once for good, the same process.
    let output = node.output();
    let connected = output.lines().filter(|line| line.contains("connected to controller")).count();
    ensure!(connected >= 2, "{connected}: {output}");
    node.ready().await?;
    node.phase(&namespace, "pair", "Running").await?;
    let now = node.containers().await?.identities().await?;
    ensure!(now == before, "{before:?} became {now:?}\n{}", node.output());

    // A change still arrives.
    site.kubectl().run(&["delete", "-n", &namespace, "ea/pair"]).await?;
    skerry_tests::eventually("the app is gone", || async {
        ensure!(node.containers().await?.all().await?.is_empty(), "not yet");
        Ok::<_, anyhow::Error>(())
    })
    .await
}
