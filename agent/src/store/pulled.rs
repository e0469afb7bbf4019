//! What is in `images.bin`: the images that Skerry itself brought to the box. Docker does not know who pulled an image, and what others brought
//! must never be removed. A file that is lost or cannot be read costs nothing but room on the disk.

use std::collections::BTreeMap;

use prost::Message as _;
use skerry_agent_core::ImageId;
use skerry_proto::wire;
use skerry_terms::Chain;
use tracing::warn;

use super::{IMAGES, Store, StoreError, format};

/// Images that are remembered; of more the first by id. Docker itself is slow long before.
const IMAGES_MAX: usize = 1024;
/// An id and the longest name that Docker takes.
pub(super) const CONTENT_MAX: usize = IMAGES_MAX * 512;

/// By id the tag that it was pulled under; empty when it was pulled by digest.
pub type Pulled = BTreeMap<ImageId, String>;

impl Store {
    /// Reads which images are ours. Where that cannot be known, none is.
    pub fn load_pulled(&self) -> Pulled {
        let path = self.folder.join(IMAGES.file);
        let read = match self.open_file(IMAGES) {
            Ok(None) => return Pulled::new(),
            Ok(Some(opened)) => opened.and_then(|format::Opened { content, version: _ }| decode(&content)),
            Err(error) => Err(Chain(&error).to_string()),
        };
        // Nobody waits for this file to be readable again: the next write takes its place.
        self.guards().lift(IMAGES);
        read.unwrap_or_else(|why| {
            warn!("{}: {why}; images that were pulled before are never removed by the agent", path.display());
            Pulled::new()
        })
    }

    /// When this returns, a power cut does not lose it.
    pub fn save_pulled(&self, pulled: &Pulled) -> Result<(), StoreError> {
        self.write_file(IMAGES, encode(pulled), false)
    }
}

pub(super) fn encode(pulled: &Pulled) -> Vec<u8> {
    let image =
        |(ImageId(id), name): (&ImageId, &String)| wire::PulledImage { id: id.clone(), name: name.clone() };
    wire::StoredImages { pulled: pulled.iter().take(IMAGES_MAX).map(image).collect() }.encode_to_vec()
}

pub(super) fn decode(content: &[u8]) -> Result<Pulled, String> {
    let wire::StoredImages { pulled } =
        wire::StoredImages::decode(content).map_err(|error| error.to_string())?;
    Ok(pulled.into_iter().map(|wire::PulledImage { id, name }| (ImageId(id), name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pulled_is_known_again_and_a_broken_file_makes_nothing_ours() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = Store::open(dir.path()).expect("opened");
        assert_eq!(store.load_pulled(), Pulled::new());
        let pulled = Pulled::from([
            (ImageId("sha256:1".to_owned()), "nginx:1".to_owned()),
            (ImageId("sha256:2".to_owned()), String::new()),
        ]);
        store.save_pulled(&pulled).expect("saved");
        assert_eq!(store.load_pulled(), pulled);
        std::fs::write(dir.path().join(IMAGES.file), b"garbage").expect("written");
        assert_eq!(store.load_pulled(), Pulled::new());
        store.save_pulled(&pulled).expect("saved over it");
        assert_eq!(store.load_pulled(), pulled);
    }
}
