//! `EdgeApp`: what shall run, and where.

#![cfg_attr(
    feature = "kube",
    expect(
        clippy::duplicated_attributes,
        reason = "the columns of a resource repeat their keys; the lint does not know that inside cfg_attr"
    )
)]

#[cfg(feature = "status")]
mod status;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::template::word_enum;
use crate::{LabelSelector, PodTemplate, Toleration, names};

#[cfg(feature = "status")]
pub use status::{
    EdgeAppStatus, NodeCounts, NodeFailure, NodeNotPlaceable, NodeStalled, NodeUnknown, RolloutStatus,
};

/// An application on edge nodes: a pod template, and which nodes run it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(
    feature = "kube",
    derive(kube::CustomResource),
    kube(
        group = "skerry.dev",
        version = "v1alpha1",
        kind = "EdgeApp",
        plural = "edgeapps",
        shortname = "ea",
        category = "skerry",
        namespaced,
        status = "EdgeAppStatus",
        derive = "PartialEq",
        doc = "An application on edge nodes: a pod template, and which nodes run it.",
        printcolumn(
            name = "Desired",
            type_ = "integer",
            json_path = ".status.nodes.desired",
            description = "Nodes that shall run the app"
        ),
        printcolumn(
            name = "Updated",
            type_ = "integer",
            json_path = ".status.nodes.updated",
            description = "Nodes that run the newest revision"
        ),
        printcolumn(
            name = "Ready",
            type_ = "integer",
            json_path = ".status.nodes.ready",
            description = "Nodes where every container runs"
        ),
        printcolumn(
            name = "Unknown",
            type_ = "integer",
            json_path = ".status.nodes.unknown",
            description = "Nodes that cannot be asked"
        ),
        printcolumn(
            name = "NotPlaceable",
            type_ = "integer",
            json_path = ".status.nodes.notPlaceable",
            priority = 1,
            description = "Nodes that cannot run the app"
        ),
        printcolumn(
            name = "Status",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
            description = "Why the app is ready or not"
        ),
        printcolumn(
            name = "Age",
            type_ = "date",
            json_path = ".metadata.creationTimestamp",
            description = "Time since the app was created"
        ),
        printcolumn(
            name = "Revision",
            type_ = "string",
            json_path = ".status.rollout.targetRevision",
            priority = 1,
            description = "The newest revision"
        ),
        printcolumn(
            name = "Message",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
            priority = 1,
            description = "What the status stands for, in words"
        )
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.strategy) || !has(self.strategy.switch) || self.strategy.switch != 'StartFirst' || !has(self.template.spec.hostNetwork) || !self.template.spec.hostNetwork",
        "message": "StartFirst is not possible with hostNetwork: old and new would listen on the same ports",
        "fieldPath": ".strategy.switch"
    },
    {
        "rule": "!has(self.strategy) || !has(self.strategy.switch) || self.strategy.switch != 'StartFirst' || self.template.spec.containers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort))) && (!has(self.template.spec.initContainers) || self.template.spec.initContainers.all(c, !has(c.ports) || c.ports.all(p, !has(p.hostPort))))",
        "message": "StartFirst is not possible with a hostPort: old and new cannot hold one port",
        "fieldPath": ".strategy.switch"
    },
    {
        "rule": "!has(self.variants) || self.variants.all(v, !has(v.images) || v.images.all(n, self.template.spec.containers.exists(c, c.name == n) || has(self.template.spec.initContainers) && self.template.spec.initContainers.exists(c, c.name == n)))",
        "message": "images name a container that is not in the template",
        "fieldPath": ".variants"
    }
]))]
pub struct EdgeAppSpec {
    /// Which nodes run the app. Absent or empty: every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,

    /// What runs on each of these nodes.
    pub template: PodTemplate,

    /// Other images for some kinds of nodes; the first match wins. A node that matches none is NotPlaceable. Absent or empty:
    /// the template as it is, on every kind of node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub variants: Vec<Variant>,

    /// How a change is brought in on each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
}

/// Which nodes run an app.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Selects EdgeNodes by their labels. Absent or empty: every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,

    /// Which taints of nodes do not keep the app away, as in PodSpec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,

    /// On how many of the selected nodes the app runs. Absent: on every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000))]
    pub replicas: Option<i32>,
}

/// Images for some kinds of nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Which nodes. All that is given must hold; absent or empty: every node.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<VariantMatch>,

    /// Images by the name of the container, in place of the template's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend(
        "maxProperties" = 64,
        "additionalProperties" = {"type": "string", "minLength": 1, "maxLength": 512, "pattern": names::IMAGE}
    ))]
    pub images: BTreeMap<String, String>,
}

/// Kinds of nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VariantMatch {
    /// Processor architectures as in status.nodeInfo.architecture: amd64, arm64, arm, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 32)), extend("x-kubernetes-list-type" = "atomic"))]
    pub architectures: Vec<String>,
    /// Operating systems as in status.nodeInfo.operatingSystem: linux.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 32)), extend("x-kubernetes-list-type" = "atomic"))]
    pub operating_systems: Vec<String>,
    /// Labels of the EdgeNode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
}

/// How a change is brought in on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Strategy {
    /// StopFirst: the old containers end before the new ones start. StartFirst: the new ones serve before the old ones end; not
    /// possible with a hostPort or hostNetwork. Default: StopFirst.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<Switch>,
    /// Seconds that a new revision has to become ready on a node before the node goes back to the one before. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub progress_deadline_seconds: Option<i32>,
}

word_enum! {
    /// Which of the old and the new containers go first.
    Switch { StopFirst, StartFirst }
}

/// Kubernetes' default of a Deployment.
const PROGRESS_DEADLINE_SECONDS: u32 = 600;

impl EdgeAppSpec {
    pub fn effective_switch(&self) -> Switch {
        self.strategy.as_ref().and_then(|strategy| strategy.switch).unwrap_or(Switch::StopFirst)
    }

    pub fn effective_progress_deadline_seconds(&self) -> u32 {
        let seconds = self.strategy.as_ref().and_then(|strategy| strategy.progress_deadline_seconds);
        seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(PROGRESS_DEADLINE_SECONDS)
    }
}
