//! Volumes: where the files come from that containers mount.

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{FieldRef, ResourceFieldRef, word_enum};
use crate::{Quantity, names};

/// Mode of projected files. Kubernetes' default.
const DEFAULT_MODE: i32 = 0o644;

/// A volume: a name and exactly one source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.emptyDir), has(self.hostPath), has(self.configMap), has(self.secret), has(self.downwardAPI), has(self.projected), has(self.local)].exists_one(given, given)",
        "message": "must specify exactly one volume type: emptyDir, hostPath, configMap, secret, downwardAPI, projected, local"
    }
]))]
pub struct Volume {
    /// Name of the volume: a DNS label, unique within the app.
    #[schemars(length(min = 1, max = 63), regex(pattern = names::LABEL))]
    pub name: String,
    /// An empty folder that the containers of the app share; it lives as long as the app is on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
    /// A file, folder, socket or device of the box. Needs the box's owner to allow it: policy.host-paths in agent.toml.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPath>,
    /// The keys of a ConfigMap as files. They follow its changes without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolume>,
    /// The keys of a Secret as files, on a file system in memory. They follow its changes without a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// Facts about the app as files.
    #[serde(rename = "downwardAPI", default, skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardApiVolume>,
    /// Several ConfigMaps, Secrets and facts in one folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projected: Option<ProjectedVolume>,
    /// A folder of the app on the box that outlives updates. Not in Kubernetes' PodSpec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalVolume>,
}

/// An empty folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.sizeLimit) || has(self.medium) && self.medium == 'Memory'",
        "message": "needs medium Memory: Docker cannot limit a folder on the box's disk",
        "fieldPath": ".sizeLimit"
    }
]))]
pub struct EmptyDir {
    /// "" for the box's disk, Memory for memory. Default: "".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<StorageMedium>,
    /// The most that it may hold. With medium Memory only: Docker cannot limit a folder on disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_limit: Option<Quantity>,
}

word_enum! {
    /// What an emptyDir is made of.
    StorageMedium { Disk = "", Memory }
}

/// A path of the box.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostPath {
    /// Absolute path on the box, without "..".
    #[schemars(length(min = 1, max = 1024))]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "rule": "self.startsWith('/')",
            "message": "must be an absolute path: it begins with '/'"
        },
        {
            "rule": "!('/' + self + '/').contains('/../')",
            "message": "must not contain '..'"
        }
    ]))]
    pub path: String,
    /// What must be there: "" (anything), DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice or BlockDevice.
    /// Default: "".
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<HostPathType>,
}

word_enum! {
    /// What must be at a path of the box.
    HostPathType {
        Unset = "", DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice, BlockDevice,
    }
}

/// A ConfigMap as files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapVolume {
    /// Name of a ConfigMap in the app's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
    /// Only these keys, under these paths. Default: every key, under its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<KeyToPath>,
    /// Mode of the files, 0 to 0777. Default: 0644.
    #[serde(default, deserialize_with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: Option<i32>,
    /// Missing keys or a missing object are left out. Default: false, the app waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A Secret as files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVolume {
    /// Name of a Secret in the app's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub secret_name: String,
    /// Only these keys, under these paths. Default: every key, under its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<KeyToPath>,
    /// Mode of the files, 0 to 0777. Default: 0644.
    #[serde(default, deserialize_with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: Option<i32>,
    /// Missing keys or a missing object are left out. Default: false, the app waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// A key and the path of its file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyToPath {
    /// Key of the ConfigMap or Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::CONFIG_KEY))]
    pub key: String,
    /// Path of its file inside the volume: relative, without "..".
    #[schemars(length(min = 1, max = 1024), regex(pattern = names::FILE))]
    pub path: String,
    /// Mode of the file, 0 to 0777. Default: the volume's defaultMode.
    #[serde(default, deserialize_with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub mode: Option<i32>,
}

/// Facts about the app as files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownwardApiVolume {
    /// The files, each with one fact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<DownwardApiFile>,
    /// Mode of the files, 0 to 0777. Default: 0644.
    #[serde(default, deserialize_with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: Option<i32>,
}

/// A fact about the app as a file: exactly one of fieldRef and resourceFieldRef.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.fieldRef), has(self.resourceFieldRef)].exists_one(given, given)",
        "message": "must specify exactly one source: fieldRef, resourceFieldRef"
    }
]))]
pub struct DownwardApiFile {
    /// Path of the file inside the volume: relative, without "..".
    #[schemars(length(min = 1, max = 1024), regex(pattern = names::FILE))]
    pub path: String,
    /// A field of the app: metadata.name, metadata.namespace, metadata.uid, metadata.labels, metadata.annotations,
    /// metadata.labels['x'] or metadata.annotations['x'].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
    /// A resource of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_field_ref: Option<ResourceFieldRef>,
    /// Mode of the file, 0 to 0777. Default: the volume's defaultMode.
    #[serde(default, deserialize_with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub mode: Option<i32>,
}

/// Several sources in one folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProjectedVolume {
    /// The sources; all of them share the folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub sources: Vec<VolumeProjection>,
    /// Mode of the files, 0 to 0777. Default: 0644.
    #[serde(default, deserialize_with = "mode", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 511))]
    pub default_mode: Option<i32>,
}

