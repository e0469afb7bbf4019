//! Limits and requests in Docker's figures, and back again.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use bollard::models::{DeviceMapping, DeviceRequest, HostConfig};
use serde::{Deserialize, Serialize};
use skerry_agent_core::{Device, Resources};

/// The least that Docker takes: a hundredth of a core. Kubernetes' users may write less.
const CPU_MILLIS_MIN: u64 = 10;
const NANOS_PER_MILLI: u64 = 1_000_000;
/// kubelet's formula for a share of the processors: a core is 1024.
const SHARES_PER_CORE: u64 = 1024;
const SHARES_MIN: u64 = 2;
const SHARES_MAX: u64 = 262_144;
/// The least that every Docker takes as a limit of memory.
const MEMORY_MIN: u64 = 6 << 20;

/// What Docker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Limits {
    /// Billionths of a core. 0: no limit.
    pub nano_cpus: i64,
    pub cpu_shares: i64,
    /// Bytes. 0: no limit.
    pub memory: i64,
}

/// `cores` is the number of the box's processors: Docker refuses a limit above it, for Kubernetes it is no limit.
pub(in crate::engine) fn limits(resources: &Resources, cores: u64) -> Limits {
    let Resources { cpu_limit_millis, memory_limit_bytes, cpu_request_millis, memory_request_bytes: _ } =
        resources;
    let nano_cpus = cpu_limit_millis.map_or(0, |millis| {
        millis.get().max(CPU_MILLIS_MIN).min(cores.saturating_mul(1000)).saturating_mul(NANOS_PER_MILLI)
    });
    let shares = cpu_request_millis.map_or(0, |millis| millis.get().saturating_mul(SHARES_PER_CORE) / 1000);
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Limits {
        nano_cpus: signed(nano_cpus),
        cpu_shares: signed(shares.clamp(SHARES_MIN, SHARES_MAX)),
        memory: memory_limit_bytes.map_or(0, |bytes| signed(bytes.get().max(MEMORY_MIN))),
    }
}

/// How a limit of memory is taken away: Docker has no word for it that every version takes, and the kernel takes this for none.
pub(in crate::engine) const MEMORY_UNLIMITED: i64 = 1 << 62;

impl Limits {
    /// What Docker says of a container. A limit of the whole box, and one that no box reaches, are how a limit is taken away.
    pub fn of(host: &HostConfig, cores: u64) -> Self {
        let whole = i64::try_from(cores.saturating_mul(1000 * NANOS_PER_MILLI)).unwrap_or(i64::MAX);
        let nano_cpus = host.nano_cpus.unwrap_or(0);
        Self {
            nano_cpus: if nano_cpus >= whole { 0 } else { nano_cpus.max(0) },
            cpu_shares: host.cpu_shares.unwrap_or(0),
            memory: host.memory.filter(|bytes| (0..MEMORY_UNLIMITED).contains(bytes)).unwrap_or(0),
        }
    }

    /// True if a container with these limits has those that were asked for.
    pub fn are(&self, asked: &Resources, cores: u64) -> bool {
        let asked = limits(asked, cores);
        let as_host = HostConfig {
            nano_cpus: Some(asked.nano_cpus),
            cpu_shares: Some(asked.cpu_shares),
            memory: Some(asked.memory),
            ..Default::default()
        };
        *self == Self::of(&as_host, cores)
    }

    /// The nearest that can be said without knowing what was asked for.
    pub fn to_resources(self) -> Resources {
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        let shares = number(self.cpu_shares);
        let request = if shares <= SHARES_MIN { 0 } else { (shares * 1000).div_ceil(SHARES_PER_CORE) };
        Resources {
            cpu_limit_millis: NonZeroU64::new(number(self.nano_cpus) / NANOS_PER_MILLI),
            memory_limit_bytes: NonZeroU64::new(number(self.memory)),
            cpu_request_millis: NonZeroU64::new(request),
            memory_request_bytes: None,
        }
    }
}

pub(super) fn set(host: &mut HostConfig, limits: &Limits) {
    let Limits { nano_cpus, cpu_shares, memory } = *limits;
    host.nano_cpus = (nano_cpus > 0).then_some(nano_cpus);
    host.cpu_shares = Some(cpu_shares);
    host.memory = (memory > 0).then_some(memory);
    // Equal to memory: without it a container swaps out as much again, and its limit does not hold.
    host.memory_swap = host.memory;
}

