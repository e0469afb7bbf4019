//! Whether what is stored can be read, without a lock and without changing anything: for an agent that is asked about it while another one
//! works on it.

use std::io;
use std::path::Path;

use skerry_terms::Chain;

use super::seal::Key;
use super::{FILE, KEY, Local, Stored, Unreadable, format, local, read, state};

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
    let key = key.map_or_else(|| folder.join(KEY), Path::to_owned);
    let content = |file: &str, max: usize| -> Result<Option<format::Opened>, Wrong> {
        let path = folder.join(file);
        let max = max + format::EXTRA;
        let wrong =
            |is_newer: bool, why: String| Wrong { is_newer, why: format!("{}: {why}", path.display()) };
        let bytes = match read(&path, max) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| wrong(false, error.to_string()))?,
        };
        let key = || Key::read(&key).map_err(|error| Chain(&error).to_string());
        format::decode(bytes, file, max, key).map(Some).map_err(|unreadable| match unreadable {
            Unreadable::Corrupt { why } => wrong(false, why),
            Unreadable::Newer { found } => {
                let known = format::VERSION;
                wrong(true, format!("a newer agent wrote it (format {found}, this one reads up to {known})"))
            }
        })
    };
    let decoded = |file: &str, opened: Result<Option<format::Opened>, Wrong>, is_local: bool| {
        let Some(format::Opened { content, plain }) = opened? else { return Ok(()) };
        let decoded = match is_local {
            true => Local::decode(&content).map(drop),
            false => Stored::decode(&content, plain).map(drop),
        };
        let wrong =
            |why: String| Wrong { is_newer: false, why: format!("{}: {why}", folder.join(file).display()) };
        decoded.map_err(wrong)
    };
    let desired = decoded(FILE, content(FILE, state::CONTENT_MAX), false);
    let local = decoded(local::FILE, content(local::FILE, local::CONTENT_MAX), true);
    [desired, local].into_iter().filter_map(Result::err).collect()
}
