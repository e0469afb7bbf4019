mod golden;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use prost::Message as _;
use skerry_agent_core::{Committed, FailedRevision, Held, ImageId, Images, Notes};
use skerry_proto::wire;
use skerry_terms::{AppKey, Digest, Generation, Payload, PayloadSet};

use super::file::CORRUPT_KEPT;
use super::seal::Key;
use super::*;
use crate::decode::print;

fn stored(version: u64) -> Stored {
    Stored::from(held(version))
}

fn key(text: &str) -> AppKey {
    text.parse().expect("a key")
}

/// A set, a committed revision that is in it, one that is not, one of a local app, and one that failed.
fn noted(version: u64) -> Stored {
    let held = held(version);
    let committed = [
        (key("plant-a/web"), held.set[&key("plant-a/web")].clone()),
        (key("plant-b/db"), Payload::from(&b"the one before"[..])),
        (key("box/own"), Payload::from(&b"local"[..])),
    ];
    let failed = FailedRevision {
        print: Digest::of(&held.set),
        revision: "db-2".to_owned(),
        reason: "ProgressDeadlineExceeded".to_owned(),
        message: "was not ready".to_owned(),
    };
    let committed = committed.map(|(key, payload)| {
        let committed = committed_as(&key, payload);
        (key, committed)
    });
    let committed = committed.into();
    let failed = [(key("plant-b/db"), failed)].into();
    Stored { held: Some(held), notes: Notes { committed, failed } }
}

fn committed_as(key: &AppKey, payload: Payload) -> Committed {
    let print = print(key, &payload);
    Committed { payload, print, images: Images::new(), before: BTreeSet::new() }
}

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
        self.dir.path().join("state").join(DESIRED.file)
    }

    fn key_path(&self) -> PathBuf {
        self.dir.path().join("state").join(KEY)
    }

    fn key(&self) -> Key {
        let path = self.key_path();
        Key::read(&path).or_else(|_| Key::make(&path)).expect("a key")
    }

    /// A sealed file, and what reads it.
    fn sealed(&self, stored: &Stored) -> Vec<u8> {
        format::encode(stored.encode(), DESIRED.file, &self.key()).expect("sealed")
    }

    fn decode(&self, bytes: Vec<u8>) -> Result<format::Opened, Unreadable> {
        format::decode(bytes, DESIRED.file, DESIRED.max + format::EXTRA, || Key::read(&self.key_path()))
    }

    fn corrupt(&self) -> (PathBuf, String) {
        match self.store.load().expect("loaded") {
            Loaded::Corrupt { kept_at, why } => (kept_at, why),
            loaded @ (Loaded::Missing | Loaded::Stored(_)) => panic!("{loaded:?}"),
        }
    }

    fn put(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).expect("written");
    }
}

#[test]
fn what_was_saved_is_loaded() {
    let fixture = Fixture::new();
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Missing);
    for stored in [stored(7), noted(8), stored(9)] {
        fixture.store.save(&stored).expect("saved");
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored));
    }
}

#[test]
fn the_empty_set_is_not_the_same_as_none() {
    let fixture = Fixture::new();
    let empty = Stored::from(Held { set: PayloadSet::new(), ..held(1) });
    let none = Stored::default();
    for stored in [empty, none] {
        fixture.store.save(&stored).expect("saved");
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored));
    }
}

#[test]
fn notes_are_kept_where_no_set_was_ever_received() {
    let fixture = Fixture::new();
    let payload = Payload::from(&b"local"[..]);
    let committed = [(key("box/own"), committed_as(&key("box/own"), payload))].into();
    let stored = Stored { held: None, notes: Notes { committed, ..Notes::default() } };
    fixture.store.save(&stored).expect("saved");
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored));
}

#[test]
fn what_is_committed_is_stored_with_its_images_and_those_before() {
    let mut stored = noted(1);
    for committed in stored.notes.committed.values_mut() {
        committed.images = [("main".parse().expect("a name"), ImageId("sha256:1".to_owned()))].into();
        committed.before = [ImageId("sha256:0".to_owned())].into();
    }
    assert_eq!(Stored::decode(&stored.encode(), false), Ok(stored));
}

