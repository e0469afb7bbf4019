//! What must hold before this replica counts as ready. Written by whoever makes it hold, read by `/readyz`.

use std::sync::{Arc, Mutex, PoisonError};

/// The parts of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The API server was reached.
    Cluster,
    Apps,
    Nodes,
    ConfigMaps,
    Secrets,
    /// Agents can connect.
    Sessions,
    /// No stop was asked for.
    NotStopping,
}

impl Part {
    const ALL: [Part; 7] = [
        Part::Cluster,
        Part::Apps,
        Part::Nodes,
        Part::ConfigMaps,
        Part::Secrets,
        Part::Sessions,
        Part::NotStopping,
    ];

    fn missing(self) -> &'static str {
        match self {
            Part::Cluster => "the API server was not reached yet",
            Part::Apps => "the cache of EdgeApps is not filled yet",
            Part::Nodes => "the cache of EdgeNodes is not filled yet",
            Part::ConfigMaps => "the cache of ConfigMaps is not filled yet",
            Part::Secrets => "the cache of Secrets is not filled yet",
            Part::Sessions => "the session address is not served yet",
            Part::NotStopping => "the controller is being stopped",
        }
    }
}

/// Which parts hold.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<[bool; Part::ALL.len()]>>);

impl Readiness {
    pub fn new() -> Self {
        let readiness = Self(Arc::default());
        readiness.set(Part::NotStopping, true);
        readiness
    }

    pub fn set(&self, part: Part, holds: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[part as usize] = holds;
    }

    /// What is missing, for people. Empty when ready.
    pub fn missing(&self) -> Vec<&'static str> {
        let holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Part::ALL.into_iter().filter(|part| !holds[*part as usize]).map(Part::missing).collect()
    }
}