/// One source of a projected volume: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.configMap), has(self.secret), has(self.downwardAPI)].exists_one(given, given)",
        "message": "must specify exactly one projection type: configMap, secret, downwardAPI"
    }
]))]
pub struct VolumeProjection {
    /// The keys of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapProjection>,
    /// The keys of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretProjection>,
    /// Facts about the app.
    #[serde(rename = "downwardAPI", default, skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<DownwardApiProjection>,
}

/// The keys of a ConfigMap in a projected volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapProjection {
    /// Name of a ConfigMap in the app's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
    /// Only these keys, under these paths. Default: every key, under its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<KeyToPath>,
    /// Missing keys or a missing object are left out. Default: false, the app waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// The keys of a Secret in a projected volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretProjection {
    /// Name of a Secret in the app's namespace.
    #[schemars(length(min = 1, max = 253), regex(pattern = names::SUBDOMAIN))]
    pub name: String,
    /// Only these keys, under these paths. Default: every key, under its own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<KeyToPath>,
    /// Missing keys or a missing object are left out. Default: false, the app waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

/// Facts about the app in a projected volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DownwardApiProjection {
    /// The files, each with one fact.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub items: Vec<DownwardApiFile>,
}

/// A folder of the app on the box that outlives updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalVolume {
    /// What becomes of the folder when the app leaves the box: Retain keeps it, Delete removes it.
    pub reclaim_policy: ReclaimPolicy,
}

word_enum! {
    /// What becomes of a local volume when the app leaves the box.
    ReclaimPolicy { Retain, Delete }
}

/// The one source of a volume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VolumeSource<'a> {
    EmptyDir(&'a EmptyDir),
    HostPath(&'a HostPath),
    ConfigMap(&'a ConfigMapVolume),
    Secret(&'a SecretVolume),
    DownwardApi(&'a DownwardApiVolume),
    Projected(&'a ProjectedVolume),
    Local(&'a LocalVolume),
}

impl Volume {
    /// Every source that is set. A volume that passed [`check_spec`](crate::check_spec) has exactly one.
    pub fn sources(&self) -> Vec<VolumeSource<'_>> {
        let Self { name: _, empty_dir, host_path, config_map, secret, downward_api, projected, local } = self;
        let sources = [
            empty_dir.as_ref().map(VolumeSource::EmptyDir),
            host_path.as_ref().map(VolumeSource::HostPath),
            config_map.as_ref().map(VolumeSource::ConfigMap),
            secret.as_ref().map(VolumeSource::Secret),
            downward_api.as_ref().map(VolumeSource::DownwardApi),
            projected.as_ref().map(VolumeSource::Projected),
            local.as_ref().map(VolumeSource::Local),
        ];
        sources.into_iter().flatten().collect()
    }
}

impl EmptyDir {
    pub fn is_memory(&self) -> bool {
        self.medium == Some(StorageMedium::Memory)
    }
}

impl HostPath {
    pub fn effective_type(&self) -> HostPathType {
        self.kind.unwrap_or(HostPathType::Unset)
    }
}

/// A mode as people write it. `0440` is a number to kubectl and a text to a reader of YAML 1.2: the agent reads manifests by itself.
fn mode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a mode, such as 0440")]
    enum Written {
        Number(i32),
        Octal(String),
    }
    Ok(match Option::<Written>::deserialize(deserializer)? {
        None => None,
        Some(Written::Number(number)) => Some(number),
        Some(Written::Octal(text)) => {
            let digits = text.strip_prefix('0').map(|digits| digits.strip_prefix('o').unwrap_or(digits));
            let number = digits.and_then(|digits| i32::from_str_radix(digits, 8).ok());
            Some(
                number
                    .ok_or_else(|| D::Error::custom(format_args!("{text:?} is not a mode, such as 0440")))?,
            )
        }
    })
}

/// The mode of files whose volume names none.
pub(crate) fn effective_mode(default_mode: Option<i32>) -> u32 {
    u32::try_from(default_mode.unwrap_or(DEFAULT_MODE)).unwrap_or_default()
}

macro_rules! default_mode {
    ($($volume:ident),*) => {
        $(impl $volume {
            /// Kubernetes' default is 0644.
            pub fn effective_default_mode(&self) -> u32 {
                effective_mode(self.default_mode)
            }
        })*
    };
}
default_mode!(ConfigMapVolume, SecretVolume, DownwardApiVolume, ProjectedVolume);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_as_kubectl_reads_it() {
        let mode = |text: &str| {
            let json = format!(r#"{{"key": "k", "path": "p", "mode": {text}}}"#);
            serde_json::from_str::<KeyToPath>(&json).map(|item| item.mode).ok()
        };
        assert_eq!(mode("288"), Some(Some(0o440)));
        assert_eq!(mode("\"0440\""), Some(Some(0o440)));
        assert_eq!(mode("\"0o440\""), Some(Some(0o440)));
        assert_eq!(mode("null"), Some(None));
        for text in ["\"440\"", "\"0999\"", "\"\"", "\"rw\"", "true"] {
            assert_eq!(mode(text), None, "{text}");
        }
    }
}
