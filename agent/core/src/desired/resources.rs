//! What a container may use, and when two ways to say so are the same to Docker.

use std::num::NonZeroU64;

/// The least limit that Docker takes: a hundredth of a core. Kubernetes' users may write less.
const CPU_LIMIT_MIN: u64 = 10;
/// The least that every Docker takes as a limit of memory.
const MEMORY_LIMIT_MIN: u64 = 6 << 20;
const MILLIS_PER_CORE: u64 = 1000;
/// The kernel weighs in 1024ths of a core, from 2 to 262144. A container without a request has the least, as in Kubernetes.
const CPU_REQUEST_MIN: u64 = 2;
const CPU_REQUEST_MAX: u64 = 256_000;

/// What a container may use and what is kept for it. Absent: no limit, nothing kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub struct Resources {
    pub cpu_limit_millis: Option<NonZeroU64>,
    pub memory_limit_bytes: Option<NonZeroU64>,
    pub cpu_request_millis: Option<NonZeroU64>,
    pub memory_request_bytes: Option<NonZeroU64>,
}

impl Resources {
    /// The form in which two that mean the same to Docker are equal: a limit of the whole box is none, as for Kubernetes; one below what
    /// Docker takes is the least; a request of next to nothing is none; a request of memory is the scheduler's alone. `cores` is the number of the box's processors, 0 when that is not known.
    #[must_use]
    pub fn normal(self, cores: u64) -> Self {
        let whole_box = cores.checked_mul(MILLIS_PER_CORE).filter(|millis| *millis > 0);
        let cpu_limit = self.cpu_limit_millis.filter(|limit| whole_box.is_none_or(|all| limit.get() < all));
        let request = self.cpu_request_millis.filter(|request| request.get() > CPU_REQUEST_MIN);
        Self {
            cpu_limit_millis: cpu_limit.and_then(|limit| NonZeroU64::new(limit.get().max(CPU_LIMIT_MIN))),
            memory_limit_bytes: self
                .memory_limit_bytes
                .and_then(|limit| NonZeroU64::new(limit.get().max(MEMORY_LIMIT_MIN))),
            cpu_request_millis: request
                .and_then(|request| NonZeroU64::new(request.get().min(CPU_REQUEST_MAX))),
            memory_request_bytes: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpu(limit: u64, request: u64) -> Resources {
        Resources {
            cpu_limit_millis: NonZeroU64::new(limit),
            cpu_request_millis: NonZeroU64::new(request),
            ..Resources::default()
        }
    }

    #[test]
    fn what_docker_cannot_tell_apart_is_the_same() {
        assert_eq!(cpu(64_000, 0).normal(2), cpu(0, 2).normal(2), "a limit above the box is none");
        assert_eq!(cpu(2000, 0).normal(2), Resources::default().normal(2), "so is one of the whole box");
        assert_ne!(cpu(1999, 0).normal(2), Resources::default().normal(2));
        assert_eq!(cpu(1, 1).normal(2), cpu(10, 2).normal(2));
        assert_ne!(cpu(0, 1000).normal(2), cpu(0, 0).normal(2));
        assert_eq!(cpu(0, 300_000).normal(2), cpu(0, 256_000).normal(2));
        assert_ne!(cpu(64_000, 0).normal(0), Resources::default().normal(0), "nobody knows the box");
        let memory = Resources { memory_request_bytes: NonZeroU64::new(1), ..Resources::default() };
        assert_eq!(memory.normal(2), Resources::default().normal(2));
    }

    proptest! {
        #[test]
        fn the_normal_form_is_normal(limit: u64, request: u64, cores in 0u64..9) {
            let once = cpu(limit, request).normal(cores);
            prop_assert_eq!(once.normal(cores), once);
        }
    }
}
