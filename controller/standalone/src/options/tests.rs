use super::*;
use crate::meta::cases::{cases, difference, read, report};

#[test]
fn options_are_read_as_the_real_server_reads_them() {
    let file = read(include_str!("../testdata/options.json"));
    let fields = SelectableFields::of_built_in("", "ConfigMap");
    let mut faults = Vec::new();
    for case in cases(&file) {
        let query = case["q"].as_str().expect("a query");
        let body = case["body"].as_str().unwrap_or_default();
        let parsed = match case["verb"].as_str().expect("a verb") {
            "list" => List::parse(query, &fields).map(drop),
            "get" => Get::parse(query).map(drop),
            "create" => Create::parse(query).map(drop),
            "update" => Create::parse_update(query).map(drop),
            "patch" => Patch::parse(query, false).map(drop),
            "apply" => Patch::parse(query, true).map(drop),
            _ => Delete::parse(query, body.as_bytes()).map(drop),
        };
        let want = &case["want"];
        // These were refused or found missing later, not for their options.
        let passes = want["ok"] == true || want["code"] == 404 || want["code"] == 409;
        faults.extend(match parsed {
            Ok(()) if passes => None,
            Ok(()) => Some(format!("{} {query} {body}: taken, not {want}", case["verb"])),
            Err(error) => {
                difference(&error, want).map(|text| format!("{} {query} {body}: {text}", case["verb"]))
            }
        });
    }
    report(&faults);
}

#[test]
fn what_is_asked_for_is_understood() {
    let fields = SelectableFields::of_built_in("", "ConfigMap");
    let query = "limit=5&continue=abc&labelSelector=a%3Db&timeoutSeconds=9&watch=1&allowWatchBookmarks=true&resourceVersion=7";
    let list = List::parse(query, &fields).expect("good options");
    assert_eq!((list.limit, list.continue_token.as_str(), list.timeout_seconds), (Some(5), "abc", Some(9)));
    assert!(list.watch && list.allow_bookmarks && !list.labels.is_empty() && list.fields.is_empty());
    assert_eq!(list.resource_version, "7");
    assert!(asks_for_watch("limit=1&watch=true") && !asks_for_watch("watch=0"));
    let delete =
        Delete::parse("", br#"{"preconditions":{"uid":"u"},"orphanDependents":true,"dryRun":["All"]}"#);
    let delete = delete.expect("good options");
    assert_eq!((delete.propagation, delete.uid.as_deref()), (Some(Propagation::Orphan), Some("u")));
    assert!(delete.dry_run);
    let patch = Patch::parse("fieldManager=me&force=0&fieldValidation=Strict", true).expect("good options");
    assert_eq!((patch.force, patch.field_validation), (false, FieldValidation::Strict));
}

#[test]
fn a_bad_resource_version_is_told() {
    let fields = SelectableFields::of_built_in("", "ConfigMap");
    let told = "resourceVersion: Invalid value: \"abc\": strconv.ParseUint: parsing \"abc\": invalid syntax";
    let list = List::parse("resourceVersion=abc", &fields).expect_err("no number");
    assert_eq!((list.code, list.message), (400, format!("invalid resource version: {told}")));
    let get = Get::parse("resourceVersion=abc").expect_err("no number");
    assert_eq!((get.code, get.message.as_str()), (500, told));
    let far = List::parse("resourceVersion=99999999999999999999999", &fields).expect_err("too large");
    assert!(far.message.ends_with("value out of range"), "{}", far.message);
}
