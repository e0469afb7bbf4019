//! The Docker Engine as a test looks at it: independent of the agent's own view.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use skerry_terms::labels;
use tokio::process::Command;

/// Where the machine's Docker Engine listens.
const SHARED: &str = "/var/run/docker.sock";

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

/// One Docker Engine of the machine: the shared one, or one of a test's own.
#[derive(Debug, Clone)]
pub struct DockerHost {
    socket: PathBuf,
}

impl DockerHost {
    /// The one that everybody uses.
    pub fn shared() -> Self {
        Self::at(Path::new(SHARED))
    }

    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub async fn client(&self) -> Result<Docker> {
        let path = self.socket.to_str().context("a path that is not UTF-8")?;
        let client = Docker::connect_with_unix(path, 30, bollard::API_DEFAULT_VERSION)?;
        client.negotiate_version().await.with_context(|| format!("no Docker Engine answers at {path}"))
    }

    /// Runs the docker command line on it and returns what it printed.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        let host = format!("unix://{}", self.socket.display());
        run(&[&["--host", &host], args].concat()).await
    }
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
        Ok(Self::with(docker().await?, node))
    }

    /// All of one node, on this engine.
    pub async fn on(host: &DockerHost, node: &str) -> Result<Self> {
        Ok(Self::with(host.client().await?, node))
    }

    fn with(docker: Docker, node: &str) -> Self {
        Self { docker, filters: vec![format!("{}={node}", labels::NODE)] }
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
