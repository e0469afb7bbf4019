//! What one unit needs now, or what it waits for.

use skerry_terms::reasons;

use super::Why;
use super::app::AppView;
use super::create::texts::{Texts, Unwritten, texts};
use super::image::{Chosen, chosen};
use super::standing::{Found, Standing, Stood};
use super::verdict::ending;
use crate::memory::{Kill, Subject};
use crate::unit::Unit;
use crate::{ContainerState, Monotonic, PullPolicy, Role, Volume};

/// What a unit needs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need<'a> {
    Nothing,
    Start {
        name: &'a str,
    },
    Create {
        restart_count: u32,
        texts: Box<Texts>,
    },
    Pull {
        image: &'a str,
        why: Why,
    },
    /// It runs, and its postStart hook was not run.
    Hook {
        name: &'a str,
    },
    /// It runs, and is to be ended.
    Kill(Kill),
    /// It is to be started when others are as far.
    Waits(Wait),
    /// It needs something and cannot have it now.
    Blocked(Wait),
}

/// What a unit waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    pub reason: &'static str,
    pub message: String,
    /// Absent when an event will tell.
    pub wake: Option<Monotonic>,
}

impl Need<'_> {
    /// True if the unit is launched as soon as it may.
    pub fn comes(&self) -> bool {
        match self {
            Need::Start { .. } | Need::Create { .. } | Need::Pull { .. } | Need::Waits(_) => true,
            Need::Nothing | Need::Hook { .. } | Need::Kill(_) | Need::Blocked(_) => false,
        }
    }

    /// True if the unit is launched in this round.
    pub fn launches(&self) -> bool {
        matches!(self, Need::Start { .. } | Need::Create { .. })
    }

    pub fn wake(&self) -> Option<Monotonic> {
        match self {
            Need::Waits(wait) | Need::Blocked(wait) => wait.wake,
            Need::Nothing
            | Need::Start { .. }
            | Need::Create { .. }
            | Need::Pull { .. }
            | Need::Hook { .. }
            | Need::Kill(_) => None,
        }
    }
}

pub(super) fn need<'a>(view: &AppView<'a>, stood: &'a Stood<'a>) -> Need<'a> {
    let unit = &stood.unit;
    let (last, restart_count, name) = match &stood.standing {
        Standing::Ended(_) => return Need::Nothing,
        Standing::Serving(found) => {
            return match &stood.health.kill {
                Some(kill) => Need::Kill(kill.clone()),
                None if stood.health.hook_due => Need::Hook { name: &found.container.name },
                None => Need::Nothing,
            };
        }
        Standing::Created(found) => (None, 0, Some(found.container.name.as_str())),
        Standing::Absent { restart_count, last } => (last.as_ref(), *restart_count, None),
    };
    let blocked = refused(view, unit, Subject::Launch(unit.role.clone())).or_else(|| unwritten(view, unit));
    if let Some(wait) = blocked {
        return Need::Blocked(wait);
    }
    if let Some(name) = name {
        return Need::Start { name };
    }
    if let Some(wait) = last.and_then(|last| backs_off(view, unit, last, restart_count)) {
        return Need::Blocked(wait);
    }
    // A restart takes the image that is there: with the registry away, what ran must come up again.
    if let Some(need) = pull_need(view, unit, last.is_some()) {
        return need;
    }
    match texts(view, unit) {
        Ok(texts) => Need::Create { restart_count, texts: Box::new(texts) },
        Err(Unwritten::NoAddress { wake }) => Need::Waits(Wait {
            reason: reasons::CONTAINER_CREATING,
            message: format!("container {} waits for the address of the app", unit.role),
            wake,
        }),
        Err(Unwritten::TooLarge(error)) => Need::Blocked(Wait {
            reason: reasons::CREATE_CONFIG_ERROR,
            message: format!("container {}: {error}", unit.role),
            wake: None,
        }),
    }
}

/// A container that ended waits before its next run.
fn backs_off(view: &AppView<'_>, unit: &Unit<'_>, last: &Found<'_>, restart_count: u32) -> Option<Wait> {
    if !matches!(last.container.state, ContainerState::Exited { .. }) {
        return None;
    }
    let crash = view.memory.crash(&view.app.key, unit).filter(|crash| crash.restart_at > view.now)?;
    let words = match &crash.kill {
        Some(kill) => format!("was killed: {}", kill.message),
        None => ending(crash.last.exit_code, crash.last.oom_killed).1,
    };
    let delay = crate::CRASH_BACKOFF.delay(crash.count.saturating_sub(2)).as_secs();
    Some(Wait {
        reason: reasons::CRASH_LOOP_BACK_OFF,
        message: format!("container {} {words}; back-off {delay}s before restart {restart_count}", unit.role),
        wake: Some(crash.restart_at),
    })
}

/// What has to be done about the unit's image before it can be created.
fn pull_need<'a>(view: &AppView<'a>, unit: &Unit<'a>, restart: bool) -> Option<Need<'a>> {
    let container = unit.container?;
    let Chosen { reference: _, present, proven } = chosen(view, container);
    if proven {
        return None;
    }
    let why = match (container.pull_policy, present) {
        (PullPolicy::Never, false) => {
            return Some(Need::Blocked(Wait {
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
    if let Some(why) = &view.desired.host.pulls_wait {
        return Some(Need::Blocked(Wait {
            reason: reasons::DISK_PRESSURE,
            message: format!("container {}: image {} waits: {why}", unit.role, container.image),
            wake: None,
        }));
    }
    let refused = refused(view, unit, Subject::Pull(unit.role.clone()));
    Some(refused.map_or(Need::Pull { image: &container.image, why }, Need::Blocked))
}

/// What Docker refused for this unit and spec, while it is too early to ask again.
pub(super) fn refused(view: &AppView<'_>, unit: &Unit<'_>, subject: Subject) -> Option<Wait> {
    let failure = view.memory.failure(&view.app.key, subject, Some(&unit.hash))?;
    (failure.retry_at > view.now).then(|| Wait {
        reason: failure.reason,
        message: format!("container {}: {}", unit.role, failure.message),
        wake: Some(failure.retry_at),
    })
}

/// The files that the unit mounts could not be written.
fn unwritten(view: &AppView<'_>, unit: &Unit<'_>) -> Option<Wait> {
    let mut mounts = unit.container?.mounts.iter();
    let has_files =
        mounts.any(|mount| matches!(view.app.volumes.get(&mount.volume), Some(Volume::Files { .. })));
    projection_failure(view).filter(|_| has_files)
}

/// The files of the app's volumes could not be written, and it is too early to try again.
pub(super) fn projection_failure(view: &AppView<'_>) -> Option<Wait> {
    let failure = view.memory.failure(&view.app.key, Subject::Project, view.app.files())?;
    (failure.retry_at > view.now).then(|| Wait {
        reason: failure.reason,
        message: format!("the volumes of files cannot be written: {}", failure.message),
        wake: Some(failure.retry_at),
    })
}

/// Nothing joins a network that is not there.
pub(super) fn block_members_of_blocked_sandbox(stood: &[Stood<'_>], needs: &mut [Need<'_>]) {
    let (Some(sandbox), Some(Need::Blocked(wait))) = (stood.first(), needs.first()) else {
        return;
    };
    if sandbox.unit.role != Role::Sandbox {
        return;
    }
    let wait = Wait { wake: None, ..wait.clone() };
    for need in &mut needs[1..] {
        if need.launches() {
            *need = Need::Blocked(wait.clone());
        }
    }
}