#[test]
fn a_payload_that_is_committed_and_wanted_is_stored_once() {
    let mut stored = stored(1);
    let payload = Payload::from(vec![7; 100_000]);
    stored.held.as_mut().expect("held").set.insert(key("a/large"), payload.clone());
    let bare = stored.encode().len();
    stored.notes.committed.insert(key("a/large"), committed_as(&key("a/large"), payload));
    assert!(stored.encode().len() < bare + 100);
    assert_eq!(Stored::decode(&stored.encode(), false), Ok(stored));
}

#[test]
fn nobody_else_may_read_what_is_stored() {
    let fixture = Fixture::new();
    fixture.store.save(&stored(1)).expect("saved");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.path()), 0o600);
    assert_eq!(mode(&fixture.key_path()), 0o600);
    assert_eq!(mode(fixture.path().parent().expect("a folder")), 0o700);
}

#[test]
fn what_is_stored_cannot_be_read_without_the_key() {
    let fixture = Fixture::new();
    fixture.store.save(&noted(1)).expect("saved");
    let bytes = fs::read(fixture.path()).expect("read");
    for word in ["payload of web", "plant-a", "the one before", "was not ready"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    fixture.store.save(&noted(1)).expect("saved");
    let again = fs::read(fixture.path()).expect("read");
    // Salt and nonce.
    assert_ne!(bytes[52..80], again[52..80], "no two writes are sealed alike");
}

/// What stands in the way of reading, and of writing.
fn wrong_keys() -> [(Option<Vec<u8>>, &'static str); 3] {
    [
        (None, "store.key is missing"),
        (Some(vec![9; 32]), "is another one than what is stored was sealed with"),
        (Some(vec![9; 31]), "is not a file of 32 bytes"),
    ]
}

fn put_key(path: &Path, key: Option<Vec<u8>>) {
    match key {
        Some(key) => fs::write(path, key).expect("written"),
        None => fs::remove_file(path).expect("removed"),
    }
}

#[test]
fn a_key_that_is_put_back_heals_everything() {
    let fixture = Fixture::new();
    fixture.store.save(&stored(1)).expect("saved");
    let local = Local { known: [key("a/own")].into(), ..Local::default() };
    fixture.store.save_local(&local).expect("saved");
    let bytes = fs::read(fixture.path()).expect("read");
    let own = fs::read(fixture.key_path()).expect("read");
    for (wrong, words) in wrong_keys() {
        let made = wrong.clone();
        put_key(&fixture.key_path(), wrong);
        let error = fixture.store.load().expect_err("not readable");
        assert!(Chain(&error).to_string().contains(words), "{}", Chain(&error));
        assert_eq!(error.when_reading().reason, "StateKeyUnusable");
        assert!(fixture.store.load_local().is_err());
        // Nothing of the agent's own takes its place, and no key is made that would make it look as if all were well.
        assert!(matches!(fixture.store.save(&stored(2)), Err(StoreError::Key { .. })));
        assert!(fixture.store.save_local(&Local::default()).is_err());
        assert_eq!(fs::read(fixture.path()).expect("there"), bytes);
        assert_eq!(fs::read(fixture.key_path()).ok(), made);
        assert!(fixture.store.is_guarding() && !fixture.store.is_readable_again());
        fs::write(fixture.key_path(), &own).expect("written");
        assert!(fixture.store.is_readable_again());
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored(1)));
        assert_eq!(
            fixture.store.load_local().expect("loaded"),
            LocalLoaded { local: local.clone(), lost: false }
        );
        assert!(!fixture.store.is_guarding());
    }
}

