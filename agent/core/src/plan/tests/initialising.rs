//! Init containers and sidecars.

use std::time::Duration;

use skerry_terms::{Phase, reasons};

use super::model::{Life, Site};
use super::{app_key, container, desired, next, probe, role, round, settle, shape};
use crate::{
    AppSpec, Container, ContainerState, Desired, DesiredApp, Hook, Kind, Memory, Probes, RestartPolicy, Role,
    UnitState, ValidApp,
};

fn init(name: &str) -> Container {
    Container { kind: Kind::Init, ..container(name, "i:1", None) }
}

fn sidecar(name: &str) -> Container {
    Container { kind: Kind::Sidecar, ..container(name, "s:1", None) }
}

fn pod(policy: RestartPolicy, containers: Vec<Container>) -> Desired {
    let spec = AppSpec::new(app_key("web"), "web-1".into(), containers);
    desired([DesiredApp::Valid(ValidApp::new(AppSpec { restart_policy: policy, ..spec }).expect("valid"))])
}

fn always(containers: Vec<Container>) -> Desired {
    pod(RestartPolicy::Always, containers)
}

fn main() -> Container {
    container("main", "w:1", None)
}

fn runs(site: &Site) -> Vec<String> {
    let roles = site.living(&app_key("web")).into_keys().filter(|role| *role != Role::Sandbox);
    roles.map(|role| role.to_string()).collect()
}

#[test]
fn init_containers_run_one_after_the_other_and_then_the_rest() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let want = always(vec![init("one"), init("two"), main()]);
    let key = app_key("web");
    let first = round(&mut site, &want, &mut memory, &key);
    assert_eq!((shape(&first.actions).as_str(), runs(&site)), ("CCSS", vec!["one".to_owned()]));
    let waits = next(&site, &want, &mut memory, &key);
    assert_eq!(waits.actions, []);
    let verdict = waits.verdict;
    assert_eq!((verdict.phase, verdict.reason), (Phase::Starting, reasons::POD_INITIALIZING));
    assert_eq!(verdict.message, "init container one runs");
    assert_eq!(verdict.containers[2].reason, reasons::POD_INITIALIZING);
    for name in ["one", "two"] {
        assert_eq!(runs(&site), [name]);
        let id = site.living(&key)[&role(name)].clone();
        site.end(&id, 0);
        round(&mut site, &want, &mut memory, &key);
    }
    assert_eq!(runs(&site), ["main"]);
    let end = settle(&mut site, &want, &mut memory);
    let verdict = &end.apps[&key].verdict;
    assert_eq!((verdict.phase, verdict.ready), (Phase::Running, true));
    let first = &verdict.containers[0];
    assert_eq!((first.kind, first.ready, first.reason), (Kind::Init, true, reasons::COMPLETED));
    assert!(matches!(first.state, UnitState::Terminated { exit_code: 0, .. }));
}

#[test]
fn what_was_initialised_stays_so_when_a_container_is_restarted_or_the_traces_are_removed() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.lives.insert("one".into(), Life::Ends(0));
    let want = always(vec![init("one"), main()]);
    let key = app_key("web");
    settle(&mut site, &want, &mut memory);
    let id = site.living(&key)[&role("main")].clone();
    site.end(&id, 1);
    assert_eq!(shape(&next(&site, &want, &mut memory, &key).actions), "CSR");
    settle(&mut site, &want, &mut memory);
    // An operator prunes what has ended, and the agent forgets everything.
    site.world.containers.retain(|_, container| container.state.is_alive());
    let end = settle(&mut site, &want, &mut Memory::default());
    assert_eq!(end.apps[&key].verdict.phase, Phase::Running);
    assert!(end.apps[&key].verdict.ready);
    assert_eq!(site.world.containers.len(), 2, "nothing was run again");
}

#[test]
fn a_new_sandbox_is_initialised_anew() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.lives.insert("one".into(), Life::Ends(0));
    let want = always(vec![init("one"), main()]);
    let key = app_key("web");
    settle(&mut site, &want, &mut memory);
    // The box was rebooted.
    for id in site.living(&key).into_values() {
        site.end(&id, 137);
    }
    let first = round(&mut site, &want, &mut Memory::default(), &key);
    assert_eq!(shape(&first.actions), "CCSSRRR", "sandbox and init container");
    settle(&mut site, &want, &mut memory);
    assert_eq!(runs(&site), ["main"]);
}

#[test]
fn a_changed_init_container_stops_the_main_ones_before_it_runs() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.lives.insert("one".into(), Life::Ends(0));
    let key = app_key("web");
    settle(&mut site, &always(vec![init("one"), main()]), &mut memory);
    let changed = Container { args: vec!["again".into()], ..init("one") };
    let want = always(vec![changed, main()]);
    let first = round(&mut site, &want, &mut memory, &key);
    assert_eq!(shape(&first.actions), "CXSRR");
    assert_eq!(runs(&site), [] as [&str; 0]);
    settle(&mut site, &want, &mut memory);
    assert_eq!(runs(&site), ["main"]);
}

#[test]
fn what_another_revision_has_prepared_since_is_prepared_again_for_the_way_back() {
    let (mut site, mut memory) = (Site::at(100), Memory::default());
    site.lives.insert("one".into(), Life::Ends(0));
    let key = app_key("web");
    let good = always(vec![init("one"), main()]);
    settle(&mut site, &good, &mut memory);
    let main_id = site.living(&key)[&role("main")].clone();
    let good_main = site.world.containers[&main_id].clone();
    site.now = site.now.after(Duration::from_secs(10));
    let other = Container { args: vec!["again".into()], ..init("one") };
    round(&mut site, &always(vec![other, container("main", "w:2", None)]), &mut memory, &key);
    assert!(!site.world.containers.contains_key(&main_id));
    // The same, but the agent was killed when it had removed the good init container and not yet the good main one.
    site.world.containers.insert(main_id.clone(), good_main);
    site.end(&main_id, 0);
    let end = settle(&mut site, &good, &mut Memory::default());
    let first = &end.apps[&key].verdict.containers[0];
    assert!(
        matches!((&first.id, first.state), (Some(_), UnitState::Terminated { exit_code: 0, .. })),
        "{first:?}"
    );
    assert_eq!(runs(&site), ["main"]);
}

