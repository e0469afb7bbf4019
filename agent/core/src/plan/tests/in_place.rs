//! What changes while containers serve on; and what is held, missing or kept.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use skerry_terms::{AppKey, Phase, reasons};

use super::model::Site;
use super::{app, app_key, container, desired, next, role, round, settle, shape, valid};
use crate::plan::plan;
use crate::{
    Action, AppSpec, Container, Desired, DesiredApp, Device, File, Memory, Mount, Network, RestartPolicy,
    Switch, ValidApp, Volume,
};

fn one(name: &str, container: Container) -> ValidApp {
    valid(name, Network::Bridge, RestartPolicy::Always, vec![container])
}

fn limited(millis: u64) -> Desired {
    let mut limited = container("c", "w:1", None);
    limited.resources.cpu_limit_millis = NonZeroU64::new(millis);
    desired([DesiredApp::Valid(one("web", limited))])
}

fn plain(name: &str) -> DesiredApp {
    DesiredApp::Valid(one(name, container("c", "w:1", None)))
}

#[test]
fn limits_change_in_place_and_a_refusal_costs_nobody_the_container() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.world.cores = 4;
    let key = app_key("web");
    settle(&mut site, &limited(500), &mut memory);
    let before = site.living(&key);
    assert_eq!(shape(&round(&mut site, &limited(700), &mut memory, &key).actions), "U");
    assert_eq!(next(&site, &limited(700), &mut memory, &key).actions, []);
    site.refuses_updates = true;
    round(&mut site, &limited(800), &mut memory, &key);
    let refused = next(&site, &limited(800), &mut memory, &key);
    assert_eq!((refused.actions.len(), refused.verdict.phase), (0, Phase::Running));
    assert_eq!((refused.verdict.reason, refused.verdict.ready), (reasons::UPDATE_FAILED, true));
    assert_eq!(refused.verdict.message, "container c: limits cannot be changed");
    assert!(plan(&limited(800), &site.observed(), &memory, site.now).wake_at.is_some(), "it is tried again");
    assert_eq!(shape(&next(&site, &limited(900), &mut memory, &key).actions), "U", "another try at once");
    assert_eq!(site.living(&key), before);
    assert_eq!(next(&site, &limited(700), &mut memory, &key).actions, []);
}

#[test]
fn a_limit_above_the_box_is_no_difference() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.world.cores = 2;
    settle(&mut site, &limited(8000), &mut memory);
    assert_eq!(next(&site, &limited(9000), &mut memory, &app_key("web")).actions, []);
}

#[test]
fn contents_of_files_change_without_a_restart() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let want = |content: &[u8]| {
        let mut mounts = container("c", "w:1", None);
        mounts.mounts.push(Mount {
            volume: "conf".into(),
            path: "/conf".into(),
            read_only: true,
            sub_path: String::new(),
            sub_path_expands: false,
        });
        let mut spec = AppSpec::new(app_key("web"), "web-1".into(), vec![mounts]);
        let files = vec![File { path: "a".into(), mode: 0o644, content: content.into() }];
        spec.volumes.insert("conf".into(), Volume::Files { secret: false, files });
        desired([DesiredApp::Valid(ValidApp::new(spec).expect("valid"))])
    };
    settle(&mut site, &want(b"1"), &mut memory);
    let changed = round(&mut site, &want(b"2"), &mut memory, &app_key("web"));
    assert_eq!((shape(&changed.actions).as_str(), changed.verdict.phase), ("F", Phase::Running));
    assert_eq!(next(&site, &want(b"2"), &mut memory, &app_key("web")).actions, []);
    // Nobody knows what an earlier agent wrote.
    assert_eq!(shape(&next(&site, &want(b"2"), &mut Memory::default(), &app_key("web")).actions), "F");
}