/// Every device node of every resource, as it is on the box.
pub(super) fn devices(host: &mut HostConfig, devices: &BTreeMap<String, (u64, Device)>) {
    let mut paths: Vec<&String> = devices.values().flat_map(|(_, device)| &device.paths).collect();
    paths.sort();
    paths.dedup();
    let mapping = |path: &String| DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path.clone()),
        cgroup_permissions: Some("rwm".to_owned()),
    };
    host.devices = (!paths.is_empty()).then(|| paths.into_iter().map(mapping).collect());
    let gpu = devices.values().any(|(_, device)| device.gpu);
    host.device_requests = gpu.then(|| {
        vec![DeviceRequest {
            // All of them.
            count: Some(-1),
            capabilities: Some(vec![vec!["gpu".to_owned()]]),
            ..Default::default()
        }]
    });
}

/// [`Resources`] as a label.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Label {
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_limit_millis: Option<NonZeroU64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit_bytes: Option<NonZeroU64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_request_millis: Option<NonZeroU64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_request_bytes: Option<NonZeroU64>,
}

/// `None` when nothing was asked for.
pub(super) fn to_label(resources: &Resources) -> Option<String> {
    let Resources { cpu_limit_millis, memory_limit_bytes, cpu_request_millis, memory_request_bytes } =
        *resources;
    let label = Label { cpu_limit_millis, memory_limit_bytes, cpu_request_millis, memory_request_bytes };
    // Numbers always have a form in JSON.
    (*resources != Resources::default()).then(|| serde_json::to_string(&label).unwrap_or_default())
}

/// What a container's label says was asked for when it was created.
pub(in crate::engine) fn from_label(text: Option<&str>) -> Resources {
    let label = text.and_then(|text| serde_json::from_str(text).ok());
    label.map_or_else(Resources::default, |label| {
        let Label { cpu_limit_millis, memory_limit_bytes, cpu_request_millis, memory_request_bytes } = label;
        Resources { cpu_limit_millis, memory_limit_bytes, cpu_request_millis, memory_request_bytes }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(cpu_limit: u64, memory_limit: u64, cpu: u64, memory: u64) -> Resources {
        Resources {
            cpu_limit_millis: NonZeroU64::new(cpu_limit),
            memory_limit_bytes: NonZeroU64::new(memory_limit),
            cpu_request_millis: NonZeroU64::new(cpu),
            memory_request_bytes: NonZeroU64::new(memory),
        }
    }

    #[test]
    fn a_cpu_limit_above_the_box_is_the_whole_box() {
        assert_eq!(limits(&asked(64_000, 0, 0, 0), 2).nano_cpus, 2_000_000_000);
        assert_eq!(limits(&asked(1, 0, 0, 0), 2).nano_cpus, 10_000_000, "the least that Docker takes");
    }

    #[test]
    fn shares_are_kubelets() {
        let shares = |millis| limits(&asked(0, 0, millis, 0), 2).cpu_shares;
        assert_eq!([0, 1, 100, 1000, 1_000_000].map(shares), [2, 2, 102, 1024, 262_144]);
    }

    /// Whatever was asked for is recognised in what Docker makes of it, and survives the label.
    #[test]
    fn what_was_asked_for_is_recognised() {
        for resources in [
            asked(0, 0, 0, 0),
            asked(1, 1, 1, 1),
            asked(500, 64 << 20, 250, 32 << 20),
            asked(64_000, 1 << 40, 3, 5),
        ] {
            let mut host = HostConfig::default();
            set(&mut host, &limits(&resources, 2));
            assert!(Limits::of(&host, 2).are(&resources, 2), "{resources:?}");
            assert!(!Limits::of(&host, 2).are(&asked(700, 64 << 21, 300, 0), 2), "{resources:?}");
            assert_eq!(from_label(to_label(&resources).as_deref()), resources);
        }
        assert_eq!(to_label(&Resources::default()), None);
        assert_eq!(from_label(Some("{")), Resources::default());
    }

    #[test]
    fn without_a_label_the_nearest_is_said() {
        let mut host = HostConfig::default();
        let resources = asked(500, 64 << 20, 250, 0);
        set(&mut host, &limits(&resources, 2));
        assert_eq!(Limits::of(&host, 2).to_resources(), resources);
        let unlimited = HostConfig {
            memory: Some(MEMORY_UNLIMITED),
            nano_cpus: Some(2_000_000_000),
            ..Default::default()
        };
        assert_eq!(Limits::of(&unlimited, 2).to_resources(), Resources::default());
    }
}
