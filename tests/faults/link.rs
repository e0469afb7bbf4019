//! The link to the controller is cut, deaf or slow, and names cannot be resolved. Containers do not notice; afterwards both ends agree.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{
    AgentOptions, Condition, IMAGE, Node, Outpost, OutpostOptions, Plane, Proxy, Site, docker_run,
    eventually, holds_for, within,
};

use crate::apps::{App, Kind, bystander};
use crate::check::{settled, untouched};

/// Each end asks a silent link once a minute, and gives the answer twenty seconds. The rest is for a busy machine.
const SILENCE: Duration = Duration::from_secs(60 + 20 + 20);

/// A connected node behind a proxy, that runs one app.
struct Stage {
    node: Node,
    site: Arc<Site>,
    proxy: Proxy,
    namespace: String,
}

impl Stage {
    async fn start() -> Result<Self> {
        let site = Site::start(Plane::Standalone).await?;
        let proxy = Proxy::start(site.session_port).await?;
        let options = AgentOptions { session_port: Some(proxy.port), ..AgentOptions::default() };
        let node = site.node_with(options)?;
        node.ready().await?;
        let namespace = site.namespace().await?;
        let stage = Self { node, site, proxy, namespace };
        stage.deploy("one").await?;
        stage.runs("one").await?;
        Ok(stage)
    }

    async fn deploy(&self, name: &str) -> Result<()> {
        let yaml = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: {name}, namespace: {}}}\nspec:\n  \
             placement: {{nodeSelector: {{matchLabels: {{test: {}}}}}}}\n  template:\n    spec:\n      \
             terminationGracePeriodSeconds: 0\n      containers:\n      \
             - {{name: main, image: \"{IMAGE}\", command: [sleep, \"100000\"]}}\n",
            self.namespace, self.node.name
        );
        self.site.kubectl().apply(&yaml).await.map(drop)
    }

    async fn runs(&self, name: &str) -> Result<()> {
        self.node.phase(&self.namespace, name, "Running").await.map(drop)
    }

    async fn container(&self, name: &str) -> Result<(String, String)> {
        let all = self.node.app(&self.namespace, name).await?.identities().await?;
        let [one] = &all[..] else { bail!("{} containers run of {name}", all.len()) };
        Ok(one.clone())
    }
}

pub async fn a_cut_link_is_made_up_for() -> Result<()> {
    let stage = Stage::start().await?;
    stage.deploy("crashing").await?;
    stage.runs("crashing").await?;
    let (untouched, victim) = (stage.container("one").await?, stage.container("crashing").await?);
    stage.proxy.set(Condition::Cut);
    stage.node.condition("Ready", "Unknown").await?;
    docker_run(&["kill", &victim.0]).await?;
    eventually("it is restarted with nobody asking", || async {
        ensure!(stage.container("crashing").await? != victim, "the old one");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    stage.deploy("two").await?;
    stage.proxy.set(Condition::Open);
    stage.node.ready().await?;
    stage.runs("two").await?;
    let report = stage.node.phase(&stage.namespace, "crashing", "Running").await?;
    ensure!(report.containers[0].restart_count == 1, "{report:?}");
    ensure!(report.containers[0].id == stage.container("crashing").await?.0, "{report:?}");
    ensure!(stage.container("one").await? == untouched, "the other container was touched");
    Ok(())
}

/// Both ends believe in a connection through which nothing comes.
pub async fn a_half_open_link_is_noticed_and_left() -> Result<()> {
    let stage = Stage::start().await?;
    let before = stage.container("one").await?;
    stage.proxy.set(Condition::Deaf);
    stage.deploy("two").await?;
    let report = within(SILENCE, "what ran there is unknown", || async {
        let report = stage.node.report(&stage.namespace, "one").await?;
        if report.phase == "Unknown" { Ok(report) } else { bail!("{report:?}") }
    })
    .await?;
    stage.node.condition("Ready", "Unknown").await?;
    ensure!(report.message.contains("last seen Running"), "{report:?}");
    stage.proxy.set(Condition::Open);
    stage.node.ready().await?;
    stage.runs("two").await?;
    stage.runs("one").await?;
    ensure!(stage.container("one").await? == before, "the container was touched");
    Ok(())
}

pub async fn a_slow_link_carries_everything() -> Result<()> {
    let stage = Stage::start().await?;
    let before = stage.container("one").await?;
    stage.proxy.set(Condition::Slow { bytes_per_second: 2000, delay: Duration::from_millis(300) });
    stage.deploy("two").await?;
    stage.runs("two").await?;
    stage.site.kubectl().run(&["delete", "-n", &stage.namespace, "ea/two"]).await?;
    let two = stage.node.app(&stage.namespace, "two").await?;
    eventually("it is gone", || async {
        ensure!(two.all().await?.is_empty(), "it is there");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    // It is slow, and it stands.
    holds_for("the node is ready", Duration::from_secs(3), || stage.node.ready()).await?;
    ensure!(stage.container("one").await? == before, "the container was touched");
    Ok(())
}

/// The controller has a name, and whoever should know it does not answer: each lookup takes as long as the system lets it.
pub async fn names_that_nobody_resolves_hold_nothing_up() -> Result<()> {
    // A name server that takes questions and is silent.
    let silent =
        tokio::net::UdpSocket::bind("127.0.86.53:53").await.context("listen where name servers do")?;
    let files = tempfile::tempdir()?;
    std::fs::write(files.path().join("hosts"), "")?;
    std::fs::write(files.path().join("resolv.conf"), "nameserver 127.0.86.53\n")?;
    let script = format!(
        "mount --bind {0}/hosts /etc/hosts && mount --bind {0}/resolv.conf /etc/resolv.conf && exec \"$@\"",
        files.path().display()
    );
    let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", &script, "sh"];
    let mut outpost = Outpost::new(OutpostOptions {
        wrapper: wrapper.map(str::to_owned).to_vec(),
        controller: Some("localhost".to_owned()),
        ..OutpostOptions::default()
    })?;
    // A mount namespace of the agent's own holds no subPath, which the pod has.
    let (one, two) = (App::new("app", Kind::SideBySide, 1), App::new("app", Kind::SideBySide, 2));
    for app in [&one, &bystander()] {
        app.put(&outpost)?;
    }
    outpost.start()?;
    let before = settled(&outpost, &[bystander(), one]).await?;
    let mut question = [0; 512];
    let asked = tokio::time::timeout(Duration::from_secs(30), silent.recv_from(&mut question)).await;
    asked.context("the name was not looked up")??;
    two.put(&outpost)?;
    let after = settled(&outpost, &[bystander(), two]).await?;
    untouched(&before, &after)
}
