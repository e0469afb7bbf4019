//! How often one object's status is written: a few times at once, then steadily. A node that flips must not keep the API server
//! busy; a start, an update and a removal in a row must not wait.

use std::time::Duration;

use tokio::time::Instant;

/// Writes that may follow each other at once.
const BURST: u32 = 3;
/// The time that each further one takes.
const INTERVAL: Duration = Duration::from_secs(2);

/// The writes of one object.
#[derive(Debug, Default)]
pub struct Pace {
    /// When the whole burst is free again; each write moves it on. Absent before the first.
    rested: Option<Instant>,
}

impl Pace {
    /// When the next write may be: `now`, or later.
    pub fn next(&self, now: Instant) -> Instant {
        let next = self.rested.and_then(|rested| rested.checked_sub(INTERVAL * (BURST - 1)));
        next.map_or(now, |next| next.max(now))
    }

    pub fn spend(&mut self, now: Instant) {
        self.rested = Some(self.rested.map_or(now, |rested| rested.max(now)) + INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_there_is_a_steady_pace() {
        let start = Instant::now() + Duration::from_secs(60);
        let (mut pace, mut now) = (Pace::default(), start);
        let mut writes = Vec::new();
        for _ in 0..5 {
            now = pace.next(now);
            pace.spend(now);
            writes.push(now.duration_since(start).as_secs());
        }
        assert_eq!(writes, [0, 0, 0, 2, 4]);
        let later = now + INTERVAL * BURST;
        assert_eq!(pace.next(later), later);
    }
}
