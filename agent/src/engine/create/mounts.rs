//! Volumes as Docker is told of them: mounts, which must have a source, and not binds, which make one up.

use std::path::Path;

use bollard::models::{
    Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType, MountVolumeOptions,
    MountVolumeOptionsDriverConfig,
};
use skerry_agent_core::{BoundMount, CreateSpec, Volume};
use skerry_terms::labels;

use crate::engine::volumes::Source;

/// `sources` are those of the spec's mounts, in their order; `message` is the file for the container's last words.
pub(super) fn mounts(spec: &CreateSpec, sources: Vec<Source>, message: &Path, home: &str) -> Vec<Mount> {
    let volumes = spec.mounts.iter().zip(sources).map(|(mounted, source)| mount(spec, mounted, source, home));
    let message = spec.termination_message.as_ref().map(|asked| bind(message, &asked.path, false));
    volumes.chain(message).collect()
}

fn mount(spec: &CreateSpec, mounted: &BoundMount, source: Source, home: &str) -> Mount {
    let BoundMount { name: _, volume, path, read_only, sub_path: _ } = mounted;
    let read_only = match volume {
        // As in Kubernetes, whatever the mount says: they are written by the agent alone.
        Volume::Files { .. } => true,
        Volume::EmptyDir | Volume::Memory { .. } | Volume::HostPath { .. } | Volume::Local { .. } => {
            *read_only
        }
    };
    match source {
        Source::Path(source) => bind(&source, path, read_only),
        Source::Tmpfs { name, options } => Mount {
            typ: Some(MountType::VOLUME),
            source: Some(name),
            target: Some(path.clone()),
            read_only: Some(read_only),
            volume_options: Some(MountVolumeOptions {
                // What the image has there stays hidden, as under every volume.
                no_copy: Some(true),
                labels: Some(
                    [
                        (labels::HOME, home.to_owned()),
                        (labels::NODE, spec.node.to_string()),
                        (labels::NAMESPACE, spec.app.namespace().to_owned()),
                        (labels::APP, spec.app.name().to_owned()),
                    ]
                    .map(|(key, value)| (key.to_owned(), value))
                    .into(),
                ),
                driver_config: Some(MountVolumeOptionsDriverConfig {
                    name: Some("local".to_owned()),
                    options: Some(options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
                }),
                ..Default::default()
            }),
            ..Default::default()
        },
    }
}

fn bind(source: &Path, target: &str, read_only: bool) -> Mount {
    let propagation = MountBindOptionsPropagationEnum::RPRIVATE;
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions { propagation: Some(propagation), ..Default::default() }),
        ..Default::default()
    }
}
