//! Lifecycle hooks, and the stop that a preStop hook is a part of.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::StopContainerOptionsBuilder;
use futures::StreamExt as _;
use skerry_agent_core::{ContainerId, Hook};
use skerry_proto::caps;
use skerry_terms::{Chain, labels};
use tokio::time::Instant;
use tracing::{info, warn};

use super::EngineError;
use super::docker::{ASK_TIMEOUT, Docker, STOP_MARGIN, bounded};
use super::refusal::{NOT_FOUND, status};
use crate::http_get::http_get;

/// A postStart hook has no bound in Kubernetes; here it holds up its app's list. As long as an update may take by default.
const POST_START_MAX: Duration = Duration::from_secs(600);
/// kubelet's: what is left for SIGTERM after a hook that took all of the grace period, and the least of any grace period but zero.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// Runs a hook of a container, by name or id.
pub(super) async fn run(docker: &Docker, container: &str, hook: &Hook) -> Result<(), EngineError> {
    run_within(docker, container, hook, POST_START_MAX, Quote::Yes).await
}

/// Whether an error quotes what a command printed, which may be a Secret: only where somebody takes those out before it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Yes,
    No,
}

async fn run_within(
    docker: &Docker,
    container: &str,
    hook: &Hook,
    bound: Duration,
    quote: Quote,
) -> Result<(), EngineError> {
    match hook {
        Hook::Exec { command } => {
            let ran = docker.exec(container, command, bound).await?;
            let words = caps::truncate(ran.output.trim_end(), caps::MESSAGE_MAX);
            match ran.exit_code {
                0 => Ok(()),
                code if quote == Quote::No => Err(EngineError::Refused {
                    message: format!("Exec lifecycle hook failed - error: command exited with {code}"),
                }),
                code => Err(EngineError::Refused {
                    message: format!(
                        "Exec lifecycle hook ({command:?}) failed - error: command exited with {code}, message: {words:?}"
                    ),
                }),
            }
        }
        // As in kubelet, any answer is a good one.
        Hook::Http(get) => match http_get(get, address(docker, container).await?, bound).await {
            Ok(_) => Ok(()),
            Err(error) => Err(EngineError::Refused {
                message: format!("HTTP lifecycle hook ({}) failed - error: {}", get.path, Chain(&error)),
            }),
        },
        Hook::Sleep(duration) => {
            tokio::time::sleep((*duration).min(bound)).await;
            Ok(())
        }
    }
}

/// Where a container is reached from the box.
async fn address(docker: &Docker, container: &str) -> Result<Option<IpAddr>, EngineError> {
    let client = docker.client().await?;
    let found = bounded(ASK_TIMEOUT, client.inspect_container(container, None)).await?;
    let owner = network_mode(&found).strip_prefix("container:").map(str::to_owned);
    match owner {
        None => Ok(own_address(&found)),
        // One that joined a network has the address of its owner.
        Some(owner) => bounded(ASK_TIMEOUT, client.inspect_container(&owner, None))
            .await
            .map(|found| own_address(&found)),
    }
}

fn network_mode(found: &ContainerInspectResponse) -> &str {
    found.host_config.as_ref().and_then(|host| host.network_mode.as_deref()).unwrap_or_default()
}

fn own_address(found: &ContainerInspectResponse) -> Option<IpAddr> {
    if network_mode(found) == "host" {
        return Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let networks = found.network_settings.as_ref()?.networks.as_ref()?;
    networks.values().find_map(super::observe::address)
}

/// The preStop hook, then SIGTERM, then SIGKILL, all within the grace period but for [`GRACE_MIN`].
pub(super) async fn stop(
    docker: &Docker,
    id: &ContainerId,
    grace: Option<Duration>,
) -> Result<(), EngineError> {
    let client = docker.client().await?;
    let inspect = async {
        match client.inspect_container(&id.0, None).await {
            Err(error) if status(&error) == Some(NOT_FOUND) => Ok(None),
            other => other.map(Some),
        }
    };
    let found = match bounded(ASK_TIMEOUT, inspect).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(()),
        Err(error @ EngineError::Unavailable { .. }) => return Err(error),
        // One that Docker cannot describe can still be stopped.
        Err(error) => {
            warn!("container={id} is stopped without its hook: {error}");
            ContainerInspectResponse::default()
        }
    };
    let runs = found.state.as_ref().and_then(|state| state.running).unwrap_or(true);
    let config = found.config.unwrap_or_default();
    let label = |key: &str| config.labels.as_ref().and_then(|labels| labels.get(key));
    let own = config.stop_timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let grace = grace.or(own).unwrap_or(DEFAULT_GRACE);
    // Zero is no grace period at all: the container is to be killed at once.
    let least = if grace.is_zero() { Duration::ZERO } else { GRACE_MIN };
    let began = Instant::now();
    if let Some(hook) = label(labels::PRE_STOP).filter(|hook| !hook.is_empty())
        && runs
        && !grace.is_zero()
    {
        pre_stop(docker, &client, id, hook, grace).await;
    }
    let left = grace.saturating_sub(began.elapsed()).max(least);
    // Docker counts in whole seconds: none of what was promised is cut off.
    let seconds = i32::try_from(left.as_secs_f64().ceil() as u64).unwrap_or(i32::MAX);
    let options = StopContainerOptionsBuilder::default().t(seconds).build();
    let stop = async {
        match client.stop_container(&id.0, Some(options)).await {
            Err(error) if status(&error) == Some(NOT_FOUND) => Ok(()),
            other => other,
        }
    };
    bounded(left.saturating_add(STOP_MARGIN), stop).await
}

/// Docker's own, for a container that was created without one.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// A hook that fails, or takes too long, does not keep the container from being stopped. One whose container has ended is not waited for.
async fn pre_stop(docker: &Docker, client: &bollard::Docker, id: &ContainerId, hook: &str, grace: Duration) {
    let hook: Hook = match serde_json::from_str(hook) {
        Ok(hook) => hook,
        Err(error) => {
            warn!("container={id} has a label {} that cannot be read: {error}", labels::PRE_STOP);
            return;
        }
    };
    info!("preStop container={id}");
    let ended = async { std::pin::pin!(client.wait_container(&id.0, None)).next().await };
    let failed = tokio::select! {
        ran = tokio::time::timeout(grace, run_within(docker, &id.0, &hook, grace, Quote::No)) => match ran {
            Ok(Ok(())) => return,
            Ok(Err(EngineError::TimedOut { .. })) | Err(_) => "it took all of the grace period".to_owned(),
            Ok(Err(error)) => error.to_string(),
        },
        _ended = ended => "the container ended by itself".to_owned(),
    };
    warn!("container={id} FailedPreStopHook: {failed}");
}
