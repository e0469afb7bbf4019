//! A box with a real systemd: a container whose PID 1 it is, on which `deploy/install.sh` has installed the agent. The agent works with the
//! machine's own Docker, through its socket, and has no controller.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use skerry_tests::{Containers, IMAGE, docker_run, eventually, repository_root, target_dir, unique};
use tempfile::TempDir;
use tokio::process::Command;

pub const AGENT: &str = "/usr/local/bin/skerry-agent";
/// Where things from this machine are put.
pub const SHARED: &str = "/srv/skerry";

/// A machine of a test. Removed when dropped, with its containers.
#[derive(Debug)]
pub struct Place {
    pub node: String,
    container: String,
    shared: TempDir,
}

/// What a command in it said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
}

impl Place {
    /// Booted, with the agent installed and its app well.
    pub async fn start() -> Result<Self> {
        let place = Self::boot().await?;
        let said = place
            .run(
                "SKERRY_CONTROLLER=http://127.0.0.1:1 /srv/skerry/deploy/install.sh /srv/skerry/skerry-agent",
            )
            .await?;
        ensure!(said.code == Some(0), "{said:?}");
        place.well().await?;
        Ok(place)
    }

    /// Booted, with everything at hand and nothing installed.
    pub async fn boot() -> Result<Self> {
        let image = Command::new(repository_root().join("tests/host/systemd-image.sh")).output().await?;
        ensure!(image.status.success(), "{}", String::from_utf8_lossy(&image.stderr));
        let image = String::from_utf8(image.stdout)?;
        let shared = tempfile::Builder::new().prefix("skerry-systemd-").tempdir()?;
        let node = unique("unit");
        let volume = format!("{}:{SHARED}", shared.path().display());
        // Docker mounts parts of the agent's state, and knows them by the path that they have here.
        let state = format!("{0}:{0}", shared.path().display());
        let container = docker_run(&[
            "run",
            "-d",
            "--hostname",
            &node,
            "--network",
            "none",
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "apparmor=unconfined",
            "--tmpfs",
            "/run",
            "--tmpfs",
            "/run/lock",
            "--cgroupns",
            "host",
            "-v",
            "/sys/fs/cgroup:/sys/fs/cgroup",
            "-v",
            "/var/run/docker.sock:/srv/docker.sock",
            "-v",
            &volume,
            "-v",
            &state,
            "-e",
            "container=docker",
            image.trim(),
            "/sbin/init",
        ])
        .await?;
        let place = Self { node, container, shared };
        place.fill().await?;
        eventually("systemd has booted", || async {
            let said = place.run("systemctl is-system-running").await?;
            match said.text.trim() {
                "running" | "degraded" => Ok(()),
                other => bail!("{other}"),
            }
        })
        .await?;
        place.good("mkdir -p /etc/skerry/manifests").await?;
        let app = format!(
            "apiVersion: skerry.dev/v1alpha1\nkind: EdgeApp\nmetadata: {{name: pair}}\nspec:\n  placement: {{nodeSelector: {{}}}}\n  \
             template: {{spec: {{hostNetwork: true, terminationGracePeriodSeconds: 0, containers: [\
             {{name: aa, image: \"{IMAGE}\", command: [sleep, \"9999\"]}}, {{name: bb, image: \"{IMAGE}\", command: [sleep, \"9999\"]}}]}}}}\n"
        );
        place.write("pair.yaml", app.as_bytes())?;
        let toml = format!(
            "node-name = {:?}\nstate-dir = {:?}\ncontroller = \"http://127.0.0.1:1\"\ndocker-socket = \"unix:///srv/docker.sock\"\n[policy]\nhost-network = true\n",
            place.node,
            place.state()
        );
        place.write("agent.toml", toml.as_bytes())?;
        place
            .good("cp /srv/skerry/pair.yaml /etc/skerry/manifests/ && cp /srv/skerry/agent.toml /etc/skerry/")
            .await?;
        Ok(place)
    }

