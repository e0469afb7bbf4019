//! Which images a revision runs from. A name can be moved to other bits, and what is gone back to must be what was proven: so a revision
//! is remembered together with the ids of its images.

use std::collections::{BTreeMap, BTreeSet};

use skerry_terms::{ContainerName, Digest, Payload};

use crate::unit::units;
use crate::{ImageId, Observed, ObservedContainer, Role, ValidApp};

/// The image of each container of an app.
pub type Images = BTreeMap<ContainerName, ImageId>;

/// A payload that proved itself, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub payload: Payload,
    pub print: Digest,
    /// Of a container that was never seen there is none: then its image's name counts.
    pub images: Images,
    /// The images of the revision that was committed before this one.
    pub before: BTreeSet<ImageId>,
}

impl Committed {
    /// Takes in what the containers run from. True if something is new.
    pub(super) fn learn(&mut self, seen: &Images) -> bool {
        let mut learnt = false;
        for (name, image) in seen {
            learnt |= self.images.insert(name.clone(), image.clone()).as_ref() != Some(image);
        }
        learnt
    }
}

/// What the app's containers were created from, those of this very spec: of several runs of one the newest counts.
pub(super) fn seen(app: &ValidApp, observed: &Observed) -> Images {
    let Observed::Known(world) = observed else { return Images::new() };
    let of_app = |container: &&ObservedContainer| {
        container.ownership().is_some_and(|owner| owner.app == app.key) && container.image.is_some()
    };
    let mine: Vec<&ObservedContainer> = world.containers.values().filter(of_app).collect();
    if mine.is_empty() {
        return Images::new();
    }
    let images = units(app).into_iter().filter_map(|unit| {
        let Role::Container(name) = &unit.role else { return None };
        let runs = mine.iter().filter_map(|container| {
            let owner = container.ownership()?;
            let same = owner.role == unit.role && owner.hash.as_ref() == Some(&unit.hash);
            same.then_some((container.state.is_alive(), owner.restart_count, container.image.as_ref()?))
        });
        Some((name.clone(), runs.max()?.2.clone()))
    });
    images.collect()
}
