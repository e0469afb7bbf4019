//! `StartFirst`: the containers of two specs side by side, until the new ones have proved themselves.

use std::time::Duration;

use super::app::AppView;
use super::standing::{Sorted, Stale, Standing, Stood, sort};
use crate::{ContainerId, Kind, Memory, Monotonic, ObservedContainer, Role, ValidApp, World};

/// How long the old containers run on when all new ones are ready. Meanwhile other apps are told the new address, and what was asked of
/// the old ones is answered. Writing names takes well below a second; a request that takes longer than the rest has the grace period.
const DRAIN: Duration = Duration::from_secs(2);

/// What becomes of the old containers that run beside the new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// The app does not switch that way, or nothing old runs.
    Off,
    /// They serve on.
    Waits,
    /// They serve on until this moment.
    Drains(Monotonic),
    /// They may go.
    Over,
}

pub(super) fn beside(view: &AppView<'_>, sorted: &Sorted<'_>) -> Beside {
    if !view.app.is_side_by_side() || !sorted.old_serves() {
        return Beside::Off;
    }
    if !all_settled(sorted) {
        return Beside::Waits;
    }
    // Before the look that takes note of it, the time has not begun.
    let since = view.memory.complete_since(&view.app.key).unwrap_or(view.now);
    match since.after(DRAIN) {
        end if end > view.now => Beside::Drains(end),
        _ => Beside::Over,
    }
}

impl Beside {
    /// True if this container serves beside the new ones, and stays.
    pub fn keeps(self, stale: &Stale<'_>) -> bool {
        match self {
            Beside::Off | Beside::Over => false,
            Beside::Waits | Beside::Drains(_) => stale.serves() && stale.why == super::Why::Replaced,
        }
    }
}

/// True if all new containers are ready while old ones run.
pub(crate) fn is_complete(app: &ValidApp, world: &World, memory: &Memory) -> bool {
    let own = |container: &ObservedContainer| container.ownership().is_some_and(|owner| owner.app == app.key);
    let containers: Vec<(&ContainerId, &ObservedContainer)> =
        world.containers.iter().filter(|(_, container)| own(container)).collect();
    let sorted = sort(memory, app, &containers);
    sorted.old_serves() && all_settled(&sorted)
}

/// True if every unit is where it shall be: it serves by its own word, or ended well.
pub(super) fn all_settled(sorted: &Sorted<'_>) -> bool {
    let settled = |stood: &Stood<'_>| match &stood.standing {
        Standing::Serving(_) => stood.unit.role == Role::Sandbox || stood.health.settled,
        Standing::Ended(_) => !stood.has_failed(),
        Standing::Created(_) | Standing::Absent { .. } => false,
    };
    let over = sorted.is_over();
    sorted.units.iter().all(|stood| match stood.unit.kind() {
        Some(Kind::Init) => sorted.initialized || settled(stood),
        None | Some(Kind::Sidecar) => over || settled(stood),
        Some(Kind::Main) => settled(stood),
    })
}
