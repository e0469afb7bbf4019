//! The cells of the built-in kinds, as `kubernetes/pkg/printers/internalversion` computes them. Their columns are in
//! `builtin/columns.json`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use crate::resource::Resource;

/// One row. A kind that is not known here has its name alone, and null in the other columns.
pub(super) fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = &object["metadata"]["name"];
    let age = age::since(object["metadata"]["creationTimestamp"].as_str(), now);
    match resource.plural.as_str() {
        "namespaces" => vec![name.clone(), text(&object["status"]["phase"]).into(), age.into()],
        "secrets" => {
            vec![name.clone(), text(&object["type"]).into(), size(&object["data"]).into(), age.into()]
        }
        "configmaps" => {
            vec![name.clone(), (size(&object["data"]) + size(&object["binaryData"])).into(), age.into()]
        }
        "leases" => vec![name.clone(), text(&object["spec"]["holderIdentity"]).into(), age.into()],
        "controllerrevisions" => {
            let revision = object["revision"].as_i64().unwrap_or(0);
            vec![name.clone(), controller(object).into(), revision.into(), age.into()]
        }
        "certificatesigningrequests" => {
            let spec = &object["spec"];
            let duration = spec["expirationSeconds"].as_i64().map_or_else(none, age::human);
            let signer =
                spec["signerName"].as_str().filter(|name| !name.is_empty()).map_or_else(none, str::to_owned);
            let cells = [age, signer, text(&spec["username"]).to_owned(), duration, request_state(object)];
            std::iter::once(name.clone()).chain(cells.map(Value::from)).collect()
        }
        "customresourcedefinitions" => definition(object),
        "events" => event(object, now),
        _ => std::iter::once(name.clone())
            .chain(resource.columns.iter().skip(1).map(|_| Value::Null))
            .collect(),
    }
}

fn none() -> String {
    "<none>".to_owned()
}

/// Absent reads as empty, as it does in Go.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn size(map: &Value) -> usize {
    map.as_object().map_or(0, serde_json::Map::len)
}

/// `edgeapp.skerry.dev/shop`: the owner that controls.
fn controller(object: &Value) -> String {
    let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let Some(owner) = owners.find(|owner| owner["controller"] == true) else { return none() };
    let group = text(&owner["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
    let kind = text(&owner["kind"]);
    let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let name = text(&owner["name"]);
    if kind.is_empty() { name.to_owned() } else { format!("{}/{name}", kind.to_lowercase()) }
}

fn request_state(object: &Value) -> String {
    let has = |kind: &str| {
        object["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|condition| condition["type"] == kind)
    };
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&object["status"]["certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}

fn definition(object: &Value) -> Vec<Value> {
    let spec = &object["spec"];
    let served =
        spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true);
    let mut versions: Vec<_> = served
        .map(|version| {
            format!("{}{}", text(&version["name"]), if version["storage"] == true { "(storage)" } else { "" })
        })
        .collect();
    versions.sort();
    let short: Vec<_> = spec["names"]["shortNames"].as_array().into_iter().flatten().map(text).collect();
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let established =
        conditions.into_iter().any(|own| own["type"] == "Established" && own["status"] == "True");
    let metadata = &object["metadata"];
    vec![
        metadata["name"].clone(),
        text(&spec["scope"]).into(),
        versions.join(",").into(),
        metadata["creationTimestamp"].clone(),
        text(&spec["group"]).into(),
        text(&spec["names"]["kind"]).into(),
        short.join(",").into(),
        established.into(),
    ]
}

/// An event of either group: they are one kind, whose fields `events.k8s.io` names anew.
fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let either = |core: &str, new: &str| if object[core].is_null() { &object[new] } else { &object[core] };
    let set = |time: &Value| time.as_str().filter(|time| !time.is_empty()).map(str::to_owned);
    let about = either("involvedObject", "regarding");
    let source = either("source", "deprecatedSource");
    let first =
        set(either("firstTimestamp", "deprecatedFirstTimestamp")).or_else(|| set(&object["eventTime"]));
    let series = &object["series"];
    let (last, count) = if series.is_object() {
        (set(&series["lastObservedTime"]), series["count"].as_i64().unwrap_or(0))
    } else {
        let count = either("count", "deprecatedCount").as_i64().filter(|count| *count != 0).unwrap_or(1);
        (set(either("lastTimestamp", "deprecatedLastTimestamp")).or_else(|| first.clone()), count)
    };
    let kind = text(&about["kind"]).to_lowercase();
    let target = match text(&about["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let or = |own: &Value, other: &Value| {
        if text(own).is_empty() { text(other).to_owned() } else { text(own).to_owned() }
    };
    let component = or(&source["component"], either("reportingComponent", "reportingController"));
    let source = match or(&source["host"], &object["reportingInstance"]).as_str() {
        "" => component,
        host => format!("{component}, {host}"),
    };
    vec![
        age::since(last.as_deref(), now).into(),
        text(&object["type"]).into(),
        text(&object["reason"]).into(),
        target.into(),
        text(&about["fieldPath"]).into(),
        source.into(),
        text(either("message", "note")).trim().into(),
        age::since(first.as_deref(), now).into(),
        json!(count),
        object["metadata"]["name"].clone(),
    ]
}