#[test]
fn where_the_key_is_lost_a_fresh_set_begins_anew_and_what_was_is_kept() {
    for (wrong, _) in wrong_keys() {
        let fixture = Fixture::new();
        fixture.store.save(&stored(1)).expect("saved");
        fixture.store.save_local(&Local { known: [key("a/own")].into(), ..Local::default() }).expect("saved");
        let bytes = fs::read(fixture.path()).expect("read");
        let is_damaged = wrong.as_ref().is_some_and(|key| key.len() != 32);
        put_key(&fixture.key_path(), wrong);
        assert!(fixture.store.load().is_err() && fixture.store.load_local().is_err());
        fixture.store.save_received(&stored(2)).expect("saved");
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored(2)));
        let folder = fixture.dir.path().join("state");
        assert_eq!(fs::read(folder.join("desired.corrupt-1")).expect("kept"), bytes);
        assert_eq!(folder.join("store.key.corrupt-1").exists(), is_damaged);
        // What local apps there were is not known from now on, until somebody says that it does not matter.
        assert_eq!(
            fixture.store.load_local().expect("loaded"),
            LocalLoaded { lost: true, ..Default::default() }
        );
        fixture.store.save_local(&Local::default()).expect("writable again");
        fs::remove_file(folder.join("local.corrupt-1")).expect("removed");
        assert!(!fixture.store.load_local().expect("loaded").lost);
    }
}

#[test]
fn a_key_on_another_medium_is_waited_for_whatever_comes() {
    let Fixture { store, dir } = Fixture::new();
    let medium = dir.path().join("medium.key");
    let store = store.with_key(medium.clone());
    store.save(&stored(1)).expect("saved");
    let own = fs::read(&medium).expect("there");
    for (wrong, _) in wrong_keys() {
        put_key(&medium, wrong);
        assert!(store.load().is_err());
        assert!(matches!(store.save_received(&stored(2)), Err(StoreError::Key { .. })));
        fs::write(&medium, &own).expect("written");
        assert_eq!(store.load().expect("loaded"), Loaded::Stored(stored(1)));
    }
}

#[test]
fn the_key_may_be_on_another_medium() {
    let Fixture { store, dir } = Fixture::new();
    let medium = dir.path().join("medium.key");
    let store = store.with_key(medium.clone());
    store.save(&stored(1)).expect("saved");
    assert_eq!(fs::read(&medium).expect("there").len(), 32);
    assert!(!dir.path().join("state").join(KEY).exists());
    let absent = Store::open(&dir.path().join("other")).expect("opened");
    let absent = absent.with_key(dir.path().join("absent").join("store.key"));
    let error = absent.save(&stored(2)).expect_err("refused");
    assert!(matches!(error, StoreError::Key { source: KeyError::Io { .. }, .. }), "{error:?}");
}

#[test]
fn a_file_that_was_cut_anywhere_is_corrupt() {
    let fixture = Fixture::new();
    let bytes = fixture.sealed(&noted(1));
    for end in 0..bytes.len() {
        let cut = fixture.decode(bytes[..end].to_vec());
        assert!(matches!(cut, Err(Unreadable::Corrupt { .. })), "cut at {end}");
    }
}

#[test]
fn a_file_with_any_flipped_bit_is_corrupt() {
    let fixture = Fixture::new();
    let bytes = fixture.sealed(&stored(1));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << bit;
            let flipped = fixture.decode(bytes);
            assert!(matches!(flipped, Err(Unreadable::Corrupt { .. })), "bit {bit} of byte {at}");
        }
    }
}

/// The checksum is no secret: whoever changes a file can mend it. The seal holds all the same.
#[test]
fn a_change_with_a_mended_checksum_does_not_open() {
    let fixture = Fixture::new();
    let bytes = fixture.sealed(&stored(1));
    for at in 52..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        mend(&mut bytes);
        let changed = fixture.decode(bytes);
        assert!(matches!(changed, Err(Unreadable::Locked(KeyError::Foreign { .. }))), "byte {at}");
    }
    let moved = format::encode(stored(1).encode(), "local.bin", &fixture.key()).expect("sealed");
    assert!(matches!(fixture.decode(moved), Err(Unreadable::Locked(_))), "a file of another name");
}

