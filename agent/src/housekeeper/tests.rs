//! The loop on an engine and a disk in memory. Time is paused.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use skerry_agent_core::housekeeping::{Held, Needed, Removal, StoredImage};
use skerry_agent_core::{ContainerId, ImageId};

use super::*;
use crate::engine::EngineError;

const MIB: u64 = 1 << 20;
/// What the disk of these tests holds.
const DISK: u64 = 1000 * MIB;

#[derive(Debug, Default)]
struct State {
    images: Vec<StoredImage>,
    arrived: BTreeMap<ImageId, String>,
    /// What the engine does not let go.
    kept: BTreeSet<ImageId>,
    /// What is on the disk beside images.
    other: u64,
    calls: Vec<String>,
    /// The engine answers to nothing.
    away: bool,
    available_memory: u64,
}

/// A box: its engine and its kernel.
#[derive(Debug, Clone, Default)]
struct Room(Arc<Mutex<State>>);

impl Room {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics with it")
    }

    /// An image that Skerry pulls.
    fn pulls(&self, n: u8, mib: u64) {
        let (id, name) = (image(n), format!("app:{n}"));
        let names = BTreeSet::from([name.clone()]);
        let mut state = self.state();
        state.arrived.insert(id.clone(), name);
        let digests = BTreeSet::new();
        state.images.push(StoredImage { id, names, digests, bytes: mib * MIB, used: false });
    }

    fn has(&self, n: u8) -> bool {
        self.state().images.iter().any(|found| found.id == image(n))
    }

    fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }
}

fn image(n: u8) -> ImageId {
    ImageId(format!("sha256:{n}"))
}

impl Storeroom for Room {
    async fn root(&self) -> Result<PathBuf, EngineError> {
        Ok("/docker".into())
    }

    fn pulled(&self) -> BTreeMap<ImageId, String> {
        std::mem::take(&mut self.state().arrived)
    }

    async fn images(&self) -> Result<Vec<StoredImage>, EngineError> {
        self.state().calls.push("images".to_owned());
        Ok(self.state().images.clone())
    }

    async fn remove_image(&self, removal: &Removal) -> Result<bool, EngineError> {
        let mut state = self.state();
        let goes = !state.kept.contains(&removal.id);
        state.images.retain(|found| !goes || found.id != removal.id);
        Ok(goes)
    }

    async fn pin(&self, _node: &NodeName, image: &ImageId) -> Result<(), EngineError> {
        self.state().calls.push(format!("pin {}", image.0));
        match self.state().images.iter().any(|found| found.id == *image) {
            true => Ok(()),
            false => Err(EngineError::Refused { message: "No such image".to_owned() }),
        }
    }

    async fn unpin(&self, _: &NodeName, container: &ContainerId, _: &ImageId) -> Result<(), EngineError> {
        let mut state = self.state();
        state.calls.push(format!("unpin {}", container.0));
        match state.away {
            true => Err(EngineError::Unavailable { message: "it restarts".to_owned() }),
            false => Ok(()),
        }
    }
}

impl Gauges for Room {
    fn disk(&self, path: &Path) -> Option<DiskUse> {
        if path != Path::new("/docker") {
            return Some(DiskUse { total: DISK, available: DISK });
        }
        let state = self.state();
        let used = state.other + state.images.iter().map(|image| image.bytes).sum::<u64>();
        Some(DiskUse { total: DISK, available: DISK.saturating_sub(used) })
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse { total: 4096 * MIB, available: self.state().available_memory, stalled_percent: None }
    }
}

struct House {
    room: Room,
    upkeep: watch::Sender<Option<Upkeep>>,
    problems: mpsc::Receiver<(ProblemKind, Option<Problem>)>,
    _dir: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let (dir, room) = (tempfile::tempdir().expect("a folder"), Room::default());
        room.state().available_memory = 2048 * MIB;
        let (upkeep, problems) = (watch::Sender::default(), mpsc::channel(8));
        let keeper = Housekeeper {
            engine: Arc::new(room.clone()),
            gauges: room.clone(),
            store: Arc::new(Store::open(dir.path()).expect("opened")),
            node: "box".parse().expect("a name"),
            state_dir: "/state".into(),
            rules: Rules { image_gc: Some(Limits::default()) },
            upkeep: upkeep.subscribe(),
            problems: problems.0,
        };
        tokio::spawn(run(keeper));
        Self { room, upkeep, problems: problems.1, _dir: dir }
    }

    /// What the supervisor tells: these images are needed.
    fn needs<const N: usize>(&self, images: [u8; N]) {
        let needed: Needed = images.iter().map(|n| (image(*n), Held::ByContainers)).collect();
        let running = images.iter().map(|n| image(*n)).collect();
        self.upkeep.send_replace(Some(Upkeep { complete: true, needed, running, ..Upkeep::default() }));
    }

    fn told(&mut self) -> Option<(ProblemKind, Option<Problem>)> {
        self.problems.try_recv().ok()
    }
}

