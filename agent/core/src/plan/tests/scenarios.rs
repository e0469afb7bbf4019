//! What people ask about, one scenario each.

use std::collections::BTreeMap;
use std::time::Duration;

use skerry_terms::{Phase, reasons};

use super::model::{Site, image_of};
use super::{app, app_key, container, desired, foreign, next, role, settle, shape, valid};
use crate::plan::{Why, plan};
use crate::{
    Action, Container, ContainerId, ContainerState, Desired, DesiredApp, EnvValue, EnvVar, HostPort, ImageId,
    Join, Listener, Memory, Network, Outcome, PortClaim, Protocol, PullPolicy, RestartPolicy, Role, ValidApp,
    WallMillis, images_to_inspect,
};

fn web(image: &str) -> ValidApp {
    app("web", Network::Bridge, 1, Some(80), RestartPolicy::Always, image)
}

fn tcp(port: u16) -> HostPort {
    HostPort { protocol: Protocol::Tcp, port: port.try_into().expect("a port"), ip: None }
}

#[test]
fn a_new_app_is_created_and_started_in_one_round() {
    let site = Site::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    let next = plan(&want, &site.observed(), &Memory::default(), site.now);
    assert_eq!(shape(&next.apps[&app_key("web")].actions), "CS");
    assert_eq!(next.apps[&app_key("web")].verdict.phase, Phase::Starting);
}

#[test]
fn an_app_that_is_being_worked_on_is_not_planned_and_says_so() {
    let site = Site::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    let mut memory = Memory::default();
    let first = plan(&want, &site.observed(), &memory, site.now);
    memory.begin(&app_key("web"), first.apps[&app_key("web")].actions[0].step());
    let busy = plan(&want, &site.observed(), &memory, site.now);
    assert_eq!(busy.apps[&app_key("web")].actions, []);
    assert_eq!(busy.apps[&app_key("web")].verdict.phase, Phase::Starting);
    memory.finish(&app_key("web"));
    assert_eq!(plan(&want, &site.observed(), &memory, site.now), first);
}

#[test]
fn an_absent_image_is_pulled_before_anything_is_stopped() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    settle(&mut site, &desired([DesiredApp::Valid(web("w:1"))]), &mut memory);
    let before = site.living(&app_key("web"));
    site.world.images.insert("w:2".into(), None);
    site.missing_images.push("w:2".into());
    let want = desired([DesiredApp::Valid(web("w:2"))]);
    let end = settle(&mut site, &want, &mut memory);
    let verdict = &end.apps[&app_key("web")].verdict;
    assert_eq!((verdict.phase, verdict.reason), (Phase::Failed, reasons::IMAGE_PULL_FAILED));
    assert!(verdict.message.contains("manifest for w:2 not found"), "{}", verdict.message);
    assert!(verdict.ready, "the old revision serves");
    assert_eq!(site.living(&app_key("web")), before);
    assert!(end.wake_at.is_some(), "it is tried again");
}

#[test]
fn one_image_that_cannot_be_had_holds_the_whole_update() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let two = |a: &str, b: &str| {
        let containers = vec![container("a", a, None), container("b", b, None)];
        desired([DesiredApp::Valid(valid("web", Network::Bridge, RestartPolicy::Always, containers))])
    };
    settle(&mut site, &two("w:1", "w:1"), &mut memory);
    let before = site.living(&app_key("web"));
    site.world.images.insert("gone:1".into(), None);
    site.missing_images.push("gone:1".into());
    settle(&mut site, &two("w:2", "gone:1"), &mut memory);
    assert_eq!(site.living(&app_key("web")), before, "half an update is none");
}

#[test]
fn an_update_creates_first_then_stops_then_starts() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    settle(&mut site, &desired([DesiredApp::Valid(web("w:1"))]), &mut memory);
    let next = plan(&desired([DesiredApp::Valid(web("w:2"))]), &site.observed(), &memory, site.now);
    assert_eq!(shape(&next.apps[&app_key("web")].actions), "CXSR");
}

