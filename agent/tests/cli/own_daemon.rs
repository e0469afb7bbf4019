//! The whole agent on a Docker of its own, which may be absent, hang and be restarted: nothing of it is felt by the machine's other containers.

use rustix::process::{Pid, Signal, kill_process};

use super::own_bridge::OwnBridge;
use super::*;

/// How long a Docker may take to come up on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A box with its own Docker Engine, without live-restore: its containers end with it.
struct OwnBox {
    dir: tempfile::TempDir,
    bridge: OwnBridge,
    daemon: Option<Child>,
    agent: Option<Child>,
}

fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(seen) => assert!(began.elapsed() < PATIENCE, "{what}: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl OwnBox {
    fn new(apps: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("manifests")).expect("created");
        for app in apps {
            let file = dir.path().join("manifests").join(format!("{app}.yaml"));
            std::fs::write(file, manifest(app)).expect("written");
        }
        std::fs::write(dir.path().join("agent.toml"), "[policy]\nhost-network = true\n").expect("written");
        Self { dir, bridge: OwnBridge::new(), daemon: None, agent: None }
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.dir.path().join("docker.sock").display())
    }

    fn start_daemon(&mut self) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let log = std::fs::File::options().append(true).create(true).open(at("dockerd.log")).expect("a log");
        let mut command = Command::new("dockerd");
        command
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("docker.pid")])
            .args(["--host", &self.socket(), "--bridge", &self.bridge.name])
            .args(["--iptables=false", "--ip6tables=false"])
            .stdout(Stdio::null())
            .stderr(log);
        self.daemon = Some(command.spawn().expect("dockerd is installed: tests/host/prepare.sh --docker"));
        until("docker answers", || self.docker(&["version"]).map(drop));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/host/test-image.sh");
        let made = Command::new(script).env("DOCKER_HOST", self.socket()).output().expect("it runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn signal(&self, signal: Signal) {
        let pid = self.daemon.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        kill_process(pid.expect("it runs"), signal).expect("signalled");
    }

    fn end_daemon(&mut self) {
        self.signal(Signal::TERM);
        let mut daemon = self.daemon.take().expect("it runs");
        until("dockerd ends", || match daemon.try_wait() {
            Ok(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    fn docker(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("timeout")
            .args(["20", "docker"])
            .env("DOCKER_HOST", self.socket())
            .args(args)
            .output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn start_agent(&mut self) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let log = std::fs::File::create(at("agent.log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_skerry-agent"))
            .args([
                "run",
                "--node-name",
                "node",
                "--state-dir",
                &at("state"),
                "--docker-socket",
                &self.socket(),
            ])
            .args(["--config", &at("agent.toml"), "--controller", "http://127.0.0.1:1"])
            .args(["--manifest-dir", &at("manifests")])
            .args(["--admin-socket", &at("agent.sock")])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.agent = Some(child.expect("it starts"));
    }

    /// What the agent says on its door, which must answer soon whatever Docker does.
    fn status(&self) -> String {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let output = Command::new("timeout")
            .args(["10", env!("CARGO_BIN_EXE_skerry-agent"), "status", "--node-name", "node"])
            .args(["--state-dir", &at("state"), "--admin-socket", &at("agent.sock")])
            .output()
            .expect("it runs");
        assert_ne!(output.status.code(), Some(124), "the door does not answer");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn says(&self, words: &str) {
        until(words, || {
            let status = self.status();
            if status.contains(words) { Ok(()) } else { Err(status) }
        });
    }

    /// The id of the one container that runs for each of these apps; there is no other.
    fn runs(&self, apps: &[&str]) -> Vec<String> {
        until(&format!("{apps:?} run, each once"), || {
            let format = "{{.ID}} {{.Label \"skerry.dev/app\"}}";
            let listed = self.docker(&["ps", "--no-trunc", "--format", format])?;
            let mut found: Vec<(&str, &str)> =
                listed.lines().filter_map(|line| line.split_once(' ')).map(|(id, app)| (app, id)).collect();
            found.sort_unstable();
            match found.iter().map(|(app, _)| *app).eq(apps.iter().copied()) {
                true => Ok(found.into_iter().map(|(_, id)| id.to_owned()).collect()),
                false => Err(listed),
            }
        })
    }
}

impl Drop for OwnBox {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
        if self.daemon.is_some() {
            self.signal(Signal::CONT);
            if let Ok(ids) = self.docker(&["ps", "--quiet"]) {
                for id in ids.lines() {
                    let _ = self.docker(&["kill", id]);
                }
            }
            self.end_daemon();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default();
            eprintln!("the agent's log:\n{log}");
        }
    }
}

/// Absent at boot, there, hung for a while, restarted: the agent is there all the time, and each app runs once whenever Docker does.
#[test]
fn an_agent_outlives_whatever_becomes_of_its_docker() {
    let mut own = OwnBox::new(&["a", "b"]);
    own.start_agent();
    own.says("docker is not ready");
    own.start_daemon();
    let before = own.runs(&["a", "b"]);
    own.says("Running");

    own.signal(Signal::STOP);
    // A new app makes the agent ask; without one, an agent at rest has no question.
    let file = own.dir.path().join("manifests/c.yaml");
    std::fs::write(file, manifest("c")).expect("written");
    own.says("docker is not ready: no answer within 30 s");
    own.says("Unknown");
    own.signal(Signal::CONT);
    let after = own.runs(&["a", "b", "c"]);
    assert_eq!(after[..2], before, "nobody noticed");
    own.says("docker 2");

    own.end_daemon();
    own.says("docker is not ready");
    own.start_daemon();
    let again = own.runs(&["a", "b", "c"]);
    assert!(again.iter().all(|id| !after.contains(id)), "they ended with their Docker: {again:?}");
}

fn manifest(name: &str) -> String {
    format!(
        "
apiVersion: skerry.dev/v1alpha1
kind: EdgeApp
metadata: {{name: {name}, namespace: test}}
spec:
  placement: {{nodeSelector: {{}}}}
  template:
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: main, image: 'skerry.local/busybox:1', command: [sleep, '9999']}}
"
    )
}
