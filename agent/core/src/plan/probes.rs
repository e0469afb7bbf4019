//! How well a container is, by its probes and its postStart hook. Asking is the shell's; [`crate::probe_tasks`] says what.

use super::standing::{Found, Standing};
use crate::memory::{HookState, Kill};
use crate::unit::Unit;
use crate::{ContainerState, Memory, ProbeKind, Probes, ValidApp};

/// How well a unit's container is. All false and empty while none runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Health {
    /// Its startup probe passed or there is none, and so did its postStart hook: what comes after it may start.
    pub started: bool,
    /// It serves.
    pub ready: bool,
    /// It is ready, and by its own word: not because it was so before the agent's start.
    pub settled: bool,
    /// It was ready before in this run.
    pub proven: bool,
    /// What it waits for, or what its readiness probe met last. Empty when ready.
    pub words: String,
    /// Its postStart hook is still to be run.
    pub hook_due: bool,
    /// It is to be ended; of one that ended for good: it was.
    pub kill: Option<Kill>,
}

pub(super) fn health(memory: &Memory, app: &ValidApp, unit: &Unit<'_>, standing: &Standing<'_>) -> Health {
    match standing {
        Standing::Serving(found) => of_living(memory, app, unit, *found),
        Standing::Ended(found) => {
            Health { kill: memory.kill(&app.key, unit, found.id).cloned(), ..Health::default() }
        }
        Standing::Created(_) | Standing::Absent { .. } => Health::default(),
    }
}

fn of_living(memory: &Memory, app: &ValidApp, unit: &Unit<'_>, found: Found<'_>) -> Health {
    let id = found.id;
    let none = Probes::default();
    let probes = unit.container.map_or(&none, |container| &container.probes);
    let has_hook = unit.container.is_some_and(|container| container.lifecycle.post_start.is_some());
    let hook = memory.hook(&app.key, unit).filter(|_| has_hook);
    let paused = matches!(found.container.state, ContainerState::Paused { .. });
    let kill = memory.verdict_on(&app.key, unit, id).filter(|_| !paused);
    let up = !paused && hook.is_none() && kill.is_none() && !memory.is_doomed(&app.key, id);
    let started = hook.is_none() && memory.has_started(id, probes);
    let asked = started && memory.probe(id, ProbeKind::Readiness).is_some_and(|verdict| verdict.ok);
    let ready = up && memory.is_ready(id, probes);
    let words = match (ready, started) {
        (true, _) => String::new(),
        (false, false) if hook.is_some() => "its postStart hook has not ended".to_owned(),
        (false, false) => "its startup probe has not yet succeeded".to_owned(),
        (false, true) => match memory.probe(id, ProbeKind::Readiness) {
            Some(verdict) if !verdict.ok => format!("its readiness probe failed: {}", verdict.message),
            Some(_) | None => "its readiness probe has not yet succeeded".to_owned(),
        },
    };
    Health {
        started,
        ready,
        settled: up && started && (probes.readiness.is_none() || asked),
        proven: memory.is_proven(id),
        words,
        hook_due: hook == Some(&HookState::Due),
        kill,
    }
}
