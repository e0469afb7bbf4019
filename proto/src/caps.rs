//! The caps: every list, text and message that comes over the wire or from disk has one. They are far above
//! what an honest peer sends and far below what would hurt a small box.

use std::time::Duration;

/// One frame. An app's payload is at most [`PAYLOAD_MAX`]; a full status report of [`APPS_MAX`] apps is sent in
/// several frames.
pub const FRAME_MAX: usize = 4 << 20;

/// One frame of an agent: what the controller decodes for each of many nodes at a time. [`STATUS_APPS_PER_FRAME`] apps fit.
pub const REPORT_FRAME_MAX: usize = 512 << 10;

/// One encoded app. Kubernetes' own limit for an object is about 1.5 MiB of JSON, and the encoding is smaller.
pub const PAYLOAD_MAX: usize = 2 << 20;

/// Apps on one node. Docker itself becomes slow beyond a thousand containers.
pub const APPS_MAX: usize = 1024;

/// All payloads of one node together: what an agent holds in memory and on disk.
pub const SET_MAX: usize = 32 << 20;

/// Containers of one app, as the EdgeApp schema has it.
pub const CONTAINERS_MAX: usize = 32;

/// Init containers of one app, sidecars among them, as the EdgeApp schema has it.
pub const INIT_CONTAINERS_MAX: usize = 32;

/// Volumes of one app, and mounts of one container. Docker has no bound; a mount costs the kernel an entry that every process of
/// the box may have to walk.
pub const VOLUMES_MAX: usize = 64;

/// Entries of the other lists of an app: environment variables, arguments, keys of a volume. A bare list of this many costs a box
/// a few hundred KiB while it is read; honest ones have tens.
pub const LIST_MAX: usize = 1024;

/// Ports of one container, as the EdgeApp schema has it. Every one is compared with every other of the app.
pub const PORTS_MAX: usize = 64;

/// ConfigMaps and Secrets that one app refers to. Their sizes add up to no more than [`PAYLOAD_MAX`].
pub const CONFIG_OBJECTS_MAX: usize = 64;

/// Keys of one ConfigMap or Secret.
pub const CONFIG_KEYS_MAX: usize = 4096;

/// Files of all volumes of one app: each is an inode of the box, and those of Secrets take its memory.
pub const VOLUME_FILES_MAX: usize = 16 << 10;

/// Name servers, search domains and their length, as Kubernetes validates them.
pub const NAMESERVERS_MAX: usize = 3;
pub const SEARCHES_MAX: usize = 32;
pub const SEARCHES_LENGTH_MAX: usize = 2048;

/// A path inside a container or on the box: the kernel's PATH_MAX.
pub const PATH_MAX: usize = 4096;

/// Kinds of devices that a box lends, and that one container asks for.
pub const DEVICES_MAX: usize = 64;

/// Apps in one status frame. An app with every text at its cap takes 1 KiB for its own message and 64 containers, init containers
/// among them, of two messages of 1 KiB and about 400 B of the rest each: 154 KiB, and 3 of them 462 KiB, which is under
/// [`REPORT_FRAME_MAX`].
pub const STATUS_APPS_PER_FRAME: usize = 3;

/// A word that is not a message: versions, ids, reasons.
pub const WORD_MAX: usize = 256;

/// A message for people: a registry's or Docker's words, cut to what fits a status and an Event.
pub const MESSAGE_MAX: usize = 1024;

/// A message about one container, its termination message among them: there may be many of them in one status.
pub const CONTAINER_MESSAGE_MAX: usize = 256;

/// Transitions in one frame. One with every text at its cap takes about 3 KiB, and these 192 KiB.
pub const TRANSITIONS_MAX: usize = 64;

/// Labels that a node brings along when it joins.
pub const NODE_LABELS_MAX: usize = 64;

/// Network addresses that a node reports.
pub const ADDRESSES_MAX: usize = 16;

/// How often each side asks an idle link whether it still stands. One exchange costs about 250 bytes with its TCP and
/// IP headers; two sides at this pace stay under 10 bytes per second.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);

/// How long the answer may take before the link counts as dead.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Cuts a text for people to `max` bytes at a character boundary, and shows that it was cut.
pub fn truncate(text: &str, max: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::truncate;

    #[test]
    fn a_cut_text_fits_and_stays_valid() {
        assert_eq!(truncate("short", 10), "short");
        let cut = truncate(&"ä".repeat(100), 20);
        assert!(cut.len() <= 20 && cut.ends_with('…'), "{cut}");
    }
}
