//! Each thing that can be wrong, and the path and the words that it is reported with.

use serde_json::{Value, json};

use super::*;

/// Where a piece of JSON goes: into the first container, the pod, or the spec.
#[derive(Debug, Clone, Copy)]
enum In {
    Container,
    Pod,
    Spec,
}

/// A good spec with one piece in it.
fn spec_with(place: In, piece: &Value) -> Value {
    let mut container = json!({"name": "a", "image": "x:1"});
    let mut pod = json!({});
    let mut spec = json!({});
    let target = match place {
        In::Container => &mut container,
        In::Pod => &mut pod,
        In::Spec => &mut spec,
    };
    for (key, value) in piece.as_object().expect("a piece is an object") {
        target[key] = value.clone();
    }
    if pod.get("containers").is_none() {
        pod["containers"] = json!([container]);
    }
    if spec.get("template").is_none() {
        spec["template"] = json!({"spec": pod});
    }
    spec
}

fn errors(place: In, piece: &Value) -> Vec<String> {
    let spec: EdgeAppSpec = serde_json::from_value(spec_with(place, piece)).expect("a spec");
    check_spec(&spec).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Each piece gives exactly one error, at this path below its place, with these words in it.
fn refused(place: In, cases: &[(Value, &str, &str)]) {
    let base = match place {
        In::Container => "spec.template.spec.containers[0].",
        In::Pod => "spec.template.spec.",
        In::Spec => "spec.",
    };
    for (piece, path, words) in cases {
        let errors = errors(place, piece);
        assert_eq!(errors.len(), 1, "{piece}: {errors:?}");
        let (at, message) = errors[0].split_once(": ").expect("path and message");
        assert_eq!(at, format!("{base}{path}"), "{piece}: {errors:?}");
        assert!(message.contains(words), "{piece}: {errors:?}");
    }
}

fn accepted(place: In, pieces: &[Value]) {
    for piece in pieces {
        assert_eq!(errors(place, piece), [""; 0], "{piece}");
    }
}

#[test]
fn a_spec_with_every_field_passes() {
    let spec: EdgeAppSpec = serde_json::from_str(include_str!("testdata/everything.json")).expect("a spec");
    assert_eq!(check_spec(&spec), Ok(()));
    assert_eq!(spec.template.spec.all_containers().count(), 4);
}

#[test]
fn containers_are_named_once_and_bounded() {
    refused(
        In::Pod,
        &[
            (json!({"containers": []}), "containers", "must specify at least one container"),
            (
                json!({"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]}),
                "containers[1].name",
                "is used by another container",
            ),
            (
                json!({"initContainers": [{"name": "a", "image": "x"}]}),
                "containers[0].name",
                "is used by another container",
            ),
            (
                json!({"containers": [{"name": "A_b", "image": "x"}]}),
                "containers[0].name",
                "lower case letters",
            ),
            (
                json!({"containers": [{"name": "a", "image": "X Y"}]}),
                "containers[0].image",
                "must be an image reference",
            ),
            (
                json!({"containers": [{"name": "a", "image": "x", "restartPolicy": "Always"}]}),
                "containers[0].restartPolicy",
                "may not be set for non-init containers",
            ),
            (
                json!({"initContainers": [{"name": "i", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
                "initContainers[0].livenessProbe",
                "may not be set for init containers without restartPolicy=Always",
            ),
            (
                json!({"initContainers": [{"name": "i", "image": "x", "lifecycle": {}}]}),
                "initContainers[0].lifecycle",
                "may not be set for init containers without restartPolicy=Always",
            ),
        ],
    );
    let many: Vec<_> = (0..1000).map(|i| json!({"name": format!("c{i}"), "image": "x"})).collect();
    refused(
        In::Pod,
        &[
            (json!({"containers": many}), "containers", "must have at most 32 items; it has 1000"),
            (json!({"initContainers": many}), "initContainers", "must have at most 32 items; it has 1000"),
        ],
    );
    accepted(
        In::Pod,
        &[
            json!({"initContainers": [{"name": "s", "image": "x", "restartPolicy": "Always", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            "startupProbe": {"tcpSocket": {"port": 80}}}]}),
        ],
    );
}

#[test]
fn variables_have_a_name_and_one_source() {
    refused(
        In::Container,
        &[
            (json!({"env": [{"name": ""}]}), "env[0].name", "must be 1 to 256 printable"),
            (json!({"env": [{"name": "A=B"}]}), "env[0].name", "other than '='"),
            (json!({"env": [{"name": "A", "value": "x\0"}]}), "env[0].value", "NUL"),
            (
                json!({"env": [{"name": "A", "value": "x".repeat(131_073)}]}),
                "env[0].value",
                "must have at most 131072 bytes",
            ),
            (json!({"env": [{"name": "A", "valueFrom": {}}]}), "env[0].valueFrom", "must specify a source"),
            (
                json!({"env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
                "env[0].valueFrom",
                "may not be specified when `value` is not empty",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}, "secretKeyRef": {"name": "s", "key": "k"}}}]}),
                "env[0].valueFrom",
                "may not specify more than 1 source",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}}]}),
                "env[0].valueFrom.fieldRef.fieldPath",
                "is not supported; it must be one of metadata.name",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]}),
                "env[0].valueFrom.fieldRef.fieldPath",
                "is not supported",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['-x']"}}}]}),
                "env[0].valueFrom.fieldRef.fieldPath",
                "a key must be [PREFIX/]NAME",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "A", "key": "k"}}}]}),
                "env[0].valueFrom.configMapKeyRef.name",
                "lower case letters",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "x/y"}}}]}),
                "env[0].valueFrom.secretKeyRef.key",
                "a key must be",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "..x"}}}]}),
                "env[0].valueFrom.secretKeyRef.key",
                "not start with '..'",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.ephemeral-storage"}}}]}),
                "env[0].valueFrom.resourceFieldRef.resource",
                "is not supported",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Mi"}}}]}),
                "env[0].valueFrom.resourceFieldRef.divisor",
                "must be one of 1, 1m",
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "b"}}}]}),
                "env[0].valueFrom.resourceFieldRef.containerName",
                "no container of the template",
            ),
            (json!({"envFrom": [{}]}), "envFrom[0]", "must specify a source"),
            (
                json!({"envFrom": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "a"}}]}),
                "envFrom[0]",
                "may not specify more than 1 source",
            ),
            (
                json!({"envFrom": [{"prefix": "A=", "secretRef": {"name": "a"}}]}),
                "envFrom[0].prefix",
                "printable ASCII",
            ),
            (
                json!({"envFrom": [{"secretRef": {"name": ""}}]}),
                "envFrom[0].secretRef.name",
                "must be 1 to 253",
            ),
        ],
    );
    accepted(
        In::Container,
        &[
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "with space"}]}),
            json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}]}),
            json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": 0}}}]}),
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a.b/c']"}}}]}),
        ],
    );
}