#[test]
fn only_the_container_that_changed_is_replaced() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let two = app("web", Network::Bridge, 2, None, RestartPolicy::Always, "w:1");
    settle(&mut site, &desired([DesiredApp::Valid(two.clone())]), &mut memory);
    let before = site.living(&two.key);
    let mut changed = container("c1", "w:1", None);
    changed.env.push(EnvVar { name: "A".into(), value: EnvValue::Literal("b".into()) });
    let containers = vec![container("c0", "w:1", None), changed];
    let want = desired([DesiredApp::Valid(valid("web", Network::Bridge, RestartPolicy::Always, containers))]);
    settle(&mut site, &want, &mut memory);
    let after = site.living(&two.key);
    let role = |name: &str| Role::Container(name.parse().expect("a name"));
    assert_eq!(before[&role("c0")], after[&role("c0")]);
    assert_eq!(before[&Role::Sandbox], after[&Role::Sandbox]);
    assert_ne!(before[&role("c1")], after[&role("c1")]);
}

#[test]
fn several_containers_join_one_network_and_one_alone_has_its_own() {
    let mut site = Site::default();
    let two = app("web", Network::Bridge, 2, Some(80), RestartPolicy::Always, "w:1");
    let next =
        plan(&desired([DesiredApp::Valid(two.clone())]), &site.observed(), &Memory::default(), site.now);
    let specs: Vec<_> = next.apps[&two.key]
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Create(spec) => Some(spec),
            Action::Pull { .. }
            | Action::Project(_)
            | Action::Start { .. }
            | Action::PostStart { .. }
            | Action::Update { .. }
            | Action::Names { .. }
            | Action::Stop { .. }
            | Action::Remove { .. }
            | Action::Discard => None,
        })
        .collect();
    assert_eq!(specs.len(), 3);
    assert_eq!((&specs[0].role, specs[0].ports.len(), &specs[0].image), (&Role::Sandbox, 1, &None));
    for member in &specs[1..] {
        assert_eq!(member.join, Join::Container { name: specs[0].name.clone() });
        assert!(member.ports.is_empty());
    }
    settle(&mut site, &desired([DesiredApp::Valid(two)]), &mut Memory::default());
    assert_eq!(site.world.containers.len(), 3);
}

#[test]
fn when_the_sandbox_dies_its_members_move_into_a_new_one() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let two = app("web", Network::Bridge, 2, Some(80), RestartPolicy::Always, "w:1");
    let want = desired([DesiredApp::Valid(two.clone())]);
    settle(&mut site, &want, &mut memory);
    let sandbox = site.living(&two.key)[&Role::Sandbox].clone();
    site.end(&sandbox, 137);
    let end = settle(&mut site, &want, &mut memory);
    assert_eq!(end.apps[&two.key].verdict.phase, Phase::Running);
    let living = site.living(&two.key);
    assert_eq!((living.len(), site.world.containers.len()), (3, 3));
    assert_ne!(living[&Role::Sandbox], sandbox);
}

#[test]
fn a_sandbox_that_somebody_restarted_has_a_new_network() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let two = app("web", Network::Bridge, 2, None, RestartPolicy::Always, "w:1");
    let want = desired([DesiredApp::Valid(two.clone())]);
    settle(&mut site, &want, &mut memory);
    let before = site.living(&two.key);
    site.now = site.now.after(Duration::from_secs(60));
    let sandbox = before[&Role::Sandbox].clone();
    site.end(&sandbox, 137);
    site.start(&sandbox).expect("it starts");
    settle(&mut site, &want, &mut memory);
    let after = site.living(&two.key);
    assert_eq!(after[&Role::Sandbox], sandbox);
    assert!(before.iter().all(|(role, id)| *role == Role::Sandbox || after[role] != *id), "members moved");
}

