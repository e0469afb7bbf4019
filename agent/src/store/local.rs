//! What is in `local.bin`: the apps that were handed over on the box itself, and the names of all local apps that may have containers, so
//! that one whose file vanished while no agent ran is still taken away.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use skerry_proto::{WireError, app_key, caps, payload_set, wire};
use skerry_terms::{AppKey, Chain, Payload, PayloadSet};
use tracing::warn;

use super::{LOCAL, Store, StoreError, format};

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

/// What was read of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalLoaded {
    pub local: Local,
    /// A copy that could not be read is kept aside: what local apps there were is not known, so that nothing may be taken for one that is
    /// gone. Ends when somebody removes that copy.
    pub lost: bool,
}

impl Store {
    /// Reads what was handed over. A corrupt file is kept aside; what then runs of local apps is left alone. An error: it stays where it is until
    /// it can be read, and nothing is written over it.
    pub fn load_local(&self) -> Result<LocalLoaded, StoreError> {
        let Some(opened) = self.open_file(LOCAL)? else {
            return Ok(LocalLoaded { local: Local::default(), lost: self.local_is_lost() });
        };
        let read = opened.and_then(|format::Opened { content, version: _ }| Local::decode(&content));
        let why = match read {
            Ok(local) => return Ok(LocalLoaded { local, lost: self.local_is_lost() }),
            Err(why) => why,
        };
        let kept = self.keep_aside(&self.folder.join(LOCAL.file), LOCAL.corrupt).inspect_err(|_| {
            self.guards().corrupt(LOCAL);
        });
        let kept =
            kept.map_or_else(|error| Chain(&error).to_string(), |path| format!("kept at {}", path.display()));
        warn!(
            "what was handed over with run -f cannot be read: {why}; {kept}. Hand it over again, and remove that copy: until then containers of apps that nobody asks for are left alone"
        );
        Ok(LocalLoaded { local: Local::default(), lost: true })
    }

    /// True while a copy that could not be read is kept.
    pub fn local_is_lost(&self) -> bool {
        self.guards().of(LOCAL).is_some()
            || self.kept_aside(LOCAL.corrupt).map_or(true, |numbers| !numbers.is_empty())
    }

    /// True while what is stored cannot be read and is waited for.
    pub fn local_waits(&self) -> bool {
        self.guards().waits(LOCAL)
    }

    /// When this returns, a power cut does not lose it.
    pub fn save_local(&self, local: &Local) -> Result<(), StoreError> {
        self.write_file(LOCAL, local.encode(), false)
    }
}
