//! `skerry-agent bundle`: what somebody needs who is to say why a box does what it does, in one file, and nothing that must not leave the box.
//! It works while the agent or Docker is down, and says inside what is missing and why.
//!
//! A piece is gathered, its secrets are taken out (`redact`, `hide`), and it is cut to a size; only then does it come near the archive.

mod gather;
mod hide;
mod redact;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::archive::{Archive, Entry};

pub use gather::gather;

/// The largest piece: days of an agent's log. Of logs the end is kept, of the rest the beginning.
const PIECE_MAX: usize = 1 << 20;
/// The largest archive, so that it can be sent over a thin link. What comes last is left out.
const TOTAL_MAX: usize = 16 << 20;
/// Only its owner reads it: names of apps and images are in it.
const MODE: u32 = 0o600;

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub name: String,
    /// Or in words why it is not there.
    pub content: Result<String, String>,
}

impl Piece {
    fn new(name: impl Into<String>, content: String) -> Self {
        Self { name: name.into(), content: Ok(cut(content)) }
    }

    /// Of a text whose end matters most.
    fn log(name: impl Into<String>, content: &str) -> Self {
        Self { name: name.into(), content: Ok(tail(content, PIECE_MAX).to_owned()) }
    }

    fn missing(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), content: Err(why.into()) }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > PIECE_MAX {
        text.truncate(text.floor_char_boundary(PIECE_MAX));
        text += "\n(cut off here)\n";
    }
    text
}

fn tail(text: &str, max: usize) -> &str {
    let from = text.ceil_char_boundary(text.len().saturating_sub(max));
    match (from, text[from..].find('\n')) {
        (0, _) | (_, None) => &text[from..],
        (_, Some(line)) => &text[from + line + 1..],
    }
}

/// What the archive will hold, and the bytes of it. `folder`: the name that everything in it begins with.
pub fn pack(folder: &str, pieces: &mut [Piece], modified: u64) -> Vec<u8> {
    let mut total = 0;
    for piece in pieces.iter_mut() {
        let size = piece.content.as_ref().map_or(0, String::len);
        match total + size <= TOTAL_MAX {
            true => total += size,
            false => piece.content = Err(format!("the archive has {TOTAL_MAX} bytes without it")),
        }
    }
    let mut archive = Archive::default();
    let about = about(pieces);
    let about = ("about.txt", about.as_str());
    let present =
        pieces.iter().filter_map(|piece| Some((piece.name.as_str(), piece.content.as_deref().ok()?)));
    for (name, content) in std::iter::once(about).chain(present) {
        let name = format!("{folder}/{name}");
        archive.add(Entry { name: &name, mode: MODE, modified, content: content.as_bytes() });
    }
    archive.finish()
}

/// The first thing that its reader sees.
fn about(pieces: &[Piece]) -> String {
    let mut text = format!(
        "A support archive of skerry-agent {}.\n\n\
         Not in it: values of Secrets and ConfigMaps, values of environment variables, commands of containers, credentials of\n\
         registries, keys. Values of Secrets that the box has now are cut out of all texts (***).\n\nIn it:\n",
        env!("CARGO_PKG_VERSION")
    );
    for piece in pieces.iter().filter(|piece| piece.content.is_ok()) {
        text += &format!("  {}\n", piece.name);
    }
    text += "\nMissing:\n";
    for Piece { name, content } in pieces {
        if let Err(why) = content {
            text += &format!("  {name}: {why}\n");
        }
    }
    text
}

/// Writes the archive, whole or not at all. One that is there is replaced only with `force`.
pub fn write(path: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".unfinished");
    let unfinished: PathBuf = path.with_file_name(name);
    let written = fill(&unfinished, bytes).and_then(|()| {
        let flags = if force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        Ok(renameat_with(CWD, &unfinished, CWD, path, flags)?)
    });
    if written.is_err() {
        // What is left of it is of no use; that it cannot be removed is the lesser trouble.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One that is left of an earlier attempt may have another mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_archive_is_private_and_replaces_nothing_unasked() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("bundle.tar");
        write(&path, b"one", false).expect("written");
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        let error = write(&path, b"two", false).expect_err("it is there");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("read"), b"one");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        write(&path, b"two", true).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1, "nothing is left behind");
    }

    #[test]
    fn pieces_and_the_whole_are_bounded() {
        let log = "0123456789\n".repeat(200_000);
        let Ok(kept) = Piece::log("a.log", &log).content else { panic!("it is there") };
        assert!(kept.len() <= PIECE_MAX && kept.starts_with("0123") && kept.ends_with("789\n"));
        let Ok(kept) = Piece::new("a", "ü".repeat(PIECE_MAX)).content else { panic!("it is there") };
        assert!(kept.len() < PIECE_MAX + 100 && kept.ends_with("(cut off here)\n"));
        let mut pieces: Vec<Piece> =
            (0..40).map(|i| Piece::new(format!("{i}"), "x".repeat(PIECE_MAX))).collect();
        pieces.push(Piece::missing("docker.json", "docker does not answer"));
        let bytes = pack("b", &mut pieces, 0);
        assert!(bytes.len() < TOTAL_MAX + (1 << 20), "{}", bytes.len());
        let about = String::from_utf8_lossy(&bytes[512..8192]).into_owned();
        assert!(about.contains("  0\n") && about.contains("  39: the archive has"), "{about}");
        assert!(about.contains("  docker.json: docker does not answer"), "{about}");
    }
}