#[test]
fn what_is_being_stopped_does_not_serve_whatever_the_last_look_said() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    settle(&mut site, &want, &mut memory);
    let removal = plan(&desired([]), &site.observed(), &memory, site.now);
    memory.dispatch(&app_key("web"), &removal.apps[&app_key("web")].actions);
    // It is desired again while it is being stopped.
    let verdict = &plan(&want, &site.observed(), &memory, site.now).apps[&app_key("web")].verdict;
    assert_eq!((verdict.phase, verdict.ready), (Phase::Pending, false));
    // Its end is our doing and no crash.
    let mut stopped = site.clone();
    for id in stopped.living(&app_key("web")).into_values() {
        stopped.end(&id, 137);
    }
    let mut after = memory.clone();
    after.note(&want, &stopped.observed(), stopped.now);
    assert_eq!(after, memory);
    memory.finish(&app_key("web"));
    let verdict = &plan(&want, &site.observed(), &memory, site.now).apps[&app_key("web")].verdict;
    assert_eq!((verdict.phase, verdict.ready), (Phase::Running, true));
}

#[test]
fn what_serves_is_shown_until_its_successor_is_there() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    settle(&mut site, &desired([DesiredApp::Valid(web("w:1"))]), &mut memory);
    let old = site.living(&app_key("web")).into_values().next().expect("it runs");
    site.world.images.remove("w:2");
    let want = desired([DesiredApp::Valid(web("w:2"))]);
    let verdict = next(&site, &want, &mut memory, &app_key("web")).verdict;
    let [unit] = verdict.containers.as_slice() else { panic!("one container: {verdict:?}") };
    assert_eq!((unit.id.as_ref(), unit.ready, unit.is_old), (Some(&old), true, true));
    assert!(verdict.ready && verdict.phase == Phase::Starting, "{verdict:?}");
}

#[test]
fn a_port_that_the_list_under_way_has_just_opened_is_no_conflict() {
    let mut site = Site::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    let mut memory = Memory::default();
    let first = plan(&want, &site.observed(), &memory, site.now);
    memory.dispatch(&app_key("web"), &first.apps[&app_key("web")].actions);
    site.world.listeners.insert(Listener(tcp(80)));
    let verdict = &plan(&want, &site.observed(), &memory, site.now).apps[&app_key("web")].verdict;
    assert_eq!(verdict.phase, Phase::Starting);
}

#[test]
fn a_crash_loop_holds_up_neither_an_update_nor_the_network_of_its_neighbour() {
    let mut site = Site::at(1000);
    let mut memory = Memory::default();
    let role = |name: &str| Role::Container(name.parse().expect("a name"));
    let pair = |image: &str| {
        let containers = vec![container("a", image, None), container("b", "b:1", None)];
        desired([DesiredApp::Valid(valid("web", Network::Bridge, RestartPolicy::Always, containers))])
    };
    settle(&mut site, &pair("a:1"), &mut memory);
    for _ in 0..2 {
        let b = site.living(&app_key("web"))[&role("b")].clone();
        site.end(&b, 1);
        memory.note(&pair("a:1"), &site.observed(), site.now);
        let next = plan(&pair("a:1"), &site.observed(), &memory, site.now);
        site.execute(&app_key("web"), &next.apps[&app_key("web")].actions, &mut memory, 9);
    }
    // It backs off now; an edit of its neighbour takes effect at once.
    let old = site.living(&app_key("web"))[&role("a")].clone();
    memory.note(&pair("a:2"), &site.observed(), site.now);
    let next = plan(&pair("a:2"), &site.observed(), &memory, site.now);
    assert_eq!(shape(&next.apps[&app_key("web")].actions), "CXSR");
    site.execute(&app_key("web"), &next.apps[&app_key("web")].actions, &mut memory, 9);
    assert_ne!(site.living(&app_key("web"))[&role("a")], old);
    // So does the loss of the network.
    let sandbox = site.living(&app_key("web"))[&Role::Sandbox].clone();
    site.end(&sandbox, 137);
    memory.note(&pair("a:2"), &site.observed(), site.now);
    let next = plan(&pair("a:2"), &site.observed(), &memory, site.now);
    assert_eq!(shape(&next.apps[&app_key("web")].actions), "CCXSSRR");
}

