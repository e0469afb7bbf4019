//! What a box tells afterwards, and what of it becomes an Event. A box sends again what was not acknowledged, so each transition is known by
//! its number; a box that was away for weeks must not flood the API server, so what is shown has a pace.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use skerry_terms::{AppKey, NodeName, Phase, reasons};

use crate::session::Monotonic;

/// Told by more than this after it happened, a transition is told late, and its Event says so.
pub const LATE: Duration = Duration::from_secs(30);
/// A box whose clock is off by more has its times corrected. It is the tolerance by which the box itself reports its clock.
const CLOCK_TOLERANCE: i64 = 60_000;
/// Events of one box at once: what a bad day of ten apps amounts to.
const BURST: u32 = 50;
/// The time that each further one takes: ten a minute.
const INTERVAL: Duration = Duration::from_secs(6);
/// Runs of a box's agent whose numbers are remembered. A batch is of the newest, or of one that its file still holds.
const RUNS_MAX: usize = 8;
/// What was warned of and has not got well. More are forgotten, oldest name first: their recovery is told by the status alone.
const WARNED_MAX: usize = 256;

/// What a transition is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    App(AppKey),
    Container(AppKey, String),
    /// A side of the box itself.
    Node(String),
}

/// One transition, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub sequence: u64,
    pub subject: Subject,
    /// uid of the EdgeApp object. Empty where the box does not know it.
    pub uid: String,
    pub phase: Option<Phase>,
    /// A stable word.
    pub reason: String,
    pub message: String,
    pub warning: bool,
    /// How often; at least 1.
    pub count: u32,
    /// By the box's clock, in milliseconds since 1970.
    pub first: i64,
    pub last: i64,
    /// How long before it was sent the last time was. Absent where the box does not know.
    pub age: Option<Duration>,
}

/// What a box sent at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub run: u64,
    /// Oldest first.
    pub items: Vec<Transition>,
    /// How many gave way on the box for want of room, since it keeps them.
    pub dropped: u64,
    /// The controller's time less the box's, in milliseconds. Absent while the box does not know.
    pub offset: Option<i64>,
}

/// What is to be shown as an Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub subject: Subject,
    pub uid: String,
    pub reason: String,
    pub note: String,
    pub warning: bool,
    pub count: u32,
    /// When it happened, by the controller's clock as far as that can be told, in milliseconds since 1970.
    pub first: i64,
    pub last: i64,
    /// Tells it from every other Event.
    pub id: String,
}

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    pub shown: Vec<Shown>,
    /// How many would have been shown if there was room.
    pub withheld: usize,
    /// How many there were that had not come before.
    pub new: usize,
}

/// Transitions that have no Event of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Withheld {
    count: u64,
    /// When the first and the last of them happened.
    first: i64,
    last: i64,
}

/// What is remembered of one node.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Of each run the newest sequence that was taken; the newest run last.
    runs: VecDeque<(u64, u64)>,
    warned: BTreeSet<(Option<AppKey>, String)>,
    /// When the whole burst is free again. Absent before the first.
    rested: Option<Monotonic>,
    /// What is to be said when there is room: of a flood that was cut, and of what the box had no room for.
    withheld: Option<Withheld>,
    dropped: u64,
    /// Summaries that were told, each an Event of its own.
    told: u64,
}

impl Ledger {
    /// Takes a batch in. `wall` is the controller's time in milliseconds since 1970. After this it may be acknowledged.
    pub fn take(&mut self, node: &NodeName, batch: &Batch, wall: i64, now: Monotonic) -> Taken {
        let Batch { run, items, dropped: _, offset } = batch;
        let known =
            self.runs.iter().position(|(known, _)| known == run).and_then(|place| self.runs.remove(place));
        let mut upto = known.map_or(0, |(_, upto)| upto);
        let mut taken = Taken::default();
        for item in items {
            if item.sequence <= upto {
                continue;
            }
            upto = item.sequence;
            taken.new += 1;
            let times = Times::of(item, *offset, wall);
            if !self.is_shown(item, &times) {
                continue;
            }
            if self.has_room(now) {
                taken.shown.push(shown(node, *run, item, &times, wall));
            } else {
                let Withheld { count, first, last } =
                    self.withheld.unwrap_or(Withheld { count: 0, first: times.first, last: times.last });
                let (first, last) = (first.min(times.first), last.max(times.last));
                self.withheld = Some(Withheld { count: count.saturating_add(1), first, last });
                taken.withheld += 1;
            }
        }
        self.runs.push_back((*run, upto));
        if self.runs.len() > RUNS_MAX {
            self.runs.pop_front();
        }
        taken
    }

    /// So many gave way on the box for want of room, beside those that were said already.
    pub fn dropped(&mut self, count: u64) {
        self.dropped = self.dropped.saturating_add(count);
    }

    /// What is to be said of floods, as far as there is room. `wall` is the controller's time in milliseconds since 1970.
    pub fn summaries(&mut self, wall: i64, now: Monotonic) -> Vec<Shown> {
        let mut all = Vec::new();
        if self.withheld.is_some()
            && self.has_room(now)
            && let Some(Withheld { count, first, last }) = self.withheld.take()
        {
            let (from, to) = (time(first), time(last));
            let note = format!("{count} more things happened from {from} to {to} than are shown as Events");
            all.push(self.summary(reasons::MORE_HAPPENED, note, false, first, last));
        }
        if self.dropped > 0 && self.has_room(now) {
            let count = std::mem::take(&mut self.dropped);
            let note = format!(
                "{count} things that happened while the box could not tell did not fit what it keeps"
            );
            all.push(self.summary(reasons::TRANSITIONS_DROPPED, note, true, wall, wall));
        }
        all
    }

