//! The conversion of a spec: what the controller takes for good, the box can honour. The checks of a spec, its encoding and its decoding agree,
//! whatever the spec.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use skerry_agent::decode;
use skerry_agent_core::{Capacity, DesiredApp, Host};
use skerry_api::wire::{ConfigKind, ConfigObject, EncodeError, payload};
use skerry_api::{EdgeAppSpec, check_spec};

/// A spec with every field.
const EVERYTHING: &str = include_str!("../../../controller/api/src/valid/testdata/everything.json");

/// What a person or a template engine may have written in place of something else.
fn odd_value() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "a",
        "b-c",
        "A",
        ".",
        "..",
        "..a",
        "a/..",
        "a/./b",
        "/",
        "/a",
        "/a/../b",
        "//",
        "a:b",
        "a b",
        "a\nb",
        "a\u{0}",
        "ä",
        "=",
        "$(A)",
        "$(",
        "1.1.1.1",
        "::",
        "::1",
        "0.0.0.0",
        "256.1.1.1",
        "ALL",
        "CAP_ALL",
        "cap_net-raw",
        "net/ipv4/a",
        "a.b",
        "1",
        "0",
        "1m",
        "-1",
        "1Mi",
        "1e30",
        "0.1",
        "128Mi",
        "limits.memory",
        "requests.cpu",
        "metadata.labels",
        "metadata.labels['app']",
        "metadata.labels['",
        "spec.nodeName",
        "status.podIPs",
        "http",
        "main",
        "s",
        "c",
        "None",
        "Memory",
        "Always",
        "HTTPS",
        "x:1@y",
        "skerry.dev/a",
    ];
    let numbers =
        [-1_i64, 0, 1, 2, 80, 511, 512, 1000, 65_535, 65_536, 86_400, 2_147_483_647, 2_147_483_648, 1 << 40];
    prop_oneof![
        4 => proptest::sample::select(texts.to_vec()).prop_map(Value::from),
        1 => (1usize..400).prop_map(|length| Value::from("x".repeat(length))),
        2 => proptest::sample::select(numbers.to_vec()).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!([])),
        1 => Just(json!({})),
    ]
}

/// What is done to one place of a spec.
#[derive(Debug, Clone)]
enum Edit {
    Replace(Value),
    Remove,
    /// The entry of a list once more.
    Repeat,
    /// Takes what stands somewhere else.
    Copy(Index),
}

fn edit() -> impl Strategy<Value = (Index, Edit)> {
    let edit = prop_oneof![
        5 => odd_value().prop_map(Edit::Replace),
        1 => Just(Edit::Remove),
        1 => Just(Edit::Repeat),
        2 => any::<Index>().prop_map(Edit::Copy),
    ];
    (any::<Index>(), edit)
}

/// The JSON pointer of everything below.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    let mut below = |step: &str, value: &Value| {
        let path = format!("{path}/{}", step.replace('~', "~0").replace('/', "~1"));
        found.push(path.clone());
        places(value, &path, found);
    };
    match value {
        Value::Array(list) => list.iter().enumerate().for_each(|(i, value)| below(&i.to_string(), value)),
        Value::Object(map) => map.iter().for_each(|(key, value)| below(key, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn apply(spec: &mut Value, (at, edit): &(Index, Edit)) {
    let mut all = Vec::new();
    places(spec, "", &mut all);
    if all.is_empty() {
        return;
    }
    let path = at.get(&all);
    let (parent, step) = path.rsplit_once('/').expect("a pointer begins with a slash");
    let step = step.replace("~1", "/").replace("~0", "~");
    let other = match edit {
        Edit::Copy(other) => spec.pointer(&all[other.index(all.len())]).cloned(),
        Edit::Replace(_) | Edit::Remove | Edit::Repeat => None,
    };
    let index = step.parse::<usize>();
    let parent = spec.pointer_mut(parent).expect("it was found");
    match (parent, edit) {
        (Value::Array(list), Edit::Remove) => drop(list.remove(index.expect("an index"))),
        (Value::Array(list), Edit::Repeat) => list.push(list[index.expect("an index")].clone()),
        (Value::Array(list), Edit::Replace(value)) => list[index.expect("an index")] = value.clone(),
        (Value::Array(list), Edit::Copy(_)) => list[index.expect("an index")] = other.expect("it was found"),
        (Value::Object(map), Edit::Remove | Edit::Repeat) => drop(map.remove(&step)),
        (Value::Object(map), Edit::Replace(value)) => drop(map.insert(step, value.clone())),
        (Value::Object(map), Edit::Copy(_)) => drop(map.insert(step, other.expect("it was found"))),
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => {}
    }
}

/// What the spec refers to.
fn config() -> [ConfigObject; 3] {
    let object = |kind: ConfigKind, name: &str, data: &[(&str, &str)]| {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        ConfigObject { kind: kind.into(), name: name.to_owned(), data, ..Default::default() }
    };
    let pull = (".dockerconfigjson", r#"{"auths": {"r.example": {"auth": "dTpw"}}}"#);
    [
        object(ConfigKind::ConfigMap, "web", &[("a", "v"), ("mode", "fast")]),
        object(ConfigKind::Secret, "web", &[("a", "v"), ("token", "t")]),
        ConfigObject {
            r#type: "kubernetes.io/dockerconfigjson".to_owned(),
            ..object(ConfigKind::Secret, "registry", &[pull])
        },
    ]
}

fn decoded(payload: &[u8]) -> DesiredApp {
    let host = Host { capacity: Capacity { cpu_millis: 4000, memory_bytes: 8 << 30 }, ..Host::default() };
    let (node, key) = ("box-1".parse().expect("a name"), "shop/web".parse().expect("a key"));
    decode::app(&node, &host, &key, payload).1
}

/// What is taken can travel and is valid on the box.
fn judge(spec: &EdgeAppSpec) -> Result<(), TestCaseError> {
    if check_spec(spec).is_err() {
        return Ok(());
    }
    match payload("u", "r", spec, &BTreeMap::new(), &config()) {
        Ok(payload) => match decoded(&payload) {
            DesiredApp::Valid(_) => Ok(()),
            other @ (DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. }) => {
                Err(TestCaseError::fail(format!("{other:?} of {spec:?}")))
            }
        },
        Err(EncodeError::TooLarge { .. } | EncodeError::TooManyObjects { .. }) => Ok(()),
        Err(error @ EncodeError::Field(_)) => Err(TestCaseError::fail(format!("{error} of {spec:?}"))),
    }
}

#[test]
fn a_spec_that_passes_its_checks_is_valid_on_the_box() {
    let whole: Value = serde_json::from_str(EVERYTHING).expect("JSON");
    crate::fuzz(proptest::collection::vec(edit(), 1..5), |edits| {
        let mut json = whole.clone();
        edits.iter().for_each(|edit| apply(&mut json, edit));
        serde_json::from_value(json).map_or(Ok(()), |spec| judge(&spec))
    });
}

#[test]
fn the_whole_spec_passes_its_checks() {
    let spec: EdgeAppSpec = serde_json::from_str(EVERYTHING).expect("a spec");
    assert_eq!(check_spec(&spec), Ok(()));
    judge(&spec).expect("valid on the box");
}
