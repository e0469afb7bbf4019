use super::*;

fn spec(json: &str) -> EdgeAppSpec {
    serde_json::from_str(json).expect("a spec")
}

/// A spec of one container, which has these fields besides name and image, in a pod that has these besides its containers.
fn spec_of(container: &str, pod: &str) -> EdgeAppSpec {
    spec(&format!(
        r#"{{"template": {{"spec": {{"containers": [{{"name": "main", "image": "web:1" {container}}}] {pod}}}}}}}"#
    ))
}

fn encoded(spec: &EdgeAppSpec, config: &[ConfigObject]) -> wire::App {
    let payload = payload("uid-1", "web-1", spec, &BTreeMap::new(), config).expect("a payload");
    wire::App::decode(&payload[..]).expect("an app")
}

fn template(container: &str, pod: &str) -> wire::PodTemplate {
    encoded(&spec_of(container, pod), &[]).template.expect("a template")
}

fn main(container: &str) -> wire::Container {
    template(container, "").containers.remove(0)
}

/// Where the encoding of a spec that the schema would have refused fails.
fn refusal(spec: &EdgeAppSpec) -> String {
    match payload("u", "r", spec, &BTreeMap::new(), &[]) {
        Err(EncodeError::Field(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn object(kind: ConfigKind, name: &str) -> ConfigObject {
    ConfigObject { kind: kind.into(), name: name.to_owned(), ..Default::default() }
}

#[test]
fn a_bare_spec_arrives_with_its_defaults_spelled_out() {
    let app = encoded(&spec_of("", ""), &[]);
    assert_eq!((app.uid.as_str(), app.revision.as_str()), ("uid-1", "web-1"));
    assert_eq!((app.switch(), app.progress_deadline_seconds), (wire::SwitchStrategy::StopFirst, 600));
    let template = app.template.expect("a template");
    assert_eq!(template.restart_policy(), wire::RestartPolicy::Always);
    assert_eq!(template.termination_grace_period_seconds, 30);
    assert_eq!(template.dns_policy(), wire::DnsPolicy::ClusterFirst);
    let main = &template.containers[0];
    assert_eq!(main.image_pull_policy(), wire::PullPolicy::IfNotPresent);
    assert_eq!(main.termination_message_path, "/dev/termination-log");
    assert_eq!(main.termination_message_policy(), wire::TerminationMessagePolicy::File);
    assert_eq!(main.restart_policy(), wire::RestartPolicy::Unspecified);
}

#[test]
fn a_variant_replaces_the_image_and_with_it_the_default_pull_policy() {
    let images = [("main".to_owned(), "web".to_owned()), ("other".to_owned(), "x".to_owned())].into();
    let payload = payload("u", "r", &spec_of("", ""), &images, &[]).expect("a payload");
    let app = wire::App::decode(&payload[..]).expect("an app");
    let main = &app.template.expect("a template").containers[0];
    assert_eq!((main.image.as_str(), main.image_pull_policy()), ("web", wire::PullPolicy::Always));
}

#[test]
fn requests_default_to_limits_and_devices_need_only_one_of_them() {
    let main = main(
        r#", "resources": {"limits": {"cpu": "500m", "memory": "8Mi", "skerry.dev/camera": 1},
            "requests": {"cpu": "0.1", "skerry.dev/gpu": "2"}}"#,
    );
    assert_eq!((main.cpu_limit_millis, main.memory_limit_bytes), (500, 8 << 20));
    assert_eq!((main.cpu_request_millis, main.memory_request_bytes), (100, 8 << 20));
    let devices: Vec<_> = main.devices.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(devices, [("skerry.dev/camera", 1), ("skerry.dev/gpu", 2)]);
}

#[test]
fn divisors_travel_in_the_unit_of_their_resource() {
    let main = main(
        r#", "env": [
            {"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
            {"name": "B", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory", "divisor": "1Mi"}}},
            {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": 1}}},
            {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "containerName": "x"}}}]"#,
    );
    let divisor = |variable: wire::EnvVar| match variable.value_from.expect("a source").source {
        Some(wire::env_var_source::Source::ResourceFieldRef(field)) => (field.divisor, field.container_name),
        other => panic!("{other:?}"),
    };
    let divisors: Vec<_> = main.env.into_iter().map(divisor).collect();
    let none = String::new;
    assert_eq!(divisors, [(1, none()), (1 << 20, none()), (1000, none()), (0, "x".to_owned())]);
}

#[test]
fn a_probe_arrives_with_kubernetes_defaults() {
    let probe = main(r#", "readinessProbe": {"httpGet": {"port": "web"}}"#).readiness_probe.expect("a probe");
    assert_eq!((probe.initial_delay_seconds, probe.timeout_seconds, probe.period_seconds), (0, 1, 10));
    assert_eq!((probe.success_threshold, probe.failure_threshold), (1, 3));
    let Some(wire::probe::Handler::HttpGet(get)) = probe.handler else { panic!("no httpGet") };
    assert_eq!((get.path.as_str(), get.scheme()), ("/", wire::UriScheme::Http));
    assert_eq!(get.port, Some(wire::PortRef { number: 0, name: "web".to_owned() }));
}

#[test]
fn what_the_schema_should_have_refused_names_its_field() {
    let base = "spec.template.spec";
    for (container, pod, path) in [
        (r#", "resources": {"limits": {"cpu": "fast"}}"#, "", "containers[0].resources.limits.cpu"),
        (r#", "resources": {"requests": {"memory": "x"}}"#, "", "containers[0].resources.requests.memory"),
        (
            r#", "resources": {"limits": {"skerry.dev/a": "1e99"}}"#,
            "",
            "containers[0].resources.limits.skerry.dev/a",
        ),
        (r#", "env": [{"name": "A", "valueFrom": {}}]"#, "", "containers[0].env[0].valueFrom"),
        (
            r#", "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "a"}, "secretKeyRef": {"name": "s", "key": "k"}}}]"#,
            "",
            "containers[0].env[0].valueFrom",
        ),
        (
            r#", "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}]"#,
            "",
            "containers[0].env[0].valueFrom.resourceFieldRef.resource",
        ),
        (r#", "envFrom": [{"prefix": "X_"}]"#, "", "containers[0].envFrom[0]"),
        (r#", "livenessProbe": {}"#, "", "containers[0].livenessProbe"),
        (
            r#", "startupProbe": {"tcpSocket": {"port": 70000}}"#,
            "",
            "containers[0].startupProbe.tcpSocket.port",
        ),
        (r#", "lifecycle": {"preStop": {}}"#, "", "containers[0].lifecycle.preStop"),
        (
            r#", "lifecycle": {"postStart": {"sleep": {"seconds": -1}}}"#,
            "",
            "containers[0].lifecycle.postStart.sleep.seconds",
        ),
        (r#", "ports": [{"containerPort": -1}]"#, "", "containers[0].ports[0].containerPort"),
        ("", r#", "volumes": [{"name": "a"}]"#, "volumes[0]"),
        (
            "",
            r#", "volumes": [{"name": "a", "configMap": {"name": "c", "items": [{"key": "k", "path": "p", "mode": -1}]}}]"#,
            "volumes[0].configMap.items[0].mode",
        ),
        (
            "",
            r#", "volumes": [{"name": "a", "emptyDir": {"sizeLimit": "x"}}]"#,
            "volumes[0].emptyDir.sizeLimit",
        ),
        (
            "",
            r#", "volumes": [{"name": "a", "projected": {"sources": [{}]}}]"#,
            "volumes[0].projected.sources[0]",
        ),
        (
            "",
            r#", "initContainers": [{"name": "i", "image": "x", "livenessProbe": {}}]"#,
            "initContainers[0].livenessProbe",
        ),
    ] {
        let refusal = refusal(&spec_of(container, pod));
        assert!(refusal.starts_with(&format!("{base}.{path}: ")), "{refusal}");
    }
}

#[test]
fn references_are_found_wherever_they_are() {
    let spec = spec_of(
        r#", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "k", "optional": true}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "login", "key": "k"}}}],
            "envFrom": [{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "tokens", "optional": true}}]"#,
        r#", "initContainers": [{"name": "i", "image": "x", "envFrom": [{"configMapRef": {"name": "env"}}]}],
            "volumes": [{"name": "a", "configMap": {"name": "files"}}, {"name": "b", "secret": {"secretName": "tls"}},
                {"name": "c", "projected": {"sources": [{"configMap": {"name": "part", "optional": true}}, {"secret": {"name": "tokens"}},
                    {"downwardAPI": {}}]}}, {"name": "d", "emptyDir": {}}],
            "imagePullSecrets": [{"name": "registry"}, {"name": "login"}]"#,
    );
    let References { config_maps, secrets } = references(&spec);
    let flat = |set: BTreeSet<(String, bool)>| -> Vec<String> {
        set.into_iter().map(|(name, optional)| name + if optional { "?" } else { "" }).collect()
    };
    assert_eq!(flat(config_maps), ["all", "env", "files", "part?"]);
    assert_eq!(flat(secrets), ["login", "registry?", "tls", "tokens"]);
}

#[test]
fn only_referenced_objects_travel_and_their_order_does_not_count() {
    let spec = spec_of(r#", "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "a"}}]"#, "");
    let config = [
        object(ConfigKind::Secret, "a"),
        object(ConfigKind::ConfigMap, "b"),
        object(ConfigKind::ConfigMap, "a"),
        object(ConfigKind::Secret, "b"),
    ];
    let reversed: Vec<_> = config.iter().rev().cloned().collect();
    let app = encoded(&spec, &config);
    let sent: Vec<_> = app.config.iter().map(|object| (object.kind(), object.name.as_str())).collect();
    assert_eq!(sent, [(ConfigKind::ConfigMap, "a"), (ConfigKind::Secret, "a")]);
    assert_eq!(app, encoded(&spec, &reversed));
}

#[test]
fn the_same_spec_has_the_same_bytes() {
    let text = r#"{"template": {"metadata": {"labels": {"b": "1", "a": "2"}}, "spec": {"containers": [{"name": "main", "image": "x",
        "envFrom": [{"configMapRef": {"name": "c"}}], "resources": {"limits": {"skerry.dev/b": 1, "skerry.dev/a": 1}}}]}}}"#;
    let keys = ["z", "a", "m"];
    let config = |keys: &[&str]| ConfigObject {
        data: keys.iter().map(|key| ((*key).to_owned(), b"x".to_vec())).collect(),
        ..object(ConfigKind::ConfigMap, "c")
    };
    let bytes =
        |keys: &[&str]| payload("u", "r", &spec(text), &BTreeMap::new(), &[config(keys)]).expect("a payload");
    assert_eq!(bytes(&keys), bytes(&["m", "z", "a"]));
}

#[test]
fn an_app_over_a_cap_is_refused() {
    let mut large = spec_of("", "");
    large.template.spec.containers[0].args = vec!["x".repeat(65_536); 40];
    let refused =
        |spec: &EdgeAppSpec, config: &[ConfigObject]| payload("u", "r", spec, &BTreeMap::new(), config);
    assert!(matches!(refused(&large, &[]), Err(EncodeError::TooLarge { config: 0, .. })));

    let names: Vec<String> = (0..=caps::CONFIG_OBJECTS_MAX).map(|i| format!("c{i}")).collect();
    let sources: Vec<String> =
        names.iter().map(|name| format!(r#"{{"configMapRef": {{"name": "{name}"}}}}"#)).collect();
    let many = spec_of(&format!(r#", "envFrom": [{}]"#, sources.join(",")), "");
    let config: Vec<_> = names.iter().map(|name| object(ConfigKind::ConfigMap, name)).collect();
    assert!(matches!(refused(&many, &config), Err(EncodeError::TooManyObjects { .. })));

    let data = [("k".to_owned(), vec![0; caps::PAYLOAD_MAX])].into();
    let heavy = ConfigObject { data, ..config[0].clone() };
    let error = refused(&many, &[heavy]).expect_err("too large").to_string();
    assert!(error.contains("ConfigMaps and Secrets"), "{error}");
}

/// A controller upgrade that changes them sends every app to every node once more.
#[test]
fn the_bytes_of_a_known_spec_never_change() {
    let known = spec_of(r#", "envFrom": [{"configMapRef": {"name": "c"}}]"#, "");
    let config =
        ConfigObject { data: [("k".to_owned(), b"v".to_vec())].into(), ..object(ConfigKind::ConfigMap, "c") };
    let payload = payload("u", "r", &known, &BTreeMap::new(), &[config]).expect("a payload");
    let hex: String = payload.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "0a01751201721a381801201e32300a046d61696e12057765623a311802720512030a0163\
        a201142f6465762f7465726d696e6174696f6e2d6c6f67a801017001200128d804320d080112016322060a016b120176";
    assert_eq!(hex, expected);
}
