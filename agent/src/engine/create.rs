//! From a [`CreateSpec`] to the body of Docker's create call. Nothing is decided here: every field of the spec has one place.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use skerry_agent_core::{CreateSpec, Join, Port, Protocol, Resources, Sensitive};
use skerry_terms::labels;

use super::pause;

/// Docker keeps everything that a container prints; without a bound it fills the disk of a box that nobody visits.
const LOG_DRIVER: &str = "json-file";
const LOG_MAX_SIZE: &str = "10m";
const LOG_MAX_FILES: &str = "3";

/// The least that Docker takes: a hundredth of a core. Kubernetes' users may write less.
const CPU_MILLIS_MIN: u64 = 10;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// `cores` is the number of the box's processors: Docker refuses a limit above it, for Kubernetes it is no limit.
pub(super) fn body(spec: &CreateSpec, cores: u64) -> ContainerCreateBody {
    let CreateSpec {
        name: _,
        node: _,
        app: _,
        role: _,
        revision: _,
        hash: _,
        restart_count: _,
        image,
        command,
        args,
        working_dir: _,
        env,
        ports,
        resources,
        devices: _,
        mounts: _,
        groups: _,
        fs_group: _,
        security: _,
        termination_message: _,
        stdin: _,
        tty: _,
        pre_stop: _,
        join,
        names: _,
        pid: _,
        ipc: _,
        stop_rank: _,
        grace_seconds,
        labels: _,
        annotations: _,
    } = spec;
    let (network_mode, hostname) = match join {
        Join::Host(_) => ("host".to_owned(), None),
        Join::Bridge(owner) => ("bridge".to_owned(), Some(owner.hostname.clone())),
        Join::Container { name } => (format!("container:{name}"), None),
    };
    // Docker refuses ports on a container that joins another's network, and ignores them in the node's own.
    let ports: &[Port] = match join {
        Join::Bridge(_) => ports,
        Join::Host(_) | Join::Container { .. } => &[],
    };
    let entrypoint = match image {
        Some(_) => (!command.is_empty()).then(|| command.clone()),
        None => Some(vec![pause::PROGRAM.to_owned()]),
    };
    ContainerCreateBody {
        image: Some(image.clone().unwrap_or_else(|| pause::IMAGE.to_owned())),
        entrypoint,
        cmd: (!args.is_empty()).then(|| args.clone()),
        env: (!env.is_empty())
            .then(|| env.iter().map(|(name, Sensitive(value))| format!("{name}={value}")).collect()),
        labels: Some(all_labels(spec)),
        exposed_ports: (!ports.is_empty()).then(|| ports.iter().map(docker_port).collect()),
        hostname,
        stop_timeout: Some(i64::try_from(*grace_seconds).unwrap_or(i64::MAX)),
        host_config: Some(HostConfig {
            network_mode: Some(network_mode),
            port_bindings: bindings(ports),
            // The agent restarts: it knows the policy, the back-off and the spec.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            log_config: Some(HostConfigLogConfig {
                typ: Some(LOG_DRIVER.to_owned()),
                config: Some(HashMap::from([
                    ("max-size".to_owned(), LOG_MAX_SIZE.to_owned()),
                    ("max-file".to_owned(), LOG_MAX_FILES.to_owned()),
                ])),
            }),
            init: Some(false),
            ..limited(resources, cores)
        }),
        ..Default::default()
    }
}

fn limited(resources: &Resources, cores: u64) -> HostConfig {
    let Resources {
        cpu_limit_millis: cpu_millis,
        memory_limit_bytes: memory_bytes,
        cpu_request_millis: _,
        memory_request_bytes: _,
    } = resources;
    let nano_cpus = cpu_millis.map(|millis| {
        let millis = millis.get().max(CPU_MILLIS_MIN).min(cores.saturating_mul(1000));
        i64::try_from(millis.saturating_mul(NANOS_PER_MILLI)).unwrap_or(i64::MAX)
    });
    let memory = memory_bytes.map(|bytes| i64::try_from(bytes.get()).unwrap_or(i64::MAX));
    // Equal to memory: without it a container swaps out as much again, and its limit does not hold.
    HostConfig { nano_cpus, memory, memory_swap: memory, ..Default::default() }
}

/// The template's labels and annotations, then ours: they win.
pub(super) fn all_labels(spec: &CreateSpec) -> HashMap<String, String> {
    let annotations = spec
        .annotations
        .iter()
        .map(|(key, value)| (format!("{}{key}", labels::ANNOTATION_PREFIX), value.clone()));
    let ours = [
        (labels::NODE, spec.node.to_string()),
        (labels::NAMESPACE, spec.app.namespace().to_owned()),
        (labels::APP, spec.app.name().to_owned()),
        (labels::CONTAINER, spec.role.to_string()),
        (labels::REVISION, spec.revision.clone()),
        (labels::SPEC_HASH, spec.hash.to_string()),
        (labels::RESTART_COUNT, spec.restart_count.to_string()),
        (labels::STOP_RANK, spec.stop_rank.to_string()),
    ];
    spec.labels
        .clone()
        .into_iter()
        .chain(annotations)
        .chain(ours.map(|(key, value)| (key.to_owned(), value)))
        .collect()
}

