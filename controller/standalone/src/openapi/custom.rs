//! The documents of CRDs' groups, as `apiextensions-apiserver` builds them: paths, the kind and its list, and the shared components
//! and parameters, which `builtin/custom.json` holds as the real server wrote them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::builtin;
use crate::crd;
use crate::resource::Resource;
use crate::schema::Schema;

const REFERENCE: &str = "#/components/schemas/";
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// The patches that a kind of a CRD takes.
const PATCHES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];

/// Deeper than any schema that is served.
const MAX_DEPTH: usize = 64;

/// Path and text of one document for each group and version.
pub(super) fn documents(definitions: &[Value]) -> BTreeMap<String, String> {
    // The text is built in; were it not JSON, the tests would not pass.
    let shared: Value = serde_json::from_str(builtin::CUSTOM).unwrap_or_default();
    let mut documents = BTreeMap::new();
    for definition in definitions {
        let Some(resource) = crd::resource(definition, &Schema::default().into()) else { continue };
        let path = format!("apis/{}/{}", resource.group, resource.version);
        let document = documents.entry(path).or_insert_with(|| {
            json!({
                "openapi": "3.0.0", "info": {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"},
                "paths": {}, "components": {"schemas": shared["schemas"]},
            })
        });
        let kind = Kind::new(&resource, &shared);
        for (path, item) in kind.paths() {
            document["paths"][path] = item;
        }
        let stated =
            crd::storage_version(&definition["spec"]).map(|version| &version["schema"]["openAPIV3Schema"]);
        document["components"]["schemas"][&kind.component] = kind.schema(stated.unwrap_or(&Value::Null));
        document["components"]["schemas"][&kind.list_component] = kind.list_schema();
    }
    documents.into_iter().map(|(path, document)| (path, document.to_string())).collect()
}

/// What the parts of one kind's description have in common.
struct Kind<'a> {
    resource: &'a Resource,
    shared: &'a Value,
    component: String,
    list_component: String,
    /// `SkerryDevV1alpha1` of an operation's id, `skerryDev_v1alpha1` of its tag.
    prefix: String,
    tag: String,
}

impl<'a> Kind<'a> {
    fn new(resource: &'a Resource, shared: &'a Value) -> Self {
        let reversed = resource.group.split('.').rev().collect::<Vec<_>>().join(".");
        let name = |kind: &str| format!("{reversed}.{}.{kind}", resource.version);
        let group: String = resource.group.split('.').map(capitalised).collect();
        Self {
            resource,
            shared,
            component: name(&resource.kind),
            list_component: name(&resource.list_kind),
            prefix: format!("{group}{}", capitalised(&resource.version)),
            tag: format!("{}_{}", uncapitalised(&group), resource.version),
        }
    }

    fn paths(&self) -> Vec<(String, Value)> {
        let Resource { group, version, plural, kind, .. } = self.resource;
        let base = format!("/apis/{group}/{version}");
        let everywhere = format!("{base}/{plural}");
        let mut paths = Vec::new();
        let many = if self.resource.namespaced {
            let mut list = self.list(&format!("{kind}ForAllNamespaces"));
            if let Some(list) = list.as_object_mut() {
                list.remove("parameters");
            }
            paths.push((
                everywhere,
                json!({"get": list, "parameters": self.shared["parameters"]["everywhere"]}),
            ));
            format!("{base}/namespaces/{{namespace}}/{plural}")
        } else {
            everywhere
        };
        let scoped = self.scoped();
        let one = format!("{many}/{{name}}");
        let collection = self.operation(
            "deletecollection",
            &format!("delete{}Collection{scoped}", self.prefix),
            "",
            STATUS,
        );
        paths.push((
            many,
            json!({
                "get": self.list(&scoped), "post": self.operation("post", &self.id("create", ""), "", &self.component),
                "delete": collection, "parameters": self.path_parameters(false),
            }),
        ));
        let mut item = self.item("");
        item["delete"] = self.operation("delete", &self.id("delete", ""), "", STATUS);
        paths.push((one.clone(), item));
        if self.resource.has("status") {
            paths.push((format!("{one}/status"), self.item("status")));
        }
        paths
    }

    fn scoped(&self) -> String {
        format!("{}{}", if self.resource.namespaced { "Namespaced" } else { "" }, self.resource.kind)
    }

    fn id(&self, verb: &str, subresource: &str) -> String {
        format!("{verb}{}{}{}", self.prefix, self.scoped(), capitalised(subresource))
    }

    fn list(&self, suffix: &str) -> Value {
        self.operation("list", &format!("list{}{suffix}", self.prefix), "", &self.list_component)
    }

    /// What one object's path and its subresources' have in common.
    fn item(&self, subresource: &str) -> Value {
        let operation = |action: &str, verb: &str| {
            self.operation(action, &self.id(verb, subresource), subresource, &self.component)
        };
        json!({
            "get": operation("get", "read"), "put": operation("put", "replace"), "patch": operation("patch", "patch"),
            "parameters": self.path_parameters(true),
        })
    }

