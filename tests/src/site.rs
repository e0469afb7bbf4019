//! A whole installation: control plane, controller, and as many agents as a test asks for. Agents share the machine's one Docker Engine
//! and are told apart by their labels, which is itself something that is tested.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use kube::{Api, Client};
use skerry_api::{EdgeApp, EdgeNode};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::{
    Containers, ControlPlane, Daemon, DockerHost, Kubectl, Plane, eventually, free_port, get, target_dir,
};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A name that no other test of this or another run uses.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A control plane and a controller on it.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Site {
    pub control_plane: ControlPlane,
    pub client: Client,
    controller: Controller,
    /// Where agents dial.
    pub session_port: u16,
    /// Health, readiness, metrics.
    pub ops_port: u16,
}

/// The controller's process and its ports, which it keeps over restarts.
struct Controller {
    running: Mutex<Option<Daemon>>,
    dir: TempDir,
    session_port: u16,
    ops_port: u16,
}

impl Controller {
    async fn start(&self, control_plane: &ControlPlane) -> Result<()> {
        self.launch(control_plane)?;
        self.ready().await
    }

    fn launch(&self, control_plane: &ControlPlane) -> Result<()> {
        let mut args = control_plane.controller_arguments();
        args.push(format!("--listen=127.0.0.1:{}", self.session_port));
        args.push(format!("--http-listen=127.0.0.1:{}", self.ops_port));
        let daemon = Daemon::start("skerry-controller", self.dir.path(), "controller", &args)?;
        *self.lock() = Some(daemon);
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        eventually("the controller is ready", || async {
            if let Some(controller) = self.lock().as_mut() {
                controller.check_alive()?;
            }
            match get(self.ops_port, "/readyz").await? {
                (200, _) => Ok(()),
                (code, body) => bail!("/readyz says {code}: {body}"),
            }
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Daemon>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Site {
    /// Starts both and waits until the controller is ready.
    pub async fn start(plane: Plane) -> Result<Arc<Self>> {
        let control_plane = ControlPlane::start(plane).await?;
        let dir = tempfile::Builder::new().prefix("skerry-site-").tempdir()?;
        let controller =
            Controller { running: Mutex::new(None), dir, session_port: free_port()?, ops_port: free_port()? };
        controller.start(&control_plane).await?;
        // The kubeconfig of a standalone one is there once its controller runs.
        let client = control_plane.client().await?;
        let Controller { session_port, ops_port, .. } = controller;
        Ok(Arc::new(Self { control_plane, client, controller, session_port, ops_port }))
    }

    pub fn plane(&self) -> Plane {
        self.control_plane.plane
    }

    pub async fn start_controller(&self) -> Result<()> {
        self.controller.start(&self.control_plane).await
    }

    /// Starts it and does not wait for anything.
    pub fn launch_controller(&self) -> Result<()> {
        self.controller.launch(&self.control_plane)
    }

    /// Starts it on another control plane, where agents find it as before.
    pub async fn start_controller_on(&self, control_plane: &ControlPlane) -> Result<()> {
        self.controller.start(control_plane).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Daemon>> {
        self.controller.lock()
    }

    /// Ends what serves the API, hard: the API server or, of a standalone one, the controller that it is in.
    pub fn kill_api(&self) -> Result<()> {
        match self.plane() {
            Plane::Kube => self.control_plane.stop_apiserver(),
            Plane::Standalone => self.kill_controller(),
        }
    }

    pub async fn start_api(&self) -> Result<()> {
        match self.plane() {
            Plane::Kube => self.control_plane.start_apiserver(),
            Plane::Standalone => self.start_controller().await,
        }
    }

    /// SIGKILL.
    pub fn kill_controller(&self) -> Result<()> {
        self.lock().take().context("the controller runs")?.kill()
    }

    /// SIGTERM; returns its exit code.
    pub fn terminate_controller(&self) -> Result<Option<i32>> {
        self.lock().take().context("the controller runs")?.terminate()
    }

    pub fn controller_pid(&self) -> Option<u32> {
        self.lock().as_ref().map(Daemon::pid)
    }

    pub fn controller_output(&self) -> String {
        std::fs::read_to_string(self.controller.dir.path().join("controller.log")).unwrap_or_default()
    }

    pub fn kubectl(&self) -> Kubectl {
        self.control_plane.kubectl()
    }

    /// A new namespace.
    pub async fn namespace(&self) -> Result<String> {
        let name = unique("t");
        self.kubectl().run(&["create", "namespace", &name]).await?;
        Ok(name)
    }

    pub fn apps(&self, namespace: &str) -> Api<EdgeApp> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub fn nodes(&self) -> Api<EdgeNode> {
        Api::all(self.client.clone())
    }

    /// An agent that is connected and Ready, labelled `test=NAME`.
    pub async fn node(self: &Arc<Self>) -> Result<Node> {
        let node = self.node_with(AgentOptions::default())?;
        node.ready().await?;
        Ok(node)
    }

    /// An agent as asked for, started and not waited for.
    pub fn node_with(self: &Arc<Self>, options: AgentOptions) -> Result<Node> {
        let name = unique("box");
        let dir = tempfile::Builder::new().prefix("skerry-agent-").tempdir()?;
        let mut node = Node { name, site: self.clone(), dir, options, agent: None };
        node.start()?;
        Ok(node)
    }
}

/// What an agent is started with besides its name.
#[derive(Debug, Clone, Default)]
pub struct AgentOptions {
    /// Labels besides `test=NAME`.
    pub labels: BTreeMap<String, String>,
    /// Instead of the machine's own.
    pub docker_socket: Option<PathBuf>,
    /// Port of loopback that it dials instead of the controller's own.
    pub session_port: Option<u16>,
    /// Further keys of its agent.toml that stand before the tables, such as `app-names`.
    pub keys: String,
    /// Further tables of its agent.toml, such as `[policy]`.
    pub config: String,
    /// Further variables of its environment.
    pub environment: BTreeMap<String, String>,
    /// A binary of its own instead of the build's, for a test that exchanges it. UTF-8.
    pub binary: Option<PathBuf>,
    /// It dials where no controller is, until [`Node::join`].
    pub alone: bool,
}

/// What a command on the box printed, and its exit code.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A port of loopback that nothing listens on: those below 1024 are given to nobody who asks for any.
const NOBODY: u16 = 9;

/// One edge node of a site. Its agent is killed and its containers are removed when dropped.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Node {
    pub name: String,
    site: Arc<Site>,
    dir: TempDir,
    options: AgentOptions,
    agent: Option<Daemon>,
}

impl Node {
    /// Starts the agent; again after it was killed, with the same state.
    pub fn start(&mut self) -> Result<()> {
        let config = self.config();
        let port = self.options.session_port.unwrap_or(self.site.session_port);
        let controller = if self.options.alone { NOBODY } else { port };
        let mut text = format!(
            "node-name = {:?}\ncontroller = \"http://127.0.0.1:{controller}\"\nstate-dir = {:?}\nadmin-socket = {:?}\n\
             manifest-dir = {:?}\n{}",
            self.name,
            self.state_dir(),
            self.socket(),
            self.manifests(),
            self.options.keys
        );
        if let Some(socket) = &self.options.docker_socket {
            writeln!(text, "docker-socket = \"unix://{}\"", socket.display())?;
        }
        writeln!(text, "[labels]\ntest = {:?}", self.name)?;
        for (key, value) in &self.options.labels {
            writeln!(text, "{key:?} = {value:?}")?;
        }
        text.push_str(&self.options.config);
        std::fs::write(&config, text)?;
        let args = ["run".to_owned(), format!("--config={}", config.display())];
        let environment = &self.options.environment;
        let binary = self.options.binary.as_deref().and_then(Path::to_str).unwrap_or("skerry-agent");
        self.agent = Some(Daemon::start_in(binary, self.dir.path(), "agent", &args, environment)?);
        Ok(())
    }

    /// Restarts an agent that was alone, with the site's controller.
    pub fn join(&mut self) -> Result<()> {
        self.options.alone = false;
        self.agent()?.terminate()?;
        self.start()
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Where commands on the box reach the agent.
    pub fn socket(&self) -> PathBuf {
        self.state_dir().join("agent.sock")
    }

    /// Its folder of static manifests. The agent does not make it.
    pub fn manifests(&self) -> PathBuf {
        self.dir.path().join("manifests")
    }

    /// `skerry-agent …` on this box, to be started.
    pub fn command(&self, args: &[&str]) -> Result<tokio::process::Command> {
        let binary = match self.options.binary.clone() {
            Some(binary) => binary,
            None => target_dir()?.join("skerry-agent"),
        };
        let mut command = tokio::process::Command::new(binary);
        command.args(args).env("SKERRY_CONFIG", self.config()).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Runs `skerry-agent …` on this box to its end.
    pub async fn run(&self, args: &[&str], stdin: &str) -> Result<Said> {
        let mut child = self.command(args)?.spawn().context("start skerry-agent: run `make build` first")?;
        let mut pipe = child.stdin.take().context("a pipe")?;
        // A command that reads nothing may have ended already.
        let _ = pipe.write_all(stdin.as_bytes()).await;
        drop(pipe);
        let output = tokio::time::timeout(crate::LIMIT, child.wait_with_output())
            .await
            .with_context(|| format!("skerry-agent {} does not end", args.join(" ")))??;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    pub fn agent(&mut self) -> Result<&mut Daemon> {
        self.agent.as_mut().context("the agent runs")
    }

    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default()
    }

    /// Waits until the API says that the node is Ready.
    pub async fn ready(&self) -> Result<()> {
        self.condition("Ready", "True").await
    }

    /// Waits until a condition of the EdgeNode has this status.
    pub async fn condition(&self, kind: &str, status: &str) -> Result<()> {
        let what = format!("{} is {kind}={status}", self.name);
        eventually(&what, || async {
            let node = self.site.nodes().get(&self.name).await?;
            let conditions = node.status.map(|status| status.conditions).unwrap_or_default();
            match conditions.iter().find(|condition| condition.type_ == kind) {
                Some(condition) if condition.status == status => Ok(()),
                other => bail!("{other:?}"),
            }
        })
        .await
    }

    /// The node's containers.
    pub async fn containers(&self) -> Result<Containers> {
        Containers::of_node(&self.name).await
    }

    /// The containers of one app on the node.
    pub async fn app(&self, namespace: &str, name: &str) -> Result<Containers> {
        Ok(self.containers().await?.app(namespace, name))
    }

    /// What the node reports of an app.
    pub async fn report(&self, namespace: &str, name: &str) -> Result<skerry_api::AppReport> {
        let node = self.site.nodes().get(&self.name).await?;
        let apps = node.status.map(|status| status.apps).unwrap_or_default();
        let report = apps.into_iter().find(|app| app.namespace == namespace && app.name == name);
        report.with_context(|| format!("{} reports nothing of {namespace}/{name}", self.name))
    }

    /// Waits until the node reports this phase of an app, and returns the report.
    pub async fn phase(&self, namespace: &str, name: &str, phase: &str) -> Result<skerry_api::AppReport> {
        let what = format!("{} reports {namespace}/{name} as {phase}", self.name);
        eventually(&what, || async {
            let report = self.report(namespace, name).await?;
            if report.phase == phase { Ok(report) } else { bail!("{report:?}") }
        })
        .await
    }

    /// Path of the log, for a failing test to name.
    pub fn log(&self) -> &Path {
        self.dir.path()
    }
}

/// Unmounts what an agent that was killed had mounted for its containers, and the place where that is.
pub fn unmount(node: &str) -> Result<()> {
    let mounted = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mine = format!(".mounts/skerry_{node}_");
    let places = mounted.lines().filter_map(|line| line.split(' ').nth(4));
    let places: Vec<&Path> = places.filter(|place| place.contains(&mine)).map(Path::new).collect();
    let grounds = places.iter().filter_map(|place| place.parent()?.parent()).collect::<BTreeSet<_>>();
    for place in places.iter().copied().chain(grounds) {
        std::process::Command::new("umount").arg("--lazy").arg(place).status()?;
    }
    Ok(())
}

impl Drop for Node {
    fn drop(&mut self) {
        self.agent = None;
        let socket = self.options.docker_socket.as_deref().filter(|socket| socket.exists());
        clear(&socket.map_or_else(DockerHost::shared, DockerHost::at), &self.name);
    }
}

/// Removes the containers of a node whose agent was killed, and what is mounted for them.
pub(crate) fn clear(host: &DockerHost, node: &str) {
    let filter = format!("label={}={node}", skerry_terms::labels::NODE);
    let clean = async {
        let ids = host.run(&["ps", "-aq", "--filter", &filter]).await?;
        for id in ids.lines() {
            host.run(&["rm", "-fv", id]).await?;
        }
        unmount(node)
    };
    // The test may be running on a runtime; a thread of its own is always free to block.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                let _ = runtime.block_on(clean);
            }
        });
    });
}
