//! What the schema cannot say about a spec. The controller checks it before a node sees the app; what fails here shows as
//! the condition Stalled with the field's path.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::{Container, EdgeAppSpec, QuantityError};

/// One thing that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path from the object's root, such as `spec.template.spec.containers[0].ports[1].hostPort`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for FieldError {}

/// Checks a whole spec and returns everything that is wrong with it.
pub fn check_spec(spec: &EdgeAppSpec) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    let pod = &spec.template.spec;
    let base = "spec.template.spec";
    if pod.containers.is_empty() {
        errors.push(FieldError {
            path: format!("{base}.containers"),
            message: "at least one container is needed".into(),
        });
    }
    for (i, container) in pod.containers.iter().enumerate() {
        let path = format!("{base}.containers[{i}]");
        if let Err(error) = container.name.parse::<skerry_terms::ContainerName>() {
            errors.push(FieldError { path: format!("{path}.name"), message: error.to_string() });
        }
        if pod.containers[..i].iter().any(|other| other.name == container.name) {
            errors.push(FieldError {
                path: format!("{path}.name"),
                message: format!("the name {:?} is used by another container of this app", container.name),
            });
        }
        check_limits(container, &path, &mut errors);
    }
    check_ports(spec, base, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn check_limits(container: &Container, path: &str, errors: &mut Vec<FieldError>) {
    let Some(limits) = container.resources.as_ref().and_then(|resources| resources.limits.as_ref()) else {
        return;
    };
    let mut check = |field: &str, result: Option<Result<u64, QuantityError>>| {
        if let Some(Err(error)) = result {
            errors.push(FieldError {
                path: format!("{path}.resources.limits.{field}"),
                message: error.to_string(),
            });
        }
    };
    check("cpu", limits.cpu().map(|quantity| quantity.millis()));
    check("memory", limits.memory().map(|quantity| quantity.units()));
}

/// No two ports of an app may ask for the same port of the box.
fn check_ports(spec: &EdgeAppSpec, base: &str, errors: &mut Vec<FieldError>) {
    let pod = &spec.template.spec;
    let mut taken: BTreeMap<_, Vec<(Option<IpAddr>, String)>> = BTreeMap::new();
    for (i, container) in pod.containers.iter().enumerate() {
        for (j, port) in container.ports.iter().enumerate() {
            let path = format!("{base}.containers[{i}].ports[{j}]");
            let ip = match port.host_ip.as_deref().map(str::parse::<IpAddr>) {
                Some(Err(_)) => {
                    errors.push(FieldError {
                        path: format!("{path}.hostIP"),
                        message: "must be an IP address".into(),
                    });
                    continue;
                }
                // The unspecified address means every address.
                Some(Ok(ip)) if !ip.is_unspecified() => Some(ip),
                Some(Ok(_)) | None => None,
            };
            let host_port = port.host_port.or_else(|| pod.uses_host_network().then_some(port.container_port));
            let Some(number) = host_port else { continue };
            let holders = taken.entry((port.effective_protocol(), number)).or_default();
            if let Some((_, holder)) =
                holders.iter().find(|(other, _)| ip.is_none() || other.is_none() || *other == ip)
            {
                errors.push(FieldError {
                    path: format!("{path}.hostPort"),
                    message: format!("port {number} of the node is already asked for by {holder}"),
                });
            }
            holders.push((ip, path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(json: &str) -> Vec<String> {
        let spec: EdgeAppSpec = serde_json::from_str(json).expect("a spec");
        check_spec(&spec).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_spec_passes() {
        let json = r#"{"template": {"spec": {"containers": [
            {"name": "a", "image": "x", "ports": [{"containerPort": 80, "hostPort": 80}]},
            {"name": "b", "image": "x", "ports": [{"containerPort": 81, "hostPort": 80, "protocol": "UDP"}]}]}}}"#;
        assert_eq!(errors(json), [""; 0]);
    }

    #[test]
    fn errors_name_the_path_of_the_field() {
        let json = r#"{"template": {"spec": {"containers": [
            {"name": "a", "image": "x", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}]},
            {"name": "a", "image": "x", "resources": {"limits": {"cpu": "fast"}},
             "ports": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 80}, {"containerPort": 9, "hostIP": "x"}]}]}}}"#;
        let errors = errors(json);
        let base = "spec.template.spec.containers";
        assert_eq!(errors.len(), 4, "{errors:?}");
        assert!(errors[0].starts_with(&format!("{base}[1].name: ")), "{errors:?}");
        assert!(errors[1].starts_with(&format!("{base}[1].resources.limits.cpu: ")), "{errors:?}");
        assert!(
            errors[2].starts_with(&format!("{base}[1].ports[1].hostPort: port 80 of the node")),
            "{errors:?}"
        );
        assert!(errors[3].starts_with(&format!("{base}[1].ports[2].hostIP: ")), "{errors:?}");
    }

    #[test]
    fn under_host_network_a_container_port_is_a_port_of_the_node() {
        let json = r#"{"template": {"spec": {"hostNetwork": true, "containers": [
            {"name": "a", "image": "x", "ports": [{"containerPort": 80}]},
            {"name": "b", "image": "x", "ports": [{"containerPort": 80}]}]}}}"#;
        assert_eq!(errors(json).len(), 1);
    }
}
