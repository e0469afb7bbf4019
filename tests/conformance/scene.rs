//! A case's own place: a namespace of its own on the shared site. Apps are made through the API, and looked at through Docker.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde::Deserialize;
use serde_json::{Value, json};
use skerry_tests::{IMAGE, Node, eventually, unique};

use crate::app::App;
use crate::images;
use crate::stage::Stage;

/// Who writes, to server-side apply.
const MANAGER: &str = "conformance";

/// A namespace, and the nodes that it may use.
#[derive(Clone)]
pub struct Scene {
    pub stage: Arc<Stage>,
    pub namespace: String,
}

impl Scene {
    pub async fn open(stage: Arc<Stage>) -> Result<Self> {
        let namespace = unique("c");
        let object: k8s_openapi::api::core::v1::Namespace =
            serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
        Api::all(stage.site.client.clone()).create(&PostParams::default(), &object).await?;
        Ok(Self { stage, namespace })
    }

    /// Deletes the namespace, and waits until no container of it is left.
    pub async fn close(&self) -> Result<()> {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.stage.site.client.clone());
        namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        let filter = format!("label={}={}", skerry_terms::labels::NAMESPACE, self.namespace);
        eventually("nothing is left of the namespace", || async {
            let left = skerry_tests::docker_run(&["ps", "-aq", "--filter", &filter]).await?;
            ensure!(left.is_empty(), "containers: {left}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// A folder of the box of this case's own, where host paths are allowed.
    pub fn folder(&self) -> Result<String> {
        let path = self.stage.host.path().join(&self.namespace);
        std::fs::create_dir_all(&path)?;
        Ok(path.to_str().context("a path that is not UTF-8")?.to_owned())
    }

    /// The node that allows everything that a case may want.
    pub fn node(&self) -> &Node {
        &self.stage.open
    }

    /// Applies objects of the built-in kinds, separated by `---`.
    pub async fn config(&self, yaml: &str) -> Result<()> {
        for document in documents(yaml)? {
            let kind = document["kind"].as_str().context("an object has a kind")?.to_owned();
            self.object("", "v1", &kind, document).await?;
        }
        Ok(())
    }

    /// Deletes an object of a built-in kind.
    pub async fn forget(&self, kind: &str, name: &str) -> Result<()> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.stage.site.client.clone(), &self.namespace, &resource);
        api.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Applies an app of this pod spec, to the node that allows everything.
    pub async fn apply(&self, name: &str, pod: &str) -> Result<App> {
        self.apply_to(self.node(), name, json!({}), pod).await
    }

    /// Applies an app and waits until it is ready.
    pub async fn ready(&self, name: &str, pod: &str) -> Result<App> {
        let app = self.apply(name, pod).await?;
        app.ready().await?;
        Ok(app)
    }

    /// The same with more of the EdgeApp's spec than the pod's: `{"strategy": …, "template": {"metadata": …}}`.
    pub async fn apply_with(&self, name: &str, more: Value, pod: &str) -> Result<App> {
        self.apply_to(self.node(), name, more, pod).await
    }

    /// The same to another node.
    pub async fn apply_to(&self, node: &Node, name: &str, more: Value, pod: &str) -> Result<App> {
        let spec = self.spec(&node.name, more, pod)?;
        self.app_object(name, spec).await?;
        Ok(App::new(self.clone(), &node.name, name))
    }

    /// Applies an EdgeApp of exactly this spec.
    pub async fn app_object(&self, name: &str, spec: Value) -> Result<()> {
        let object = json!({"metadata": {"name": name}, "spec": spec});
        self.object("skerry.dev", "v1alpha1", "EdgeApp", object).await
    }

    /// The whole spec of an EdgeApp on this node.
    pub fn spec(&self, node: &str, more: Value, pod: &str) -> Result<Value> {
        let mut spec = json!({"placement": {"nodeSelector": {"matchLabels": {"test": node}}}});
        merge(&mut spec, more);
        spec["template"]["spec"] = pod_spec(pod)?;
        Ok(spec)
    }

    /// Waits until a condition of the EdgeApp has this reason, and returns its message.
    pub async fn condition(&self, name: &str, kind: &str, reason: &str) -> Result<String> {
        eventually(&format!("{name} is {reason}"), || async {
            let status = self.stage.site.apps(&self.namespace).get(name).await?.status.unwrap_or_default();
            match status.conditions.iter().find(|one| one.type_ == kind && one.reason == reason) {
                Some(condition) => Ok(condition.message.clone()),
                None => bail!("{:?}", status.conditions),
            }
        })
        .await
    }

    pub async fn delete_app(&self, name: &str) -> Result<()> {
        self.stage.site.apps(&self.namespace).delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    async fn object(&self, group: &str, version: &str, kind: &str, mut object: Value) -> Result<()> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        object["apiVersion"] = resource.api_version.clone().into();
        object["kind"] = kind.into();
        let name = object["metadata"]["name"].as_str().context("an object has a name")?.to_owned();
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.stage.site.client.clone(), &self.namespace, &resource);
        let params = PatchParams {
            field_validation: Some(kube::api::ValidationDirective::Strict),
            ..PatchParams::apply(MANAGER).force()
        };
        match api.patch(&name, &params, &Patch::Apply(&object)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => bail!("{}", status.message),
            Err(error) => Err(error.into()),
        }
    }
}

/// A pod spec as cases write it. A container without an image has the test image, one with `image: conformance:TAG` one of ours, and a pod
/// without a grace period has none, since most of what runs here ignores SIGTERM as the first process of a container; `null` stands for
/// Kubernetes' own default.
pub fn pod_spec(yaml: &str) -> Result<Value> {
    let [mut pod] = <[Value; 1]>::try_from(documents(yaml)?)
        .map_err(|documents| anyhow::anyhow!("{} pod specs", documents.len()))?;
    let fields = pod.as_object_mut().context("a pod spec is an object")?;
    fields.entry("terminationGracePeriodSeconds").or_insert(0.into());
    fields.retain(|_, value| !value.is_null());
    for list in ["initContainers", "containers"] {
        for container in pod.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(container) = container.as_object_mut() else { bail!("a container is an object") };
            let image = match container.get("image").and_then(Value::as_str) {
                None => IMAGE.to_owned(),
                Some(image) => images::full(image),
            };
            container.insert("image".into(), image.into());
        }
    }
    Ok(pod)
}

fn documents(yaml: &str) -> Result<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(yaml).map(Value::deserialize);
    let documents: Vec<Value> =
        documents.collect::<Result<_, _>>().with_context(|| format!("in:\n{yaml}"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// Merges objects; anything else replaces.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
