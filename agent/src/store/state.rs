//! What is in `desired.bin`: the set that was received last, and the notes on updates.

use prost::Message as _;
use skerry_agent_core::{Committed, FailedRevision, Held, ImageId, Images, Notes};
use skerry_proto::{WireError, caps, payload_set, wire};
use skerry_terms::{AppKey, ContainerName, Digest, Payload};

use crate::decode::print;

/// A set at its cap, as much again to go back to, and room for names, generation, words and the ids of images: 200 bytes for each container of
/// an app, now and before.
pub(super) const CONTENT_MAX: usize = 2 * caps::SET_MAX
    + caps::APPS_MAX * (4096 + 2 * 200 * (caps::CONTAINERS_MAX + caps::INIT_CONTAINERS_MAX))
    + 4096;

/// Everything that the agent must not lose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// What the controller asked for last. Absent while it never did.
    pub held: Option<Held>,
    pub notes: Notes,
}

impl From<Held> for Stored {
    fn from(held: Held) -> Self {
        Self { held: Some(held), notes: Notes::default() }
    }
}

impl Stored {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { held, notes: Notes { committed, failed } } = self;
        let set = held.as_ref().map(|held| &held.set);
        let image = |(name, ImageId(id)): (&ContainerName, &ImageId)| wire::ContainerImage {
            container: name.to_string(),
            image: id.clone(),
        };
        let frame = |(key, committed): (&AppKey, &Committed)| {
            let Committed { payload, print: _, images, before } = committed;
            let same = set.and_then(|set| set.get(key)) == Some(payload);
            let nothing = Payload::from(Vec::new());
            wire::Committed {
                app: Some(wire::AppFrame::new(key, if same { &nothing } else { payload })),
                images: images.iter().map(image).collect(),
                before: before.iter().map(|ImageId(id)| id.clone()).collect(),
            }
        };
        let failure = |(key, failed): (&AppKey, &FailedRevision)| {
            let FailedRevision { print, revision, reason, message } = failed;
            wire::FailedRevision {
                namespace: key.namespace().to_owned(),
                name: key.name().to_owned(),
                print: print.as_bytes().to_vec(),
                revision: revision.clone(),
                reason: reason.clone(),
                message: caps::truncate(message, caps::MESSAGE_MAX),
            }
        };
        let state = wire::StoredState {
            generation: held.as_ref().map(|held| (&held.generation).into()),
            apps: set.into_iter().flatten().map(|(key, payload)| wire::AppFrame::new(key, payload)).collect(),
            committed: committed.iter().map(frame).collect(),
            failed: failed.iter().map(failure).collect(),
        };
        state.encode_to_vec()
    }

    /// Fails with words. `plain`: the format of the version before, which always held a set.
    pub(super) fn decode(content: &[u8], plain: bool) -> Result<Self, String> {
        let text = |error: WireError| error.to_string();
        let state = wire::StoredState::decode(content).map_err(|error| error.to_string())?;
        let wire::StoredState { generation, apps, committed, failed } = state;
        let count = apps.len();
        let set = payload_set(apps).map_err(text)?;
        if set.len() != count {
            return Err("an app is in it twice".to_owned());
        }
        let held = match generation {
            Some(generation) => Some(Held { generation: generation.try_into().map_err(text)?, set }),
            None if plain || !set.is_empty() => return Err("it has no generation".to_owned()),
            None => None,
        };
        let mut notes = Notes::default();
        for wire::Committed { app, images, before } in committed {
            let (key, payload) = app.ok_or("a committed revision has no app")?.checked().map_err(text)?;
            let same = || held.as_ref().and_then(|held| held.set.get(&key)).cloned();
            let payload = match payload.is_empty() {
                true => same().ok_or_else(|| format!("the committed revision of {key} is not in it"))?,
                false => payload,
            };
            let print = print(&key, &payload);
            let (images, before) = (read_images(images)?, before.into_iter().map(ImageId).collect());
            notes.committed.insert(key, Committed { payload, print, images, before });
        }
        for failure in failed {
            let wire::FailedRevision { namespace, name, print, revision, reason, message } = failure;
            let key = skerry_proto::app_key(&namespace, &name).map_err(text)?;
            let print = Digest::try_from(&print[..]).map_err(|error| error.to_string())?;
            notes.failed.insert(key, FailedRevision { print, revision, reason, message });
        }
        Ok(Self { held, notes })
    }
}

fn read_images(images: Vec<wire::ContainerImage>) -> Result<Images, String> {
    let image = |wire::ContainerImage { container, image }| {
        let name = container.parse::<ContainerName>().map_err(|error| error.to_string())?;
        Ok((name, ImageId(image)))
    };
    images.into_iter().map(image).collect()
}
