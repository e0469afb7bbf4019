//! Which images need a pin. Docker itself keeps the image of every container; a pin is a container of ours that is never started, for an image
//! that no running one holds: that of the revision before, that of an init container which has ended, that which an update may go back to.

use std::collections::{BTreeMap, BTreeSet};

use super::{Held, Needed};
use crate::{ContainerId, ImageId, World};

/// One thing to do about a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinChore {
    Pin(ImageId),
    Unpin { container: ContainerId, image: ImageId },
}

/// The images that running containers of ours hold. One that has ended may be pruned with its container.
pub fn running_images(world: &World) -> BTreeSet<ImageId> {
    let ours = world.containers.values().filter(|container| container.ownership().is_some());
    ours.filter(|container| container.state.is_alive())
        .filter_map(|container| container.image.clone())
        .collect()
}

/// What is to be done so that the pins on the box are those that are needed, one for each image. What is missing comes first. While not all
/// that is needed is known (`complete` is false), no pin is one too many.
pub fn pin_chores(
    needed: &Needed,
    running: &BTreeSet<ImageId>,
    pins: &BTreeMap<ContainerId, ImageId>,
    complete: bool,
) -> Vec<PinChore> {
    let wants_pin = |(image, held): (&ImageId, &Held)| match held {
        Held::ByPin => true,
        Held::ByContainers => !running.contains(image),
    };
    let wanted: BTreeSet<&ImageId> =
        needed.iter().filter(|(image, held)| wants_pin((*image, *held))).map(|(image, _)| image).collect();
    let mut found = BTreeSet::new();
    let surplus = pins.iter().filter(|(_, image)| !(wanted.contains(*image) && found.insert(*image)));
    let surplus: Vec<_> =
        surplus.map(|(id, image)| PinChore::Unpin { container: id.clone(), image: image.clone() }).collect();
    let missing = wanted.difference(&found).map(|image| PinChore::Pin((*image).clone()));
    missing.chain(surplus.into_iter().filter(|_| complete)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> ImageId {
        ImageId(format!("sha256:{name}"))
    }

    fn pins<const N: usize>(of: [(&str, &str); N]) -> BTreeMap<ContainerId, ImageId> {
        of.into_iter().map(|(id, name)| (ContainerId(id.to_owned()), image(name))).collect()
    }

    #[test]
    fn what_a_running_container_holds_needs_no_pin_unless_it_is_about_to_be_replaced() {
        let needed = Needed::from([
            (image("runs"), Held::ByContainers),
            (image("ended"), Held::ByContainers),
            (image("on trial"), Held::ByPin),
        ]);
        let running = [image("runs"), image("on trial")].into();
        let chores = pin_chores(&needed, &running, &BTreeMap::new(), true);
        assert_eq!(chores, [PinChore::Pin(image("ended")), PinChore::Pin(image("on trial"))]);
    }

    #[test]
    fn a_pin_too_many_goes_and_one_that_is_needed_stays() {
        let needed = Needed::from([(image("a"), Held::ByPin)]);
        let there = pins([("1", "a"), ("2", "a"), ("3", "b")]);
        let chores = pin_chores(&needed, &BTreeSet::new(), &there, true);
        let unpin = |id: &str, name: &str| PinChore::Unpin {
            container: ContainerId(id.to_owned()),
            image: image(name),
        };
        assert_eq!(chores, [unpin("2", "a"), unpin("3", "b")]);
        assert_eq!(pin_chores(&needed, &BTreeSet::new(), &pins([("1", "a")]), true), []);
        assert_eq!(pin_chores(&Needed::new(), &BTreeSet::new(), &pins([]), true), []);
    }

    #[test]
    fn while_not_all_that_is_needed_is_known_pins_are_only_added() {
        let needed = Needed::from([(image("a"), Held::ByPin), (image("b"), Held::ByPin)]);
        let chores = pin_chores(&needed, &BTreeSet::new(), &pins([("1", "a"), ("2", "c")]), false);
        assert_eq!(chores, [PinChore::Pin(image("b"))]);
    }
}
