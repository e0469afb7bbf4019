//! What lies in the folder and could not be read. It is remembered so that no write destroys what a key, another agent or another disk would
//! still read.

use std::collections::BTreeMap;

use super::file::Place;

/// How much a file is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Nothing takes its place: a newer agent wrote it, or its key is on another medium, which may come back.
    Keep,
    /// A fresh copy from a controller may take its place; it is then kept aside.
    Replaceable,
    /// It is corrupt, and could not be moved aside: whatever takes its place does so first.
    Corrupt,
}

/// The files that are protected, by name.
#[derive(Debug, Default)]
pub(super) struct Guards(BTreeMap<&'static str, Guard>);

impl Guards {
    pub fn keep(&mut self, place: Place) {
        self.0.insert(place.file, Guard::Keep);
    }

    pub fn replaceable(&mut self, place: Place) {
        self.0.insert(place.file, Guard::Replaceable);
    }

    pub fn corrupt(&mut self, place: Place) {
        self.0.insert(place.file, Guard::Corrupt);
    }

    /// It was read, it is gone, or it was kept aside.
    pub fn lift(&mut self, place: Place) {
        self.0.remove(place.file);
    }

    pub fn of(&self, place: Place) -> Option<Guard> {
        self.0.get(place.file).copied()
    }

    /// It may yet be readable.
    pub fn waits(&self, place: Place) -> bool {
        matches!(self.of(place), Some(Guard::Keep | Guard::Replaceable))
    }
}
