//! What is in `local.bin`: the apps that were handed over on the box itself, and the names of all local apps that may have containers, so
//! that one whose file vanished while no agent ran is still taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use prost::Message as _;
use skerry_proto::{WireError, app_key, caps, payload_set, wire};
use skerry_terms::{AppKey, Chain, Payload, PayloadSet};
use tracing::warn;

use super::{Store, StoreError, format};

pub(super) const FILE: &str = "local.bin";
const TEMPORARY: &str = "local.tmp";
pub(super) const CORRUPT: &str = "local.corrupt-";
/// Two sets at their cap, and as many names again.
pub(super) const CONTENT_MAX: usize = 2 * caps::SET_MAX + 4 * caps::APPS_MAX * 512 + 4096;

/// The box's own apps, as far as the agent itself keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Local {
    /// Handed over with `skerry-agent run -f`.
    pub apps: PayloadSet,
    /// What each file of the operator held when it could be read last, by its name.
    pub files: BTreeMap<String, PayloadSet>,
    /// Every local app that may have containers.
    pub known: BTreeSet<AppKey>,
}

impl Local {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { apps, files, known } = self;
        let nothing = Payload::from(Vec::new());
        let frames = |set: &PayloadSet| {
            set.iter().map(|(key, payload)| wire::AppFrame::new(key, payload)).collect::<Vec<_>>()
        };
        let file = |(name, apps)| wire::LocalFile { name: String::clone(name), apps: frames(apps) };
        let local = wire::StoredLocal {
            apps: frames(apps),
            files: files.iter().map(file).collect(),
            known: known.iter().map(|key| wire::AppFrame::new(key, &nothing)).collect(),
        };
        local.encode_to_vec()
    }

    pub(super) fn decode(content: &[u8]) -> Result<Self, String> {
        let text = |error: WireError| error.to_string();
        let wire::StoredLocal { apps, files, known } =
            wire::StoredLocal::decode(content).map_err(|error| error.to_string())?;
        let known = known
            .into_iter()
            .map(|wire::AppFrame { namespace, name, payload: _ }| app_key(&namespace, &name))
            .collect::<Result<_, _>>();
        let file = |wire::LocalFile { name, apps }| Ok((name, payload_set(apps)?));
        Ok(Self {
            apps: payload_set(apps).map_err(text)?,
            files: files.into_iter().map(file).collect::<Result<_, _>>().map_err(text)?,
            known: known.map_err(text)?,
        })
    }
}

impl Store {
    /// Reads what was handed over. A file that cannot be read is kept aside; nothing is then known of local apps, and what runs of them is
    /// left alone.
    pub fn load_local(&self) -> Result<Local, StoreError> {
        let path = self.folder.join(FILE);
        let opened = match self.open_file(&path, FILE, CONTENT_MAX) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Local::default());
            }
            opened => opened?,
        };
        let read = opened.and_then(|format::Opened { content, plain: _ }| Local::decode(&content));
        let why = match read {
            Ok(local) => return Ok(local),
            Err(why) => why,
        };
        let kept = self.keep_aside(&path, CORRUPT);
        let kept =
            kept.map_or_else(|error| Chain(&error).to_string(), |path| format!("kept at {}", path.display()));
        warn!("what was handed over with run -f cannot be read: {why}; {kept}. Hand it over again");
        Ok(Local::default())
    }

    /// When this returns, a power cut does not lose it.
    pub fn save_local(&self, local: &Local) -> Result<(), StoreError> {
        self.write_file(&self.folder.join(FILE), &self.folder.join(TEMPORARY), FILE, local.encode())?;
        self.sync_folder()
    }
}
