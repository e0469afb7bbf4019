//! Which ConfigMaps and Secrets an app refers to: they travel with it, and a change of one of them is a change of the app.

use std::collections::{BTreeMap, BTreeSet};

use crate::EdgeAppSpec;
use crate::template::{
    Container, EnvFromSource, EnvVarSource, PullSecretRef, Volume, VolumeProjection, VolumeSource,
};

/// The objects that an app refers to, by name and whether the app can do without: each name once, and one reference that cannot
/// do without decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    pub config_maps: BTreeSet<(String, bool)>,
    pub secrets: BTreeSet<(String, bool)>,
}

/// Everything that the template refers to. The controller watches these, and no others.
pub fn references(spec: &EdgeAppSpec) -> References {
    let pod = &spec.template.spec;
    let mut found = Found::default();
    pod.all_containers().for_each(|(_, container)| found.in_container(container));
    pod.volumes.iter().for_each(|volume| found.in_volume(volume));
    // A pull without credentials may succeed, and kubelet tries it.
    for PullSecretRef { name } in &pod.image_pull_secrets {
        found.secret(name, true);
    }
    let Found { config_maps, secrets } = found;
    References { config_maps: config_maps.into_iter().collect(), secrets: secrets.into_iter().collect() }
}

/// Optional, by name.
#[derive(Default)]
struct Found {
    config_maps: BTreeMap<String, bool>,
    secrets: BTreeMap<String, bool>,
}

impl Found {
    fn config_map(&mut self, name: &str, optional: bool) {
        *self.config_maps.entry(name.to_owned()).or_insert(true) &= optional;
    }

    fn secret(&mut self, name: &str, optional: bool) {
        *self.secrets.entry(name.to_owned()).or_insert(true) &= optional;
    }

    fn in_container(&mut self, container: &Container) {
        for source in container.env.iter().filter_map(|variable| variable.value_from.as_ref()) {
            let EnvVarSource { field_ref: _, config_map_key_ref, secret_key_ref, resource_field_ref: _ } =
                source;
            config_map_key_ref.iter().for_each(|key| self.config_map(&key.name, key.is_optional()));
            secret_key_ref.iter().for_each(|key| self.secret(&key.name, key.is_optional()));
        }
        for EnvFromSource { prefix: _, config_map_ref, secret_ref } in &container.env_from {
            config_map_ref.iter().for_each(|object| self.config_map(&object.name, object.is_optional()));
            secret_ref.iter().for_each(|object| self.secret(&object.name, object.is_optional()));
        }
    }

    fn in_volume(&mut self, volume: &Volume) {
        for source in volume.sources() {
            match source {
                VolumeSource::ConfigMap(source) => {
                    self.config_map(&source.name, source.optional.unwrap_or(false));
                }
                VolumeSource::Secret(source) => {
                    self.secret(&source.secret_name, source.optional.unwrap_or(false));
                }
                VolumeSource::Projected(source) => {
                    source.sources.iter().for_each(|source| self.in_projection(source));
                }
                VolumeSource::EmptyDir(_)
                | VolumeSource::HostPath(_)
                | VolumeSource::DownwardApi(_)
                | VolumeSource::Local(_) => {}
            }
        }
    }

    fn in_projection(&mut self, source: &VolumeProjection) {
        let VolumeProjection { config_map, secret, downward_api: _ } = source;
        config_map.iter().for_each(|source| self.config_map(&source.name, source.optional.unwrap_or(false)));
        secret.iter().for_each(|source| self.secret(&source.name, source.optional.unwrap_or(false)));
    }
}
