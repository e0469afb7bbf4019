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

/// A short way to write one.
const fn entry(scenario: &'static str, step: &'static str, at: &'static str, reason: &'static str) -> Entry {
    Entry { scenario, step, at, reason }
}

/// All of them.
#[rustfmt::skip]
pub const LIST: &[Entry] = &[
    entry("apply::applying_twice", "the same again", "/body/metadata/resourceVersion",
        "the real server writes once more, as the default of status was not stored at first; ours stores nothing the second time"),
    entry("discovery::access_is_reviewed", "may I", "/body/metadata/managedFields", "a review is not stored, so nobody owns its fields"),
    entry("apply::yaml_is_read_as_1.2", "*", "*",
        "a bare `y` is a text in YAML 1.2; kubectl and helm turn YAML into JSON before they send it"),
    entry("apply::*", "garbage", "/body/message", "the words of another YAML parser"),
    entry("protocol::*", "bad yaml", "/body/message", "the words of another YAML parser"),
    entry("schema::*", "strict yaml with a key twice", "/body/message", "the words of another YAML parser"),
    entry("lists::*", "garbage to continue", "/body/message", "how Go prints a control character"),
    entry("discovery::*", "definitions", "/body/resources*", "definitions come with the program and are read only"),
    entry("protocol::media_types_are_checked", "accept yaml", "*", "answers are JSON; a client that takes nothing else is told so"),
    entry("protocol::media_types_are_checked", "a list of metadata of one", "*",
        "asking one object for a list of metadata is the client's mistake (406), not the server's (500)"),
    entry("protocol::strangers_are_not_served", "nobody *", "*", "there is no anonymous user: who does not say who he is gets 401"),
    entry("schema::bounds_are_checked", "port beyond int64", "/body*", "how Go prints a number beyond 64 bits"),
    entry("schema::*", "strict strategic patch", "/body*", "the real server quotes the patch as a Go map; ours quotes the object"),
    entry("names::the_url_and_the_body_must_agree", "other *", "/body/message", "the real server names Go types and a line of its source"),
    entry("names::what_the_server_owns*", "patch the api version", "/warnings",
        "the real server warns of all fields of a version that it does not know, and then refuses; ours only refuses"),
    entry("names::what_the_server_owns*", "*", "/body/metadata/resourceVersion",
        "the real server writes once more, as the default of status was not stored at first; ours stores nothing the second time"),
    entry("writes::strategic_patches", "a type error", "/body*", "the real server quotes the patch as a Go map; ours quotes the object"),
];

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
