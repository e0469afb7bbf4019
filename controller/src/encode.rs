//! From an EdgeApp's spec to the bytes that travel: the one place where the CRD's form becomes the wire's. Every struct is taken
//! apart without `..`, so that a new field cannot be forgotten here.

use prost::Message as _;
use skerry_api::{
    Container, ContainerPort, EdgeAppSpec, EnvVar, ImagePullPolicy, PodTemplate, QuantityError,
    RestartPolicy, TemplateMeta, TransportProtocol,
};
use skerry_proto::{caps, wire};
use skerry_terms::Payload;

/// Why a spec that passed its checks cannot travel.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("a resource limit cannot be read")]
    Quantity(#[from] QuantityError),
    #[error("the app has {size} bytes in its encoded form, at most {max} are possible")]
    TooLarge { size: usize, max: usize },
}

/// The payload of an app. The same spec always gives the same bytes: digests rely on it.
pub fn payload(uid: &str, revision: &str, spec: &EdgeAppSpec) -> Result<Payload, EncodeError> {
    let EdgeAppSpec { template: pod, .. } = spec;
    let app = wire::App {
        uid: uid.to_owned(),
        revision: revision.to_owned(),
        template: Some(template(pod)?),
        ..Default::default()
    };
    let size = app.encoded_len();
    if size > caps::PAYLOAD_MAX {
        return Err(EncodeError::TooLarge { size, max: caps::PAYLOAD_MAX });
    }
    Ok(Payload::from(app.encode_to_vec()))
}

fn template(template: &PodTemplate) -> Result<wire::PodTemplate, EncodeError> {
    let PodTemplate { metadata, spec } = template;
    let TemplateMeta { labels, annotations } = metadata.clone().unwrap_or_default();
    let restart_policy = match spec.effective_restart_policy() {
        RestartPolicy::Always => wire::RestartPolicy::Always,
        RestartPolicy::OnFailure => wire::RestartPolicy::OnFailure,
        RestartPolicy::Never => wire::RestartPolicy::Never,
    };
    Ok(wire::PodTemplate {
        labels,
        annotations,
        restart_policy: restart_policy.into(),
        termination_grace_period_seconds: spec.effective_grace_period_seconds(),
        host_network: spec.uses_host_network(),
        containers: spec.containers.iter().map(self::container).collect::<Result<_, _>>()?,
        ..Default::default()
    })
}

fn container(container: &Container) -> Result<wire::Container, EncodeError> {
    let Container { name, image, command, args, env, ports, resources, .. } = container;
    let pull_policy = match container.effective_pull_policy() {
        ImagePullPolicy::Always => wire::PullPolicy::Always,
        ImagePullPolicy::IfNotPresent => wire::PullPolicy::IfNotPresent,
        ImagePullPolicy::Never => wire::PullPolicy::Never,
    };
    let limits = resources.as_ref().and_then(|resources| resources.limits.as_ref());
    let variable = |EnvVar { name, value, .. }: &EnvVar| wire::EnvVar {
        name: name.clone(),
        value: value.clone().unwrap_or_default(),
        value_from: None,
    };
    Ok(wire::Container {
        name: name.clone(),
        image: image.clone(),
        image_pull_policy: pull_policy.into(),
        command: command.clone(),
        args: args.clone(),
        env: env.iter().map(variable).collect(),
        ports: ports.iter().map(port).collect(),
        cpu_limit_millis: limits.and_then(|limits| limits.cpu()).map_or(Ok(0), |cpu| cpu.millis())?,
        memory_limit_bytes: limits
            .and_then(|limits| limits.memory())
            .map_or(Ok(0), |memory| memory.units())?,
        ..Default::default()
    })
}

fn port(port: &ContainerPort) -> wire::Port {
    let ContainerPort { name, container_port, host_port, host_ip, protocol: _ } = port;
    let protocol = match port.effective_protocol() {
        TransportProtocol::Tcp => wire::PortProtocol::Tcp,
        TransportProtocol::Udp => wire::PortProtocol::Udp,
        TransportProtocol::Sctp => wire::PortProtocol::Sctp,
    };
    // The schema allows 1 to 65535 only.
    let number = |port: i32| u32::try_from(port).unwrap_or(0);
    wire::Port {
        name: name.clone().unwrap_or_default(),
        container_port: number(*container_port),
        host_port: host_port.map_or(0, number),
        host_ip: host_ip.clone().unwrap_or_default(),
        protocol: protocol.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> EdgeAppSpec {
        serde_json::from_str(json).expect("a spec")
    }

    #[test]
    fn a_full_spec_arrives_with_its_defaults_spelled_out() {
        let spec = spec(
            r#"{"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{
                "name": "main", "image": "web:1", "env": [{"name": "MODE"}],
                "ports": [{"containerPort": 80, "hostPort": 8080}],
                "resources": {"limits": {"cpu": "500m", "memory": "8Mi"}}}]}}}"#,
        );
        let payload = payload("uid-1", "web-1", &spec).expect("a payload");
        let app = wire::App::decode(&payload[..]).expect("an app");
        let template = app.template.expect("a template");
        let main = &template.containers[0];
        assert_eq!((app.uid.as_str(), app.revision.as_str()), ("uid-1", "web-1"));
        assert_eq!(template.restart_policy(), wire::RestartPolicy::Always);
        assert_eq!(template.termination_grace_period_seconds, 30);
        assert_eq!(main.image_pull_policy(), wire::PullPolicy::IfNotPresent);
        assert_eq!((main.cpu_limit_millis, main.memory_limit_bytes), (500, 8 << 20));
        assert_eq!((main.ports[0].host_port, main.ports[0].protocol()), (8080, wire::PortProtocol::Tcp));
        assert_eq!(main.env[0].value, "");
    }

    #[test]
    fn an_app_over_the_cap_is_refused() {
        let args = vec!["x".repeat(65_536); 40];
        let mut large =
            spec(r#"{"template": {"spec": {"containers": [{"name": "main", "image": "web:1"}]}}}"#);
        large.template.spec.containers[0].args = args;
        assert!(matches!(payload("u", "r", &large), Err(EncodeError::TooLarge { .. })));
    }
}
