use super::*;
use crate::builtin;

/// What the real server holds after the CRDs of deploy/crds were applied.
fn recorded() -> Vec<Value> {
    let recorded: Value = serde_json::from_str(include_str!("../testdata/discovery/recorded.json")).unwrap();
    recorded["definitions"].as_array().unwrap().clone()
}

#[test]
fn a_definition_is_served_as_the_real_server_completes_it() {
    for real in recorded() {
        let mut written = real.clone();
        written["spec"].as_object_mut().unwrap().remove("conversion");
        written["spec"]["names"].as_object_mut().unwrap().remove("listKind");
        written.as_object_mut().unwrap().remove("status");
        for field in ["creationTimestamp", "generation"] {
            written["metadata"].as_object_mut().unwrap().remove(field);
        }
        let mut expected = real.clone();
        // The real one lists them without saying what they are.
        expected["apiVersion"] = "apiextensions.k8s.io/v1".into();
        expected["kind"] = "CustomResourceDefinition".into();
        let created = real["metadata"]["creationTimestamp"].as_str().unwrap();
        for condition in expected["status"]["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"] = created.into();
        }
        assert_eq!(served(&written, created), expected);
    }
}

#[test]
fn a_kind_has_the_names_the_scope_and_a_whole_schema() {
    let meta = builtin::object_meta();
    let kinds: Vec<_> = recorded().iter().map(|definition| resource(definition, &meta).unwrap()).collect();
    let said: Vec<_> =
        kinds.iter().map(|kind| (kind.full_name(), kind.list_kind.as_str(), kind.namespaced)).collect();
    let expected =
        [("edgeapps.skerry.dev", "EdgeAppList", true), ("edgenodes.skerry.dev", "EdgeNodeList", false)];
    assert_eq!(said, expected.map(|(name, list, namespaced)| (name.to_owned(), list, namespaced)));
    for kind in kinds {
        assert!(kind.has("status") && !kind.has("scale"));
        assert_eq!(kind.schema.properties["apiVersion"].kind, Kind::String);
        let meta = &kind.schema.properties["metadata"].properties;
        assert_eq!(meta["finalizers"].list, crate::schema::ListType::Set);
        assert_eq!(meta["labels"].kind, Kind::Object);
    }
}

#[test]
fn without_columns_there_is_the_age() {
    let mut definition = recorded().remove(0);
    definition["spec"]["versions"][0]["additionalPrinterColumns"] = json!([]);
    let columns = resource(&definition, &Arc::default()).unwrap().columns;
    let said: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.kind.as_str())).collect();
    assert_eq!(said, [("Name", "string"), ("Age", "date")]);
    assert_eq!(columns[0].description, builtin::resources()[0].columns[0].description);
    assert_eq!(columns[1].description, builtin::resources()[0].columns[2].description);
}

#[test]
fn a_definition_without_a_served_storage_version_states_no_kind() {
    let mut definition = recorded().remove(0);
    definition["spec"]["versions"][0]["served"] = false.into();
    assert!(resource(&definition, &Arc::default()).is_none());
    assert!(resource(&json!({}), &Arc::default()).is_none());
    assert!(resource(&Value::Null, &Arc::default()).is_none());
}
