//! From stored payloads to what the planner relies on: the one conversion from wire to domain. What this agent does not understand
//! becomes `Unsupported` with the field's path; nothing is guessed and nothing is dropped silently. Whatever the bytes are, it ends
//! soon, without a panic, and needs no more memory than a bound beside each list says.

mod config;
mod container;
mod env;
mod field;
mod pod;
mod probe;
mod registry;
mod security;
#[cfg(test)]
mod tests;
mod text;
mod volume;
mod wrong;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use skerry_agent_core::{Desired, DesiredApp, Host, Resources};
use skerry_proto::{caps, wire};
use skerry_terms::{AppKey, Digest, NodeName, Payload, PayloadSet};

use config::Config;
pub use container::DEVICE_PREFIX;
use wrong::Wrong;

/// A desired set as the supervisor holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    pub desired: Desired,
    /// uid of each app's EdgeApp object: travels back with its status.
    pub uids: BTreeMap<AppKey, String>,
}

/// Reads a whole set. Never fails: an app that cannot be honoured is in it as such.
pub fn desired(node: &NodeName, host: &Host, set: &PayloadSet) -> Decoded {
    let empty = Desired {
        node: node.clone(),
        apps: BTreeMap::new(),
        complete: true,
        retired: BTreeSet::new(),
        host: host.clone(),
        images: BTreeMap::new(),
    };
    let mut decoded = Decoded { desired: empty, uids: BTreeMap::new() };
    for (key, payload) in set {
        let (uid, app) = app(node, host, key, payload);
        decoded.uids.insert(key.clone(), uid);
        decoded.desired.apps.insert(key.clone(), app);
    }
    decoded
}

/// Equal exactly when two payloads ask for the same: the object's uid is left out.
pub fn print(key: &AppKey, payload: &Payload) -> Digest {
    let bare = wire::App::decode(&payload[..])
        .map(|app| Payload::from(wire::App { uid: String::new(), ..app }.encode_to_vec()));
    Digest::of(&PayloadSet::from([(key.clone(), bare.unwrap_or_else(|_| payload.clone()))]))
}

/// Reads one app: the uid of its object, and what it is. Never fails.
pub fn app(node: &NodeName, host: &Host, key: &AppKey, payload: &[u8]) -> (String, DesiredApp) {
    let app = match wire::App::decode(payload) {
        Ok(app) => app,
        Err(error) => {
            return (String::new(), unsupported("", &format!("the app cannot be read: {error}")));
        }
    };
    let wire::App { uid, revision, template, switch, progress_deadline_seconds, config } = app;
    let app = Config::read(config).and_then(|config| {
        let template = template.ok_or_else(|| Wrong::missing().under("template"))?;
        let app = App { key, uid: &uid, revision: &revision, node, host, config };
        let rollout = pod::Rollout { switch, progress_deadline_seconds };
        pod::read(&app, rollout, template)
    });
    let app = app.map_or_else(|wrong| unsupported(&revision, &wrong.to_string()), DesiredApp::Valid);
    (uid, app)
}

fn unsupported(revision: &str, why: &str) -> DesiredApp {
    let revision = caps::truncate(revision, caps::MESSAGE_MAX);
    DesiredApp::Unsupported { revision, why: caps::truncate(why, caps::MESSAGE_MAX) }
}

/// What every part of an app may ask for while it is read.
struct App<'a> {
    key: &'a AppKey,
    uid: &'a str,
    revision: &'a str,
    node: &'a NodeName,
    host: &'a Host,
    config: Config,
}

/// What the template says of itself, which its fields may refer to.
struct Facts<'a> {
    app: &'a App<'a>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// Of every container, by its name.
    resources: BTreeMap<String, Resources>,
}

/// What is found and used up on the way through a template.
struct Ledger {
    /// See [`AppSpec::missing`](skerry_agent_core::AppSpec::missing).
    missing: Vec<String>,
    /// Bytes that environments and files of facts may still take.
    text_room: usize,
    /// Files that volumes may still have.
    files_room: usize,
}

/// The environments of all containers of an app, and what files say of the app itself. One ConfigMap as large as a payload allows
/// fits twice; one that every container takes under many prefixes does not, and neither does a thousandfold list of large labels.
const TEXT_MAX: usize = 4 << 20;

/// Messages about missing config that are kept: the first ones are mended first.
const MISSING_MAX: usize = 32;

impl Ledger {
    fn new() -> Self {
        Self { missing: Vec::new(), text_room: TEXT_MAX, files_room: caps::VOLUME_FILES_MAX }
    }

    fn take_text(&mut self, bytes: usize) -> Result<(), Wrong> {
        let too_much = || {
            let what = "the variables and facts of all containers together take";
            Wrong::new(format_args!("{what} more than {TEXT_MAX} bytes"))
        };
        self.text_room = self.text_room.checked_sub(bytes).ok_or_else(too_much)?;
        Ok(())
    }

    fn take_file(&mut self) -> Result<(), Wrong> {
        let max = caps::VOLUME_FILES_MAX;
        let too_many = || Wrong::new(format_args!("the app's volumes have more than {max} files"));
        self.files_room = self.files_room.checked_sub(1).ok_or_else(too_many)?;
        Ok(())
    }

    fn miss(&mut self, what: String) {
        if self.missing.len() < MISSING_MAX && !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }
}
