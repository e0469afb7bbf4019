//! Limits that change while a container runs. Docker takes 0 for "as it is", so taking a limit away has a form of its own.

use bollard::models::ContainerUpdateBody;
use skerry_agent_core::{ContainerId, Resources};

use super::EngineError;
use super::create::{Limits, MEMORY_UNLIMITED, limits};
use super::docker::{Docker, WORK_TIMEOUT, bounded, lock};

/// No limit of memory and swap together. More than that of memory alone: on cgroup v2 the difference is what may be swapped.
const SWAP_UNLIMITED: i64 = MEMORY_UNLIMITED + (MEMORY_UNLIMITED >> 1);

pub(super) async fn update(
    docker: &Docker,
    id: &ContainerId,
    resources: &Resources,
) -> Result<(), EngineError> {
    let body = body(&limits(resources, docker.machine.cores), docker.machine.cores);
    bounded(WORK_TIMEOUT, docker.client().await?.update_container(&id.0, body)).await?;
    // Docker keeps figures of its own; the next look must recognise what was asked for.
    lock(&docker.inspected).asked(id, *resources);
    Ok(())
}

fn body(limits: &Limits, cores: u64) -> ContainerUpdateBody {
    let Limits { nano_cpus, cpu_shares, memory } = *limits;
    let whole = i64::try_from(cores.saturating_mul(1_000_000_000)).unwrap_or(i64::MAX);
    let (memory, memory_swap) = match memory {
        0 => (MEMORY_UNLIMITED, SWAP_UNLIMITED),
        limited => (limited, limited),
    };
    ContainerUpdateBody {
        // All of the box is no limit.
        nano_cpus: Some(if nano_cpus == 0 { whole } else { nano_cpus }),
        cpu_shares: Some(cpu_shares),
        memory: Some(memory),
        // Together: a limit of memory above that of both is refused, whichever is set first.
        memory_swap: Some(memory_swap),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    #[test]
    fn a_limit_that_is_taken_away_is_said_so() {
        let none = body(&limits(&Resources::default(), 2), 2);
        assert_eq!(
            (none.nano_cpus, none.cpu_shares, none.memory, none.memory_swap),
            (Some(2_000_000_000), Some(2), Some(MEMORY_UNLIMITED), Some(SWAP_UNLIMITED))
        );
        let some = Resources {
            cpu_limit_millis: NonZeroU64::new(250),
            memory_limit_bytes: NonZeroU64::new(64 << 20),
            ..Resources::default()
        };
        let some = body(&limits(&some, 2), 2);
        assert_eq!((some.nano_cpus, some.memory), (Some(250_000_000), some.memory_swap));
    }
}
