//! Between the supervisor and the task that runs the probes: which are to run, and what their verdicts lead to.

use skerry_agent_core::{ContainerId, Observed, ProbeKind, probe_tasks};
use tracing::{debug, info, warn};

use super::Supervisor;
use crate::engine::Engine;
use crate::probes::Probed;

impl<E: Engine> Supervisor<E> {
    /// After every change of what is desired, observed or remembered. The task that runs the probes wakes up only if something changed
    /// for it.
    pub(super) fn reconcile_probes(&mut self) {
        let (Some(desired), Some(observed)) = (&self.desired, &self.observed) else { return };
        let Some(tasks) = probe_tasks(desired, observed, &self.memory) else { return };
        self.probing.send_if_modified(|running| {
            let changed = *running != tasks;
            if changed {
                *running = tasks;
            }
            changed
        });
    }

    pub(super) fn probed(&mut self, probed: Probed) {
        let Probed { id, kind, verdict } = probed;
        // Of a probe that is not to run any more.
        if !self.probing.borrow().contains_key(&(id.clone(), kind)) {
            return;
        }
        let before = self.memory.probe(&id, kind).map(|verdict| verdict.ok);
        let (container, question) = (self.name_of(&id), question(kind));
        match (verdict.ok, before) {
            (false, _) => warn!("container={container}: {question} probe failed: {}", verdict.message),
            (true, Some(false)) => info!("container={container}: {question} probe succeeds again"),
            (true, _) => debug!("container={container}: {question} probe succeeded"),
        }
        self.memory.probed(&id, kind, verdict);
        self.report_due = true;
    }

    fn name_of(&self, id: &ContainerId) -> String {
        let found = match &self.observed {
            Some(Observed::Known(world)) => world.containers.get(id),
            Some(Observed::Unknown { .. }) | None => None,
        };
        found.map_or_else(|| id.to_string(), |container| container.name.clone())
    }
}

fn question(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup",
        ProbeKind::Readiness => "readiness",
        ProbeKind::Liveness => "liveness",
    }
}
