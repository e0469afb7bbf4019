//! The two clocks of the core, read from the system. The planner never reads a clock: the supervisor hands it the time.

use std::time::{SystemTime, UNIX_EPOCH};

use skerry_agent_core::{Monotonic, WallMillis};
use tokio::time::Instant;

/// Counts from the agent's start. tokio's instant, so that tests can pause it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub fn now(&self) -> Monotonic {
        Monotonic(self.start.elapsed())
    }

    /// The moment that a plan named, for a timer.
    pub fn instant(&self, moment: Monotonic) -> Instant {
        self.start + moment.0
    }
}

/// The box's own time of day.
pub fn wall_now() -> WallMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
