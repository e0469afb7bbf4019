//! What every released format has on disk, in `tests/golden/state`: today's agent reads each. Its README says how to make a new one.

use super::*;

/// One file that was written once and is never changed.
struct Golden {
    name: &'static str,
    /// The name under which an agent stores it: it is sealed for that.
    place: Place,
    make: fn(&Fixture) -> Vec<u8>,
}

/// Written by the agent itself, as it was at that version, but for what a later version will do.
const GOLDEN: [Golden; 5] = [
    Golden { name: "v1-desired.bin", place: DESIRED, make: |_| bytes_of(GOLDEN_1) },
    Golden { name: "v2-desired.bin", place: DESIRED, make: |_| bytes_of(GOLDEN_2) },
    Golden {
        name: "v2-local.bin",
        place: LOCAL,
        make: |fixture| sealed_for(fixture, LOCAL, local().encode()),
    },
    Golden {
        name: "v3-for-readers-from-2-desired.bin",
        place: DESIRED,
        make: |fixture| {
            let content = with_unknown_fields(noted(7).encode());
            of_version(sealed_for(fixture, DESIRED, content), 3, 2)
        },
    },
    Golden {
        name: "v3-for-readers-from-3-desired.bin",
        place: DESIRED,
        make: |fixture| of_version(sealed_for(fixture, DESIRED, noted(7).encode()), 3, 3),
    },
];

fn sealed_for(fixture: &Fixture, place: Place, content: Vec<u8>) -> Vec<u8> {
    format::encode(content, place.file, &fixture.key()).expect("sealed")
}

/// A text, a number and a message that only a later agent knows, as protobuf has them.
fn with_unknown_fields(mut content: Vec<u8>) -> Vec<u8> {
    content.extend(b"\xfa\x07\x06future\xf8\x07\x63\xea\x07\x02\x08\x01");
    content
}

fn local() -> Local {
    Local {
        apps: held(1).set,
        files: [("a.yaml".to_owned(), held(2).set), ("b.yaml".to_owned(), PayloadSet::new())].into(),
        known: [key("plant-a/web"), key("plant-b/db"), key("a/gone")].into(),
    }
}

/// With the key of all golden files.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    fs::write(fixture.key_path(), [7; 32]).expect("written");
    fs::set_permissions(fixture.key_path(), fs::Permissions::from_mode(0o600)).expect("set");
    fixture
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/state")
}

#[test]
fn what_any_release_has_stored_is_read() {
    let make = std::env::var_os("SKERRY_MAKE_GOLDEN").is_some();
    let fixture = fixture();
    let mut read = Vec::new();
    for Golden { name, place, make: bytes } in GOLDEN {
        let path = folder().join(name);
        if make && !path.exists() {
            fs::write(&path, bytes(&fixture)).expect("written");
        }
        let stored = fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; see the README there", path.display()));
        fs::write(fixture.dir.path().join("state").join(place.file), stored).expect("written");
        read.push(match place.file {
            "local.bin" => fixture.store.load_local().map(|loaded| format!("{loaded:?}")),
            _ => fixture.store.load().map(|loaded| format!("{loaded:?}")),
        });
    }
    let desired = |stored: Stored| format!("{:?}", Loaded::Stored(stored));
    assert_eq!(read.len(), 5);
    assert_eq!(read[0].as_ref().expect("read"), &desired(stored(7)));
    assert_eq!(read[1].as_ref().expect("read"), &desired(noted(7)));
    assert_eq!(
        read[2].as_ref().expect("read"),
        &format!("{:?}", LocalLoaded { local: local(), lost: false })
    );
    assert_eq!(read[3].as_ref().expect("read"), &desired(noted(7)));
    assert!(matches!(read[4], Err(StoreError::Newer { found: 3, known: 2, .. })), "{:?}", read[4]);
}

/// Nothing lies there that no test reads.
#[test]
fn every_golden_file_is_one_of_the_tests() {
    let names =
        fs::read_dir(folder()).expect("there").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names.filter(|name| name != "README.md") {
        assert!(GOLDEN.iter().any(|golden| golden.name == name), "{name}");
    }
}

/// What this agent writes, one version back can follow: it says so in its header, or its version is that one's.
#[test]
fn what_is_written_today_says_who_may_read_it() {
    let fixture = fixture();
    let bytes = fixture.sealed(&noted(1));
    assert_eq!(
        bytes[8..12],
        [2, 0, 0, 0],
        "a new version needs golden files, and a header that lets the one before read it"
    );
    let later = of_version(bytes, 3, 2);
    fixture.put(&later);
    assert_eq!(fixture.store.load().expect("stepping back"), Loaded::Stored(noted(1)));
}
