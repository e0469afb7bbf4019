//! A Docker Engine of a test's own, beside the machine's: to be restarted, killed, stopped and cut off from power without anybody else
//! noticing. It has its own bridge and touches no firewall.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Daemon, DockerHost, IMAGE, docker_run, eventually};

/// Of a process's own bridges.
static COUNTER: AtomicU8 = AtomicU8::new(0);

/// A dockerd with its containerd, and the image of the tests in it. Ended, with every container, when dropped.
#[derive(Debug)]
pub struct PrivateDocker {
    pub host: DockerHost,
    /// Images and containers: what a power cut leaves.
    data: TempDir,
    /// Sockets, pid files, log: what it does not.
    run: TempDir,
    bridge: String,
    live_restore: bool,
    daemon: Option<Daemon>,
}

impl PrivateDocker {
    /// Its containers outlive a restart of it if `live_restore` says so.
    pub async fn start(live_restore: bool) -> Result<Self> {
        let mut docker = Self::absent(live_restore)?;
        docker.up().await?;
        docker.load().await?;
        Ok(docker)
    }

    /// Not running yet, and with no image.
    pub fn absent(live_restore: bool) -> Result<Self> {
        let folder = |what| tempfile::Builder::new().prefix(what).tempdir();
        let (data, run) = (folder("skerry-docker-")?, folder("skerry-dockerd-")?);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        // A name of an interface has 15 characters.
        let bridge = format!("sk{}-{number}", std::process::id() % 1_000_000);
        let host = DockerHost::at(&run.path().join("docker.sock"));
        let this = Self { host, data, run, bridge, live_restore, daemon: None };
        ip(&["link", "add", &this.bridge, "type", "bridge"])?;
        // Of the block that is for tests of networks, and apart from those of other tests that run now.
        let network = format!("198.18.{}.1/24", (std::process::id() as u8).wrapping_add(number));
        ip(&["address", "add", &network, "dev", &this.bridge])?;
        ip(&["link", "set", &this.bridge, "up"])?;
        Ok(this)
    }

    /// Starts it and waits until it answers.
    pub async fn up(&mut self) -> Result<()> {
        self.launch()?;
        self.answers().await
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) -> Result<()> {
        let run = self.run.path();
        let mut command = Command::new("dockerd");
        command
            .arg(format!("--data-root={}", self.data.path().display()))
            .arg(format!("--exec-root={}", run.join("exec").display()))
            .arg(format!("--pidfile={}", run.join("docker.pid").display()))
            .arg(format!("--host=unix://{}", self.host.socket().display()))
            .arg(format!("--bridge={}", self.bridge))
            .args(["--iptables=false", "--ip-masq=false", "--userland-proxy=false", "--shutdown-timeout=3"])
            .arg(format!("--live-restore={}", self.live_restore));
        // It refuses to start beside a pid file whose number is taken, be it by another program.
        let _ = fs::remove_file(run.join("docker.pid"));
        self.daemon = Some(Daemon::spawn(command, run, "dockerd")?);
        Ok(())
    }

    pub async fn answers(&mut self) -> Result<()> {
        let daemon = std::sync::Mutex::new(self.daemon.as_mut().context("it was started")?);
        eventually("the private dockerd answers", || async {
            daemon.lock().map_err(|_| anyhow::anyhow!("poisoned"))?.check_alive()?;
            self.host.run(&["version", "--format", "{{.Server.Version}}"]).await
        })
        .await
        .map(drop)
    }

    /// The image of the tests, from the machine's engine.
    pub async fn load(&self) -> Result<()> {
        let archive = self.run.path().join("image.tar");
        let path = archive.to_str().context("a path that is not UTF-8")?;
        docker_run(&["save", "--output", path, IMAGE]).await?;
        self.host.run(&["load", "--quiet", "--input", path]).await?;
        Ok(fs::remove_file(archive)?)
    }

    pub fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("dockerd runs")
    }

    /// SIGTERM, as an upgrade of the package does. Without live restore it ends every container.
    pub fn stop(&mut self) -> Result<()> {
        self.daemon.take().context("dockerd runs")?.terminate().map(drop)
    }

    /// SIGKILL to dockerd. The kernel kills its containerd after it, as dockerd has arranged; containers and their shims go on.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("dockerd runs")?.kill()?;
        let file = self.run.path().join("exec/containerd/containerd.pid");
        let pid = fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        for _ in 0..200 {
            if pid.and_then(parent).is_none() {
                // The next dockerd would wait for it for ever if its number were taken, be it by a zombie.
                let _ = fs::remove_file(&file);
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// What a power cut does: every process of it is gone at once, and what was in memory.
    pub fn cut_power(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill()?;
        }
        self.end_the_rest()?;
        let exec = self.run.path().join("exec");
        match fs::remove_dir_all(&exec) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context(exec.display().to_string())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Kills the containers, their shims and containerd, and unmounts what they leave.
    fn end_the_rest(&self) -> Result<()> {
        let exec = self.run.path().join("exec");
        let mine = exec.to_str().context("a path that is not UTF-8")?;
        let is_ours = |pid: u32| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(mine))
        };
        for _ in 0..200 {
            // Containers are children of their shims, so they are found before those are gone.
            let shims: Vec<u32> = processes()?.into_iter().filter(|pid| is_ours(*pid)).collect();
            let children =
                processes()?.into_iter().filter(|pid| parent(*pid).is_some_and(|up| shims.contains(&up)));
            let all: Vec<u32> = children.chain(shims.iter().copied()).collect();
            if all.is_empty() {
                return self.unmount();
            }
            for pid in all.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
                // It may have ended in between.
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("processes of {mine} do not end")
    }

    fn unmount(&self) -> Result<()> {
        let mounted = fs::read_to_string("/proc/self/mountinfo")?;
        let below = |place: &Path| place.starts_with(self.data.path()) || place.starts_with(self.run.path());
        let places = mounted.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        let places: Vec<PathBuf> = places.filter(|place| below(place)).collect();
        for place in places.iter().rev() {
            Command::new("umount").arg("--lazy").arg(place).status()?;
        }
        Ok(())
    }
}

impl Drop for PrivateDocker {
    fn drop(&mut self) {
        // There is nobody to tell; what cannot be removed stays in the folder for temporary files.
        let _ = self.cut_power();
        let _ = ip(&["link", "delete", &self.bridge]);
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(args).status().context("start ip")?;
    ensure!(status.success(), "ip {} failed: see above", args.join(" "));
    Ok(())
}

fn processes() -> Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// The parent of a process that is alive.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // What follows the name, which may itself hold spaces: state, parent.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| state != "Z")
}
