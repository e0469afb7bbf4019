//! From an EdgeApp's spec to the bytes that travel: the one place where the CRD's form becomes the wire's. Every struct is taken
//! apart without `..`, so that a new field cannot be forgotten here. The controller calls it for what it sends, the agent for the
//! manifests of its own box.

mod container;
mod env;
mod pod;
mod probe;
mod volume;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use prost::Message as _;
use skerry_proto::{caps, wire};
use skerry_terms::Payload;

use crate::{EdgeAppSpec, FieldError, Placement, Strategy, Switch};

pub use crate::references::{References, references};
pub use skerry_proto::wire::{ConfigKind, ConfigObject};

/// Why a spec that passed its checks cannot travel.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error(transparent)]
    Field(#[from] FieldError),
    #[error(
        "the app has {size} bytes in its encoded form, of which {config} are ConfigMaps and Secrets; at most {max} are possible: keep large data in the image or in a volume"
    )]
    TooLarge { size: usize, config: usize, max: usize },
    #[error("the app refers to {count} ConfigMaps and Secrets, at most {max} are possible")]
    TooManyObjects { count: usize, max: usize },
}

/// The payload of an app. The same spec and config always give the same bytes: digests rely on it.
///
/// `images` are those of the variant that was chosen, by the name of the container. Of `config`, the objects that the template
/// refers to travel along, whatever their order.
pub fn payload(
    uid: &str,
    revision: &str,
    spec: &EdgeAppSpec,
    images: &BTreeMap<String, String>,
    config: &[ConfigObject],
) -> Result<Payload, EncodeError> {
    let EdgeAppSpec { placement, template, variants: _, strategy } = spec;
    if let Some(Placement { node_selector: _, tolerations: _, replicas: _ }) = placement {
        // Where an app runs is the controller's business alone, and so is the choice among its variants.
    }
    if let Some(Strategy { switch: _, progress_deadline_seconds: _ }) = strategy {
        // Both travel with their defaults spelled out.
    }
    let config = referenced(spec, config)?;
    let config_size = config.iter().map(|object| object.encoded_len()).sum();
    let app = wire::App {
        uid: uid.to_owned(),
        revision: revision.to_owned(),
        template: Some(pod::template(template, images)?),
        switch: match spec.effective_switch() {
            Switch::StopFirst => wire::SwitchStrategy::StopFirst,
            Switch::StartFirst => wire::SwitchStrategy::StartFirst,
        }
        .into(),
        progress_deadline_seconds: spec.effective_progress_deadline_seconds(),
        config,
    };
    let size = app.encoded_len();
    if size > caps::PAYLOAD_MAX {
        return Err(EncodeError::TooLarge { size, config: config_size, max: caps::PAYLOAD_MAX });
    }
    Ok(Payload::from(app.encode_to_vec()))
}

/// The objects that the template refers to, each once, in a fixed order.
fn referenced(spec: &EdgeAppSpec, config: &[ConfigObject]) -> Result<Vec<ConfigObject>, EncodeError> {
    let References { config_maps, secrets } = references(spec);
    let named = |names: &BTreeSet<(String, bool)>, name: &str| names.iter().any(|(other, _)| other == name);
    let wanted: BTreeMap<_, _> = config
        .iter()
        .filter(|object| match object.kind() {
            ConfigKind::ConfigMap => named(&config_maps, &object.name),
            ConfigKind::Secret => named(&secrets, &object.name),
            ConfigKind::Unspecified => false,
        })
        .map(|object| ((object.kind, object.name.as_str()), object))
        .collect();
    if wanted.len() > caps::CONFIG_OBJECTS_MAX {
        return Err(EncodeError::TooManyObjects { count: wanted.len(), max: caps::CONFIG_OBJECTS_MAX });
    }
    Ok(wanted.into_values().cloned().collect())
}

/// Where in the spec something is, for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
struct At(String);

impl At {
    fn field(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    fn item(&self, list: &str, index: usize) -> Self {
        Self(format!("{}.{list}[{index}]", self.0))
    }

    fn error(&self, why: impl fmt::Display) -> FieldError {
        FieldError { path: self.0.clone(), message: why.to_string() }
    }

    /// A number that the schema keeps from being negative.
    fn unsigned(&self, number: i64) -> Result<u32, FieldError> {
        u32::try_from(number).map_err(|_| self.error(format_args!("{number} is out of range")))
    }

    /// What is wrong with a choice that has none or several of its options.
    fn one_of(&self, options: &str) -> FieldError {
        self.error(format_args!("exactly one of {options} is needed"))
    }
}

/// The one option of a choice that is set.
fn only<T>(at: &At, options: &str, set: impl IntoIterator<Item = Option<T>>) -> Result<T, FieldError> {
    let mut set = set.into_iter().flatten();
    match (set.next(), set.next()) {
        (Some(option), None) => Ok(option),
        (None, _) | (Some(_), Some(_)) => Err(at.one_of(options)),
    }
}

#[cfg(test)]
mod tests;
