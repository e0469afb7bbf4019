//! The downward API: fields of the app and resources of its containers, as texts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU64;

use skerry_agent_core::{EnvValue, Resources};
use skerry_proto::wire;

use super::Facts;
use super::text::shown;
use super::wrong::{Under, Wrong, known};

/// The value of an environment variable that refers to a field. Addresses are known only when the container is created.
pub(super) fn env_value(facts: &Facts<'_>, path: &str) -> Result<EnvValue, Wrong> {
    match path {
        "spec.nodeName" => Ok(EnvValue::Resolved(facts.app.node.as_str().to_owned())),
        "status.hostIP" | "status.hostIPs" => Ok(EnvValue::HostIp),
        "status.podIP" | "status.podIPs" => Ok(EnvValue::PodIp),
        _ => common(facts, path).map(EnvValue::Resolved),
    }
}

/// The content of a file that refers to a field.
pub(super) fn file_content(facts: &Facts<'_>, path: &str) -> Result<String, Wrong> {
    match path {
        "metadata.labels" => Ok(lines(&facts.labels)),
        "metadata.annotations" => Ok(lines(&facts.annotations)),
        _ => common(facts, path),
    }
}

/// What both may refer to.
fn common(facts: &Facts<'_>, path: &str) -> Result<String, Wrong> {
    let app = facts.app;
    let subscript = |field: &str| path.strip_prefix(field)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        return Ok(facts.labels.get(key).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Ok(facts.annotations.get(key).cloned().unwrap_or_default());
    }
    match path {
        "metadata.name" => Ok(app.key.name().to_owned()),
        "metadata.namespace" => Ok(app.key.namespace().to_owned()),
        "metadata.uid" => Ok(app.uid.to_owned()),
        _ => Err(Wrong::new(format_args!("{} is not a field that can be referred to here", shown(path)))),
    }
}

/// One line for each, as kubelet writes labels into files: `key="value"`, in the order of the keys, with no newline at the end.
fn lines(map: &BTreeMap<String, String>) -> String {
    let lines: Vec<_> = map.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    lines.join("\n")
}

/// As Go's `%q`.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if !c.is_control() => quoted.push(c),
            // Writing to a String does not fail.
            c if u32::from(c) < 0x80 => drop(write!(quoted, "\\x{:02x}", u32::from(c))),
            c => drop(write!(quoted, "\\u{:04x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

/// A resource of a container, in units of the divisor, rounded up. Where there is no limit, what the box has.
pub(super) fn resource(
    facts: &Facts<'_>,
    selector: wire::ResourceFieldSelector,
    own: Option<&str>,
) -> Result<String, Wrong> {
    use wire::ContainerResource as Resource;
    let wire::ResourceFieldSelector { resource, container_name, divisor } = selector;
    let name = if container_name.is_empty() { own } else { Some(container_name.as_str()) };
    let name = name.ok_or_else(|| Wrong::missing().under("containerName"))?;
    let of = facts.resources.get(name).ok_or_else(|| {
        Wrong::new(format_args!("the app has no container {}", shown(name))).under("containerName")
    })?;
    let Resources { cpu_limit_millis, memory_limit_bytes, cpu_request_millis, memory_request_bytes } = *of;
    const ONE_CORE: u64 = 1000;
    let capacity = facts.app.host.capacity;
    let (amount, unit) = match known(resource).under("resource")? {
        Resource::Unspecified => return Err(Wrong::missing().under("resource")),
        Resource::LimitsCpu => (cpu_limit_millis.map_or(capacity.cpu_millis, NonZeroU64::get), ONE_CORE),
        Resource::LimitsMemory => (memory_limit_bytes.map_or(capacity.memory_bytes, NonZeroU64::get), 1),
        Resource::RequestsCpu => (cpu_request_millis.map_or(0, NonZeroU64::get), ONE_CORE),
        Resource::RequestsMemory => (memory_request_bytes.map_or(0, NonZeroU64::get), 1),
    };
    let divisor = if divisor == 0 { unit } else { divisor };
    Ok(amount.div_ceil(divisor).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_lines_as_go_quotes_them() {
        let map = [("b", "two\nlines"), ("a", "say \"hi\" \\ \u{1} \u{85} ä")];
        let map = map.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(lines(&map), "a=\"say \\\"hi\\\" \\\\ \\x01 \\u0085 ä\"\nb=\"two\\nlines\"");
        assert_eq!(lines(&BTreeMap::new()), "");
    }
}