#[test]
fn entries_of_a_list_that_is_a_map_have_keys_of_their_own() {
    let twice = "duplicate value";
    let env = json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]});
    refused(In::Container, &[(env, "env[1].name", twice)]);
    refused(
        In::Pod,
        &[
            (json!({"hostAliases": [{"ip": "::1"}, {"ip": "::1"}]}), "hostAliases[1].ip", twice),
            (json!({"imagePullSecrets": [{"name": "a"}, {"name": "a"}]}), "imagePullSecrets[1].name", twice),
        ],
    );
}

#[test]
fn texts_are_bounded() {
    let text = "x".repeat(100_000);
    let env: Vec<_> = (0..12).map(|i| json!({"name": format!("V{i}"), "value": text})).collect();
    refused(
        In::Pod,
        &[(
            json!({"containers": [{"name": "a", "image": "x", "env": env}]}),
            "containers",
            "at most 1048576 bytes together",
        )],
    );
    refused(
        In::Container,
        &[
            (
                json!({"env": (0..513).map(|i| json!({"name": format!("V{i}")})).collect::<Vec<_>>()}),
                "env",
                "at most 512 items",
            ),
            (json!({"args": vec!["a"; 257]}), "args", "at most 256 items"),
            (json!({"command": ["x".repeat(65_537)]}), "command[0]", "at most 65536 bytes"),
            (json!({"args": ["a\0"]}), "args[0]", "NUL"),
            (json!({"workingDir": "srv"}), "workingDir", "absolute path"),
            (json!({"terminationMessagePath": "log"}), "terminationMessagePath", "absolute path"),
        ],
    );
}

