//! Variables and where their values come from.

use std::collections::BTreeSet;

use super::report::{Path, Report};
use super::{pod, text};
use crate::template::{
    CPU, EnvFromSource, EnvVarSource, FieldRef, KeyRef, MEMORY, ObjectRef, ResourceFieldRef,
};
use crate::{Container, EnvVar, PodSpec, bounds};

/// Longest name of a variable.
const NAME: usize = 256;
/// Divisors of memory; cpu has `1` and `1m`.
const MEMORY_DIVISORS: [&str; 13] =
    ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
/// A divisor that counts as 1, as Kubernetes fills it in.
const NO_DIVISOR: &str = "0";

/// Where a fact about the app is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Env,
    File,
}

pub(super) fn check(
    variables: &[EnvVar],
    sources: &[EnvFromSource],
    container: &Container,
    app: &PodSpec,
    path: &Path,
    report: &mut Report,
) {
    let env_path = path.field("env");
    if report.fits(variables.len(), bounds::ENV, &env_path) {
        let mut names = BTreeSet::new();
        for (i, variable) in variables.iter().enumerate() {
            let path = env_path.index(i);
            report.unique(&mut names, &variable.name, &path.field("name"));
            check_variable(variable, container, app, &path, report);
        }
    }
    let from_path = path.field("envFrom");
    if report.fits(sources.len(), bounds::SHORT_LIST, &from_path) {
        for (i, EnvFromSource { prefix, config_map_ref, secret_ref }) in sources.iter().enumerate() {
            let path = from_path.index(i);
            let prefix = prefix.as_deref().unwrap_or_default();
            let good = prefix.len() <= NAME && text::is_env_name(prefix);
            report.require(
                good,
                &path.field("prefix"),
                "must be at most 256 printable ASCII characters other than '='",
            );
            let given = [("configMapRef", config_map_ref.is_some()), ("secretRef", secret_ref.is_some())];
            report.exactly_one("source", &given, &path);
            for (field, object) in [("configMapRef", config_map_ref), ("secretRef", secret_ref)] {
                if let Some(ObjectRef { name, optional: _ }) = object {
                    text::subdomain(name, &path.field(field).field("name"), report);
                }
            }
        }
    }
}

fn check_variable(variable: &EnvVar, container: &Container, app: &PodSpec, path: &Path, report: &mut Report) {
    let EnvVar { name, value, value_from } = variable;
    let good = (1..=NAME).contains(&name.len()) && text::is_env_name(name);
    report.require(good, &path.field("name"), "must be 1 to 256 printable ASCII characters other than '='");
    let text = value.as_deref().unwrap_or_default();
    let value_path = path.field("value");
    report.short(text, bounds::ENV_VALUE, &value_path);
    report.require(!text.contains('\0'), &value_path, "must not contain a NUL byte");
    let Some(source) = value_from else { return };
    let path = path.field("valueFrom");
    report.require(text.is_empty(), &path, "may not be specified when `value` is not empty");
    let EnvVarSource { field_ref, config_map_key_ref, secret_key_ref, resource_field_ref } = source;
    let given = [
        ("fieldRef", field_ref.is_some()),
        ("configMapKeyRef", config_map_key_ref.is_some()),
        ("secretKeyRef", secret_key_ref.is_some()),
        ("resourceFieldRef", resource_field_ref.is_some()),
    ];
    report.exactly_one("source", &given, &path);
    if let Some(field) = field_ref {
        check_field(field, Place::Env, &path.field("fieldRef"), report);
    }
    for (field, key_ref) in [("configMapKeyRef", config_map_key_ref), ("secretKeyRef", secret_key_ref)] {
        if let Some(KeyRef { name, key, optional: _ }) = key_ref {
            let path = path.field(field);
            text::subdomain(name, &path.field("name"), report);
            text::config_key(key, &path.field("key"), report);
        }
    }
    if let Some(resource) = resource_field_ref {
        check_resource(resource, Some(container), app, &path.field("resourceFieldRef"), report);
    }
}

/// A field of the app. Which ones there are depends on the place, as in Kubernetes.
pub(super) fn check_field(field: &FieldRef, place: Place, path: &Path, report: &mut Report) {
    let FieldRef { field_path, api_version: _ } = field;
    let path = path.field("fieldPath");
    let entry = |map: &str| {
        let rest = field_path.strip_prefix(map)?;
        rest.strip_prefix("['")?.strip_suffix("']")
    };
    if let Some(key) = entry("metadata.labels").or_else(|| entry("metadata.annotations")) {
        text::qualified_name(key, &path, report);
        return;
    }
    let common = ["metadata.name", "metadata.namespace", "metadata.uid"];
    let only: &[&str] = match place {
        Place::Env => &["spec.nodeName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"],
        Place::File => &["metadata.labels", "metadata.annotations"],
    };
    let known = || common.iter().chain(only);
    if !known().any(|known| known == field_path) {
        let known = known().copied().collect::<Vec<_>>().join(", ");
        report.add(
            &path,
            format!("is not supported; it must be one of {known}, metadata.labels['KEY'], metadata.annotations['KEY']"),
        );
    }
}

/// A resource of a container: of `own` when it names none.
pub(super) fn check_resource(
    resource: &ResourceFieldRef,
    own: Option<&Container>,
    app: &PodSpec,
    path: &Path,
    report: &mut Report,
) {
    let ResourceFieldRef { resource, container_name, divisor } = resource;
    let kind = resource.strip_prefix("limits.").or_else(|| resource.strip_prefix("requests."));
    let divisors: Option<&[&str]> = match kind {
        Some(CPU) => Some(&["1", "1m"]),
        Some(MEMORY) => Some(&MEMORY_DIVISORS),
        Some(_) | None => None,
    };
    match divisors {
        None => report.add(
            &path.field("resource"),
            "is not supported; it must be limits.cpu, limits.memory, requests.cpu or requests.memory",
        ),
        Some(allowed) => {
            let divisor = divisor.as_ref().map_or("1", |divisor| divisor.0.as_str());
            report.require(
                divisor == NO_DIVISOR || allowed.contains(&divisor),
                &path.field("divisor"),
                format!("is not supported; for {resource} it must be one of {}", allowed.join(", ")),
            );
        }
    }
    match (container_name, own) {
        (Some(name), _) => report.require(
            pod::container_names(app).contains(name.as_str()),
            &path.field("containerName"),
            "no container of the template has this name",
        ),
        (None, Some(_)) => {}
        (None, None) => {
            report.add(&path.field("containerName"), "must be given: a volume belongs to no container")
        }
    }
}
