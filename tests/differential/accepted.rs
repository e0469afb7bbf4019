//! The differences between a real kube-apiserver and the standalone one that are accepted. Each has its reason; one that does not occur any
//! more fails the test, so that this list stays short. It does not count between two real servers.

use std::sync::atomic::{AtomicBool, Ordering};

/// One accepted difference. A pattern is a text in which `*` stands for anything.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Pattern of the scenario's name: `file::sentence_with_underscores`.
    pub scenario: &'static str,
    /// Pattern of the step's name.
    pub step: &'static str,
    /// Pattern of the place in the answer, as a failing test prints it: `/status`, `/body/message`, `/body/details*`.
    pub at: &'static str,
    /// Why it is accepted.
    pub reason: &'static str,
}

/// All of them.
pub const LIST: &[Entry] = &[];

/// The list, and which of it occurred.
#[derive(Debug)]
pub struct Accepted {
    entries: Vec<(Entry, AtomicBool)>,
}

impl Accepted {
    pub fn new(list: &[Entry]) -> Self {
        Self { entries: list.iter().map(|entry| (*entry, AtomicBool::new(false))).collect() }
    }

    /// A difference is accepted; remembers that it occurred.
    pub fn covers(&self, scenario: &str, step: &str, at: &str) -> bool {
        let mut covered = false;
        for (entry, occurred) in &self.entries {
            if matches(entry.scenario, scenario) && matches(entry.step, step) && matches(entry.at, at) {
                occurred.store(true, Ordering::Relaxed);
                covered = true;
            }
        }
        covered
    }

    /// Entries that stand for nothing any more.
    pub fn unused(&self) -> Vec<Entry> {
        let unused = self.entries.iter().filter(|(_, occurred)| !occurred.load(Ordering::Relaxed));
        unused.map(|(entry, _)| *entry).collect()
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}