    /// The agent, a second one that differs from it, and the deploy folder.
    async fn fill(&self) -> Result<()> {
        let agent = self.shared.path().join("skerry-agent");
        // Without what a debugger wants it is a tenth of the size.
        let strip = Command::new("strip")
            .arg("-o")
            .arg(&agent)
            .arg(target_dir()?.join("skerry-agent"))
            .status()
            .await?;
        ensure!(strip.success(), "strip: run `make build` first");
        let mut other = std::fs::read(&agent)?;
        other.extend(b"\nanother build");
        self.program("other", &other)?;
        let from = repository_root().join("deploy");
        let copy = Command::new("cp").arg("-r").arg(from).arg(self.shared.path()).status().await?;
        ensure!(copy.success(), "cp -r deploy");
        Ok(())
    }

    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        std::fs::write(self.shared.path().join(name), content).context("write a shared file")
    }

    /// An executable in the shared folder. Its path on the box.
    pub fn program(&self, name: &str, content: &[u8]) -> Result<String> {
        use std::os::unix::fs::PermissionsExt as _;
        self.write(name, content)?;
        let path = self.shared.path().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        Ok(format!("{SHARED}/{name}"))
    }

    /// An agent that is broken in a way that `broken-agent.rs` knows.
    pub fn broken(&self, way: &str) -> Result<String> {
        let mut program = std::fs::read(target_dir()?.join("skerry-broken-agent"))?;
        program.extend(format!("\nskerry-broken-agent={way}").as_bytes());
        self.program(way, &program)
    }

    pub fn shared(&self) -> &Path {
        self.shared.path()
    }

    /// The agent's state folder.
    pub fn state(&self) -> PathBuf {
        self.shared.path().join("state")
    }

    /// Runs a shell command on the box; standard output and error together.
    pub async fn run(&self, command: &str) -> Result<Said> {
        let script = format!("exec 2>&1; {command}");
        let output =
            Command::new("docker").args(["exec", &self.container, "bash", "-c", &script]).output().await?;
        let text =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        Ok(Said { code: output.status.code(), text })
    }

    /// Runs a command that must succeed, and returns what it said.
    pub async fn good(&self, command: &str) -> Result<String> {
        let said = self.run(command).await?;
        ensure!(said.code == Some(0), "{command}: {said:?}\n{}", self.journal().await);
        Ok(said.text.trim().to_owned())
    }

    /// What the agent logged last, for a test that fails.
    pub async fn journal(&self) -> String {
        let said = self
            .run("journalctl -u skerry-agent --no-pager -n 60; systemctl status skerry-agent --no-pager -n 0")
            .await;
        said.map(|said| said.text).unwrap_or_default()
    }

    /// A property of the unit.
    pub async fn property(&self, name: &str) -> Result<String> {
        self.good(&format!("systemctl show -P {name} skerry-agent")).await
    }

    pub async fn main_pid(&self) -> Result<String> {
        let pid = self.property("MainPID").await?;
        ensure!(pid != "0", "the agent does not run");
        Ok(pid)
    }

    /// The processes that a process has started.
    pub async fn children(&self, pid: &str) -> Result<Vec<String>> {
        let text = self.good(&format!("cat /proc/{pid}/task/{pid}/children")).await?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    /// Waits until the unit is active and the agent calls its app well.
    pub async fn well(&self) -> Result<()> {
        let waited = eventually("the unit is active and its app is well", || async {
            let state = self.property("ActiveState").await?;
            let text = self.property("StatusText").await?;
            ensure!(state == "active" && text.starts_with("1 of 1 apps well"), "{state}: {text}");
            let status = self.run("skerry-agent status").await?;
            ensure!(status.code == Some(0), "{status:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await;
        match waited {
            Ok(()) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", self.journal().await),
        }
    }

    /// Id and start time of everything that runs.
    pub async fn identities(&self) -> Result<Vec<(String, String)>> {
        Containers::of_node(&self.node).await?.identities().await
    }

    /// Id and start time of the pair.
    pub async fn pair(&self) -> Result<Vec<(String, String)>> {
        let pair = self.identities().await?;
        ensure!(pair.len() == 2, "{pair:?}");
        Ok(pair)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let filter = format!("label={}={}", skerry_terms::labels::NODE, self.node);
        let remove = |arguments: &[&str]| {
            let output = std::process::Command::new("docker").args(arguments).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        // The agent first: it would start its containers again.
        remove(&["rm", "-fv", &self.container]);
        for id in remove(&["ps", "-aq", "--filter", &filter]).lines() {
            remove(&["rm", "-fv", id]);
        }
    }
}
