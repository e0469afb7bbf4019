use serde_json::{Value, json};

use super::*;
use crate::meta::cases::{cases, difference, read, report};
use crate::status::ApiError;

#[test]
fn label_selectors_are_read_as_the_real_server_reads_them() {
    let file = read(include_str!("../testdata/labels.json"));
    let sets = file["sets"].as_array().expect("label sets");
    let mut faults = Vec::new();
    for case in cases(&file) {
        let query = case["q"].as_str().expect("a query");
        faults.extend(match LabelSelector::parse(query) {
            Ok(selector) => {
                let picked: Vec<usize> =
                    (0..sets.len()).filter(|at| selector.matches_map(sets[*at].as_object())).collect();
                (json!(picked) != case["want"]["match"])
                    .then(|| format!("{query:?}: {picked:?}, not {}", case["want"]))
            }
            Err(error) => difference(&error, &case["want"]).map(|text| format!("{query:?}: {text}")),
        });
    }
    report(&faults);
}

fn fields_of(case: &Value) -> SelectableFields {
    match (case["kind"][0].as_str(), case["kind"][1].as_str()) {
        (Some("skerry.dev"), Some(kind)) => SelectableFields::of_custom(kind == "EdgeApp", &[]),
        (Some(group), Some(kind)) => SelectableFields::of_built_in(group, kind),
        _ => panic!("no kind in {case}"),
    }
}

#[test]
fn field_selectors_are_read_as_the_real_server_reads_them() {
    let file = read(include_str!("../testdata/fields.json"));
    let objects: Vec<Value> =
        (0..6).map(|at| json!({"metadata": {"name": format!("s{at}"), "namespace": "sel"}})).collect();
    let mut faults = Vec::new();
    for case in cases(&file).iter().filter(|case| case["want"]["code"] != 429) {
        let query = case["q"].as_str().expect("a query");
        let parsed: Result<FieldSelector, ApiError> = FieldSelector::parse(query, &fields_of(case));
        faults.extend(match parsed {
            Ok(_) if case["want"]["ok"] == true => None,
            Ok(selector) => {
                let picked: Vec<usize> = (0..6).filter(|at| selector.matches(&objects[*at])).collect();
                (json!(picked) != case["want"]["match"])
                    .then(|| format!("{query:?}: {picked:?}, not {}", case["want"]))
            }
            Err(error) => difference(&error, &case["want"]).map(|text| format!("{query:?}: {text}")),
        });
    }
    report(&faults);
}

#[test]
fn events_are_selected_by_the_stored_form() {
    let event = json!({
        "involvedObject": {"kind": "EdgeApp"}, "source": {"component": ""}, "reportingComponent": "skerry", "type": "Normal",
    });
    let picks = |group: &str, query: &str| {
        let fields = SelectableFields::of_built_in(group, "Event");
        FieldSelector::parse(query, &fields).expect("a good selector").matches(&event)
    };
    assert!(picks("", "involvedObject.kind=EdgeApp,source=skerry"));
    assert!(picks("events.k8s.io", "regarding.kind=EdgeApp,reportingController=skerry,type!=Warning"));
    assert!(!picks("events.k8s.io", "regarding.kind=EdgeNode"));
}

#[test]
fn custom_resources_are_selected_by_what_their_definition_offers() {
    let fields = SelectableFields::of_custom(true, &[".spec.port".to_owned(), ".spec.on".to_owned()]);
    let object = json!({"metadata": {"name": "a"}, "spec": {"port": 80, "on": true}});
    let picks = |query: &str| FieldSelector::parse(query, &fields).expect("a good selector").matches(&object);
    assert!(picks("spec.port=80,spec.on=true,metadata.name=a"));
    assert!(!picks("spec.port=81"));
}

#[test]
fn a_selector_has_a_bound() {
    assert_eq!(LabelSelector::parse(&"a,".repeat(MAX_LENGTH)).expect_err("too long").code, 400);
}
