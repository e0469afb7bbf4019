//! The names of other apps in a container's /etc/hosts, changed while it runs. The file is Docker's, and mounted into the container: it keeps its
//! inode, and what is not ours in it stays.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, open};

const BEGIN: &str = "# skerry: names of other apps\n";
const END: &str = "# skerry: end\n";
/// A container may write to its file. Nobody's is larger by intent.
const FILE_MAX: u64 = 1 << 20;

/// Makes exactly these names of ours resolve. `created_with` are those that Docker wrote for us when the container was created.
pub(super) fn patch(
    path: &Path,
    created_with: &BTreeMap<String, IpAddr>,
    names: &BTreeMap<String, IpAddr>,
) -> io::Result<()> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(open(path, flags, Mode::empty())?);
    let mut before = String::new();
    let found = file.metadata()?;
    if !found.is_file() || found.len() > FILE_MAX {
        return Err(io::Error::other("it is no file of at most 1 MiB"));
    }
    (&mut file).take(FILE_MAX).read_to_string(&mut before)?;
    let after = patched(&before, created_with, names);
    if after == before {
        return Ok(());
    }
    // One write, padded to the old length: a reader in between sees no end of an old line.
    let padding = "\n".repeat(before.len().saturating_sub(after.len()));
    file.write_all_at(format!("{after}{padding}").as_bytes(), 0)?;
    file.set_len(after.len() as u64)
}

fn patched(
    before: &str,
    created_with: &BTreeMap<String, IpAddr>,
    names: &BTreeMap<String, IpAddr>,
) -> String {
    let mut after = String::with_capacity(before.len());
    let mut ours = false;
    for line in before.split_inclusive('\n') {
        match line {
            BEGIN => ours = true,
            END => ours = false,
            _ if ours || is_ours(line, created_with) => {}
            _ => after += line,
        }
    }
    if !names.is_empty() {
        if !after.is_empty() && !after.ends_with('\n') {
            after.push('\n');
        }
        after += BEGIN;
        for (name, ip) in names {
            after += &format!("{ip}\t{name}\n");
        }
        after += END;
    }
    after
}

/// A line as Docker writes it for one name.
fn is_ours(line: &str, created_with: &BTreeMap<String, IpAddr>) -> bool {
    let mut words = line.split_whitespace();
    let (Some(ip), Some(name), None) = (words.next(), words.next(), words.next()) else { return false };
    created_with.get(name).is_some_and(|created| ip.parse() == Ok(*created))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, IpAddr> {
        pairs.iter().map(|(name, ip)| ((*name).to_owned(), ip.parse().expect("an address"))).collect()
    }

    #[test]
    fn our_names_change_and_everything_else_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        let docker = "127.0.0.1\tlocalhost\n172.17.0.9\tweb.a\n10.0.0.1\talias\n172.17.0.2\tself\n";
        std::fs::write(&path, docker).expect("written");
        let inode = std::fs::metadata(&path).expect("there").ino();
        let created_with = names(&[("web.a", "172.17.0.9")]);
        let rest = "127.0.0.1\tlocalhost\n10.0.0.1\talias\n172.17.0.2\tself\n";

        patch(&path, &created_with, &names(&[("db.a", "fd00::2"), ("web.a", "172.17.0.5")]))
            .expect("patched");
        let text = || std::fs::read_to_string(&path).expect("read");
        assert_eq!(text(), format!("{rest}{BEGIN}fd00::2\tdb.a\n172.17.0.5\tweb.a\n{END}"));
        patch(&path, &created_with, &names(&[("db.a", "172.17.0.6")])).expect("patched");
        assert_eq!(text(), format!("{rest}{BEGIN}172.17.0.6\tdb.a\n{END}"));
        patch(&path, &created_with, &BTreeMap::new()).expect("patched");
        assert_eq!(text(), rest);
        assert_eq!(std::fs::metadata(&path).expect("there").ino(), inode, "the container has it mounted");
    }

    #[test]
    fn an_odd_file_is_mended() {
        let one = names(&[("a", "10.0.0.1")]);
        let block = format!("{BEGIN}10.0.0.1\ta\n{END}");
        assert_eq!(patched("10.0.0.2 x", &BTreeMap::new(), &one), format!("10.0.0.2 x\n{block}"));
        assert_eq!(patched(&format!("{BEGIN}10.0.0.9\tb\n"), &BTreeMap::new(), &one), block, "cut short");
        assert_eq!(patched(&block, &BTreeMap::new(), &one), block);
    }

    #[test]
    fn what_is_no_file_is_not_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("target");
        std::fs::write(&target, "precious").expect("written");
        let link = folder.path().join("link");
        symlink(&target, &link).expect("linked");
        let one = names(&[("a", "10.0.0.1")]);
        patch(&link, &BTreeMap::new(), &one).expect_err("a link");
        patch(folder.path(), &BTreeMap::new(), &one).expect_err("a folder");
        let missing = patch(&folder.path().join("missing"), &BTreeMap::new(), &one).expect_err("missing");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_to_string(&target).expect("read"), "precious");
    }
}
