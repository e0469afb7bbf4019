//! From stored payloads to what the planner relies on: the one conversion from wire to domain. What this agent does not understand
//! becomes `Unsupported` with the field's name; nothing is guessed and nothing is dropped silently.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU16, NonZeroU64};
use std::time::Duration;

use prost::Message as _;
use skerry_agent_core::{
    AppSpec, Container, Desired, DesiredApp, EnvValue, EnvVar, Host, Network, Port, Protocol, PullPolicy,
    Resources, RestartPolicy, ValidApp,
};
use skerry_proto::{caps, wire};
use skerry_terms::{AppKey, NodeName, PayloadSet};

/// A desired set as the supervisor holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    pub desired: Desired,
    /// uid of each app's EdgeApp object: travels back with its status.
    pub uids: BTreeMap<AppKey, String>,
}

/// Reads a whole set. Never fails: an app that cannot be honoured is in it as such.
pub fn desired(node: &NodeName, host: &Host, set: &PayloadSet) -> Decoded {
    let empty = Desired {
        node: node.clone(),
        apps: BTreeMap::new(),
        complete: true,
        retired: BTreeSet::new(),
        host: host.clone(),
    };
    let mut decoded = Decoded { desired: empty, uids: BTreeMap::new() };
    for (key, payload) in set {
        let (uid, app) = match wire::App::decode(&payload[..]) {
            Ok(app) => read(key, app),
            Err(error) => (String::new(), unsupported("", format!("the app cannot be read: {error}"))),
        };
        decoded.uids.insert(key.clone(), uid);
        decoded.desired.apps.insert(key.clone(), app);
    }
    decoded
}

fn unsupported(revision: &str, why: String) -> DesiredApp {
    DesiredApp::Unsupported { revision: revision.to_owned(), why: caps::truncate(&why, caps::MESSAGE_MAX) }
}

fn read(key: &AppKey, app: wire::App) -> (String, DesiredApp) {
    let wire::App { uid, revision, template, switch: _, progress_deadline_seconds: _, config: _ } = app;
    let app = template
        .ok_or_else(|| "template: missing".to_owned())
        .and_then(|template| valid(key, &revision, template))
        .map_or_else(|why| unsupported(&revision, why), DesiredApp::Valid);
    (uid, app)
}

/// Fails with the path of the field and what is wrong with it.
fn valid(key: &AppKey, revision: &str, template: wire::PodTemplate) -> Result<ValidApp, String> {
    let wire::PodTemplate {
        labels,
        annotations,
        restart_policy,
        termination_grace_period_seconds,
        host_network,
        containers,
        init_containers: _,
        volumes: _,
        security_context: _,
        host_pid: _,
        host_ipc: _,
        share_process_namespace: _,
        hostname: _,
        dns_policy: _,
        dns_config: _,
        host_aliases: _,
        image_pull_secrets: _,
    } = template;
    if containers.len() > caps::CONTAINERS_MAX {
        return Err(format!("template.containers: {}, at most {}", containers.len(), caps::CONTAINERS_MAX));
    }
    let restart_policy = match known("template.restartPolicy", restart_policy)? {
        wire::RestartPolicy::Unspecified | wire::RestartPolicy::Always => RestartPolicy::Always,
        wire::RestartPolicy::OnFailure => RestartPolicy::OnFailure,
        wire::RestartPolicy::Never => RestartPolicy::Never,
    };
    let containers = containers.into_iter().enumerate().map(|(i, container)| {
        read_container(container).map_err(|(field, why)| format!("template.containers[{i}].{field}: {why}"))
    });
    ValidApp::new(AppSpec {
        restart_policy,
        grace: Duration::from_secs(u64::from(termination_grace_period_seconds)),
        network: if host_network { Network::Host } else { Network::Bridge },
        labels,
        annotations,
        ..AppSpec::new(key.clone(), revision.to_owned(), containers.collect::<Result<_, _>>()?)
    })
    .map_err(|error| error.to_string())
}

