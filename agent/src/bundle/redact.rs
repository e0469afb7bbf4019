//! Documents for a support archive: of each kind, the fields that are passed on. What is not named here is not in the archive, so that a field
//! that a newer Docker adds cannot give anything away.

use prost::Message as _;
use serde_json::{Map, Value};
use skerry_proto::wire;
use skerry_terms::{Payload, labels};

use super::hide::{NOT_SHOWN, is_telling};

/// Of `docker inspect`.
const CONTAINER: [&str; 9] = [
    "Id",
    "Name",
    "Created",
    "Image",
    "RestartCount",
    "Driver",
    "Platform",
    "NetworkSettings",
    "GraphDriver",
];
/// Of its `State`. `Error` may quote a command.
const STATE: [&str; 10] = [
    "Status",
    "Running",
    "Paused",
    "Restarting",
    "OOMKilled",
    "Dead",
    "Pid",
    "ExitCode",
    "StartedAt",
    "FinishedAt",
];
const CONFIG: [&str; 8] =
    ["Image", "User", "WorkingDir", "Tty", "OpenStdin", "ExposedPorts", "StopSignal", "StopTimeout"];
const HOST_CONFIG: [&str; 27] = [
    "NetworkMode",
    "PortBindings",
    "RestartPolicy",
    "LogConfig",
    "AutoRemove",
    "CapAdd",
    "CapDrop",
    "Privileged",
    "ReadonlyRootfs",
    "SecurityOpt",
    "PidMode",
    "IpcMode",
    "UsernsMode",
    "CgroupnsMode",
    "OomScoreAdj",
    "Memory",
    "MemorySwap",
    "MemoryReservation",
    "NanoCpus",
    "CpuShares",
    "CpuPeriod",
    "CpuQuota",
    "PidsLimit",
    "Devices",
    "DeviceRequests",
    "Dns",
    "Runtime",
];
const MOUNT: [&str; 6] = ["Type", "Source", "Destination", "Mode", "RW", "Propagation"];
/// Of `docker ps`.
const LISTED: [&str; 9] =
    ["Id", "Names", "Image", "ImageID", "Created", "Ports", "State", "Status", "HostConfig"];
const IMAGE: [&str; 7] = ["Id", "ParentId", "RepoTags", "RepoDigests", "Created", "Size", "Containers"];
const INFO: [&str; 41] = [
    "Name",
    "ServerVersion",
    "SystemTime",
    "Driver",
    "DriverStatus",
    "DockerRootDir",
    "CgroupDriver",
    "CgroupVersion",
    "LoggingDriver",
    "LiveRestoreEnabled",
    "Containers",
    "ContainersRunning",
    "ContainersPaused",
    "ContainersStopped",
    "Images",
    "MemoryLimit",
    "SwapLimit",
    "CpuCfsPeriod",
    "CpuCfsQuota",
    "CPUShares",
    "CPUSet",
    "PidsLimit",
    "OomKillDisable",
    "IPv4Forwarding",
    "BridgeNfIptables",
    "Debug",
    "NFd",
    "NGoroutines",
    "NEventsListener",
    "KernelVersion",
    "OperatingSystem",
    "OSType",
    "Architecture",
    "NCPU",
    "MemTotal",
    "HttpProxy",
    "HttpsProxy",
    "DefaultRuntime",
    "SecurityOptions",
    "Warnings",
    "RuncCommit",
];
/// Labels of ours that say nothing but names and numbers. The commands of hooks are not among them.
const LABELS: [&str; 9] = [
    labels::NODE,
    labels::NAMESPACE,
    labels::APP,
    labels::CONTAINER,
    labels::REVISION,
    labels::SPEC_HASH,
    labels::RESTART_COUNT,
    labels::STOP_RANK,
    labels::HOME,
];

fn only(document: &Value, fields: &[&str]) -> Map<String, Value> {
    let field = |name: &&str| Some(((*name).to_owned(), document.get(name)?.clone()));
    fields.iter().filter_map(field).filter(|(_, value)| !value.is_null()).collect()
}

/// Of `docker inspect`. `speaks`: with Docker's words on why it did not start.
pub(super) fn container(document: &Value, speaks: bool) -> Value {
    let part = |name: &str| document.get(name).unwrap_or(&Value::Null);
    let mut state = only(part("State"), &STATE);
    match part("State").get("Error") {
        Some(error) if speaks => drop(state.insert("Error".to_owned(), error.clone())),
        Some(_) | None => {}
    }
    let mut config = only(part("Config"), &CONFIG);
    for list in ["Cmd", "Entrypoint"] {
        if let Some(words) = part("Config").get(list).and_then(Value::as_array) {
            config.insert(list.to_owned(), format!("{} words {NOT_SHOWN}", words.len()).into());
        }
    }
    let variables = part("Config").get("Env").and_then(Value::as_array).into_iter().flatten();
    let name = |variable: &Value| Some(variable.as_str()?.split('=').next()?.to_owned());
    config.insert(
        "Env".to_owned(),
        variables.filter_map(name).map(|name| format!("{name}={NOT_SHOWN}")).collect(),
    );
    config.insert("Labels".to_owned(), shown_labels(part("Config").get("Labels")));
    let mounts = part("Mounts").as_array().into_iter().flatten();
    let mut container = only(document, &CONTAINER);
    container.insert("State".to_owned(), state.into());
    container.insert("Config".to_owned(), config.into());
    container.insert("HostConfig".to_owned(), only(part("HostConfig"), &HOST_CONFIG).into());
    container.insert("Mounts".to_owned(), mounts.map(|mount| Value::from(only(mount, &MOUNT))).collect());
    container.into()
}

