//! Amounts of resources: what an app requests, what a node has, and whether the one fits into the rest of the other.

use std::collections::BTreeMap;

use skerry_api::template::{CPU, MEMORY};
use skerry_api::{Container, ContainerKind, PodSpec, Quantity, Resources};

/// Whole numbers by resource: cpu in thousandths of a core, memory in bytes, devices by count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, u64>);

/// What a node lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    pub resource: String,
    pub requested: u64,
    pub free: u64,
}

impl Amounts {
    /// What a pod requests, as Kubernetes counts it: its containers run together, an init container runs beside the sidecars
    /// before it, and of both the greater counts.
    pub fn requested(spec: &PodSpec) -> Self {
        let (mut together, mut peak) = (Self::default(), Self::default());
        for (kind, container) in spec.all_containers() {
            let own = Self::of(container);
            match kind {
                ContainerKind::Init => peak.raise(&together.plus(&own)),
                ContainerKind::Sidecar | ContainerKind::Main => together = together.plus(&own),
            }
        }
        peak.raise(&together);
        peak
    }

    fn of(container: &Container) -> Self {
        let Some(resources) = &container.resources else {
            return Self::default();
        };
        let lists = [&resources.requests, &resources.limits];
        let names = lists.into_iter().flatten().flat_map(|list| list.0.keys());
        let amount = |name: &String| {
            let amount = whole(name, resources.effective_request(name)?)?;
            (amount > 0).then(|| (name.clone(), amount))
        };
        Self(names.filter_map(amount).collect())
    }

    /// What a node has. What cannot be read counts as not told.
    pub fn of_node(resources: &Resources) -> Self {
        Self(
            resources
                .iter()
                .filter_map(|(name, amount)| Some((name.clone(), whole(name, amount)?)))
                .collect(),
        )
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a request away, or says what is lacking and leaves all as it is. A node that does not tell how much cpu or memory it
    /// has is taken to have enough; a device that it does not list it has not.
    pub fn reserve(&mut self, request: &Self) -> Result<(), Shortage> {
        for (resource, requested) in &request.0 {
            let free = match self.0.get(resource) {
                Some(free) => *free,
                None if resource == CPU || resource == MEMORY => continue,
                None => 0,
            };
            if *requested > free {
                return Err(Shortage { resource: resource.clone(), requested: *requested, free });
            }
        }
        for (resource, requested) in &request.0 {
            if let Some(free) = self.0.get_mut(resource) {
                *free -= requested;
            }
        }
        Ok(())
    }

    fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (name, amount) in &other.0 {
            let entry = sum.0.entry(name.clone()).or_default();
            *entry = entry.saturating_add(*amount);
        }
        sum
    }

    /// The greater of both, resource by resource.
    fn raise(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let entry = self.0.entry(name.clone()).or_default();
            *entry = (*entry).max(*amount);
        }
    }
}

impl Shortage {
    /// An amount of this resource, as a person writes it.
    pub fn written(&self, amount: u64) -> String {
        const MEBI: u64 = 1 << 20;
        match self.resource.as_str() {
            CPU if amount.is_multiple_of(1000) => (amount / 1000).to_string(),
            CPU => format!("{amount}m"),
            MEMORY if amount >= MEBI => format!("{}Mi", amount / MEBI),
            _ => amount.to_string(),
        }
    }
}

/// An amount in the unit of its resource. None for what is no quantity; the checks of a spec refuse that before.
fn whole(resource: &str, amount: &Quantity) -> Option<u64> {
    if resource == CPU { amount.millis().ok() } else { amount.units().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requested(json: &str) -> Amounts {
        Amounts::requested(&serde_json::from_str(json).expect("a pod spec"))
    }

    fn amounts(pairs: &[(&str, u64)]) -> Amounts {
        Amounts(pairs.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect())
    }

    #[test]
    fn init_containers_count_as_in_kubernetes() {
        let pod = requested(
            r#"{"initContainers": [
                    {"name": "side", "image": "x", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                    {"name": "init", "image": "x", "resources": {"requests": {"cpu": "1", "memory": "8Mi"}}}],
                "containers": [
                    {"name": "a", "image": "x", "resources": {"requests": {"cpu": "200m"}, "limits": {"cpu": 3, "memory": "16Mi"}}},
                    {"name": "b", "image": "x", "resources": {"limits": {"skerry.dev/camera": 1}}}]}"#,
        );
        // Init beside the sidecar: 1100m; later sidecar, a and b: 300m. A request that is absent is the limit.
        assert_eq!(pod, amounts(&[("cpu", 1100), ("memory", 16 << 20), ("skerry.dev/camera", 1)]));
    }

    #[test]
    fn nothing_requested_takes_nothing() {
        assert!(requested(r#"{"containers": [{"name": "a", "image": "x"}]}"#).is_empty());
    }

    #[test]
    fn a_request_that_does_not_fit_takes_nothing() {
        let mut free = amounts(&[("cpu", 1000), ("skerry.dev/camera", 1)]);
        let request = amounts(&[("cpu", 500), ("memory", 1), ("skerry.dev/camera", 1)]);
        assert_eq!(free.reserve(&request), Ok(()), "memory that is not told is taken to be enough");
        let shortage = free.reserve(&request).expect_err("one camera");
        assert_eq!(
            (shortage.resource.as_str(), shortage.requested, shortage.free),
            ("skerry.dev/camera", 1, 0)
        );
        assert_eq!(free, amounts(&[("cpu", 500), ("skerry.dev/camera", 0)]));
        assert!(free.reserve(&amounts(&[("skerry.dev/gpu", 1)])).is_err(), "a device that is not listed");
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        let of = |resource: &str, amount| {
            Shortage { resource: resource.into(), requested: 0, free: 0 }.written(amount)
        };
        assert_eq!(of("cpu", 2000), "2");
        assert_eq!(of("cpu", 1500), "1500m");
        assert_eq!(of("memory", 64 << 20), "64Mi");
        assert_eq!(of("skerry.dev/camera", 1), "1");
    }
}