#[test]
fn a_clock_that_was_set_back_moves_nobody() {
    let mut site = Site::at(5000);
    let mut memory = Memory::default();
    let two = app("web", Network::Bridge, 2, None, RestartPolicy::Always, "w:1");
    let want = desired([DesiredApp::Valid(two.clone())]);
    settle(&mut site, &want, &mut memory);
    let before = site.living(&two.key);
    // One member ends and is started again; by Docker's clock, hours before its sandbox.
    site.end(&before[&Role::Container("c0".parse().expect("a name"))], 1);
    site.clock_error = -7_200_000;
    settle(&mut site, &want, &mut memory);
    let after = site.living(&two.key);
    assert_eq!(after.len(), 3);
    settle(&mut site, &want, &mut memory);
    assert_eq!(site.living(&two.key), after, "it is recreated again and again");
    assert_eq!(site.living(&two.key)[&Role::Sandbox], before[&Role::Sandbox]);
}

#[test]
fn a_container_that_docker_cannot_describe_stops_only_its_own_app() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let apps = || [web("w:1"), app("other", Network::Bridge, 1, None, RestartPolicy::Always, "o:1")];
    settle(&mut site, &desired(apps().map(DesiredApp::Valid)), &mut memory);
    site.world.unclear.insert(app_key("web"), "docker inspect answers 500".into());
    for key in ["web", "other"] {
        for id in site.living(&app_key(key)).into_values() {
            site.end(&id, 1);
        }
    }
    let want = desired(apps().map(DesiredApp::Valid));
    memory.note(&want, &site.observed(), site.now);
    let next = plan(&want, &site.observed(), &memory, site.now);
    assert_eq!(next.apps[&app_key("web")].actions, []);
    assert_eq!(next.apps[&app_key("web")].verdict.phase, Phase::Unknown);
    assert_eq!(shape(&next.apps[&app_key("other")].actions), "CSR");
    assert!(next.wake_at.is_some(), "it is looked at again");
}

#[test]
fn a_failure_to_start_is_over_when_the_container_runs() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    let first = plan(&want, &site.observed(), &memory, site.now);
    let [create, start] = &first.apps[&app_key("web")].actions[..] else { panic!("{first:?}") };
    site.apply(create);
    let failed = Outcome::Failed { reason: reasons::START_FAILED, message: "no".into() };
    memory.record(&app_key("web"), &start.step(), failed, site.now);
    // Somebody else starts it, and later it ends.
    site.apply(start);
    settle(&mut site, &want, &mut memory);
    for id in site.living(&app_key("web")).into_values() {
        site.end(&id, 1);
    }
    memory.note(&want, &site.observed(), site.now);
    assert_eq!(shape(&plan(&want, &site.observed(), &memory, site.now).apps[&app_key("web")].actions), "CSR");
}

#[test]
fn a_port_that_another_container_holds_stops_nothing() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    settle(&mut site, &desired([DesiredApp::Valid(web("w:1"))]), &mut memory);
    let before = site.living(&app_key("web"));
    let other = app("other", Network::Bridge, 1, Some(80), RestartPolicy::Always, "o:1");
    let end = settle(
        &mut site,
        &desired([DesiredApp::Valid(web("w:1")), DesiredApp::Valid(other.clone())]),
        &mut memory,
    );
    let verdict = &end.apps[&other.key].verdict;
    assert_eq!((verdict.phase, verdict.reason), (Phase::Failed, reasons::PORT_CONFLICT));
    assert_eq!(verdict.message, "port 80/TCP of the node is held by app plant-a/web");
    assert_eq!(site.living(&app_key("web")), before);
    assert_eq!(site.living(&other.key).len(), 0);
}

#[test]
fn an_update_to_a_taken_port_leaves_the_old_revision_serving() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let holder = foreign(&mut site, "nginx");
    site.world.containers.get_mut(&holder).expect("it is there").ports.push(PortClaim(tcp(81)));
    settle(&mut site, &desired([DesiredApp::Valid(web("w:1"))]), &mut memory);
    let before = site.living(&app_key("web"));
    let moved = app("web", Network::Bridge, 1, Some(81), RestartPolicy::Always, "w:1");
    let end = settle(&mut site, &desired([DesiredApp::Valid(moved)]), &mut memory);
    let verdict = &end.apps[&app_key("web")].verdict;
    assert_eq!(verdict.reason, reasons::PORT_CONFLICT);
    assert_eq!(verdict.message, "port 81/TCP of the node is held by container nginx");
    assert!(verdict.ready && site.living(&app_key("web")) == before);
}

