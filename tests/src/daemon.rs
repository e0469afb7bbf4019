//! A process of ours under test: started from the build, its output in a file, ended by its own id.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running daemon. Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    name: String,
    log: PathBuf,
}

/// The folder with `Cargo.toml`, the scripts and the examples.
pub fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// Where the binaries of this build are: beside the running test's folder, or beside the benchmark itself.
pub fn target_dir() -> Result<PathBuf> {
    if let Ok(dir) = std::env::var("SKERRY_BIN_DIR") {
        return Ok(dir.into());
    }
    let exe = std::env::current_exe().context("the path of this program")?;
    let dir = exe.parent().context("this program is in a folder")?;
    Ok(if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir }.to_owned())
}

/// Builds what tests run, the daemons and images, the latter by their scripts in `tests/host`.
pub fn build(images: &[&str]) -> Result<()> {
    // Whoever says where the binaries are has built them.
    if std::env::var_os("SKERRY_BIN_DIR").is_none() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        // With the tests, as they were built before: other targets can mean other features, and everything once more.
        build.current_dir(repository_root()).args(["build", "--quiet", "--workspace", "--bins", "--tests"]);
        if !build.status().context("cargo")?.success() {
            bail!("cargo build failed: see above");
        }
    }
    for image in images {
        let script = repository_root().join("tests/host").join(image);
        if !Command::new(&script).stdout(Stdio::null()).status()?.success() {
            bail!("{} failed: run `make prepare` first", script.display());
        }
    }
    Ok(())
}

/// The path of a binary of this build.
pub fn program(binary: &str) -> Result<PathBuf> {
    let path = target_dir()?.join(binary);
    if !path.exists() {
        bail!("{} is missing: run `make build` first", path.display());
    }
    Ok(path)
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Daemon {
    /// Starts `binary` of this build with its output going to `DIR/NAME.log`.
    pub fn start(binary: &str, dir: &Path, name: &str, args: &[String]) -> Result<Self> {
        Self::start_in(binary, dir, name, args, &BTreeMap::new())
    }

    /// The same with further variables in its environment.
    pub fn start_in(
        binary: &str,
        dir: &Path,
        name: &str,
        args: &[String],
        environment: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let mut command = Command::new(program(binary)?);
        command.args(args).env("SKERRY_LOG_LEVEL", "debug").envs(environment);
        Self::spawn(command, dir, name)
    }

    /// Starts a command with its output going to `DIR/NAME.log`.
    pub fn spawn(command: Command, dir: &Path, name: &str) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        Self::spawn_into(command, name, &log, out.into())
    }

    /// Starts a command whose output goes elsewhere, from where somebody writes it to `log`.
    pub fn spawn_into(mut command: Command, name: &str, log: &Path, out: OwnedFd) -> Result<Self> {
        let child = command
            .env("RUST_LOG", "debug,h2=info,hyper=info,tower=info,kube=info")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it printed.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL, and wait.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP: it is there and does nothing.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and wait for its exit code.
    pub fn terminate(&mut self) -> Result<Option<i32>> {
        self.signal(Signal::TERM)?;
        self.wait(Duration::from_secs(15))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("{} is not running", self.name))
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<i32>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            if start.elapsed() > limit {
                bail!("{} does not end; its last words:\n{}", self.name, self.tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails when it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}; its last words:\n{}", self.name, self.tail()),
        }
    }

    fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.kill();
    }
}
