//! What happened and is not yet told: transitions, in order, for a controller that may be away for weeks. Bounded, and honest about what
//! gave way (A11). The shell feeds it [`News`], sends its [`Batch`]es while a link stands, and keeps it on disk.
//!
//! A repeat is one transition with a count, as it is one Kubernetes Event with a series: a container that crashes for weeks pushes nothing
//! else out. What may have been sent is not touched any more, so that nothing is counted twice.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use skerry_terms::{AppKey, Phase};

use crate::{Monotonic, WallMillis};

/// Most transitions. With repeats as one, that is what ten apps do in months; and about as many apps as a box can have leave one each.
pub const TRANSITIONS_MAX: usize = 1000;
/// Most bytes of all transitions together: they are held in memory, and written as a whole.
pub const BYTES_MAX: usize = 256 << 10;
/// A transition's words, in bytes. The status has room for more; here there are many of them.
pub const WORDS_MAX: usize = 256;
/// Transitions in one batch. Few, so that one that has to be sent again costs little.
pub const BATCH_MAX: usize = 64;
/// How long an answer to a batch is waited for. A controller that is busy does not answer, and is asked again.
pub const ANSWER_WAIT: Duration = Duration::from_secs(30);
/// From the first thing that is new to the write that keeps it: what is told meanwhile costs the disk nothing.
pub const SAVE_AFTER: Duration = Duration::from_secs(30);
/// The same where nothing is new but counts of repeats, or where the disk did not take it: weeks of crashes shall not wear the flash out.
pub const SAVE_SLOWLY: Duration = Duration::from_secs(15 * 60);
/// What a transition takes beside its texts.
const FIXED: usize = 96;

/// What a transition is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    App(AppKey),
    /// One container of an app, by its name in the template.
    Container(AppKey, String),
    /// The box itself: which side of it, in one word, such as `Docker`.
    Node(String),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    pub about: About,
    /// uid of the EdgeApp object. Empty where there is none, or it is not known.
    pub uid: String,
    /// Of the app. Empty for the box.
    pub revision: String,
    /// Where the app came to rest. Absent for a container and for the box.
    pub phase: Option<Phase>,
    /// A stable word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Somebody should look at it.
    pub warning: bool,
    /// Of the run that ended.
    pub exit_code: Option<i64>,
    /// Of the container. Zero for the rest.
    pub restart_count: u32,
}

/// News with its place in the order of everything that the box has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The agent's run that numbered it: with the sequence it is told from every other of the box.
    pub run: u64,
    /// Ascends, and never comes twice in a run.
    pub sequence: u64,
    pub news: News,
    /// How often it happened.
    pub count: u32,
    /// By the box's clock, the first and the last time.
    pub first: WallMillis,
    pub last: WallMillis,
    /// The last time, by a clock that nobody sets. Absent for those of earlier runs of the agent.
    pub at: Option<Monotonic>,
    /// It was sent. Whether it arrived is not known.
    pub sent: bool,
}

/// What had to give way for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Transitions of what has newer ones.
    pub superseded: u64,
    /// The only ones of their app, container or side of the box.
    pub newest: u64,
}

impl Dropped {
    pub fn total(self) -> u64 {
        self.superseded.saturating_add(self.newest)
    }
}

/// What is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// The kernel's, at the last write: another one means that the box was started anew.
    pub boot_id: String,
    pub dropped: Dropped,
    /// Oldest first.
    pub transitions: Vec<Transition>,
}

impl Kept {
    /// Both as one, within the same bounds; `before` comes first.
    pub fn after(self, before: Kept) -> Kept {
        let boot_id = self.boot_id.clone();
        let mut outbox = Outbox::new(0, boot_id, self);
        outbox.recall(before, Monotonic::default());
        outbox.kept()
    }
}

/// Transitions of one run, oldest first, for the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub run: u64,
    pub transitions: Vec<Transition>,
    pub dropped: Dropped,
}

/// See the module.
#[derive(Debug)]
pub struct Outbox {
    run: u64,
    next: u64,
    boot_id: String,
    /// Oldest first, and whether each is on disk as it is.
    waiting: VecDeque<(Transition, bool)>,
    /// How many there are about each.
    about: BTreeMap<About, usize>,
    bytes: usize,
    dropped: Dropped,
    /// The controller takes transitions.
    open: bool,
    in_flight: Option<InFlight>,
    /// The disk holds what is not so any more.
    outdated: bool,
    save_at: Option<Monotonic>,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    /// When it is sent again.
    until: Monotonic,
}

