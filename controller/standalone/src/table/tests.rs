use super::*;
use crate::{builtin as kinds, crd};

const V1: &str = "meta.k8s.io/v1";

fn recorded() -> Value {
    serde_json::from_str(include_str!("../testdata/discovery/recorded.json")).unwrap()
}

fn resource(group: &str, plural: &str) -> Resource {
    let definitions = recorded()["definitions"].as_array().unwrap().clone();
    let custom = definitions.iter().filter_map(|definition| crd::resource(definition, &kinds::object_meta()));
    kinds::resources()
        .into_iter()
        .chain(custom)
        .find(|own| own.group == group && own.plural == plural)
        .unwrap()
}

/// The real server was asked at once, so the age of what it printed was none.
fn at(object: &Value, include: Include) -> Options {
    let created = object["metadata"]["creationTimestamp"].as_str().unwrap_or("2026-01-01T00:00:00Z");
    Options { include, headers: true, now: created.parse().unwrap() }
}

fn name_columns(table: &mut Value) {
    for column in table["columnDefinitions"].as_array_mut().unwrap() {
        *column = column["name"].clone();
    }
}

/// An age may have been a second in the recording.
fn settle(table: &mut Value) {
    for row in table["rows"].as_array_mut().unwrap() {
        for cell in row["cells"].as_array_mut().unwrap() {
            if *cell == "1s" {
                *cell = "0s".into();
            }
        }
    }
}

#[test]
fn tables_are_those_of_the_real_server() {
    let recorded = recorded();
    for case in recorded["tables"].as_array().unwrap() {
        let resource = resource(case["group"].as_str().unwrap(), case["plural"].as_str().unwrap());
        let object = case["object"].clone();
        let include = Include::parse(case["include"].as_str().unwrap()).unwrap();
        let options = at(&object, include);
        let mut ours = transform(object, Form::Table(V1), &resource, &options).unwrap();
        name_columns(&mut ours);
        let mut real = case["table"].clone();
        settle(&mut real);
        assert_eq!(ours, real);
    }
}

#[test]
fn the_table_of_definitions_is_that_of_the_real_server() {
    let recorded = recorded();
    let definitions = recorded["definitions"].as_array().unwrap();
    let object = definitions.iter().find(|own| own["metadata"]["name"] == "edgeapps.skerry.dev").unwrap();
    let resource = resource("apiextensions.k8s.io", "customresourcedefinitions");
    let mut ours =
        transform(object.clone(), Form::Table(V1), &resource, &at(object, Include::Nothing)).unwrap();
    name_columns(&mut ours);
    assert_eq!(ours, recorded["definition"]);
}

#[test]
fn lists_keep_what_is_needed_to_go_on() {
    for case in recorded()["lists"].as_array().unwrap() {
        let resource = resource("skerry.dev", "edgenodes");
        let list = &case["object"];
        let options = at(&list["items"][0], Include::Nothing);
        let ours = transform(list.clone(), Form::Table(V1), &resource, &options).unwrap();
        let mut real = case["table"].clone();
        settle(&mut real);
        assert_eq!(ours, real, "with every word of the columns");
        let ours = transform(list.clone(), Form::PartialList(V1), &resource, &options).unwrap();
        assert_eq!(ours, case["partial"]);
    }
}

#[test]
fn a_form_that_does_not_fit_is_refused_in_the_real_servers_words() {
    let options = at(&Value::Null, Include::Metadata);
    let cases = [
        (
            "",
            "namespaces",
            true,
            "you requested PartialObjectMetadata, but the requested object is a list (*core.NamespaceList)",
        ),
        (
            "skerry.dev",
            "edgenodes",
            true,
            "you requested PartialObjectMetadata, but the requested object is a list (*unstructured.UnstructuredList)",
        ),
        (
            "skerry.dev",
            "edgenodes",
            false,
            "you requested PartialObjectMetadataList, but the requested object is not a list (*unstructured.Unstructured)",
        ),
    ];
    for (group, plural, list, text) in cases {
        let resource = resource(group, plural);
        let kind = if list { &resource.list_kind } else { &resource.kind };
        let form = if list { Form::Partial(V1) } else { Form::PartialList(V1) };
        let error = transform(json!({"kind": kind}), form, &resource, &options).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (406, text));
    }
    let status = json!({"kind": "Status"});
    assert_eq!(transform(status.clone(), Form::Table(V1), &resource("", "secrets"), &options), Ok(status));
}

#[test]
fn an_unknown_include_is_refused() {
    let error = Include::parse("foo").unwrap_err();
    let text = "Unable to convert to Table as requested: includeObject: Invalid value: \"foo\": must be 'Metadata', 'Object', \
                'None', or empty";
    assert_eq!((error.code, error.message.as_str()), (400, text));
}

#[test]
fn a_request_for_a_certificate_says_what_became_of_it() {
    let resource = resource("certificates.k8s.io", "certificatesigningrequests");
    let cases = [
        (json!({}), "Pending"),
        (json!({"conditions": [{"type": "Approved"}]}), "Approved"),
        (json!({"conditions": [{"type": "Approved"}], "certificate": "LS0="}), "Approved,Issued"),
        (
            json!({"conditions": [{"type": "Approved"}, {"type": "Denied"}, {"type": "Failed"}]}),
            "Denied,Failed",
        ),
    ];
    for (status, text) in cases {
        let object = json!({"metadata": {"name": "a"}, "spec": {}, "status": status});
        let cells = builtin::cells(&resource, &object, Timestamp::UNIX_EPOCH);
        assert_eq!(
            cells,
            [json!("a"), "<unknown>".into(), "<none>".into(), "".into(), "<none>".into(), text.into()]
        );
    }
}

#[test]
fn cells_of_a_definitions_columns_follow_their_type() {
    let object = json!({"s": "x", "i": 7, "f": 2.75, "b": true, "l": ["a", 1], "n": null, "tiny": 0.000_012_5,
                        "t": "2025-12-31T23:00:00Z"});
    let cases = [
        ("string", ".s", json!("x")),
        ("string", ".i", json!("7")),
        ("string", ".f", json!("2.75")),
        ("string", ".b", json!("true")),
        ("string", ".l", json!("[\"a\",1]")),
        ("string", ".n", json!("<no value>")),
        ("string", ".tiny", json!("1.25e-05")),
        ("string", ".missing", Value::Null),
        ("string", "broken[", Value::Null),
        ("integer", ".i", json!(7)),
        ("integer", ".f", json!(2)),
        ("integer", ".s", Value::Null),
        ("number", ".f", json!(2.75)),
        ("boolean", ".b", json!(true)),
        ("boolean", ".s", Value::Null),
        ("date", ".t", json!("60m")),
        ("date", ".s", json!("<invalid>")),
        ("date", ".i", Value::Null),
    ];
    for (kind, json_path, expected) in cases {
        let mut column = resource("skerry.dev", "edgenodes").columns.remove(0);
        column.kind = kind.to_owned();
        let path = Path::parse(json_path);
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(cell(&column, path.as_ref(), &object, now), expected, "{kind} {json_path}");
    }
}

#[test]
fn a_watch_defines_its_columns_once() {
    let options = Options { headers: false, ..at(&Value::Null, Include::Nothing) };
    let secret = resource("", "secrets");
    let table = transform(json!({"metadata": {"name": "a"}}), Form::Table(V1), &secret, &options).unwrap();
    assert_eq!(table["columnDefinitions"], Value::Null);
}
