//! What a new agent must leave alone.

use super::model::Site;
use super::{app, app_key, desired, settle};
use crate::plan::plan;
use crate::{
    ContainerState, Desired, DesiredApp, Memory, Network, RestartPolicy, at_rest, disturbed, report,
};

/// The revision is the same whatever the image is, as if an agent took another view of one spec.
fn web(image: &str) -> Desired {
    desired([DesiredApp::Valid(app("web", Network::Bridge, 2, Some(80), RestartPolicy::Always, image))])
}

#[test]
fn an_agent_that_plans_as_the_one_before_disturbs_nothing_and_one_with_another_view_does() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let before = at_rest(&report(&settle(&mut site, &web("w:1"), &mut memory)));
    assert_eq!(before[&app_key("web")].containers.len(), 2);
    let plan_of = |site: &Site, desired: &Desired| {
        let mut fresh = Memory::default();
        fresh.assume_ready(&site.observed());
        plan(desired, &site.observed(), &fresh, site.now)
    };
    assert_eq!(disturbed(&plan_of(&site, &web("w:1")), &site.world, &before), []);
    assert_eq!(disturbed(&plan_of(&site, &web("w:2")), &site.world, &before), [app_key("web")]);

    // What crashed in between is restarted by any agent.
    let crashed = before[&app_key("web")].containers.keys().next().expect("one").clone();
    let container = site.world.containers.get_mut(&crashed).expect("there");
    container.state = ContainerState::Dead;
    assert_eq!(disturbed(&plan_of(&site, &web("w:1")), &site.world, &before), []);
}

#[test]
fn an_app_that_is_not_at_rest_is_nobodys_to_judge() {
    let (site, memory) = (Site::default(), Memory::default());
    let first = plan(&web("w:1"), &site.observed(), &memory, site.now);
    let before = at_rest(&report(&first));
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(disturbed(&first, &site.world, &before), []);
}
