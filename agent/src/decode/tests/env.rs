use skerry_agent_core::Sensitive;

use super::*;

fn env(container: &str, config: &[ConfigObject]) -> Vec<(String, EnvValue)> {
    let app = valid_of(&spec(container, ""), config);
    assert_eq!(app.missing, [""; 0]);
    app.containers()[0].env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect()
}

fn missing(container: &str, config: &[ConfigObject]) -> Vec<String> {
    valid_of(&spec(container, ""), config).missing.clone()
}

fn resolved(value: &str) -> EnvValue {
    EnvValue::Resolved(value.to_owned())
}

/// The value of a variable with this source.
fn value_from(source: &str) -> EnvValue {
    let limits = r#""resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "10Mi"}}"#;
    env(&format!(r#", {limits}, "env": [{{"name": "A", "valueFrom": {source}}}]"#), &[]).remove(0).1
}

#[test]
fn fields_are_those_of_the_app() {
    for (path, expected) in [
        ("metadata.name", resolved("web")),
        ("metadata.namespace", resolved("shop")),
        ("metadata.uid", resolved("uid-1")),
        ("metadata.labels['app']", resolved("web")),
        ("metadata.annotations['note']", resolved("hi")),
        ("metadata.annotations['none']", resolved("")),
        ("spec.nodeName", resolved("box-1")),
        ("status.hostIP", EnvValue::HostIp),
        ("status.hostIPs", EnvValue::HostIp),
        ("status.podIP", EnvValue::PodIp),
        ("status.podIPs", EnvValue::PodIp),
    ] {
        assert_eq!(value_from(&format!(r#"{{"fieldRef": {{"fieldPath": "{path}"}}}}"#)), expected, "{path}");
    }
    for path in ["metadata.labels", "spec.serviceAccountName", "metadata.labels['x", "status"] {
        let container =
            format!(r#", "env": [{{"name": "A", "valueFrom": {{"fieldRef": {{"fieldPath": "{path}"}}}}}}]"#);
        let why = why(decoded(&encoded(&spec(&container, ""), &[])));
        assert!(why.starts_with("template.containers[0].env[0].valueFrom.fieldRef.fieldPath: "), "{why}");
    }
}

#[test]
fn resources_are_rounded_up_and_without_a_limit_are_the_boxes() {
    for (field, expected) in [
        (r#""resource": "limits.cpu""#, "2"),
        (r#""resource": "limits.cpu", "divisor": "1m""#, "1500"),
        (r#""resource": "limits.memory""#, "8589934592"),
        (r#""resource": "limits.memory", "divisor": "1Gi""#, "8"),
        (r#""resource": "requests.cpu", "divisor": "1m""#, "1500"),
        (r#""resource": "requests.memory", "divisor": "1M""#, "11"),
        (r#""resource": "requests.memory", "containerName": "main", "divisor": "1Mi""#, "10"),
    ] {
        assert_eq!(
            value_from(&format!(r#"{{"resourceFieldRef": {{{field}}}}}"#)),
            resolved(expected),
            "{field}"
        );
    }
    let container = r#", "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "containerName": "x"}}}]"#;
    let why = why(decoded(&encoded(&spec(container, ""), &[])));
    assert!(
        why.starts_with("template.containers[0].env[0].valueFrom.resourceFieldRef.containerName: "),
        "{why}"
    );
}

#[test]
fn later_sources_come_later_and_env_comes_last() {
    let config = [config_map("c", &[("A", "c"), ("B", "c")]), secret("s", &[("B", "s"), ("C", "$(A)")])];
    let env = env(
        r#", "env": [{"name": "B", "value": "$(A)"}, {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "A"}}},
                {"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "C"}}}],
            "envFrom": [{"configMapRef": {"name": "c"}}, {"prefix": "P_", "secretRef": {"name": "s"}}, {"secretRef": {"name": "s"}}]"#,
        &config,
    );
    let secret = |value: &str| EnvValue::Secret(Sensitive(value.to_owned()));
    let expected = [
        ("A", resolved("c")),
        ("B", resolved("c")),
        ("P_B", secret("s")),
        ("P_C", secret("$(A)")),
        ("B", secret("s")),
        ("C", secret("$(A)")),
        ("B", EnvValue::Literal("$(A)".to_owned())),
        ("D", resolved("c")),
        ("E", secret("$(A)")),
    ];
    assert_eq!(env, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn keys_that_are_no_names_are_left_out() {
    let odd = config_map("c", &[("dotted.key-1", "a"), ("a=b", "b"), ("tab\t", "c"), ("ü", "d")]);
    let env = env(r#", "envFrom": [{"configMapRef": {"name": "c"}}]"#, &[odd]);
    assert_eq!(env, [("dotted.key-1".to_owned(), resolved("a"))]);
}

#[test]
fn binary_data_makes_no_variables() {
    let binary =
        ConfigObject { binary_data: [("k".to_owned(), b"text".to_vec())].into(), ..config_map("c", &[]) };
    let config = [binary];
    assert_eq!(env(r#", "envFrom": [{"configMapRef": {"name": "c"}}]"#, &config), []);
    let reference =
        r#", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]"#;
    assert_eq!(missing(reference, &config), ["couldn't find key k in ConfigMap shop/c"]);
}

#[test]
fn what_is_missing_is_said_in_kubelets_words() {
    let container = r#", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
        "envFrom": [{"configMapRef": {"name": "e"}}, {"secretRef": {"name": "f"}}]"#;
    let none = [
        "configmap \"e\" not found",
        "secret \"f\" not found",
        "configmap \"c\" not found",
        "secret \"s\" not found",
    ];
    assert_eq!(missing(container, &[]), none);
    let empty = [config_map("c", &[]), secret("s", &[]), config_map("e", &[]), secret("f", &[])];
    let keys = ["couldn't find key k in ConfigMap shop/c", "couldn't find key k in Secret shop/s"];
    assert_eq!(missing(container, &empty), keys);
}

#[test]
fn what_is_optional_is_left_out_and_not_missed() {
    let container = r#", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": true}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}}, {"name": "C"}],
        "envFrom": [{"configMapRef": {"name": "e", "optional": true}}, {"secretRef": {"name": "f", "optional": true}}]"#;
    let only_c = [("C".to_owned(), EnvValue::Literal(String::new()))];
    assert_eq!(env(container, &[]), only_c);
    assert_eq!(env(container, &[config_map("c", &[]), secret("s", &[])]), only_c);
}

#[test]
fn a_value_that_no_process_can_have_is_waited_for() {
    let mut odd = secret("s", &[("nul", "a\0b"), ("good", "g")]);
    odd.data.insert("binary".to_owned(), vec![0xff]);
    let container = r#", "envFrom": [{"secretRef": {"name": "s"}}]"#;
    let messages = missing(container, &[odd]);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().all(|message| message.contains("in Secret shop/s is no text")), "{messages:?}");
}

#[test]
fn one_object_cannot_fill_the_memory_of_the_box() {
    let sources: Vec<_> =
        (0..32).map(|i| format!(r#"{{"prefix": "P{i}_", "configMapRef": {{"name": "c"}}}}"#)).collect();
    let container = format!(r#", "envFrom": [{}]"#, sources.join(","));
    let large = config_map("c", &[("K", &"x".repeat(1 << 20))]);
    let why = why(decoded(&encoded(&spec(&container, ""), &[large])));
    assert!(
        why.starts_with("template.containers[0].envFrom[3]: ") && why.contains("more than 4194304 bytes"),
        "{why}"
    );
}

#[test]
fn only_so_many_messages_are_kept() {
    let sources: Vec<_> = (0..32).map(|i| format!(r#"{{"configMapRef": {{"name": "c{i}"}}}}"#)).collect();
    let secrets: Vec<_> = (0..32).map(|i| format!(r#"{{"secretRef": {{"name": "s{i}"}}}}"#)).collect();
    let container = format!(r#", "envFrom": [{}, {}]"#, sources.join(","), secrets.join(","));
    assert_eq!(missing(&container, &[]).len(), MISSING_MAX);
}
