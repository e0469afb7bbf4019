//! Environment variables: what they refer to is looked up here, except for addresses. `$(VAR)` is the planner's, which knows the
//! addresses.

use std::collections::BTreeMap;

use skerry_agent_core::{EnvValue, EnvVar, Sensitive};
use skerry_proto::{caps, wire};
use wire::env_from_source::Source as FromSource;
use wire::env_var_source::Source;

use super::config::Kind;
use super::text::shown;
use super::wrong::{Under, Wrong, chosen, each};
use super::{Facts, Ledger, field};

/// What a variable takes besides its text.
const OVERHEAD: usize = 32;

/// The variables in the order in which they are set: those of whole objects come first, so that `env` replaces them.
pub(super) fn read(
    facts: &Facts<'_>,
    ledger: &mut Ledger,
    container: &str,
    env_from: Vec<wire::EnvFromSource>,
    env: Vec<wire::EnvVar>,
) -> Result<Vec<EnvVar>, Wrong> {
    let mut variables = Vec::new();
    let sources = each("envFrom", env_from, caps::LIST_MAX, |source| from_object(facts, ledger, source))?;
    variables.extend(sources.into_iter().flatten());
    let own = each("env", env, caps::LIST_MAX, |variable| read_variable(facts, ledger, container, variable))?;
    variables.extend(own.into_iter().flatten());
    Ok(variables)
}

/// Every key of an object.
fn from_object(
    facts: &Facts<'_>,
    ledger: &mut Ledger,
    source: wire::EnvFromSource,
) -> Result<Vec<EnvVar>, Wrong> {
    let wire::EnvFromSource { prefix, source } = source;
    let (kind, reference) = match chosen(source)? {
        FromSource::ConfigMapRef(reference) => (Kind::ConfigMap, reference),
        FromSource::SecretRef(reference) => (Kind::Secret, reference),
    };
    let wire::ObjectReference { name, optional } = reference;
    let Some(object) = facts.app.config.get(kind, &name) else {
        if !optional {
            ledger.miss(kind.not_found(&name));
        }
        return Ok(Vec::new());
    };
    let mut variables = Vec::new();
    for (key, content) in &object.data {
        let variable = format!("{prefix}{key}");
        ledger.take_text(variable.len() + content.len() + OVERHEAD)?;
        // As kubelet: what cannot be a name is left out, and the others are not.
        if !is_name(&variable) {
            continue;
        }
        if let Some(value) = value(facts, ledger, kind, &name, key, content) {
            variables.push(EnvVar { name: variable, value });
        }
    }
    Ok(variables)
}

/// None for what is optional and not there.
fn read_variable(
    facts: &Facts<'_>,
    ledger: &mut Ledger,
    container: &str,
    variable: wire::EnvVar,
) -> Result<Option<EnvVar>, Wrong> {
    let wire::EnvVar { name, value: literal, value_from } = variable;
    if !is_name(&name) {
        let why = "must be printable ASCII characters other than '='";
        return Err(Wrong::new(format_args!("{} {why}", shown(&name))).under("name"));
    }
    let value = match value_from {
        None => Some(EnvValue::Literal(literal)),
        Some(wire::EnvVarSource { source }) => {
            from_source(facts, ledger, container, source).under("valueFrom")?
        }
    };
    let Some(value) = value else { return Ok(None) };
    let length = match &value {
        EnvValue::Literal(text) | EnvValue::Resolved(text) | EnvValue::Secret(Sensitive(text)) => text.len(),
        EnvValue::HostIp | EnvValue::PodIp => 0,
    };
    ledger.take_text(name.len() + length + OVERHEAD)?;
    Ok(Some(EnvVar { name, value }))
}

fn from_source(
    facts: &Facts<'_>,
    ledger: &mut Ledger,
    container: &str,
    source: Option<Source>,
) -> Result<Option<EnvValue>, Wrong> {
    let (kind, selector) = match chosen(source)? {
        Source::FieldRef(path) => {
            return field::env_value(facts, &path).under("fieldRef.fieldPath").map(Some);
        }
        Source::ResourceFieldRef(selector) => {
            let amount = field::resource(facts, selector, Some(container)).under("resourceFieldRef")?;
            return Ok(Some(EnvValue::Resolved(amount)));
        }
        Source::ConfigMapKeyRef(selector) => (Kind::ConfigMap, selector),
        Source::SecretKeyRef(selector) => (Kind::Secret, selector),
    };
    let wire::KeySelector { name, key, optional } = selector;
    let Some(object) = facts.app.config.get(kind, &name) else {
        if !optional {
            ledger.miss(kind.not_found(&name));
        }
        return Ok(None);
    };
    let Some(content) = object.data.get(&key) else {
        if !optional {
            let namespace = facts.app.key.namespace();
            ledger.miss(format!("couldn't find key {key} in {kind} {namespace}/{name}"));
        }
        return Ok(None);
    };
    Ok(value(facts, ledger, kind, &name, &key, content))
}

/// The value that a key gives. None for one that no process can have; the app waits until it is mended.
fn value(
    facts: &Facts<'_>,
    ledger: &mut Ledger,
    kind: Kind,
    name: &str,
    key: &str,
    content: &[u8],
) -> Option<EnvValue> {
    let text = std::str::from_utf8(content).ok().filter(|text| !text.contains('\0'));
    let Some(text) = text else {
        let namespace = facts.app.key.namespace();
        ledger.miss(format!("key {key} in {kind} {namespace}/{name} is no text, so no environment variable"));
        return None;
    };
    Some(match kind {
        Kind::ConfigMap => EnvValue::Resolved(text.to_owned()),
        Kind::Secret => EnvValue::Secret(Sensitive(text.to_owned())),
    })
}

/// Kubernetes' rule since 1.30.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
}

/// What every container's `resourceFieldRef` may ask for.
pub(super) fn resources_of<'a>(
    containers: impl Iterator<Item = &'a wire::Container>,
) -> BTreeMap<String, skerry_agent_core::Resources> {
    containers.map(|container| (container.name.clone(), super::container::resources(container))).collect()
}
