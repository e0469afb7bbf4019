use std::time::Duration;

use skerry_agent_core::{
    Container, Handler, Hook, HttpGet, Kind, Lifecycle, Mount, Probe, Probes, Scheme, Seccomp, Security,
    TerminationMessage, TerminationMessagePolicy,
};

use super::*;

fn main(container: &str) -> Container {
    valid(container, "").containers()[0].clone()
}

/// Of an app with a volume `v`.
fn mounts(mounts: &str) -> String {
    format!(r#", "volumeMounts": [{mounts}]"#)
}

const VOLUMES: &str = r#", "volumes": [{"name": "v", "emptyDir": {}}]"#;

#[test]
fn init_containers_come_first_and_sidecars_are_told_apart() {
    let app = valid(
        "",
        r#", "initContainers": [{"name": "one", "image": "x"}, {"name": "side", "image": "x", "restartPolicy": "Always"}]"#,
    );
    let kinds: Vec<_> = app.containers().iter().map(|c| (c.name.as_str(), c.kind)).collect();
    assert_eq!(kinds, [("one", Kind::Init), ("side", Kind::Sidecar), ("main", Kind::Main)]);
}

#[test]
fn plain_fields_are_taken_over() {
    let main = main(
        r#", "workingDir": "/srv", "stdin": true, "tty": true, "command": ["a", "$(B)"], "args": ["$$"],
            "imagePullPolicy": "Never", "terminationMessagePath": "/tmp/last", "terminationMessagePolicy": "FallbackToLogsOnError""#,
    );
    assert_eq!(main.working_dir.as_deref(), Some("/srv"));
    assert_eq!((main.stdin, main.tty, main.pull_policy), (true, true, PullPolicy::Never));
    assert_eq!((main.command, main.args), (vec!["a".to_owned(), "$(B)".to_owned()], vec!["$$".to_owned()]));
    let policy = TerminationMessagePolicy::FallbackToLogsOnError;
    assert_eq!(main.termination_message, TerminationMessage { path: "/tmp/last".to_owned(), policy });
}

#[test]
fn resources_keep_limits_requests_and_devices_apart() {
    let main = main(
        r#", "resources": {"limits": {"cpu": 2, "memory": "64Mi", "skerry.dev/camera": 1},
            "requests": {"cpu": "100m", "skerry.dev/gpu": "2"}}"#,
    );
    let Resources { cpu_limit_millis, memory_limit_bytes, cpu_request_millis, memory_request_bytes } =
        main.resources;
    let amounts = [cpu_limit_millis, memory_limit_bytes, cpu_request_millis, memory_request_bytes];
    assert_eq!(amounts.map(|amount| amount.map_or(0, u64::from)), [2000, 64 << 20, 100, 64 << 20]);
    let devices: Vec<_> = main.devices.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(devices, [("camera", 1), ("gpu", 2)]);
}

