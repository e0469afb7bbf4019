//! Which images go when a disk fills. Only what Skerry itself pulled and nobody uses: the images of a developer who works on the box, or of
//! another program, are not ours to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{DiskUse, Needed};
use crate::policy::in_full;
use crate::{ImageId, Monotonic};

/// When images go, and which are too young.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Fuller than this, images go …
    pub high_percent: u8,
    /// … until it is no fuller than this.
    pub low_percent: u8,
    /// For how long an image must have been of no use.
    pub min_age: Duration,
}

impl Default for Limits {
    /// kubelet's.
    fn default() -> Self {
        Self { high_percent: 85, low_percent: 80, min_age: Duration::from_secs(120) }
    }
}

/// An image as the engine lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    pub id: ImageId,
    /// Every tag, as the engine writes it; without those of our pins.
    pub names: BTreeSet<String>,
    /// Every digest that a registry knows it by, as the engine writes it: `REPOSITORY@DIGEST`. All that it is known by when it was pulled so.
    pub digests: BTreeSet<String>,
    /// Layers that it shares with others counted in.
    pub bytes: u64,
    /// Some container was created from it, whosoever.
    pub used: bool,
}

/// An image that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    pub id: ImageId,
    /// The tags to take away; the last one takes the image along. None: it goes by its id.
    pub names: BTreeSet<String>,
    pub bytes: u64,
}

/// What is remembered of images: since when each has been of no use. Not stored: after a restart of the agent all have been so since then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shelf {
    began: Monotonic,
    useless_since: BTreeMap<ImageId, Monotonic>,
    useful: BTreeSet<ImageId>,
}

impl Shelf {
    pub fn new(now: Monotonic) -> Self {
        Self { began: now, ..Self::default() }
    }

    /// These are of use at this moment: containers run from them, or apps need them.
    pub fn note(&mut self, useful: BTreeSet<ImageId>, now: Monotonic) {
        for image in &useful {
            self.useless_since.remove(image);
        }
        for image in std::mem::replace(&mut self.useful, useful) {
            if !self.useful.contains(&image) {
                self.useless_since.insert(image, now);
            }
        }
    }

    /// An image has just come to the box.
    pub fn arrived(&mut self, image: &ImageId, now: Monotonic) {
        self.useless_since.insert(image.clone(), now);
    }

    /// Forgets what is not on the box any more.
    pub fn retain(&mut self, there: impl Fn(&ImageId) -> bool) {
        self.useless_since.retain(|image, _| there(image));
    }

    fn since(&self, image: &ImageId) -> Monotonic {
        self.useless_since.get(image).copied().unwrap_or(self.began)
    }
}

/// The images of the box, and what ties them to it.
#[derive(Debug, Clone, Copy)]
pub struct Stock<'a> {
    pub images: &'a [StoredImage],
    pub needed: &'a Needed,
    /// What the containers of desired apps would be created from, as their users wrote it.
    pub names: &'a BTreeSet<String>,
    /// What Skerry brought to the box, and under which tag.
    pub pulled: &'a BTreeMap<ImageId, String>,
    pub shelf: &'a Shelf,
}

/// The images to remove, in this order: those that have been of no use for longest come first, and no more of them than it takes.
pub fn surplus(limits: &Limits, disk: &DiskUse, stock: &Stock<'_>, now: Monotonic) -> Vec<Removal> {
    let Stock { images, needed, names, pulled, shelf } = *stock;
    if disk.percent() <= u64::from(limits.high_percent) {
        return Vec::new();
    }
    let wanted_names: BTreeSet<String> = names.iter().map(|name| in_full(name)).collect();
    let is_surplus = |image: &&StoredImage| {
        let Some(tag) = pulled.get(&image.id) else { return false };
        let only_ours = image.names.iter().all(|name| name == tag);
        let wanted = needed.contains_key(&image.id)
            || names.contains(&image.id.0)
            || image.names.iter().chain(&image.digests).any(|name| wanted_names.contains(&in_full(name)));
        let old = shelf.since(&image.id).after(limits.min_age) <= now;
        only_ours && !image.used && !wanted && old
    };
    let mut candidates: Vec<&StoredImage> = images.iter().filter(is_surplus).collect();
    candidates.sort_by_key(|image| (shelf.since(&image.id), &image.id));
    let mut excess = disk.over(u64::from(limits.low_percent));
    let mut removals = Vec::new();
    for StoredImage { id, names, digests: _, bytes, used: _ } in candidates {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(*bytes);
        removals.push(Removal { id: id.clone(), names: names.clone(), bytes: *bytes });
    }
    removals
}

#[cfg(test)]
mod tests;
