//! What is to be written to disk: one write at a time, each of everything, so that the set and the notes on updates always fit together. What
//! the disk does not take is tried again until it does; while nothing waits for the disk, it is not asked.

use std::time::Duration;

use skerry_agent_core::{Backoff, Held, Monotonic};
use skerry_terms::{Generation, Problem};

/// Between tries of a disk that does not take what it is given. A try costs it a file of some MiB at most.
const RETRY: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };

/// What waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Saves {
    /// What is being written.
    under_way: Option<Save>,
    /// A set that the session wants to have stored.
    set: Option<Held>,
    /// The notes on updates have changed.
    notes: bool,
    /// The folder did not take a write, and nothing waits that would show whether it does by now.
    probe: bool,
    /// Writes that failed in a row, when to try again, and what is wrong.
    failures: u32,
    retry_at: Option<Monotonic>,
    problem: Option<Problem>,
}

/// The disk's answer.
#[derive(Debug)]
pub struct Saved {
    /// What went wrong, if anything did.
    pub failure: Option<Problem>,
}

/// A write that is to begin.
#[derive(Debug, Clone)]
pub(super) enum Save {
    /// This set and the notes.
    Set(Held),
    /// The set that is held stays, and only the notes are new.
    Notes,
    /// Only whether a write works.
    Probe,
}

/// What the session is told of a set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Persisted(Generation),
    Failed(Problem),
}

impl Saves {
    /// For a folder that does not take a write already.
    pub fn unwritable(problem: Problem, now: Monotonic) -> Self {
        let retry_at = Some(now.after(RETRY.min));
        Self { probe: true, failures: 1, retry_at, problem: Some(problem), ..Self::default() }
    }

    /// The session asks for one set at a time. A new one is tried at once: it may be smaller.
    pub fn set(&mut self, held: Held) {
        self.set = Some(held);
        self.retry_at = None;
    }

    pub fn notes(&mut self) {
        self.notes = true;
    }

    /// What is wrong with the disk, as far as writes have shown.
    pub fn problem(&self) -> Option<&Problem> {
        self.problem.as_ref()
    }

    /// When something that failed is to be tried again.
    pub fn retry_at(&self) -> Option<Monotonic> {
        self.retry_at.filter(|_| self.under_way.is_none())
    }

    /// What is to be written now, if anything; then it is under way.
    pub fn begin(&mut self, now: Monotonic) -> Option<Save> {
        if self.under_way.is_some() || self.retry_at.is_some_and(|retry_at| retry_at > now) {
            return None;
        }
        let save = match (self.set.take(), self.notes, self.probe) {
            (Some(held), _, _) => Save::Set(held),
            (None, true, _) => Save::Notes,
            (None, false, true) => Save::Probe,
            (None, false, false) => return None,
        };
        (self.notes, self.probe, self.retry_at) = (false, false, None);
        self.under_way = Some(save.clone());
        Some(save)
    }

    /// The write under way has ended: what the session is to hear of it. `random` spreads the tries.
    pub fn ended(&mut self, failure: Option<Problem>, now: Monotonic, random: u32) -> Option<Told> {
        let save = self.under_way.take()?;
        let Some(problem) = failure else {
            (self.failures, self.retry_at, self.problem) = (0, None, None);
            return match save {
                Save::Set(held) => Some(Told::Persisted(held.generation)),
                Save::Notes | Save::Probe => None,
            };
        };
        self.problem = Some(problem.clone());
        self.failures = self.failures.saturating_add(1);
        let told = match save {
            // One that was asked for since is tried at once, and the session is told of that one.
            Save::Set(_) if self.set.is_some() => return None,
            Save::Set(held) => {
                self.set = Some(held);
                Some(Told::Failed(problem))
            }
            Save::Notes => {
                self.notes = true;
                None
            }
            Save::Probe => {
                self.probe = true;
                None
            }
        };
        if self.set.is_none() || told.is_some() {
            self.retry_at = Some(now.after(RETRY.jittered(self.failures, random)));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use skerry_terms::PayloadSet;

    use super::*;

    const NOW: Monotonic = Monotonic(Duration::ZERO);

    fn held(version: u64) -> Held {
        let generation = Generation::new("e", [("edgeapps".to_owned(), version)]).expect("a generation");
        Held { generation, set: PayloadSet::new() }
    }

    fn full() -> Option<Problem> {
        Some(Problem { reason: "StateNotDurable".to_owned(), message: "no space left".to_owned() })
    }

    #[test]
    fn nothing_is_asked_of_the_disk_while_nothing_waits_for_it() {
        let mut saves = Saves::default();
        assert!(saves.begin(NOW).is_none() && saves.retry_at().is_none());
        saves.notes();
        assert!(matches!(saves.begin(NOW), Some(Save::Notes)));
        assert!(saves.begin(NOW).is_none(), "one at a time");
        assert_eq!(saves.ended(None, NOW, 0), None);
        assert!(saves.begin(NOW).is_none() && saves.retry_at().is_none());
    }

    #[test]
    fn what_the_disk_does_not_take_is_tried_again_ever_more_rarely_until_it_does() {
        let (mut saves, mut now) = (Saves::default(), NOW);
        saves.set(held(1));
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert!(matches!(saves.begin(now), Some(Save::Set(_))));
            assert!(matches!(saves.ended(full(), now, u32::MAX), Some(Told::Failed(_))));
            assert!(saves.begin(now).is_none() && saves.problem().is_some());
            let retry_at = saves.retry_at().expect("a retry");
            waits.push(now.until(retry_at).as_secs());
            now = retry_at;
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60, 60, 60]);
        assert!(saves.begin(now).is_some());
        assert_eq!(saves.ended(None, now, 0), Some(Told::Persisted(held(1).generation)));
        assert!(saves.problem().is_none() && saves.retry_at().is_none() && saves.begin(now).is_none());
    }

    #[test]
    fn a_newer_set_takes_the_place_of_one_that_failed() {
        let mut saves = Saves::default();
        saves.set(held(1));
        saves.begin(NOW);
        saves.set(held(2));
        assert_eq!(saves.ended(full(), NOW, 0), None, "nobody waits for that one any more");
        assert!(matches!(saves.begin(NOW), Some(Save::Set(set)) if set == held(2)));
        saves.ended(full(), NOW, 0);
        saves.set(held(3));
        assert!(matches!(saves.begin(NOW), Some(Save::Set(set)) if set == held(3)), "at once");
    }

    #[test]
    fn a_folder_that_could_not_be_written_is_tried_without_anything_to_write() {
        let mut saves = Saves::unwritable(full().expect("a problem"), NOW);
        assert!(saves.problem().is_some() && saves.begin(NOW).is_none());
        let due = saves.retry_at().expect("a retry");
        assert!(matches!(saves.begin(due), Some(Save::Probe)));
        saves.ended(full(), due, 0);
        let due = saves.retry_at().expect("another");
        assert!(matches!(saves.begin(due), Some(Save::Probe)));
        saves.ended(None, due, 0);
        assert!(saves.problem().is_none() && saves.retry_at().is_none());
    }
}
