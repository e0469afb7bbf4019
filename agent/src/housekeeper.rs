//! Keeps the box in order beside the apps: pins the images that must survive, gives those away that nobody needs when the disk fills, and tells
//! when disk or memory are short. It decides nothing: [`skerry_agent_core::housekeeping`] does. It acts on what the supervisor tells of the
//! apps, and does nothing before that: with no desired set there is nothing that could be called surplus.
//!
//! Once a minute it asks the kernel how full the disks are, which reads no disk and wakes the box no more than a keepalive does; Docker is asked only
//! when one is too full.

mod gauges;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skerry_agent_core::ImageId;
use skerry_agent_core::housekeeping::{
    DiskUse, Limits, MemoryUse, PinChore, Shelf, Stock, disk_is_short, memory_is_short, pin_chores, surplus,
};
use skerry_terms::{Chain, NodeName, Problem, ProblemKind, reasons};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::engine::{EngineError, Storeroom};
use crate::store::{Pulled, Store};
use crate::supervisor::Upkeep;

pub use gauges::{Gauges, Kernel};

/// Between two looks at disks and memory while nothing happens. A disk that fills within a minute is full before anybody could help.
const PERIOD: Duration = Duration::from_secs(60);
/// What Docker did not answer is asked again after this.
const RETRY: Duration = Duration::from_secs(10);
/// The sizes of images count shared layers twice: what was freed is measured, and if it was too little, more goes.
const ROUNDS: usize = 8;

/// Where the box tells of what is wrong with it.
pub type Problems = mpsc::Sender<(ProblemKind, Option<Problem>)>;

/// What the owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules {
    /// Absent: no image is ever removed.
    pub image_gc: Option<Limits>,
}

/// What it works with.
#[derive(Debug)]
pub struct Housekeeper<E, G> {
    pub engine: Arc<E>,
    pub gauges: G,
    pub store: Arc<Store>,
    pub node: NodeName,
    pub state_dir: PathBuf,
    pub rules: Rules,
    pub upkeep: watch::Receiver<Option<Upkeep>>,
    pub problems: Problems,
}

/// What it remembers.
#[derive(Debug)]
struct Notes {
    clock: Clock,
    shelf: Shelf,
    pulled: Pulled,
    /// `pulled` is not as it was written last.
    unsaved: bool,
    /// Where Docker keeps images. Absent until it has said so.
    root: Option<PathBuf>,
    /// Images that are not on the box: they are not asked for again until something changes.
    in_vain: BTreeSet<ImageId>,
    disk: Option<Problem>,
    memory: Option<Problem>,
}

/// What was removed in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Freed {
    images: usize,
    bytes: u64,
}

/// Works until the supervisor has ended.
pub async fn run<E: Storeroom, G: Gauges>(mut keeper: Housekeeper<E, G>) {
    let clock = Clock::start();
    let mut notes = Notes {
        clock,
        shelf: Shelf::new(clock.now()),
        pulled: keeper.store.load_pulled(),
        unsaved: false,
        root: None,
        in_vain: BTreeSet::new(),
        disk: None,
        memory: None,
    };
    let mut next = Instant::now() + PERIOD;
    loop {
        let changed = tokio::select! {
            changed = keeper.upkeep.changed() => match changed {
                Ok(()) => true,
                Err(_ended) => return,
            },
            () = tokio::time::sleep_until(next) => false,
        };
        if !changed {
            next = Instant::now() + PERIOD;
        }
        let Some(upkeep) = keeper.upkeep.borrow_and_update().clone() else { continue };
        if changed {
            notes.in_vain.clear();
            let useful = upkeep.used.iter().chain(upkeep.needed.keys()).cloned().collect();
            notes.shelf.note(useful, notes.clock.now());
        }
        if !keeper.pin(&upkeep, &mut notes).await {
            next = next.min(Instant::now() + RETRY);
        }
        for (image, name) in keeper.engine.pulled() {
            notes.shelf.arrived(&image, notes.clock.now());
            notes.unsaved |= notes.pulled.insert(image, name).is_none();
        }
        keeper.check_disks(&upkeep, &mut notes).await;
        keeper.check_memory(&mut notes).await;
        keeper.save(&mut notes).await;
    }
}

