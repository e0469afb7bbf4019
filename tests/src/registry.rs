//! A real registry on loopback: Debian's docker-registry. Ended when dropped.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{IMAGE, docker_run, eventually, free_port, get};

/// Who may use a private registry.
pub const REGISTRY_USER: &str = "keeper";
pub const REGISTRY_PASSWORD: &str = "tide";
/// The password through bcrypt, as the registry wants it.
const PASSWORD_HASH: &str = "$2b$04$PblQU3B1IWTCEAykMkGMvOaRKTcEJ5RZWGZ.FyfPm/H8nYmMG0cde";
/// `USER:PASSWORD` in base64, as Docker's configuration has it.
const CREDENTIALS: &str = "a2VlcGVyOnRpZGU=";

/// A registry with the test image in it.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    port: u16,
    dir: TempDir,
}

impl Registry {
    /// One for everybody.
    pub async fn start() -> Result<Self> {
        Self::serve("", 200).await
    }

    /// One that asks who it is.
    pub async fn start_private() -> Result<Self> {
        let auth = "auth:\n  htpasswd:\n    realm: skerry\n    path: htpasswd\n";
        Self::serve(auth, 401).await
    }

    async fn serve(auth: &str, answer: u16) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skerry-registry-").tempdir()?;
        let port = free_port()?;
        let config = dir.path().join("config.yml");
        let root = dir.path().join("data");
        std::fs::write(
            &config,
            format!(
                "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{auth}",
                root.display()
            ),
        )?;
        std::fs::write(dir.path().join("htpasswd"), format!("{REGISTRY_USER}:{PASSWORD_HASH}\n"))?;
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("docker-registry is missing: run `tests/host/prepare.sh --registry`")?;
        let registry = Self { child, port, dir };
        eventually("the registry answers", || async {
            let (code, body) = get(port, "/v2/").await?;
            ensure!(code == answer, "{code}: {body}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let config = format!(r#"{{"auths": {{"{}": {{"auth": "{CREDENTIALS}"}}}}}}"#, registry.host());
        std::fs::write(registry.dir.path().join("config.json"), config)?;
        Ok(registry)
    }

    /// Pushes the test image under this name and tag, and forgets the local tag. Returns the reference to pull.
    pub async fn push(&self, name: &str) -> Result<String> {
        self.push_image(IMAGE, name).await
    }

    /// The same with another image.
    pub async fn push_image(&self, image: &str, name: &str) -> Result<String> {
        let reference = self.reference(name);
        docker_run(&["tag", image, &reference]).await?;
        let config = self.dir.path().to_str().context("a path that is not UTF-8")?;
        docker_run(&["--config", config, "push", "--quiet", &reference]).await?;
        docker_run(&["rmi", &reference]).await?;
        Ok(reference)
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
