use proptest::prelude::*;

use super::super::Held;
use super::*;

const NOW: Monotonic = Monotonic(Duration::from_secs(10_000));

fn image(n: u8) -> ImageId {
    ImageId(format!("sha256:{n:02}"))
}

fn tag(n: u8) -> String {
    format!("registry/app:{n}")
}

/// Why an image must stay. The expected outcome follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tie {
    /// Nothing: it may go.
    None,
    NobodyPulledIt,
    /// It was pulled by Skerry, and a person gave it a second name.
    NamedByOthers,
    Used,
    Needed,
    WantedByName,
    WantedById,
    Young,
    /// It may go, and has lost its name.
    Dangling,
}

const TIES: [Tie; 9] = [
    Tie::None,
    Tie::NobodyPulledIt,
    Tie::NamedByOthers,
    Tie::Used,
    Tie::Needed,
    Tie::WantedByName,
    Tie::WantedById,
    Tie::Young,
    Tie::Dangling,
];

impl Tie {
    fn may_go(self) -> bool {
        matches!(self, Tie::None | Tie::Dangling)
    }
}

#[derive(Debug, Clone)]
struct Shed {
    images: Vec<StoredImage>,
    needed: Needed,
    names: BTreeSet<String>,
    pulled: BTreeMap<ImageId, String>,
    shelf: Shelf,
    free: Vec<ImageId>,
}

/// For each image: what ties it to the box, its size, since when it is of no use.
fn a_box(of: &[(Tie, u64, u64)]) -> Shed {
    let mut made = Shed {
        images: Vec::new(),
        needed: Needed::new(),
        names: BTreeSet::new(),
        pulled: BTreeMap::new(),
        shelf: Shelf::new(Monotonic::default()),
        free: Vec::new(),
    };
    for (n, (tie, bytes, since)) in of.iter().enumerate() {
        let n = u8::try_from(n).expect("few");
        let mut names = BTreeSet::from([tag(n)]);
        made.pulled.insert(image(n), tag(n));
        made.shelf.arrived(&image(n), Monotonic(Duration::from_secs(*since)));
        match tie {
            Tie::None | Tie::Used => {}
            Tie::NobodyPulledIt => {
                made.pulled.remove(&image(n));
            }
            Tie::NamedByOthers => {
                names.insert(format!("mine:{n}"));
            }
            Tie::Needed => {
                made.needed.insert(image(n), Held::ByContainers);
            }
            Tie::WantedByName => {
                made.names.insert(tag(n));
            }
            Tie::WantedById => {
                made.names.insert(image(n).0);
            }
            Tie::Young => made.shelf.arrived(&image(n), NOW),
            Tie::Dangling => names.clear(),
        }
        if tie.may_go() {
            made.free.push(image(n));
        }
        let (digests, used) = (BTreeSet::new(), *tie == Tie::Used);
        made.images.push(StoredImage { id: image(n), names, digests, bytes: *bytes, used });
    }
    made
}

impl Shed {
    fn surplus(&self, disk: DiskUse) -> Vec<Removal> {
        let Shed { images, needed, names, pulled, shelf, free: _ } = self;
        let stock = Stock { images, needed, names, pulled, shelf };
        surplus(&Limits::default(), &disk, &stock, NOW)
    }
}

fn percent_full(percent: u64) -> DiskUse {
    DiskUse { total: 1000, available: 1000 - percent * 10 }
}

proptest! {
    #[test]
    fn only_what_nothing_ties_goes_and_no_more_of_it_than_it_takes(
        of in proptest::collection::vec((proptest::sample::select(&TIES[..]), 1..200u64, 0..9_000u64), 0..20),
        percent in 0..=100u64,
        turn in 0..20usize,
    ) {
        let mut made = a_box(&of);
        let removals = made.surplus(percent_full(percent));
        let ids: Vec<_> = removals.iter().map(|removal| removal.id.clone()).collect();
        prop_assert!(ids.iter().all(|id| made.free.contains(id)), "{ids:?} of {of:?}");
        prop_assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        if percent <= 85 {
            prop_assert!(removals.is_empty());
        } else {
            // It stops as soon as the low mark is reached, and not before unless nothing is left.
            let excess = percent_full(percent).over(80);
            let freed = |list: &[Removal]| list.iter().map(|removal| removal.bytes).sum::<u64>();
            let enough = freed(&removals) >= excess || removals.len() == made.free.len();
            prop_assert!(enough);
            if let [but_last @ .., _] = &removals[..] {
                prop_assert!(freed(but_last) < excess);
            }
        }
        // The order of the engine's list is nothing to go by.
        let len = made.images.len().max(1);
        made.images.rotate_left(turn % len);
        prop_assert_eq!(made.surplus(percent_full(percent)), removals);
    }
}

#[test]
fn what_has_been_of_no_use_for_longest_goes_first() {
    let made = a_box(&[(Tie::None, 60, 300), (Tie::None, 60, 100), (Tie::None, 60, 200)]);
    let ids: Vec<_> = made.surplus(percent_full(90)).into_iter().map(|removal| removal.id).collect();
    assert_eq!(ids, [image(1), image(2)]);
}

#[test]
fn an_image_ages_from_the_moment_at_which_its_last_use_ended() {
    let mut made = a_box(&[(Tie::None, 60, 0)]);
    let at = |seconds| Monotonic(Duration::from_secs(seconds));
    made.shelf.note([image(0)].into(), at(100));
    made.shelf.note(BTreeSet::new(), at(9_900));
    assert_eq!(made.surplus(percent_full(90)), [], "100 s ago");
    made.shelf.note(BTreeSet::new(), at(9_990));
    made.shelf.retain(|_| false);
    assert_eq!(made.surplus(percent_full(90)).len(), 1, "of what is not remembered the age is the agent's");
}

#[test]
fn an_image_is_wanted_however_its_name_is_written() {
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let pulled_so = |listed: &str, wanted: &str| {
        let mut made = a_box(&[(Tie::None, 60, 0)]);
        made.names.insert(wanted.to_owned());
        let image = &mut made.images[0];
        match listed.contains('@') {
            true => {
                (image.names, image.digests) = (BTreeSet::new(), BTreeSet::from([listed.to_owned()]));
                made.pulled.insert(image.id.clone(), String::new());
            }
            false => {
                image.names = BTreeSet::from([listed.to_owned()]);
                made.pulled.insert(image.id.clone(), listed.to_owned());
            }
        }
        made.surplus(percent_full(90)).is_empty()
    };
    for (listed, wanted) in [
        ("nginx:latest", "nginx"),
        ("nginx:latest", "docker.io/library/nginx"),
        ("nginx:1.27", "index.docker.io/nginx:1.27"),
        ("acme/x:1", "docker.io/acme/x:1"),
        ("r.example:5000/acme/x:latest", "r.example:5000/acme/x"),
        (&format!("nginx@{digest}"), &format!("docker.io/library/nginx@{digest}")),
        (&format!("nginx@{digest}"), &format!("nginx:1.27@{digest}")),
    ] {
        assert!(pulled_so(listed, wanted), "{wanted} means {listed}");
    }
    for (listed, wanted) in [
        ("nginx:1.27", "nginx"),
        ("acme/x:1", "x:1"),
        ("r.example/acme/x:1", "acme/x:1"),
        (&format!("nginx@{digest}"), "nginx@sha256:00"),
    ] {
        assert!(!pulled_so(listed, wanted), "{wanted} does not mean {listed}");
    }
}