impl Outbox {
    /// `run` is a number that no other run of this box's agent has: any random one. `kept` is what was on disk.
    pub fn new(run: u64, boot_id: String, kept: Kept) -> Self {
        let Kept { boot_id: before, dropped, transitions } = kept;
        let mut outbox = Self {
            run,
            // One order over all runs, for people who look.
            next: transitions.iter().map(|kept| kept.sequence).max().map_or(1, |last| last.saturating_add(1)),
            outdated: before != boot_id,
            boot_id,
            waiting: VecDeque::new(),
            about: BTreeMap::new(),
            bytes: 0,
            dropped,
            open: false,
            in_flight: None,
            save_at: None,
        };
        for transition in transitions {
            outbox.push(Transition { at: None, ..transition }, true);
        }
        if outbox.outdated {
            outbox.save_by(Monotonic::default().after(SAVE_AFTER));
        }
        outbox
    }

    /// Takes in what an earlier run kept and could not be read at the start. It comes before everything else.
    pub fn recall(&mut self, kept: Kept, now: Monotonic) {
        let Kept { boot_id: _, dropped: Dropped { superseded, newest }, transitions } = kept;
        let last = transitions.iter().map(|kept| kept.sequence).max().unwrap_or(0);
        self.next = self.next.max(last.saturating_add(1));
        self.dropped.superseded = self.dropped.superseded.saturating_add(superseded);
        self.dropped.newest = self.dropped.newest.saturating_add(newest);
        let since = std::mem::take(&mut self.waiting);
        (self.about, self.bytes) = (BTreeMap::new(), 0);
        for transition in transitions {
            self.push(Transition { at: None, ..transition }, true);
        }
        for (transition, on_disk) in since {
            self.push(transition, on_disk);
        }
        self.outdated = true;
        self.save_by(now);
    }