/// `80/tcp`
fn docker_port(port: &Port) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    format!("{}/{protocol}", port.container_port)
}

fn bindings(ports: &[Port]) -> Option<HashMap<String, Option<Vec<PortBinding>>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let Some(host_port) = port.host_port else { continue };
        bindings.entry(docker_port(port)).or_default().get_or_insert_default().push(PortBinding {
            host_ip: port.host_ip.map(|ip| ip.to_string()),
            host_port: Some(host_port.to_string()),
        });
    }
    (!bindings.is_empty()).then_some(bindings)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::{NonZeroU16, NonZeroU64};

    use skerry_agent_core::{Namespace, NetworkOwner, Role, Security};

    use super::*;

    fn spec() -> CreateSpec {
        CreateSpec {
            name: "skerry_n_a_b_c_01234567_0".to_owned(),
            node: "n".parse().expect("a name"),
            app: "a/b".parse().expect("a key"),
            role: Role::Container("c".parse().expect("a name")),
            revision: "b-1".to_owned(),
            hash: "0123456789abcdef".parse().expect("a hash"),
            restart_count: 2,
            image: Some("busybox:1".to_owned()),
            command: vec!["sh".to_owned()],
            args: vec!["-c".to_owned(), "exit".to_owned()],
            working_dir: None,
            env: vec![("A".to_owned(), Sensitive("b=c".to_owned()))],
            ports: vec![Port {
                container_port: NonZeroU16::MIN,
                protocol: Protocol::Udp,
                host_port: NonZeroU16::new(99),
                host_ip: None,
            }],
            resources: Resources {
                cpu_limit_millis: NonZeroU64::new(1),
                memory_limit_bytes: NonZeroU64::new(1 << 26),
                ..Default::default()
            },
            devices: BTreeMap::new(),
            mounts: Vec::new(),
            groups: Vec::new(),
            fs_group: None,
            security: Security::default(),
            termination_message: None,
            stdin: false,
            tty: false,
            pre_stop: None,
            join: Join::Bridge(NetworkOwner { hostname: "b".to_owned(), ..Default::default() }),
            pid: Namespace::Private,
            ipc: Namespace::Private,
            names: BTreeMap::new(),
            stop_rank: 0,
            grace_seconds: 7,
            labels: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
            annotations: BTreeMap::from([("note".to_owned(), "x".to_owned())]),
        }
    }

    #[test]
    fn every_field_of_the_spec_reaches_docker() {
        let body = body(&spec(), 2);
        let host = body.host_config.expect("a host config");
        assert_eq!(body.env, Some(vec!["A=b=c".to_owned()]));
        assert_eq!(
            (body.entrypoint, body.cmd),
            (Some(vec!["sh".into()]), Some(vec!["-c".into(), "exit".into()]))
        );
        assert_eq!((body.stop_timeout, body.hostname), (Some(7), Some("b".to_owned())));
        assert_eq!(body.exposed_ports, Some(vec!["1/udp".to_owned()]));
        let binding = &host.port_bindings.expect("bindings")["1/udp"].clone().expect("a binding")[0];
        assert_eq!((binding.host_port.as_deref(), binding.host_ip.as_deref()), (Some("99"), None));
        assert_eq!(
            (host.nano_cpus, host.memory, host.memory_swap),
            (Some(10_000_000), Some(1 << 26), Some(1 << 26))
        );
        let labels = body.labels.expect("labels");
        for (key, value) in [
            ("tier", "edge"),
            ("annotation.note", "x"),
            (labels::NODE, "n"),
            (labels::NAMESPACE, "a"),
            (labels::APP, "b"),
            (labels::CONTAINER, "c"),
            (labels::REVISION, "b-1"),
            (labels::SPEC_HASH, "0123456789abcdef"),
            (labels::RESTART_COUNT, "2"),
        ] {
            assert_eq!(labels.get(key).map(String::as_str), Some(value), "{key}");
        }
    }

    #[test]
    fn a_cpu_limit_above_the_box_is_the_whole_box() {
        let limits = Resources { cpu_limit_millis: NonZeroU64::new(64_000), ..Default::default() };
        assert_eq!(limited(&limits, 2).nano_cpus, Some(2_000_000_000));
    }

    #[test]
    fn what_joins_a_network_has_no_ports_of_its_own() {
        let joined = CreateSpec { join: Join::Container { name: "pod".to_owned() }, ..spec() };
        let body = body(&joined, 2);
        let host = body.host_config.expect("a host config");
        assert_eq!(host.network_mode.as_deref(), Some("container:pod"));
        assert!(body.exposed_ports.is_none() && host.port_bindings.is_none() && body.hostname.is_none());
    }

    #[test]
    fn a_sandbox_runs_our_own_program() {
        let sandbox = CreateSpec { image: None, command: Vec::new(), args: Vec::new(), ..spec() };
        let body = body(&sandbox, 2);
        assert_eq!(body.image.as_deref(), Some("skerry.dev/pause:1"));
        assert_eq!(body.entrypoint, Some(vec!["/pause".to_owned()]));
    }
}
