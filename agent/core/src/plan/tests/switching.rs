//! `StartFirst`: the new containers beside the old ones.

use std::time::Duration;

use skerry_terms::{Phase, reasons};

use super::model::{Life, Site};
use super::{app_key, container, desired, next, probe, role, round, settle, shape};
use crate::plan::plan;
use crate::{
    AppSpec, Container, Desired, DesiredApp, Memory, ProbeKind, ProbeVerdict, Probes, Role, Switch, ValidApp,
};

fn beside(containers: Vec<Container>) -> DesiredApp {
    let spec = AppSpec::new(app_key("web"), "web-1".into(), containers);
    DesiredApp::Valid(ValidApp::new(AppSpec { switch: Switch::StartFirst, ..spec }).expect("valid"))
}

fn main(image: &str) -> Container {
    let probes = Probes { readiness: Some(probe()), ..Probes::default() };
    Container { probes, ..container("main", image, None) }
}

fn one(image: &str) -> Desired {
    desired([beside(vec![main(image)])])
}

#[test]
fn the_old_serves_until_the_new_is_ready_and_a_little_longer() {
    let (mut site, mut memory) = (Site::at(1000), Memory::default());
    let key = app_key("web");
    let neighbour = DesiredApp::Valid(super::valid(
        "eye",
        crate::Network::Bridge,
        crate::RestartPolicy::Always,
        vec![container("c", "e:1", None)],
    ));
    let with = |image: &str| desired([beside(vec![main(image)]), neighbour.clone()]);
    settle(&mut site, &with("w:1"), &mut memory);
    let old = site.living(&key)[&role("main")].clone();
    let eye = site.living(&app_key("eye"))[&role("c")].clone();
    let want = with("w:2");
    let first = round(&mut site, &want, &mut memory, &key);
    assert_eq!(shape(&first.actions), "CS");
    assert!(first.verdict.ready, "the old serves");
    // Not ready yet: names lead to the old one.
    let waits = next(&site, &want, &mut memory, &key);
    assert_eq!((waits.actions.len(), waits.verdict.phase, waits.verdict.ready), (0, Phase::Probing, true));
    assert_eq!(next(&site, &want, &mut memory, &app_key("eye")).actions, []);
    let new = site.world.containers.iter().find(|(id, c)| c.name.contains("_web_") && **id != old);
    let (new, ip) =
        new.map(|(id, container)| (id.clone(), container.ip.expect("it runs"))).expect("it is there");
    memory.probed(&new, ProbeKind::Readiness, ProbeVerdict { ok: true, message: String::new() });
    // Ready: names lead to the new one, and the old one drains.
    let drains = next(&site, &want, &mut memory, &key);
    assert_eq!((drains.actions.len(), drains.verdict.phase), (0, Phase::Running));
    assert_eq!(shape(&round(&mut site, &want, &mut memory, &app_key("eye")).actions), "N");
    assert_eq!(site.hosts[&eye]["web"], ip);
    let wake = plan(&want, &site.observed(), &memory, site.now).wake_at.expect("it waits");
    assert_eq!(site.now.until(wake), Duration::from_secs(2));
    site.now = wake;
    let over = round(&mut site, &want, &mut memory, &key);
    assert_eq!(shape(&over.actions), "XR");
    assert_eq!(site.living(&key)[&role("main")], new);
    assert_eq!(next(&site, &want, &mut memory, &key).actions, []);
}

#[test]
fn a_new_one_that_crashes_costs_the_old_one_nothing() {
    let (mut site, mut memory) = (Site::at(1000), Memory::default());
    let key = app_key("web");
    settle(&mut site, &one("w:1"), &mut memory);
    let old = site.living(&key)[&role("main")].clone();
    site.lives.insert("main".into(), Life::Ends(1));
    let want = one("w:2");
    for _ in 0..8 {
        let step = round(&mut site, &want, &mut memory, &key);
        assert!(step.verdict.ready, "{:?}", step.verdict);
        site.now = plan(&want, &site.observed(), &memory, site.now).wake_at.unwrap_or(site.now);
    }
    assert!(site.world.containers[&old].state.is_alive());
    let last = next(&site, &want, &mut memory, &key).verdict.containers[0].last.clone();
    assert_eq!(last.map(|last| (last.reason, last.exit_code)), Some((reasons::ERROR, 1)));
    assert!(site.world.containers.len() <= 3, "what crashed is cleared away");
    // Going back needs no new container.
    site.lives.clear();
    settle(&mut site, &one("w:1"), &mut memory);
    assert_eq!((site.living(&key)[&role("main")].clone(), site.world.containers.len()), (old, 1));
}

#[test]
fn a_pod_switches_as_a_whole() {
    let (mut site, mut memory) = (Site::at(1000), Memory::default());
    let key = app_key("web");
    let pod = |image: &str| desired([beside(vec![main(image), container("other", "o:1", None)])]);
    settle(&mut site, &pod("w:1"), &mut memory);
    let old = site.living(&key);
    let want = pod("w:2");
    assert_eq!(shape(&round(&mut site, &want, &mut memory, &key).actions), "CCCSSS");
    assert!(old.values().all(|id| site.world.containers[id].state.is_alive()));
    assert_eq!(next(&site, &want, &mut memory, &key).actions, []);
    settle(&mut site, &want, &mut memory);
    let new = site.living(&key);
    assert!(new.iter().all(|(role, id)| old[role] != *id), "the whole pod is another");
    assert_eq!((new.len(), site.world.containers.len()), (3, 3));
    assert!(new.contains_key(&Role::Sandbox));
}

#[test]
fn what_has_a_port_of_the_node_stops_first() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let on = |image: &str| desired([beside(vec![container("main", image, Some(80))])]);
    settle(&mut site, &on("w:1"), &mut memory);
    assert_eq!(shape(&next(&site, &on("w:2"), &mut memory, &app_key("web")).actions), "CXSR");
}

#[test]
fn readiness_from_before_the_agents_start_does_not_settle_an_update() {
    let (mut site, mut memory) = (Site::at(1000), Memory::default());
    let key = app_key("web");
    settle(&mut site, &one("w:1"), &mut memory);
    round(&mut site, &one("w:2"), &mut memory, &key);
    let mut memory = Memory::default();
    memory.assume_ready(&site.observed());
    memory.note(&one("w:2"), &site.observed(), site.now);
    site.now = site.now.after(Duration::from_secs(60));
    assert_eq!(next(&site, &one("w:2"), &mut memory, &key).actions, []);
    settle(&mut site, &one("w:2"), &mut memory);
    assert_eq!(site.world.containers.len(), 1);
}
