//! A real registry on loopback: Debian's docker-registry. Ended when dropped.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{IMAGE, docker_run, eventually, free_port, get};

/// A registry with the test image in it.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Registry {
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skerry-registry-").tempdir()?;
        let port = free_port()?;
        let config = dir.path().join("config.yml");
        let root = dir.path().join("data");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
                root.display()
            ),
        )?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("docker-registry is missing: run `tests/host/prepare.sh --registry`")?;
        let registry = Self { child, port, _dir: dir };
        eventually("the registry answers", || get(port, "/v2/")).await?;
        Ok(registry)
    }

    /// Pushes the test image under this name and tag, and forgets the local tag. Returns the reference to pull.
    pub async fn push(&self, name: &str) -> Result<String> {
        let reference = self.reference(name);
        docker_run(&["tag", IMAGE, &reference]).await?;
        docker_run(&["push", "--quiet", &reference]).await?;
        docker_run(&["rmi", &reference]).await?;
        Ok(reference)
    }

    pub fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
