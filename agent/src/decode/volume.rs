//! Volumes, with the contents of their files. Kubelet's rules for keys, paths and modes; what is not there and not optional is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use skerry_agent_core::{File, HostPathType, Reclaim, Volume};
use skerry_proto::{caps, wire};
use wire::downward_api_file::Source as Fact;
use wire::projected_source::Source as Projection;
use wire::volume::Source;

use super::config::Kind;
use super::text::{absolute_path, file_path, label, mode, shown};
use super::wrong::{Under, Wrong, chosen, each, known};
use super::{Facts, Ledger, field};

/// Kubernetes' default of `defaultMode`.
const DEFAULT_MODE: u32 = 0o644;

pub(super) fn read(
    facts: &Facts<'_>,
    ledger: &mut Ledger,
    volumes: Vec<wire::Volume>,
) -> Result<BTreeMap<String, Volume>, Wrong> {
    let mut by_name = BTreeMap::new();
    each("volumes", volumes, caps::VOLUMES_MAX, |volume| {
        let wire::Volume { name, source } = volume;
        let name = label(name).under("name")?;
        if by_name.contains_key(&name) {
            return Err(Wrong::new(format_args!("{name:?} is the name of two volumes")).under("name"));
        }
        by_name.insert(name, read_source(facts, ledger, chosen(source)?)?);
        Ok(())
    })?;
    Ok(by_name)
}

fn read_source(facts: &Facts<'_>, ledger: &mut Ledger, source: Source) -> Result<Volume, Wrong> {
    Ok(match source {
        Source::EmptyDir(source) => empty_dir(source).under("emptyDir")?,
        Source::HostPath(source) => host_path(source).under("hostPath")?,
        Source::ConfigMap(source) => {
            let mut files = Files::new(source.default_mode).under("configMap.defaultMode")?;
            files.config(facts, ledger, Kind::ConfigMap, source).under("configMap")?;
            files.finish().under("configMap")?
        }
        Source::Secret(source) => {
            let mut files = Files::new(source.default_mode).under("secret.defaultMode")?;
            files.config(facts, ledger, Kind::Secret, source).under("secret")?;
            files.finish().under("secret")?
        }
        Source::DownwardApi(source) => {
            let mut files = Files::new(source.default_mode).under("downwardAPI.defaultMode")?;
            files.downward_api(facts, ledger, source).under("downwardAPI")?;
            files.finish().under("downwardAPI")?
        }
        Source::Projected(source) => projected(facts, ledger, source).under("projected")?,
        Source::Local(wire::LocalVolume { reclaim_policy }) => Volume::Local {
            reclaim: match known(reclaim_policy).under("local.reclaimPolicy")? {
                wire::ReclaimPolicy::Unspecified => return Err(Wrong::missing().under("local.reclaimPolicy")),
                wire::ReclaimPolicy::Retain => Reclaim::Retain,
                wire::ReclaimPolicy::Delete => Reclaim::Delete,
            },
        },
    })
}

fn empty_dir(source: wire::EmptyDir) -> Result<Volume, Wrong> {
    let wire::EmptyDir { medium, size_limit_bytes } = source;
    match known(medium).under("medium")? {
        wire::StorageMedium::Memory => {
            Ok(Volume::Memory { size: Some(size_limit_bytes).filter(|size| *size > 0) })
        }
        wire::StorageMedium::Unspecified if size_limit_bytes == 0 => Ok(Volume::EmptyDir),
        wire::StorageMedium::Unspecified => {
            Err(Wrong::new("Docker cannot limit a folder on disk; it needs the medium Memory")
                .under("sizeLimit"))
        }
    }
}

