//! What the box keeps and what it gives away of what is not a container: which images must survive whatever anybody prunes, which of them may
//! go when a disk fills, and when a disk or the memory counts as short. Pure; `skerry-agent` looks, asks, and does what is said.

mod collect;
mod pins;
mod pressure;

use std::collections::BTreeMap;

use crate::ImageId;

pub use collect::{Limits, Removal, Shelf, Stock, StoredImage, surplus};
pub use pins::{PinChore, pin_chores, running_images};
pub use pressure::{DiskUse, MemoryUse, disk_is_short, memory_is_short};

/// Images that must not go, and whether the containers that run from one can be relied on to hold it: not while an update is about to replace
/// them.
pub type Needed = BTreeMap<ImageId, Held>;

/// What stands between an image and whoever prunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// A container that runs from it is enough.
    ByContainers,
    /// It is held by a pin in any case.
    ByPin,
}
