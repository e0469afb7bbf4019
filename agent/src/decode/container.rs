//! One container.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

use skerry_agent_core::{
    Container, Kind, Lifecycle, Mount, Port, Probe, Probes, Protocol, PullPolicy, Resources,
    TerminationMessage, TerminationMessagePolicy,
};
use skerry_proto::{caps, wire};
use skerry_terms::NameError;

use super::probe::Names;
use super::security::Common;
use super::text::{self, absolute_path, address, needed_port, port, shown};
use super::wrong::{Under, Wrong, check_length, each, known};
use super::{Facts, Ledger, env, probe, security};

/// Of the names of devices that the box's owner lends; the only resources besides processor and memory.
pub const DEVICE_PREFIX: &str = "skerry.dev/";

/// Which list a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Init,
    Main,
}

pub(super) fn read(
    facts: &Facts<'_>,
    ledger: &mut Ledger,
    common: &Common,
    place: Place,
    container: wire::Container,
) -> Result<Container, Wrong> {
    let resources = resources(&container);
    let wire::Container {
        name,
        image,
        image_pull_policy,
        command,
        args,
        env,
        ports,
        cpu_limit_millis: _,
        memory_limit_bytes: _,
        cpu_request_millis: _,
        memory_request_bytes: _,
        devices,
        working_dir,
        env_from,
        volume_mounts,
        startup_probe,
        readiness_probe,
        liveness_probe,
        lifecycle,
        termination_message_path,
        termination_message_policy,
        security_context,
        stdin,
        tty,
        restart_policy,
    } = container;
    let name: skerry_terms::ContainerName =
        name.parse().map_err(|error: NameError| Wrong::new(error).under("name"))?;
    let kind = kind(place, restart_policy).under("restartPolicy")?;
    if image.is_empty() {
        return Err(Wrong::missing().under("image"));
    }
    check_length("command", command.len(), caps::LIST_MAX)?;
    check_length("args", args.len(), caps::LIST_MAX)?;
    let ports = each("ports", ports, caps::PORTS_MAX, read_port)?;
    let names: Names =
        ports.iter().filter_map(|(name, port)| Some((name.clone()?, port.container_port))).collect();
    let probe = |field: &str, probe: Option<wire::Probe>| -> Result<Option<Probe>, Wrong> {
        probe.map(|probe| probe::read(probe, &names)).transpose().under(field)
    };
    let probes = Probes {
        startup: probe("startupProbe", startup_probe)?,
        readiness: probe("readinessProbe", readiness_probe)?,
        liveness: probe("livenessProbe", liveness_probe)?,
    };
    let lifecycle = lifecycle.map(|hooks| probe::lifecycle(hooks, &names)).transpose().under("lifecycle")?;
    let lifecycle = lifecycle.unwrap_or_default();
    if kind == Kind::Init && (probes != Probes::default() || lifecycle != Lifecycle::default()) {
        return Err(Wrong::new("an init container that runs to its end has neither probes nor hooks"));
    }
    Ok(Container {
        kind,
        image,
        pull_policy: match known(image_pull_policy).under("imagePullPolicy")? {
            wire::PullPolicy::Unspecified | wire::PullPolicy::IfNotPresent => PullPolicy::IfNotPresent,
            wire::PullPolicy::Always => PullPolicy::Always,
            wire::PullPolicy::Never => PullPolicy::Never,
        },
        command,
        args,
        working_dir: Some(working_dir).filter(|path| !path.is_empty()),
        env: env::read(facts, ledger, name.as_str(), env_from, env)?,
        ports: ports.into_iter().map(|(_, port)| port).collect(),
        resources,
        devices: read_devices(devices).under("resources.limits")?,
        mounts: read_mounts(volume_mounts)?,
        probes,
        lifecycle,
        termination_message: termination_message(termination_message_path, termination_message_policy)?,
        security: security::read(common, security_context).under("securityContext")?,
        stdin,
        tty,
        name,
    })
}

/// What a container may use and what is kept for it.
pub(super) fn resources(container: &wire::Container) -> Resources {
    Resources {
        cpu_limit_millis: NonZeroU64::new(container.cpu_limit_millis),
        memory_limit_bytes: NonZeroU64::new(container.memory_limit_bytes),
        cpu_request_millis: NonZeroU64::new(container.cpu_request_millis),
        memory_request_bytes: NonZeroU64::new(container.memory_request_bytes),
    }
}

