//! Whether what is stored can be read by this agent: for one that is asked about it while another one works on it.

use std::path::Path;

use super::{DESIRED, LOCAL, Peek, Peeked, format, key_path, peek};

/// A file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// A newer agent wrote it.
    pub is_newer: bool,
    /// In words, with the name of the file.
    pub why: String,
}

/// What of a state folder cannot be read. Missing files and a missing folder are in order: nothing was ever stored.
pub fn inspect(folder: &Path, key: Option<&Path>) -> Vec<Wrong> {
    let key = key.map_or_else(|| key_path(folder), Path::to_owned);
    let Peek { desired, local, kept_aside: _ } = peek(folder, &key);
    let found = [(DESIRED.file, desired.map(drop)), (LOCAL.file, local.map(drop))];
    found.into_iter().filter_map(|(file, peeked)| wrong(&folder.join(file), peeked)).collect()
}

fn wrong(path: &Path, peeked: Peeked<()>) -> Option<Wrong> {
    let (is_newer, why) = match peeked {
        Peeked::Missing | Peeked::Loaded(()) => return None,
        Peeked::Corrupt { why } | Peeked::Unreadable { denied: _, why } => (false, why),
        Peeked::Newer { found } => {
            let known = format::VERSION;
            (true, format!("a newer agent wrote it (format {found}, this one reads up to {known})"))
        }
    };
    Some(Wrong { is_newer, why: format!("{}: {why}", path.display()) })
}
