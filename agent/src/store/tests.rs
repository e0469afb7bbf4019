use skerry_terms::{Generation, PayloadSet};

use super::*;

fn held(version: u64) -> Held {
    let generation = Generation::new("e-1", [("edgeapps".to_owned(), version)]).expect("a generation");
    let set = PayloadSet::from([
        ("plant-a/web".parse().expect("a key"), b"payload of web".as_slice().into()),
        ("plant-b/db".parse().expect("a key"), [0u8, 255, 7].as_slice().into()),
    ]);
    Held { generation, set }
}

struct Fixture {
    store: Store,
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        Self { store: Store::open(&dir.path().join("state")).expect("opened"), dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("state").join(FILE)
    }

    fn put(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).expect("written");
    }
}

#[test]
fn what_was_saved_is_loaded() {
    let fixture = Fixture::new();
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Missing);
    for version in [7, 8] {
        fixture.store.save(&held(version)).expect("saved");
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Held(held(version)));
    }
}

#[test]
fn the_empty_set_is_not_the_same_as_none() {
    let fixture = Fixture::new();
    let empty = Held { set: PayloadSet::new(), ..held(1) };
    fixture.store.save(&empty).expect("saved");
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Held(empty));
}

#[test]
fn nobody_else_may_read_what_is_stored() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    fixture.store.save(&held(1)).expect("saved");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.path()), 0o600);
    assert_eq!(mode(fixture.path().parent().expect("a folder")), 0o700);
}

#[test]
fn a_file_that_was_cut_anywhere_is_corrupt() {
    let bytes = format::encode(&held(1));
    for end in 0..bytes.len() {
        assert!(matches!(format::decode(&bytes[..end]), Err(Unreadable::Corrupt { .. })), "cut at {end}");
    }
}

#[test]
fn a_file_with_any_flipped_bit_is_corrupt() {
    let bytes = format::encode(&held(1));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            assert!(
                matches!(format::decode(&bytes), Err(Unreadable::Corrupt { .. })),
                "bit {bit} of byte {at}"
            );
        }
    }
}

#[test]
fn a_corrupt_file_is_kept_aside_and_not_taken_for_missing() {
    let fixture = Fixture::new();
    let mut kept = Vec::new();
    for content in [&b""[..], b"x", b"xx", b"xxx", b"xxxx"] {
        fixture.put(content);
        let Loaded::Corrupt { kept_at, why } = fixture.store.load().expect("loaded") else {
            panic!("not corrupt")
        };
        assert!(!why.is_empty());
        assert_eq!(fs::read(&kept_at).expect("kept"), content);
        kept.push(kept_at);
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Missing);
    }
    let left: Vec<bool> = kept.iter().map(|path| path.exists()).collect();
    assert_eq!(left, [false, false, true, true, true], "the newest {CORRUPT_KEPT} are kept");
}

#[test]
fn a_newer_agents_file_stays_where_it_is() {
    use sha2::{Digest as _, Sha256};
    let fixture = Fixture::new();
    let mut bytes = format::encode(&held(1));
    bytes[8..12].copy_from_slice(&2u32.to_le_bytes());
    let sum = Sha256::new().chain_update(&bytes[..20]).chain_update(&bytes[52..]).finalize();
    bytes[20..52].copy_from_slice(&sum);
    fixture.put(&bytes);
    let error = fixture.store.load().expect_err("refused");
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error}");
    assert_eq!(fs::read(fixture.path()).expect("there"), bytes);
}

#[test]
fn a_second_agent_is_refused_with_the_process_id_of_the_first() {
    let fixture = Fixture::new();
    let folder = fixture.dir.path().join("state");
    let error = Store::open(&folder).expect_err("refused").to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(fixture.store);
    Store::open(&folder).expect("free again");
}

/// What agents in the field have on their disks. A change that breaks this needs a new format version and a reader for this one.
#[test]
fn the_bytes_on_disk_never_change() {
    let hex: String = format::encode(&held(7)).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = concat!(
    "534b455252590d0a",                                                 // magic
    "01000000",                                                         // format version
    "4900000000000000",                                                 // length of the body
    "613b9a1cfb4870472c41d4296346b2de8ab04dd6dc5f997eeafc556e823bc910", // SHA-256
    "0a130a03652d31120c0a08656467656170707310",                         // generation
    "07121e0a07706c616e742d6112037765621a0e7061796c6f6164206f6620776562",
    "12120a07706c616e742d62120264621a0300ff07",
);
