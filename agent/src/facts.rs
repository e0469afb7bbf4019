//! What the box is: for the node's status, and for what depends on the machine. Read once per session; what cannot be read stays
//! empty, because a box with an odd /proc must still join.

mod addresses;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use skerry_proto::wire;

pub use addresses::addresses;

/// Everything about the box that the controller shows. Docker's version and the devices that the owner lends are for the caller to
/// add: they are not the box's to know.
pub fn node_facts() -> wire::NodeFacts {
    let uname = rustix::system::uname();
    wire::NodeFacts {
        architecture: architecture().to_owned(),
        operating_system: std::env::consts::OS.to_owned(),
        os_image: os_image(),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        docker_version: String::new(),
        cpu_count: cpu_count(),
        memory_bytes: memory_bytes(),
        addresses: addresses().into_iter().map(|address| address.to_string()).collect(),
        hostname: hostname(),
        devices: BTreeMap::new(),
    }
}

/// Go's name for the processor, as Kubernetes and Docker use it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        same => same,
    }
}

/// The kernel's host name.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Changes with every start of the box, and only then.
pub fn boot_id() -> String {
    read("/proc/sys/kernel/random/boot_id")
}

/// Processors that are online. Not what this process may use: systemd may limit the agent, but not the containers.
pub fn cpu_count() -> u32 {
    count_ranges(&read("/sys/devices/system/cpu/online")).unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
    })
}

/// `0-3,6` is 5.
fn count_ranges(text: &str) -> Option<u32> {
    text.split(',')
        .map(|range| match range.split_once('-') {
            Some((first, last)) => {
                let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
                last.checked_sub(first)?.checked_add(1)
            }
            None => range.parse::<u32>().ok().map(|_| 1),
        })
        .try_fold(0u32, |sum, count| sum.checked_add(count?))
}

/// The memory of the box. 0 when the kernel does not say.
pub fn memory_bytes() -> u64 {
    let text = read("/proc/meminfo");
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<u64> = total.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

fn os_image() -> String {
    let text = ["/etc/os-release", "/usr/lib/os-release"].into_iter().map(read).find(|text| !text.is_empty());
    let text = text.unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_counted_over_gaps() {
        assert_eq!(count_ranges("0"), Some(1));
        assert_eq!(count_ranges("0-3,6,8-9"), Some(7));
        assert_eq!(count_ranges(""), None);
        assert_eq!(count_ranges("3-1"), None);
    }

    #[test]
    fn this_machine_has_facts() {
        let facts = node_facts();
        assert!(facts.cpu_count > 0 && facts.memory_bytes > 1 << 20, "{facts:?}");
        assert!(!facts.kernel_version.is_empty() && !facts.hostname.is_empty(), "{facts:?}");
        assert_eq!(boot_id().len(), 36);
    }
}
