//! Environment variables and where their values come from.

use skerry_proto::wire;
use wire::env_from_source::Source as FromSource;
use wire::env_var_source::Source;

use super::{At, only};
use crate::FieldError;
use crate::template::{EnvFromSource, EnvVar, EnvVarSource, FieldRef, KeyRef, ObjectRef, ResourceFieldRef};

pub(super) fn variable(variable: &EnvVar, at: &At) -> Result<wire::EnvVar, FieldError> {
    let EnvVar { name, value, value_from } = variable;
    Ok(wire::EnvVar {
        name: name.clone(),
        value: value.clone().unwrap_or_default(),
        value_from: value_from
            .as_ref()
            .map(|source| value_source(source, &at.field("valueFrom")))
            .transpose()?,
    })
}

fn value_source(source: &EnvVarSource, at: &At) -> Result<wire::EnvVarSource, FieldError> {
    let EnvVarSource { field_ref, config_map_key_ref, secret_key_ref, resource_field_ref } = source;
    let resource = resource_field_ref.as_ref();
    let resource = resource.map(|field| resource_field(field, &at.field("resourceFieldRef"))).transpose()?;
    let set = [
        field_ref.as_ref().map(|field| Source::FieldRef(field_path(field))),
        resource.map(Source::ResourceFieldRef),
        config_map_key_ref.as_ref().map(|reference| Source::ConfigMapKeyRef(key(reference))),
        secret_key_ref.as_ref().map(|reference| Source::SecretKeyRef(key(reference))),
    ];
    let source = only(at, "fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef", set)?;
    Ok(wire::EnvVarSource { source: Some(source) })
}

pub(super) fn field_path(field: &FieldRef) -> String {
    let FieldRef { field_path, api_version: _ } = field;
    field_path.clone()
}

fn key(reference: &KeyRef) -> wire::KeySelector {
    let KeyRef { name, key, optional } = reference;
    wire::KeySelector { name: name.clone(), key: key.clone(), optional: optional.unwrap_or(false) }
}

pub(super) fn resource_field(
    field: &ResourceFieldRef,
    at: &At,
) -> Result<wire::ResourceFieldSelector, FieldError> {
    use wire::ContainerResource::{LimitsCpu, LimitsMemory, RequestsCpu, RequestsMemory, Unspecified};
    let ResourceFieldRef { resource, container_name, divisor } = field;
    let resource = match resource.as_str() {
        "limits.cpu" => LimitsCpu,
        "limits.memory" => LimitsMemory,
        "requests.cpu" => RequestsCpu,
        "requests.memory" => RequestsMemory,
        other => {
            let options = "limits.cpu, limits.memory, requests.cpu or requests.memory";
            return Err(at.field("resource").error(format_args!("{other:?} is not {options}")));
        }
    };
    let divisor = divisor.as_ref().map_or(Ok(0), |divisor| match resource {
        LimitsCpu | RequestsCpu => divisor.millis(),
        LimitsMemory | RequestsMemory | Unspecified => divisor.units(),
    });
    Ok(wire::ResourceFieldSelector {
        resource: resource.into(),
        container_name: container_name.clone().unwrap_or_default(),
        divisor: divisor.map_err(|why| at.field("divisor").error(why))?,
    })
}

pub(super) fn source(source: &EnvFromSource, at: &At) -> Result<wire::EnvFromSource, FieldError> {
    let EnvFromSource { prefix, config_map_ref, secret_ref } = source;
    let set = [
        config_map_ref.as_ref().map(|reference| FromSource::ConfigMapRef(object(reference))),
        secret_ref.as_ref().map(|reference| FromSource::SecretRef(object(reference))),
    ];
    Ok(wire::EnvFromSource {
        prefix: prefix.clone().unwrap_or_default(),
        source: Some(only(at, "configMapRef and secretRef", set)?),
    })
}

fn object(reference: &ObjectRef) -> wire::ObjectReference {
    let ObjectRef { name, optional } = reference;
    wire::ObjectReference { name: name.clone(), optional: optional.unwrap_or(false) }
}