#[test]
fn names_follow_the_neighbours_and_nobody_is_restarted() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    settle(&mut site, &desired([plain("db")]), &mut memory);
    let want = desired([plain("db"), plain("web")]);
    settle(&mut site, &want, &mut memory);
    let id = |site: &Site, name: &str| site.living(&app_key(name))[&role("c")].clone();
    let ip = |site: &Site, name: &str| site.world.containers[&id(site, name)].ip.expect("it has one");
    let (db, web) = (id(&site, "db"), id(&site, "web"));
    let names = |site: &Site, of: &str| {
        BTreeMap::from([(of.to_owned(), ip(site, of)), (format!("{of}.plant-a"), ip(site, of))])
    };
    assert_eq!((&site.hosts[&db], &site.hosts[&web]), (&names(&site, "web"), &names(&site, "db")));
    // The neighbour is replaced and has another address: one action, however many looks there are meanwhile.
    let newer = DesiredApp::Valid(one("db", container("c", "w:2", None)));
    let want = desired([newer, plain("web")]);
    let update = next(&site, &want, &mut memory, &app_key("db"));
    memory.dispatch(&app_key("db"), &update.actions);
    site.end(&db, 0);
    assert_eq!(next(&site, &want, &mut memory, &app_key("web")).actions, []);
    memory.finish(&app_key("db"));
    settle(&mut site, &want, &mut memory);
    assert_eq!((id(&site, "web"), &site.hosts[&web]), (web.clone(), &names(&site, "db")));
    // One that is gone is not found.
    settle(&mut site, &desired([plain("web")]), &mut memory);
    assert_eq!(site.hosts[&web], BTreeMap::new());
}

#[test]
fn missing_config_stops_nothing_and_creates_nothing() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    settle(&mut site, &desired([plain("web")]), &mut memory);
    let before = site.living(&app_key("web"));
    let spec = AppSpec::new(app_key("web"), "web-2".into(), vec![container("c", "w:2", None)]);
    let missing = vec!["secret \"token\" not found".to_owned(), "configmap \"a\" not found".to_owned()];
    let lacking = |key: &str| {
        let spec = AppSpec { key: app_key(key), missing: missing.clone(), ..spec.clone() };
        DesiredApp::Valid(ValidApp::new(spec).expect("valid"))
    };
    let end = settle(&mut site, &desired([lacking("web"), lacking("new")]), &mut memory);
    assert_eq!(site.living(&app_key("web")), before);
    let verdict = &end.apps[&app_key("web")].verdict;
    assert_eq!((verdict.phase, verdict.reason), (Phase::Pending, reasons::CREATE_CONFIG_ERROR));
    assert_eq!(verdict.message, "secret \"token\" not found; configmap \"a\" not found");
    assert!(verdict.ready, "the old containers serve");
    assert!(!end.apps[&app_key("new")].verdict.ready);
}

fn camera(name: &str, image: &str, amount: u64, switch: Switch) -> DesiredApp {
    let mut camera = container("c", image, None);
    camera.devices.insert("cam".into(), amount);
    let spec = AppSpec::new(app_key(name), format!("{name}-{image}"), vec![camera]);
    DesiredApp::Valid(ValidApp::new(AppSpec { switch, ..spec }).expect("valid"))
}

fn with_cameras<const N: usize>(count: u64, apps: [DesiredApp; N]) -> Desired {
    let mut want = desired(apps);
    want.host.devices.insert("cam".into(), Device { paths: vec!["/dev/video0".into()], gpu: false, count });
    want
}

#[test]
fn a_device_that_another_holds_stops_nothing_and_names_the_holder() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let stop = Switch::StopFirst;
    settle(&mut site, &with_cameras(1, [camera("b", "w:1", 1, stop)]), &mut memory);
    let both = with_cameras(1, [camera("a", "w:1", 1, stop), camera("b", "w:1", 1, stop)]);
    let end = settle(&mut site, &both, &mut memory);
    let verdict = &end.apps[&app_key("a")].verdict;
    assert_eq!((verdict.phase, verdict.reason), (Phase::Failed, reasons::DEVICE_CONFLICT));
    assert_eq!(
        verdict.message,
        "the app asks for 1 of skerry.dev/cam, and 1 of the 1 of the box are held by app plant-a/b"
    );
    // A crash does not cost it the device; removal does.
    let b = site.living(&app_key("b"))[&role("c")].clone();
    site.end(&b, 1);
    settle(&mut site, &both, &mut memory);
    assert_eq!((site.living(&app_key("a")).len(), site.living(&app_key("b")).len()), (0, 1));
    let alone = with_cameras(1, [camera("a", "w:1", 1, stop)]);
    memory.note(&alone, &site.observed(), site.now);
    let waits = plan(&alone, &site.observed(), &memory, site.now);
    assert_eq!(waits.apps[&app_key("a")].verdict.phase, Phase::Pending, "it waits, it has not failed");
    settle(&mut site, &alone, &mut memory);
    assert_eq!(site.living(&app_key("a")).len(), 1);
    // An update of the holder itself is no conflict.
    settle(&mut site, &with_cameras(1, [camera("a", "w:2", 1, stop)]), &mut memory);
    assert_eq!(site.living(&app_key("a")).len(), 1);
}

