//! Limits and requests.

use super::report::{Path, Report};
use super::text;
use crate::template::{CPU, DEVICE_PREFIX, MEMORY, ResourceList};
use crate::{Quantity, QuantityError, ResourceRequirements, bounds};

/// The smallest limit of processor time that the kernel accepts, in thousandths of a core.
const CPU_MIN: u64 = 10;
/// The smallest limit of memory that Docker accepts, in bytes.
const MEMORY_MIN: u64 = 6 << 20;
/// The largest amount of anything: Docker counts in signed numbers, and in billionths of a core.
const AMOUNT_MAX: u64 = i64::MAX as u64 / 1_000_000;
/// The largest amount of memory.
const MEMORY_MAX: u64 = i64::MAX as u64;

/// A resource by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resource {
    Cpu,
    Memory,
    Device,
}

impl Resource {
    fn of(name: &str) -> Option<Self> {
        match name {
            CPU => Some(Self::Cpu),
            MEMORY => Some(Self::Memory),
            device => device.strip_prefix(DEVICE_PREFIX).is_some_and(text::is_label).then_some(Self::Device),
        }
    }

    /// The amount in the unit that it is compared in: thousandths of a core, bytes, thousandths of a device.
    fn amount(self, quantity: &Quantity) -> Result<u64, QuantityError> {
        let (amount, max) = match self {
            Self::Cpu | Self::Device => (quantity.millis()?, AMOUNT_MAX),
            Self::Memory => (quantity.units()?, MEMORY_MAX),
        };
        if amount > max { Err(QuantityError::TooLarge(quantity.0.clone())) } else { Ok(amount) }
    }
}

pub(super) fn check(resources: &ResourceRequirements, path: &Path, report: &mut Report) {
    let ResourceRequirements { limits, requests } = resources;
    let empty = ResourceList::default();
    let limits_path = path.field("limits");
    for (name, resource, quantity, path) in entries(limits.as_ref().unwrap_or(&empty), &limits_path, report) {
        match (resource, resource.amount(quantity)) {
            (_, Err(error)) => report.add(&path, error.to_string()),
            (Resource::Cpu, Ok(amount)) => report.require(
                amount >= CPU_MIN,
                &path,
                "must be at least 10m, the smallest limit that the kernel accepts",
            ),
            (Resource::Memory, Ok(amount)) => report.require(
                amount >= MEMORY_MIN,
                &path,
                "must be at least 6Mi, the smallest limit that Docker accepts",
            ),
            (Resource::Device, Ok(amount)) => whole(name, amount, &path, report),
        }
    }
    let requests_path = path.field("requests");
    for (name, resource, quantity, path) in
        entries(requests.as_ref().unwrap_or(&empty), &requests_path, report)
    {
        let amount = match resource.amount(quantity) {
            Err(error) => {
                report.add(&path, error.to_string());
                continue;
            }
            Ok(amount) => amount,
        };
        let limit = resources.limit(name);
        let limit_amount = limit.and_then(|limit| resource.amount(limit).ok());
        match (resource, limit) {
            (Resource::Cpu | Resource::Memory, None) => {}
            (Resource::Cpu | Resource::Memory, Some(limit)) => report.require(
                limit_amount.is_none_or(|limit| amount <= limit),
                &path,
                format!("must be less than or equal to {name} limit of {limit}"),
            ),
            (Resource::Device, None) => report.add(
                &path,
                format!("limit must be set for non overcommitable resources: set limits[{name}] to the same number"),
            ),
            (Resource::Device, Some(limit)) => {
                whole(name, amount, &path, report);
                report.require(
                    limit_amount.is_none_or(|limit| amount == limit),
                    &path,
                    format!("must be equal to {name} limit of {limit}"),
                );
            }
        }
    }
}

/// The known resources of a list; the others are reported.
fn entries<'a>(
    list: &'a ResourceList,
    path: &Path,
    report: &mut Report,
) -> Vec<(&'a str, Resource, &'a Quantity, Path)> {
    let ResourceList(list) = list;
    if !report.fits(list.len(), bounds::SHORT_LIST, path) {
        return Vec::new();
    }
    let known = list.iter().filter_map(|(name, quantity)| {
        let path = path.key(name);
        let Some(resource) = Resource::of(name) else {
            report.add(
                &path,
                "is not supported; resources are cpu, memory and skerry.dev/<device>. Docker cannot limit others, such as ephemeral-storage",
            );
            return None;
        };
        Some((name.as_str(), resource, quantity, path))
    });
    known.collect()
}

fn whole(name: &str, millis: u64, path: &Path, report: &mut Report) {
    report.require(
        millis.is_multiple_of(1000),
        path,
        format!("must be an integer: {name} are whole devices"),
    );
}
