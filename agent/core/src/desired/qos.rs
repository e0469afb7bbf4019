//! Kubernetes' quality-of-service classes: which processes the kernel ends first when the box is out of memory.

use super::AppSpec;

/// How an app's requests and limits rank it. Never changed in place, as in Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Qos {
    /// Every container's limits are set, and what it requests is what it is limited to.
    Guaranteed,
    Burstable,
    /// No container requests or is limited in anything.
    #[default]
    BestEffort,
}

impl AppSpec {
    /// As Kubernetes computes it from all containers, init containers included.
    pub fn qos(&self) -> Qos {
        let all = || self.containers.iter().map(|container| &container.resources);
        let guaranteed = all().all(|resources| {
            resources.cpu_limit_millis.is_some()
                && resources.memory_limit_bytes.is_some()
                && resources.cpu_request_millis == resources.cpu_limit_millis
                && resources.memory_request_bytes == resources.memory_limit_bytes
        });
        if all().all(|resources| *resources == Default::default()) {
            Qos::BestEffort
        } else if guaranteed {
            Qos::Guaranteed
        } else {
            Qos::Burstable
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;
    use crate::{Container, Resources};

    fn qos(resources: &[[u64; 4]]) -> Qos {
        let containers = resources.iter().enumerate().map(|(i, [cpu_limit, cpu, memory_limit, memory])| {
            let resources = Resources {
                cpu_limit_millis: NonZeroU64::new(*cpu_limit),
                memory_limit_bytes: NonZeroU64::new(*memory_limit),
                cpu_request_millis: NonZeroU64::new(*cpu),
                memory_request_bytes: NonZeroU64::new(*memory),
            };
            Container {
                resources,
                ..Container::new(format!("c{i}").parse().expect("a name"), "i".to_owned())
            }
        });
        AppSpec::new("a/b".parse().expect("a key"), "b-1".to_owned(), containers.collect()).qos()
    }

    #[test]
    fn the_class_is_that_of_all_containers_together() {
        assert_eq!(qos(&[[0; 4], [0; 4]]), Qos::BestEffort);
        assert_eq!(qos(&[[1, 1, 2, 2], [3, 3, 4, 4]]), Qos::Guaranteed);
        assert_eq!(qos(&[[1, 1, 2, 2], [0; 4]]), Qos::Burstable);
        assert_eq!(qos(&[[1, 1, 2, 1]]), Qos::Burstable);
        assert_eq!(qos(&[[0, 1, 0, 0]]), Qos::Burstable);
    }
}
