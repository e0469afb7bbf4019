//! Tar archives, as every `tar` reads them: a few plain files, written from memory.

const BLOCK: usize = 512;
/// What a header has room for.
const NAME_MAX: usize = 100;

/// An archive that grows.
#[derive(Debug, Default)]
pub struct Archive(Vec<u8>);

/// A file in it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    pub name: &'a str,
    pub mode: u32,
    /// Seconds of Unix time.
    pub modified: u64,
    pub content: &'a [u8],
}

impl Archive {
    pub fn add(&mut self, entry: Entry<'_>) {
        let Entry { name, mode, modified, content } = entry;
        if name.len() > NAME_MAX {
            // As GNU tar does it, and every other reads it: the name is the content of an entry before.
            let long = [name.as_bytes(), b"\0"].concat();
            self.put(b"././@LongLink", b'L', 0, 0, &long);
        }
        self.put(name.as_bytes(), b'0', mode, modified, content);
    }

    fn put(&mut self, name: &[u8], kind: u8, mode: u32, modified: u64, content: &[u8]) {
        let mut header = [0u8; BLOCK];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, &name[..name.len().min(NAME_MAX)]);
        put(100, format!("{:07o}\0", mode & 0o7777).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", content.len()).as_bytes());
        // Eleven digits last until the year 2242.
        put(136, format!("{:011o}\0", modified.min(0o77_777_777_777)).as_bytes());
        put(148, b"        ");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
    }

    /// The bytes of the whole.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_tar_reads() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut archive = Archive::default();
        let long = "n".repeat(120);
        archive.add(Entry { name: "a/one.txt", mode: 0o600, modified: 1_780_272_000, content: b"1" });
        archive.add(Entry { name: &long, mode: 0o600, modified: u64::MAX, content: &[b'x'; 1024] });
        let file = dir.path().join("a.tar");
        std::fs::write(&file, archive.finish()).expect("written");
        let run = |args: &[&str]| {
            let output =
                std::process::Command::new("tar").args(args).arg("-f").arg(&file).output().expect("tar runs");
            assert!(output.status.success(), "{output:?}");
            output.stdout
        };
        assert_eq!(run(&["-xO", "a/one.txt"]), b"1");
        assert_eq!(run(&["-xO", &long]), [b'x'; 1024]);
        let listing = String::from_utf8(run(&["-tv", "--utc"])).expect("text");
        assert!(
            listing.starts_with("-rw------- 0/0") && listing.contains("2026-06-01 00:00 a/one.txt"),
            "{listing}"
        );
    }
}
