//! What is known of an app over all nodes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

    /// Nodes that shall run the app and cannot be asked at present; at most 20, those that are away longest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<NodeUnknown>,

    /// How many more nodes cannot be asked than the list unknown holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_omitted: i32,

    /// Nodes that run the app and get no changes until somebody does something; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stalled: Vec<NodeStalled>,

    /// How many more nodes get no changes than the list stalled holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stalled_omitted: i32,

    /// Nodes that are selected and cannot run the app; at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_placeable: Vec<NodeNotPlaceable>,

    /// How many more nodes cannot run the app than the list notPlaceable holds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_placeable_omitted: i32,
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
    /// Nodes that are selected and cannot run the app; they are not among the desired.
    #[serde(default)]
    pub not_placeable: i32,
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

/// One node that cannot be asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeUnknown {
    /// Name of the EdgeNode.
    pub node: String,
    /// Since when. Absent when the node was never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// A stable word, such as NodeUnreachable.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What was seen last, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One node that gets no changes until somebody does something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStalled {
    /// Name of the EdgeNode.
    pub node: String,
    /// A stable word, such as ClusterWentBack.
    pub reason: String,
    /// What happened and what to do, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// One node that is selected and cannot run the app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeNotPlaceable {
    /// Name of the EdgeNode.
    pub node: String,
    /// A stable word, such as NoVariant.
    pub reason: String,
    /// What is in the way, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Serde asks for a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}
