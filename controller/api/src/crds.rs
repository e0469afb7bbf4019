//! The CRD manifests, made from the types. `make generate` writes them into the chart and into `deploy/`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, ValidationRule,
};
use kube::CustomResourceExt;

use crate::{APP_NAME_MAX, EdgeApp, EdgeNode};

/// Every CRD, in the order in which they are applied.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![finish(named(EdgeApp::crd())), finish(EdgeNode::crd())]
}

/// Bounds the name of an app, which the API server would let be longer. Only a rule of the whole object sees it.
fn named(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let rule = ValidationRule {
        rule: format!("size(self.metadata.name) <= {APP_NAME_MAX}"),
        message: Some(format!(
            "the name must be no more than {APP_NAME_MAX} characters, because it becomes a label and a host name"
        )),
        ..ValidationRule::default()
    };
    for schema in crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()) {
        if let Some(schema) = &mut schema.open_api_v3_schema {
            schema.x_kubernetes_validations.get_or_insert_default().push(rule.clone());
        }
    }
    crd
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What a client-side `kubectl apply` may put into its annotation: the whole object, as JSON.
    const CRD_MAX: usize = 256 << 10;

    fn schemas() -> Vec<(String, Value)> {
        let schema = |crd: CustomResourceDefinition| {
            let json = serde_json::to_value(&crd).expect("a CRD is JSON");
            (crd.spec.names.kind, json["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone())
        };
        all().into_iter().map(schema).collect()
    }

    /// Calls `visit` with the path and the schema of every field below.
    fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
        visit(path, schema);
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), field, visit);
        }
        for (mark, inner) in [("[]", &schema["items"]), ("{}", &schema["additionalProperties"])] {
            if inner.is_object() {
                walk(&format!("{path}{mark}"), inner, visit);
            }
        }
    }

    #[test]
    fn a_crd_fits_a_client_side_apply() {
        for crd in all() {
            let size = serde_json::to_vec(&crd).expect("a CRD is JSON").len();
            assert!(size <= CRD_MAX, "{}: {size} bytes", crd.spec.names.kind);
        }
    }

    #[test]
    fn explain_has_words_for_every_field() {
        for (kind, schema) in schemas() {
            walk(&kind, &schema, &mut |path, schema| {
                let inner = path.ends_with("[]") || path.ends_with("{}");
                let said = schema["description"].as_str().is_some_and(|text| text.len() > 10);
                assert!(said || inner, "{path} has no description");
            });
        }
    }

    #[test]
    fn everything_that_a_user_writes_is_bounded() {
        for (kind, schema) in schemas() {
            walk(&kind, &schema, &mut |path, schema| {
                let bounds = match schema["type"].as_str() {
                    _ if !path.starts_with(&format!("{kind}.spec")) => return,
                    Some("string") => ["maxLength", "enum"].as_slice(),
                    Some("array") => &["maxItems"],
                    Some("integer") => &["maximum"],
                    Some("object") if schema["additionalProperties"].is_object() => &["maxProperties"],
                    Some(_) | None => return,
                };
                assert!(bounds.iter().any(|bound| !schema[*bound].is_null()), "{path} has no {bounds:?}");
            });
        }
    }
}
