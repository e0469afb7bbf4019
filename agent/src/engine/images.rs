//! Images as housekeeping sees them: where they are kept, which ones there are, how one goes, and how one is held. A pin is a tag of ours and a
//! container that is never started: the tag survives `docker image prune` and `docker system prune`, which remove containers that do not run;
//! the container survives `docker image prune -a`, which removes tags.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, ImageSummary};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use skerry_agent_core::housekeeping::{Removal, StoredImage};
use skerry_agent_core::{ContainerId, ImageId};
use skerry_terms::{NodeName, labels};

use super::docker::{ASK_TIMEOUT, Docker, WORK_TIMEOUT, bounded, lock};
use super::refusal::{CONFLICT, NOT_FOUND, status};
use super::{EngineError, Storeroom};

/// Repository of the tags of pins.
const PINNED: &str = "skerry.dev/pinned";
/// What no image has: a pin that somebody starts ends before anything of the image runs.
const NEVER_RUN: &str = "/skerry.dev/pinned";
/// Docker takes tags of 128 characters.
const NODE_IN_TAG_MAX: usize = 100;
/// What pulls brought and nobody has asked about. More are not remembered, and so never removed.
const PULLED_MAX: usize = 64;

impl Docker {
    /// The image that a name means, and its tags.
    pub(super) async fn means(&self, client: &bollard::Docker, name: &str) -> Option<(ImageId, Vec<String>)> {
        let found = bounded(ASK_TIMEOUT, client.inspect_image(name)).await.ok()?;
        Some((ImageId(found.id?), found.repo_tags.unwrap_or_default()))
    }

    /// A pull is done. What it brought is ours, unless the image was there before under another name.
    pub(super) async fn note_pull(&self, client: &bollard::Docker, name: &str, before: Option<ImageId>) {
        let Some((id, tags)) = self.means(client, name).await else { return };
        let own: Vec<String> = tags.into_iter().filter(|tag| !is_pin(tag)).collect();
        let mut pulled = lock(&self.pulled);
        if before.as_ref() != Some(&id) && own.len() <= 1 && pulled.len() < PULLED_MAX {
            pulled.insert(id, own.into_iter().next().unwrap_or_default());
        }
    }
}

impl Storeroom for Docker {
    async fn root(&self) -> Result<PathBuf, EngineError> {
        let info = bounded(ASK_TIMEOUT, self.client().await?.info()).await?;
        let root = info.docker_root_dir.filter(|root| root.starts_with('/'));
        root.map(PathBuf::from).ok_or_else(|| EngineError::Refused {
            message: "docker does not say where it keeps images".to_owned(),
        })
    }

    fn pulled(&self) -> BTreeMap<ImageId, String> {
        std::mem::take(&mut *lock(&self.pulled))
    }

    async fn images(&self) -> Result<Vec<StoredImage>, EngineError> {
        let client = self.client().await?;
        let all = ListContainersOptionsBuilder::default().all(true).build();
        let containers = bounded(ASK_TIMEOUT, client.list_containers(Some(all))).await?;
        let used: HashSet<String> =
            containers.into_iter().filter_map(|container| container.image_id).collect();
        let options = ListImagesOptionsBuilder::default().build();
        let images = bounded(ASK_TIMEOUT, client.list_images(Some(options))).await?;
        let stored =
            images.into_iter().map(|ImageSummary { id, repo_tags, repo_digests, size, .. }| StoredImage {
                used: used.contains(&id),
                id: ImageId(id),
                names: repo_tags.into_iter().filter(|tag| tag != "<none>:<none>" && !is_pin(tag)).collect(),
                digests: repo_digests.into_iter().filter(|digest| digest != "<none>@<none>").collect(),
                bytes: u64::try_from(size).unwrap_or(0),
            });
        Ok(stored.collect())
    }

    async fn remove_image(&self, removal: &Removal) -> Result<bool, EngineError> {
        let client = self.client().await?;
        let Some((_, tags)) = self.means(&client, &removal.id.0).await else { return Ok(true) };
        // The tag of a pin that was lost goes, too.
        let tags: BTreeSet<String> =
            tags.into_iter().filter(|tag| is_pin(tag) || removal.names.contains(tag)).collect();
        if tags.is_empty() {
            return remove(&client, &removal.id.0).await;
        }
        let mut gone = true;
        for tag in &tags {
            gone &= remove(&client, tag).await?;
        }
        Ok(gone)
    }

    async fn pin(&self, node: &NodeName, image: &ImageId) -> Result<(), EngineError> {
        let client = self.client().await?;
        let tag = TagImageOptionsBuilder::default().repo(PINNED).tag(&tag(node, image)).build();
        bounded(ASK_TIMEOUT, client.tag_image(&image.0, Some(tag))).await?;
        let _worker = self.workers.acquire().await;
        let name = format!("skerry_{node}_pin_{image}");
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let create = async {
            match client.create_container(Some(options), pin_body(node, image)).await {
                Err(error) if status(&error) == Some(CONFLICT) => Ok(()),
                other => other.map(drop),
            }
        };
        bounded(WORK_TIMEOUT, create).await
    }

    async fn unpin(
        &self,
        node: &NodeName,
        container: &ContainerId,
        image: &ImageId,
    ) -> Result<(), EngineError> {
        let client = self.client().await?;
        let _worker = self.workers.acquire().await;
        let remove_container = async {
            let options = RemoveContainerOptionsBuilder::default().v(true).build();
            match client.remove_container(&container.0, Some(options)).await {
                Err(error) if status(&error) == Some(NOT_FOUND) => Ok(()),
                other => other,
            }
        };
        bounded(WORK_TIMEOUT, remove_container).await?;
        remove(&client, &format!("{PINNED}:{}", tag(node, image))).await.map(drop)
    }
}

/// Whether it is gone. What somebody uses stays: Docker says so, and that is no failure.
async fn remove(client: &bollard::Docker, reference: &str) -> Result<bool, EngineError> {
    let remove = async {
        match client.remove_image(reference, None::<RemoveImageOptions>, None).await {
            Err(error) if status(&error) == Some(NOT_FOUND) => Ok(true),
            Err(error) if status(&error) == Some(CONFLICT) => Ok(false),
            other => other.map(|_| true),
        }
    };
    bounded(WORK_TIMEOUT, remove).await
}

fn is_pin(tag: &str) -> bool {
    tag.strip_prefix(PINNED).is_some_and(|rest| rest.starts_with(':'))
}

/// Two agents on one Docker Engine have pins of their own.
fn tag(node: &NodeName, image: &ImageId) -> String {
    let node = node.as_str();
    format!("{}-{image}", node.get(..NODE_IN_TAG_MAX).unwrap_or(node))
}

fn pin_body(node: &NodeName, image: &ImageId) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(image.0.clone()),
        entrypoint: Some(vec![NEVER_RUN.to_owned()]),
        labels: Some(HashMap::from([
            (labels::NODE.to_owned(), node.to_string()),
            (labels::PIN.to_owned(), image.0.clone()),
        ])),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_pin_tells_nodes_apart_and_is_known_again() {
        let image = ImageId(format!("sha256:{}", "0123456789abcdef".repeat(4)));
        let name = |text: &str| text.parse::<NodeName>().expect("a name");
        assert_eq!(tag(&name("box-7"), &image), "box-7-0123456789ab");
        assert!(tag(&name(&"x".repeat(63)), &image).len() <= 128);
        assert!(is_pin("skerry.dev/pinned:box-7-0123456789ab"));
        assert!(!is_pin("skerry.dev/pinned-by-somebody:1") && !is_pin("nginx:1"));
    }
}
