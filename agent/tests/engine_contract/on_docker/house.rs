//! Housekeeping on a Docker Engine of its own, whose disk is small and which nobody minds being pruned.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use skerry_agent::engine::{Docker, Engine as _, Folders, Storeroom as _};
use skerry_agent::housekeeper::{self, Housekeeper, Kernel, Rules};
use skerry_agent::store::{Pulled, Store};
use skerry_agent::supervisor::Upkeep;
use skerry_agent_core::ImageId;
use skerry_agent_core::housekeeping::{Held, Limits, Needed};
use skerry_terms::NodeName;
use tokio::sync::{mpsc, watch};

use super::super::own_bridge::OwnBridge;
use super::until;

const DISK_MIB: u32 = 200;

/// A dockerd with a disk of its own in memory. Ended when dropped.
struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
    _bridge: OwnBridge,
}

impl Daemon {
    async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("skerry-house-").tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("data")).expect("made");
        let size = format!("size={DISK_MIB}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path("data")).status();
        assert!(mounted.expect("mount runs").success(), "this test needs root");
        let flag = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let bridge = OwnBridge::new();
        let child = Command::new("dockerd")
            .arg(flag("data-root", &path("data")))
            .arg(flag("exec-root", &path("exec")))
            .arg(flag("pidfile", &path("pid")))
            .arg(format!("--host=unix://{}", path("sock").display()))
            .args(["--bridge", &bridge.name, "--iptables=false", "--ip6tables=false"])
            .stdout(Stdio::null())
            .stderr(fs::File::create(path("log")).expect("made"))
            .process_group(0)
            .spawn()
            .expect("dockerd runs: tests/host/prepare.sh --docker");
        let daemon = Self { child, dir, _bridge: bridge };
        let began = Instant::now();
        while !daemon.command(&["version"]).output().expect("docker runs").status.success() {
            let log = || fs::read_to_string(daemon.dir.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "dockerd does not answer: {}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn engine(&self) -> Docker {
        Docker::new(&self.socket(), Folders::new(&self.dir.path().join("state")))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(args);
        command
    }

    fn cli(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("docker runs");
        assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Makes an image of so much that cannot be compressed.
    fn image(&self, name: &str, mib: usize) -> ImageId {
        let folder = tempfile::tempdir().expect("a folder");
        let mut random = fs::File::open("/dev/urandom").expect("opened");
        let mut bytes = vec![0; mib << 20];
        std::io::Read::read_exact(&mut random, &mut bytes).expect("read");
        fs::File::create(folder.path().join("x"))
            .and_then(|mut file| file.write_all(&bytes))
            .expect("written");
        let tar = folder.path().join("t");
        let made = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(folder.path()).arg("x").status();
        assert!(made.expect("tar runs").success());
        ImageId(self.cli(&["import", tar.to_str().expect("text"), name]))
    }

    /// Brings the test image over, under this name.
    fn test_image(&self, image: &str, name: &str) {
        let tar = self.dir.path().join("image.tar");
        super::cli(&["save", "-o", tar.to_str().expect("text"), image]);
        self.cli(&["load", "-i", tar.to_str().expect("text")]);
        self.cli(&["tag", image, name]);
    }

    fn has(&self, image: &ImageId) -> bool {
        self.command(&["image", "inspect", &image.0]).output().expect("docker runs").status.success()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
        let _ = Command::new("umount").arg("-l").arg(self.dir.path().join("data")).status();
    }
}

fn node() -> NodeName {
    "house".parse().expect("a name")
}

#[tokio::test]
async fn a_pin_survives_what_an_operator_prunes() {
    let daemon = Daemon::start().await;
    let engine = daemon.engine();
    let (kept, lost) = (daemon.image("kept:1", 1), daemon.image("lost:1", 1));
    engine.pin(&node(), &kept).await.expect("pinned");
    engine.pin(&node(), &kept).await.expect("what is pinned counts as pinned");
    let desired = crate::scenario::desired(&node(), &[]);
    let world = crate::scenario::known(engine.observe(Arc::new(desired)).await);
    assert!(world.containers.is_empty(), "a pin is nobody's container");
    assert_eq!(world.pins.values().collect::<Vec<_>>(), [&kept]);

    daemon.cli(&["image", "prune", "-af"]);
    assert!(daemon.has(&kept) && !daemon.has(&lost));
    // This one takes the pin's container along, and leaves what has a tag.
    daemon.cli(&["system", "prune", "-f"]);
    assert!(daemon.has(&kept) && daemon.cli(&["ps", "-aq"]).is_empty());
    engine.pin(&node(), &kept).await.expect("pinned again");
    let id = skerry_agent_core::ContainerId(daemon.cli(&["ps", "-aq", "--no-trunc"]));
    engine.unpin(&node(), &id, &kept).await.expect("let go");
    engine.unpin(&node(), &id, &kept).await.expect("what is gone counts as let go");
    assert!(!daemon.has(&kept), "with its last tag it goes");
    assert!(daemon.cli(&["ps", "-aq"]).is_empty());
}

#[tokio::test]
async fn a_disk_that_fills_is_emptied_of_what_was_pulled_and_is_not_needed() {
    let daemon = Daemon::start().await;
    let engine = Arc::new(daemon.engine());
    let [old, needed, used, foreign] =
        ["old:1", "needed:1", "used:1", "foreign:1"].map(|name| daemon.image(name, 30));
    daemon.cli(&["create", "--network", "none", "used:1", "/x"]);
    let store = Arc::new(Store::open(&daemon.dir.path().join("store")).expect("opened"));
    let pulled = [(&old, "old:1"), (&needed, "needed:1"), (&used, "used:1")];
    let pulled: Pulled = pulled.map(|(image, name)| (image.clone(), name.to_owned())).into();
    store.save_pulled(&pulled).expect("saved");
    let upkeep = watch::Sender::new(None);
    let (problems, _told) = mpsc::channel(8);
    let limits = Limits { high_percent: 50, low_percent: 10, min_age: Duration::ZERO };
    let keeper = tokio::spawn(housekeeper::run(Housekeeper {
        engine: engine.clone(),
        gauges: Kernel,
        store: store.clone(),
        node: node(),
        state_dir: daemon.dir.path().to_owned(),
        rules: Rules { image_gc: Some(limits) },
        upkeep: upkeep.subscribe(),
        problems,
    }));
    assert_eq!(engine.root().await.expect("asked"), daemon.dir.path().join("data"));
    let needs = Needed::from([(needed.clone(), Held::ByContainers)]);
    upkeep.send_replace(Some(Upkeep { complete: true, needed: needs, ..Upkeep::default() }));
    until("the old one is gone", async || !daemon.has(&old)).await;
    until("it is forgotten", async || !store.load_pulled().contains_key(&old)).await;
    assert!(daemon.has(&needed) && daemon.has(&used) && daemon.has(&foreign), "more is never removed");
    keeper.abort();
}

const REVISION: &str = "
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {name: web}
spec:
  strategy: {progressDeadlineSeconds: 5}
  template:
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: 'NAME', imagePullPolicy: IfNotPresent, command: COMMAND}]
";

