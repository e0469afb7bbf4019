use super::*;
use crate::schema::{Kind, ListType};

#[test]
fn every_built_in_kind_has_its_schema_and_its_columns() {
    let resources = resources();
    assert_eq!(resources.len(), STATED.len());
    for resource in resources {
        assert!(!resource.columns.is_empty(), "{} has no columns", resource.full_name());
        for field in ["apiVersion", "kind", "metadata"] {
            assert!(resource.schema.properties.contains_key(field), "{} lacks {field}", resource.full_name());
        }
        let owners = &resource.schema.properties["metadata"].properties["ownerReferences"];
        assert_eq!(owners.list, ListType::Map(vec!["uid".to_owned()]));
    }
}

#[test]
fn the_schemas_know_types_that_matter_to_decoding() {
    let find = |name: &str| resources().into_iter().find(|resource| resource.full_name() == name).unwrap();
    let secret = find("secrets").schema;
    assert_eq!(secret.properties["data"].additional.as_ref().unwrap().kind, Kind::String);
    assert_eq!(secret.properties["immutable"].kind, Kind::Boolean);
    let revision = find("controllerrevisions.apps").schema;
    assert!(revision.properties["data"].preserve_unknown);
    assert_eq!(revision.properties["revision"].kind, Kind::Integer);
}

#[test]
fn no_document_refers_to_what_it_does_not_hold() {
    for (path, text) in DOCUMENTS {
        let schemas = schemas(text);
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{path}: {name}");
        }
    }
}
