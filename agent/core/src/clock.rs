//! Two clocks. Waiting uses the monotonic one, which no time server and no dead battery can turn back; people are shown the wall
//! clock's time.

use std::fmt;
use std::time::Duration;

/// Time since the agent started. Never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// This moment and `wait` more; saturates instead of overflowing.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(wait))
    }

    /// How long until `later`; zero when it has passed.
    pub fn until(self, later: Monotonic) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

impl fmt::Display for Monotonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:.3}s", self.0.as_secs_f64())
    }
}

/// Milliseconds since 1970 by the box's own clock. For display, and for differences between two times that Docker
/// reported; nothing ever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct WallMillis(pub i64);

impl WallMillis {
    /// Time from `earlier` to this; zero when the clock was turned back in between.
    pub fn since(self, earlier: WallMillis) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