impl<E: Storeroom, G: Gauges> Housekeeper<E, G> {
    /// False if something is left to do that Docker did not answer to.
    async fn pin(&self, upkeep: &Upkeep, notes: &mut Notes) -> bool {
        let mut answered = true;
        for chore in pin_chores(&upkeep.needed, &upkeep.running, &upkeep.pins, upkeep.complete) {
            match chore {
                PinChore::Pin(image) if notes.in_vain.contains(&image) => {}
                PinChore::Pin(image) => match self.engine.pin(&self.node, &image).await {
                    Ok(()) => info!("pin image={image}"),
                    Err(EngineError::Unavailable { .. } | EngineError::TimedOut { .. }) => answered = false,
                    Err(error) => {
                        warn!("image {image} may be needed again and cannot be held: {error}");
                        notes.in_vain.insert(image);
                    }
                },
                PinChore::Unpin { container, image } => {
                    match self.engine.unpin(&self.node, &container, &image).await {
                        Ok(()) => info!("unpin image={image}"),
                        Err(EngineError::Unavailable { .. } | EngineError::TimedOut { .. }) => {
                            answered = false
                        }
                        Err(error) => warn!("the pin of image {image} cannot be removed: {error}"),
                    }
                }
            }
        }
        answered
    }

    /// Writes down which images are ours, when that has changed.
    async fn save(&self, notes: &mut Notes) {
        if !std::mem::take(&mut notes.unsaved) {
            return;
        }
        let (store, pulled) = (self.store.clone(), notes.pulled.clone());
        let saved = tokio::task::spawn_blocking(move || store.save_pulled(&pulled)).await;
        // With the next change it is tried again; until then the agent itself knows.
        if let Ok(Err(error)) = saved {
            warn!("which images were pulled could not be stored: {}", Chain(&error));
        }
    }

    async fn check_disks(&self, upkeep: &Upkeep, notes: &mut Notes) {
        if notes.root.is_none() {
            notes.root = self.engine.root().await.ok();
        }
        let was = notes.disk.as_ref().map(|problem| problem.reason.clone());
        let is_short = |reason: &str, disk: &DiskUse| disk_is_short(was.as_deref() == Some(reason), disk);
        let mut found = None;
        let mut freed = Freed::default();
        if let Some(root) = notes.root.clone()
            && let Some(before) = self.gauges.disk(&root)
        {
            let disk;
            (disk, freed) = self.collect(&root, before, upkeep, notes).await;
            if is_short(reasons::DISK_NEARLY_FULL, &disk) {
                found = Some((reasons::DISK_NEARLY_FULL, words(&root, &disk, &freed, PULLS_WAIT)));
            }
        }
        if found.is_none()
            && let Some(disk) = self.gauges.disk(&self.state_dir)
            && is_short(reasons::STATE_DISK_NEARLY_FULL, &disk)
        {
            let message = words(&self.state_dir, &disk, &freed, NOTHING_DONE);
            found = Some((reasons::STATE_DISK_NEARLY_FULL, message));
        }
        let found = found.map(|(reason, message)| match &notes.disk {
            // The figures are those of the beginning, so that each byte is not news.
            Some(told) if told.reason == reason && freed.images == 0 => told.clone(),
            Some(_) | None => Problem { reason: reason.to_owned(), message },
        });
        self.tell(ProblemKind::DiskPressure, found, |notes| &mut notes.disk, notes).await;
    }

