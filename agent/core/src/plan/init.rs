//! The order in which an app's containers come up: init containers one after the other, each to its end; a sidecar until it has started;
//! then the main ones. Kubernetes' order, with its exceptions.

use skerry_terms::reasons;

use super::need::{Need, Wait};
use super::standing::{Sorted, Standing, Stood};
use crate::Kind;

/// What each unit of an app that comes up needs now: those that wait for their turn need nothing but their image.
pub(super) fn in_turn<'a>(
    sorted: &'a Sorted<'a>,
    mut need: impl FnMut(&'a Stood<'a>) -> Need<'a>,
) -> Vec<Need<'a>> {
    let mut turn: Option<Wait> = None;
    let mut needs = Vec::new();
    for stood in &sorted.units {
        let own = if sorted.initialized && stood.unit.is(Kind::Init) {
            // It had its turn, even if nothing of it is left.
            Need::Nothing
        } else {
            need(stood)
        };
        let own = match (&turn, own) {
            (Some(wait), Need::Start { .. } | Need::Create { .. }) => Need::Waits(wait.clone()),
            (_, own) => own,
        };
        if !sorted.initialized && turn.is_none() {
            turn = holds_up(stood, &own);
        }
        needs.push(own);
    }
    needs
}

/// What keeps those that come after this unit waiting.
fn holds_up(stood: &Stood<'_>, need: &Need<'_>) -> Option<Wait> {
    let waits = |message: String| Some(Wait { reason: reasons::POD_INITIALIZING, message, wake: None });
    let role = &stood.unit.role;
    match (stood.unit.kind()?, &stood.standing) {
        (Kind::Main, _) | (Kind::Init, Standing::Ended(_)) => None,
        (Kind::Init, Standing::Serving(_)) => waits(format!("init container {role} runs")),
        (Kind::Init, Standing::Created(_) | Standing::Absent { .. }) => {
            waits(format!("init container {role} is to run first"))
        }
        (Kind::Sidecar, Standing::Serving(_)) if stood.health.started && !stood.health.hook_due => None,
        (Kind::Sidecar, Standing::Serving(_)) => {
            waits(format!("sidecar {role} has not started: {}", stood.health.words))
        }
        (Kind::Sidecar, Standing::Created(_) | Standing::Absent { .. } | Standing::Ended(_)) => {
            let launched = matches!(need, Need::Start { .. } | Need::Create { .. });
            let probed = stood.unit.container.is_some_and(|container| container.probes.startup.is_some());
            // One list starts it, runs its hook and goes on.
            match launched && !probed {
                true => None,
                false => waits(format!("sidecar {role} is to start first")),
            }
        }
    }
}