#[test]
fn a_port_held_outside_docker_is_looked_at_again() {
    let mut site = Site::default();
    site.world.listeners.insert(Listener(tcp(80)));
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    let end = settle(&mut site, &want, &mut Memory::default());
    assert_eq!(end.apps[&app_key("web")].verdict.reason, reasons::PORT_CONFLICT);
    assert!(end.wake_at.is_some());
    site.world.listeners.clear();
    let end = settle(&mut site, &want, &mut Memory::default());
    assert_eq!(end.apps[&app_key("web")].verdict.phase, Phase::Running);
}

#[test]
fn a_port_moves_from_an_app_that_leaves_to_one_that_comes() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    settle(&mut site, &desired([DesiredApp::Valid(web("w:1"))]), &mut memory);
    let next = app("another", Network::Bridge, 1, Some(80), RestartPolicy::Always, "w:1");
    let want = desired([DesiredApp::Valid(next.clone())]);
    let first = plan(&want, &site.observed(), &memory, site.now);
    assert_eq!(first.apps[&next.key].verdict.phase, Phase::Pending, "it waits, it has not failed");
    settle(&mut site, &want, &mut memory);
    assert_eq!((site.living(&next.key).len(), site.world.containers.len()), (1, 1));
}

#[test]
fn two_apps_can_change_places() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let both = |a: u16, b: u16| {
        let on = |name: &str, port| app(name, Network::Bridge, 1, Some(port), RestartPolicy::Always, "w:1");
        desired([DesiredApp::Valid(on("a", a)), DesiredApp::Valid(on("b", b))])
    };
    settle(&mut site, &both(80, 81), &mut memory);
    let end = settle(&mut site, &both(81, 80), &mut memory);
    for key in ["a", "b"] {
        assert_eq!(end.apps[&app_key(key)].verdict.phase, Phase::Running, "{key}");
    }
    // A chain needs nobody to step aside, and nobody is called failed meanwhile.
    let first = plan(&both(82, 81), &site.observed(), &memory, site.now);
    assert_eq!(first.apps[&app_key("b")].verdict.phase, Phase::Pending);
    let end = settle(&mut site, &both(82, 81), &mut memory);
    assert_eq!(end.apps[&app_key("b")].verdict.phase, Phase::Running);
}

#[test]
fn a_crashed_container_keeps_its_port_while_it_waits() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let both = desired([
        DesiredApp::Valid(web("w:1")),
        // By name it would come first.
        DesiredApp::Valid(app("a-rival", Network::Bridge, 1, Some(80), RestartPolicy::Always, "w:1")),
    ]);
    settle(&mut site, &desired([DesiredApp::Valid(web("w:1"))]), &mut memory);
    for id in site.living(&app_key("web")).into_values() {
        site.end(&id, 1);
    }
    settle(&mut site, &both, &mut memory);
    assert_eq!((site.living(&app_key("web")).len(), site.living(&app_key("a-rival")).len()), (1, 0));
}

