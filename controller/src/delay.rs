//! How long to wait before another try: doubled each time, jittered so that many who failed together do not come back together.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait: an API server that comes back is noticed within this time.
const LONGEST: Duration = Duration::from_secs(30);

/// The wait after `failures` failures in a row: between half of and the whole doubled time.
pub fn before_retry(failures: u32) -> Duration {
    let doubled = FIRST.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    let whole = doubled.min(LONGEST);
    // A fresh RandomState is keyed by the system's randomness; one hash of it is enough for a jitter.
    let percent = 50 + RandomState::new().hash_one(failures) % 51;
    whole.mul_f64(percent as f64 / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_is_within_its_bounds() {
        for failures in (0..40).chain([u32::MAX - 1, u32::MAX]) {
            let wait = before_retry(failures);
            assert!(wait >= FIRST / 2 && wait <= LONGEST, "{failures}: {wait:?}");
        }
    }
}
