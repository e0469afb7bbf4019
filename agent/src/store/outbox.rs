//! What is in `outbox.bin`: what happened and was not yet told. It is worth keeping and nothing depends on it: whatever is wrong with the file,
//! the agent goes on.

use prost::Message as _;
use skerry_agent_core::Monotonic;
use skerry_agent_core::outbox::{BYTES_MAX, Dropped, Kept, TRANSITIONS_MAX, Transition};
use skerry_proto::{caps, wire};
use skerry_terms::Chain;
use tracing::warn;

use super::{OUTBOX, Store, StoreError, format};
use crate::uplink::transitions;

/// All texts at their cap, with room for numbers and tags.
pub(super) const CONTENT_MAX: usize = 2 * BYTES_MAX + TRANSITIONS_MAX * 128 + 4096;

fn encode(kept: &Kept) -> Vec<u8> {
    let Kept { boot_id, dropped: Dropped { superseded, newest }, transitions } = kept;
    let transition = |transition: &Transition| wire::StoredTransition {
        run: transition.run,
        // How long ago it was means nothing to the next run.
        transition: Some(wire::Transition {
            age_millis: None,
            ..transitions::encode(transition, Monotonic::default())
        }),
        sent: transition.sent,
    };
    let outbox = wire::StoredOutbox {
        boot_id: boot_id.clone(),
        dropped_superseded: *superseded,
        dropped_newest: *newest,
        transitions: transitions.iter().map(transition).collect(),
    };
    outbox.encode_to_vec()
}

fn decode(content: &[u8]) -> Result<Kept, String> {
    let outbox = wire::StoredOutbox::decode(content).map_err(|error| error.to_string())?;
    let wire::StoredOutbox { boot_id, dropped_superseded, dropped_newest, transitions: stored } = outbox;
    let transition = |wire::StoredTransition { run, transition, sent }| {
        let transition = transition.ok_or("a transition is empty")?;
        transitions::decode(run, sent, transition).map_err(|error| error.to_string())
    };
    Ok(Kept {
        boot_id: caps::truncate(&boot_id, caps::WORD_MAX),
        dropped: Dropped { superseded: dropped_superseded, newest: dropped_newest },
        transitions: stored.into_iter().map(transition).collect::<Result<_, String>>()?,
    })
}

impl Store {
    /// Reads what was not yet told. A file that cannot be read is kept aside, and what it held is not told; one whose key is not there is left
    /// where it is.
    pub fn load_outbox(&self) -> Kept {
        match self.read_outbox() {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => {
                warn!("what happened before and was not yet told cannot be read: {}", Chain(&error));
                Kept::default()
            }
        }
    }

    /// Nothing where there is none, or none that will ever be readable. An error: its key is not there.
    fn read_outbox(&self) -> Result<Option<Kept>, StoreError> {
        let read = match self.open_file(OUTBOX) {
            Ok(None) => return Ok(None),
            Err(error @ StoreError::Key { .. }) => {
                // A key on a medium may come back: until then what it sealed is not written over. One that lay beside it is gone.
                if self.key_is_beside() {
                    self.guards().lift(OUTBOX);
                }
                return Err(error);
            }
            Err(error) => Err(Chain(&error).to_string()),
            Ok(Some(opened)) => opened.and_then(|format::Opened { content, version: _ }| decode(&content)),
        };
        // Nobody waits for this file to be readable again: the next write takes its place.
        self.guards().lift(OUTBOX);
        let why = match read {
            Ok(kept) => return Ok(Some(kept)),
            Err(why) => why,
        };
        let kept = self.keep_aside(&self.folder.join(OUTBOX.file), OUTBOX.corrupt);
        let kept =
            kept.map_or_else(|error| Chain(&error).to_string(), |path| format!("kept at {}", path.display()));
        warn!("what happened before and was not yet told cannot be read: {why}; {kept}");
        Ok(None)
    }