    /// When there is room for what is to be said of floods. Absent while nothing is.
    pub fn wake_at(&self) -> Option<Monotonic> {
        let waits = self.withheld.is_some() || self.dropped > 0;
        waits.then(|| self.rested.unwrap_or_default().saturating_sub(INTERVAL * (BURST - 1)))
    }

    fn summary(&mut self, reason: &str, note: String, warning: bool, first: i64, last: i64) -> Shown {
        self.told += 1;
        Shown {
            subject: Subject::Node(String::new()),
            uid: String::new(),
            reason: reason.to_owned(),
            note,
            warning,
            count: 1,
            first,
            last,
            id: format!("{last:x}-{}-{}", self.told, reason.to_ascii_lowercase()),
        }
    }

    /// What goes well at once is in the status: a rollout over a whole fleet must not cost an Event per node. What somebody should look at
    /// is shown, that it got well again, and whatever nobody could see when it happened.
    fn is_shown(&mut self, item: &Transition, times: &Times) -> bool {
        let about = match &item.subject {
            Subject::App(key) | Subject::Container(key, _) => (Some(key.clone()), String::new()),
            Subject::Node(side) => (None, side.clone()),
        };
        if item.warning {
            self.warned.insert(about);
            if self.warned.len() > WARNED_MAX {
                self.warned.pop_first();
            }
            return true;
        }
        let recovered = match &item.subject {
            // That one of its containers ended well says nothing of the app.
            Subject::Container(..) => false,
            Subject::App(_) | Subject::Node(_) => self.warned.remove(&about),
        };
        recovered || times.is_late()
    }

    /// True if one more Event may be, which then counts.
    fn has_room(&mut self, now: Monotonic) -> bool {
        let rested = self.rested.map_or(now, |rested| rested.max(now));
        let room = rested.saturating_sub(now) <= INTERVAL * (BURST - 1);
        if room {
            self.rested = Some(rested + INTERVAL);
        }
        room
    }
}

/// When something happened.
struct Times {
    /// By the controller's clock, as far as that can be told.
    first: i64,
    last: i64,
    /// How long ago, in milliseconds.
    ago: i64,
    /// The box's clock said something else.
    corrected: bool,
}

impl Times {
    /// A clock that nobody sets is believed before one that somebody may have set. What lies in the future did not happen there.
    fn of(item: &Transition, offset: Option<i64>, wall: i64) -> Self {
        let millis = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let off = offset.filter(|offset| offset.unsigned_abs() > CLOCK_TOLERANCE.unsigned_abs()).unwrap_or(0);
        let last = match item.age {
            Some(age) => wall.saturating_sub(millis(age)),
            None => item.last.saturating_add(off),
        };
        let last = last.clamp(0, wall.max(0));
        // How long it went on is a difference of two times of the box.
        let first = last.saturating_sub(item.last.saturating_sub(item.first).max(0)).max(0);
        let corrected = last.abs_diff(item.last) > CLOCK_TOLERANCE.unsigned_abs();
        Self { first, last, ago: wall.saturating_sub(last).max(0), corrected }
    }

    fn is_late(&self) -> bool {
        u128::from(self.ago.unsigned_abs()) > LATE.as_millis()
    }
}

fn shown(node: &NodeName, run: u64, item: &Transition, times: &Times, wall: i64) -> Shown {
    let Transition { sequence, subject, uid, phase, reason, message, warning, count, first: _, last, age: _ } =
        item;
    let word = match (reason.is_empty(), phase) {
        (false, _) => reason.clone(),
        (true, Some(phase)) => phase.to_string(),
        (true, None) => "Happened".to_owned(),
    };
    let mut note = match subject {
        Subject::Node(_) => message.clone(),
        Subject::App(_) | Subject::Container(..) => {
            let phase = phase.map(|phase| format!(" {phase}:")).unwrap_or_default();
            let words = if message.is_empty() { &word } else { message };
            format!("{node}:{phase} {words}")
        }
    };
    if *count > 1 {
        note += &format!("; {count} times since {}", time(times.first));
    }
    if times.is_late() {
        let later = span(Duration::from_millis(times.ago.unsigned_abs()));
        note += &format!("; happened at {}, told at {}, {later} later", time(times.last), time(wall));
    }
    if times.corrected {
        note += &format!("; the box's clock said {}", time(*last));
    }
    Shown {
        subject: subject.clone(),
        uid: uid.clone(),
        reason: word,
        note,
        warning: *warning,
        count: *count,
        first: times.first,
        last: times.last,
        id: format!("{run:016x}-{sequence}"),
    }
}

/// RFC 3339, to the second.
fn time(millis: i64) -> String {
    let stamp = k8s_openapi::jiff::Timestamp::from_second(millis.div_euclid(1000)).unwrap_or_default();
    stamp.to_string()
}

/// A length of time for people.
fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match (seconds / 86_400, seconds / 3600, seconds / 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) if minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        (0, hours, _) => format!("{hours} h"),
        (days, hours, _) if hours % 24 > 0 => format!("{days} d {} h", hours % 24),
        (days, _, _) => format!("{days} d"),
    }
}
