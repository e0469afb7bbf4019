//! Runs a client as a person does, with a namespace, caches and a home of its own.

use std::path::{Path, PathBuf};
use std::process::{Command as Script, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use skerry_tests::{BareApi, ControlPlane, Plane, repository_root};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// No command of the tests takes longer on a busy machine.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// The server that all trials share, and the clients.
#[derive(Debug)]
pub struct Workbench {
    kubeconfig: PathBuf,
    clients: PathBuf,
    home: TempDir,
    run: u64,
    namespaces: AtomicUsize,
    /// Ended when dropped.
    _plane: Option<ControlPlane>,
    _api: Option<BareApi>,
}

impl Workbench {
    pub async fn start(server: Option<String>) -> Result<Self> {
        let clients = repository_root().join("tests/kube/clients.sh");
        let output =
            Script::new(&clients).stderr(Stdio::inherit()).output().context("run tests/kube/clients.sh")?;
        ensure!(output.status.success(), "tests/kube/clients.sh failed: see above");
        let clients = String::from_utf8(output.stdout)?.trim().into();
        let (kubeconfig, plane, api) = match server.as_deref() {
            None => {
                let api = BareApi::start().await?;
                (api.kubeconfig(), None, Some(api))
            }
            Some("real") => {
                let plane = ControlPlane::start(Plane::Kube).await?;
                (plane.kubeconfig().to_owned(), Some(plane), None)
            }
            Some(kubeconfig) => (kubeconfig.into(), None, None),
        };
        let home = tempfile::Builder::new().prefix("skerry-clients-").tempdir()?;
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() % 1_000_000;
        Ok(Self { kubeconfig, clients, home, run, namespaces: AtomicUsize::new(0), _plane: plane, _api: api })
    }

    /// A client of that name in a namespace of its own.
    pub async fn tool(&self, version: &'static str) -> Result<Tool> {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("c{:06}-{number}", self.run);
        let tool = Tool {
            clients: self.clients.clone(),
            version,
            kubeconfig: self.kubeconfig.clone(),
            home: self.home.path().to_owned(),
            namespace,
        };
        tool.kubectl().ok(&format!("create namespace {}", tool.namespace)).await?;
        Ok(tool)
    }
}

/// One client of one version.
#[derive(Debug, Clone)]
pub struct Tool {
    clients: PathBuf,
    pub version: &'static str,
    kubeconfig: PathBuf,
    home: PathBuf,
    /// Where it works.
    pub namespace: String,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Tool {
    /// The newest kubectl in the same namespace: to look at what the client under test did.
    pub fn kubectl(&self) -> Self {
        let version = if self.version.starts_with("kubectl") { self.version } else { "kubectl-1.37" };
        Self { version, ..self.clone() }
    }

    /// A folder of this trial.
    pub fn folder(&self) -> Result<PathBuf> {
        let folder = self.home.join(format!("{}-{}", self.namespace, self.version));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A file of this trial.
    pub fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.folder()?.join(name);
        std::fs::write(&path, content)?;
        Ok(path.display().to_string())
    }

    /// Runs words that are separated by blanks; fails unless it succeeds. Returns what it printed.
    pub async fn ok(&self, words: &str) -> Result<String> {
        self.ok_with(words, "").await
    }

    /// The same with standard input.
    pub async fn ok_with(&self, words: &str, stdin: &str) -> Result<String> {
        let said = self.run(&split(words), stdin, &[]).await?;
        ensure!(
            said.code == Some(0),
            "{} {words}: exit code {:?}\n{}{}",
            self.version,
            said.code,
            said.out,
            said.err
        );
        Ok(said.out)
    }

    /// The same for a command that must fail. Returns its error text.
    pub async fn fails(&self, words: &str, stdin: &str) -> Result<String> {
        let said = self.run(&split(words), stdin, &[]).await?;
        ensure!(said.code.is_some_and(|code| code != 0), "{} {words} succeeded: {}", self.version, said.out);
        Ok(said.err)
    }

    /// Runs it with arguments and more environment.
    pub async fn run(&self, args: &[&str], stdin: &str, env: &[(&str, &str)]) -> Result<Said> {
        let mut child = self.start(args, env)?;
        let mut pipe = child.stdin.take().context("a pipe")?;
        // A client that does not read its input closes it.
        let _ = pipe.write_all(stdin.as_bytes()).await;
        drop(pipe);
        let output = tokio::time::timeout(COMMAND_MAX, child.wait_with_output()).await;
        let Ok(output) = output else { bail!("{} {} does not end", self.version, args.join(" ")) };
        let output = output?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
    }

    /// Starts it; killed when dropped.
    pub fn start(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Child> {
        let program = self.clients.join(self.version);
        let cache = self.home.join(self.version);
        Command::new(&program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", &self.namespace])
            .args(args)
            .env("KUBECACHEDIR", cache.join("kube"))
            .env("HELM_CACHE_HOME", cache.join("cache"))
            .env("HELM_CONFIG_HOME", cache.join("config"))
            .env("HELM_DATA_HOME", cache.join("data"))
            .env_remove("KUBECONFIG")
            .envs(env.iter().copied())
            .current_dir(&self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", program.display()))
    }
}

fn split(words: &str) -> Vec<&str> {
    words.split_whitespace().collect()
}

/// The chart of the tests.
pub fn chart() -> PathBuf {
    let chart: &Path = "tests/clients/chart".as_ref();
    repository_root().join(chart)
}

/// Fails unless the text holds all of that.
pub fn holds(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    Ok(())
}

/// Fails unless the text, without blanks at its ends, is that.
pub fn is(text: &str, wanted: &str) -> Result<()> {
    ensure!(text.trim() == wanted, "not {wanted:?} but:\n{text}");
    Ok(())
}
