//! The same on the real Docker Engine, and what only it can show.

mod changes;
mod exec;
mod house;
mod inside;
mod pull;
mod volumes;

use std::net::TcpListener;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skerry_agent::engine::{Docker, Engine as _, Folders};
use skerry_agent_core::{ContainerId, CreateSpec, Join, ObservedContainer};
use skerry_terms::NodeName;

use crate::contract::{Bench, keeps_the_contract};
use crate::scenario::{app, create_specs, desired, known};

/// Owns a node's containers on the machine's Docker, and removes them at the end of the test.
struct Bed {
    node: NodeName,
    image: String,
    state: tempfile::TempDir,
}

impl Bed {
    fn new(test: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/host/test-image.sh");
        let made = Command::new(&script).output().expect("tests/host/test-image.sh runs");
        assert!(
            made.status.success(),
            "these tests need a running Docker Engine; run tests/host/prepare.sh --docker. {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let image = String::from_utf8(made.stdout).expect("text").trim().to_owned();
        let node = format!("{test}-{}", std::process::id()).parse().expect("a name");
        Self { node, image, state: tempfile::tempdir().expect("a folder") }
    }

    fn docker(&self) -> Docker {
        let socket =
            std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        let socket = PathBuf::from(socket.trim_start_matches("unix://"));
        Docker::new(&socket, self.folders())
    }

    fn folders(&self) -> Folders {
        Folders::new(self.state.path())
    }

    /// What the planner says to create for an app of so many containers, which wait to be told to end.
    fn specs(&self, name: &str, containers: usize) -> Vec<CreateSpec> {
        create_specs(&desired(&self.node, &[app(name, &vec![self.image.as_str(); containers], "1")]))
    }

    fn spec(&self, name: &str) -> CreateSpec {
        self.specs(name, 1).remove(0)
    }

    async fn look(&self, docker: &Docker) -> skerry_agent_core::World {
        known(docker.observe(Arc::new(desired(&self.node, &[]))).await)
    }

    async fn find(&self, docker: &Docker, name: &str) -> (ContainerId, ObservedContainer) {
        let world = self.look(docker).await;
        let mut found = world.containers.into_iter().filter(|(_, container)| container.name == name);
        found.next().expect("it is there")
    }

    /// Creates it and starts it.
    async fn runs(&self, docker: &Docker, spec: &CreateSpec) {
        docker.create(spec).await.expect("created");
        docker.start(&spec.name).await.expect("started");
    }

    /// Runs a script in place of the spec's own command to its end: its exit code and what it left behind.
    async fn ends(&self, docker: &Docker, spec: &CreateSpec) -> (i64, String) {
        self.runs(docker, spec).await;
        let code = cli(&["wait", &spec.name]).parse().expect("a number");
        (code, cli(&["logs", &spec.name]))
    }
}

/// The same container with a script of its own.
fn script(spec: &CreateSpec, text: &str) -> CreateSpec {
    let command = ["sh", "-c", text].map(str::to_owned).to_vec();
    CreateSpec { command, args: Vec::new(), ..spec.clone() }
}

/// Waits until something is so, within a bound.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let filter = format!("label=skerry.dev/node={}", self.node);
        let list = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output();
        let ids = list.map(|list| String::from_utf8_lossy(&list.stdout).into_owned()).unwrap_or_default();
        for id in ids.split_whitespace() {
            let _ = Command::new("docker").args(["rm", "-f", "-v", id]).output();
        }
        let list = Command::new("docker").args(["volume", "ls", "-q", "--filter", &filter]).output();
        let names = list.map(|list| String::from_utf8_lossy(&list.stdout).into_owned()).unwrap_or_default();
        for name in names.split_whitespace() {
            let _ = Command::new("docker").args(["volume", "rm", name]).output();
        }
    }
}

fn cli(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker runs");
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn docker_keeps_the_contract() {
    let bed = Bed::new("contract");
    let port =
        TcpListener::bind("0.0.0.0:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    keeps_the_contract(Bench {
        engine: Arc::new(bed.docker()),
        node: bed.node.clone(),
        image: bed.image.clone(),
        missing_image: "localhost:1/missing:1".to_owned(),
        port: NonZeroU16::new(port).expect("a port"),
    })
    .await;
}

/// What the spec says is what `docker inspect` shows.
#[tokio::test]
async fn docker_is_told_everything() {
    let bed = Bed::new("told");
    let mut app = app("told", &[&bed.image], "1");
    let container = &mut app.template().containers[0];
    container.cpu_limit_millis = 500;
    container.memory_limit_bytes = 64 << 20;
    container.env.push(skerry_proto::wire::EnvVar {
        name: "MODE".to_owned(),
        value: "a=b".to_owned(),
        value_from: None,
    });
    let spec = create_specs(&desired(&bed.node, &[app])).remove(0);
    bed.docker().create(&spec).await.expect("created");
    let inspect = |format: &str| cli(&["inspect", "--format", format, &spec.name]);
    assert_eq!(inspect("{{.HostConfig.NanoCpus}}"), "500000000");
    assert_eq!(inspect("{{.HostConfig.Memory}}"), "67108864");
    assert_eq!(inspect("{{.HostConfig.RestartPolicy.Name}}"), "no");
    assert_eq!(inspect("{{.HostConfig.NetworkMode}}"), "bridge");
    assert_eq!(inspect("{{.Config.StopTimeout}}"), "3");
    assert_eq!(inspect("{{index .HostConfig.LogConfig.Config \"max-size\"}}"), "10m");
    assert_eq!(inspect("{{index .Config.Labels \"skerry.dev/app\"}}"), "told");
    assert!(inspect("{{.Config.Env}}").contains("MODE=a=b"));
    assert!(matches!(spec.join, Join::Bridge { .. }));
    assert_eq!(inspect("{{.Config.Hostname}}"), "told");
}

/// Without a registry: the image of the sandbox is made on the box, and its program needs no grace period to end.
#[tokio::test]
async fn a_sandbox_needs_no_registry_and_stops_at_once() {
    let bed = Bed::new("sandbox");
    let wanted = desired(&bed.node, &[app("pair", &[&bed.image, &bed.image], "1")]);
    let spec = create_specs(&wanted).remove(0);
    let docker = bed.docker();
    docker.create(&spec).await.expect("created");
    docker.start(&spec.name).await.expect("started");
    assert_eq!(cli(&["inspect", "--format", "{{.State.Status}}", &spec.name]), "running");
    assert_eq!(
        cli(&["inspect", "--format", "{{index .Config.Labels \"skerry.dev/pause\"}}", &spec.name]),
        "1"
    );
    let id = skerry_agent_core::ContainerId(cli(&["inspect", "--format", "{{.Id}}", &spec.name]));
    let began = std::time::Instant::now();
    docker.stop(&id, None).await.expect("stopped");
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}
