//! Volumes and what is put into them.

use std::collections::BTreeSet;

use super::env::{self, Place};
use super::report::{Path, Report};
use super::text;
use crate::template::{
    ConfigMapProjection, ConfigMapVolume, DownwardApiFile, DownwardApiProjection, DownwardApiVolume,
    EmptyDir, HostPath, KeyToPath, LocalVolume, ProjectedVolume, SecretProjection, SecretVolume,
    VolumeProjection, VolumeSource,
};
use crate::{PodSpec, Volume, bounds};

pub(super) fn check_all(volumes: &[Volume], pod: &PodSpec, path: &Path, report: &mut Report) {
    if !report.fits(volumes.len(), bounds::VOLUMES, path) {
        return;
    }
    let mut names = BTreeSet::new();
    for (i, volume) in volumes.iter().enumerate() {
        let path = path.index(i);
        text::label(&volume.name, &path.field("name"), report);
        report.require(
            names.insert(volume.name.as_str()),
            &path.field("name"),
            format!("the name {:?} is used by another volume of this app", volume.name),
        );
        let Volume { name: _, empty_dir, host_path, config_map, secret, downward_api, projected, local } =
            volume;
        let given = [
            ("emptyDir", empty_dir.is_some()),
            ("hostPath", host_path.is_some()),
            ("configMap", config_map.is_some()),
            ("secret", secret.is_some()),
            ("downwardAPI", downward_api.is_some()),
            ("projected", projected.is_some()),
            ("local", local.is_some()),
        ];
        report.exactly_one("volume type", &given, &path);
        for source in volume.sources() {
            check_source(source, pod, &path, report);
        }
    }
}

fn check_source(source: VolumeSource<'_>, pod: &PodSpec, path: &Path, report: &mut Report) {
    let mut files = Files::default();
    match source {
        VolumeSource::EmptyDir(source) => check_empty_dir(source, &path.field("emptyDir"), report),
        VolumeSource::HostPath(HostPath { path: on_box, kind: _ }) => {
            text::absolute_path(on_box, &path.field("hostPath").field("path"), report);
        }
        VolumeSource::ConfigMap(ConfigMapVolume { name, items, default_mode, optional: _ }) => {
            let path = path.field("configMap");
            text::subdomain(name, &path.field("name"), report);
            check_mode(*default_mode, &path.field("defaultMode"), report);
            check_items(items, &mut files, &path.field("items"), report);
        }
        VolumeSource::Secret(SecretVolume { secret_name, items, default_mode, optional: _ }) => {
            let path = path.field("secret");
            text::subdomain(secret_name, &path.field("secretName"), report);
            check_mode(*default_mode, &path.field("defaultMode"), report);
            check_items(items, &mut files, &path.field("items"), report);
        }
        VolumeSource::DownwardApi(DownwardApiVolume { items, default_mode }) => {
            let path = path.field("downwardAPI");
            check_mode(*default_mode, &path.field("defaultMode"), report);
            check_facts(items, &mut files, pod, &path.field("items"), report);
        }
        VolumeSource::Projected(source) => check_projected(source, pod, &path.field("projected"), report),
        // Both policies are good; one of them must be chosen, which the type sees to.
        VolumeSource::Local(LocalVolume { reclaim_policy: _ }) => {}
    }
}

fn check_empty_dir(source: &EmptyDir, path: &Path, report: &mut Report) {
    let EmptyDir { medium: _, size_limit } = source;
    let Some(limit) = size_limit else { return };
    let path = path.field("sizeLimit");
    match limit.units() {
        Err(error) => report.add(&path, error.to_string()),
        Ok(0) => report.add(&path, "must be greater than zero"),
        Ok(_) => {}
    }
    report.require(
        source.is_memory(),
        &path,
        "needs `medium: Memory`: Docker cannot limit a folder on the box's disk; remove sizeLimit or set the medium",
    );
}

fn check_projected(source: &ProjectedVolume, pod: &PodSpec, path: &Path, report: &mut Report) {
    let ProjectedVolume { sources, default_mode } = source;
    check_mode(*default_mode, &path.field("defaultMode"), report);
    let path = path.field("sources");
    if !report.fits(sources.len(), bounds::SHORT_LIST, &path) {
        return;
    }
    let mut files = Files::default();
    for (i, VolumeProjection { config_map, secret, downward_api }) in sources.iter().enumerate() {
        let path = path.index(i);
        let given = [
            ("configMap", config_map.is_some()),
            ("secret", secret.is_some()),
            ("downwardAPI", downward_api.is_some()),
        ];
        report.exactly_one("projection type", &given, &path);
        if let Some(ConfigMapProjection { name, items, optional: _ }) = config_map {
            let path = path.field("configMap");
            text::subdomain(name, &path.field("name"), report);
            check_items(items, &mut files, &path.field("items"), report);
        }
        if let Some(SecretProjection { name, items, optional: _ }) = secret {
            let path = path.field("secret");
            text::subdomain(name, &path.field("name"), report);
            check_items(items, &mut files, &path.field("items"), report);
        }
        if let Some(DownwardApiProjection { items }) = downward_api {
            check_facts(items, &mut files, pod, &path.field("downwardAPI").field("items"), report);
        }
    }
}

fn check_items(items: &[KeyToPath], files: &mut Files, path: &Path, report: &mut Report) {
    if !report.fits(items.len(), bounds::LIST, path) {
        return;
    }
    for (i, KeyToPath { key, path: file, mode }) in items.iter().enumerate() {
        let path = path.index(i);
        text::config_key(key, &path.field("key"), report);
        check_mode(*mode, &path.field("mode"), report);
        files.put(file, &path.field("path"), report);
    }
}

fn check_facts(
    items: &[DownwardApiFile],
    files: &mut Files,
    pod: &PodSpec,
    path: &Path,
    report: &mut Report,
) {
    if !report.fits(items.len(), bounds::LIST, path) {
        return;
    }
    for (i, DownwardApiFile { path: file, field_ref, resource_field_ref, mode }) in items.iter().enumerate() {
        let path = path.index(i);
        files.put(file, &path.field("path"), report);
        check_mode(*mode, &path.field("mode"), report);
        let given = [("fieldRef", field_ref.is_some()), ("resourceFieldRef", resource_field_ref.is_some())];
        report.exactly_one("source", &given, &path);
        if let Some(field) = field_ref {
            env::check_field(field, Place::File, &path.field("fieldRef"), report);
        }
        if let Some(resource) = resource_field_ref {
            env::check_resource(resource, None, pod, &path.field("resourceFieldRef"), report);
        }
    }
}

fn check_mode(mode: Option<i32>, path: &Path, report: &mut Report) {
    if mode.is_some_and(|mode| !(0..=bounds::MODE).contains(&mode)) {
        report.add(path, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// The files of one volume: no two of them may have one path, and none may lie inside another.
#[derive(Debug, Default)]
struct Files(BTreeSet<String>);

impl Files {
    fn put(&mut self, file: &str, path: &Path, report: &mut Report) {
        text::file_path(file, path, report);
        let clean: Vec<_> = file.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        let clean = clean.join("/");
        let folder = format!("{clean}/");
        let within = |other: &String| other.starts_with(&folder) || clean.starts_with(&format!("{other}/"));
        if self.0.contains(&clean) {
            report.add(
                path,
                format!("conflicting duplicate path {clean:?}: another file of this volume has it"),
            );
        } else if let Some(other) = self.0.iter().find(|other| within(other)) {
            report.add(path, format!("one of {clean:?} and {other:?} would have to be a file and a folder"));
        }
        self.0.insert(clean);
    }
}
