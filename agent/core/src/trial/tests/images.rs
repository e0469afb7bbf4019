//! What is remembered of the images that revisions run from.

use super::*;
use crate::{ContainerState, ImageId, ObservedContainer, Owner, Ownership, Resources, SpecHash};

fn main() -> skerry_terms::ContainerName {
    "main".parse().expect("a name")
}

fn image(id: &str) -> ImageId {
    ImageId(id.to_owned())
}

/// What the app's container of this revision runs from.
fn runs_from(site: &Site, id: &str) -> Observed {
    let DesiredApp::Valid(app) = site.desired().apps[&key()].clone() else { panic!("not valid") };
    let container = ObservedContainer {
        name: "c".to_owned(),
        owner: Owner::Ours(Ownership {
            app: key(),
            role: Role::Container(main()),
            revision: String::new(),
            hash: Some(SpecHash::of_container(&app, &app.containers()[0])),
            restart_count: 0,
            stop_rank: 0,
        }),
        image: Some(image(id)),
        state: ContainerState::Running { started_at: WallMillis(1) },
        ports: Vec::new(),
        host_network: false,
        joined: None,
        ip: None,
        resources: Resources::default(),
        devices: BTreeMap::new(),
    };
    Observed::Known(World {
        containers: [(ContainerId("c".to_owned()), container)].into(),
        ..World::default()
    })
}

fn pinned(site: &Site) -> Option<ImageId> {
    site.trials.images().get(&key()).map(|images| images[&main()].clone())
}

/// A box where revision 1 proved itself with this image.
fn settled_from(id: &str) -> Site {
    let mut site = Site::new();
    site.want(1);
    site.observed = runs_from(&site, id);
    site.round(0, Says::Ready);
    assert!(site.round(10, Says::Ready).noted);
    site
}

#[test]
fn what_is_committed_is_committed_with_its_images() {
    let mut site = settled_from("one");
    assert_eq!(pinned(&site), Some(image("one")));
    site.want(2);
    assert_eq!(pinned(&site), None, "what is tried takes what its names mean now");
    // The name has moved: the new revision runs from other bits.
    site.observed = runs_from(&site, "two");
    site.round(20, Says::Crashing);
    assert!(site.round(20 + DEADLINE, Says::Crashing).rolled_back.contains(&key()));
    assert_eq!((site.in_force(), pinned(&site)), (1, Some(image("one"))));
    // Also after a restart of the agent.
    let mut trials = Trials::recall(site.trials.notes());
    trials.follow(BTreeMap::from([(key(), wanted(2))]));
    assert_eq!(trials.images()[&key()][&main()], image("one"));
}

#[test]
fn the_images_of_the_revision_before_are_remembered_until_the_next_one_is_good() {
    let mut site = settled_from("one");
    let before = |site: &Site| site.trials.notes().committed[&key()].before.clone();
    for (revision, seconds, id, expected) in [(2, 100, "two", "one"), (3, 200, "three", "two")] {
        site.want(revision);
        site.observed = runs_from(&site, id);
        site.round(seconds, Says::Ready);
        assert!(site.round(seconds + 10, Says::Ready).noted);
        assert_eq!((pinned(&site), before(&site)), (Some(image(id)), [image(expected)].into()));
    }
}

#[test]
fn what_can_be_gone_back_to_is_needed_and_pinned_while_something_else_is_tried() {
    let mut site = settled_from("one");
    let needed = |site: &Site| site.trials.needed();
    assert_eq!(needed(&site), Needed::from([(image("one"), Held::ByContainers)]));
    site.want(2);
    assert_eq!(needed(&site), Needed::from([(image("one"), Held::ByPin)]));
    site.observed = runs_from(&site, "two");
    site.round(100, Says::Ready);
    site.round(110, Says::Ready);
    let both = Needed::from([(image("one"), Held::ByContainers), (image("two"), Held::ByContainers)]);
    assert_eq!(needed(&site), both, "the one before stays");
    assert_eq!(Trials::recall(site.trials.notes()).needed(), both, "also before anything is wanted");
    site.trials.follow(BTreeMap::new());
    assert_eq!(needed(&site), Needed::new(), "an app that is gone needs nothing");
}

#[test]
fn what_was_committed_without_its_images_learns_them_once() {
    let mut site = Site::settled();
    assert_eq!(pinned(&site), None);
    site.observed = runs_from(&site, "one");
    assert!(!site.round(20, Says::NotReady).noted, "what does not serve proves nothing");
    assert!(site.round(30, Says::Ready).noted);
    assert_eq!(pinned(&site), Some(image("one")));
    assert!(!site.round(40, Says::Ready).noted, "nothing new is nothing to write");
    // Docker does not answer, or the container was removed by hand: what is known stays.
    for observed in [nothing(), Observed::Unknown { why: String::new() }] {
        site.observed = observed;
        assert!(!site.round(50, Says::Ready).noted);
        assert_eq!(pinned(&site), Some(image("one")));
    }
}