#[test]
fn a_crash_loop_backs_off_as_in_kubernetes() {
    let mut site = Site::at(1000);
    let mut memory = Memory::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    let mut waits = Vec::new();
    settle(&mut site, &want, &mut memory);
    for _ in 0..8 {
        for id in site.living(&app_key("web")).into_values() {
            site.end(&id, 3);
        }
        memory.note(&want, &site.observed(), site.now);
        let next = plan(&want, &site.observed(), &memory, site.now);
        waits.push(next.wake_at.map_or(0, |wake| site.now.until(wake).as_secs()));
        if let Some(wake) = next.wake_at {
            let verdict = &next.apps[&app_key("web")].verdict;
            assert_eq!((verdict.phase, verdict.reason), (Phase::Failed, reasons::CRASH_LOOP_BACK_OFF));
            assert!(verdict.message.contains("ended with exit code 3"), "{}", verdict.message);
            assert_eq!(next.apps[&app_key("web")].actions, [], "the dead container keeps its logs");
            site.now = wake;
        }
        settle(&mut site, &want, &mut memory);
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    let end = settle(&mut site, &want, &mut memory);
    assert_eq!(end.apps[&app_key("web")].verdict.containers[0].restart_count, 8);
}

#[test]
fn a_run_is_counted_once_even_if_the_one_before_is_still_there() {
    let mut site = Site::at(1000);
    let mut memory = Memory::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    settle(&mut site, &want, &mut memory);
    for id in site.living(&app_key("web")).into_values() {
        site.end(&id, 1);
    }
    memory.note(&want, &site.observed(), site.now);
    let next = plan(&want, &site.observed(), &memory, site.now);
    // The new run ends before the old one is removed.
    site.execute(&app_key("web"), &next.apps[&app_key("web")].actions, &mut memory, 2);
    for id in site.living(&app_key("web")).into_values() {
        site.end(&id, 1);
    }
    for _ in 0..3 {
        memory.note(&want, &site.observed(), site.now);
    }
    let wake = plan(&want, &site.observed(), &memory, site.now).wake_at.expect("it waits");
    assert_eq!(site.now.until(wake).as_secs(), 10);
}

#[test]
fn a_long_healthy_run_clears_the_back_off() {
    let mut site = Site::at(1000);
    let mut memory = Memory::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    for _ in 0..4 {
        settle(&mut site, &want, &mut memory);
        for id in site.living(&app_key("web")).into_values() {
            site.end(&id, 1);
        }
    }
    settle(&mut site, &want, &mut memory);
    site.now = site.now.after(Duration::from_secs(601));
    for id in site.living(&app_key("web")).into_values() {
        site.end(&id, 1);
    }
    memory.note(&want, &site.observed(), site.now);
    assert_eq!(shape(&plan(&want, &site.observed(), &memory, site.now).apps[&app_key("web")].actions), "CSR");
}

#[test]
fn restart_policies_mean_what_they_mean_in_kubernetes() {
    let cases = [
        (RestartPolicy::Always, 0, Phase::Running),
        (RestartPolicy::Always, 1, Phase::Running),
        (RestartPolicy::OnFailure, 0, Phase::Succeeded),
        (RestartPolicy::OnFailure, 1, Phase::Running),
        (RestartPolicy::Never, 0, Phase::Succeeded),
        (RestartPolicy::Never, 1, Phase::Failed),
    ];
    for (policy, exit_code, expected) in cases {
        let mut site = Site::default();
        let mut memory = Memory::default();
        let job = app("job", Network::Bridge, 1, None, policy, "j:1");
        let want = desired([DesiredApp::Valid(job.clone())]);
        settle(&mut site, &want, &mut memory);
        for id in site.living(&job.key).into_values() {
            site.end(&id, exit_code);
        }
        let end = settle(&mut site, &want, &mut memory);
        assert_eq!(end.apps[&job.key].verdict.phase, expected, "{policy:?} after exit code {exit_code}");
    }
}

#[test]
fn when_all_have_ended_the_sandbox_lets_go_of_its_ports() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let job = app("job", Network::Bridge, 2, Some(80), RestartPolicy::Never, "j:1");
    let want = desired([DesiredApp::Valid(job.clone())]);
    settle(&mut site, &want, &mut memory);
    for (role, id) in site.living(&job.key) {
        if role != Role::Sandbox {
            site.end(&id, 0);
        }
    }
    let end = settle(&mut site, &want, &mut memory);
    assert_eq!(end.apps[&job.key].verdict.phase, Phase::Succeeded);
    assert_eq!(site.living(&job.key).len(), 0);
}

