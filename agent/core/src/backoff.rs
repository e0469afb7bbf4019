//! How long to wait before the next try. Total for every attempt number: it neither overflows nor falls to zero (A12).

use std::time::Duration;

/// A delay that doubles from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Delay before the first retry. Never zero.
    pub min: Duration,
    /// Longest delay.
    pub max: Duration,
}

/// Kubernetes' back-off between restarts of a container that keeps ending.
pub const CRASH_BACKOFF: Backoff = Backoff { min: Duration::from_secs(10), max: Duration::from_secs(300) };

/// Kubernetes' back-off between pulls of an image; used for everything else that Docker refused, too.
pub const RETRY_BACKOFF: Backoff = Backoff { min: Duration::from_secs(10), max: Duration::from_secs(300) };

/// Between dials of the controller. The cap bounds how long a node stays unseen after its link is back.
pub const DIAL_BACKOFF: Backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(30) };

impl Backoff {
    /// The delay before retry number `attempt`, counted from 0. Doubles each time, stays at `max` for ever.
    pub fn delay(&self, attempt: u32) -> Duration {
        2u32.checked_pow(attempt)
            .and_then(|factor| self.min.checked_mul(factor))
            .map_or(self.max, |delay| delay.min(self.max))
    }

    /// Full jitter: a delay between `min` and the doubled one, chosen by `random`, so that a thousand nodes that lost the
    /// same link do not return in the same moment. The first try comes within `min`.
    pub fn jittered(&self, attempt: u32, random: u32) -> Duration {
        let span = self.delay(attempt).saturating_sub(self.min);
        let share = f64::from(random) / f64::from(u32::MAX);
        (self.min + span.mul_f64(share)).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_crash_back_off_is_that_of_kubernetes() {
        let seconds: Vec<u64> = (0..7).map(|n| CRASH_BACKOFF.delay(n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
    }

    proptest! {
        #[test]
        fn every_delay_is_within_bounds_and_never_shrinks(attempt: u32, random: u32) {
            for backoff in [CRASH_BACKOFF, RETRY_BACKOFF, DIAL_BACKOFF] {
                let delay = backoff.delay(attempt);
                prop_assert!(backoff.min <= delay && delay <= backoff.max && !delay.is_zero());
                prop_assert!(delay <= backoff.delay(attempt.saturating_add(1)));
                let jittered = backoff.jittered(attempt, random);
                prop_assert!(backoff.min <= jittered && jittered <= delay.max(backoff.min));
            }
        }
    }
}
