//! What Docker says of itself: for people who check a box, and for the archive that they send to others. Nothing here decides anything.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::models::{ContainerInspectResponse, ContainerSummary, SystemInfo};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder};
use serde_json::Value;
use skerry_terms::labels;

use super::EngineError;
use super::docker::{ASK_TIMEOUT, Docker, bounded};

/// How Docker is set up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    pub version: String,
    /// The newest that it speaks.
    pub api_version: String,
    pub storage_driver: String,
    /// What the storage is on. Empty when it does not say.
    pub backing_filesystem: String,
    pub cgroup_driver: String,
    /// Empty from a daemon that knows only v1.
    pub cgroup_version: String,
    pub log_driver: String,
    pub live_restore: Option<bool>,
    /// Where images and containers are.
    pub root: PathBuf,
    /// Containers that run.
    pub running: usize,
    /// Those of them that are not Skerry's.
    pub running_foreign: usize,
    pub memory_limit: Option<bool>,
    pub cpu_limit: Option<bool>,
    pub pids_limit: Option<bool>,
}

/// Docker's own documents, as they are: whoever passes them on takes out what nobody else may see.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Documents {
    pub version: Value,
    pub info: Value,
    pub images: Value,
    /// All containers of the box, as a list shows them.
    pub containers: Value,
    /// Skerry's containers, looked at one by one: name and document.
    pub inspected: Vec<(String, Value)>,
}

impl Docker {
    /// Asks Docker how it is set up.
    pub async fn survey(&self) -> Result<Survey, EngineError> {
        let client = self.client().await?;
        let info = bounded(ASK_TIMEOUT, client.info()).await?;
        let version = bounded(ASK_TIMEOUT, client.version()).await?;
        let options = ListContainersOptionsBuilder::default().build();
        let containers = bounded(ASK_TIMEOUT, client.list_containers(Some(options))).await?;
        Ok(survey(info, version.api_version.unwrap_or_default(), &containers))
    }

    /// Fetches Docker's documents. `containers_max`: so many of Skerry's are looked at one by one.
    pub async fn documents(&self, containers_max: usize) -> Result<Documents, EngineError> {
        let client = self.client().await?;
        let version = bounded(ASK_TIMEOUT, client.version()).await?;
        let info = bounded(ASK_TIMEOUT, client.info()).await?;
        let options = ListImagesOptionsBuilder::default().build();
        let images = bounded(ASK_TIMEOUT, client.list_images(Some(options))).await?;
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers = bounded(ASK_TIMEOUT, client.list_containers(Some(options))).await?;
        let mut inspected = Vec::new();
        let ours = containers.iter().filter(|summary| is_ours(summary)).filter_map(|one| one.id.as_deref());
        for id in ours.take(containers_max) {
            // One that went away in between is not missed.
            if let Ok(found) = bounded(ASK_TIMEOUT, client.inspect_container(id, None)).await {
                inspected.push((name(&found), json(&found)));
            }
        }
        inspected.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Documents {
            version: json(&version),
            info: json(&info),
            images: json(&images),
            containers: json(&containers),
            inspected,
        })
    }
}

fn survey(info: SystemInfo, api_version: String, running: &[ContainerSummary]) -> Survey {
    let backing = info.driver_status.unwrap_or_default().into_iter().find_map(|pair| match pair.as_slice() {
        [name, value] if name == "Backing Filesystem" => Some(value.clone()),
        _ => None,
    });
    Survey {
        version: info.server_version.unwrap_or_default(),
        api_version,
        storage_driver: info.driver.unwrap_or_default(),
        backing_filesystem: backing.unwrap_or_default(),
        cgroup_driver: info.cgroup_driver.map(|driver| driver.to_string()).unwrap_or_default(),
        cgroup_version: info.cgroup_version.map(|version| version.to_string()).unwrap_or_default(),
        log_driver: info.logging_driver.unwrap_or_default(),
        live_restore: info.live_restore_enabled,
        root: info.docker_root_dir.unwrap_or_default().into(),
        running: running.len(),
        running_foreign: running.iter().filter(|summary| !is_ours(summary)).count(),
        memory_limit: info.memory_limit,
        cpu_limit: info.cpu_cfs_quota,
        pids_limit: info.pids_limit,
    }
}

fn is_ours(summary: &ContainerSummary) -> bool {
    summary.labels.as_ref().is_some_and(|labels: &HashMap<String, String>| labels.contains_key(labels::NODE))
}

fn name(found: &ContainerInspectResponse) -> String {
    found.name.as_deref().unwrap_or_default().trim_start_matches('/').to_owned()
}

fn json(document: &impl serde::Serialize) -> Value {
    serde_json::to_value(document).unwrap_or_default()
}
