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

/// Between dials of a controller that cannot be reached. The cap bounds how long a node stays unseen after its link is back: with the
/// time that a dial may take it is below ten seconds.
pub const DIAL_BACKOFF: Backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(8) };

/// Between dials of a controller that answers, and sends the agent away: its link is well, and it may have reason to want fewer agents.
pub const REFUSED_BACKOFF: Backoff =
    Backoff { min: Duration::from_millis(500), max: Duration::from_secs(30) };

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

    const ALL: [Backoff; 4] = [CRASH_BACKOFF, RETRY_BACKOFF, DIAL_BACKOFF, REFUSED_BACKOFF];

    #[test]
    fn the_crash_back_off_is_that_of_kubernetes() {
        let seconds: Vec<u64> = (0..7).map(|n| CRASH_BACKOFF.delay(n).as_secs()).collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
    }

    /// A12 for every attempt number there is: a delay never shrinks, and once it is at its cap it stays there, so that what holds up to the
    /// cap and at the largest number holds for all.
    #[test]
    fn every_attempt_number_has_a_delay() {
        for backoff in ALL {
            let capped = (0..=u32::BITS).find(|attempt| backoff.delay(*attempt) == backoff.max);
            let capped = capped.expect("at the cap before the factor overflows");
            let mut before = Duration::ZERO;
            let far = [u32::BITS, u32::BITS + 1, 1 << 16, u32::MAX - 1, u32::MAX];
            for attempt in (0..=u32::BITS).chain(far) {
                let delay = backoff.delay(attempt);
                assert!(
                    backoff.min <= delay && delay <= backoff.max && !delay.is_zero(),
                    "{attempt}: {delay:?}"
                );
                assert!(before <= delay, "{attempt}: {delay:?} after {before:?}");
                assert!(attempt < capped || delay == backoff.max, "{attempt}: {delay:?}");
                for random in [0, 1, u32::MAX / 2, u32::MAX] {
                    let jittered = backoff.jittered(attempt, random);
                    assert!(
                        backoff.min <= jittered && jittered <= delay.max(backoff.min),
                        "{attempt}: {jittered:?}"
                    );
                }
                before = delay;
            }
        }
    }

    proptest! {
        #[test]
        fn every_delay_is_within_bounds_and_never_shrinks(attempt: u32, random: u32) {
            for backoff in ALL {
                let delay = backoff.delay(attempt);
                prop_assert!(backoff.min <= delay && delay <= backoff.max && !delay.is_zero());
                prop_assert!(delay <= backoff.delay(attempt.saturating_add(1)));
                let jittered = backoff.jittered(attempt, random);
                prop_assert!(backoff.min <= jittered && jittered <= delay.max(backoff.min));
            }
        }
    }
}
