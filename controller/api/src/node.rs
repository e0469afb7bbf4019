//! `EdgeNode`: one edge box, and what it reports.

#![cfg_attr(
    feature = "kube",
    expect(
        clippy::duplicated_attributes,
        reason = "the columns of a resource repeat their keys; the lint does not know that inside cfg_attr"
    )
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Taint;

/// An edge box. Created when its agent joins; its labels decide which apps it runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(
    feature = "kube",
    derive(kube::CustomResource),
    kube(
        group = "skerry.dev",
        version = "v1alpha1",
        kind = "EdgeNode",
        plural = "edgenodes",
        shortname = "en",
        category = "skerry",
        status = "EdgeNodeStatus",
        derive = "PartialEq",
        derive = "Default",
        doc = "An edge box. Created when its agent joins; its labels decide which apps it runs.",
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
            description = "True: connected, and its Docker Engine answers"
        ),
        printcolumn(
            name = "Reason",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
            description = "Why it is ready or not"
        ),
        printcolumn(
            name = "Last Seen",
            type_ = "date",
            json_path = ".status.lastSeen",
            description = "Of a node that is away: how long ago it was seen last"
        ),
        printcolumn(
            name = "Apps",
            type_ = "string",
            json_path = ".status.appsReady",
            description = "Apps that are ready, of all apps on the node"
        ),
        printcolumn(
            name = "Arch",
            type_ = "string",
            json_path = ".status.nodeInfo.architecture",
            description = "Processor architecture"
        ),
        printcolumn(
            name = "Agent",
            type_ = "string",
            json_path = ".status.nodeInfo.agentVersion",
            description = "Version of the agent"
        ),
        printcolumn(
            name = "Age",
            type_ = "date",
            json_path = ".metadata.creationTimestamp",
            description = "Time since the node joined"
        ),
        printcolumn(
            name = "OS",
            type_ = "string",
            json_path = ".status.nodeInfo.osImage",
            priority = 1,
            description = "Operating system"
        ),
        printcolumn(
            name = "Kernel",
            type_ = "string",
            json_path = ".status.nodeInfo.kernelVersion",
            priority = 1,
            description = "Kernel version"
        ),
        printcolumn(
            name = "Docker",
            type_ = "string",
            json_path = ".status.nodeInfo.dockerVersion",
            priority = 1,
            description = "Version of the Docker Engine"
        ),
        printcolumn(
            name = "Replica",
            type_ = "string",
            json_path = ".status.session.replica",
            priority = 1,
            description = "The controller replica that serves the node; what the columns say is as old as its Lease, if that has run out"
        ),
        printcolumn(
            name = "Address",
            type_ = "string",
            json_path = ".status.addresses[0]",
            priority = 1,
            description = "First network address"
        )
    )
)]
#[serde(rename_all = "camelCase")]
pub struct EdgeNodeSpec {
    /// No app is newly placed on the node; those that run there stay. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<bool>,

    /// Keep apps away that do not tolerate them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key", "effect"]))]
    pub taints: Vec<Taint>,
}

impl EdgeNodeSpec {
    pub fn is_unschedulable(&self) -> bool {
        self.unschedulable.unwrap_or(false)
    }
}

/// What an edge node reported last. Written by the controller on transitions, never periodically: a node at rest costs
/// no write.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdgeNodeStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// When this status was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,

    /// Ready: connected, and its Docker Engine answers. Connected: a session stands. Stalled: the node waits for a
    /// person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// What the box is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_info: Option<NodeInfo>,

    /// What the box has: cpu in cores, memory in bytes, and the devices that its owner lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Resources>,

    /// What of it apps may request: the capacity without what the box's owner keeps back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<Resources>,

    /// Network addresses of the box.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,

    /// When a session with the node last ended. Absent while it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,

    /// The session that stands. Absent while the node is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionInfo>,

    /// How many things that happened on the node were lost before they could be told: the node was away for long, and what it keeps for
    /// later is bounded. Absent when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transitions_dropped: Option<i64>,

    /// How many of the node's apps are ready, of how many there are, such as 17/18.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub apps_ready: String,

    /// Every app on the node, as the node reported it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["namespace", "name"]))]
    pub apps: Vec<AppReport>,
}

/// What a box is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    /// Go's name of the processor architecture: amd64, arm64, arm, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// Go's name of the operating system: linux.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub operating_system: String,
    /// The distribution, from /etc/os-release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os_image: String,
    /// Kernel version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel_version: String,
    /// Version of the Docker Engine. Absent while it does not answer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    /// Version of the agent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agent_version: String,
    /// The kernel's boot id: changes when the box restarts.
    #[serde(rename = "bootID", skip_serializing_if = "String::is_empty")]
    pub boot_id: String,
    /// Host name of the box.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
}

/// Amounts of resources by name, as in a Kubernetes node's capacity.
pub type Resources = BTreeMap<String, crate::Quantity>;

/// The session between a node and the controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionInfo {
    /// The controller replica that serves the node. Its Lease skerry-controller-REPLICA is renewed every ten seconds: once that has run
    /// out, nobody keeps this status up to date.
    pub replica: String,
    /// When the session began.
    pub since: Time,
}

/// One app on one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppReport {
    /// Namespace of the EdgeApp.
    pub namespace: String,
    /// Name of the EdgeApp.
    pub name: String,
    /// The revision that the phase speaks of.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Pending, Pulling, Starting, Probing, Running, Succeeded, Failed, RolledBack or Unknown.
    pub phase: String,
    /// Every container of the app serves, be it of this revision or of the one before.
    #[serde(default)]
    pub ready: bool,
    /// A stable word for why the app is in this phase.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When this state began, by the box's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
    /// The app's containers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerReport>,
}

/// One container on one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContainerReport {
    /// Name of the container in the template.
    pub name: String,
    /// Init or Sidecar. Absent: one of the main containers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Docker's id of the container. Absent when there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The container serves.
    #[serde(default)]
    pub ready: bool,
    /// Its postStart hook and its startup probe are through. Absent while nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<bool>,
    /// How often it was restarted.
    #[serde(default)]
    pub restart_count: i32,
    /// Waiting, Running or Terminated.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// A stable word for why it waits or ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When it was started, by the box's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// Exit code of the last run, when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How its run before this one ended. Absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_state: Option<LastState>,
}

/// How a run of a container ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastState {
    /// Exit code of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// A stable word, such as Error or OOMKilled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the container left as its termination message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the run began, by the box's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended, by the box's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}
