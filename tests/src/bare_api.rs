//! The standalone API without a controller, in this process: for tests of the API itself, where nobody else must write.

use std::path::PathBuf;

use anyhow::Result;
use skerry_standalone::{ADMIN_KUBECONFIG, Standalone};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running API with Skerry's CRDs. Ended when dropped.
#[derive(Debug)]
pub struct BareApi {
    dir: TempDir,
    _stop: DropGuard,
}

impl BareApi {
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("skerry-api-").tempdir()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let definitions = skerry_api::crds::all();
        let definitions: Vec<_> = definitions.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let api = Standalone::open(&dir.path().join("data"), &definitions, listener.local_addr()?).await?;
        let stop = CancellationToken::new();
        tokio::spawn(api.serve(listener, &[], stop.clone()).await?);
        Ok(Self { dir, _stop: stop.drop_guard() })
    }

    /// The admin's.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("data").join(ADMIN_KUBECONFIG)
    }
}
