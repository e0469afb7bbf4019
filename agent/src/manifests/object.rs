//! From the documents of a manifest to payloads: EdgeApps, with the ConfigMaps and Secrets beside them that they refer to. What comes out
//! is what a controller would have sent for the same objects.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};
use skerry_api::wire::{ConfigKind, ConfigObject, payload};
use skerry_api::{EdgeAppSpec, Variant, VariantMatch, check_spec, revision_name};
use skerry_terms::{AppKey, Chain, PayloadSet};

use super::ManifestError;
use super::document::documents;
use super::fields;

/// The namespace of an object that names none, as kubectl has it.
const DEFAULT_NAMESPACE: &str = "default";

/// What the box is, for the variants of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Site {
    pub architecture: String,
    pub operating_system: String,
    pub labels: BTreeMap<String, String>,
}

/// The apps of a manifest.
pub(super) fn apps(text: &str, site: &Site) -> Result<PayloadSet, ManifestError> {
    let mut specs = BTreeMap::new();
    let mut config: BTreeMap<String, Vec<ConfigObject>> = BTreeMap::new();
    for (document, object) in documents(text)? {
        let wrong = |why: String| ManifestError::Document { document, why };
        match read(object).map_err(wrong)? {
            Object::App(key, spec) => {
                if specs.insert(key.clone(), spec).is_some() {
                    return Err(ManifestError::Twice(format!("EdgeApp {key}")));
                }
            }
            Object::Config(namespace, object) => {
                let beside = config.entry(namespace.clone()).or_default();
                if beside.iter().any(|other| (other.kind, &other.name) == (object.kind, &object.name)) {
                    return Err(ManifestError::Twice(format!("{namespace}/{}", object.name)));
                }
                beside.push(object);
            }
        }
    }
    let compile = |(key, spec): (AppKey, Box<EdgeAppSpec>)| {
        let wrong = |errors: Vec<String>| ManifestError::App { key: key.clone(), errors };
        check_spec(&spec).map_err(|errors| wrong(errors.iter().map(ToString::to_string).collect()))?;
        let images = images(&spec, site).map_err(|why| wrong(vec![why]))?;
        let config = config.get(key.namespace()).map_or(&[][..], Vec::as_slice);
        let revision = revision_name(key.name(), &spec.template);
        let payload = payload("", &revision, &spec, &images, config)
            .map_err(|error| wrong(vec![Chain(&error).to_string()]))?;
        Ok((key, payload))
    };
    specs.into_iter().map(compile).collect()
}

enum Object {
    App(AppKey, Box<EdgeAppSpec>),
    /// With its namespace.
    Config(String, ConfigObject),
}

/// What a manifest may say of an object's metadata, with what an API server adds to it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: String,
    namespace: Option<String>,
    #[serde(default, rename = "labels")]
    _labels: BTreeMap<String, String>,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    #[serde(default, rename = "uid")]
    _uid: Option<String>,
    #[serde(default, rename = "resourceVersion")]
    _resource_version: Option<String>,
    #[serde(default, rename = "generation")]
    _generation: Option<i64>,
    #[serde(default, rename = "creationTimestamp")]
    _creation_timestamp: Option<String>,
    #[serde(default, rename = "managedFields")]
    _managed_fields: Option<Value>,
    #[serde(default, rename = "ownerReferences")]
    _owner_references: Option<Value>,
    #[serde(default, rename = "finalizers")]
    _finalizers: Option<Vec<String>>,
    #[serde(default, rename = "selfLink")]
    _self_link: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ConfigMap {
    data: BTreeMap<String, String>,
    binary_data: BTreeMap<String, String>,
    #[serde(rename = "immutable")]
    _immutable: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Secret {
    r#type: Option<String>,
    data: BTreeMap<String, String>,
    string_data: BTreeMap<String, String>,
    #[serde(rename = "immutable")]
    _immutable: Option<bool>,
}

fn read(mut object: Map<String, Value>) -> Result<Object, String> {
    let mut text = |field: &str| match object.remove(field) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("{field}: must be a text")),
        None => Err(format!("{field}: missing")),
    };
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    let meta = object.remove("metadata").ok_or("metadata: missing")?;
    let meta: Meta = fields::read("metadata", &meta)?;
    let namespace = meta.namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let key = AppKey::new(&namespace, &meta.name).map_err(|error| format!("metadata: {error}"))?;
    match (version.as_str(), kind.as_str()) {
        ("skerry.dev/v1alpha1", "EdgeApp") => {
            // What `kubectl get -o yaml` prints is taken as it is.
            object.remove("status");
            let spec = object.remove("spec").ok_or("spec: missing")?;
            if let Some(field) = object.keys().next() {
                return Err(format!("{field}: unknown field"));
            }
            Ok(Object::App(key, Box::new(fields::read("spec", &spec)?)))
        }
        ("v1", "ConfigMap") => {
            let ConfigMap { data, binary_data, _immutable: _ } = body(object)?;
            let object = ConfigObject {
                kind: ConfigKind::ConfigMap.into(),
                name: meta.name,
                r#type: String::new(),
                data: data.into_iter().map(|(key, text)| (key, text.into_bytes())).collect(),
                binary_data: bytes("binaryData", binary_data)?,
            };
            Ok(Object::Config(namespace, object))
        }
        ("v1", "Secret") => {
            let Secret { r#type, data, string_data, _immutable: _ } = body(object)?;
            let mut data = bytes("data", data)?;
            data.extend(string_data.into_iter().map(|(key, text)| (key, text.into_bytes())));
            let object = ConfigObject {
                kind: ConfigKind::Secret.into(),
                name: meta.name,
                r#type: r#type.unwrap_or_else(|| "Opaque".to_owned()),
                data,
                binary_data: BTreeMap::new(),
            };
            Ok(Object::Config(namespace, object))
        }
        (version, kind) => Err(format!(
            "{kind} of {version} is nothing that a box can run; a manifest holds EdgeApps of skerry.dev/v1alpha1, ConfigMaps and Secrets"
        )),
    }
}

/// An object's own fields, without a root in their path.
fn body<T: serde::de::DeserializeOwned>(object: Map<String, Value>) -> Result<T, String> {
    fields::read("object", &Value::Object(object))
}

fn bytes(field: &str, data: BTreeMap<String, String>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let decode = |(key, text): (String, String)| {
        let text: String = text.split_ascii_whitespace().collect();
        match BASE64_STANDARD.decode(text) {
            Ok(bytes) => Ok((key, bytes)),
            // Without the value: it may be a secret.
            Err(_) => Err(format!("{field}[{key}]: is no base64")),
        }
    };
    data.into_iter().map(decode).collect()
}

/// The images of the first variant that is for this box.
fn images(spec: &EdgeAppSpec, site: &Site) -> Result<BTreeMap<String, String>, String> {
    let Site { architecture, operating_system, labels } = site;
    if spec.variants.is_empty() {
        return Ok(BTreeMap::new());
    }
    let listed = |list: &[String], word: &String| list.is_empty() || list.contains(word);
    let fits = |variant: &&Variant| {
        let Some(VariantMatch { architectures, operating_systems, node_selector }) = &variant.matches else {
            return true;
        };
        listed(architectures, architecture)
            && listed(operating_systems, operating_system)
            && node_selector.as_ref().is_none_or(|selector| selector.matches(labels))
    };
    let chosen = spec.variants.iter().find(fits);
    chosen.map(|variant| variant.images.clone()).ok_or_else(|| {
        format!("spec.variants: none is for {operating_system}/{architecture} with the box's labels")
    })
}