#[test]
fn pull_always_pulls_for_a_new_spec_and_not_for_a_restart() {
    let mut site = Site::default();
    site.world.images.insert("w:1".into(), Some(image_of("w:1")));
    let mut memory = Memory::default();
    let mut always = container("c0", "w:1", None);
    always.pull_policy = PullPolicy::Always;
    let want =
        desired([DesiredApp::Valid(valid("web", Network::Bridge, RestartPolicy::Always, vec![always]))]);
    let key = app_key("web");
    let next = plan(&want, &site.observed(), &memory, site.now);
    assert!(matches!(&next.apps[&key].actions[..], [Action::Pull { why: Why::PullAlways, .. }]), "{next:?}");
    settle(&mut site, &want, &mut memory);
    for id in site.living(&key).into_values() {
        site.end(&id, 1);
    }
    memory.note(&want, &site.observed(), site.now);
    assert_eq!(shape(&plan(&want, &site.observed(), &memory, site.now).apps[&key].actions), "CSR");
}

/// What an app whose revision proved itself with this image wants.
fn proven(app: ValidApp, id: &str) -> Desired {
    let images = app.containers().iter().map(|container| (container.name.clone(), ImageId(id.to_owned())));
    let images = BTreeMap::from([(app.key.clone(), images.collect())]);
    Desired { images, ..desired([DesiredApp::Valid(app)]) }
}

fn with_policy(policy: PullPolicy) -> ValidApp {
    let one = Container { pull_policy: policy, ..container("c0", "w:1", None) };
    valid("web", Network::Bridge, RestartPolicy::Always, vec![one])
}

#[test]
fn going_back_never_pulls_and_takes_the_bits_that_were_good() {
    let key = app_key("web");
    let good = image_of("the good one");
    for policy in [PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never] {
        let mut site = Site::default();
        site.world.images.insert(good.0.clone(), Some(good.clone()));
        // What the name means now is another image, or nothing at all.
        for means in [Some(image_of("a bad one")), None] {
            site.world.images.insert("w:1".into(), means);
            let want = proven(with_policy(policy), &good.0);
            let next = plan(&want, &site.observed(), &Memory::default(), site.now);
            let [Action::Create(spec), Action::Start { .. }] = &next.apps[&key].actions[..] else {
                panic!("{policy:?}: {next:?}")
            };
            assert_eq!(spec.image.as_deref(), Some(good.0.as_str()), "{policy:?}");
        }
        let want = proven(with_policy(policy), &good.0);
        settle(&mut site, &want, &mut Memory::default());
        let id = &site.living(&key)[&role("c0")];
        assert_eq!(site.world.containers[id].image.as_ref(), Some(&good));
    }
}

#[test]
fn a_proven_image_is_called_by_its_name_while_that_means_the_same() {
    let mut site = Site::default();
    let good = image_of("w:1");
    for reference in ["w:1", &good.0] {
        site.world.images.insert(reference.to_owned(), Some(good.clone()));
    }
    let want = proven(with_policy(PullPolicy::Always), &good.0);
    let next = plan(&want, &site.observed(), &Memory::default(), site.now);
    let Action::Create(spec) = &next.apps[&app_key("web")].actions[0] else { panic!("{next:?}") };
    assert_eq!(spec.image.as_deref(), Some("w:1"));
}

#[test]
fn a_proven_image_that_somebody_removed_is_pulled_by_its_name() {
    let mut site = Site::default();
    let good = image_of("the good one");
    site.world.images.insert(good.0.clone(), None);
    site.world.images.insert("w:1".into(), None);
    let want = proven(with_policy(PullPolicy::IfNotPresent), &good.0);
    let next = plan(&want, &site.observed(), &Memory::default(), site.now);
    let [Action::Pull { image, why: Why::ImageAbsent, .. }] = &next.apps[&app_key("web")].actions[..] else {
        panic!("{next:?}")
    };
    assert_eq!(image, "w:1");
    settle(&mut site, &want, &mut Memory::default());
    assert_eq!(site.living(&app_key("web")).len(), 1);
}

