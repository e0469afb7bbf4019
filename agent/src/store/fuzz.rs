//! What is on the disk, whoever wrote it there.

use skerry_agent_core::{Committed, FailedRevision, Held, ImageId, Notes};
use skerry_proto::caps;
use skerry_terms::{AppKey, Digest, Generation, Payload, PayloadSet};

use super::local::Local;
use super::seal::Key;
use super::state::Stored;
use super::{format, pulled};
use crate::fuzz::fuzz;

fn key(name: &str) -> AppKey {
    AppKey::new("a", name).expect("a key")
}

fn set() -> PayloadSet {
    [("web", b"one".as_slice()), ("db", b"two")].map(|(name, bytes)| (key(name), Payload::from(bytes))).into()
}

fn stored() -> Stored {
    let generation = Generation::new("e", [("edgeapps".to_owned(), 7)]).expect("a generation");
    let print = Digest::of(&set());
    let failed = FailedRevision { print, revision: "r".into(), reason: "R".into(), message: "m".into() };
    let payload = Payload::from(b"one".as_slice());
    let committed = Committed {
        print: crate::decode::print(&key("web"), &payload),
        payload,
        images: [("main".parse().expect("a name"), ImageId("sha256:1".into()))].into(),
        before: [ImageId("sha256:2".into())].into(),
    };
    let notes = Notes { committed: [(key("web"), committed)].into(), failed: [(key("db"), failed)].into() };
    Stored { held: Some(Held { generation, set: set() }), notes }
}

#[test]
fn no_content_of_a_state_file_hurts() {
    let empty = Stored::default().encode();
    fuzz("the state's content", &[stored().encode(), empty], |bytes| {
        let Ok(mut stored) = Stored::decode(bytes, false) else { return false };
        // What is written is cut; nobody reads what was never written.
        for failed in stored.notes.failed.values_mut() {
            failed.message = caps::truncate(&failed.message, caps::MESSAGE_MAX);
        }
        let again = Stored::decode(&stored.encode(), false).expect("what was encoded");
        assert_eq!(again, stored);
        true
    });
}

#[test]
fn no_content_of_a_file_of_local_apps_hurts() {
    let local = Local {
        apps: set(),
        files: [("web.yaml".to_owned(), set())].into(),
        known: [key("web"), key("old")].into(),
    };
    fuzz("the local apps' content", &[local.encode()], |bytes| {
        let Ok(local) = Local::decode(bytes) else { return false };
        assert_eq!(Local::decode(&local.encode()).expect("what was encoded"), local);
        true
    });
}

#[test]
fn no_content_of_a_file_of_images_hurts() {
    let images = [("sha256:1", "nginx:1"), ("sha256:2", "")];
    let images = images.map(|(id, name)| (ImageId(id.to_owned()), name.to_owned())).into();
    fuzz("the pulled images' content", &[pulled::encode(&images)], |bytes| {
        let Ok(images) = pulled::decode(bytes) else { return false };
        assert_eq!(pulled::decode(&pulled::encode(&images)).expect("what was encoded"), images);
        true
    });
}

#[test]
fn no_file_hurts_and_none_that_was_changed_is_believed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.key");
    let key = Key::make(&path).expect("a key");
    let content = [b"content".to_vec(), Vec::new()];
    let files = content.clone().map(|content| format::encode(content, "place", &key).expect("sealed"));
    fuzz("a sealed file", &files, |bytes| {
        match format::decode(bytes.to_vec(), "place", 1 << 20, || Key::read(&path)) {
            Ok(opened) => {
                assert!(content.contains(&opened.content), "a forgery: {opened:?}");
                true
            }
            Err(_) => false,
        }
    });
}
