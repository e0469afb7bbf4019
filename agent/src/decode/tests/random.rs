//! Payloads that nobody meant: whatever the bytes, decoding ends soon, without a panic, and what it takes for valid keeps its promises.
//! `PROPTEST_CASES` says how many of each (256), `PROPTEST_RNG_SEED` which.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use skerry_agent_core::Volume;

use super::*;

/// Far more than any payload at its cap needs in a build without optimisation, and far less than one quadratic step would take.
const SOON: Duration = Duration::from_secs(10);

/// A spec with every field of the subset.
pub(super) fn full_spec() -> EdgeAppSpec {
    spec(
        r#", "command": ["$(A)"], "args": ["b"], "workingDir": "/w", "stdin": true, "tty": true,
            "env": [{"name": "A", "value": "$(B)"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
                {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}},
                {"name": "E", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}],
            "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}],
            "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1", "protocol": "UDP"}],
            "resources": {"limits": {"cpu": 1, "memory": "8Mi", "skerry.dev/a": 1}},
            "volumeMounts": [{"name": "c", "mountPath": "/c", "subPath": "k", "readOnly": true}, {"name": "p", "mountPath": "/p", "subPathExpr": "$(A)"}],
            "startupProbe": {"exec": {"command": ["true"]}}, "readinessProbe": {"httpGet": {"port": "http", "httpHeaders": [{"name": "A", "value": "b"}]}},
            "livenessProbe": {"grpc": {"port": 1, "service": "s"}, "terminationGracePeriodSeconds": 2},
            "lifecycle": {"postStart": {"sleep": {"seconds": 1}}, "preStop": {"httpGet": {"port": 80}}},
            "terminationMessagePath": "/t", "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {"runAsUser": 1, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
                "allowPrivilegeEscalation": false, "seccompProfile": {"type": "Localhost", "localhostProfile": "p/a.json"}}"#,
        r#", "initContainers": [{"name": "i", "image": "x"}, {"name": "s", "image": "x", "restartPolicy": "Always"}],
            "restartPolicy": "OnFailure", "hostIPC": true, "shareProcessNamespace": true, "hostname": "h",
            "dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "1"}]},
            "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["a"]}], "imagePullSecrets": [{"name": "s"}],
            "securityContext": {"fsGroup": 1, "supplementalGroups": [1], "sysctls": [{"name": "net.a", "value": "1"}]},
            "volumes": [{"name": "c", "configMap": {"name": "c", "items": [{"key": "k", "path": "k", "mode": 256}]}},
                {"name": "s", "secret": {"secretName": "s"}}, {"name": "h", "hostPath": {"path": "/h", "type": "File"}},
                {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}, {"name": "l", "local": {"reclaimPolicy": "Retain"}},
                {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "p", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s", "optional": true}},
                    {"downwardAPI": {"items": [{"path": "m", "resourceFieldRef": {"resource": "limits.memory", "containerName": "i"}}]}}]}}]"#,
    )
}

/// What it refers to.
pub(super) fn full_config() -> [ConfigObject; 2] {
    let pull = r#"{"auths": {"r.example": {"auth": "dTpw"}}}"#;
    let secret = ConfigObject {
        r#type: "kubernetes.io/dockerconfigjson".to_owned(),
        ..secret("s", &[("k", "v"), (".dockerconfigjson", pull)])
    };
    [config_map("c", &[("k", "v")]), secret]
}

/// Both, as they travel.
pub(super) fn full() -> wire::App {
    wire::App::decode(&encoded(&full_spec(), &full_config())[..]).expect("an app")
}

/// Decodes in time; what is valid keeps the promises that the box relies on.
pub(super) fn judge(payload: &[u8]) -> DesiredApp {
    let start = Instant::now();
    let app = decoded(payload);
    let took = start.elapsed();
    assert!(took < SOON, "{took:?} for {} bytes", payload.len());
    let DesiredApp::Valid(valid) = &app else { return app };
    for volume in valid.volumes.values() {
        let Volume::Files { secret: _, files } = volume else { continue };
        for file in files {
            let steps_in = file.path.split('/').all(|step| !matches!(step, "" | "." | ".."));
            assert!(steps_in && !file.path.starts_with("..") && file.mode <= 0o777, "{file:?}");
        }
        assert!(files.windows(2).all(|pair| pair[0].path < pair[1].path), "sorted and unique");
    }
    for container in valid.containers() {
        assert!(container.mounts.iter().all(|mount| mount.path.starts_with('/')), "{container:?}");
        assert!(container.mounts.iter().all(|mount| !mount.sub_path.split('/').any(|step| step == "..")));
        assert!(
            container.env.iter().all(|variable| !variable.name.is_empty() && !variable.name.contains('='))
        );
    }
    for name in valid.host_aliases.iter().flat_map(|(_, names)| names).chain(&valid.dns.searches) {
        assert!(!name.contains(|c: char| c.is_whitespace() || c.is_control()), "{name:?}");
    }
    app
}

