//! One container.

use std::collections::BTreeMap;

use skerry_proto::wire;

use super::{At, env, pod, probe};
use crate::template::{
    CPU, Capabilities, Container, ContainerPort, DEVICE_PREFIX, ImagePullPolicy, MEMORY,
    ResourceRequirements, SecurityContext, SidecarPolicy, TerminationMessagePolicy, TransportProtocol,
    VolumeMount,
};
use crate::{FieldError, Quantity, QuantityError};

pub(super) fn container(
    container: &Container,
    images: &BTreeMap<String, String>,
    at: &At,
) -> Result<wire::Container, FieldError> {
    let mut container = container.clone();
    if let Some(image) = images.get(&container.name) {
        container.image.clone_from(image);
    }
    let pull_policy = match container.effective_pull_policy() {
        ImagePullPolicy::Always => wire::PullPolicy::Always,
        ImagePullPolicy::IfNotPresent => wire::PullPolicy::IfNotPresent,
        ImagePullPolicy::Never => wire::PullPolicy::Never,
    };
    let message_policy = match container.effective_termination_message_policy() {
        TerminationMessagePolicy::File => wire::TerminationMessagePolicy::File,
        TerminationMessagePolicy::FallbackToLogsOnError => {
            wire::TerminationMessagePolicy::FallbackToLogsOnError
        }
    };
    let termination_message_path = container.effective_termination_message_path().to_owned();
    let Container {
        name,
        image,
        image_pull_policy: _,
        command,
        args,
        env,
        ports,
        resources,
        working_dir,
        env_from,
        volume_mounts,
        startup_probe,
        readiness_probe,
        liveness_probe,
        lifecycle,
        termination_message_path: _,
        termination_message_policy: _,
        security_context,
        stdin,
        tty,
        restart_policy,
    } = container;
    let amounts = amounts(&resources.unwrap_or_default(), &at.field("resources"))?;
    let probe =
        |name: &str, probe: Option<_>| probe.map(|probe| probe::probe(&probe, &at.field(name))).transpose();
    let ports = ports.into_iter().enumerate().map(|(i, one)| port(one, &at.item("ports", i)));
    let variables = env.iter().enumerate().map(|(i, one)| env::variable(one, &at.item("env", i)));
    let sources = env_from.iter().enumerate().map(|(i, one)| env::source(one, &at.item("envFrom", i)));
    Ok(wire::Container {
        name,
        image,
        image_pull_policy: pull_policy.into(),
        command,
        args,
        env: variables.collect::<Result<_, _>>()?,
        ports: ports.collect::<Result<_, _>>()?,
        cpu_limit_millis: amounts.cpu_limit_millis,
        memory_limit_bytes: amounts.memory_limit_bytes,
        cpu_request_millis: amounts.cpu_request_millis,
        memory_request_bytes: amounts.memory_request_bytes,
        devices: amounts.devices,
        working_dir: working_dir.unwrap_or_default(),
        env_from: sources.collect::<Result<_, _>>()?,
        volume_mounts: volume_mounts.into_iter().map(mount).collect(),
        startup_probe: probe("startupProbe", startup_probe)?,
        readiness_probe: probe("readinessProbe", readiness_probe)?,
        liveness_probe: probe("livenessProbe", liveness_probe)?,
        lifecycle: lifecycle.map(|hooks| probe::lifecycle(&hooks, &at.field("lifecycle"))).transpose()?,
        termination_message_path,
        termination_message_policy: message_policy.into(),
        security_context: security_context.map(security),
        stdin: stdin.unwrap_or(false),
        tty: tty.unwrap_or(false),
        restart_policy: match restart_policy {
            Some(SidecarPolicy::Always) => wire::RestartPolicy::Always,
            None => wire::RestartPolicy::Unspecified,
        }
        .into(),
    })
}

fn port(port: ContainerPort, at: &At) -> Result<wire::Port, FieldError> {
    let protocol = match port.effective_protocol() {
        TransportProtocol::Tcp => wire::PortProtocol::Tcp,
        TransportProtocol::Udp => wire::PortProtocol::Udp,
        TransportProtocol::Sctp => wire::PortProtocol::Sctp,
    };
    let ContainerPort { name, container_port, host_port, host_ip, protocol: _ } = port;
    Ok(wire::Port {
        name: name.unwrap_or_default(),
        container_port: at.field("containerPort").unsigned(container_port.into())?,
        host_port: host_port.map_or(Ok(0), |port| at.field("hostPort").unsigned(port.into()))?,
        host_ip: host_ip.unwrap_or_default(),
        protocol: protocol.into(),
    })
}

fn mount(mount: VolumeMount) -> wire::VolumeMount {
    let VolumeMount { name, mount_path, sub_path, sub_path_expr, read_only } = mount;
    wire::VolumeMount {
        name,
        mount_path,
        sub_path: sub_path.unwrap_or_default(),
        sub_path_expr: sub_path_expr.unwrap_or_default(),
        read_only: read_only.unwrap_or(false),
    }
}

/// What a container may use and what is kept for it, in the wire's units.
struct Amounts {
    cpu_limit_millis: u64,
    memory_limit_bytes: u64,
    cpu_request_millis: u64,
    memory_request_bytes: u64,
    devices: BTreeMap<String, u64>,
}

fn amounts(resources: &ResourceRequirements, at: &At) -> Result<Amounts, FieldError> {
    let ResourceRequirements { limits, requests } = resources;
    let amount =
        |path: &At, quantity: Option<&Quantity>, read: fn(&Quantity) -> Result<u64, QuantityError>| {
            quantity.map_or(Ok(0), read).map_err(|why| path.error(why))
        };
    let (limits_at, requests_at) = (at.field("limits"), at.field("requests"));
    let limit = |name: &str, read| amount(&limits_at.field(name), resources.limit(name), read);
    let request =
        |name: &str, read| amount(&requests_at.field(name), resources.effective_request(name), read);
    let mut devices = BTreeMap::new();
    // Request and limit of a device are the same; either may be left out.
    for (list, path) in [(limits, &limits_at), (requests, &requests_at)] {
        for (device, quantity) in list.iter().flat_map(|list| list.devices()) {
            let name = format!("{DEVICE_PREFIX}{device}");
            let count = amount(&path.field(&name), Some(quantity), Quantity::units)?;
            devices.insert(name, count);
        }
    }
    devices.retain(|_, count| *count > 0);
    Ok(Amounts {
        cpu_limit_millis: limit(CPU, Quantity::millis)?,
        memory_limit_bytes: limit(MEMORY, Quantity::units)?,
        cpu_request_millis: request(CPU, Quantity::millis)?,
        memory_request_bytes: request(MEMORY, Quantity::units)?,
        devices,
    })
}

fn security(context: SecurityContext) -> wire::SecurityContext {
    let SecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root,
        read_only_root_filesystem,
        capabilities,
        privileged,
        allow_privilege_escalation,
        seccomp_profile,
    } = context;
    let Capabilities { add, drop } = capabilities.unwrap_or_default();
    wire::SecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root,
        read_only_root_filesystem: read_only_root_filesystem.unwrap_or(false),
        capabilities_add: add,
        capabilities_drop: drop,
        privileged: privileged.unwrap_or(false),
        allow_privilege_escalation,
        seccomp_profile: seccomp_profile.as_ref().map(pod::seccomp),
    }
}
