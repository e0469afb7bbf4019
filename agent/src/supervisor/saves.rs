//! What is to be written to disk: one write at a time, each of everything, so that the set and the notes on updates always fit together.

use skerry_agent_core::{Held, Input};

/// What waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Saves {
    under_way: bool,
    /// A set that the session wants to have stored.
    set: Option<Held>,
    /// The notes on updates have changed.
    notes: bool,
}

/// The disk's answer.
#[derive(Debug)]
pub struct Saved {
    /// What the session is told, when the write was for it.
    pub input: Option<Input>,
}

/// A write that is to begin.
pub(super) struct Save {
    /// Absent: the set that is held stays, and only the notes are new.
    pub set: Option<Held>,
}

impl Saves {
    /// The session asks for one set at a time.
    pub fn set(&mut self, held: Held) {
        self.set = Some(held);
    }

    pub fn notes(&mut self) {
        self.notes = true;
    }

    /// What is to be written now, if anything; then it is under way.
    pub fn begin(&mut self) -> Option<Save> {
        if self.under_way || (self.set.is_none() && !self.notes) {
            return None;
        }
        (self.under_way, self.notes) = (true, false);
        Some(Save { set: self.set.take() })
    }

    /// Notes that could not be written are written with the next change: a disk that is full is not asked again and again.
    pub fn ended(&mut self) {
        self.under_way = false;
    }
}
