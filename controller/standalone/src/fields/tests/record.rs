//! Records the answers of a real API server; see the module above.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/fields/testdata");

/// What differs from run to run and is nobody's.
const VOLATILE: [&str; 5] = ["uid", "resourceVersion", "creationTimestamp", "generation", "selfLink"];

fn request(method: &str, path: &str, content: &str, body: &Value) -> (u64, Value) {
    let proxy = std::env::var("SKERRY_KUBE_PROXY").unwrap();
    let header = format!("Content-Type: {content}");
    let mut curl = Command::new("curl")
        .args(["-s", "-w", "\n%{http_code}", "-X", method, "-H", &header, "--data-binary", "@-"])
        .arg(format!("{proxy}{path}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    curl.stdin.take().unwrap().write_all(body.to_string().as_bytes()).unwrap();
    let output = String::from_utf8(curl.wait_with_output().unwrap().stdout).unwrap();
    let (body, code) = output.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), serde_json::from_str(body).unwrap())
}

fn record(sequence: &mut Value) {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let (collection, name) = (text(sequence, "collection"), text(sequence, "object"));
    request(
        "PATCH",
        &format!("{collection}/{name}"),
        "application/merge-patch+json",
        &json!({"metadata": {"finalizers": null}}),
    );
    request("DELETE", &format!("{collection}/{name}"), "application/json", &json!({}));
    let mut times: BTreeMap<String, String> = BTreeMap::new();
    for (place, step) in sequence["steps"].as_array_mut().unwrap().iter_mut().enumerate() {
        // Times have seconds; each step gets its own.
        std::thread::sleep(std::time::Duration::from_millis(1050));
        let query = format!("fieldManager={}&force={}", text(step, "manager"), step["force"] == true);
        let sub = match step["sub"].as_str() {
            Some(sub) => format!("/{sub}"),
            None => String::new(),
        };
        let one = format!("{collection}/{name}{sub}?{query}");
        let plain = format!("fieldManager={}", text(step, "manager"));
        let body = step["body"].clone();
        let (code, mut answer) = match text(step, "do").as_str() {
            "create" => request("POST", &format!("{collection}?{plain}"), "application/json", &body),
            "replace" => {
                request("PUT", &format!("{collection}/{name}{sub}?{plain}"), "application/json", &body)
            }
            "merge" => request(
                "PATCH",
                &format!("{collection}/{name}{sub}?{plain}"),
                "application/merge-patch+json",
                &body,
            ),
            _ => request("PATCH", &one, "application/apply-patch+yaml", &body),
        };
        if code >= 300 {
            step["answer"] =
                json!({"code": code, "message": answer["message"], "causes": answer["details"]["causes"]});
            continue;
        }
        let metadata = answer["metadata"].as_object_mut().unwrap();
        VOLATILE.iter().for_each(|name| drop(metadata.remove(*name)));
        for entry in metadata.get_mut("managedFields").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(time) = entry.get("time").and_then(Value::as_str).map(str::to_owned)
                && !time.starts_with("2020")
            {
                let time = times.entry(time).or_insert_with(|| super::at(place)).clone();
                entry["time"] = json!(time);
            }
        }
        step["answer"] = json!({"code": code, "object": answer});
    }
}

/// The schemas of the kinds in use, and all that they refer to, without what they say to people.
fn schemas(kinds: &[&str]) -> Map<String, Value> {
    let documents = ["/openapi/v3/api/v1", "/openapi/v3/apis/skerry.dev/v1alpha1"];
    let documents = documents.map(|path| request("GET", path, "application/json", &json!({})).1);
    let all: Map<String, Value> = documents
        .iter()
        .flat_map(|document| document["components"]["schemas"].as_object().unwrap().clone())
        .collect();
    let mut kept = Map::new();
    let mut wanted: Vec<String> = all
        .keys()
        .filter(|name| {
            kinds.iter().any(|kind| name.ends_with(&format!(".{kind}")) && !name.contains(".events."))
        })
        .cloned()
        .collect();
    while let Some(name) = wanted.pop() {
        if !kept.contains_key(&name) {
            let mut schema = all[&name].clone();
            strip(&mut schema, &mut wanted);
            kept.insert(name, schema);
        }
    }
    kept
}

fn strip(schema: &mut Value, references: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            if fields.get("description").is_some_and(Value::is_string) {
                fields.remove("description");
            }
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                references.push(reference.trim_start_matches("#/components/schemas/").to_owned());
            }
            fields.values_mut().for_each(|value| strip(value, references));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| strip(value, references)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
#[ignore = "needs a real API server"]
fn record_the_sequences() {
    let mut sequences: Vec<Value> = serde_json::from_str(super::SEQUENCES).unwrap();
    std::thread::scope(|scope| {
        for sequence in &mut sequences {
            scope.spawn(|| record(sequence));
        }
    });
    // One step a line: small, and readable in a diff.
    let sequences = sequences.into_iter().map(|mut sequence| {
        let steps = sequence["steps"].take();
        let steps: Vec<String> = steps.as_array().unwrap().iter().map(|step| format!("  {step}")).collect();
        sequence.as_object_mut().unwrap().remove("steps");
        let head = sequence.to_string();
        format!("{},\"steps\":[\n{}\n]}}", head.trim_end_matches('}'), steps.join(",\n"))
    });
    let sequences = format!("[\n{}\n]\n", sequences.collect::<Vec<_>>().join(",\n"));
    std::fs::write(format!("{FOLDER}/sequences.json"), sequences).unwrap();
    let schemas = schemas(&["ConfigMap", "Namespace", "Event", "EdgeApp", "EdgeNode"]);
    let schemas: Vec<String> =
        schemas.iter().map(|(name, schema)| format!("{}:{schema}", json!(name))).collect();
    std::fs::write(format!("{FOLDER}/schemas.json"), format!("{{\n{}\n}}\n", schemas.join(",\n"))).unwrap();
}
