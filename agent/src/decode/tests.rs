use skerry_agent_core::{
    Capacity, Container, EnvValue, EnvVar, Kind, Network, Port, Protocol, PullPolicy, RestartPolicy, Switch,
    ValidApp,
};
use skerry_api::EdgeAppSpec;
use skerry_api::wire::{ConfigKind, ConfigObject, payload};
use skerry_terms::Payload;

use super::*;

mod container;
mod env;
mod largest;
mod pod;
mod random;
mod registry;
mod volume;

/// A spec of one container, which has these fields besides name and image, in a pod that has these besides its containers.
fn spec(container: &str, pod: &str) -> EdgeAppSpec {
    let json = format!(
        r#"{{"template": {{"metadata": {{"labels": {{"app": "web"}}, "annotations": {{"note": "hi"}}}},
            "spec": {{"containers": [{{"name": "main", "image": "web:1" {container}}}] {pod}}}}}}}"#
    );
    serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn encoded(spec: &EdgeAppSpec, config: &[ConfigObject]) -> Payload {
    payload("uid-1", "web-1", spec, &BTreeMap::new(), config).expect("a payload")
}

fn host() -> Host {
    Host { capacity: Capacity { cpu_millis: 4000, memory_bytes: 8 << 30 }, ..Host::default() }
}

fn decoded(payload: &[u8]) -> DesiredApp {
    let key: AppKey = "shop/web".parse().expect("a key");
    app(&"box-1".parse().expect("a name"), &host(), &key, payload).1
}

fn valid_of(spec: &EdgeAppSpec, config: &[ConfigObject]) -> ValidApp {
    match decoded(&encoded(spec, config)) {
        DesiredApp::Valid(app) => app,
        other @ (DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. }) => panic!("{other:?}"),
    }
}

/// The app of a spec that refers to nothing, or to what does not exist.
fn valid(container: &str, pod: &str) -> ValidApp {
    valid_of(&spec(container, pod), &[])
}

fn why(app: DesiredApp) -> String {
    match app {
        DesiredApp::Unsupported { revision: _, why } => why,
        other @ (DesiredApp::Valid(_) | DesiredApp::Refused { .. }) => panic!("{other:?}"),
    }
}

/// What is wrong with a payload that no encoder of ours writes.
fn why_edited(container: &str, pod: &str, edit: impl FnOnce(&mut wire::PodTemplate)) -> String {
    let mut app = wire::App::decode(&encoded(&spec(container, pod), &[])[..]).expect("an app");
    edit(app.template.as_mut().expect("a template"));
    why(decoded(&app.encode_to_vec()))
}

fn object(kind: ConfigKind, name: &str, data: &[(&str, &str)]) -> ConfigObject {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
    ConfigObject { kind: kind.into(), name: name.to_owned(), data, ..Default::default() }
}

fn config_map(name: &str, data: &[(&str, &str)]) -> ConfigObject {
    object(ConfigKind::ConfigMap, name, data)
}

fn secret(name: &str, data: &[(&str, &str)]) -> ConfigObject {
    object(ConfigKind::Secret, name, data)
}

/// Written by the encoder of before the fields of today, with every field that it knew: a box must not see another app in it.
#[test]
fn a_payload_of_the_first_fields_is_the_same_app_for_ever() {
    let DesiredApp::Valid(app) = decoded(include_bytes!("testdata/first-fields.bin")) else {
        panic!("unsupported")
    };
    let literal = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: EnvValue::Literal(value.to_owned()),
    };
    let port = |number: u16, protocol, host_port: Option<u16>, host_ip: Option<&str>| Port {
        container_port: number.try_into().expect("a port"),
        protocol,
        host_port: host_port.map(|port| port.try_into().expect("a port")),
        host_ip: host_ip.map(|ip| ip.parse().expect("an address")),
    };
    let name = |name: &str| name.parse().expect("a name");
    let main = Container {
        pull_policy: PullPolicy::Always,
        command: vec!["sh".to_owned(), "-c".to_owned()],
        args: vec!["exec web".to_owned()],
        env: vec![literal("MODE", "prod"), literal("EMPTY", "")],
        ports: vec![
            port(80, Protocol::Tcp, Some(8080), Some("127.0.0.1")),
            port(53, Protocol::Udp, None, None),
        ],
        resources: Resources {
            cpu_limit_millis: 500.try_into().ok(),
            memory_limit_bytes: (64 << 20).try_into().ok(),
            ..Resources::default()
        },
        ..Container::new(name("main"), "registry.example/web:1".to_owned())
    };
    let side = Container::new(name("side"), "side:2".to_owned());
    let key = "shop/web".parse().expect("a key");
    let expected = skerry_agent_core::AppSpec {
        uid: "uid-1".to_owned(),
        restart_policy: RestartPolicy::OnFailure,
        grace: std::time::Duration::from_secs(7),
        labels: [("app", "web"), ("tier", "front")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        annotations: [("note".to_owned(), "as it was".to_owned())].into(),
        ..skerry_agent_core::AppSpec::new(key, "web-0123456789".to_owned(), vec![main, side])
    };
    assert_eq!(*app, expected);
}

#[test]
fn a_bare_app_has_kubernetes_defaults() {
    let app = valid("", "");
    assert_eq!((app.uid.as_str(), app.revision.as_str()), ("uid-1", "web-1"));
    assert_eq!(
        (app.restart_policy, app.network, app.grace.as_secs()),
        (RestartPolicy::Always, Network::Bridge, 30)
    );
    assert_eq!((app.switch, app.progress_deadline.as_secs()), (Switch::StopFirst, 600));
    let [main] = app.containers() else { panic!("{app:?}") };
    assert_eq!((main.kind, main.pull_policy), (Kind::Main, PullPolicy::IfNotPresent));
    assert_eq!(*main, Container::new("main".parse().expect("a name"), "web:1".to_owned()));
}

