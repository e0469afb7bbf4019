//! What one unit needs now, or what it waits for.

use skerry_terms::reasons;

use super::Why;
use super::app::AppView;
use super::standing::Standing;
use super::verdict::ending;
use crate::memory::Subject;
use crate::unit::Unit;
use crate::{ContainerState, Monotonic, PullPolicy, Role};

/// What a unit needs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need<'a> {
    Nothing,
    Start {
        name: &'a str,
    },
    Create {
        restart_count: u32,
    },
    Pull {
        image: &'a str,
        why: Why,
    },
    /// It needs something and cannot have it now.
    Blocked(Blocker),
}

/// What a unit waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blocker {
    pub reason: &'static str,
    pub message: String,
    /// Absent when an event will tell.
    pub wake: Option<Monotonic>,
}

pub(super) fn need<'a>(view: &AppView<'a>, unit: &Unit<'a>, standing: &Standing<'a>) -> Need<'a> {
    let (last, restart_count, name) = match standing {
        Standing::Serving { .. } | Standing::Ended { .. } => return Need::Nothing,
        Standing::Created { name, .. } => (None, 0, Some(*name)),
        Standing::Absent { restart_count, last } => (*last, *restart_count, None),
    };
    if let Some(blocker) = refused(view, unit, Subject::Launch(unit.role.clone())) {
        return Need::Blocked(blocker);
    }
    if let Some(name) = name {
        return Need::Start { name };
    }
    let crashed = last.is_some_and(|(_, state)| matches!(state, ContainerState::Exited { .. }));
    if let (true, Some(crash)) = (crashed, view.memory.crash(&view.app.key, unit))
        && crash.restart_at > view.now
    {
        let (_, words) = ending(crash.last.exit_code, crash.last.oom_killed);
        let delay = crate::CRASH_BACKOFF.delay(crash.count.saturating_sub(2)).as_secs();
        return Need::Blocked(Blocker {
            reason: reasons::CRASH_LOOP_BACK_OFF,
            message: format!(
                "container {} {words}; back-off {delay}s before restart {restart_count}",
                unit.role
            ),
            wake: Some(crash.restart_at),
        });
    }
    // A restart takes the image that is there: with the registry away, what ran must come up again.
    let restart = last.is_some();
    pull_need(view, unit, restart).unwrap_or(Need::Create { restart_count })
}

/// What has to be done about the unit's image before it can be created.
fn pull_need<'a>(view: &AppView<'a>, unit: &Unit<'a>, restart: bool) -> Option<Need<'a>> {
    let container = unit.container?;
    // An image that was not asked about counts as present: creating the container tells.
    let present = view.world.images.get(&container.image).copied().unwrap_or(true);
    let why = match (container.pull_policy, present) {
        (PullPolicy::Never, false) => {
            return Some(Need::Blocked(Blocker {
                reason: reasons::IMAGE_NEVER_PULL,
                message: format!(
                    "image {} is not on the node and imagePullPolicy is Never; load it with docker load",
                    container.image
                ),
                wake: None,
            }));
        }
        (PullPolicy::IfNotPresent | PullPolicy::Always, false) => Why::ImageAbsent,
        (PullPolicy::Always, true) if !restart && !view.memory.is_fresh(&view.app.key, unit) => {
            Why::PullAlways
        }
        (PullPolicy::Never | PullPolicy::IfNotPresent | PullPolicy::Always, true) => return None,
    };
    let refused = refused(view, unit, Subject::Pull(unit.role.clone()));
    Some(refused.map_or(Need::Pull { image: &container.image, why }, Need::Blocked))
}

/// What Docker refused for this unit and spec, while it is too early to ask again.
fn refused(view: &AppView<'_>, unit: &Unit<'_>, subject: Subject) -> Option<Blocker> {
    let failure = view.memory.failure(&view.app.key, subject, Some(&unit.hash))?;
    (failure.retry_at > view.now).then(|| Blocker {
        reason: failure.reason,
        message: format!("container {}: {}", unit.role, failure.message),
        wake: Some(failure.retry_at),
    })
}

/// Nothing joins a network that is not there.
pub(super) fn block_members_of_blocked_sandbox(units: &mut [(Unit<'_>, Standing<'_>, Need<'_>)]) {
    let Some((unit, _, Need::Blocked(blocker))) = units.first() else {
        return;
    };
    if unit.role != Role::Sandbox {
        return;
    }
    let blocker = Blocker { wake: None, ..blocker.clone() };
    for (_, _, need) in &mut units[1..] {
        if matches!(need, Need::Start { .. } | Need::Create { .. }) {
            *need = Need::Blocked(blocker.clone());
        }
    }
}
