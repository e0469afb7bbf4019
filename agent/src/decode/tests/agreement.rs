//! What the controller takes for good, the box can honour: the checks of a spec, its encoding and its decoding agree, whatever the spec.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use skerry_api::check_spec;
use skerry_api::wire::EncodeError;

use super::random::{full_config, full_spec, judge};
use super::*;

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

proptest! {
    #[test]
    fn a_spec_that_passes_its_checks_is_valid_on_the_box(edits in proptest::collection::vec(edit(), 1..4)) {
        let mut json = serde_json::to_value(full_spec()).expect("a spec is JSON");
        edits.iter().for_each(|edit| apply(&mut json, edit));
        let Ok(spec) = serde_json::from_value::<EdgeAppSpec>(json) else { return Ok(()) };
        if check_spec(&spec).is_err() {
            return Ok(());
        }
        match payload("u", "r", &spec, &BTreeMap::new(), &full_config()) {
            Ok(payload) => match judge(&payload) {
                DesiredApp::Valid(_) => {}
                other @ (DesiredApp::Unsupported { .. } | DesiredApp::Refused { .. }) => {
                    prop_assert!(false, "{other:?} of {spec:?}");
                }
            },
            Err(EncodeError::TooLarge { .. } | EncodeError::TooManyObjects { .. }) => {}
            Err(error @ EncodeError::Field(_)) => prop_assert!(false, "{error} of {spec:?}"),
        }
    }
}

#[test]
fn the_full_spec_passes_its_checks() {
    assert_eq!(check_spec(&full_spec()), Ok(()));
}
