//! An agent by itself: its apps come from files on its box, and nobody listens where it dials. For tests of what an agent does alone, on the
//! machine's Docker Engine or one of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::program;
use crate::site::{clear, unique};
use crate::{Containers, Daemon, DockerHost, free_port};

/// What an agent is started with besides its name.
#[derive(Debug, Clone)]
pub struct OutpostOptions {
    pub host: DockerHost,
    /// Variables of the agent.
    pub env: Vec<(String, String)>,
    /// What starts the agent, such as `unshare` with its flags. Empty: nothing.
    pub wrapper: Vec<String>,
    /// Where its state is. Absent: beside its log.
    pub state_dir: Option<PathBuf>,
    /// The host that it dials, on a port where nobody listens. Absent: loopback by its address.
    pub controller: Option<String>,
}

impl Default for OutpostOptions {
    fn default() -> Self {
        Self {
            host: DockerHost::shared(),
            env: Vec::new(),
            wrapper: Vec::new(),
            state_dir: None,
            controller: None,
        }
    }
}

/// One box without a controller. Its agent is killed and its containers are removed when dropped.
#[derive(Debug)]
pub struct Outpost {
    pub name: String,
    pub options: OutpostOptions,
    dir: TempDir,
    /// Where it dials.
    port: u16,
    agent: Option<Daemon>,
}

impl Outpost {
    /// With no agent yet.
    pub fn new(options: OutpostOptions) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skerry-outpost-").tempdir()?;
        std::fs::create_dir(dir.path().join("manifests"))?;
        Ok(Self { name: unique("post"), options, dir, port: free_port()?, agent: None })
    }

    /// Starts the agent; again after it was killed, with the same state.
    pub fn start(&mut self) -> Result<()> {
        self.agent = Some(Daemon::spawn(self.command()?, self.dir.path(), "agent")?);
        Ok(())
    }

    /// Takes an agent that was started otherwise for this box's.
    pub fn adopt(&mut self, agent: Daemon) {
        self.agent = Some(agent);
    }

    /// SIGKILL to the agent, if one runs.
    pub fn kill(&mut self) -> Result<()> {
        self.agent.take().map_or(Ok(()), |mut agent| agent.kill())
    }

    /// How the agent is started.
    pub fn command(&self) -> Result<Command> {
        let config = self.dir.path().join("agent.toml");
        let text = format!(
            "node-name = {:?}\ncontroller = \"http://{}:{}\"\nstate-dir = {:?}\nadmin-socket = {:?}\n\
             manifest-dir = {:?}\ndocker-socket = \"unix://{}\"\n",
            self.name,
            self.options.controller.as_deref().unwrap_or("127.0.0.1"),
            self.port,
            self.state_dir(),
            self.dir.path().join("agent.sock"),
            self.dir.path().join("manifests"),
            self.options.host.socket().display(),
        );
        std::fs::write(&config, text)?;
        let words = self.options.wrapper.iter().map(PathBuf::from).chain([program("skerry-agent")?]);
        let words: Vec<PathBuf> = words.collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("run").arg("--config").arg(&config);
        command.envs(self.options.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    pub fn agent(&mut self) -> Result<&mut Daemon> {
        self.agent.as_mut().context("the agent runs")
    }

    /// The folder of its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn state_dir(&self) -> PathBuf {
        self.options.state_dir.clone().unwrap_or_else(|| self.dir.path().join("state"))
    }

    pub fn log(&self) -> PathBuf {
        self.dir.path().join("agent.log")
    }

    /// Everything that its agents printed.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    /// Puts a static manifest in its place at once, as a careful editor does.
    pub fn put(&self, name: &str, text: &str) -> Result<()> {
        let unfinished = self.manifest(&format!(".{name}"));
        std::fs::write(&unfinished, text)?;
        std::fs::rename(&unfinished, self.manifest(name))?;
        Ok(())
    }

    /// Takes a static manifest away.
    pub fn take(&self, name: &str) -> Result<()> {
        Ok(std::fs::remove_file(self.manifest(name))?)
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.dir.path().join("manifests").join(format!("{name}.yaml"))
    }

    /// What `skerry-agent status -o json` prints.
    pub async fn status(&self) -> Result<Value> {
        let mut command = tokio::process::Command::new(program("skerry-agent")?);
        command.args(["status", "-o", "json", "--config"]).arg(self.dir.path().join("agent.toml"));
        let output = command.output().await.context("run skerry-agent status")?;
        if output.stdout.is_empty() {
            bail!("skerry-agent status: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Its containers.
    pub async fn containers(&self) -> Result<Containers> {
        Containers::on(&self.options.host, &self.name).await
    }
}

impl Drop for Outpost {
    fn drop(&mut self) {
        self.agent = None;
        clear(&self.options.host, &self.name);
    }
}
