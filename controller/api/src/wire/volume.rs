//! Volumes.

use skerry_proto::wire;
use wire::downward_api_file::Source as Fact;
use wire::projected_source::Source as Projection;
use wire::volume::Source;

use super::{At, env, only};
use crate::FieldError;
use crate::template::{
    ConfigMapProjection, ConfigMapVolume, DownwardApiFile, DownwardApiProjection, DownwardApiVolume,
    EmptyDir, HostPath, HostPathType, KeyToPath, LocalVolume, ProjectedVolume, ReclaimPolicy,
    SecretProjection, SecretVolume, StorageMedium, Volume, VolumeProjection, VolumeSource,
};

pub(super) fn volume(volume: &Volume, at: &At) -> Result<wire::Volume, FieldError> {
    let options = "emptyDir, hostPath, configMap, secret, downwardAPI, projected and local";
    let source = match only(at, options, volume.sources().into_iter().map(Some))? {
        VolumeSource::EmptyDir(source) => Source::EmptyDir(empty_dir(source, &at.field("emptyDir"))?),
        VolumeSource::HostPath(source) => Source::HostPath(host_path(source)),
        VolumeSource::ConfigMap(source) => Source::ConfigMap(config_map(source, &at.field("configMap"))?),
        VolumeSource::Secret(source) => Source::Secret(secret(source, &at.field("secret"))?),
        VolumeSource::DownwardApi(DownwardApiVolume { items, default_mode }) => {
            let at = at.field("downwardAPI");
            Source::DownwardApi(downward_api(items, mode(*default_mode, &at.field("defaultMode"))?, &at)?)
        }
        VolumeSource::Projected(source) => Source::Projected(projected(source, &at.field("projected"))?),
        VolumeSource::Local(source) => Source::Local(local(source)),
    };
    Ok(wire::Volume { name: volume.name.clone(), source: Some(source) })
}

fn mode(mode: Option<i32>, at: &At) -> Result<Option<u32>, FieldError> {
    mode.map(|mode| at.unsigned(mode.into())).transpose()
}

fn empty_dir(source: &EmptyDir, at: &At) -> Result<wire::EmptyDir, FieldError> {
    let EmptyDir { medium, size_limit } = source;
    let medium = match medium {
        None | Some(StorageMedium::Disk) => wire::StorageMedium::Unspecified,
        Some(StorageMedium::Memory) => wire::StorageMedium::Memory,
    };
    let size = size_limit.as_ref().map_or(Ok(0), |size| size.units());
    Ok(wire::EmptyDir {
        medium: medium.into(),
        size_limit_bytes: size.map_err(|why| at.field("sizeLimit").error(why))?,
    })
}