    /// What is not yet told, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Transition> {
        self.waiting.iter().map(|(transition, _)| transition)
    }

    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Takes news in.
    pub fn put(&mut self, mut news: News, wall: WallMillis, now: Monotonic) {
        cut(&mut news.message);
        cut(&mut news.reason);
        cut(&mut news.revision);
        let same = |(old, _): &(Transition, bool)| {
            !old.sent
                && old.news.about == news.about
                && old.news.reason == news.reason
                && old.news.phase == news.phase
                && old.news.uid == news.uid
        };
        let before = self.waiting.iter().rposition(same).and_then(|place| self.remove(place));
        let (count, first) = match before {
            Some(before) => {
                self.save_by(now.after(SAVE_SLOWLY));
                (before.count.saturating_add(1), before.first)
            }
            None => {
                self.save_by(now.after(SAVE_AFTER));
                (1, wall)
            }
        };
        let (run, sequence) = (self.run, self.next);
        self.next += 1;
        let transition =
            Transition { run, sequence, news, count, first, last: wall, at: Some(now), sent: false };
        self.push(transition, false);
    }

    fn push(&mut self, transition: Transition, on_disk: bool) {
        self.bytes += size(&transition.news);
        *self.about.entry(transition.news.about.clone()).or_default() += 1;
        self.waiting.push_back((transition, on_disk));
        self.make_room();
    }

    fn remove(&mut self, place: usize) -> Option<Transition> {
        let (gone, on_disk) = self.waiting.remove(place)?;
        self.bytes -= size(&gone.news);
        self.outdated |= on_disk;
        if let Some(count) = self.about.get_mut(&gone.news.about) {
            *count -= 1;
            if *count == 0 {
                self.about.remove(&gone.news.about);
            }
        }
        Some(gone)
    }

    /// The oldest gives way that something newer is known of; with none such, the oldest.
    fn make_room(&mut self) {
        while self.waiting.len() > TRANSITIONS_MAX || self.bytes > BYTES_MAX {
            let is_superseded = |(old, _): &(Transition, bool)| {
                self.about.get(&old.news.about).is_some_and(|count| *count > 1)
            };
            let all_differ = self.about.len() == self.waiting.len();
            let place = if all_differ { None } else { self.waiting.iter().position(is_superseded) };
            match place {
                Some(_) => self.dropped.superseded = self.dropped.superseded.saturating_add(1),
                None => self.dropped.newest = self.dropped.newest.saturating_add(1),
            }
            if self.remove(place.unwrap_or(0)).is_none() {
                return;
            }
        }
    }

    /// A link stands whose controller takes transitions.
    pub fn opened(&mut self) {
        (self.open, self.in_flight) = (true, None);
    }

    /// The link is over.
    pub fn closed(&mut self) {
        (self.open, self.in_flight) = (false, None);
    }

    /// What is to be sent now, if anything: one batch is on its way at a time.
    pub fn batch(&mut self, now: Monotonic) -> Option<Batch> {
        if !self.open || self.in_flight.is_some_and(|flight| flight.until > now) {
            return None;
        }
        let run = self.waiting.front()?.0.run;
        let mut transitions = Vec::new();
        for (transition, _) in
            self.waiting.iter_mut().take(BATCH_MAX).take_while(|(transition, _)| transition.run == run)
        {
            transition.sent = true;
            transitions.push(transition.clone());
        }
        self.in_flight = Some(InFlight { until: now.after(ANSWER_WAIT) });
        Some(Batch { run, transitions, dropped: self.dropped })
    }

    /// The controller has everything of a run up to a sequence.
    pub fn told(&mut self, run: u64, upto: u64, now: Monotonic) {
        self.in_flight = None;
        let is_told = |(transition, _): &(Transition, bool)| {
            transition.sent && transition.run == run && transition.sequence <= upto
        };
        let was_outdated = std::mem::take(&mut self.outdated);
        // What was sent is at the front.
        while self.waiting.front().is_some_and(is_told) {
            self.remove(0);
        }
        if self.outdated {
            self.save_by(now.after(SAVE_AFTER));
        }
        self.outdated |= was_outdated;
        if !self.is_unsaved() {
            self.save_at = None;
        }
    }

    /// The disk does not hold what it should.
    pub fn is_unsaved(&self) -> bool {
        self.outdated || self.waiting.iter().any(|(_, on_disk)| !on_disk)
    }

    fn save_by(&mut self, moment: Monotonic) {
        self.save_at = Some(self.save_at.map_or(moment, |before| before.min(moment)));
    }

    /// What is to be written now, if anything. At the end, everything that is not on disk.
    pub fn to_save(&mut self, now: Monotonic, ending: bool) -> Option<Kept> {
        let due = self.save_at.is_some_and(|moment| moment <= now);
        if !due && !ending {
            return None;
        }
        self.save_at = None;
        if !self.is_unsaved() {
            return None;
        }
        self.outdated = false;
        for (_, on_disk) in &mut self.waiting {
            *on_disk = true;
        }
        Some(self.kept())
    }

    fn kept(&self) -> Kept {
        let transitions = self.waiting().cloned().collect();
        Kept { boot_id: self.boot_id.clone(), dropped: self.dropped, transitions }
    }

    /// The disk did not take it. It is asked again, and not soon.
    pub fn not_saved(&mut self, now: Monotonic) {
        self.outdated = true;
        self.save_by(now.after(SAVE_SLOWLY));
    }

    /// When something is to be done without anything happening.
    pub fn wake_at(&self) -> Option<Monotonic> {
        let again =
            self.in_flight.filter(|_| self.open && !self.waiting.is_empty()).map(|flight| flight.until);
        [self.save_at, again].into_iter().flatten().min()
    }
}

/// Cuts a text to its cap, at a character.
fn cut(text: &mut String) {
    if text.len() > WORDS_MAX {
        text.truncate(text.floor_char_boundary(WORDS_MAX));
    }
}

/// What a transition takes, about.
fn size(news: &News) -> usize {
    let News { about, uid, revision, phase: _, reason, message, warning: _, exit_code: _, restart_count: _ } =
        news;
    let about = match about {
        About::App(key) => key.namespace().len() + key.name().len(),
        About::Container(key, name) => key.namespace().len() + key.name().len() + name.len(),
        About::Node(side) => side.len(),
    };
    FIXED + about + uid.len() + revision.len() + reason.len() + message.len()
}
