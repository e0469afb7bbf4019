//! Between the supervisor and the task that runs the probes: which are to run, and what their verdicts lead to.

use skerry_agent_core::{
    ContainerId, DesiredApp, Observed, ObservedContainer, ProbeKind, ProbeVerdict, probe_tasks,
};
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
        // A probe may print whatever the container knows.
        let verdict = ProbeVerdict { message: self.without_secrets(&id, &verdict.message), ..verdict };
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

    fn without_secrets(&self, id: &ContainerId, message: &str) -> String {
        let owner = self.found(id).and_then(ObservedContainer::ownership);
        match owner.and_then(|owner| self.desired.as_ref()?.apps.get(&owner.app)) {
            Some(DesiredApp::Valid(app)) => app.secrets().hide(message),
            Some(DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. }) | None => message.to_owned(),
        }
    }

    fn name_of(&self, id: &ContainerId) -> String {
        self.found(id).map_or_else(|| id.to_string(), |container| container.name.clone())
    }

    fn found(&self, id: &ContainerId) -> Option<&ObservedContainer> {
        match &self.observed {
            Some(Observed::Known(world)) => world.containers.get(id),
            Some(Observed::Unknown { .. }) | None => None,
        }
    }
}

fn question(kind: ProbeKind) -> &'static str {
    match kind {
        ProbeKind::Startup => "startup",
        ProbeKind::Readiness => "readiness",
        ProbeKind::Liveness => "liveness",
    }
}