#[test]
fn every_handler_and_every_number_of_a_probe_arrives() {
    let main = main(
        r#", "ports": [{"name": "http", "containerPort": 8080}],
            "startupProbe": {"exec": {"command": ["true"]}, "initialDelaySeconds": 1, "timeoutSeconds": 2, "periodSeconds": 3,
                "successThreshold": 1, "failureThreshold": 5, "terminationGracePeriodSeconds": 6},
            "readinessProbe": {"httpGet": {"path": "healthz?a=b", "port": "http", "host": "127.0.0.1", "scheme": "HTTPS",
                "httpHeaders": [{"name": "X-A", "value": "1"}, {"name": "X-A", "value": "2"}]}},
            "livenessProbe": {"grpc": {"port": 9090, "service": "s"}}"#,
    );
    let seconds = Duration::from_secs;
    let port = |number: u16| number.try_into().expect("a port");
    let default = |handler| Probe {
        handler,
        initial_delay: seconds(0),
        timeout: seconds(1),
        period: seconds(10),
        success_threshold: 1,
        failure_threshold: 3,
        grace: None,
    };
    let header = |value: &str| ("X-A".to_owned(), value.to_owned());
    let expected = Probes {
        startup: Some(Probe {
            handler: Handler::Exec { command: vec!["true".to_owned()] },
            initial_delay: seconds(1),
            timeout: seconds(2),
            period: seconds(3),
            success_threshold: 1,
            failure_threshold: 5,
            grace: Some(seconds(6)),
        }),
        readiness: Some(default(Handler::Http(HttpGet {
            scheme: Scheme::Https,
            host: Some("127.0.0.1".to_owned()),
            port: port(8080),
            path: "/healthz?a=b".to_owned(),
            headers: vec![header("1"), header("2")],
        }))),
        liveness: Some(default(Handler::Grpc { port: port(9090), service: "s".to_owned() })),
    };
    assert_eq!(main.probes, expected);
    let tcp = self::main(r#", "livenessProbe": {"tcpSocket": {"port": 1, "host": "h"}}"#).probes.liveness;
    assert_eq!(tcp, Some(default(Handler::Tcp { host: Some("h".to_owned()), port: port(1) })));
}

#[test]
fn hooks_arrive() {
    let main = main(
        r#", "lifecycle": {"postStart": {"exec": {"command": ["a"]}}, "preStop": {"sleep": {"seconds": 4}}}"#,
    );
    let expected = Lifecycle {
        post_start: Some(Hook::Exec { command: vec!["a".to_owned()] }),
        pre_stop: Some(Hook::Sleep(Duration::from_secs(4))),
    };
    assert_eq!(main.lifecycle, expected);
    let http = self::main(r#", "lifecycle": {"preStop": {"httpGet": {"port": 80}}}"#).lifecycle.pre_stop;
    assert!(matches!(http, Some(Hook::Http(HttpGet { path, scheme: Scheme::Http, .. })) if path == "/"));
}

#[test]
fn the_containers_security_wins_over_the_pods() {
    let pod = r#", "securityContext": {"runAsUser": 1, "runAsGroup": 2, "runAsNonRoot": true, "seccompProfile": {"type": "Unconfined"}}"#;
    let inherited = valid("", pod).containers()[0].security.clone();
    let expected = Security {
        user: Some(1),
        group: Some(2),
        non_root: true,
        seccomp: Seccomp::Unconfined,
        ..Security::default()
    };
    assert_eq!(inherited, expected);
    let own = r#", "securityContext": {"runAsUser": 0, "runAsGroup": 3, "runAsNonRoot": false, "readOnlyRootFilesystem": true,
        "capabilities": {"add": ["NET_ADMIN", "cap_sys_time"], "drop": ["ALL"]}, "privileged": true,
        "allowPrivilegeEscalation": false, "seccompProfile": {"type": "RuntimeDefault"}}"#;
    let own = valid(own, pod).containers()[0].security.clone();
    let expected = Security {
        user: Some(0),
        group: Some(3),
        non_root: false,
        read_only_root: true,
        add_capabilities: vec!["NET_ADMIN".to_owned(), "SYS_TIME".to_owned()],
        drop_capabilities: vec!["ALL".to_owned()],
        privileged: true,
        no_new_privileges: true,
        seccomp: Seccomp::RuntimeDefault,
    };
    assert_eq!(own, expected);
}

#[test]
fn mounts_are_absolute_and_stay_in_their_volume() {
    let container = mounts(
        r#"{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "b", "subPath": "x//./y", "readOnly": true},
            {"name": "v", "mountPath": "/c", "subPathExpr": "logs/$(POD)"}, {"name": "v", "mountPath": "/d", "subPath": "."}"#,
    );
    let mount = |path: &str, sub_path: &str, read_only, sub_path_expands| Mount {
        volume: "v".to_owned(),
        path: path.to_owned(),
        read_only,
        sub_path: sub_path.to_owned(),
        sub_path_expands,
    };
    let expected = [
        mount("/a", "", false, false),
        mount("/b", "x/y", true, false),
        mount("/c", "logs/$(POD)", false, true),
        mount("/d", "", false, false),
    ];
    assert_eq!(valid(&container, VOLUMES).containers()[0].mounts, expected);
}

#[test]
fn a_container_that_cannot_be_honoured_says_why() {
    let init = |fields: &str| format!(r#", "initContainers": [{{"name": "i", "image": "x" {fields}}}]"#);
    let cases = [
        (mounts(r#"{"name": "v", "mountPath": "/a", "subPath": "../b"}"#), VOLUMES.to_owned(), "containers[0].volumeMounts[0].subPath"),
        (mounts(r#"{"name": "v", "mountPath": "/a", "subPath": "/b"}"#), VOLUMES.to_owned(), "containers[0].volumeMounts[0].subPath"),
        (
            mounts(r#"{"name": "v", "mountPath": "/a", "subPathExpr": "a/../$(B)"}"#),
            VOLUMES.to_owned(),
            "containers[0].volumeMounts[0].subPathExpr",
        ),
        (
            mounts(r#"{"name": "v", "mountPath": "/a", "subPath": "a", "subPathExpr": "b"}"#),
            VOLUMES.to_owned(),
            "containers[0].volumeMounts[0].subPathExpr",
        ),
        (mounts(r#"{"name": "v", "mountPath": "/a/.."}"#), VOLUMES.to_owned(), "containers[0].volumeMounts[0].mountPath"),
        (mounts(r#"{"name": "v", "mountPath": "//"}"#), VOLUMES.to_owned(), "containers[0].volumeMounts[0].mountPath"),
        (
            mounts(r#"{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}"#),
            VOLUMES.to_owned(),
            "containers[0].volumeMounts[1].mountPath",
        ),
        (
            r#", "readinessProbe": {"httpGet": {"port": "nope"}}"#.to_owned(),
            String::new(),
            "containers[0].readinessProbe.httpGet.port",
        ),
        (
            r#", "readinessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "A", "value": "x\r\nB: y"}]}}"#.to_owned(),
            String::new(),
            "containers[0].readinessProbe.httpGet.httpHeaders[0].value",
        ),
        (
            r#", "readinessProbe": {"httpGet": {"port": 1, "host": "a b"}}"#.to_owned(),
            String::new(),
            "containers[0].readinessProbe.httpGet.host",
        ),
        (r#", "livenessProbe": {"exec": {}}"#.to_owned(), String::new(), "containers[0].livenessProbe.exec.command"),
        (String::new(), init(r#", "livenessProbe": {"exec": {"command": ["x"]}}"#), "initContainers[0]"),
        (String::new(), init(r#", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}"#), "initContainers[0]"),
        (r#", "restartPolicy": "Always""#.to_owned(), String::new(), "containers[0].restartPolicy"),
        (
            r#", "securityContext": {"runAsUser": -1}"#.to_owned(),
            String::new(),
            "containers[0].securityContext.runAsUser",
        ),
        (
            r#", "securityContext": {"capabilities": {"add": ["no way"]}}"#.to_owned(),
            String::new(),
            "containers[0].securityContext.capabilities.add[0]",
        ),
        (r#", "terminationMessagePath": "here""#.to_owned(), String::new(), "containers[0].terminationMessagePath"),
        (r#", "env": [{"name": "A=B"}]"#.to_owned(), String::new(), "containers[0].env[0].name"),
    ];
    for (container, pod, path) in cases {
        let why = why(decoded(&encoded(&spec(&container, &pod), &[])));
        assert!(why.starts_with(&format!("template.{path}: ")), "{path}: {why}");
    }
}