fn host_path(source: wire::HostPath) -> Result<Volume, Wrong> {
    let wire::HostPath { path, r#type } = source;
    Ok(Volume::HostPath {
        path: absolute_path(path).under("path")?,
        kind: match known(r#type).under("type")? {
            wire::HostPathType::Unspecified => HostPathType::Unset,
            wire::HostPathType::DirectoryOrCreate => HostPathType::DirectoryOrCreate,
            wire::HostPathType::Directory => HostPathType::Directory,
            wire::HostPathType::FileOrCreate => HostPathType::FileOrCreate,
            wire::HostPathType::File => HostPathType::File,
            wire::HostPathType::Socket => HostPathType::Socket,
            wire::HostPathType::CharDevice => HostPathType::CharDevice,
            wire::HostPathType::BlockDevice => HostPathType::BlockDevice,
        },
    })
}

fn projected(facts: &Facts<'_>, ledger: &mut Ledger, source: wire::ProjectedVolume) -> Result<Volume, Wrong> {
    let wire::ProjectedVolume { sources, default_mode } = source;
    let mut files = Files::new(default_mode).under("defaultMode")?;
    each("sources", sources, caps::LIST_MAX, |wire::ProjectedSource { source }| match chosen(source)? {
        Projection::ConfigMap(source) => {
            files.config(facts, ledger, Kind::ConfigMap, source).under("configMap")
        }
        Projection::Secret(source) => files.config(facts, ledger, Kind::Secret, source).under("secret"),
        Projection::DownwardApi(source) => files.downward_api(facts, ledger, source).under("downwardAPI"),
    })?;
    files.finish()
}

/// The files of one volume, while they are gathered. A later source replaces what an earlier one has at the same path.
struct Files {
    default_mode: u32,
    secret: bool,
    by_path: BTreeMap<String, (u32, Arc<[u8]>)>,
}

impl Files {
    fn new(default_mode: Option<u32>) -> Result<Self, Wrong> {
        let default_mode = mode(default_mode.unwrap_or(DEFAULT_MODE))?;
        Ok(Self { default_mode, secret: false, by_path: BTreeMap::new() })
    }

    /// The keys of an object. Its own default mode is the volume's, which the caller has taken.
    fn config(
        &mut self,
        facts: &Facts<'_>,
        ledger: &mut Ledger,
        kind: Kind,
        source: wire::ConfigVolume,
    ) -> Result<(), Wrong> {
        let wire::ConfigVolume { name, items, optional, default_mode: _ } = source;
        self.secret |= kind == Kind::Secret;
        // Before it is known whether the object exists: what is wrong with the spec is wrong at once.
        let items =
            each("items", items, caps::VOLUME_FILES_MAX, |wire::KeyToPath { key, path, mode: own }| {
                let own = own.map(mode).transpose().under("mode")?;
                Ok((key, file_path(&path).under("path")?, own))
            })?;
        let Some(object) = facts.app.config.get(kind, &name) else {
            if !optional {
                ledger.miss(kind.not_found(&name));
            }
            return Ok(());
        };
        let contents = object.files();
        if items.is_empty() {
            for (key, content) in contents {
                self.put(ledger, file_path(key).under("keys")?, None, Arc::clone(content))?;
            }
            return Ok(());
        }
        for (key, path, mode) in items {
            match contents.get(key.as_str()) {
                Some(content) => self.put(ledger, path, mode, Arc::clone(content))?,
                None if optional => {}
                None => ledger.miss(non_existent_key(kind, facts.app.key.namespace(), &name, &key)),
            }
        }
        Ok(())
    }

    fn downward_api(
        &mut self,
        facts: &Facts<'_>,
        ledger: &mut Ledger,
        source: wire::DownwardApiVolume,
    ) -> Result<(), Wrong> {
        let wire::DownwardApiVolume { items, default_mode: _ } = source;
        each("items", items, caps::VOLUME_FILES_MAX, |file| {
            let wire::DownwardApiFile { path, mode: own, source } = file;
            let path = file_path(&path).under("path")?;
            let own = own.map(mode).transpose().under("mode")?;
            let content = match chosen(source)? {
                Fact::FieldRef(field) => field::file_content(facts, &field).under("fieldRef.fieldPath")?,
                Fact::ResourceFieldRef(selector) => {
                    field::resource(facts, selector, None).under("resourceFieldRef")?
                }
            };
            ledger.take_text(content.len())?;
            self.put(ledger, path, own, Arc::from(content.into_bytes()))
        })?;
        Ok(())
    }

    fn put(
        &mut self,
        ledger: &mut Ledger,
        path: String,
        mode: Option<u32>,
        content: Arc<[u8]>,
    ) -> Result<(), Wrong> {
        ledger.take_file()?;
        self.by_path.insert(path, (mode.unwrap_or(self.default_mode), content));
        Ok(())
    }

    fn finish(self) -> Result<Volume, Wrong> {
        let Self { default_mode: _, secret, by_path } = self;
        for path in by_path.keys() {
            let folder = format!("{path}/");
            let below = by_path.range(folder.clone()..).next().map(|(below, _)| below);
            if let Some(below) = below.filter(|below| below.starts_with(&folder)) {
                let (path, below) = (shown(path), shown(below));
                return Err(Wrong::new(format_args!("{path} cannot be a file and the folder of {below}")));
            }
        }
        let file = |(path, (mode, content))| File { path, mode, content };
        Ok(Volume::Files { secret, files: by_path.into_iter().map(file).collect() })
    }
}

/// Kubelet's words, and the object's name, which kubelet leaves to the volume's.
fn non_existent_key(kind: Kind, namespace: &str, name: &str, key: &str) -> String {
    match kind {
        Kind::ConfigMap => {
            format!("configmap references non-existent config key: {key} (ConfigMap {namespace}/{name})")
        }
        Kind::Secret => format!("references non-existent secret key: {key} (Secret {namespace}/{name})"),
    }
}