#[test]
fn the_full_app_is_valid() {
    let app = judge(&full().encode_to_vec());
    let DesiredApp::Valid(app) = app else { panic!("{app:?}") };
    assert_eq!((app.containers().len(), app.volumes.len(), app.missing.len()), (3, 7, 0));
}

/// What a hostile text looks like: empty, long, and with all that has a meaning somewhere.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z.:/$()=' \\n\\x00-]{0,12}",
        Just("../..".to_owned()),
        Just("metadata.labels['app']".to_owned()),
        Just("c".to_owned()),
        Just("x".repeat(5000)),
    ]
}

/// Replaces the n-th text of the app by another one; false when there are not so many.
fn replace_text(app: &mut wire::App, n: usize, text: &str) -> bool {
    let mut bytes = app.encode_to_vec();
    let spots = spots(&bytes);
    let Some((start, end)) = spots.get(n % spots.len().max(1)).copied() else { return false };
    // A text of the same length keeps every length around it true.
    let filler: Vec<u8> = text.bytes().chain(std::iter::repeat(b'a')).take(end - start).collect();
    bytes[start..end].copy_from_slice(&filler);
    match wire::App::decode(&bytes[..]) {
        Ok(edited) => {
            *app = edited;
            true
        }
        Err(_) => false,
    }
}

/// Where runs of text are in an encoded message.
fn spots(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut spots = Vec::new();
    let mut start = None;
    for (i, byte) in bytes.iter().enumerate() {
        let printable = (b' '..=b'~').contains(byte);
        match (start, printable) {
            (None, true) => start = Some(i),
            (Some(from), false) => {
                spots.push((from, i));
                start = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    spots
}

proptest! {
    #[test]
    fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        judge(&bytes);
    }

    #[test]
    fn a_damaged_app_is_judged(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = full().encode_to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        judge(&bytes);
    }

    #[test]
    fn an_app_with_hostile_texts_is_judged(edits in proptest::collection::vec((0usize..300, text()), 1..8)) {
        let mut app = full();
        for (n, text) in &edits {
            replace_text(&mut app, *n, text);
        }
        judge(&app.encode_to_vec());
    }

    #[test]
    fn an_app_with_hostile_fields_is_judged(
        path in text(), key in text(), field in text(), mount in text(), host in text(), mode in any::<u32>(), number in any::<u32>(), wide in any::<i64>(),
    ) {
        use wire::volume::Source;
        let mut app = full();
        let template = app.template.as_mut().expect("a template");
        let volume = |source| wire::Volume { name: "x".to_owned(), source: Some(source) };
        let item = wire::KeyToPath { key: key.clone(), path: path.clone(), mode: Some(mode) };
        let config = wire::ConfigVolume { name: "c".to_owned(), items: vec![item], optional: mode % 2 == 0, default_mode: None };
        let fact = wire::DownwardApiFile {
            path: path.clone(),
            mode: None,
            source: Some(wire::downward_api_file::Source::FieldRef(field.clone())),
        };
        template.volumes.push(match mode % 4 {
            0 => volume(Source::ConfigMap(config)),
            1 => volume(Source::DownwardApi(wire::DownwardApiVolume { items: vec![fact], default_mode: Some(mode) })),
            2 => volume(Source::HostPath(wire::HostPath { path: path.clone(), r#type: 99 })),
            _ => volume(Source::EmptyDir(wire::EmptyDir { medium: 0, size_limit_bytes: mode.into() })),
        });
        app.config[0].data.insert(key.clone(), path.clone().into_bytes());
        let container = &mut template.containers[0];
        container.volume_mounts[0].mount_path = mount;
        container.volume_mounts[1].sub_path_expr = path;
        container.env[1].name = key;
        container.env[1].value_from = Some(wire::EnvVarSource { source: Some(wire::env_var_source::Source::FieldRef(field)) });
        container.ports[0].container_port = number;
        container.security_context.get_or_insert_default().run_as_user = Some(wide);
        template.host_aliases[0].hostnames.push(host.clone());
        template.dns_config.get_or_insert_default().searches.push(host);
        judge(&app.encode_to_vec());
    }
}
