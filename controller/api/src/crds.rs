//! The CRD manifests, made from the types. `make generate` writes them into the chart and into `deploy/`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps,
};
use kube::CustomResourceExt;

use crate::{EdgeApp, EdgeNode};

/// Every CRD, in the order in which they are applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![finish(EdgeApp::crd()), finish(EdgeNode::crd())]
}

/// Adds what the derive cannot say. The default of `status.observedGeneration` is what keeps an object from looking up to date to kstatus
/// between its creation and the controller's first status, without a write for it.
fn finish(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
        let properties = schema.and_then(|schema| schema.properties.as_mut());
        if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
            status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
            status.nullable = None;
        }
        if let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            tidy(schema);
        }
    }
    crd
}

/// Absent means absent: a field that is left out and one that is null must not be two different things. And the formats of Rust's
/// numbers (`uint32`) are not OpenAPI's.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(tidy);
    if let Some(items) = &mut schema.items {
        use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrArray::{
            Schema, Schemas,
        };
        match items {
            Schema(schema) => tidy(schema),
            Schemas(schemas) => schemas.iter_mut().for_each(tidy),
        }
    }
}