fn mend(bytes: &mut [u8]) {
    use sha2::{Digest as _, Sha256};
    let sum = Sha256::new().chain_update(&bytes[..20]).chain_update(&bytes[52..]).finalize();
    bytes[20..52].copy_from_slice(&sum);
}

#[test]
fn a_corrupt_file_is_kept_aside_and_not_taken_for_missing() {
    let fixture = Fixture::new();
    let mut kept = Vec::new();
    for content in [&b""[..], b"x", b"xx", b"xxx", b"xxxx"] {
        fixture.put(content);
        let (kept_at, why) = fixture.corrupt();
        assert!(!why.is_empty());
        assert_eq!(fs::read(&kept_at).expect("kept"), content);
        kept.push(kept_at);
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Missing);
    }
    let left: Vec<bool> = kept.iter().map(|path| path.exists()).collect();
    assert_eq!(left, [false, false, true, true, true], "the newest {CORRUPT_KEPT} are kept");
}

/// The same file, as an agent of another version writes it.
fn of_version(mut bytes: Vec<u8>, version: u16, oldest: u16) -> Vec<u8> {
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    bytes[10..12].copy_from_slice(&oldest.to_le_bytes());
    mend(&mut bytes);
    bytes
}

#[test]
fn a_newer_agents_file_stays_where_it_is_whatever_comes() {
    let fixture = Fixture::new();
    for (version, oldest) in [(3, 0), (3, 3), (u16::MAX, 3)] {
        let bytes = of_version(fixture.sealed(&stored(1)), version, oldest);
        fixture.put(&bytes);
        let error = fixture.store.load().expect_err("refused");
        assert!(matches!(error, StoreError::Newer { found, known: 2, .. } if found == version), "{error}");
        assert_eq!(error.when_reading().reason, "StateFromNewerAgent");
        for refused in [fixture.store.save(&stored(2)), fixture.store.save_received(&stored(2))] {
            assert!(matches!(refused, Err(StoreError::Newer { .. })), "{refused:?}");
        }
        assert_eq!(fs::read(fixture.path()).expect("there"), bytes);
        assert!(!fixture.store.is_readable_again());
        // A fitting state appears.
        fixture.put(&fixture.sealed(&stored(3)));
        assert!(fixture.store.is_readable_again());
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored(3)));
    }
}

#[test]
fn a_newer_agents_file_that_says_so_is_read() {
    let fixture = Fixture::new();
    for oldest in [1, 2] {
        fixture.put(&of_version(fixture.sealed(&stored(1)), 3, oldest));
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored(1)));
        fixture.store.save(&stored(2)).expect("it is this agent's now");
    }
    for (version, oldest) in [(0, 0), (2, 3), (0, 1)] {
        let read = fixture.decode(of_version(fixture.sealed(&stored(1)), version, oldest));
        assert!(matches!(read, Err(Unreadable::Corrupt { .. })), "{version} {oldest}: {read:?}");
    }
}

/// Whatever lies in its place is no set, empty or not.
#[test]
fn no_thing_in_its_place_is_taken_for_a_set() {
    let fixture = Fixture::new();
    let path = fixture.path();
    for content in [Vec::new(), vec![0; 4096], b"SKERRY\r\n".to_vec(), vec![b'x'; 100]] {
        fixture.put(&content);
        fixture.corrupt();
        assert_eq!(fixture.store.load().expect("loaded"), Loaded::Missing);
    }
    let large = fs::File::create(&path).expect("created");
    large.set_len((DESIRED.max + format::EXTRA + 1) as u64).expect("sparse");
    let (_, why) = fixture.corrupt();
    assert!(why.contains("more than"), "{why}");
    fs::create_dir(&path).expect("created");
    let error = fixture.store.load().expect_err("a folder");
    assert_eq!(error.when_reading().reason, "StateUnreadable");
    assert!(fixture.store.save(&stored(1)).is_err() && path.is_dir(), "not written over");
    fixture.store.save_received(&stored(1)).expect("a fresh copy takes its place");
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored(1)));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.dir.path().join("state/local.bin"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .expect("a pipe");
    assert!(fixture.store.load_local().expect("nobody waits at a pipe").lost);
}

