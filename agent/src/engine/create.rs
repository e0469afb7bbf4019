//! From a [`CreateSpec`] to the body of Docker's create call. Nothing is decided here: every field of the spec has one place. What the
//! box has to say to it (images, files, folders) is asked before: [`prepare`].

mod dns;
mod mounts;
mod namespaces;
pub(super) mod prepare;
mod process;
mod resources;
mod security;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, PortBinding, RestartPolicy, RestartPolicyNameEnum,
};
use skerry_agent_core::{
    CreateSpec, Join, Port, Protocol, Sensitive, TerminationMessage, TerminationMessagePolicy,
};
use skerry_terms::labels;

use super::pause;
use prepare::Prepared;
pub(super) use resources::{Limits, MEMORY_UNLIMITED, from_label, limits};

/// Docker keeps everything that a container prints; without a bound it fills the disk of a box that nobody visits.
const LOG_DRIVER: &str = "json-file";
const LOG_MAX_SIZE: &str = "10m";
const LOG_MAX_FILES: &str = "3";

/// What a container's figures depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    /// Number of the box's processors: the largest CPU limit that Docker takes.
    pub cores: u64,
    /// In bytes.
    pub memory: u64,
    /// Processes may be made dearer to the kernel than others. Not so where Docker itself runs in a container.
    pub protects: bool,
}

impl Machine {
    pub fn read() -> Self {
        Self {
            cores: u64::from(crate::facts::cpu_count()),
            memory: crate::facts::memory_bytes(),
            protects: process::may_protect(),
        }
    }
}

pub(super) fn body(spec: &CreateSpec, prepared: Prepared, machine: Machine) -> ContainerCreateBody {
    let CreateSpec {
        name: _,
        node: _,
        app: _,
        role,
        revision: _,
        hash: _,
        restart_count: _,
        image,
        command,
        args,
        working_dir,
        env,
        ports,
        resources: asked,
        qos,
        devices,
        mounts: _,
        groups,
        fs_group,
        security: asked_security,
        termination_message: _,
        stdin,
        tty,
        pre_stop: _,
        join,
        names: _,
        pid,
        ipc,
        stop_rank: _,
        grace_seconds,
        labels: _,
        annotations: _,
    } = spec;
    let Machine { cores, memory, protects } = machine;
    let Prepared { user, seccomp, mounts, dns } = prepared;
    // Docker refuses ports on a container that joins another's network, and ignores them in the node's own.
    let ports: &[Port] = match join {
        Join::Bridge(_) => ports,
        Join::Host(_) | Join::Container { .. } => &[],
    };
    let entrypoint = match image {
        Some(_) => (!command.is_empty()).then(|| command.clone()),
        None => Some(vec![pause::PROGRAM.to_owned()]),
    };
    let mut host = HostConfig {
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
        mounts: (!mounts.is_empty()).then_some(mounts),
        ..Default::default()
    };
    resources::set(&mut host, &limits(asked, cores));
    resources::devices(&mut host, devices);
    let oom_score = process::oom_score(role, *qos, asked, memory);
    host.oom_score_adj = Some(if protects { oom_score } else { oom_score.max(0) });
    host.group_add = process::groups(groups, *fs_group);
    security::set(&mut host, asked_security, seccomp);
    namespaces::set(&mut host, join, pid, ipc, dns);
    ContainerCreateBody {
        image: Some(image.clone().unwrap_or_else(|| pause::IMAGE.to_owned())),
        entrypoint,
        cmd: (!args.is_empty()).then(|| args.clone()),
        working_dir: working_dir.clone(),
        user,
        env: (!env.is_empty())
            .then(|| env.iter().map(|(name, Sensitive(value))| format!("{name}={value}")).collect()),
        open_stdin: stdin.then_some(true),
        tty: tty.then_some(true),
        labels: Some(all_labels(spec)),
        exposed_ports: (!ports.is_empty()).then(|| ports.iter().map(docker_port).collect()),
        hostname: namespaces::hostname(join),
        stop_timeout: Some(i64::try_from(*grace_seconds).unwrap_or(i64::MAX)),
        host_config: Some(host),
        ..Default::default()
    }
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
        .chain(notes(spec).map(|(key, value)| (key.to_owned(), value)))
        .collect()
}

/// What the container itself must tell when its spec is gone. Also what there is nothing to tell of is written: an image may have labels of its
/// own, and none of them is to be taken for the agent's word.
fn notes(spec: &CreateSpec) -> impl Iterator<Item = (&'static str, String)> + use<> {
    // Numbers, names and texts: they always have a form in JSON.
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    let pre_stop = spec.pre_stop.as_ref().map(|hook| (labels::PRE_STOP, json(serde_json::to_string(hook))));
    let policy = match &spec.termination_message {
        Some(TerminationMessage { policy: TerminationMessagePolicy::FallbackToLogsOnError, path: _ }) => {
            Some((labels::TERMINATION_MESSAGE_POLICY, FALLBACK_TO_LOGS.to_owned()))
        }
        Some(TerminationMessage { policy: TerminationMessagePolicy::File, path: _ }) | None => None,
    };
    let counts: BTreeMap<_, _> = spec.devices.iter().map(|(name, (count, _))| (name, count)).collect();
    let devices = (!counts.is_empty()).then(|| (labels::DEVICES, json(serde_json::to_string(&counts))));
    let names = Some(&spec.names).filter(|names| !names.is_empty());
    let names = names.map(|names| (labels::APP_NAMES, json(serde_json::to_string(names))));
    let resources = resources::to_label(&spec.resources).map(|text| (labels::RESOURCES, text));
    let said: HashMap<_, _> = [pre_stop, policy, devices, names, resources].into_iter().flatten().collect();
    let all = [
        labels::PRE_STOP,
        labels::TERMINATION_MESSAGE_POLICY,
        labels::DEVICES,
        labels::APP_NAMES,
        labels::RESOURCES,
    ];
    all.into_iter().map(move |key| (key, said.get(key).cloned().unwrap_or_default()))
}

/// The value of the label for `terminationMessagePolicy`.
pub(super) const FALLBACK_TO_LOGS: &str = "FallbackToLogsOnError";

/// The labels that say whether a container is the one that a spec describes. Those that may differ between two attempts are not among them.
pub(super) fn identity(spec: &CreateSpec) -> HashMap<String, String> {
    let mut labels = all_labels(spec);
    labels.remove(labels::APP_NAMES);
    labels.remove(labels::RESOURCES);
    labels.remove(labels::STOP_RANK);
    labels
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
