//! The spec hash: equal exactly when a running container is still what the spec asks for. It is stored as a label on the container,
//! so it must never change for an unchanged spec, whatever the agent's version: new fields are left out of the hashed text while they have
//! their default.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{AppSpec, Container, Dns, File, Kind, Network, Port, Switch, ValidApp, Volume};

/// SHA-256 over what a container was created from, in lower-case hex, cut to 16 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecHash(String);

/// The label's value is not a hash of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a spec hash has 16 lower-case hex digits")]
pub struct SpecHashError;

const LENGTH: usize = 16;

/// What every container of an app depends on.
#[derive(Serialize)]
struct Shared<'a> {
    network: Network,
    /// True when the container joins the app's sandbox instead of having a network of its own.
    joined: bool,
    #[serde(skip_serializing_if = "Extras::is_default")]
    extras: Extras<'a>,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    /// What ran to completion before the containers that are no init containers themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    after: Vec<&'a Container>,
}

/// What few apps set.
#[derive(Serialize, PartialEq, Default)]
struct Extras<'a> {
    host_pid: bool,
    host_ipc: bool,
    share_process_namespace: bool,
    hostname: Option<&'a str>,
    dns: Dns,
    host_aliases: Vec<&'a (IpAddr, Vec<String>)>,
    sysctls: Vec<(&'a str, &'a str)>,
    fs_group: Option<u32>,
    supplemental_groups: Vec<u32>,
}

impl Extras<'_> {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl<'a> Shared<'a> {
    fn of(app: &'a ValidApp, container: Option<&Container>) -> Self {
        let follows = container.is_some_and(|container| container.kind == Kind::Main);
        let inits = app.containers().iter().filter(|other| follows && other.kind == Kind::Init);
        Self {
            network: app.network,
            joined: app.has_sandbox(),
            extras: Extras {
                host_pid: app.host_pid,
                host_ipc: app.host_ipc,
                share_process_namespace: app.share_process_namespace,
                hostname: app.hostname.as_deref(),
                dns: app.dns.clone(),
                host_aliases: app.host_aliases.iter().collect(),
                sysctls: app.sysctls.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
                fs_group: app.fs_group,
                supplemental_groups: app.supplemental_groups.clone(),
            },
            labels: &app.labels,
            annotations: &app.annotations,
            after: inits.collect(),
        }
    }
}

impl SpecHash {
    /// The hash of one container of an app: of everything that cannot be changed in a container that is there.
    pub fn of_container(app: &ValidApp, container: &Container) -> Self {
        let volumes: Vec<_> =
            container.mounts.iter().filter_map(|mount| app.volumes.get_key_value(&mount.volume)).collect();
        match volumes.is_empty() {
            true => Self::digest(&(Shared::of(app, Some(container)), container)),
            false => Self::digest(&(Shared::of(app, Some(container)), container, volumes)),
        }
    }

    /// The hash of the app's sandbox: it publishes the ports of all containers, and holds the volumes in memory. With
    /// [`Switch::StartFirst`] the containers of two revisions do not share one.
    pub fn of_sandbox(app: &ValidApp) -> Self {
        let ports: Vec<&Port> = app.containers().iter().flat_map(|container| &container.ports).collect();
        let held: Vec<_> =
            app.volumes.iter().filter(|(_, volume)| matches!(volume, Volume::Memory { .. })).collect();
        let members: Vec<_> = match app.switch {
            Switch::StopFirst => Vec::new(),
            Switch::StartFirst => {
                app.containers().iter().map(|container| Self::of_container(app, container).0).collect()
            }
        };
        Self::digest(&(Shared::of(app, None), ports, held, members))
    }

    /// The fingerprint of the files of an app's volumes, and of what else is written with them. Absent when it has none.
    pub(crate) fn of_files(app: &AppSpec) -> Option<Self> {
        let mut hasher = Sha256::new();
        // Every part with its length before it, so that no two sets of parts make the same text.
        let mut part = |bytes: &[u8]| {
            hasher.update(bytes.len().to_le_bytes());
            hasher.update(bytes);
        };
        part(format!("{:?}", app.fs_group).as_bytes());
        let mut any = false;
        for (name, volume) in &app.volumes {
            let Volume::Files { secret, files } = volume else { continue };
            any = true;
            part(name.as_bytes());
            part(&[u8::from(*secret)]);
            part(&files.len().to_le_bytes());
            for File { path, mode, content } in files {
                part(path.as_bytes());
                part(&mode.to_le_bytes());
                part(content);
            }
        }
        any.then(|| Self::cut(&hasher.finalize()))
    }

    /// A fingerprint of anything.
    pub fn of(value: &impl Serialize) -> Self {
        Self::digest(value)
    }

    fn digest(value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).expect("the hashed types have only string keys");
        Self::cut(&Sha256::digest(&json))
    }

    fn cut(digest: &[u8]) -> Self {
        let mut text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        text.truncate(LENGTH);
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpecHash {
    type Err = SpecHashError;
    fn from_str(text: &str) -> Result<Self, SpecHashError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == LENGTH && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecHashError)
        }
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
