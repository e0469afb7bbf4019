//! The kinds of Kubernetes that are served beside the CRDs, and the OpenAPI documents that describe them: static text, made by
//! `builtin/generate.sh` from the real API server. Parsed once at the start for the schemas; only the text stays in memory.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::resource::{Column, Origin, Resource};
use crate::schema::Schema;

/// The documents by their path below `/openapi/v3/`.
pub(crate) const DOCUMENTS: [(&str, &str); 6] = [
    ("api/v1", include_str!("../builtin/core.json")),
    ("apis/apiextensions.k8s.io/v1", include_str!("../builtin/apiextensions.json")),
    ("apis/apps/v1", include_str!("../builtin/apps.json")),
    ("apis/certificates.k8s.io/v1", include_str!("../builtin/certificates.json")),
    ("apis/coordination.k8s.io/v1", include_str!("../builtin/coordination.json")),
    ("apis/events.k8s.io/v1", include_str!("../builtin/events.json")),
];

/// What the documents of all CRDs' groups share.
pub(crate) const CUSTOM: &str = include_str!("../builtin/custom.json");

/// The columns of the built-in kinds' Tables, by full name.
const COLUMNS: &str = include_str!("../builtin/columns.json");

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

const JSON_SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// A kind as the real server states it in discovery.
struct Stated {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    subresources: &'static [&'static str],
    /// The component that it is in the group's document.
    component: &'static str,
}

/// In the order in which discovery lists them.
#[rustfmt::skip]
const STATED: [Stated; 9] = [
    Stated { group: "", kind: "ConfigMap", plural: "configmaps", short_names: &["cm"], categories: &[], namespaced: true,
             subresources: &[], component: "io.k8s.api.core.v1.ConfigMap" },
    Stated { group: "", kind: "Event", plural: "events", short_names: &["ev"], categories: &[], namespaced: true,
             subresources: &[], component: "io.k8s.api.core.v1.Event" },
    Stated { group: "", kind: "Namespace", plural: "namespaces", short_names: &["ns"], categories: &[], namespaced: false,
             subresources: &["finalize", "status"], component: "io.k8s.api.core.v1.Namespace" },
    Stated { group: "", kind: "Secret", plural: "secrets", short_names: &[], categories: &[], namespaced: true,
             subresources: &[], component: "io.k8s.api.core.v1.Secret" },
    Stated { group: "apps", kind: "ControllerRevision", plural: "controllerrevisions", short_names: &[], categories: &[],
             namespaced: true, subresources: &[], component: "io.k8s.api.apps.v1.ControllerRevision" },
    Stated { group: "events.k8s.io", kind: "Event", plural: "events", short_names: &["ev"], categories: &[], namespaced: true,
             subresources: &[], component: "io.k8s.api.events.v1.Event" },
    Stated { group: "certificates.k8s.io", kind: "CertificateSigningRequest", plural: "certificatesigningrequests",
             short_names: &["csr"], categories: &[], namespaced: false, subresources: &["approval", "status"],
             component: "io.k8s.api.certificates.v1.CertificateSigningRequest" },
    Stated { group: "apiextensions.k8s.io", kind: "CustomResourceDefinition", plural: "customresourcedefinitions",
             short_names: &["crd", "crds"], categories: &["api-extensions"], namespaced: false, subresources: &["status"],
             component: "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition" },
    Stated { group: "coordination.k8s.io", kind: "Lease", plural: "leases", short_names: &[], categories: &[], namespaced: true,
             subresources: &[], component: "io.k8s.api.coordination.v1.Lease" },
];

#[derive(Deserialize)]
struct Document {
    components: Components,
}

#[derive(Deserialize)]
struct Components {
    schemas: Map<String, Value>,
}

/// All built-in kinds, in the order in which discovery lists them.
pub fn resources() -> Vec<Resource> {
    let columns: HashMap<String, Vec<Heading>> = serde_json::from_str(COLUMNS).unwrap_or_default();
    let mut parsed = ("", Map::new());
    let mut found = Vec::with_capacity(STATED.len());
    for stated in &STATED {
        let text = document(stated.group);
        // One document at a time is in memory, and the core one is not parsed four times.
        if parsed.0 != text {
            parsed = (text, schemas(text));
        }
        let mut resource = resource(stated, &parsed.1);
        let headings = columns.get(&resource.full_name()).into_iter().flatten();
        resource.columns = headings.map(Heading::column).collect();
        found.push(resource);
    }
    found
}

/// The schema of `metadata`, for the kinds of CRDs, which do not state it.
pub fn object_meta() -> Arc<Schema> {
    let schemas = schemas(document("coordination.k8s.io"));
    Arc::new(schemas.get(OBJECT_META).map(|raw| Schema::parse_in(raw, &schemas)).unwrap_or_default())
}

fn document(group: &str) -> &'static str {
    let path = if group.is_empty() { "api/v1".to_owned() } else { format!("apis/{group}/v1") };
    DOCUMENTS.iter().find(|(own, _)| *own == path).map_or("", |(_, text)| text)
}

/// The components of a document. The rest of it is never built in memory.
fn schemas(text: &str) -> Map<String, Value> {
    let mut schemas = serde_json::from_str::<Document>(text)
        .map(|document| document.components.schemas)
        .unwrap_or_default();
    // It refers to itself a dozen times over, so its parsed form would grow with the power of the depth. Definitions are read only.
    if let Some(recursive) = schemas.get_mut(JSON_SCHEMA) {
        *recursive = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    }
    schemas
}

fn resource(stated: &Stated, schemas: &Map<String, Value>) -> Resource {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let schema = schemas.get(stated.component).map(|raw| Schema::parse_in(raw, schemas)).unwrap_or_default();
    Resource {
        group: stated.group.to_owned(),
        version: "v1".to_owned(),
        kind: stated.kind.to_owned(),
        list_kind: format!("{}List", stated.kind),
        plural: stated.plural.to_owned(),
        singular: stated.kind.to_lowercase(),
        short_names: owned(stated.short_names),
        categories: owned(stated.categories),
        namespaced: stated.namespaced,
        subresources: owned(stated.subresources),
        read_only: stated.plural == "customresourcedefinitions",
        origin: Origin::BuiltIn,
        schema: Arc::new(schema),
        columns: Vec::new(),
    }
}

/// A column as a Table defines it.
#[derive(Deserialize)]
struct Heading {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    format: String,
    description: String,
    priority: i64,
}

impl Heading {
    fn column(&self) -> Column {
        Column {
            name: self.name.clone(),
            kind: self.kind.clone(),
            format: self.format.clone(),
            description: self.description.clone(),
            priority: self.priority,
            json_path: String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
