//! The ConfigMaps and Secrets that travel with an app. What is not among them does not exist.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use skerry_proto::{caps, wire};

use super::wrong::{Under, Wrong, check_length, known};

/// Everything that an app can refer to, by name.
#[derive(Default)]
pub(super) struct Config {
    config_maps: BTreeMap<String, Object>,
    secrets: BTreeMap<String, Object>,
}

/// Which of the two, for their different words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

/// One ConfigMap or Secret. The contents are shared by all files that are made of them.
pub(super) struct Object {
    /// The type of a Secret.
    pub(super) secret_type: String,
    /// What environment variables are made of.
    pub(super) data: BTreeMap<String, Arc<[u8]>>,
    /// Files only.
    binary: BTreeMap<String, Arc<[u8]>>,
}

impl Config {
    pub(super) fn read(objects: Vec<wire::ConfigObject>) -> Result<Self, Wrong> {
        check_length("config", objects.len(), caps::CONFIG_OBJECTS_MAX)?;
        let mut config = Self::default();
        for (i, object) in objects.into_iter().enumerate() {
            config.add(object).map_err(|wrong| wrong.under(&format!("config[{i}]")))?;
        }
        Ok(config)
    }

    fn add(&mut self, object: wire::ConfigObject) -> Result<(), Wrong> {
        let wire::ConfigObject { kind, name, r#type, data, binary_data } = object;
        let of_kind = match known(kind).under("kind")? {
            wire::ConfigKind::Unspecified => return Err(Wrong::missing().under("kind")),
            wire::ConfigKind::ConfigMap => &mut self.config_maps,
            wire::ConfigKind::Secret => &mut self.secrets,
        };
        check_length("data", data.len() + binary_data.len(), caps::CONFIG_KEYS_MAX)?;
        let shared = |data: BTreeMap<String, Vec<u8>>| {
            data.into_iter().map(|(key, content)| (key, Arc::from(content))).collect()
        };
        let object = Object { secret_type: r#type, data: shared(data), binary: shared(binary_data) };
        of_kind.insert(name, object);
        Ok(())
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Object> {
        match kind {
            Kind::ConfigMap => self.config_maps.get(name),
            Kind::Secret => self.secrets.get(name),
        }
    }
}

impl Object {
    /// What files are made of. A key is in one of the two only; if it were in both, its text counts.
    pub(super) fn files(&self) -> BTreeMap<&str, &Arc<[u8]>> {
        self.binary.iter().chain(&self.data).map(|(key, content)| (key.as_str(), content)).collect()
    }
}

impl Kind {
    /// Kubelet's words for an object that is not there.
    pub(super) fn not_found(self, name: &str) -> String {
        match self {
            Self::ConfigMap => format!("configmap {name:?} not found"),
            Self::Secret => format!("secret {name:?} not found"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}