fn kind(place: Place, restart_policy: i32) -> Result<Kind, Wrong> {
    use wire::RestartPolicy as Policy;
    let policy = known(restart_policy)?;
    match (place, policy) {
        (Place::Main, Policy::Unspecified) => Ok(Kind::Main),
        (Place::Init, Policy::Unspecified) => Ok(Kind::Init),
        (Place::Init, Policy::Always) => Ok(Kind::Sidecar),
        (Place::Init, Policy::OnFailure | Policy::Never) => {
            Err(Wrong::new("of an init container it is Always or absent"))
        }
        (Place::Main, Policy::Always | Policy::OnFailure | Policy::Never) => {
            Err(Wrong::new("only init containers have one of their own"))
        }
    }
}

/// A port, and its name if it has one.
fn read_port(wire: wire::Port) -> Result<(Option<String>, Port), Wrong> {
    let wire::Port { name, container_port, host_port, host_ip, protocol } = wire;
    let port = Port {
        container_port: needed_port(container_port).under("containerPort")?,
        protocol: match known(protocol).under("protocol")? {
            wire::PortProtocol::Unspecified | wire::PortProtocol::Tcp => Protocol::Tcp,
            wire::PortProtocol::Udp => Protocol::Udp,
            wire::PortProtocol::Sctp => Protocol::Sctp,
        },
        host_port: port(host_port).under("hostPort")?,
        host_ip: match host_ip.as_str() {
            "" | "0.0.0.0" | "::" => None,
            ip => Some(address(ip).under("hostIP")?),
        },
    };
    Ok((Some(name).filter(|name| !name.is_empty()), port))
}

fn read_devices(devices: BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, Wrong> {
    check_length("", devices.len(), caps::DEVICES_MAX)?;
    let device = |(name, count): (String, u64)| match name.strip_prefix(DEVICE_PREFIX) {
        Some(device) if !device.is_empty() => Ok((device.to_owned(), count)),
        Some(_) | None => Err(Wrong::newer(format_args!("the resource {}", shown(&name)))),
    };
    let devices: BTreeMap<_, _> = devices.into_iter().map(device).collect::<Result<_, _>>()?;
    Ok(devices.into_iter().filter(|(_, count)| *count > 0).collect())
}

fn read_mounts(mounts: Vec<wire::VolumeMount>) -> Result<Vec<Mount>, Wrong> {
    let mut paths = BTreeSet::new();
    each("volumeMounts", mounts, caps::VOLUMES_MAX, |mount| {
        let mount = read_mount(mount)?;
        if paths.insert(mount.path.clone()) {
            return Ok(mount);
        }
        let why = format_args!("{} is the path of two mounts", shown(&mount.path));
        Err(Wrong::new(why).under("mountPath"))
    })
}

fn read_mount(mount: wire::VolumeMount) -> Result<Mount, Wrong> {
    let wire::VolumeMount { name, mount_path, sub_path, sub_path_expr, read_only } = mount;
    // As kubelet: a path that is not absolute is one from the root.
    let mount_path = if mount_path.starts_with('/') { mount_path } else { format!("/{mount_path}") };
    let path = absolute_path(mount_path).under("mountPath")?;
    if path.split('/').all(str::is_empty) {
        return Err(Wrong::new("a volume cannot be the container's root").under("mountPath"));
    }
    if path.contains(':') {
        return Err(Wrong::new("must not contain ':'").under("mountPath"));
    }
    let (sub_path, sub_path_expands) = match (sub_path.is_empty(), sub_path_expr.is_empty()) {
        (_, true) => (text::sub_path(&sub_path).under("subPath")?, false),
        (true, false) => {
            // As it is: a variable may be half a step, and may bring '..' along. What mounts it looks again.
            text::sub_path(&sub_path_expr).under("subPathExpr")?;
            (sub_path_expr, true)
        }
        (false, false) => {
            return Err(Wrong::new("there is a subPath, too; only one of them can be").under("subPathExpr"));
        }
    };
    Ok(Mount { volume: name, path, read_only, sub_path, sub_path_expands })
}

fn termination_message(path: String, policy: i32) -> Result<TerminationMessage, Wrong> {
    let default = TerminationMessage::default();
    let path = if path.is_empty() { default.path } else { path };
    Ok(TerminationMessage {
        path: absolute_path(path).under("terminationMessagePath")?,
        policy: match known(policy).under("terminationMessagePolicy")? {
            wire::TerminationMessagePolicy::Unspecified | wire::TerminationMessagePolicy::File => {
                TerminationMessagePolicy::File
            }
            wire::TerminationMessagePolicy::FallbackToLogsOnError => {
                TerminationMessagePolicy::FallbackToLogsOnError
            }
        },
    })
}
