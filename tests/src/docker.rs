//! The Docker Engine as a test looks at it: independent of the agent's own view.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use skerry_terms::labels;
use tokio::process::Command;

/// A connection; fails with what to do when there is no engine.
pub async fn docker() -> Result<Docker> {
    let advice = "no Docker Engine answers: run `tests/host/prepare.sh --docker`";
    Docker::connect_with_local_defaults().context(advice)?.negotiate_version().await.context(advice)
}

/// Runs the docker command line and returns what it printed.
pub async fn run(args: &[&str]) -> Result<String> {
    let output = Command::new("docker").args(args).output().await.context("start docker")?;
    if !output.status.success() {
        bail!("docker {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Containers with our labels.
#[derive(Debug)]
pub struct Containers {
    docker: Docker,
    filters: Vec<String>,
}

impl Containers {
    /// All of one node.
    pub async fn of_node(node: &str) -> Result<Self> {
        Ok(Self { docker: docker().await?, filters: vec![format!("{}={node}", labels::NODE)] })
    }

    /// Those of one app.
    pub fn app(mut self, namespace: &str, name: &str) -> Self {
        self.filters.push(format!("{}={namespace}", labels::NAMESPACE));
        self.filters.push(format!("{}={name}", labels::APP));
        self
    }

    /// In every state, by name of the container in its template.
    pub async fn all(&self) -> Result<Vec<(String, ContainerInspectResponse)>> {
        let filters = HashMap::from([("label".to_owned(), self.filters.clone())]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let mut found = Vec::new();
        for summary in self.docker.list_containers(Some(options)).await? {
            let id = summary.id.context("a container has an id")?;
            let role = summary.labels.unwrap_or_default().remove(labels::CONTAINER).unwrap_or_default();
            match self.docker.inspect_container(&id, None::<InspectContainerOptions>).await {
                Ok(container) => found.push((role, container)),
                // Removed in between.
                Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    /// The only running one of the app; fails when there are more or fewer.
    pub async fn running(&self) -> Result<ContainerInspectResponse> {
        let mut running: Vec<_> = self.all().await?.into_iter().filter(|(_, c)| is_running(c)).collect();
        match (running.pop(), running.len()) {
            (Some((_, container)), 0) => Ok(container),
            (_, more) => bail!("{} containers run", more),
        }
    }

    /// Id and start time of every running container: what must not change for a healthy one.
    pub async fn identities(&self) -> Result<Vec<(String, String)>> {
        let running = self.all().await?.into_iter().filter(|(_, c)| is_running(c));
        Ok(running.map(|(_, container)| identity(&container)).collect())
    }
}

fn is_running(container: &ContainerInspectResponse) -> bool {
    container.state.as_ref().and_then(|state| state.running).unwrap_or(false)
}

fn identity(container: &ContainerInspectResponse) -> (String, String) {
    let started = container.state.as_ref().and_then(|state| state.started_at.clone());
    (container.id.clone().unwrap_or_default(), started.unwrap_or_default())
}
