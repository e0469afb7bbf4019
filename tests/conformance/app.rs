//! One app of a case, as it is seen: what its node reports, what Docker says, and what a shell in its containers prints.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail, ensure};
use bollard::models::ContainerInspectResponse;
use serde_json::Value;
use skerry_api::{AppReport, ContainerReport};
use skerry_tests::{Containers, docker_run, eventually};

use crate::scene::Scene;

/// An app on one node.
#[derive(Clone)]
pub struct App {
    pub scene: Scene,
    pub node: String,
    pub name: String,
}

impl App {
    pub fn new(scene: Scene, node: &str, name: &str) -> Self {
        Self { scene, node: node.to_owned(), name: name.to_owned() }
    }

    /// Waits until the node's report of the app is so, and returns it.
    pub async fn report(&self, what: &str, so: impl Fn(&AppReport) -> bool) -> Result<AppReport> {
        let key = (self.node.as_str(), self.scene.namespace.as_str(), self.name.as_str());
        match self.scene.stage.reports.wait(key, &so).await {
            Ok(report) => Ok(report),
            Err(error) => bail!("{}: {what}: {error:#}{}", self.name, self.last_words().await),
        }
    }

    pub async fn phase(&self, phase: &str) -> Result<AppReport> {
        self.report(&format!("it is {phase}"), |report| report.phase == phase).await
    }

    /// Waits until every container runs and is ready.
    pub async fn ready(&self) -> Result<AppReport> {
        self.report("it is ready", |report| report.phase == "Running" && report.ready).await
    }

    /// Waits until the node gives this reason for the app's phase.
    pub async fn reason(&self, reason: &str) -> Result<AppReport> {
        self.report(&format!("its reason is {reason}"), |report| report.reason == reason).await
    }

    /// Waits until what the node reports of one container is so.
    pub async fn container_report(
        &self,
        container: &str,
        what: &str,
        so: impl Fn(&ContainerReport) -> bool,
    ) -> Result<ContainerReport> {
        let find = |report: &AppReport| {
            report.containers.iter().find(|one| one.name == container && so(one)).cloned()
        };
        let report = self.report(&format!("{container} {what}"), |report| find(report).is_some()).await?;
        find(&report).context("it was there")
    }

    /// Every container of the app in every state, the sandbox included, by name.
    pub async fn containers(&self) -> Result<Vec<(String, ContainerInspectResponse)>> {
        let containers = Containers::of_node(&self.node).await?;
        containers.app(&self.scene.namespace, &self.name).all().await
    }

    /// What Docker says of the container: the running one, else the newest.
    pub async fn inspect(&self, container: &str) -> Result<Value> {
        let mut found: Vec<_> =
            self.containers().await?.into_iter().filter(|(name, _)| name == container).collect();
        found.sort_by_key(|(_, one)| {
            let running = one.state.as_ref().and_then(|state| state.running).unwrap_or(false);
            (running, one.created.clone())
        });
        let (_, newest) =
            found.pop().with_context(|| format!("{} has no container {container}", self.name))?;
        Ok(serde_json::to_value(newest)?)
    }

    pub async fn id(&self, container: &str) -> Result<String> {
        Ok(self.inspect(container).await?["Id"].as_str().context("an id")?.to_owned())
    }

    /// Whether a container of this name was ever made and is still there.
    pub async fn exists(&self, container: &str) -> Result<bool> {
        Ok(self.containers().await?.iter().any(|(name, _)| name == container))
    }

    /// Waits until Docker has this value at this JSON pointer.
    pub async fn inspects(&self, container: &str, pointer: &str, value: Value) -> Result<()> {
        eventually(&format!("docker inspect of {container} has {value} at {pointer}"), || async {
            let seen = self.inspect(container).await?;
            let seen = seen.pointer(pointer).cloned().unwrap_or_default();
            ensure!(seen == value, "{seen}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// What a shell in the container prints.
    pub async fn sh(&self, container: &str, script: &str) -> Result<String> {
        docker_run(&["exec", &self.id(container).await?, "sh", "-c", script]).await
    }

    /// Waits until a shell in the container prints this.
    pub async fn says(&self, container: &str, script: &str, output: &str) -> Result<()> {
        let what = format!("`{script}` in {container} prints {output:?}");
        eventually(&what, || async {
            let seen = self.sh(container, script).await?;
            ensure!(seen.trim() == output.trim(), "{seen:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Standard output and standard error of the newest container of this name.
    pub async fn logs(&self, container: &str) -> Result<String> {
        let id = self.id(container).await?;
        let output = tokio::process::Command::new("docker").args(["logs", &id]).output().await?;
        ensure!(output.status.success(), "docker logs {id} failed");
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// Waits until the container has printed this line, which may have several lines itself.
    pub async fn prints(&self, container: &str, text: &str) -> Result<()> {
        eventually(&format!("{container} prints {text:?}"), || async {
            let logs = self.logs(container).await?;
            let lines: Vec<&str> = logs.lines().collect();
            let wanted: Vec<&str> = text.lines().collect();
            ensure!(lines.windows(wanted.len().max(1)).any(|window| window == wanted), "{logs:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Applies another pod spec to the app.
    pub async fn update(&self, pod: &str) -> Result<()> {
        self.scene.apply(&self.name, pod).await.map(drop)
    }

    /// Deletes the app and waits until nothing is left of it.
    pub async fn delete(&self) -> Result<()> {
        self.scene.delete_app(&self.name).await?;
        self.gone().await
    }

    /// Waits until no container of it is left.
    pub async fn gone(&self) -> Result<()> {
        eventually("no container is left", || async {
            let left = self.containers().await?;
            ensure!(left.is_empty(), "{} containers", left.len());
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// The state and the log of each container, for the message of a case that failed.
    async fn last_words(&self) -> String {
        let mut said = String::new();
        for (name, container) in self.containers().await.unwrap_or_default() {
            let state = container.state.unwrap_or_default();
            let status = state.status.map(|status| status.to_string()).unwrap_or_default();
            let code = state.exit_code.unwrap_or_default();
            let _ =
                write!(said, "\n  {name}: {status}, exit code {code} {}", state.error.unwrap_or_default());
        }
        said
    }
}
