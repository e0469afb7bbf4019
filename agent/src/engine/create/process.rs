//! Whose the processes are, and how dear they are to the kernel.

use skerry_agent_core::{Qos, Resources, Role};

/// kubelet's figures. The sandbox is nearly sacred: with it everything else of the app ends.
const SANDBOX: i64 = -998;
const GUARANTEED: i64 = -997;
const BEST_EFFORT: i64 = 1000;

/// kubelet's formula: the more of the box's memory a container asks for, the later it is ended.
pub(super) fn oom_score(role: &Role, qos: Qos, resources: &Resources, memory: u64) -> i64 {
    match (role, qos) {
        (Role::Sandbox, _) => SANDBOX,
        (Role::Container(_), Qos::Guaranteed) => GUARANTEED,
        (Role::Container(_), Qos::BestEffort) => BEST_EFFORT,
        (Role::Container(_), Qos::Burstable) => {
            let request = resources.memory_request_bytes.map_or(0_u64, |request| request.get());
            let share = request.saturating_mul(1000).checked_div(memory).unwrap_or(0);
            let score = 1000_i64.saturating_sub(i64::try_from(share).unwrap_or(i64::MAX));
            // Above every guaranteed one, below every best-effort one.
            score.clamp(1000 + GUARANTEED, BEST_EFFORT - 1)
        }
    }
}

/// Whether the box lets a process be ended later than others: that takes CAP_SYS_RESOURCE. Docker's own capabilities are not ours to read, those
/// that this process could ever have are those of the box.
pub(super) fn may_protect() -> bool {
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bits = bounding.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_none_or(|bits| bits & (1 << CAP_SYS_RESOURCE) != 0)
}

/// `None` when there are none beside the user's own.
pub(super) fn groups(groups: &[u32], fs_group: Option<u32>) -> Option<Vec<String>> {
    let mut all: Vec<u32> = groups.iter().copied().chain(fs_group).collect();
    all.sort_unstable();
    all.dedup();
    (!all.is_empty()).then(|| all.iter().map(u32::to_string).collect())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn the_oom_score_is_kubelets() {
        let container = Role::Container("c".parse().expect("a name"));
        let score = |qos, request| {
            let resources =
                Resources { memory_request_bytes: NonZeroU64::new(request), ..Resources::default() };
            oom_score(&container, qos, &resources, 1000)
        };
        assert_eq!((score(Qos::Guaranteed, 10), score(Qos::BestEffort, 0)), (-997, 1000));
        assert_eq!(
            [0, 1, 500, 999, 5000].map(|request| score(Qos::Burstable, request)),
            [999, 999, 500, 3, 3]
        );
        assert_eq!(oom_score(&Role::Sandbox, Qos::BestEffort, &Resources::default(), 0), -998);
        assert_eq!(oom_score(&container, Qos::Burstable, &Resources::default(), 0), 999, "memory is unknown");
    }
}