/// A disk that takes nothing, as one that is full: the temporary file cannot be made.
#[test]
fn a_write_that_fails_leaves_everything_as_it_was() {
    let fixture = Fixture::new();
    fixture.store.save(&stored(1)).expect("saved");
    let temporary = fixture.path().with_file_name(DESIRED.temporary);
    fs::create_dir(&temporary).expect("in the way");
    let error = fixture.store.save(&stored(2)).expect_err("refused");
    assert_eq!(error.when_writing().reason, "StateNotDurable");
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored(1)));
    fs::remove_dir(&temporary).expect("out of the way");
    fixture.store.save(&stored(2)).expect("saved");
    let names = || fs::read_dir(fixture.dir.path().join("state")).expect("listed").count();
    assert_eq!(names(), 3, "lock, key and state");
    fs::write(&temporary, b"half").expect("as a power cut leaves it");
    let folder = fixture.dir.path().join("state");
    drop(fixture.store);
    let store = Store::open(&folder).expect("opened");
    assert!(!temporary.exists() && store.unwritable().is_none());
}

proptest::proptest! {
    /// However a file is damaged, what comes of it is an answer, and never another set than the one that was stored.
    #[test]
    fn damage_of_any_kind_is_seen(
        cuts in proptest::collection::vec((0usize..600, 0usize..64), 0..3),
        bytes in proptest::collection::vec((0usize..600, proptest::prelude::any::<u8>()), 0..6),
        mended: bool,
    ) {
        let fixture = Fixture::new();
        let good = fixture.sealed(&noted(1));
        let mut bad = good.clone();
        for (at, byte) in bytes {
            let at = at % bad.len();
            bad[at] = byte;
        }
        for (at, length) in cuts {
            let at = at % (bad.len() + 1);
            let end = (at + length).min(bad.len());
            bad.drain(at..end);
        }
        if mended && bad.len() >= 52 {
            mend(&mut bad);
        }
        let same = bad == good;
        match fixture.decode(bad).map(|opened| Stored::decode(&opened.content, opened.version == format::PLAIN)) {
            Ok(Ok(stored)) => proptest::prop_assert!(same || stored == noted(1)),
            Ok(Err(_)) | Err(_) => proptest::prop_assert!(!same),
        }
    }
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

#[test]
fn local_apps_are_loaded_as_they_were_saved() {
    let fixture = Fixture::new();
    assert_eq!(fixture.store.load_local().expect("loaded"), LocalLoaded::default());
    let local = Local {
        apps: held(1).set,
        files: [("a.yaml".to_owned(), held(2).set), ("b.yaml".to_owned(), PayloadSet::new())].into(),
        known: [key("plant-a/web"), key("plant-b/db"), key("a/gone")].into(),
    };
    fixture.store.save_local(&local).expect("saved");
    assert_eq!(fixture.store.load_local().expect("loaded"), LocalLoaded { local, lost: false });
    let path = fixture.dir.path().join("state/local.bin");
    assert!(!fs::read(&path).expect("read").windows(14).any(|window| window == b"payload of web"));
    fs::write(&path, "x").expect("written");
    for _ in 0..2 {
        let loaded = fixture.store.load_local().expect("loaded");
        assert_eq!(loaded, LocalLoaded { lost: true, ..Default::default() }, "also after a restart");
    }
    assert_eq!(fs::read(fixture.dir.path().join("state/local.corrupt-1")).expect("kept"), b"x");
}

#[test]
fn what_the_version_before_left_unsealed_is_read_and_sealed() {
    let fixture = Fixture::new();
    fixture.put(&bytes_of(GOLDEN_1));
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored(7)));
    let bytes = fs::read(fixture.path()).expect("read");
    assert!(!bytes.windows(14).any(|window| window == b"payload of web"));
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(stored(7)));
}

