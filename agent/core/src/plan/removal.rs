//! An app that is no longer desired: its containers go, then what the box keeps for it.

use skerry_terms::{AppKey, reasons};

use super::stop::{Stopping, stops};
use super::verdict::Verdict;
use super::{Action, AppPlan, Why};
use crate::memory::Subject;
use crate::{ContainerId, ContainerState, Memory, Monotonic, ObservedContainer, World};

/// Actions and verdict for an app that is no longer desired and has something left.
pub(super) fn plan_removal(
    key: &AppKey,
    containers: &[(&ContainerId, &ObservedContainer)],
    world: &World,
    memory: &Memory,
    now: Monotonic,
) -> (AppPlan, Option<Monotonic>) {
    let failure = memory.failure(key, Subject::Cleanup, None).filter(|failure| failure.retry_at > now);
    if let Some(failure) = failure {
        let verdict = Verdict::leaving(failure.reason, failure.message.clone());
        return (AppPlan { actions: Vec::new(), verdict }, Some(failure.retry_at));
    }
    let why = Why::NotDesired;
    let mut actions = stops(containers.iter().map(|(id, container)| Stopping {
        id,
        container,
        why,
        grace: memory.grace(id),
    }));
    let removable = containers.iter().filter(|(_, container)| container.state != ContainerState::Removing);
    actions.extend(removable.map(|(id, _)| Action::Remove { id: (*id).clone(), why }));
    let removing = containers.iter().any(|(_, container)| container.state == ContainerState::Removing);
    // What Docker still removes may have the folders mounted.
    if world.kept.contains(key) && !removing {
        actions.push(Action::Discard);
    }
    let verdict = Verdict::leaving(reasons::TERMINATING, "containers are being stopped".to_owned());
    (AppPlan { actions, verdict }, None)
}