#[test]
fn mounts_are_of_known_volumes_and_stay_inside() {
    let with = |mounts: Value| json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "a", "image": "x", "volumeMounts": mounts}]});
    let at = "containers[0].volumeMounts";
    refused(
        In::Pod,
        &[
            (with(json!([{"name": "w", "mountPath": "/a"}])), &format!("{at}[0].name"), "not found"),
            (with(json!([{"name": "v", "mountPath": "a"}])), &format!("{at}[0].mountPath"), "absolute"),
            (with(json!([{"name": "v", "mountPath": "/"}])), &format!("{at}[0].mountPath"), "root folder"),
            (with(json!([{"name": "v", "mountPath": "/a:b"}])), &format!("{at}[0].mountPath"), "':'"),
            (with(json!([{"name": "v", "mountPath": "/a/../b"}])), &format!("{at}[0].mountPath"), "'..'"),
            (
                with(json!([{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a/"}])),
                &format!("{at}[1].mountPath"),
                "must be unique",
            ),
            (
                with(json!([{"name": "v", "mountPath": "/a", "subPath": "/b"}])),
                &format!("{at}[0].subPath"),
                "relative path",
            ),
            (
                with(json!([{"name": "v", "mountPath": "/a", "subPath": "b/../.."}])),
                &format!("{at}[0].subPath"),
                "'..'",
            ),
            (
                with(json!([{"name": "v", "mountPath": "/a", "subPathExpr": "../$(X)"}])),
                &format!("{at}[0].subPathExpr"),
                "'..'",
            ),
            (
                with(json!([{"name": "v", "mountPath": "/a", "subPath": "b", "subPathExpr": "c"}])),
                &format!("{at}[0].subPathExpr"),
                "mutually exclusive",
            ),
        ],
    );
}

#[test]
fn volumes_have_one_source_and_files_stay_inside() {
    let volume = |source: Value| {
        let mut volume = json!({"name": "v"});
        for (key, value) in source.as_object().expect("an object") {
            volume[key] = value.clone();
        }
        json!({"volumes": [volume]})
    };
    let items = |items: Value| volume(json!({"configMap": {"name": "c", "items": items}}));
    refused(
        In::Pod,
        &[
            (volume(json!({})), "volumes[0]", "must specify a volume type"),
            (
                volume(json!({"emptyDir": {}, "hostPath": {"path": "/a"}})),
                "volumes[0]",
                "may not specify more than 1 volume type",
            ),
            (
                json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}),
                "volumes[1].name",
                "another volume",
            ),
            (json!({"volumes": [{"name": "V", "emptyDir": {}}]}), "volumes[0].name", "lower case"),
            (
                volume(json!({"emptyDir": {"sizeLimit": "1Gi"}})),
                "volumes[0].emptyDir.sizeLimit",
                "needs `medium: Memory`",
            ),
            (
                volume(json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Q"}})),
                "volumes[0].emptyDir.sizeLimit",
                "is not a quantity",
            ),
            (
                volume(json!({"emptyDir": {"medium": "Memory", "sizeLimit": 0}})),
                "volumes[0].emptyDir.sizeLimit",
                "greater than zero",
            ),
            (volume(json!({"hostPath": {"path": "etc"}})), "volumes[0].hostPath.path", "absolute"),
            (volume(json!({"hostPath": {"path": "/srv/../etc"}})), "volumes[0].hostPath.path", "'..'"),
            (volume(json!({"configMap": {"name": "C"}})), "volumes[0].configMap.name", "lower case"),
            (
                volume(json!({"configMap": {"name": "c", "defaultMode": 512}})),
                "volumes[0].configMap.defaultMode",
                "between 0 and 0777",
            ),
            (items(json!([{"key": "k", "path": "../x"}])), "volumes[0].configMap.items[0].path", "'..'"),
            (
                items(json!([{"key": "k", "path": "..data"}])),
                "volumes[0].configMap.items[0].path",
                "must not start with '..'",
            ),
            (items(json!([{"key": "k", "path": "/x"}])), "volumes[0].configMap.items[0].path", "relative"),
            (items(json!([{"key": "k", "path": "./"}])), "volumes[0].configMap.items[0].path", "name a file"),
            (
                items(json!([{"key": "k", "path": "./..data"}])),
                "volumes[0].configMap.items[0].path",
                "must not start with '..'",
            ),
            (items(json!([{"key": "k", "path": ""}])), "volumes[0].configMap.items[0].path", "must be given"),
            (
                items(json!([{"key": "k", "path": "x", "mode": -1}])),
                "volumes[0].configMap.items[0].mode",
                "0777",
            ),
            (
                items(json!([{"key": "k", "path": "x"}, {"key": "l", "path": "./x"}])),
                "volumes[0].configMap.items[1].path",
                "conflicting duplicate path",
            ),
            (
                items(json!([{"key": "k", "path": "x/y"}, {"key": "l", "path": "x"}])),
                "volumes[0].configMap.items[1].path",
                "a file and a folder",
            ),
            (
                volume(json!({"secret": {"secretName": ""}})),
                "volumes[0].secret.secretName",
                "must be 1 to 253",
            ),
            (
                volume(json!({"downwardAPI": {"items": [{"path": "x"}]}})),
                "volumes[0].downwardAPI.items[0]",
                "must specify a source",
            ),
            (
                volume(
                    json!({"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "status.podIP"}}]}}),
                ),
                "volumes[0].downwardAPI.items[0].fieldRef.fieldPath",
                "is not supported",
            ),
            (
                volume(
                    json!({"downwardAPI": {"items": [{"path": "x", "resourceFieldRef": {"resource": "limits.cpu"}}]}}),
                ),
                "volumes[0].downwardAPI.items[0].resourceFieldRef.containerName",
                "must be given",
            ),
            (
                volume(json!({"projected": {"sources": [{}]}})),
                "volumes[0].projected.sources[0]",
                "must specify a projection type",
            ),
            (
                volume(json!({"projected": {"sources": [
                    {"configMap": {"name": "c", "items": [{"key": "k", "path": "x"}]}},
                    {"secret": {"name": "s", "items": [{"key": "k", "path": "x"}]}}]}})),
                "volumes[0].projected.sources[1].secret.items[0].path",
                "conflicting duplicate path",
            ),
        ],
    );
    accepted(
        In::Pod,
        &[
            volume(json!({"hostPath": {"path": "/dev/v4l/by-path/pci-0000:00:14.0", "type": "CharDevice"}})),
            volume(json!({"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}})),
            volume(json!({"local": {"reclaimPolicy": "Retain"}})),
            volume(
                json!({"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
            ),
        ],
    );
}

#[test]
fn probes_ask_for_one_thing_in_a_possible_way() {
    let probe =
        |probe: Value| json!({"ports": [{"name": "web", "containerPort": 80}], "livenessProbe": probe});
    refused(
        In::Container,
        &[
            (probe(json!({})), "livenessProbe", "must specify a handler type"),
            (
                probe(json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})),
                "livenessProbe",
                "may not specify more than 1",
            ),
            (probe(json!({"exec": {}})), "livenessProbe.exec.command", "must be given"),
            (probe(json!({"httpGet": {"port": 0}})), "livenessProbe.httpGet.port", "between 1 and 65535"),
            (
                probe(json!({"httpGet": {"port": "wep"}})),
                "livenessProbe.httpGet.port",
                "no port of the container is called \"wep\"",
            ),
            (
                probe(json!({"httpGet": {"port": "8080"}})),
                "livenessProbe.httpGet.port",
                "at least one letter",
            ),
            (
                probe(json!({"tcpSocket": {"port": 70000}})),
                "livenessProbe.tcpSocket.port",
                "between 1 and 65535",
            ),
            (probe(json!({"grpc": {"port": 0}})), "livenessProbe.grpc.port", "between 1 and 65535"),
            (
                probe(json!({"httpGet": {"port": 1, "host": "a b"}})),
                "livenessProbe.httpGet.host",
                "host name",
            ),
            (probe(json!({"httpGet": {"port": 1, "path": "/\n"}})), "livenessProbe.httpGet.path", "control"),
            (
                probe(json!({"httpGet": {"port": 1, "httpHeaders": [{"name": "a b", "value": ""}]}})),
                "livenessProbe.httpGet.httpHeaders[0].name",
                "HTTP header",
            ),
            (
                probe(json!({"httpGet": {"port": 1, "httpHeaders": [{"name": "a", "value": "b\r\nc"}]}})),
                "livenessProbe.httpGet.httpHeaders[0].value",
                "line ends",
            ),
            (
                probe(json!({"tcpSocket": {"port": 1}, "successThreshold": 2})),
                "livenessProbe.successThreshold",
                "must be 1",
            ),
            (
                probe(json!({"tcpSocket": {"port": 1}, "periodSeconds": 0})),
                "livenessProbe.periodSeconds",
                "between 1 and 86400",
            ),
            (
                probe(json!({"tcpSocket": {"port": 1}, "timeoutSeconds": -1})),
                "livenessProbe.timeoutSeconds",
                "between 1",
            ),
            (
                probe(json!({"tcpSocket": {"port": 1}, "initialDelaySeconds": -1})),
                "livenessProbe.initialDelaySeconds",
                "between 0",
            ),
            (
                json!({"readinessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 1}}),
                "readinessProbe.terminationGracePeriodSeconds",
                "must not be set for readinessProbes",
            ),
            (json!({"lifecycle": {"preStop": {}}}), "lifecycle.preStop", "must specify a handler type"),
            (
                json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}),
                "lifecycle.preStop.sleep.seconds",
                "at most terminationGracePeriodSeconds (30)",
            ),
        ],
    );
    accepted(
        In::Container,
        &[
            probe(json!({"httpGet": {"port": "web", "path": "healthz"}})),
            json!({"readinessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}),
        ],
    );
}

#[test]
fn ports_are_named_once_and_asked_for_once() {
    refused(
        In::Container,
        &[
            (json!({"ports": [{"containerPort": 0}]}), "ports[0].containerPort", "between 1 and 65535"),
            (
                json!({"ports": [{"containerPort": 1, "hostPort": 65536}]}),
                "ports[0].hostPort",
                "between 1 and 65535",
            ),
            (json!({"ports": [{"containerPort": 1, "hostIP": "x"}]}), "ports[0].hostIP", "IP address"),
            (json!({"ports": [{"containerPort": 1, "name": "a--b"}]}), "ports[0].name", "no two in a row"),
            (
                json!({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}),
                "ports[1].name",
                "another port",
            ),
            (
                json!({"ports": [{"containerPort": 1, "hostPort": 80, "hostIP": "127.0.0.1"}, {"containerPort": 2, "hostPort": 80}]}),
                "ports[1].hostPort",
                "port 80 of the node is already asked for by spec.template.spec.containers[0].ports[0]",
            ),
        ],
    );
    refused(
        In::Pod,
        &[
            (
                json!({"hostNetwork": true, "containers": [
                    {"name": "a", "image": "x", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "x", "ports": [{"containerPort": 80}]}]}),
                "containers[1].ports[0].hostPort",
                "port 80 of the node is already asked for",
            ),
            (
                json!({"hostNetwork": true, "containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80, "hostPort": 81}]}]}),
                "containers[0].ports[0].hostPort",
                "must match `containerPort`",
            ),
        ],
    );
    accepted(
        In::Container,
        &[
            json!({"ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80, "protocol": "UDP"}]}),
        ],
    );
}

#[test]
fn resources_are_known_and_requests_fit_into_limits() {
    let resources = |resources: Value| json!({"resources": resources});
    refused(
        In::Container,
        &[
            (resources(json!({"limits": {"cpu": "fast"}})), "resources.limits[cpu]", "is not a quantity"),
            (resources(json!({"limits": {"cpu": "1e300"}})), "resources.limits[cpu]", "is too large"),
            (resources(json!({"limits": {"memory": "1e-300"}})), "resources.limits[memory]", "is too fine"),
            (
                resources(json!({"limits": {"memory": "99999999Ti"}})),
                "resources.limits[memory]",
                "is too large",
            ),
            (resources(json!({"limits": {"cpu": "1m"}})), "resources.limits[cpu]", "at least 10m"),
            (resources(json!({"limits": {"memory": "1Mi"}})), "resources.limits[memory]", "at least 6Mi"),
            (
                resources(json!({"limits": {"ephemeral-storage": "1Gi"}})),
                "resources.limits[ephemeral-storage]",
                "is not supported",
            ),
            (
                resources(json!({"requests": {"nvidia.com/gpu": 1}})),
                "resources.requests[nvidia.com/gpu]",
                "is not supported",
            ),
            (
                resources(json!({"limits": {"skerry.dev/": 1}})),
                "resources.limits[skerry.dev/]",
                "is not supported",
            ),
            (
                resources(json!({"limits": {"cpu": "500m"}, "requests": {"cpu": 1}})),
                "resources.requests[cpu]",
                "must be less than or equal to cpu limit of 500m",
            ),
            (
                resources(json!({"requests": {"memory": "x"}})),
                "resources.requests[memory]",
                "is not a quantity",
            ),
            (
                resources(json!({"limits": {"skerry.dev/video": "500m"}})),
                "resources.limits[skerry.dev/video]",
                "must be an integer",
            ),
            (
                resources(json!({"requests": {"skerry.dev/video": 1}})),
                "resources.requests[skerry.dev/video]",
                "limit must be set",
            ),
            (
                resources(json!({"limits": {"skerry.dev/video": 2}, "requests": {"skerry.dev/video": 1}})),
                "resources.requests[skerry.dev/video]",
                "must be equal to skerry.dev/video limit of 2",
            ),
        ],
    );
    accepted(
        In::Container,
        &[
            resources(
                json!({"limits": {"cpu": 1, "memory": "64Mi", "skerry.dev/video": 1}, "requests": {"cpu": "1000m", "memory": "1Mi"}}),
            ),
            resources(json!({"limits": {}, "requests": {"cpu": "1m"}})),
        ],
    );
}

#[test]
fn users_rights_and_kernel_settings_are_possible() {
    refused(
        In::Container,
        &[
            (
                json!({"securityContext": {"runAsUser": -1}}),
                "securityContext.runAsUser",
                "between 0 and 2147483647",
            ),
            (
                json!({"securityContext": {"runAsGroup": 2_147_483_648u32}}),
                "securityContext.runAsGroup",
                "between 0",
            ),
            (
                json!({"securityContext": {"runAsUser": 0, "runAsNonRoot": true}}),
                "securityContext.runAsUser",
                "breaks the non-root policy",
            ),
            (
                json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}),
                "securityContext.allowPrivilegeEscalation",
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ),
            (
                json!({"securityContext": {"capabilities": {"add": ["CAP_NET_ADMIN"]}}}),
                "securityContext.capabilities.add[0]",
                "without CAP_: NET_ADMIN",
            ),
            (
                json!({"securityContext": {"capabilities": {"drop": ["EVERYTHING"]}}}),
                "securityContext.capabilities.drop[0]",
                "is not a capability",
            ),
            (
                json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}}),
                "securityContext.seccompProfile.localhostProfile",
                "must be set when seccomp type is Localhost",
            ),
            (
                json!({"securityContext": {"seccompProfile": {"type": "Unconfined", "localhostProfile": "a.json"}}}),
                "securityContext.seccompProfile.localhostProfile",
                "can only be set when seccomp type is Localhost",
            ),
            (
                json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "../a.json"}}}),
                "securityContext.seccompProfile.localhostProfile",
                "'..'",
            ),
        ],
    );
    let sysctl = |name: &str| json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}});
    refused(
        In::Pod,
        &[
            (sysctl("vm.swappiness"), "securityContext.sysctls[0].name", "would change the whole box"),
            (sysctl("Net.x"), "securityContext.sysctls[0].name", "name of a kernel setting"),
            (
                json!({"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}, {"name": "net/core/somaxconn", "value": "2"}]}}),
                "securityContext.sysctls[1].name",
                "is set twice",
            ),
            (
                json!({"hostNetwork": true, "securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}}),
                "securityContext.sysctls[0].name",
                "when 'hostNetwork' is true",
            ),
            (
                json!({"hostIPC": true, "securityContext": {"sysctls": [{"name": "kernel.shmmax", "value": "1"}]}}),
                "securityContext.sysctls[0].name",
                "when 'hostIPC' is true",
            ),
            (
                json!({"securityContext": {"supplementalGroups": [1, -1]}}),
                "securityContext.supplementalGroups[1]",
                "between 0",
            ),
            (json!({"securityContext": {"fsGroup": -1}}), "securityContext.fsGroup", "between 0"),
            (
                json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "a", "image": "x", "securityContext": {"runAsUser": 0}}]}),
                "containers[0].securityContext.runAsUser",
                "breaks the non-root policy",
            ),
            (
                json!({"hostPID": true, "shareProcessNamespace": true}),
                "shareProcessNamespace",
                "cannot both be enabled",
            ),
        ],
    );
    accepted(In::Pod, &[sysctl("net.ipv4.ip_unprivileged_port_start"), sysctl("kernel.shm_rmid_forced")]);
}

#[test]
fn names_and_name_servers_are_possible() {
    refused(
        In::Pod,
        &[
            (json!({"hostname": "a.b"}), "hostname", "lower case letters"),
            (
                json!({"terminationGracePeriodSeconds": -1}),
                "terminationGracePeriodSeconds",
                "between 0 and 86400",
            ),
            (json!({"dnsPolicy": "None"}), "dnsConfig.nameservers", "at least one DNS nameserver"),
            (
                json!({"dnsConfig": {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}}),
                "dnsConfig.nameservers",
                "at most 3 items",
            ),
            (json!({"dnsConfig": {"nameservers": ["dns"]}}), "dnsConfig.nameservers[0]", "valid IP address"),
            (json!({"dnsConfig": {"searches": ["a..b"]}}), "dnsConfig.searches[0]", "must be a domain"),
            (
                json!({"dnsConfig": {"searches": vec!["a.example".repeat(8); 32]}}),
                "dnsConfig.searches",
                "must not have more than 2048 characters",
            ),
            (
                json!({"dnsConfig": {"options": [{"name": ""}]}}),
                "dnsConfig.options[0].name",
                "option of resolv.conf",
            ),
            (
                json!({"dnsConfig": {"options": [{"name": "ndots", "value": "1\nnameserver 6.6.6.6"}]}}),
                "dnsConfig.options[0].value",
                "one word",
            ),
            (json!({"hostAliases": [{"ip": "1.2.3"}]}), "hostAliases[0].ip", "valid IP address"),
            (
                json!({"hostAliases": [{"ip": "::1", "hostnames": ["a b"]}]}),
                "hostAliases[0].hostnames[0]",
                "lower case letters",
            ),
            (json!({"imagePullSecrets": [{"name": "A"}]}), "imagePullSecrets[0].name", "lower case letters"),
        ],
    );
    accepted(
        In::Pod,
        &[
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.0.0.1", "fd00::1"], "searches": [".", "_tcp.plant.example."], "options": [{"name": "edns0"}]}}),
        ],
    );
}

#[test]
fn placement_variants_and_strategy_are_possible() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 80, "hostPort": 80}]}]}});
    refused(
        In::Spec,
        &[
            (json!({"placement": {"replicas": -1}}), "placement.replicas", "between 0"),
            (
                json!({"placement": {"tolerations": [{}]}}),
                "placement.tolerations[0].operator",
                "operator must be Exists",
            ),
            (
                json!({"placement": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}}),
                "placement.tolerations[0].value",
                "must be empty",
            ),
            (
                json!({"placement": {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}),
                "placement.nodeSelector.matchExpressions[0].values",
                "must be specified",
            ),
            (
                json!({"placement": {"nodeSelector": {"matchLabels": {"a b": "c"}}}}),
                "placement.nodeSelector.matchLabels[a b]",
                "a key must be",
            ),
            (
                json!({"variants": [{"images": {"b": "x"}}]}),
                "variants[0].images[b]",
                "no container of the template",
            ),
            (
                json!({"variants": [{"images": {"a": "X Y"}}]}),
                "variants[0].images[a]",
                "must be an image reference",
            ),
            (
                json!({"variants": [{"match": {"architectures": [""]}}]}),
                "variants[0].match.architectures[0]",
                "such as arm64",
            ),
            (
                json!({"strategy": {"progressDeadlineSeconds": 0}}),
                "strategy.progressDeadlineSeconds",
                "between 1",
            ),
            (
                json!({"strategy": {"switch": "StartFirst"}, "template": template}),
                "strategy.switch",
                "hostPort of container \"a\"",
            ),
            (
                json!({"strategy": {"switch": "StartFirst"}, "template": {"spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "x"}]}}}),
                "strategy.switch",
                "not possible with hostNetwork",
            ),
            (
                json!({"template": {"metadata": {"labels": {"skerry.dev/x": "y"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}),
                "template.metadata.labels[skerry.dev/x]",
                "are reserved",
            ),
            (
                json!({"template": {"metadata": {"labels": {"x": "a b"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}),
                "template.metadata.labels[x]",
                "a label's value",
            ),
            (
                json!({"template": {"metadata": {"annotations": {"x": "a".repeat(262_144)}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}}),
                "template.metadata.annotations",
                "at most 262144 bytes",
            ),
        ],
    );
    accepted(
        In::Spec,
        &[
            json!({"strategy": {"switch": "StartFirst"}}),
            json!({"placement": {"replicas": 0, "tolerations": [{"operator": "Exists"}]}, "variants": [{"images": {"a": "y:1"}}, {}]}),
        ],
    );
}

#[test]
fn an_app_refers_to_a_bounded_number_of_objects() {
    let source = |kind: &str, i: usize| json!({kind: {"name": format!("o{i}")}});
    let objects = |count: usize| {
        let maps = (0..16).map(|i| source("configMapRef", i)).chain((16..32).map(|i| source("secretRef", i)));
        let projected: Vec<_> = (32..count).map(|i| json!({"secret": {"name": format!("o{i}")}})).collect();
        let (first, rest) = projected.split_at(projected.len().min(32));
        let volume = |name: &str, sources: &[Value]| json!({"name": name, "projected": {"sources": sources}});
        let from: Vec<_> = maps.collect();
        json!({"containers": [{"name": "a", "image": "x", "envFrom": from}], "volumes": [volume("v", first), volume("w", rest)]})
    };
    accepted(In::Pod, &[objects(64)]);
    let errors = errors(In::Pod, &objects(65));
    assert_eq!(
        errors,
        ["spec.template.spec: refers to 65 ConfigMaps and Secrets; at most 64 travel with an app"]
    );
}

#[test]
fn a_hostile_spec_gives_a_bounded_answer() {
    let name = "x".repeat(1 << 20);
    let volumes: Vec<_> = (0..64).map(|_| json!({"name": name, "hostPath": {"path": name}})).collect();
    let spec = spec_with(In::Pod, &json!({"volumes": volumes}));
    let spec: EdgeAppSpec = serde_json::from_value(spec).expect("a spec");
    let errors = check_spec(&spec).expect_err("errors");
    let size: usize = errors.iter().map(|error| error.path.len() + error.message.len()).sum();
    assert!(errors.len() == 64 && size < 64 << 10, "{} errors, {size} bytes", errors.len());
}

#[test]
fn a_name_of_an_app_fits_a_label() {
    assert_eq!(check_name("line-camera"), Ok(()));
    for name in ["", "A", "a_b", &"a".repeat(64), &"a".repeat(300)] {
        let error = check_name(name).expect_err(name);
        assert_eq!(error.path, "metadata.name");
    }
}

/// Every way to break a bound of the schema, in a spec that has every field: where, and the broken spec.
fn broken(spec: &Value) -> Vec<(String, Value)> {
    let settings =
        schemars::generate::SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<EdgeAppSpec>().to_value();
    let mut found = Vec::new();
    breaks(&schema, spec, "", &mut |pointer, value| {
        let mut spec = spec.clone();
        *spec.pointer_mut(pointer).expect("a place in the spec") = value.clone();
        found.push((format!("{pointer} = {}", value.to_string().chars().take(60).collect::<String>()), spec));
    });
    found
}

fn breaks(schema: &Value, value: &Value, pointer: &str, broken: &mut dyn FnMut(&str, Value)) {
    let bound = |name: &str| schema[name].as_u64().and_then(|bound| usize::try_from(bound).ok());
    let below = |key: &str| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(map) => {
            if let Some(max) = bound("maxProperties") {
                let many = (0..=max).map(|i| (format!("k{i}"), json!("1"))).collect();
                broken(pointer, Value::Object(many));
            }
            for (key, value) in map {
                let inner = &schema["properties"][key];
                let inner = if inner.is_null() { &schema["additionalProperties"] } else { inner };
                breaks(inner, value, &below(key), broken);
            }
        }
        Value::Array(list) => {
            if let (Some(max), Some(first)) = (bound("maxItems"), list.first()) {
                broken(pointer, Value::Array(vec![first.clone(); max + 1]));
            }
            for (i, value) in list.iter().enumerate() {
                breaks(&schema["items"], value, &below(&i.to_string()), broken);
            }
        }
        Value::String(_) => {
            if let Some(max) = bound("maxLength") {
                broken(pointer, Value::String("a".repeat(max + 1)));
            }
            if bound("minLength").is_some_and(|min| min > 0) {
                broken(pointer, Value::String(String::new()));
            }
            if schema["pattern"].is_string() {
                broken(pointer, json!("=\n:/.."));
            }
        }
        Value::Number(_) => {
            for (name, step) in [("minimum", -1), ("maximum", 1)] {
                if let Some(bound) = schema[name].as_f64() {
                    #[expect(clippy::cast_possible_truncation, reason = "bounds are whole numbers")]
                    broken(pointer, json!(bound as i64 + step));
                }
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[test]
fn what_the_schema_refuses_the_checks_refuse_too() {
    let spec = serde_json::from_str(include_str!("testdata/everything.json")).expect("JSON");
    let cases = broken(&spec);
    assert!(cases.len() > 250, "{} cases", cases.len());
    let good = |spec: &Value| {
        serde_json::from_value::<EdgeAppSpec>(spec.clone()).is_ok_and(|spec| check_spec(&spec).is_ok())
    };
    let missed: Vec<_> = cases.iter().filter(|(_, spec)| good(spec)).map(|(what, _)| what).collect();
    assert_eq!(missed, Vec::<&String>::new());
}

/// Another value somewhere in a spec, of a kind that people and attackers write.
fn mutate(value: &mut Value, random: &mut fastrand::Rng) {
    let words = [
        "",
        "a",
        "..",
        "/",
        "/a/../b",
        "$(A)",
        "Always",
        "500m",
        "0",
        "-1",
        "1Gi",
        "metadata.name",
        "main",
        "ä\0",
        "a:1",
    ];
    let descend = random.u8(..4) > 0;
    match value {
        Value::Object(map) if descend && !map.is_empty() => {
            let key = map.keys().nth(random.usize(..map.len())).cloned().unwrap_or_default();
            match random.u8(..8) {
                0 => drop(map.remove(&key)),
                1 => {
                    let value = map.get(&key).cloned().unwrap_or_default();
                    map.insert((*random.choice(&words).unwrap_or(&"")).to_owned(), value);
                }
                _ => mutate(&mut map[&key], random),
            }
        }
        Value::Array(list) if descend && !list.is_empty() => {
            let index = random.usize(..list.len());
            match random.u8(..8) {
                0 => drop(list.remove(index)),
                1 => list.push(list[index].clone()),
                _ => mutate(&mut list[index], random),
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            *value = match random.u8(..6) {
                0 => json!(random.i64(-2..70_000)),
                1 => json!(random.bool()),
                2 => json!([]),
                3 => json!({}),
                _ => json!(random.choice(&words)),
            };
        }
    }
}

#[test]
fn no_spec_makes_the_checks_panic_and_what_they_accept_can_travel() {
    const ROUNDS: u64 = 4000;
    let whole: Value = serde_json::from_str(include_str!("testdata/everything.json")).expect("JSON");
    let (mut read, mut accepted) = (0, 0);
    for seed in 0..ROUNDS {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut spec = whole.clone();
        (0..random.u8(1..4)).for_each(|_| mutate(&mut spec, &mut random));
        let Ok(spec) = serde_json::from_value::<EdgeAppSpec>(spec) else { continue };
        read += 1;
        if check_spec(&spec).is_ok() {
            accepted += 1;
            #[cfg(feature = "wire")]
            crate::wire::payload("uid", "web-1", &spec, &std::collections::BTreeMap::new(), &[])
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
    assert!(read > ROUNDS / 10 && accepted > ROUNDS / 50, "{read} read, {accepted} accepted");
}