/// What agents in the field have on their disks. A change that breaks this needs a new format version and a reader for this one.
#[test]
fn the_bytes_on_disk_never_change() {
    let fixture = Fixture::new();
    fs::write(fixture.key_path(), [7; 32]).expect("written");
    fixture.put(&bytes_of(GOLDEN_2));
    assert_eq!(fixture.store.load().expect("loaded"), Loaded::Stored(noted(7)));
    let hex: String = noted(7).encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_CONTENT);
    // A reader of the first format knows the same fields.
    let state = wire::StoredState::decode(&stored(7).encode()[..]).expect("decoded");
    assert_eq!(state.encode_to_vec(), bytes_of(GOLDEN_1)[52..]);
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

const GOLDEN_1: &str = concat!(
    "534b455252590d0a",                                                 // magic
    "01000000",                                                         // format version
    "4900000000000000",                                                 // length of the body
    "613b9a1cfb4870472c41d4296346b2de8ab04dd6dc5f997eeafc556e823bc910", // SHA-256
    "0a130a03652d31120c0a08656467656170707310",                         // generation
    "07121e0a07706c616e742d6112037765621a0e7061796c6f6164206f6620776562",
    "12120a07706c616e742d62120264621a0300ff07",
);

const GOLDEN_2: &str = concat!(
    "534b455252590d0a020000001d01000000000000f04cbd4bb6655674c1987fe2378770411c198926efcdbbc2a90d7fbd",
    "bfa5fdfa8a334de96e8b0b05c445a14e632bc4caeec12d25340b92ccd38f4fe51952ee71dd1c5b8e8fb8d74726a3a786",
    "b76fe99832e6b6c96b6887fe034897cf11da149918a3acf22e220eb202244e6e2331adb3f77c6cf9209bb5ac083740ca",
    "bf9a9dfa0531e287a79e53938d138b32ba9b69294fd9105dd701f9cd370f9ce32a9490ef58fbe7ea6f90705fcd5afe5d",
    "372f7538c0a474b7933fc1c9c8593f8688c5a07779f84c3ce35ce87cad55eedca305d1e3716a45932d4b33ed4b1e3ff3",
    "6708af1d9f2a1043c60c799b216d40d13f63437bdb0a26c33d9fbadd397895de9bf77821ee8444cbec7c18fd37c2ea75",
    "4d2815883d4a0af3de491d17d88482a0e939839cd708efbf7e16b59cfb74b450c8d22d8e9fa16aec9b9e306c13da845d",
    "f4",
);

const GOLDEN_CONTENT: &str = concat!(
    "0a130a03652d31120c0a0865646765617070731007121e0a07706c616e742d6112037765621a0e7061796c6f6164206f",
    "662077656212120a07706c616e742d62120264621a0300ff071a130a110a03626f7812036f776e1a056c6f63616c1a10",
    "0a0e0a07706c616e742d6112037765621a1f0a1d0a07706c616e742d62120264621a0e746865206f6e65206265666f72",
    "65225e0a07706c616e742d62120264621a201d9ccada55730c76c27d10f64b7abb287a11bd036e535dfb4a6d22fa4d6c",
    "dea0220464622d322a1850726f6772657373446561646c696e654578636565646564320d776173206e6f742072656164",
    "79",
);

#[test]
fn first_writes_at_the_same_time_are_sealed_with_one_key() {
    for _ in 0..50 {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("opened");
        let (stored, local, pulled) = (stored(1), Local::default(), crate::store::Pulled::new());
        let all_there = std::sync::Barrier::new(3);
        let begin = || all_there.wait();
        std::thread::scope(|threads| {
            threads.spawn(|| (begin(), store.save(&stored).expect("saved")));
            threads.spawn(|| (begin(), store.save_local(&local).expect("saved")));
            threads.spawn(|| (begin(), store.save_pulled(&pulled).expect("saved")));
        });
        assert_eq!(store.load().expect("loaded"), Loaded::Stored(stored));
        assert_eq!(store.load_local().expect("loaded"), LocalLoaded::default());
        assert!(store.open_file(IMAGES).expect("its key is there").is_some_and(|opened| opened.is_ok()));
    }
}
