//! `[policy]`, `[devices.NAME]` and `[housekeeping]` of `agent.toml`: what the box's owner allows and offers, and what is cleaned up. A value that cannot be meant is an error with
//! its line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use skerry_agent_core::housekeeping::Limits;
use skerry_agent_core::{AppNames, Device, Policy, RegistryPattern};

use crate::housekeeper::Rules;

/// Where volumes lie that must not reach a disk.
const RUN_FOLDERS: [&str; 2] = ["/run/skerry", "/dev/shm/skerry"];

/// `[policy]`. What is not given is denied.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GivenPolicy {
    privileged: bool,
    host_network: Option<bool>,
    host_pid: bool,
    host_ipc: bool,
    #[serde(deserialize_with = "paths")]
    host_paths: Vec<PathBuf>,
    #[serde(deserialize_with = "capabilities")]
    capabilities: BTreeSet<String>,
    docker_socket: bool,
    #[serde(deserialize_with = "registries")]
    registries: Vec<RegistryPattern>,
    sysctls: Vec<String>,
    seccomp_unconfined: bool,
}

/// `[housekeeping]`: when images go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenHousekeeping(Option<Rules>);

impl From<GivenHousekeeping> for Rules {
    fn from(GivenHousekeeping(given): GivenHousekeeping) -> Self {
        given.unwrap_or(Self { image_gc: Some(Limits::default()) })
    }
}

impl<'de> Deserialize<'de> for GivenHousekeeping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        struct Written {
            image_gc: Option<bool>,
            image_gc_high_percent: Option<u8>,
            image_gc_low_percent: Option<u8>,
            #[serde(default, deserialize_with = "duration")]
            image_min_age: Option<Duration>,
        }
        let written = Written::deserialize(deserializer)?;
        let default = Limits::default();
        let limits = Limits {
            high_percent: written.image_gc_high_percent.unwrap_or(default.high_percent),
            low_percent: written.image_gc_low_percent.unwrap_or(default.low_percent),
            min_age: written.image_min_age.unwrap_or(default.min_age),
        };
        if limits.high_percent > 100 {
            return Err(D::Error::custom("image-gc-high-percent must be at most 100"));
        }
        if limits.low_percent >= limits.high_percent {
            return Err(D::Error::custom("image-gc-low-percent must be lower than image-gc-high-percent"));
        }
        Ok(Self(Some(Rules { image_gc: written.image_gc.unwrap_or(true).then_some(limits) })))
    }
}

/// `2m`, `1h30m`, `90s`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::cli::duration(&text).map(Some).map_err(D::Error::custom)
}

/// `app-names`: which apps on the box find each other by name.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
pub enum GivenAppNames {
    #[default]
    Namespace,
    All,
    None,
}

impl From<GivenAppNames> for AppNames {
    fn from(given: GivenAppNames) -> Self {
        match given {
            GivenAppNames::Namespace => Self::Namespace,
            GivenAppNames::All => Self::All,
            GivenAppNames::None => Self::None,
        }
    }
}

/// `[devices.NAME]`.
pub type GivenDevices = BTreeMap<String, GivenDevice>;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenDevice(pub Device);

impl<'de> Deserialize<'de> for GivenDevice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            #[serde(default)]
            paths: Vec<String>,
            #[serde(default)]
            gpu: bool,
            #[serde(default = "one")]
            count: u64,
        }
        fn one() -> u64 {
            1
        }
        let Written { paths, gpu, count } = Written::deserialize(deserializer)?;
        if paths.is_empty() && !gpu {
            return Err(D::Error::custom("a device needs paths = [\"/dev/…\"], or gpu = true"));
        }
        if count == 0 {
            return Err(D::Error::custom("count must be at least 1"));
        }
        if let Some(path) = paths.iter().find(|path| !is_plain(Path::new(path)) || !path.starts_with("/dev/"))
        {
            return Err(D::Error::custom(format!("{path:?} is no device; write /dev/NAME")));
        }
        Ok(Self(Device { paths, gpu, count }))
    }
}

/// The names of `[devices.NAME]` are those of `skerry.dev/NAME` resources.
pub(super) fn devices<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GivenDevices, D::Error> {
    let devices = GivenDevices::deserialize(deserializer)?;
    for name in devices.keys() {
        if let Err(error) = name.parse::<skerry_terms::ContainerName>() {
            return Err(D::Error::custom(format!("[devices.{name}]: {error}")));
        }
    }
    Ok(devices)
}

fn is_plain(path: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.components().all(plain)
}

fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let paths = Vec::<PathBuf>::deserialize(deserializer)?;
    match paths.iter().find(|path| !is_plain(path)) {
        Some(path) => Err(D::Error::custom(format!("{} must be absolute, without `..`", path.display()))),
        None => Ok(paths),
    }
}

fn capabilities<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let bare = |name: String| name.strip_prefix("CAP_").unwrap_or(&name).to_owned();
    let names: BTreeSet<String> = names.into_iter().map(bare).collect();
    let sound =
        |name: &&String| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    match names.iter().find(|name| name.is_empty() || !sound(name)) {
        Some(name) => {
            Err(D::Error::custom(format!("{name:?} is no capability; write NET_ADMIN and the like")))
        }
        None => Ok(names),
    }
}

fn registries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RegistryPattern>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

/// What lies on the box and concerns the rules.
pub(super) struct Lie<'a> {
    pub docker_socket: &'a Path,
    /// The agent's own folders and files.
    pub own: Vec<PathBuf>,
    pub seccomp_profiles: bool,
    pub devices: BTreeSet<String>,
}

/// The rules in force.
pub(super) fn policy(given: GivenPolicy, lie: Lie<'_>) -> Policy {
    let GivenPolicy {
        privileged,
        host_network,
        host_pid,
        host_ipc,
        host_paths,
        capabilities,
        docker_socket,
        registries,
        sysctls,
        seccomp_unconfined,
    } = given;
    let Lie { docker_socket: socket, own, seccomp_profiles, devices } = lie;
    let default = Policy::default();
    let sockets = default.docker_sockets.into_iter().chain([socket.to_owned()]);
    let own = own.into_iter().chain(RUN_FOLDERS.map(PathBuf::from));
    Policy {
        privileged,
        host_network: host_network.unwrap_or(default.host_network),
        host_pid,
        host_ipc,
        host_paths: with_real_names(host_paths),
        capabilities,
        docker_socket,
        registries,
        sysctls,
        seccomp_unconfined,
        seccomp_profiles,
        devices,
        docker_sockets: with_real_names(sockets),
        agent_folders: with_real_names(own),
    }
}

/// Each path, and what it resolves to: a volume is judged as it is written and as it is mounted.
fn with_real_names(paths: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for path in paths {
        let path = std::path::absolute(&path).unwrap_or(path);
        for name in [real_name(&path), path] {
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    all
}

/// What a path resolves to, as far as it exists.
fn real_name(path: &Path) -> PathBuf {
    path.ancestors()
        .find_map(|there| {
            let rest = path.strip_prefix(there).ok()?;
            let real = there.canonicalize().ok()?;
            Some(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
        })
        .unwrap_or_else(|| path.to_owned())
}