#[test]
fn a_device_that_the_box_does_not_have_is_named() {
    let end = settle(
        &mut Site::default(),
        &desired([camera("a", "w:1", 1, Switch::StopFirst)]),
        &mut Memory::default(),
    );
    let verdict = &end.apps[&app_key("a")].verdict;
    assert_eq!((verdict.phase, verdict.reason), (Phase::Failed, reasons::UNKNOWN_DEVICE));
    assert!(verdict.message.contains("skerry.dev/cam"), "{}", verdict.message);
}

#[test]
fn side_by_side_needs_a_device_twice() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let start = Switch::StartFirst;
    settle(&mut site, &with_cameras(1, [camera("a", "w:1", 1, start)]), &mut memory);
    let before = site.living(&app_key("a"));
    let end = settle(&mut site, &with_cameras(1, [camera("a", "w:2", 1, start)]), &mut memory);
    let verdict = &end.apps[&app_key("a")].verdict;
    assert_eq!((verdict.reason, verdict.ready), (reasons::DEVICE_CONFLICT, true));
    assert!(verdict.message.contains("StopFirst"), "{}", verdict.message);
    assert_eq!(site.living(&app_key("a")), before);
    settle(&mut site, &with_cameras(2, [camera("a", "w:2", 1, start)]), &mut memory);
    assert_ne!(site.living(&app_key("a")), before);
}

#[test]
fn two_apps_can_swap_what_they_hold() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let on = |name: &str, device: &str| {
        let mut one_device = container("c", "w:1", None);
        one_device.devices.insert(device.into(), 1);
        DesiredApp::Valid(one(name, one_device))
    };
    let both = |a: &str, b: &str| {
        let mut want = desired([on("a", a), on("b", b)]);
        for name in ["left", "right"] {
            want.host.devices.insert(name.into(), Device { paths: Vec::new(), gpu: true, count: 1 });
        }
        want
    };
    settle(&mut site, &both("left", "right"), &mut memory);
    let end = settle(&mut site, &both("right", "left"), &mut memory);
    for key in ["a", "b"] {
        assert_eq!(end.apps[&app_key(key)].verdict.phase, Phase::Running, "{key}");
    }
}

#[test]
fn folders_go_after_the_last_container_and_of_apps_that_nobody_wants() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let gone: AppKey = app_key("gone");
    site.world.kept.insert(gone.clone());
    settle(&mut site, &desired([plain("web")]), &mut memory);
    assert!(site.world.kept.is_empty());
    site.world.kept.insert(app_key("web"));
    assert_eq!(shape(&next(&site, &desired([]), &mut memory, &app_key("web")).actions), "XRD");
    // A set that may lack apps says nothing of those that it does not have.
    let incomplete = Desired { complete: false, ..desired([]) };
    assert!(plan(&incomplete, &site.observed(), &memory, site.now).apps.is_empty());
    let retired = Desired { retired: [app_key("web")].into(), ..incomplete };
    assert_eq!(shape(&next(&site, &retired, &mut memory, &app_key("web")).actions), "XRD");
}

#[test]
fn the_grace_period_of_the_spec_holds_for_containers_of_that_spec() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let two = app("web", Network::Bridge, 2, None, RestartPolicy::Always, "w:1");
    settle(&mut site, &desired([DesiredApp::Valid(two.clone())]), &mut memory);
    let patient = AppSpec { grace: std::time::Duration::from_secs(99), ..(*two).clone() };
    let want = desired([DesiredApp::Valid(ValidApp::new(patient).expect("valid"))]);
    let key = app_key("web");
    assert_eq!(next(&site, &want, &mut memory, &key).actions, [], "no reason to restart");
    let gone = next(&site, &desired([]), &mut memory.clone(), &key);
    assert_eq!(graces(&gone.actions), [Some(99), None], "the sandbox has none");
    let sandbox = site.living(&key)[&crate::Role::Sandbox].clone();
    site.end(&sandbox, 137);
    assert_eq!(graces(&next(&site, &want, &mut memory, &key).actions), [Some(99)]);
}

fn graces(actions: &[Action]) -> Vec<Option<u64>> {
    let grace = |action: &Action| match action {
        Action::Stop { grace, .. } => Some(grace.map(|grace| grace.as_secs())),
        Action::Pull { .. }
        | Action::Project(_)
        | Action::Create(_)
        | Action::Start { .. }
        | Action::PostStart { .. }
        | Action::Update { .. }
        | Action::Names { .. }
        | Action::Remove { .. }
        | Action::Discard => None,
    };
    actions.iter().filter_map(grace).collect()
}
