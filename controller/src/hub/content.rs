//! From a spec and the config that it refers to, to what travels: checked, and encoded once for all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;
use skerry_api::wire::{ConfigObject, EncodeError, References, payload, references};
use skerry_api::{EdgeAppSpec, FieldError, check_spec, spec_revision};
use skerry_controller_core::placement::Content;
use skerry_proto::caps;
use skerry_terms::{AppKey, Chain};

use crate::k8s::{ConfigKind, ConfigRef};

/// A spec that passed its checks, or everything that is wrong with it.
pub fn checked(spec: &Result<Arc<EdgeAppSpec>, String>) -> Result<&Arc<EdgeAppSpec>, Vec<FieldError>> {
    let spec = spec
        .as_ref()
        .map_err(|error| whole(format!("this version of the controller cannot read it: {error}")))?;
    check_spec(spec)?;
    Ok(spec)
}

/// The ConfigMaps and Secrets that an app refers to. They are of its own namespace.
pub fn config_refs(namespace: &str, spec: &EdgeAppSpec) -> BTreeSet<ConfigRef> {
    let References { config_maps, secrets } = references(spec);
    let of = |kind, names: BTreeSet<(String, bool)>| {
        names.into_iter().map(move |(name, _)| ConfigRef { kind, namespace: namespace.to_owned(), name })
    };
    of(ConfigKind::ConfigMap, config_maps).chain(of(ConfigKind::Secret, secrets)).collect()
}

/// The encoded form, once for each set of images that the variants ask for.
pub fn content(
    key: &AppKey,
    uid: &str,
    spec: &Arc<EdgeAppSpec>,
    config: &[Arc<ConfigObject>],
) -> Result<Content, Vec<FieldError>> {
    check_size(config)?;
    let revision = spec_revision(key.name(), spec);
    let config: Vec<_> = config.iter().map(|object| ConfigObject::clone(object)).collect();
    let template = BTreeMap::new();
    let images: Vec<_> = match &spec.variants[..] {
        [] => vec![&template],
        variants => variants.iter().map(|variant| &variant.images).collect(),
    };
    let mut made = BTreeMap::new();
    for images in &images {
        if !made.contains_key(images) {
            let payload = payload(uid, &revision, spec, images, &config).map_err(refused)?;
            made.insert(*images, payload);
        }
    }
    let payloads = images.iter().filter_map(|images| made.get(images).cloned()).collect();
    Ok(Content { spec: spec.clone(), revision, payloads })
}

/// Refuses config that fits into no payload, by the name of the largest object.
fn check_size(config: &[Arc<ConfigObject>]) -> Result<(), Vec<FieldError>> {
    let size = |object: &Arc<ConfigObject>| object.encoded_len();
    let total: usize = config.iter().map(size).sum();
    let Some(largest) = config.iter().max_by_key(|object| size(object)).filter(|_| total > caps::PAYLOAD_MAX)
    else {
        return Ok(());
    };
    let kind = if largest.r#type.is_empty() { "configmap" } else { "secret" };
    Err(whole(format!(
        "the ConfigMaps and Secrets that the app refers to have {total} bytes together, at most {} are possible; the largest is {kind} \
         {:?} with {} bytes: keep large data in the image or in a volume",
        caps::PAYLOAD_MAX,
        largest.name,
        size(largest),
    )))
}

fn refused(error: EncodeError) -> Vec<FieldError> {
    match error {
        EncodeError::Field(error) => vec![error],
        EncodeError::TooLarge { .. } | EncodeError::TooManyObjects { .. } => whole(Chain(&error).to_string()),
    }
}

fn whole(message: String) -> Vec<FieldError> {
    vec![FieldError { path: "spec".into(), message }]
}