/// A field's path below its parent, and what is wrong with it.
type FieldError = (String, String);

fn field<E: ToString>(name: &str) -> impl FnOnce(E) -> FieldError {
    let name = name.to_owned();
    move |why| (name, why.to_string())
}

fn read_container(container: wire::Container) -> Result<Container, FieldError> {
    let wire::Container {
        name,
        image,
        image_pull_policy,
        command,
        args,
        env,
        ports,
        cpu_limit_millis,
        memory_limit_bytes,
        cpu_request_millis: _,
        memory_request_bytes: _,
        devices: _,
        working_dir: _,
        env_from: _,
        volume_mounts: _,
        startup_probe: _,
        readiness_probe: _,
        liveness_probe: _,
        lifecycle: _,
        termination_message_path: _,
        termination_message_policy: _,
        security_context: _,
        stdin: _,
        tty: _,
        restart_policy: _,
    } = container;
    let pull_policy = match known("", image_pull_policy).map_err(field("imagePullPolicy"))? {
        wire::PullPolicy::Unspecified | wire::PullPolicy::IfNotPresent => PullPolicy::IfNotPresent,
        wire::PullPolicy::Always => PullPolicy::Always,
        wire::PullPolicy::Never => PullPolicy::Never,
    };
    if image.is_empty() {
        return Err(("image".to_owned(), "missing".to_owned()));
    }
    let ports = ports
        .into_iter()
        .enumerate()
        .map(|(i, port)| read_port(port).map_err(|(name, why)| (format!("ports[{i}].{name}"), why)));
    let literal =
        |wire::EnvVar { name, value, value_from: _ }| EnvVar { name, value: EnvValue::Literal(value) };
    Ok(Container {
        pull_policy,
        command,
        args,
        env: env.into_iter().map(literal).collect(),
        ports: ports.collect::<Result<_, _>>()?,
        resources: Resources {
            cpu_limit_millis: NonZeroU64::new(cpu_limit_millis),
            memory_limit_bytes: NonZeroU64::new(memory_limit_bytes),
            ..Resources::default()
        },
        ..Container::new(name.parse().map_err(field::<skerry_terms::NameError>("name"))?, image)
    })
}

fn read_port(port: wire::Port) -> Result<Port, FieldError> {
    let wire::Port { name: _, container_port, host_port, host_ip, protocol } = port;
    let number = |value: u32| u16::try_from(value).map_err(|_| format!("{value} is no port"));
    let container_port = number(container_port).map_err(field("containerPort"))?;
    Ok(Port {
        container_port: NonZeroU16::new(container_port)
            .ok_or_else(|| ("containerPort".to_owned(), "missing".to_owned()))?,
        protocol: match known("", protocol).map_err(field("protocol"))? {
            wire::PortProtocol::Unspecified | wire::PortProtocol::Tcp => Protocol::Tcp,
            wire::PortProtocol::Udp => Protocol::Udp,
            wire::PortProtocol::Sctp => Protocol::Sctp,
        },
        host_port: NonZeroU16::new(number(host_port).map_err(field("hostPort"))?),
        host_ip: match host_ip.as_str() {
            "" | "0.0.0.0" | "::" => None,
            ip => Some(ip.parse().map_err(|_| ("hostIP".to_owned(), format!("{ip:?} is no address")))?),
        },
    })
}

