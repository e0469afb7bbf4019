//! When a disk or the memory of the box counts as short. With a distance between the two directions, so that a figure which swings around the
//! mark does not make a condition that flaps.

/// How full a file system is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskUse {
    pub total: u64,
    /// What can still be written by anybody but root.
    pub available: u64,
}

/// How the box's memory stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// In bytes. 0: the kernel does not say.
    pub total: u64,
    pub available: u64,
    /// Of the last minute, how much all processes stood still for want of memory, in percent. Absent where the kernel does not say.
    pub stalled_percent: Option<u8>,
}

/// Full to this much, nothing more is pulled: what is left is for what runs. Kubernetes evicts far earlier, but here nothing is evicted, and the
/// disks of boxes are small.
const DISK_SHORT_PERCENT: u64 = 95;
/// And it is over below this.
const DISK_RELAXED_PERCENT: u64 = 93;
/// kubelet's mark, for boxes that have much; 5 % for those that have little.
const MEMORY_SHORT_MAX: u64 = 100 << 20;
const MEMORY_SHORT_PARTS: u64 = 20;
/// A box whose processes all stand still for a tenth of the time is busy with moving pages.
const STALLED_SHORT: u8 = 10;
const STALLED_RELAXED: u8 = 5;

impl DiskUse {
    /// Rounded up, as `df` does. 0 for a file system without a size.
    pub fn percent(&self) -> u64 {
        let used = u128::from(self.total.saturating_sub(self.available)) * 100;
        let percent = used.div_ceil(u128::from(self.total.max(1)));
        u64::try_from(percent).unwrap_or(100)
    }

    /// How many bytes have to go until it is no fuller than this.
    pub fn over(&self, percent: u64) -> u64 {
        let allowed = u128::from(self.total) * u128::from(percent.min(100)) / 100;
        let used = u128::from(self.total.saturating_sub(self.available));
        u64::try_from(used.saturating_sub(allowed)).unwrap_or(u64::MAX)
    }
}

/// `was`: it was short when it was last asked about.
pub fn disk_is_short(was: bool, disk: &DiskUse) -> bool {
    disk.percent() >= if was { DISK_RELAXED_PERCENT } else { DISK_SHORT_PERCENT }
}

/// `was`: it was short when it was last asked about.
pub fn memory_is_short(was: bool, memory: &MemoryUse) -> bool {
    let mark = (memory.total / MEMORY_SHORT_PARTS).min(MEMORY_SHORT_MAX);
    let mark = if was { mark.saturating_add(mark / 2) } else { mark };
    let stalled = if was { STALLED_RELAXED } else { STALLED_SHORT };
    memory.total > 0
        && (memory.available < mark || memory.stalled_percent.is_some_and(|percent| percent >= stalled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(available: u64) -> DiskUse {
        DiskUse { total: 1000, available }
    }

    #[test]
    fn a_disk_is_short_late_and_recovers_with_a_distance() {
        assert!(!disk_is_short(false, &disk(60)));
        assert!(disk_is_short(false, &disk(50)));
        assert!(disk_is_short(true, &disk(60)), "not yet");
        assert!(!disk_is_short(true, &disk(90)));
        assert!(!disk_is_short(false, &DiskUse::default()), "a file system without a size is not full");
    }

    #[test]
    fn what_has_to_go_brings_it_exactly_there() {
        assert_eq!(disk(100).over(80), 100);
        assert_eq!(disk(200).over(80), 0);
        assert_eq!(DiskUse { total: u64::MAX, available: 0 }.over(0), u64::MAX);
    }

    #[test]
    fn memory_is_short_by_its_size_or_by_what_stands_still() {
        let small = MemoryUse { total: 512 << 20, available: 30 << 20, stalled_percent: None };
        assert!(!memory_is_short(false, &small));
        assert!(memory_is_short(true, &small), "not yet over");
        assert!(memory_is_short(false, &MemoryUse { available: 25 << 20, ..small }));
        let large = MemoryUse { total: 64 << 30, available: 101 << 20, stalled_percent: Some(9) };
        assert!(!memory_is_short(false, &large));
        assert!(memory_is_short(false, &MemoryUse { available: 99 << 20, ..large }));
        assert!(memory_is_short(false, &MemoryUse { stalled_percent: Some(10), ..large }));
        assert!(!memory_is_short(false, &MemoryUse::default()), "what is not known is not short");
    }
}
