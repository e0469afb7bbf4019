//! The API that a site works on: a real kube-apiserver with a real etcd, through `tests/kube/control-plane.sh`, or the one inside the
//! controller. Ended when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;

use crate::wait::eventually;
use crate::{Kubectl, free_port, repository_root};

/// Which API a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// kube-apiserver and etcd.
    Kube,
    /// `skerry-controller standalone`.
    Standalone,
}

impl FromStr for Plane {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "kube" => Ok(Self::Kube),
            "standalone" => Ok(Self::Standalone),
            _ => bail!("{name:?} is no control plane: kube or standalone"),
        }
    }
}

impl Plane {
    pub const ALL: [Self; 2] = [Self::Standalone, Self::Kube];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kube => "kube",
            Self::Standalone => "standalone",
        }
    }
}

/// One control plane, with Skerry's CRDs.
#[derive(Debug)]
pub struct ControlPlane {
    pub plane: Plane,
    dir: TempDir,
    kubeconfig: PathBuf,
    assets: PathBuf,
    /// Where the standalone API listens.
    port: u16,
}

impl ControlPlane {
    /// Starts a real one, building it on first use, which takes minutes; of a standalone one only the place is made: its controller
    /// is what serves it.
    pub async fn start(plane: Plane) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skerry-plane-").tempdir()?;
        let assets = script("assets.sh", &[])?.into();
        if plane == Plane::Standalone {
            let kubeconfig = dir.path().join("data/admin.kubeconfig");
            return Ok(Self { plane, dir, kubeconfig, assets, port: free_port()? });
        }
        let kubeconfig = script("control-plane.sh", &["up", path(dir.path())?])?.into();
        let plane = Self { plane, dir, kubeconfig, assets, port: 0 };
        let crds = repository_root().join("deploy/crds");
        plane.kubectl().run(&["apply", "--server-side", "-f", path(&crds)?]).await?;
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        // kubectl gives up on a CRD that has no conditions yet.
        eventually("the CRDs are established", || async { plane.kubectl().run(&established).await }).await?;
        Ok(plane)
    }

    /// A standalone one on the same port with a data directory that is not there yet.
    pub fn elsewhere(&self) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skerry-plane-").tempdir()?;
        let kubeconfig = dir.path().join("data/admin.kubeconfig");
        Ok(Self { plane: Plane::Standalone, dir, kubeconfig, assets: self.assets.clone(), port: self.port })
    }

    /// How the controller of this control plane is started.
    pub fn controller_arguments(&self) -> Vec<String> {
        match self.plane {
            Plane::Kube => vec!["run".to_owned(), format!("--kubeconfig={}", self.kubeconfig.display())],
            Plane::Standalone => vec![
                "standalone".to_owned(),
                format!("--data-dir={}", self.data_dir().display()),
                format!("--api-listen=127.0.0.1:{}", self.port),
            ],
        }
    }

    /// Where a standalone one keeps everything.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn kubectl(&self) -> Kubectl {
        self.kubectl_as(&self.kubeconfig)
    }

    /// With another kubeconfig than the admin's.
    pub fn kubectl_as(&self, kubeconfig: &Path) -> Kubectl {
        Kubectl::new(self.assets.join("kubectl"), kubeconfig.to_owned())
    }

    /// The folder of kubectl, for scripts.
    pub fn assets(&self) -> &Path {
        &self.assets
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub async fn client(&self) -> Result<kube::Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Ends the API server alone, hard; the data stays. Of a real one only.
    pub fn stop_apiserver(&self) -> Result<()> {
        script("control-plane.sh", &["stop-apiserver", path(self.dir.path())?]).map(drop)
    }

    pub fn start_apiserver(&self) -> Result<()> {
        script("control-plane.sh", &["start-apiserver", path(self.dir.path())?]).map(drop)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let (Plane::Kube, Ok(dir)) = (self.plane, path(self.dir.path())) {
            // Nobody is left to tell.
            let _ = script("control-plane.sh", &["down", dir]);
        }
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// Runs a script of tests/kube with its progress on our stderr, and returns its answer.
fn script(name: &str, args: &[&str]) -> Result<String> {
    let script = repository_root().join("tests/kube").join(name);
    let output = Command::new(&script)
        .args(args)
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", script.display()))?;
    if !output.status.success() {
        bail!("{} {} failed: see above", script.display(), args.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