#[test]
fn a_box_whose_disk_is_full_pulls_nothing_and_goes_on_serving() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let full = |mut desired: Desired| {
        desired.host.pulls_wait = Some("the disk is full".to_owned());
        desired
    };
    settle(&mut site, &full(desired([DesiredApp::Valid(web("w:1"))])), &mut memory);
    let before = site.living(&app_key("web"));
    assert_eq!(before.len(), 1, "what is there already is started");
    site.world.images.insert("w:2".into(), None);
    let want = desired([DesiredApp::Valid(web("w:2"))]);
    let end = settle(&mut site, &full(want.clone()), &mut memory);
    let verdict = &end.apps[&app_key("web")].verdict;
    assert_eq!((verdict.phase, verdict.reason, verdict.ready), (Phase::Failed, reasons::DISK_PRESSURE, true));
    assert_eq!(verdict.message, "container c0: image w:2 waits: the disk is full");
    assert_eq!(site.living(&app_key("web")), before);
    settle(&mut site, &want, &mut memory);
    assert_ne!(site.living(&app_key("web")), before, "it goes on when there is room");
}

#[test]
fn what_runs_from_bits_whose_name_has_moved_is_as_desired() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    settle(&mut site, &want, &mut memory);
    let before = site.living(&app_key("web"));
    site.world.images.insert("w:1".into(), Some(image_of("another")));
    for want in [want, proven(web("w:1"), "sha256:w:1"), proven(web("w:1"), "sha256:a third one")] {
        let end = settle(&mut site, &want, &mut memory);
        assert_eq!(end.apps[&app_key("web")].actions, []);
        assert_eq!(site.living(&app_key("web")), before);
    }
}

#[test]
fn never_pull_without_the_image_says_what_to_do() {
    let mut site = Site::default();
    site.world.images.insert("w:1".into(), None);
    let mut never = container("c0", "w:1", None);
    never.pull_policy = PullPolicy::Never;
    let want =
        desired([DesiredApp::Valid(valid("web", Network::Bridge, RestartPolicy::Always, vec![never]))]);
    let end = settle(&mut site, &want, &mut Memory::default());
    assert_eq!(end.apps[&app_key("web")].verdict.reason, reasons::IMAGE_NEVER_PULL);
    assert_eq!(end.wake_at, None, "an image event wakes it");
}

#[test]
fn of_two_twins_the_one_that_ran_first_stays() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    settle(&mut site, &want, &mut memory);
    let first = site.living(&app_key("web"));
    let mut twin = site.world.containers.values().next().cloned().expect("it runs");
    twin.name.push_str("-twin");
    twin.state = ContainerState::Running { started_at: WallMillis(9_000) };
    twin.ports.clear();
    // Its id sorts before the first one's.
    let id = ContainerId("00".into());
    site.world.containers.insert(id.clone(), twin);
    settle(&mut site, &want, &mut memory);
    assert_eq!(site.living(&app_key("web")), first);
    assert!(!site.world.containers.contains_key(&id));
}

#[test]
fn a_paused_container_is_left_alone_and_not_called_ready() {
    let mut site = Site::default();
    let mut memory = Memory::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    settle(&mut site, &want, &mut memory);
    for container in site.world.containers.values_mut() {
        let started_at = container.state.started_at().expect("it runs");
        container.state = ContainerState::Paused { started_at };
    }
    let end = settle(&mut site, &want, &mut memory);
    let verdict = &end.apps[&app_key("web")].verdict;
    assert_eq!((verdict.phase, verdict.reason, verdict.ready), (Phase::Running, reasons::PAUSED, false));
}

#[test]
fn a_box_at_rest_asks_about_no_image() {
    let mut site = Site::default();
    let want = desired([DesiredApp::Valid(web("w:1"))]);
    assert_eq!(images_to_inspect(&want, &site.world.containers).len(), 1);
    settle(&mut site, &want, &mut Memory::default());
    assert_eq!(images_to_inspect(&want, &site.world.containers).len(), 0);
}

#[test]
fn the_hash_of_a_known_spec_never_changes() {
    // Every container in the field carries such a label: a change here restarts them all.
    let two = app("web", Network::Bridge, 2, Some(80), RestartPolicy::Always, "w:1");
    let hashes: Vec<_> = crate::unit::units(&two).into_iter().map(|unit| unit.hash.to_string()).collect();
    assert_eq!(hashes, ["fcf34897fa4595b0", "9a12269934815b06", "3234f07c2acd4615"]);
}
