//! In which order containers are stopped: init and main containers all at once, then the sidecars one after the other, the last one
//! first, then the network they live in.

use std::collections::BTreeMap;
use std::time::Duration;

use super::standing::{Standing, Stood};
use super::{Action, Why};
use crate::unit::Unit;
use crate::{ContainerId, Kind, ObservedContainer, Role, ValidApp};

/// A living container that is to be stopped.
#[derive(Clone)]
pub(super) struct Stopping<'a> {
    pub id: &'a ContainerId,
    pub container: &'a ObservedContainer,
    pub why: Why,
    /// Absent: the one that it was created with.
    pub grace: Option<Duration>,
}

/// The label for a container of this unit: see [`crate::Ownership::stop_rank`].
pub(super) fn stop_rank(app: &ValidApp, unit: &Unit<'_>) -> u32 {
    let after = app
        .containers()
        .iter()
        .rev()
        .take_while(|other| Some(&other.name) != unit.container.map(|own| &own.name));
    match unit.kind() {
        None | Some(Kind::Init | Kind::Main) => 0,
        Some(Kind::Sidecar) => {
            let sidecars = after.filter(|other| other.kind == Kind::Sidecar).count();
            u32::try_from(sidecars).map_or(u32::MAX, |count| count.saturating_add(1))
        }
    }
}

/// One action for all that are stopped at once. Containers of one moment that were promised different grace periods get those that they
/// were created with.
pub(super) fn stops<'a>(stopping: impl IntoIterator<Item = Stopping<'a>>) -> Vec<Action> {
    let mut moments: BTreeMap<(bool, u32), Vec<Stopping<'_>>> = BTreeMap::new();
    for one in stopping.into_iter().filter(|one| one.container.state.is_alive()) {
        let Some(owner) = one.container.ownership() else { continue };
        moments.entry((owner.role == Role::Sandbox, owner.stop_rank)).or_default().push(one);
    }
    let actions = moments.into_values().filter_map(|group| {
        let first = group.first()?;
        Some(Action::Stop {
            ids: group.iter().map(|one| one.id.clone()).collect(),
            grace: first.grace.filter(|_| group.iter().all(|one| one.grace == first.grace)),
            why: first.why,
        })
    });
    actions.collect()
}

/// Those that are not well. Each probe may have a grace period of its own.
pub(super) fn kills<'a>(app: &ValidApp, units: impl IntoIterator<Item = &'a Stood<'a>>) -> Vec<Action> {
    let mut kills: Vec<(Why, Duration, Vec<ContainerId>)> = Vec::new();
    for stood in units {
        let (Standing::Serving(found), Some(kill)) = (&stood.standing, &stood.health.kill) else { continue };
        let (why, grace) = (kill.why, kill.grace.unwrap_or(app.grace));
        match kills.iter_mut().find(|(other, same, _)| (*other, *same) == (why, grace)) {
            Some((_, _, ids)) => ids.push(found.id.clone()),
            None => kills.push((why, grace, vec![found.id.clone()])),
        }
    }
    kills.into_iter().map(|(why, grace, ids)| Action::Stop { ids, grace: Some(grace), why }).collect()
}

/// When nothing is left to do, the sidecars end, and the ports are let go.
pub(super) fn idle<'a>(app: &ValidApp, units: &'a [Stood<'a>]) -> Vec<Action> {
    let serving = units.iter().filter_map(|stood| match &stood.standing {
        Standing::Serving(found) => Some(Stopping {
            id: found.id,
            container: found.container,
            why: Why::AllEnded,
            grace: stood.unit.container.map(|_| app.grace),
        }),
        Standing::Ended(_) | Standing::Created(_) | Standing::Absent { .. } => None,
    });
    stops(serving)
}