#[test]
fn an_init_container_that_fails_is_run_again_with_back_off() {
    let (mut site, mut memory) = (Site::at(1000), Memory::default());
    site.lives.insert("one".into(), Life::Ends(4));
    let want = pod(RestartPolicy::OnFailure, vec![init("one"), main()]);
    let key = app_key("web");
    for _ in 0..3 {
        round(&mut site, &want, &mut memory, &key);
    }
    let next = next(&site, &want, &mut memory, &key);
    assert_eq!((next.verdict.phase, next.verdict.reason), (Phase::Failed, reasons::CRASH_LOOP_BACK_OFF));
    assert_eq!(next.verdict.message, "container one ended with exit code 4; back-off 10s before restart 2");
    site.lives.clear();
    site.lives.insert("one".into(), Life::Ends(0));
    settle(&mut site, &want, &mut memory);
    assert_eq!(runs(&site), ["main"]);
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_app_until_it_is_edited() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.lives.insert("one".into(), Life::Ends(4));
    let key = app_key("web");
    let want = |image: &str, revision: &str| {
        let app = AppSpec::new(
            key.clone(),
            revision.into(),
            vec![sidecar("side"), init("one"), container("main", image, None)],
        );
        let app = AppSpec { restart_policy: RestartPolicy::Never, ..app };
        desired([DesiredApp::Valid(ValidApp::new(app).expect("valid"))])
    };
    let end = settle(&mut site, &want("w:1", "web-1"), &mut memory);
    let verdict = &end.apps[&key].verdict;
    assert_eq!((verdict.phase, verdict.reason), (Phase::Failed, reasons::ERROR));
    assert_eq!(verdict.message, "init container one: ended with exit code 4");
    assert_eq!(site.living(&key).len(), 0, "sidecar and sandbox are stopped");
    site.lives.insert("one".into(), Life::Ends(0));
    settle(&mut site, &want("w:1", "web-1"), &mut Memory::default());
    assert_eq!(site.living(&key).len(), 0, "it stays failed");
    settle(&mut site, &want("w:2", "web-2"), &mut memory);
    assert_eq!(runs(&site), ["main", "side"]);
}

#[test]
fn a_sidecar_starts_before_the_rest_and_the_list_goes_on() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let hooked = Container {
        lifecycle: crate::Lifecycle { post_start: Some(Hook::Exec { command: Vec::new() }), pre_stop: None },
        ..sidecar("side")
    };
    let want = always(vec![hooked, main()]);
    let first = round(&mut site, &want, &mut memory, &app_key("web"));
    assert_eq!(shape(&first.actions), "CCCSSHS");
}

#[test]
fn what_comes_after_a_sidecar_waits_for_its_startup_probe() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let mut side = sidecar("side");
    side.probes = Probes { startup: Some(probe()), ..Probes::default() };
    let want = always(vec![side, init("one"), main()]);
    let key = app_key("web");
    site.lives.insert("one".into(), Life::Ends(0));
    round(&mut site, &want, &mut memory, &key);
    let waits = next(&site, &want, &mut memory, &key);
    assert_eq!(shape(&waits.actions), "");
    assert_eq!(waits.verdict.reason, reasons::POD_INITIALIZING);
    assert_eq!(
        waits.verdict.message,
        "sidecar side has not started: its startup probe has not yet succeeded"
    );
    site.probe(&want, &mut memory);
    let end = settle(&mut site, &want, &mut memory);
    assert_eq!((end.apps[&key].verdict.phase, runs(&site).len()), (Phase::Running, 2));
}

#[test]
fn sidecars_restart_whatever_the_policy_and_end_with_the_main_containers() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let want = pod(RestartPolicy::Never, vec![sidecar("log"), sidecar("proxy"), main()]);
    let key = app_key("web");
    settle(&mut site, &want, &mut memory);
    let log = site.living(&key)[&role("log")].clone();
    site.end(&log, 0);
    settle(&mut site, &want, &mut memory);
    assert_eq!(runs(&site), ["log", "main", "proxy"]);
    let main = site.living(&key)[&role("main")].clone();
    site.end(&main, 0);
    let last = round(&mut site, &want, &mut memory, &key);
    assert_eq!(shape(&last.actions), "XXX", "proxy, log, sandbox");
    let end = settle(&mut site, &want, &mut memory);
    assert_eq!((end.apps[&key].verdict.phase, site.living(&key).len()), (Phase::Succeeded, 0));
    assert!(
        site.world
            .containers
            .values()
            .any(|c| matches!(c.state, ContainerState::Exited { exit_code: 0, .. }))
    );
}

#[test]
fn all_images_are_fetched_before_anything_old_is_stopped() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.lives.insert("one".into(), Life::Ends(0));
    let key = app_key("web");
    settle(&mut site, &always(vec![init("one"), main()]), &mut memory);
    let before = site.living(&key);
    site.world.images.insert("w:2".into(), None);
    let want = always(vec![Container { image: "i:2".into(), ..init("one") }, container("main", "w:2", None)]);
    assert_eq!(shape(&round(&mut site, &want, &mut memory, &key).actions), "P");
    assert_eq!(site.living(&key), before);
    assert_eq!(shape(&next(&site, &want, &mut memory, &key).actions), "CXSRR");
}
