//! How far the box's clock is from the controller's. Measured when the controller greets; between two greetings a clock that nobody sets
//! tells how the box's own has moved, so that a step of it is seen without asking anybody.

use std::time::Duration;

use skerry_terms::{Problem, reasons};

use crate::{Monotonic, WallMillis};

/// A clock that is off by more is reported. Times in logs and Events are compared by the minute, and a certificate is valid from a minute
/// or more before it was made; the measurement itself is off by half a round trip at most, which a link that stands keeps under 10 s.
pub const TOLERANCE: Duration = Duration::from_secs(60);
/// What was reported is over only below this: a clock at the tolerance shall not come and go.
const CALM: Duration = Duration::from_secs(45);

/// What is known of the box's clock.
#[derive(Debug, Default)]
pub struct Skew {
    /// The controller's time at a moment of the box. Absent until a controller has told it.
    measured: Option<(WallMillis, Monotonic)>,
    /// The offset in milliseconds that was reported. Absent: the clock is right, as far as is known.
    reported: Option<i64>,
}

/// What is to be reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It is as it was told.
    Same,
    Skewed(Problem),
    /// The clock is right again.
    Right,
}

impl Skew {
    /// The controller told its time, in answer to what was sent at `asked`.
    pub fn measure(&mut self, controller: WallMillis, asked: Monotonic, now: Monotonic) {
        let half = asked.until(now) / 2;
        let told = controller.0.saturating_add(millis(half));
        self.measured = Some((WallMillis(told), now));
    }

    /// The controller's time less the box's, in milliseconds. Absent until it was measured.
    pub fn offset(&self, wall: WallMillis, now: Monotonic) -> Option<i64> {
        let (told, at) = self.measured?;
        Some(told.0.saturating_add(millis(at.until(now))).saturating_sub(wall.0))
    }

    /// Looks at the clock.
    pub fn look(&mut self, wall: WallMillis, now: Monotonic) -> Report {
        let Some(offset) = self.offset(wall, now) else { return Report::Same };
        let size = |offset: i64| Duration::from_millis(offset.unsigned_abs());
        match self.reported {
            Some(_) if size(offset) < CALM => {
                self.reported = None;
                Report::Right
            }
            // Told anew only where it is another trouble.
            Some(told) if size(offset.saturating_sub(told)) <= TOLERANCE => Report::Same,
            None if size(offset) <= TOLERANCE => Report::Same,
            Some(_) | None => {
                self.reported = Some(offset);
                Report::Skewed(problem(offset))
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn problem(offset: i64) -> Problem {
    let (reason, word) =
        if offset > 0 { (reasons::CLOCK_BEHIND, "behind") } else { (reasons::CLOCK_AHEAD, "ahead of") };
    // No more exact than it was measured.
    let seconds = offset.unsigned_abs().saturating_add(500) / 1000;
    let seconds = if seconds < 3600 { seconds } else { seconds.saturating_add(30) / 60 * 60 };
    let far = span(Duration::from_secs(seconds));
    let message = format!(
        "the box's clock is {far} {word} the controller's; start a time service on the box, such as chrony or systemd-timesyncd, or set the clock. Apps go on: nothing waits by this clock"
    );
    Problem { reason: reason.to_owned(), message }
}

/// A length of time for people: the largest unit, and the next.
pub fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, unit: &str, small: u64, next: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {next}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => two(minutes, "min", seconds % 60, "s"),
        (0, _, _) => two(hours, "h", minutes % 60, "min"),
        (_, _, _) => two(days, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOON: WallMillis = WallMillis(1_800_000_000_000);

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn later(millis: i64) -> WallMillis {
        WallMillis(NOON.0 + millis)
    }

    #[test]
    fn half_the_round_trip_is_the_controllers_word_on_its_way() {
        let mut skew = Skew::default();
        assert_eq!((skew.offset(NOON, at(0)), skew.look(NOON, at(0))), (None, Report::Same));
        skew.measure(NOON, at(0), at(4));
        assert_eq!(skew.offset(later(2000), at(4)), Some(0));
        assert_eq!(skew.offset(later(12_000), at(14)), Some(0), "both went on");
    }

    #[test]
    fn a_wrong_clock_is_told_once_and_a_right_one_ends_it() {
        let mut skew = Skew::default();
        skew.measure(later(2 * HOUR + 61_000), at(0), at(0));
        let Report::Skewed(problem) = skew.look(NOON, at(0)) else { panic!("it is right") };
        assert_eq!(problem.reason, reasons::CLOCK_BEHIND);
        assert!(problem.message.contains("2 h 1 min behind"), "{}", problem.message);
        assert_eq!(skew.look(later(1000), at(1)), Report::Same);
        skew.measure(later(2000), at(2), at(2));
        assert_eq!(skew.look(later(2000), at(2)), Report::Right);
        assert_eq!(skew.look(later(3000), at(3)), Report::Same);
    }

    #[test]
    fn a_step_of_the_clock_is_seen_without_a_new_greeting() {
        let mut skew = Skew::default();
        skew.measure(NOON, at(0), at(0));
        assert_eq!(skew.look(NOON, at(0)), Report::Same);
        let Report::Skewed(problem) = skew.look(later(365 * 24 * HOUR + 5000), at(5)) else {
            panic!("a year is not seen")
        };
        assert!(problem.message.contains("365 d ahead of"), "{}", problem.message);
        assert_eq!(skew.look(later(6000), at(6)), Report::Right, "it was set back");
    }

    #[test]
    fn a_clock_at_the_tolerance_does_not_come_and_go() {
        let mut skew = Skew::default();
        skew.measure(later(61_000), at(0), at(0));
        assert!(matches!(skew.look(NOON, at(0)), Report::Skewed(_)));
        assert_eq!(skew.look(later(3_000), at(1)), Report::Same, "59 s");
        assert_eq!(skew.look(later(20_000), at(1)), Report::Right, "42 s");
        assert_eq!(skew.look(later(3_000), at(1)), Report::Same, "59 s");
    }

    proptest! {
        #[test]
        fn no_time_is_too_strange(controller: i64, wall: i64, asked: u32, now: u32) {
            let mut skew = Skew::default();
            skew.measure(WallMillis(controller), at(asked.into()), at(now.into()));
            skew.look(WallMillis(wall), at(now.into()));
            skew.look(WallMillis(wall.wrapping_neg()), at(now.into()));
        }
    }
}