fn host_path(source: &HostPath) -> wire::HostPath {
    let HostPath { path, kind: _ } = source;
    let kind = match source.effective_type() {
        HostPathType::Unset => wire::HostPathType::Unspecified,
        HostPathType::DirectoryOrCreate => wire::HostPathType::DirectoryOrCreate,
        HostPathType::Directory => wire::HostPathType::Directory,
        HostPathType::FileOrCreate => wire::HostPathType::FileOrCreate,
        HostPathType::File => wire::HostPathType::File,
        HostPathType::Socket => wire::HostPathType::Socket,
        HostPathType::CharDevice => wire::HostPathType::CharDevice,
        HostPathType::BlockDevice => wire::HostPathType::BlockDevice,
    };
    wire::HostPath { path: path.clone(), r#type: kind.into() }
}

fn config_map(source: &ConfigMapVolume, at: &At) -> Result<wire::ConfigVolume, FieldError> {
    let ConfigMapVolume { name, items, default_mode, optional } = source;
    Ok(wire::ConfigVolume {
        default_mode: mode(*default_mode, &at.field("defaultMode"))?,
        ..config(name, items, *optional, at)?
    })
}

fn secret(source: &SecretVolume, at: &At) -> Result<wire::ConfigVolume, FieldError> {
    let SecretVolume { secret_name, items, default_mode, optional } = source;
    Ok(wire::ConfigVolume {
        default_mode: mode(*default_mode, &at.field("defaultMode"))?,
        ..config(secret_name, items, *optional, at)?
    })
}

/// The keys of an object as files, with no default mode of their own.
fn config(
    name: &str,
    items: &[KeyToPath],
    optional: Option<bool>,
    at: &At,
) -> Result<wire::ConfigVolume, FieldError> {
    let item = |(i, item): (usize, &KeyToPath)| {
        let KeyToPath { key, path, mode: own } = item;
        let mode = mode(*own, &at.item("items", i).field("mode"))?;
        Ok(wire::KeyToPath { key: key.clone(), path: path.clone(), mode })
    };
    Ok(wire::ConfigVolume {
        name: name.to_owned(),
        items: items.iter().enumerate().map(item).collect::<Result<_, FieldError>>()?,
        optional: optional.unwrap_or(false),
        default_mode: None,
    })
}

fn downward_api(
    items: &[DownwardApiFile],
    default_mode: Option<u32>,
    at: &At,
) -> Result<wire::DownwardApiVolume, FieldError> {
    let items = items.iter().enumerate().map(|(i, item)| fact(item, &at.item("items", i)));
    Ok(wire::DownwardApiVolume { items: items.collect::<Result<_, _>>()?, default_mode })
}

fn fact(file: &DownwardApiFile, at: &At) -> Result<wire::DownwardApiFile, FieldError> {
    let DownwardApiFile { path, field_ref, resource_field_ref, mode: own } = file;
    let resource = resource_field_ref.as_ref();
    let resource = resource.map(|field| env::resource_field(field, &at.field("resourceFieldRef")));
    let set = [
        field_ref.as_ref().map(|field| Fact::FieldRef(env::field_path(field))),
        resource.transpose()?.map(Fact::ResourceFieldRef),
    ];
    Ok(wire::DownwardApiFile {
        path: path.clone(),
        mode: mode(*own, &at.field("mode"))?,
        source: Some(only(at, "fieldRef and resourceFieldRef", set)?),
    })
}

fn projected(source: &ProjectedVolume, at: &At) -> Result<wire::ProjectedVolume, FieldError> {
    let ProjectedVolume { sources, default_mode } = source;
    let sources = sources.iter().enumerate().map(|(i, source)| projection(source, &at.item("sources", i)));
    Ok(wire::ProjectedVolume {
        sources: sources.collect::<Result<_, _>>()?,
        default_mode: mode(*default_mode, &at.field("defaultMode"))?,
    })
}

fn projection(source: &VolumeProjection, at: &At) -> Result<wire::ProjectedSource, FieldError> {
    let VolumeProjection { config_map, secret, downward_api } = source;
    let config_map = config_map.as_ref().map(|ConfigMapProjection { name, items, optional }| {
        config(name, items, *optional, &at.field("configMap"))
    });
    let secret = secret.as_ref().map(|SecretProjection { name, items, optional }| {
        config(name, items, *optional, &at.field("secret"))
    });
    let downward_api = downward_api
        .as_ref()
        .map(|DownwardApiProjection { items }| self::downward_api(items, None, &at.field("downwardAPI")));
    let set = [
        config_map.transpose()?.map(Projection::ConfigMap),
        secret.transpose()?.map(Projection::Secret),
        downward_api.transpose()?.map(Projection::DownwardApi),
    ];
    Ok(wire::ProjectedSource { source: Some(only(at, "configMap, secret and downwardAPI", set)?) })
}

fn local(source: &LocalVolume) -> wire::LocalVolume {
    let LocalVolume { reclaim_policy } = source;
    let reclaim_policy = match reclaim_policy {
        ReclaimPolicy::Retain => wire::ReclaimPolicy::Retain,
        ReclaimPolicy::Delete => wire::ReclaimPolicy::Delete,
    };
    wire::LocalVolume { reclaim_policy: reclaim_policy.into() }
}
