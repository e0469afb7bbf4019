//! What the kernel says of disks and memory. What it does not say is not known, and nothing follows from that.

use std::fs;
use std::path::Path;

use skerry_agent_core::housekeeping::{DiskUse, MemoryUse};

/// Where the figures come from.
pub trait Gauges: Send + Sync + 'static {
    /// The file system that this path is on. Absent where the path is not there, as with a Docker in another mount namespace.
    fn disk(&self, path: &Path) -> Option<DiskUse>;

    fn memory(&self) -> MemoryUse;
}

/// The box itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl Gauges for Kernel {
    fn disk(&self, path: &Path) -> Option<DiskUse> {
        let found = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        // What is kept for root alone counts as neither: as `df` has it.
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        let total = bytes(used.saturating_add(found.f_bavail));
        (total > 0).then(|| DiskUse { total, available: bytes(found.f_bavail) })
    }

    fn memory(&self) -> MemoryUse {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        memory(&read("/proc/meminfo"), &read("/proc/pressure/memory"))
    }
}

fn memory(meminfo: &str, pressure: &str) -> MemoryUse {
    let bytes = |key: &str| {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        rest.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
    };
    // A kernel without MemAvailable is older than Docker can use.
    let (Some(total), Some(available)) = (bytes("MemTotal:"), bytes("MemAvailable:")) else {
        return MemoryUse::default();
    };
    let full = pressure.lines().find_map(|line| line.strip_prefix("full "));
    let stalled = full.and_then(|line| line.split(' ').find_map(|word| word.strip_prefix("avg60=")));
    let stalled_percent = stalled.and_then(|text| text.split('.').next()?.parse().ok());
    MemoryUse { total, available, stalled_percent }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_disk_and_memory() {
        let disk = Kernel.disk(Path::new("/")).expect("a file system");
        assert!(disk.total > disk.available && disk.percent() <= 100, "{disk:?}");
        assert_eq!(Kernel.disk(Path::new("/nonexistent")), None);
        assert_eq!(Kernel.disk(Path::new("/proc")), None, "a file system without a size is never full");
        let memory = Kernel.memory();
        assert!(memory.total > memory.available && memory.available > 0, "{memory:?}");
    }

    #[test]
    fn the_kernels_files_are_read() {
        let meminfo = "MemTotal:        1000 kB\nMemFree:          10 kB\nMemAvailable:     500 kB\n";
        let pressure = "some avg10=0.00 avg60=33.00 avg300=0.00 total=1\nfull avg10=9.00 avg60=12.75 avg300=0.00 total=1\n";
        let expected = MemoryUse { total: 1_024_000, available: 512_000, stalled_percent: Some(12) };
        assert_eq!(memory(meminfo, pressure), expected);
        assert_eq!(memory(meminfo, "").stalled_percent, None);
        assert_eq!(memory("", pressure), MemoryUse::default());
    }
}