    /// Removes images until the disk is as it should be or nothing is left that may go: how the disk is then, and what went.
    async fn collect(
        &self,
        root: &Path,
        mut disk: DiskUse,
        upkeep: &Upkeep,
        notes: &mut Notes,
    ) -> (DiskUse, Freed) {
        let mut freed = Freed::default();
        let Some(limits) = self.rules.image_gc.filter(|_| upkeep.complete) else { return (disk, freed) };
        let began = disk;
        // Docker keeps them, whatever its list says: another one goes in their place.
        let mut refused: BTreeSet<ImageId> = BTreeSet::new();
        for _ in 0..ROUNDS {
            // Begun, it goes down to the low mark.
            let limits = match freed.images {
                0 => limits,
                _ => Limits { high_percent: limits.low_percent, ..limits },
            };
            if disk.percent() <= u64::from(limits.high_percent) {
                break;
            }
            let mut images = match self.engine.images().await {
                Ok(images) => images,
                Err(error) => {
                    warn!(
                        "{} is {} % full, and images cannot be listed: {error}",
                        root.display(),
                        disk.percent()
                    );
                    break;
                }
            };
            let there: BTreeSet<&ImageId> = images.iter().map(|image| &image.id).collect();
            let known = notes.pulled.len();
            notes.pulled.retain(|image, _| there.contains(image));
            notes.unsaved |= notes.pulled.len() != known;
            notes.shelf.retain(|image| there.contains(image));
            images.retain(|image| !refused.contains(&image.id));
            let Upkeep { needed, names, .. } = upkeep;
            let (pulled, shelf) = (&notes.pulled, &notes.shelf);
            let stock = Stock { images: &images, needed, names, pulled, shelf };
            let removals = surplus(&limits, &disk, &stock, notes.clock.now());
            let mut gone = 0;
            for removal in &removals {
                match self.engine.remove_image(removal).await {
                    Ok(true) => {
                        let names: Vec<&str> = removal.names.iter().map(String::as_str).collect();
                        info!("remove image={} names={} why=DiskNearlyFull", removal.id, names.join(","));
                        notes.pulled.remove(&removal.id);
                        notes.unsaved = true;
                        gone += 1;
                    }
                    Ok(false) => {
                        debug!("image {} stays: docker says that it is in use", removal.id);
                        refused.insert(removal.id.clone());
                    }
                    Err(error) => warn!("image {} cannot be removed: {error}", removal.id),
                }
            }
            freed.images += gone;
            disk = self.gauges.disk(root).unwrap_or(disk);
            let some_stay = removals.iter().any(|removal| refused.contains(&removal.id));
            if gone == 0 && !some_stay {
                break;
            }
        }
        freed.bytes = disk.available.saturating_sub(began.available);
        if freed.images > 0 {
            info!(
                "{} images were removed, {}; {} is {} % full now",
                freed.images,
                size(freed.bytes),
                root.display(),
                disk.percent()
            );
        }
        (disk, freed)
    }

    async fn check_memory(&self, notes: &mut Notes) {
        let memory = self.gauges.memory();
        let found = memory_is_short(notes.memory.is_some(), &memory).then(|| match &notes.memory {
            Some(told) => told.clone(),
            None => Problem { reason: reasons::MEMORY_SHORT.to_owned(), message: memory_words(&memory) },
        });
        self.tell(ProblemKind::MemoryPressure, found, |notes| &mut notes.memory, notes).await;
    }

    async fn tell(
        &self,
        kind: ProblemKind,
        found: Option<Problem>,
        place: impl Fn(&mut Notes) -> &mut Option<Problem>,
        notes: &mut Notes,
    ) {
        let told = place(notes);
        if *told != found {
            told.clone_from(&found);
            // The receiver is gone only when the agent has ended.
            let _ = self.problems.send((kind, found)).await;
        }
    }
}

/// What is done about it, and what is not.
const PULLS_WAIT: &str = "no image is pulled until there is room; what runs is left alone. Remove what is not needed, or get a larger disk";
const NOTHING_DONE: &str = "the agent keeps its state there; free some of it";

fn words(place: &Path, disk: &DiskUse, freed: &Freed, then: &str) -> String {
    let removed = match freed.images {
        0 => "no image was left that could be removed".to_owned(),
        1 => format!("1 image was removed, {}", size(freed.bytes)),
        many => format!("{many} images were removed, {}", size(freed.bytes)),
    };
    let (percent, left, total) = (disk.percent(), size(disk.available), size(disk.total));
    format!(
        "the disk of {} is {percent} % full, {left} of {total} are left; {removed}; {then}",
        place.display()
    )
}

fn memory_words(memory: &MemoryUse) -> String {
    let stalled = memory.stalled_percent.filter(|percent| *percent > 0);
    let stalled =
        stalled.map(|percent| format!(", and processes stood still for {percent} % of the last minute"));
    format!(
        "{} of {} of memory are available{}; nothing is stopped for it: the kernel ends what exceeds its limits, and the least guaranteed first",
        size(memory.available),
        size(memory.total),
        stalled.unwrap_or_default()
    )
}

/// For people: `1.2 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = (u128::from(bytes) * 10).div_euclid(u128::from(unit));
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests;