async fn minutes(count: u64) {
    tokio::time::sleep(Duration::from_secs(60 * count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fills_loses_what_was_pulled_and_is_not_needed() {
    let mut house = House::new();
    for n in 1..=4 {
        house.room.pulls(n, 200);
    }
    // Nobody's, or a developer's.
    let foreign = StoredImage {
        id: image(9),
        names: ["mine:1".to_owned()].into(),
        digests: BTreeSet::new(),
        bytes: 90 * MIB,
        used: false,
    };
    house.room.state().images.push(foreign);
    house.needs([1]);
    minutes(1).await;
    assert!((1..=4).all(|n| house.room.has(n)), "they are too young");
    minutes(3).await;
    // 890 MiB are above the high mark, 690 are below the low one.
    let left: Vec<_> = [1, 2, 3, 4, 9].into_iter().filter(|n| house.room.has(*n)).collect();
    assert_eq!(left, [1, 3, 4, 9]);
    assert_eq!(house.told(), None, "nothing is wrong");
    house.room.take_calls();
    minutes(60).await;
    assert_eq!(house.room.take_calls(), Vec::<String>::new(), "at rest docker is not asked");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_stays_full_is_told_until_there_is_room() {
    let mut house = House::new();
    house.room.pulls(1, 50);
    house.room.pulls(2, 50);
    house.room.state().other = 800 * MIB;
    house.needs([1]);
    minutes(5).await;
    assert_eq!((house.room.has(1), house.room.has(2), house.told()), (true, false, None));
    house.room.state().other = 920 * MIB;
    minutes(1).await;
    let Some((ProblemKind::DiskPressure, Some(problem))) = house.told() else { panic!("not told") };
    assert_eq!(problem.reason, reasons::DISK_NEARLY_FULL);
    let words = "the disk of /docker is 97 % full, 30.0 MiB of 1000.0 MiB are left; no image was left that could be removed";
    assert!(problem.message.starts_with(words), "{}", problem.message);
    house.room.state().other = 890 * MIB;
    minutes(10).await;
    assert_eq!(house.told(), None, "another figure is no news");
    house.room.state().other = 850 * MIB;
    minutes(1).await;
    assert_eq!(house.told(), Some((ProblemKind::DiskPressure, None)));
}

#[tokio::test(start_paused = true)]
async fn memory_that_is_short_is_told() {
    let mut house = House::new();
    house.needs([]);
    house.room.state().available_memory = 64 * MIB;
    minutes(2).await;
    let Some((ProblemKind::MemoryPressure, Some(problem))) = house.told() else { panic!("not told") };
    assert!(
        problem.message.starts_with("64.0 MiB of 4.0 GiB of memory are available; "),
        "{}",
        problem.message
    );
    house.room.state().available_memory = 2048 * MIB;
    minutes(2).await;
    assert_eq!(house.told(), Some((ProblemKind::MemoryPressure, None)));
}

#[tokio::test(start_paused = true)]
async fn before_anything_is_known_nothing_is_done() {
    let house = House::new();
    house.room.pulls(1, 990);
    minutes(60).await;
    assert!(house.room.has(1) && house.room.take_calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_must_be_kept_is_pinned_once_and_what_is_not_there_is_not_asked_for_again() {
    let house = House::new();
    house.room.pulls(1, 10);
    let needed = Needed::from([(image(1), Held::ByPin), (image(2), Held::ByPin)]);
    let upkeep = Upkeep { complete: true, needed, ..Upkeep::default() };
    house.upkeep.send_replace(Some(upkeep.clone()));
    minutes(0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.room.take_calls(), ["pin sha256:1", "pin sha256:2"]);
    let pins = [(ContainerId("p".to_owned()), image(1))].into();
    house.upkeep.send_replace(Some(Upkeep { pins, ..upkeep.clone() }));
    minutes(10).await;
    assert_eq!(house.room.take_calls(), ["pin sha256:2"], "once after each change");
    let pins = BTreeMap::from([(ContainerId("p".to_owned()), image(1))]);
    house.upkeep.send_replace(Some(Upkeep { pins: pins.clone(), ..Upkeep::default() }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(house.room.take_calls().is_empty(), "whether it is needed is not known");
    house.upkeep.send_replace(Some(Upkeep { complete: true, pins, ..Upkeep::default() }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.room.take_calls(), ["unpin p"]);
}

#[tokio::test(start_paused = true)]
async fn what_docker_does_not_answer_is_soon_asked_again() {
    let house = House::new();
    house.room.state().away = true;
    let pins = BTreeMap::from([(ContainerId("p".to_owned()), image(1))]);
    house.upkeep.send_replace(Some(Upkeep { complete: true, pins, ..Upkeep::default() }));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.room.take_calls(), ["unpin p"]);
    house.room.state().away = false;
    tokio::time::sleep(RETRY).await;
    assert_eq!(house.room.take_calls(), ["unpin p"]);
}

#[tokio::test(start_paused = true)]
async fn while_not_all_apps_are_known_no_image_goes() {
    let mut house = House::new();
    house.room.pulls(1, 980);
    house.upkeep.send_replace(Some(Upkeep::default()));
    minutes(10).await;
    assert!(house.room.has(1));
    let (kind, problem) = house.told().expect("the disk is full");
    assert_eq!((kind, problem.is_some()), (ProblemKind::DiskPressure, true));
    house.needs([]);
    minutes(1).await;
    assert!(!house.room.has(1), "nobody needs it");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_the_engine_keeps_is_not_counted_as_removed_and_not_forgotten() {
    let house = House::new();
    house.room.pulls(1, 970);
    house.room.pulls(2, 10);
    house.room.state().kept.insert(image(1));
    house.needs([]);
    minutes(10).await;
    assert!(house.room.has(1) && !house.room.has(2), "another one goes in its place");
    house.room.state().kept.clear();
    minutes(1).await;
    assert!(!house.room.has(1), "it is still known to be ours");
}