    fn path_parameters(&self, named: bool) -> Value {
        let mut parameters = Vec::new();
        if named {
            parameters.push(json!({
                "name": "name", "in": "path", "description": format!("name of the {}", self.resource.kind), "required": true,
                "schema": {"type": "string", "uniqueItems": true},
            }));
        }
        let shared = self.shared["parameters"]["path"].as_array().into_iter().flatten();
        parameters
            .extend(shared.filter(|own| self.resource.namespaced || own["name"] != "namespace").cloned());
        parameters.into()
    }

    fn operation(&self, action: &str, id: &str, subresource: &str, answer: &str) -> Value {
        let Resource { group, version, kind, .. } = self.resource;
        let content = |component: &str| json!({"application/json": {"schema": {"$ref": format!("{REFERENCE}{component}")}}});
        let response = |words: &str| json!({"description": words, "content": content(answer)});
        let mut responses = json!({"200": response("OK"), "401": {"description": "Unauthorized"}});
        let codes: &[(&str, &str)] = match action {
            "post" => &[("201", "Created"), ("202", "Accepted")],
            "put" => &[("201", "Created")],
            "delete" => &[("202", "Accepted")],
            _ => &[],
        };
        for (code, words) in codes {
            responses[code] = response(words);
        }
        let parameters = if action == "deletecollection" { "list" } else { action };
        let mut operation = json!({
            "tags": [self.tag], "description": self.description(action, subresource), "operationId": id,
            "parameters": self.shared["parameters"][parameters], "responses": responses, "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
        });
        let body = match action {
            "post" | "put" => json!({"content": content(&self.component), "required": true}),
            "delete" => json!({"content": content(DELETE_OPTIONS)}),
            "patch" => {
                let schema = json!({"schema": {"$ref": format!("{REFERENCE}{PATCH}")}});
                let content: Map<_, _> =
                    PATCHES.iter().map(|media| ((*media).to_owned(), schema.clone())).collect();
                json!({"content": content, "required": true})
            }
            _ => return operation,
        };
        operation["requestBody"] = body;
        operation
    }

    fn description(&self, action: &str, subresource: &str) -> String {
        let kind = &self.resource.kind;
        let of = if subresource.is_empty() { String::new() } else { format!(" {subresource} of") };
        let article =
            if kind.starts_with(['A', 'E', 'I', 'O', 'U', 'a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        match action {
            "list" => format!("list objects of kind {kind}"),
            "post" => format!("create {article} {kind}"),
            "delete" => format!("delete {article} {kind}"),
            "deletecollection" => format!("delete collection of {kind}"),
            "get" => format!("read{of} the specified {kind}"),
            "put" => format!("replace{of} the specified {kind}"),
            _ => format!("partially update{of} the specified {kind}"),
        }
    }

    /// The definition's schema with what every object has.
    fn schema(&self, stated: &Value) -> Value {
        let mut schema = stated.clone();
        unfold(&mut schema, 0);
        for (name, property) in self.shared["properties"].as_object().into_iter().flatten() {
            schema["properties"][name] = property.clone();
        }
        schema["x-kubernetes-group-version-kind"] = self.group_version_kind(&self.resource.kind);
        schema
    }

    fn list_schema(&self) -> Value {
        let Resource { kind, list_kind, plural, .. } = self.resource;
        let mut properties = self.shared["listProperties"].clone();
        properties["items"] = json!({
            "type": "array", "items": {"$ref": format!("{REFERENCE}{}", self.component)},
            "description": format!(
                "List of {plural}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
            ),
        });
        json!({
            "description": format!("{list_kind} is a list of {kind}"), "type": "object", "required": ["items"],
            "properties": properties, "x-kubernetes-group-version-kind": self.group_version_kind(list_kind),
        })
    }

    fn group_version_kind(&self, kind: &str) -> Value {
        json!([{"group": self.resource.group, "version": self.resource.version, "kind": kind}])
    }
}

/// The real server writes out what `x-kubernetes-int-or-string` means, unless the definition does.
fn unfold(schema: &mut Value, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    let Some(node) = schema.as_object_mut() else { return };
    if node.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        let either = json!([{"type": "integer"}, {"type": "string"}]);
        let first = node.get("allOf").and_then(|all| all.get(0)?.get("anyOf"));
        match node.get("anyOf") {
            _ if first == Some(&either) => {}
            Some(own) if *own == either => {}
            None => _ = node.insert("anyOf".to_owned(), either),
            Some(_) => {
                let mut all = vec![json!({"anyOf": either})];
                all.extend(node.get("allOf").and_then(Value::as_array).into_iter().flatten().cloned());
                node.insert("allOf".to_owned(), all.into());
            }
        }
    }
    for child in ["items", "additionalProperties"] {
        if let Some(child) = node.get_mut(child) {
            unfold(child, depth + 1);
        }
    }
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.values_mut().for_each(|property| unfold(property, depth + 1));
    }
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

fn uncapitalised(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
}