fn shown_labels(labels: Option<&Value>) -> Value {
    let labels = labels.and_then(Value::as_object).into_iter().flatten();
    labels
        .map(|(name, value)| {
            let shown = LABELS.contains(&name.as_str());
            (name.clone(), if shown { value.clone() } else { NOT_SHOWN.into() })
        })
        .collect()
}

/// Of `docker ps`: a list.
pub(super) fn containers(document: &Value) -> Value {
    let one = |container: &Value| {
        let mut shown = only(container, &LISTED);
        shown.insert("Labels".to_owned(), shown_labels(container.get("Labels")));
        Value::from(shown)
    };
    document.as_array().into_iter().flatten().map(one).collect()
}

/// Of `docker images`: a list.
pub(super) fn images(document: &Value) -> Value {
    document.as_array().into_iter().flatten().map(|image| Value::from(only(image, &IMAGE))).collect()
}

/// Of `docker info`.
pub(super) fn info(document: &Value) -> Value {
    only(document, &INFO).into()
}

/// Of `agent.toml`.
pub(super) fn configuration(document: Value) -> Value {
    match document {
        Value::Object(fields) => {
            let shown = |(key, value): (String, Value)| {
                let is_path = value.as_str().is_some_and(|text| text.starts_with('/'));
                let value =
                    if is_telling(&key) && !is_path { NOT_SHOWN.into() } else { configuration(value) };
                (key, value)
            };
            fields.into_iter().map(shown).collect()
        }
        Value::Array(items) => items.into_iter().map(configuration).collect(),
        Value::String(text) if text.contains("-----BEGIN") => NOT_SHOWN.into(),
        same @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => same,
    }
}

/// What `skerry-agent status` says. Without `speaks`, without what containers and Docker have said.
pub(super) fn status(mut document: Value, speaks: bool) -> Value {
    if !speaks {
        silence(&mut document);
    }
    document
}

