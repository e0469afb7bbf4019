//! The two servers: `skerry-controller standalone` as users start it, and kube-apiserver with etcd.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::Request;
use kube::Client;
use skerry_tests::{ControlPlane, Plane, eventually, free_port, target_dir};
use tokio::process::{Child, Command};

use crate::rest::pss;

pub const MIB: f64 = 1024.0 * 1024.0;
/// Between two questions whether a server that starts answers.
const STEP: Duration = Duration::from_millis(2);
/// A start that needs it has failed.
const START: Duration = Duration::from_secs(60);

/// A running API. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    plane: ControlPlane,
    /// Of a standalone one only. Killed when dropped.
    controller: Option<Child>,
}

impl Server {
    pub async fn start(plane: Plane) -> Result<Self> {
        let plane = ControlPlane::start(plane).await?;
        let controller = controller(&plane)?;
        let server = Self { plane, controller };
        eventually("the API answers", || async {
            let request = Request::get("/readyz").body(Vec::new())?;
            server.client().await?.request_text(request).await?;
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        Ok(server)
    }

    /// One with connections of its own.
    pub async fn client(&self) -> Result<Client> {
        self.plane.client().await
    }

    /// Memory of all its processes, in MiB.
    pub fn pss(&self) -> Result<f64> {
        let Some(controller) = &self.controller else {
            let dir = self.plane.kubeconfig().parent().context("the kubeconfig is in a folder")?;
            let pid = |name: &str| {
                let file = std::fs::read_to_string(dir.join(name))?;
                let pid = file.split_whitespace().next().context("an empty pid file")?;
                Ok::<u32, anyhow::Error>(pid.parse()?)
            };
            return Ok(pss(pid("kube-apiserver.pid")?)? + pss(pid("etcd.pid")?)?);
        };
        pss(controller.id().context("the controller runs")?)
    }

    /// Kills it and starts it again; milliseconds until it answers a GET of this path.
    pub async fn restart(&mut self, path: &str) -> Result<f64> {
        let client = self.client().await?;
        if let Some(controller) = &mut self.controller {
            controller.kill().await?;
            let start = Instant::now();
            self.controller = self::controller(&self.plane)?;
            return answer(&client, path, start).await;
        }
        self.plane.stop_apiserver()?;
        let start = Instant::now();
        std::thread::scope(|scope| {
            let script = scope.spawn(|| self.plane.start_apiserver());
            let answered = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(answer(&client, path, start))
            });
            script.join().map_err(|_| anyhow::anyhow!("the script's thread panicked"))??;
            answered
        })
    }
}

async fn answer(client: &Client, path: &str, start: Instant) -> Result<f64> {
    loop {
        match client.request_text(Request::get(path).body(Vec::new())?).await {
            Ok(_) => return Ok(start.elapsed().as_secs_f64() * 1000.0),
            Err(error) if start.elapsed() > START => bail!("no answer within {} s: {error}", START.as_secs()),
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}

/// With the log level of a user, and its log beside its data; none for a plane that needs no controller.
fn controller(plane: &ControlPlane) -> Result<Option<Child>> {
    if plane.plane == Plane::Kube {
        return Ok(None);
    }
    let binary: PathBuf = target_dir()?.join("skerry-controller");
    let log = plane.data_dir().with_extension("log");
    let log =
        File::options().create(true).append(true).open(&log).with_context(|| log.display().to_string())?;
    let child = Command::new(&binary)
        .args(plane.controller_arguments())
        .arg(format!("--listen=127.0.0.1:{}", free_port()?))
        .arg(format!("--http-listen=127.0.0.1:{}", free_port()?))
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", binary.display()))?;
    Ok(Some(child))
}
