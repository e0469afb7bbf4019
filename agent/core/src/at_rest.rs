//! Whether a new agent leaves alone what the one before it had brought to rest. Asked once, of a new agent's first plan, before anything of
//! it is done: a version that would replace healthy containers is not let in.

use std::collections::BTreeMap;

use skerry_terms::{AppKey, Phase};

use crate::{Action, AppStatus, ContainerId, Plan, UnitState, World};

/// An app as the agent before left it, with nothing more to do for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AtRest {
    pub revision: String,
    /// Its containers, and whether each runs.
    pub containers: BTreeMap<ContainerId, bool>,
}

/// The apps that serve or have done what they were for.
pub fn at_rest<'a>(statuses: impl IntoIterator<Item = &'a AppStatus>) -> BTreeMap<AppKey, AtRest> {
    let rests = |status: &&AppStatus| {
        (status.phase == Phase::Running && status.ready) || status.phase == Phase::Succeeded
    };
    let left = |status: &AppStatus| {
        let containers = status.containers.iter();
        let known = containers.filter_map(|container| Some((container.id.clone()?, runs(container.state))));
        AtRest { revision: status.revision.clone(), containers: known.collect() }
    };
    statuses.into_iter().filter(rests).map(|status| (status.key.clone(), left(status))).collect()
}

fn runs(state: UnitState) -> bool {
    match state {
        UnitState::Running { .. } => true,
        UnitState::Waiting | UnitState::Terminated { .. } => false,
    }
}

/// The apps at rest that a plan would not leave as they are. What has changed on the box since, or is another revision by now, is not
/// counted: there the plan may have its reasons.
pub fn disturbed(plan: &Plan, world: &World, before: &BTreeMap<AppKey, AtRest>) -> Vec<AppKey> {
    let as_before = |left: &AtRest| {
        left.containers.iter().all(|(id, ran)| {
            world.containers.get(id).is_some_and(|container| container.state.is_alive() == *ran)
        })
    };
    let disturbs = |(app, left): &(&AppKey, &AtRest)| {
        plan.apps.get(app).is_some_and(|now| {
            now.verdict.revision == left.revision && as_before(left) && now.actions.iter().any(churns)
        })
    };
    before.iter().filter(disturbs).map(|(app, _)| app.clone()).collect()
}

/// Another container would run than the one that does.
fn churns(action: &Action) -> bool {
    match action {
        Action::Create(_)
        | Action::Start { .. }
        | Action::Stop { .. }
        | Action::Remove { .. }
        | Action::Discard => true,
        Action::Pull { .. }
        | Action::Project(_)
        | Action::PostStart { .. }
        | Action::Update { .. }
        | Action::Names { .. } => false,
    }
}