/// A real agent with no controller and no registry: whatever the operator prunes while something new is tried, it goes back.
#[tokio::test]
async fn after_an_operators_pruning_the_box_still_goes_back_with_no_registry() {
    let daemon = Daemon::start().await;
    let bed = super::Bed::new("prune");
    daemon.test_image(&bed.image, "app:1");
    let good = daemon.cli(&["image", "inspect", "--format", "{{.Id}}", "app:1"]);
    daemon.cli(&["rmi", &bed.image]);
    let bad = daemon.cli(&["create", "--network", "none", "app:1"]);
    daemon.cli(&["commit", "-c", "ENV BAD=1", &bad, "app:2"]);
    daemon.cli(&["rm", &bad]);
    let manifests = daemon.dir.path().join("manifests");
    fs::create_dir(&manifests).expect("made");
    let write = |image: &str, command: &str| {
        let text = REVISION.replace("NAME", image).replace("COMMAND", command);
        fs::write(manifests.join("web.yaml"), text).expect("written");
    };
    write("app:1", "[sleep, '9999']");
    let log = fs::File::create(daemon.dir.path().join("agent.log")).expect("made");
    let mut agent = tokio::process::Command::new(env!("CARGO_BIN_EXE_skerry-agent"))
        .args(["run", "--node-name", "house", "--controller", "http://127.0.0.1:1"])
        .arg("--state-dir")
        .arg(daemon.dir.path().join("state"))
        .arg("--manifest-dir")
        .arg(&manifests)
        .arg("--admin-socket")
        .arg(daemon.dir.path().join("agent.sock"))
        .arg("--docker-socket")
        .arg(daemon.socket())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let runs = || daemon.cli(&["ps", "-q", "--no-trunc", "--filter", "label=skerry.dev/app=web"]);
    let image_of = |id: &str| daemon.cli(&["inspect", "--format", "{{.Image}}", id]);
    until("revision 1 runs", async || !runs().is_empty()).await;
    let first = runs();
    // It must have been ready for 10 s to be what is gone back to.
    tokio::time::sleep(Duration::from_secs(12)).await;
    write("app:2", "[sh, -c, 'sleep 1; exit 3']");
    until("revision 1 is gone but for a pin", async || {
        let all = daemon.cli(&["ps", "-aq", "--no-trunc"]);
        !all.contains(&first) && !daemon.cli(&["ps", "-aq", "--filter", "label=skerry.dev/pin"]).is_empty()
    })
    .await;
    daemon.cli(&["image", "prune", "-af"]);
    until("the old image runs again", async || {
        let running = runs();
        running.lines().count() == 1 && image_of(&running) == good && running != first
    })
    .await;
    // Also when the operator prunes everything that does not run.
    daemon.cli(&["system", "prune", "-af"]);
    let back = runs();
    daemon.cli(&["rm", "-f", &back]);
    until("and again", async || runs().lines().count() == 1 && image_of(&runs()) == good).await;
    agent.kill().await.expect("killed");
    daemon.cli(&["rm", "-f", &runs()]);
}
