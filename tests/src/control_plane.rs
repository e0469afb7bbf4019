//! A real kube-apiserver with a real etcd, through `tests/kube/control-plane.sh`. Ended when dropped.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tempfile::TempDir;

use crate::{Kubectl, repository_root};

/// One control plane, with Skerry's CRDs.
#[derive(Debug)]
pub struct ControlPlane {
    dir: TempDir,
    kubeconfig: PathBuf,
    assets: PathBuf,
}

impl ControlPlane {
    /// Starts one. The binaries are built on first use, which takes minutes.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skerry-kube-").tempdir()?;
        let kubeconfig = script("control-plane.sh", &["up", path(dir.path())?])?;
        let assets = script("assets.sh", &[])?;
        let plane = Self { dir, kubeconfig: kubeconfig.into(), assets: assets.into() };
        let crds = repository_root().join("deploy/crds");
        plane.kubectl().run(&["apply", "--server-side", "-f", path(&crds)?]).await?;
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        plane.kubectl().run(&established).await?;
        Ok(plane)
    }

    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(self.assets.join("kubectl"), self.kubeconfig.clone())
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub async fn client(&self) -> Result<kube::Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Ends the API server alone, hard; the data stays.
    pub fn stop_apiserver(&self) -> Result<()> {
        script("control-plane.sh", &["stop-apiserver", path(self.dir.path())?]).map(drop)
    }

    pub fn start_apiserver(&self) -> Result<()> {
        script("control-plane.sh", &["start-apiserver", path(self.dir.path())?]).map(drop)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if let Ok(dir) = path(self.dir.path()) {
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
