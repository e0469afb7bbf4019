//! When to look at the box: at most one look under way, at most one wanted behind it, none while the engine is away. And which apps a look
//! was begun after.

use std::time::Duration;

use skerry_agent_core::{Backoff, Monotonic};
use skerry_terms::AppKey;

/// Between looks that fail although the engine answers.
const RETRY: Backoff = Backoff { min: Duration::from_millis(500), max: Duration::from_secs(10) };

/// The state of looking.
#[derive(Debug, Default)]
pub(super) struct Looks {
    up: bool,
    wanted: bool,
    under_way: bool,
    /// Apps whose list has ended since the look under way began: only the next look shows what became of them.
    left: Vec<AppKey>,
    /// Apps whose list had ended before the look under way began.
    covered: Vec<AppKey>,
    /// Looks that failed in a row, and when to try again.
    failures: u32,
    retry_at: Option<Monotonic>,
}

impl Looks {
    /// Something changed.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    pub fn engine_up(&mut self) {
        self.up = true;
        (self.failures, self.retry_at) = (0, None);
        self.want();
    }

    pub fn engine_down(&mut self) {
        self.up = false;
        self.retry_at = None;
    }

    pub fn is_up(&self) -> bool {
        self.up
    }

    /// True if the last look still shows everything that was signalled since.
    pub fn is_current(&self) -> bool {
        self.up && !self.wanted && !self.under_way && self.failures == 0
    }

    /// An app's list has ended.
    pub fn left(&mut self, app: AppKey) {
        self.left.push(app);
    }

    /// True if a look is to begin now; then it has begun. After a failure, changes wait for the retry.
    pub fn begin(&mut self, now: Monotonic) -> bool {
        let waits = self.retry_at.is_some_and(|retry_at| retry_at > now);
        if !self.up || !self.wanted || self.under_way || waits {
            return false;
        }
        (self.wanted, self.under_way, self.retry_at) = (false, true, None);
        self.covered.append(&mut self.left);
        true
    }

    /// The look under way has ended, with these apps' outcomes in it.
    pub fn ended(&mut self) -> Vec<AppKey> {
        self.under_way = false;
        std::mem::take(&mut self.covered)
    }

    /// True when it worked before.
    pub fn failed(&mut self, now: Monotonic) -> bool {
        self.want();
        if !self.up {
            // Nothing is retried on an engine that is away; its return is signalled.
            return false;
        }
        self.retry_at = Some(now.after(RETRY.delay(self.failures)));
        self.failures = self.failures.saturating_add(1);
        self.failures == 1
    }

    /// True when it failed before.
    pub fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    pub fn retry_at(&self) -> Option<Monotonic> {
        self.retry_at.filter(|_| !self.under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Monotonic = Monotonic(Duration::ZERO);

    fn up() -> Looks {
        let mut looks = Looks::default();
        looks.engine_up();
        looks
    }

    #[test]
    fn many_changes_during_a_look_are_one_look_more() {
        let mut looks = up();
        assert!(looks.begin(NOW));
        (0..9).for_each(|_| looks.want());
        assert!(!looks.begin(NOW), "one at a time");
        looks.ended();
        assert!(looks.begin(NOW));
        looks.ended();
        assert!(!looks.begin(NOW), "nothing has changed since");
        assert!(looks.is_current());
    }

    #[test]
    fn an_app_is_busy_until_a_look_that_began_after_it_was_left() {
        let app: AppKey = "a/b".parse().expect("a key");
        let mut looks = up();
        assert!(looks.begin(NOW));
        looks.left(app.clone());
        looks.want();
        assert!(looks.ended().is_empty(), "that look began before");
        assert!(looks.begin(NOW));
        assert_eq!(looks.ended(), [app]);
    }

    #[test]
    fn nothing_is_asked_of_an_engine_that_is_away() {
        let mut looks = up();
        looks.engine_down();
        // A step that was under way ends after the engine went.
        looks.failed(NOW);
        assert_eq!(looks.retry_at(), None, "there is nothing to wake up for");
        assert!(!looks.begin(NOW));
        looks.engine_up();
        assert!(looks.begin(NOW));
    }

    #[test]
    fn after_a_failure_changes_wait_for_the_retry() {
        let mut looks = up();
        assert!(looks.begin(NOW));
        looks.ended();
        assert!(looks.failed(NOW), "the first in a row is told");
        looks.want();
        assert!(!looks.begin(NOW));
        let retry_at = looks.retry_at().expect("a retry");
        assert!(retry_at > NOW && looks.begin(retry_at));
        looks.ended();
        assert!(!looks.failed(retry_at), "the second is not");
        assert!(looks.succeeded());
    }
}