    /// When this returns nothing, a power cut does not lose it. Otherwise nothing was written, and it returns what could not be read at the start
    /// and can be now: that is to be written with it.
    pub fn save_outbox(&self, kept: &Kept) -> Result<Option<Kept>, StoreError> {
        let waits = self.guards().waits(OUTBOX);
        if waits && let Some(before) = self.read_outbox()? {
            return Ok(Some(before));
        }
        self.write_file(OUTBOX, encode(kept), false)?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use skerry_agent_core::outbox::{About, News, Outbox};
    use skerry_agent_core::{Monotonic, WallMillis};
    use skerry_terms::{AppKey, Phase};

    use super::*;

    fn kept() -> Kept {
        let mut outbox = Outbox::new(u64::MAX, "boot".into(), Kept::default());
        let key = AppKey::new("plant-a", "web").expect("a key");
        let abouts =
            [About::App(key.clone()), About::Container(key, "main".into()), About::Node("Docker".into())];
        for (n, about) in abouts.into_iter().enumerate() {
            let news = News {
                about,
                uid: "u".into(),
                revision: "r".into(),
                phase: (n == 0).then_some(Phase::RolledBack),
                reason: "Error".into(),
                message: "words".into(),
                warning: n == 1,
                exit_code: (n == 1).then_some(137),
                restart_count: 4,
            };
            for second in [1, 2] {
                outbox.put(news.clone(), WallMillis(second * 1000), Monotonic::default());
            }
        }
        outbox.opened();
        outbox.batch(Monotonic::default()).expect("a batch");
        outbox.to_save(Monotonic::default(), true).expect("a write")
    }

    /// As a later run finds it.
    fn later(kept: Kept) -> Kept {
        let transitions = kept.transitions.into_iter().map(|t| Transition { at: None, ..t }).collect();
        Kept { transitions, ..kept }
    }

    #[test]
    fn what_was_not_yet_told_survives_and_is_sealed() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("opened");
        assert_eq!(store.load_outbox(), Kept::default(), "nothing was ever kept");
        store.save_outbox(&kept()).expect("saved");
        assert_eq!(store.load_outbox(), later(kept()));
        let bytes = std::fs::read(dir.path().join(OUTBOX.file)).expect("read");
        assert!(!bytes.windows(7).any(|window| window == b"plant-a"));
    }

    #[test]
    fn whatever_is_wrong_with_the_file_the_agent_goes_on() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("opened");
        store.save_outbox(&kept()).expect("saved");
        let file = dir.path().join(OUTBOX.file);
        let good = std::fs::read(&file).expect("read");
        let mut newer = good.clone();
        newer[8] = 99;
        for (n, bytes) in [&good[..good.len() / 2], &[], b"garbage", &newer].into_iter().enumerate() {
            std::fs::write(&file, bytes).expect("written");
            assert_eq!(store.load_outbox(), Kept::default(), "case {n}");
            assert!(!file.exists(), "case {n} was kept aside");
        }
        store.save_outbox(&kept()).expect("saved again");
        assert_eq!(store.load_outbox(), later(kept()));
    }

    #[test]
    fn what_a_key_on_a_medium_has_sealed_is_not_written_over_until_it_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let (medium, away) = (dir.path().join("medium.key"), dir.path().join("away.key"));
        let open = || Store::open(&dir.path().join("state")).expect("opened").with_key(medium.clone());
        open().save_outbox(&kept()).expect("saved");
        std::fs::rename(&medium, &away).expect("unplugged");
        let store = open();
        assert_eq!(store.load_outbox(), Kept::default());
        let newer = Kept { boot_id: "next".into(), ..Kept::default() };
        store.save_outbox(&newer).expect_err("the key may come back");
        std::fs::rename(&away, &medium).expect("plugged in");
        assert_eq!(store.save_outbox(&newer).expect("read"), Some(later(kept())), "it is not lost");
        assert_eq!(store.save_outbox(&newer).expect("saved"), None);
        assert_eq!(store.load_outbox(), newer);
    }

    #[test]
    fn no_content_of_an_outbox_hurts() {
        crate::fuzz::fuzz("the outbox's content", &[encode(&kept())], |bytes| {
            let Ok(kept) = decode(bytes) else { return false };
            assert_eq!(decode(&encode(&kept)).expect("what was encoded"), kept);
            true
        });
    }

    #[test]
    fn the_largest_outbox_is_read_back() {
        let mut outbox = Outbox::new(1, String::new(), Kept::default());
        for n in 0..5000 {
            let news = News {
                about: About::Container(
                    AppKey::new(&"n".repeat(63), &format!("{n:0>253}")).expect("a key"),
                    "c".repeat(63),
                ),
                uid: "u".repeat(36),
                revision: "r".repeat(256),
                phase: Some(Phase::Failed),
                reason: "R".repeat(256),
                message: "ä".repeat(1000),
                warning: true,
                exit_code: Some(-1),
                restart_count: u32::MAX,
            };
            outbox.put(news, WallMillis(i64::MAX), Monotonic::default());
        }
        let kept = outbox.to_save(Monotonic::default(), true).expect("a write");
        assert!(encode(&kept).len() <= CONTENT_MAX);
        assert_eq!(decode(&encode(&kept)), Ok(later(kept)));
    }
}
