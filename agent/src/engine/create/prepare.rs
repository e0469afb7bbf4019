//! What the box says to a container before it is created: whose the image's processes are, which volumes are ready, what a profile says.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use bollard::models::{ImageInspect, Mount};
use skerry_agent_core::{BoundMount, CreateSpec, Join, Role, Seccomp, Security};
use skerry_terms::Chain;

use super::dns::{Resolver, resolver};
use super::{mounts, namespaces};
use crate::engine::docker::{ASK_TIMEOUT, Docker, bounded};
use crate::engine::refusal::{NOT_FOUND, status, words};
use crate::engine::{EngineError, volumes};

/// Docker's own profile has 16 KiB.
const PROFILE_MAX: u64 = 256 << 10;

/// What [`super::body`] needs beside the spec.
#[derive(Debug, Default)]
pub(in crate::engine) struct Prepared {
    /// `uid`, `uid:gid`; absent: the image's own.
    pub user: Option<String>,
    /// The content of the profile that the spec names.
    pub seccomp: Option<String>,
    pub mounts: Vec<Mount>,
    pub dns: Resolver,
}

pub(in crate::engine) async fn prepare(
    docker: &Docker,
    client: &bollard::Docker,
    spec: &CreateSpec,
) -> Result<Prepared, EngineError> {
    let user = match needs_image(&spec.security).then_some(spec.image.as_deref()).flatten() {
        Some(image) => user(spec, &image_user(client, image).await?)?,
        None => user(spec, "")?,
    };
    let memory = memory_places(docker, client, spec).await?;
    let (folders, spec) = (docker.folders.clone(), spec.clone());
    let on_the_box = move || {
        let seccomp = profile(folders.seccomp(), &spec.security.seccomp)?;
        let sources = volumes::bind(&folders, &spec, &|mount| memory.get(&mount.name).cloned())?;
        let mounts = mounts::mounts(&spec, sources, &folders.message(&spec), &folders.home());
        let host_network = matches!(spec.join, Join::Host(_));
        let dns = namespaces::owner(&spec.join).map(|owner| resolver(&owner.dns, host_network));
        Ok(Prepared { user, seccomp, mounts, dns: dns.unwrap_or_default() })
    };
    off_thread(on_the_box).await
}

/// Disks can be slow, and the agent has one thread.
pub(in crate::engine) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(EngineError::Refused { message: format!("the agent failed: {error}") }),
    }
}

/// Only the image can say who its processes are when the spec does not.
fn needs_image(security: &Security) -> bool {
    security.user.is_none() && (security.non_root || security.group.is_some())
}

async fn image_user(client: &bollard::Docker, image: &str) -> Result<String, EngineError> {
    let inspect = async {
        match client.inspect_image(image).await {
            Err(error) if status(&error) == Some(NOT_FOUND) => {
                Ok(Err(EngineError::NoImage { message: words(&error).unwrap_or_default().trim().to_owned() }))
            }
            other => other.map(Ok),
        }
    };
    let found: ImageInspect = bounded(ASK_TIMEOUT, inspect).await??;
    Ok(found.config.and_then(|config| config.user).unwrap_or_default())
}

/// The user as Docker takes it, and kubelet's words when it may not be root and would be. `image_user` is what the image says, if it was asked.
fn user(spec: &CreateSpec, image_user: &str) -> Result<Option<String>, EngineError> {
    let Security { user, group, non_root, .. } = &spec.security;
    let image_user = image_user.split(':').next().unwrap_or_default();
    let container = match &spec.role {
        Role::Sandbox => "POD",
        Role::Container(name) => name.as_str(),
    };
    let who = format!("(pod: \"{}_{}\", container: {container})", spec.app.name(), spec.app.namespace());
    let refuse = |why: String| Err(EngineError::Config { message: format!("{why} {who}") });
    match (non_root, user, image_user.parse::<u32>()) {
        (true, Some(0), _) => return refuse("container's runAsUser breaks non-root policy".to_owned()),
        (true, None, Ok(0)) => {
            return refuse("container has runAsNonRoot and image will run as root".to_owned());
        }
        (true, None, Err(_)) if image_user.is_empty() => {
            return refuse("container has runAsNonRoot and image will run as root".to_owned());
        }
        (true, None, Err(_)) => {
            return refuse(format!(
                "container has runAsNonRoot and image has non-numeric user ({image_user}), cannot verify user is non-root"
            ));
        }
        (true | false, _, _) => {}
    }
    Ok(match (user, group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(group)) if image_user.is_empty() => Some(format!("0:{group}")),
        (None, Some(group)) => Some(format!("{image_user}:{group}")),
        (None, None) => None,
    })
}

/// A profile of the box, from its folder and nowhere else.
fn profile(folder: &Path, seccomp: &Seccomp) -> Result<Option<String>, EngineError> {
    let Seccomp::Localhost(name) = seccomp else { return Ok(None) };
    let refuse = |why: String| {
        let folder = folder.display();
        Err(EngineError::Config {
            message: format!("cannot load seccomp profile {name:?} from {folder}: {why}"),
        })
    };
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || name.is_empty() {
        return refuse("it must be a path in that folder".to_owned());
    }
    let read = || -> io::Result<Result<String, &str>> {
        let path = fs::canonicalize(folder.join(name))?;
        if !path.starts_with(fs::canonicalize(folder)?) {
            return Ok(Err("it leads out of that folder"));
        }
        let found = fs::metadata(&path)?;
        if !found.is_file() || found.len() > PROFILE_MAX {
            return Ok(Err("it is no file of at most 256 KiB"));
        }
        fs::read_to_string(&path).map(Ok)
    };
    match read() {
        // Docker takes it on one line or many; that it is JSON at all is said here with the file's name.
        Ok(Ok(text)) => match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(json) => Ok(Some(json.to_string())),
            Err(error) => refuse(error.to_string()),
        },
        Ok(Err(why)) => refuse(why.to_owned()),
        Err(error) => refuse(Chain(&error).to_string()),
    }
}

/// Where Docker has mounted the volumes in memory of which only a part is asked for: the app's sandbox holds them.
async fn memory_places(
    docker: &Docker,
    client: &bollard::Docker,
    spec: &CreateSpec,
) -> Result<BTreeMap<String, PathBuf>, EngineError> {
    let mut places = BTreeMap::new();
    for mount in spec.mounts.iter().filter(|mount| !mount.sub_path.is_empty()) {
        let Some(name) = volumes::memory_name(&docker.folders, spec, mount) else { continue };
        let place = memory_place(client, mount, &name).await?;
        places.insert(mount.name.clone(), place);
    }
    Ok(places)
}

async fn memory_place(
    client: &bollard::Docker,
    mount: &BoundMount,
    volume: &str,
) -> Result<PathBuf, EngineError> {
    let refuse = |why: &str| EngineError::Mount {
        message: format!("MountVolume.SetUp failed for volume {:?}: {why}", mount.name),
    };
    let inspect = async {
        match client.inspect_volume(volume).await {
            Err(error) if status(&error) == Some(NOT_FOUND) => Ok(None),
            other => other.map(Some),
        }
    };
    let found = bounded(ASK_TIMEOUT, inspect).await?;
    let place = found
        .map(|found| PathBuf::from(found.mountpoint))
        .ok_or_else(|| refuse("the app's sandbox does not hold it"))?;
    match volumes::is_memory(&place) {
        true => Ok(place),
        // Below it would be the disk.
        false => Err(refuse("docker has not mounted it, or the agent does not see docker's mounts")),
    }
}

#[cfg(test)]
mod tests;