fn silence(document: &mut Value) {
    match document {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                let words = key == "message" || key.ends_with("Message");
                if words && value.as_str().is_some_and(|text| !text.is_empty()) {
                    *value = NOT_SHOWN.into();
                } else {
                    silence(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(silence),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An app as it was received, in words: of ConfigMaps and Secrets the keys alone, of variables and headers the
/// names, of commands how long they are.
pub(super) fn app(payload: &Payload) -> String {
    let Ok(mut app) = wire::App::decode(&payload[..]) else { return "it cannot be read\n".to_owned() };
    let template = app.template.iter_mut();
    for container in
        template.flat_map(|template| template.containers.iter_mut().chain(&mut template.init_containers))
    {
        for variable in container.env.iter_mut().filter(|variable| !variable.value.is_empty()) {
            variable.value = NOT_SHOWN.to_owned();
        }
        hide_words(&mut container.command);
        hide_words(&mut container.args);
        let probes =
            [&mut container.startup_probe, &mut container.readiness_probe, &mut container.liveness_probe];
        for probe in probes.into_iter().flatten() {
            match &mut probe.handler {
                Some(wire::probe::Handler::HttpGet(get)) => hide_headers(get),
                Some(wire::probe::Handler::Exec(exec)) => hide_words(&mut exec.command),
                Some(wire::probe::Handler::TcpSocket(_) | wire::probe::Handler::Grpc(_)) | None => {}
            }
        }
        let hooks =
            container.lifecycle.iter_mut().flat_map(|hooks| [&mut hooks.post_start, &mut hooks.pre_stop]);
        for hook in hooks.flatten() {
            match &mut hook.handler {
                Some(wire::lifecycle_handler::Handler::HttpGet(get)) => hide_headers(get),
                Some(wire::lifecycle_handler::Handler::Exec(exec)) => hide_words(&mut exec.command),
                Some(wire::lifecycle_handler::Handler::Sleep(_)) | None => {}
            }
        }
    }
    format!("{app:#?}\n")
}

/// How many words there are may be known.
fn hide_words(words: &mut [String]) {
    words.iter_mut().for_each(|word| NOT_SHOWN.clone_into(word));
}

fn hide_headers(get: &mut wire::HttpGetAction) {
    get.http_headers.iter_mut().for_each(|header| header.value = NOT_SHOWN.to_owned());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MARKER: &str = "m4rk3r-of-the-s3cret";

    #[test]
    fn of_a_container_only_what_is_listed_is_shown() {
        let document = json!({
            "Id": "1", "Path": MARKER, "Args": [MARKER], "New": MARKER, "RestartCount": 3,
            "State": {"Status": "running", "Error": format!("exec {MARKER}"), "New": MARKER},
            "Config": {
                "Env": [format!("TOKEN={MARKER}"), "EMPTY="], "Cmd": ["a", MARKER], "Entrypoint": [MARKER],
                "Labels": {"skerry.dev/app": "web", "skerry.dev/pre-stop": MARKER, "note": MARKER},
                "Healthcheck": {"Test": [MARKER]}, "User": "0",
            },
            "HostConfig": {"Memory": 1, "Binds": [MARKER], "Mounts": [{"Source": MARKER}], "Annotations": {"a": MARKER}},
            "Mounts": [{"Type": "bind", "Source": "/data", "Destination": "/d", "New": MARKER}],
        });
        let shown = container(&document, false);
        assert!(!shown.to_string().contains(MARKER), "{shown:#}");
        assert_eq!(shown.pointer("/Config/Env"), Some(&json!(["TOKEN=(not shown)", "EMPTY=(not shown)"])));
        assert_eq!(shown.pointer("/Config/Cmd"), Some(&json!("2 words (not shown)")));
        assert_eq!(shown.pointer("/Config/Labels/skerry.dev~1app"), Some(&json!("web")));
        assert_eq!(shown.pointer("/Mounts/0/Destination"), Some(&json!("/d")));
        assert_eq!(shown.pointer("/RestartCount"), Some(&json!(3)));
        assert!(container(&document, true).pointer("/State/Error").is_some());
        let listed = containers(&json!([{"Id": "1", "Command": MARKER, "Labels": {"a": MARKER}}]));
        assert!(!listed.to_string().contains(MARKER), "{listed:#}");
        let listed = images(&json!([{"Id": "1", "Labels": {"a": MARKER}, "RepoTags": ["a:1"]}]));
        assert_eq!(listed, json!([{"Id": "1", "RepoTags": ["a:1"]}]));
    }

    #[test]
    fn of_an_app_the_names_are_shown() {
        let variable = |name: &str, value: &str| wire::EnvVar {
            name: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        };
        let header = wire::HttpHeader { name: "X-Token".to_owned(), value: MARKER.to_owned() };
        let get = wire::HttpGetAction { http_headers: vec![header], ..Default::default() };
        let exec = wire::ExecAction { command: vec!["login".to_owned(), MARKER.to_owned()] };
        let container = wire::Container {
            name: "main".to_owned(),
            command: vec![MARKER.to_owned()],
            args: vec![format!("--token={MARKER}")],
            env: vec![variable("MODE", MARKER)],
            readiness_probe: Some(wire::Probe {
                handler: Some(wire::probe::Handler::Exec(exec.clone())),
                ..Default::default()
            }),
            liveness_probe: Some(wire::Probe {
                handler: Some(wire::probe::Handler::HttpGet(get.clone())),
                ..Default::default()
            }),
            lifecycle: Some(wire::Lifecycle {
                pre_stop: Some(wire::LifecycleHandler {
                    handler: Some(wire::lifecycle_handler::Handler::HttpGet(get)),
                }),
                post_start: Some(wire::LifecycleHandler {
                    handler: Some(wire::lifecycle_handler::Handler::Exec(exec)),
                }),
            }),
            ..Default::default()
        };
        let object = wire::ConfigObject {
            kind: wire::ConfigKind::Secret.into(),
            name: "login".to_owned(),
            data: [("password".to_owned(), MARKER.as_bytes().to_vec())].into(),
            ..Default::default()
        };
        let template = wire::PodTemplate {
            init_containers: vec![container.clone()],
            containers: vec![container],
            ..Default::default()
        };
        let payload = wire::App { template: Some(template), config: vec![object], ..Default::default() }
            .encode_to_vec();
        let shown = app(&Payload::from(payload));
        assert!(!shown.contains(MARKER), "{shown}");
        for words in ["MODE", "X-Token", "login", "password", NOT_SHOWN] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert_eq!(app(&Payload::from(vec![0xff])), "it cannot be read\n");
    }

    #[test]
    fn a_configuration_is_shown_without_what_its_keys_tell_of() {
        let document = json!({
            "store-key": "/media/stick/store.key", "registry-password": MARKER, "api_key": MARKER,
            "tls": {"key": format!("-----BEGIN PRIVATE KEY-----{MARKER}"), "cert": format!("-----BEGIN {MARKER}")},
            "labels": {"site": "hz"}, "policy": {"privileged": true},
        });
        let shown = configuration(document);
        assert!(!shown.to_string().contains(MARKER), "{shown:#}");
        assert_eq!(shown.pointer("/store-key"), Some(&json!("/media/stick/store.key")));
        assert_eq!(shown.pointer("/labels/site"), Some(&json!("hz")));
    }

    #[test]
    fn a_status_without_words_keeps_its_reasons() {
        let document =
            json!({"node": {"dockerMessage": MARKER}, "apps": [{"reason": "Error", "message": MARKER}]});
        let shown = status(document.clone(), false);
        assert!(!shown.to_string().contains(MARKER) && shown.to_string().contains("Error"), "{shown}");
        assert_eq!(status(document.clone(), true), document);
    }
}
