use super::*;

fn recorded() -> Value {
    serde_json::from_str(include_str!("../testdata/discovery/recorded.json")).unwrap()
}

fn documents() -> Documents {
    Documents::new(recorded()["definitions"].as_array().unwrap())
}

fn ours(path: &str) -> Value {
    let documents = documents();
    let Answer::Serve { document, .. } = documents.find(path, "") else { panic!("{path} is not served") };
    serde_json::from_str(&document.text).unwrap()
}

/// As `record.sh` records: parameters by name alone.
fn slim(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            if let Some(Value::Array(parameters)) = fields.get_mut("parameters") {
                let mut names: Vec<_> =
                    parameters.iter().map(|own| own["name"].as_str().unwrap().to_owned()).collect();
                names.sort();
                *parameters = names.into_iter().map(Value::from).collect();
            }
            fields.values_mut().for_each(slim);
        }
        Value::Array(items) => items.iter_mut().for_each(slim),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_document_of_a_group_of_crds_is_that_of_the_real_server() {
    let recorded = recorded();
    let mut ours = ours("apis/skerry.dev/v1alpha1");
    let components: Vec<_> = ours["components"]["schemas"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(Value::from(components), recorded["components"]);
    ours["components"]["schemas"].as_object_mut().unwrap().retain(|name, _| name.starts_with("dev.skerry."));
    slim(&mut ours);
    let real = &recorded["openapi"];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&ours["paths"]), keys(&real["paths"]));
    for (path, item) in real["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            assert_eq!(&ours["paths"][path][verb], operation, "{verb} {path}");
        }
    }
    for (name, schema) in real["components"]["schemas"].as_object().unwrap() {
        assert_eq!(&ours["components"]["schemas"][name], schema, "{name}");
    }
    assert_eq!(&ours, real);
}

#[test]
fn kubectl_finds_the_patch_that_takes_field_validation() {
    for (path, kind) in [("api/v1", "ConfigMap"), ("apis/skerry.dev/v1alpha1", "EdgeApp")] {
        let document = ours(path);
        let found = document["paths"].as_object().unwrap().values().any(|item| {
            let patch = &item["patch"];
            let parameters = patch["parameters"].as_array().into_iter().flatten();
            patch["x-kubernetes-group-version-kind"]["kind"] == kind
                && parameters
                    .into_iter()
                    .any(|own| own["name"] == "fieldValidation" && own["schema"]["type"] == "string")
        });
        assert!(found, "{kind}");
    }
}

#[test]
fn the_index_leads_to_documents_that_never_change() {
    let documents = documents();
    let index: Value = serde_json::from_str(documents.index()).unwrap();
    assert_eq!(index["paths"].as_object().unwrap().len(), 7);
    for (path, entry) in index["paths"].as_object().unwrap() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        let hash = url.strip_prefix(&format!("/openapi/v3/{path}?hash=")).unwrap();
        assert!(matches!(documents.find(path, hash), Answer::Serve { immutable: true, .. }));
        assert!(matches!(documents.find(path, ""), Answer::Serve { immutable: false, .. }));
        assert!(matches!(documents.find(path, "AA"), Answer::Moved(location) if location == url));
    }
    assert!(matches!(documents.find("nope", ""), Answer::Missing));
}

#[test]
fn the_definitions_of_this_source_tree_have_documents() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|up| up.join("deploy/crds"))
        .find(|up| up.is_dir());
    let files = std::fs::read_dir(folder.unwrap()).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let definitions: Vec<Value> = texts.map(|text| serde_yaml::from_str(&text).unwrap()).collect();
    let documents = Documents::new(&definitions);
    for definition in &definitions {
        let spec = &definition["spec"];
        let path = format!(
            "apis/{}/{}",
            spec["group"].as_str().unwrap(),
            spec["versions"][0]["name"].as_str().unwrap()
        );
        let Answer::Serve { document, .. } = documents.find(&path, "") else {
            panic!("{path} is not served")
        };
        let document: Value = serde_json::from_str(&document.text).unwrap();
        let kind = &spec["names"]["kind"];
        let mut schemas = document["components"]["schemas"].as_object().unwrap().values();
        assert!(
            schemas.any(|schema| schema["x-kubernetes-group-version-kind"][0]["kind"] == *kind),
            "{kind}"
        );
    }
}
