//! `EdgeApp`: what shall run, and where.

#![expect(
    clippy::duplicated_attributes,
    reason = "the columns of a resource repeat their keys; the lint does not know that inside cfg_attr"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LabelSelector, PodTemplate};

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
pub struct EdgeAppSpec {
    /// Which nodes run the app. Absent or empty: every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,

    /// What runs on each of these nodes.
    pub template: PodTemplate,
}

/// Which nodes run an app.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Selects EdgeNodes by their labels. Absent or empty: every node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
}

/// What is known of an app over all nodes. Written by the controller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdgeAppStatus {
    /// The metadata.generation that this status speaks of. -1 until the controller has seen the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When this status was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,

    /// How many nodes stand where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,

    /// Where the rollout stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,

    /// Available: every node that can be asked serves the app. Progressing: a change is on its way. Degraded: some
    /// nodes failed. Ready, Reconciling and Stalled are for tools that understand kstatus, such as Flux, Argo CD
    /// and helm --wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Nodes where the app failed; at most 20, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<NodeFailure>,

    /// How many more nodes failed than the list of failures holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures_omitted: i32,
}

/// How many nodes stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Nodes that shall run the app.
    pub desired: i32,
    /// Nodes that report the newest revision as running.
    pub updated: i32,
    /// Nodes where every container of the app runs, be it of the newest revision or of the one before.
    pub ready: i32,
    /// Nodes that can be asked and where the app does not serve.
    pub unavailable: i32,
    /// Nodes that cannot be asked at present.
    pub unknown: i32,
}

/// Where a rollout stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The revision that the nodes had before, or have if nothing is on its way.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub current_revision: String,
    /// The revision that the spec asks for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_revision: String,
}

/// One node where the app failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeFailure {
    /// Name of the EdgeNode.
    pub node: String,
    /// A stable word, such as ImagePullFailed.
    pub reason: String,
    /// What happened, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Since when, by the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// Serde asks for a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}
