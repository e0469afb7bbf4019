use super::*;
use crate::{builtin, crd};

fn recorded() -> Value {
    serde_json::from_str(include_str!("../testdata/discovery/recorded.json")).unwrap()
}

fn resources() -> Vec<Resource> {
    let mut resources = builtin::resources();
    let definitions = recorded()["definitions"].as_array().unwrap().clone();
    resources.extend(
        definitions.iter().map(|definition| crd::resource(definition, &builtin::object_meta()).unwrap()),
    );
    resources
}

/// Ours is read only; the real one's verbs are more.
fn without_writes(real: &mut Value) {
    match real {
        Value::Object(fields) => {
            let name =
                fields.get("name").or(fields.get("resource")).and_then(Value::as_str).unwrap_or_default();
            if let Some(subresource) = name.strip_prefix("customresourcedefinitions") {
                let verbs =
                    if subresource.is_empty() { json!(["get", "list", "watch"]) } else { json!(["get"]) };
                fields.insert("verbs".to_owned(), verbs);
                if let Some(subresources) = fields.get_mut("subresources") {
                    subresources[0]["verbs"] = json!(["get"]);
                }
            }
            fields.values_mut().for_each(without_writes);
        }
        Value::Array(items) => items.iter_mut().for_each(without_writes),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The recording leaves them out.
fn without_hashes(mut listed: Value) -> Value {
    let kinds = listed.get_mut("resources").and_then(Value::as_array_mut);
    for kind in kinds.into_iter().flatten() {
        kind.as_object_mut().unwrap().remove("storageVersionHash");
    }
    listed
}

#[test]
fn groups_and_kinds_are_those_of_the_real_server() {
    let resources = resources();
    let mut recorded = recorded();
    without_writes(&mut recorded);
    for (path, real) in recorded["discovery"].as_object().unwrap() {
        let parts: Vec<_> = path.split('/').skip(1).collect();
        let ours = match parts.as_slice() {
            ["api", version] => kinds(&resources, "", version),
            ["apis"] => {
                // The order is that of the real server's priorities; clients keep to it when a kind is ambiguous.
                Some(groups(&resources))
            }
            ["apis", name] => group(&resources, name),
            ["apis", group, version] => kinds(&resources, group, version),
            other => panic!("{other:?} is not discovery"),
        };
        assert_eq!(ours.map(without_hashes).as_ref(), Some(real), "{path}");
    }
    let maps = &kinds(&resources, "", "v1").unwrap()["resources"][0];
    assert_eq!(maps["storageVersionHash"], "qFsyl6wFWjQ=", "as the real server names the form of ConfigMaps");
    assert_eq!(group(&resources, ""), None);
    assert_eq!(group(&resources, "nope"), None);
    assert_eq!(kinds(&resources, "apps", "v9"), None);
}

#[test]
fn aggregated_discovery_is_that_of_the_real_server() {
    let resources = resources();
    let mut recorded = recorded();
    without_writes(&mut recorded);
    let ours = aggregated_core(&resources, "v2");
    assert_eq!(serde_json::from_str::<Value>(&ours.body).unwrap(), recorded["aggregated"]["/api"]);
    assert_eq!(ours.content_type, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    assert!(ours.etag.starts_with('"') && ours.etag.len() == 130);
    let ours: Value = serde_json::from_str(&aggregated_groups(&resources, "v2").body).unwrap();
    assert_eq!(ours, recorded["aggregated"]["/apis"]);
    let older: Value = serde_json::from_str(&aggregated_groups(&resources, "v2beta1").body).unwrap();
    assert_eq!(
        (&older["apiVersion"], &older["items"]),
        (&"apidiscovery.k8s.io/v2beta1".into(), &ours["items"])
    );
}

#[test]
fn the_root_lists_the_paths_once() {
    let listed = paths(&resources(), &["/healthz", "/version"]);
    let listed: Vec<_> = listed["paths"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(listed.contains(&"/apis/skerry.dev/v1alpha1") && listed.contains(&"/healthz"));
    assert!(listed.is_sorted_by(|left, right| left < right));
}

#[test]
fn the_version_can_be_parsed_by_clients() {
    let version = version();
    assert_eq!(version["gitVersion"], "v1.37.2+skerry");
    assert_eq!((&version["major"], &version["minor"]), (&"1".into(), &"37".into()));
}
