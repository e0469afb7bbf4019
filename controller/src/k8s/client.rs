//! Where the API server is, and which cluster it is.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use tracing::{info, warn};

use crate::delay;
use skerry_terms::Chain;

/// How long a connection to the API server may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no way to the API server that waiting would open.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("failed to read the kubeconfig {path}: {reason}")]
    Kubeconfig { path: String, reason: String },
    #[error("found neither a kubeconfig nor a service account; give one with --kubeconfig")]
    Infer(#[source] kube::config::InferConfigError),
    #[error("failed to set up the client of the API server")]
    Client(#[source] kube::Error),
    #[error(
        "the namespace kube-system cannot be read, and its uid is what tells this cluster from others; allow `get` on it to \
         this controller's account"
    )]
    Epoch(#[source] kube::Error),
    #[error("the namespace kube-system has no uid")]
    NoUid,
}

/// A client, without asking the server anything yet.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let fail = |error: kube::config::KubeconfigError| ConnectError::Kubeconfig {
                path: path.display().to_string(),
                // The further lines of a syntax error quote the file, and the file holds secrets.
                reason: Chain(&error).to_string().lines().next().unwrap_or_default().to_owned(),
            };
            let file = Kubeconfig::read_from(path).map_err(fail)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(fail)?
        }
        None => Config::infer().await.map_err(ConnectError::Infer)?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    info!("API server at {}", config.cluster_url);
    Client::try_from(config).map_err(ConnectError::Client)
}

/// Asks once. None if the server tells no uid.
pub(super) async fn ask_epoch(client: &Client) -> kube::Result<Option<String>> {
    let api: Api<Namespace> = Api::all(client.clone());
    Ok(api.get("kube-system").await?.metadata.uid)
}

/// The cluster's identity: the uid of kube-system. Waits for an API server that does not answer.
pub async fn epoch(client: &Client) -> Result<String, ConnectError> {
    let mut failures = 0;
    loop {
        match ask_epoch(client).await {
            Ok(uid) => {
                if failures > 0 {
                    info!("the API server answers");
                }
                return uid.ok_or(ConnectError::NoUid);
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 404) => {
                return Err(ConnectError::Epoch(kube::Error::Api(status)));
            }
            Err(error) => {
                failures += 1;
                if failures == 1 {
                    warn!("the API server does not answer, trying again: {}", Chain(&error));
                }
                tokio::time::sleep(delay::before_retry(failures)).await;
            }
        }
    }
}