#[test]
fn what_a_newer_controller_knows_is_named_not_guessed() {
    type Edit = fn(&mut wire::PodTemplate);
    let edits: [(Edit, &str); 10] = [
        (|t| t.restart_policy = 99, "template.restartPolicy: value 99"),
        (|t| t.dns_policy = 99, "template.dnsPolicy: value 99"),
        (|t| t.containers[0].image_pull_policy = 99, "template.containers[0].imagePullPolicy: value 99"),
        (|t| t.containers[0].restart_policy = 99, "template.containers[0].restartPolicy: value 99"),
        (
            |t| t.containers[0].termination_message_policy = 99,
            "template.containers[0].terminationMessagePolicy: value 99",
        ),
        (
            |t| {
                t.containers[0].ports =
                    vec![wire::Port { container_port: 1, protocol: 99, ..Default::default() }]
            },
            "template.containers[0].ports[0].protocol: value 99",
        ),
        (
            |t| t.containers[0].liveness_probe = Some(wire::Probe::default()),
            "template.containers[0].livenessProbe: ",
        ),
        (
            |t| {
                t.containers[0].env = vec![wire::EnvVar {
                    name: "A".to_owned(),
                    value_from: Some(wire::EnvVarSource::default()),
                    ..Default::default()
                }]
            },
            "template.containers[0].env[0].valueFrom: ",
        ),
        (|t| t.volumes = vec![wire::Volume { name: "a".to_owned(), source: None }], "template.volumes[0]: "),
        (
            |t| t.containers[0].devices = [("hugepages-2Mi".to_owned(), 1)].into(),
            "template.containers[0].resources.limits: the resource \"hugepages-2Mi\"",
        ),
    ];
    for (edit, start) in edits {
        let why = why_edited("", "", edit);
        assert!(why.starts_with(start) && why.contains("newer agent"), "{start}: {why}");
    }
    let app = wire::App { switch: 99, template: Some(wire::PodTemplate::default()), ..Default::default() };
    assert!(why(decoded(&app.encode_to_vec())).starts_with("switch: value 99"));
}

#[test]
fn what_cannot_be_honoured_names_its_field() {
    type Edit = fn(&mut wire::PodTemplate);
    let edits: [(Edit, &str); 7] = [
        (|t| t.containers.clear(), "the app has no container"),
        (|t| t.containers[0].name = "A".to_owned(), "template.containers[0].name: "),
        (|t| t.containers[0].image.clear(), "template.containers[0].image: missing"),
        (
            |t| t.containers = vec![t.containers[0].clone(); caps::CONTAINERS_MAX + 1],
            "template.containers: 33, at most 32",
        ),
        (
            |t| t.containers[0].ports = vec![wire::Port { container_port: 70_000, ..Default::default() }],
            "template.containers[0].ports[0].containerPort: 70000",
        ),
        (
            |t| {
                t.containers[0].ports =
                    vec![wire::Port { container_port: 1, host_ip: "x".to_owned(), ..Default::default() }]
            },
            "template.containers[0].ports[0].hostIP: ",
        ),
        (
            |t| {
                t.containers[0].volume_mounts = vec![wire::VolumeMount {
                    name: "none".to_owned(),
                    mount_path: "/a".to_owned(),
                    ..Default::default()
                }]
            },
            "container main mounts volume \"none\"",
        ),
    ];
    for (edit, start) in edits {
        let why = why_edited("", "", edit);
        assert!(why.starts_with(start), "{start}: {why}");
    }
    assert_eq!(why(decoded(&wire::App::default().encode_to_vec())), "template: missing");
}

#[test]
fn garbage_is_unsupported_and_its_neighbours_are_not() {
    let (good, bad): (AppKey, AppKey) = ("a/b".parse().expect("a key"), "a/c".parse().expect("a key"));
    let set =
        PayloadSet::from([(good.clone(), encoded(&spec("", ""), &[])), (bad.clone(), vec![0xff; 9].into())]);
    let decoded = desired(&"n".parse().expect("a name"), &Host::default(), &set);
    assert!(matches!(decoded.desired.apps[&good], DesiredApp::Valid(_)));
    assert!(matches!(decoded.desired.apps[&bad], DesiredApp::Unsupported { .. }));
    assert_eq!(decoded.uids[&good], "uid-1");
}

#[test]
fn a_secret_is_in_no_debug_output() {
    let spec = spec(
        r#", "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}],
            "envFrom": [{"secretRef": {"name": "login"}}], "volumeMounts": [{"name": "v", "mountPath": "/v"}]"#,
        r#", "volumes": [{"name": "v", "secret": {"secretName": "login"}}], "imagePullSecrets": [{"name": "pull"}]"#,
    );
    let auth =
        r#"{"auths": {"r.example": {"username": "u", "password": "hunter2", "identitytoken": "hunter2"}}}"#;
    let pull = ConfigObject {
        r#type: "kubernetes.io/dockerconfigjson".to_owned(),
        ..secret("pull", &[(".dockerconfigjson", auth)])
    };
    let app = valid_of(&spec, &[secret("login", &[("password", "hunter2")]), pull]);
    assert_eq!(app.containers()[0].env.len(), 2);
    assert_eq!(app.registry_auths[0].password.0, "hunter2");
    let shown = format!("{app:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
}