/// An enum value that this build knows.
fn known<E: TryFrom<i32>>(path: &str, value: i32) -> Result<E, String> {
    E::try_from(value).map_err(|_| {
        let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
        format!("{path}value {value} is unknown to this agent; it needs a newer agent")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> wire::App {
        wire::App {
            uid: "u-1".to_owned(),
            revision: "web-1".to_owned(),
            template: Some(wire::PodTemplate {
                termination_grace_period_seconds: 5,
                containers: vec![wire::Container {
                    name: "c".to_owned(),
                    image: "busybox:1".to_owned(),
                    ports: vec![wire::Port { container_port: 80, host_port: 8080, ..Default::default() }],
                    memory_limit_bytes: 1 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn decoded(app: &wire::App) -> DesiredApp {
        let key: AppKey = "a/b".parse().expect("a key");
        let set = PayloadSet::from([(key.clone(), app.encode_to_vec().into())]);
        let mut decoded = desired(&"n".parse().expect("a name"), &Host::default(), &set);
        decoded.desired.apps.remove(&key).expect("the app")
    }

    fn why(app: &wire::App) -> String {
        match decoded(app) {
            DesiredApp::Unsupported { revision, why } => {
                assert_eq!(revision, "web-1");
                why
            }
            DesiredApp::Refused { why, .. } => panic!("refused: {why}"),
            DesiredApp::Valid(app) => panic!("valid: {app:?}"),
        }
    }

    fn edited(edit: impl FnOnce(&mut wire::PodTemplate)) -> wire::App {
        let mut app = app();
        edit(app.template.as_mut().expect("a template"));
        app
    }

    #[test]
    fn an_app_is_read_with_kubernetes_defaults() {
        let DesiredApp::Valid(app) = decoded(&app()) else { panic!("unsupported") };
        assert_eq!(
            (app.restart_policy, app.network, app.grace.as_secs()),
            (RestartPolicy::Always, Network::Bridge, 5)
        );
        let container = &app.containers()[0];
        assert_eq!(
            (container.pull_policy, container.ports[0].protocol),
            (PullPolicy::IfNotPresent, Protocol::Tcp)
        );
        assert_eq!(
            (container.resources.cpu_limit_millis, container.resources.memory_limit_bytes),
            (None, NonZeroU64::new(1 << 20))
        );
    }

    #[test]
    fn what_a_newer_controller_knows_is_named_not_guessed() {
        let container_0 =
            |edit: fn(&mut wire::Container)| edited(|template| edit(&mut template.containers[0]));
        for (app, field) in [
            (edited(|template| template.restart_policy = 99), "template.restartPolicy: value 99"),
            (container_0(|c| c.image_pull_policy = 99), "template.containers[0].imagePullPolicy: value 99"),
            (container_0(|c| c.ports[0].protocol = 99), "template.containers[0].ports[0].protocol: value 99"),
        ] {
            let why = why(&app);
            assert!(why.starts_with(field) && why.contains("newer agent"), "{why}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_names_its_field() {
        let container_0 =
            |edit: fn(&mut wire::Container)| edited(|template| edit(&mut template.containers[0]));
        for (app, field) in [
            (wire::App { template: None, ..app() }, "template: missing"),
            (edited(|template| template.containers.clear()), "the app has no container"),
            (container_0(|c| c.name = "A".to_owned()), "template.containers[0].name: "),
            (container_0(|c| c.image.clear()), "template.containers[0].image: missing"),
            (
                container_0(|c| c.ports[0].container_port = 70_000),
                "template.containers[0].ports[0].containerPort: 70000",
            ),
            (
                container_0(|c| c.ports[0].host_ip = "x".to_owned()),
                "template.containers[0].ports[0].hostIP: ",
            ),
        ] {
            let why = why(&app);
            assert!(why.starts_with(field), "{why}");
        }
    }

    #[test]
    fn garbage_is_unsupported_and_its_neighbours_are_not() {
        let (good, bad): (AppKey, AppKey) = ("a/b".parse().expect("a key"), "a/c".parse().expect("a key"));
        let set = PayloadSet::from([
            (good.clone(), app().encode_to_vec().into()),
            (bad.clone(), vec![0xff; 9].into()),
        ]);
        let decoded = desired(&"n".parse().expect("a name"), &Host::default(), &set);
        assert!(matches!(decoded.desired.apps[&good], DesiredApp::Valid(_)));
        assert!(matches!(decoded.desired.apps[&bad], DesiredApp::Unsupported { .. }));
        assert_eq!(decoded.uids[&good], "u-1");
    }
}
