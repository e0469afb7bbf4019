//! What the API holds while it is measured: a thousand boxes with six apps each, and statuses of 3 kB as a controller writes them.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use serde_json::{Value, json};
use skerry_tests::IMAGE;

use super::{NODES_PATH, patch, post};

pub const NODES: usize = 1000;
pub const APPS: usize = 100;
/// Apps of each node; an app runs on as many of the sites.
const APPS_OF_NODE: usize = 6;
/// Sites that nodes are labelled with.
const SITES: usize = 100;
/// Requests in flight while the content is made.
const MAKERS: usize = 8;
const SINCE: &str = "2026-11-01T08:00:00Z";

/// The texts of the statuses, by site.
#[derive(Debug)]
pub struct Content {
    statuses: Vec<Vec<u8>>,
}

impl Content {
    pub fn new() -> Self {
        Self { statuses: (0..SITES).map(|site| status(site).to_string().into_bytes()).collect() }
    }

    /// A merge patch of the status of a node of this site.
    pub fn status(&self, site: usize) -> Vec<u8> {
        self.statuses.get(site % SITES).cloned().unwrap_or_default()
    }

    pub async fn create(&self, client: &Client) -> Result<()> {
        let apps =
            (0..APPS).map(|index| post("/apis/skerry.dev/v1alpha1/namespaces/default/edgeapps", &app(index)));
        let nodes = (0..NODES).map(|index| post(NODES_PATH, &node(&node_name(index), index)));
        let statuses = (0..NODES)
            .map(|index| patch(&format!("{NODES_PATH}/{}/status", node_name(index)), self.status(index)));
        for requests in [
            apps.collect::<Result<Vec<_>>>()?,
            nodes.collect::<Result<_>>()?,
            statuses.collect::<Result<_>>()?,
        ] {
            let sent =
                stream::iter(requests).map(|request| client.request_text(request)).buffer_unordered(MAKERS);
            sent.try_for_each(|_| async { Ok(()) }).await?;
        }
        Ok(())
    }
}

pub fn node_name(index: usize) -> String {
    format!("box-{index:04}")
}

pub fn node(name: &str, site: usize) -> Value {
    json!({
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "EdgeNode",
        "metadata": {"name": name, "labels": {"site": format!("s{}", site % SITES), "arch": "arm64", "line": "press"}},
        "spec": {},
    })
}

fn app_name(index: usize) -> String {
    format!("app-{:02}", index % APPS)
}

fn app(index: usize) -> Value {
    let sites: Vec<_> = (0..APPS_OF_NODE).map(|step| format!("s{}", (index + step) % SITES)).collect();
    json!({
        "apiVersion": "skerry.dev/v1alpha1",
        "kind": "EdgeApp",
        "metadata": {"name": app_name(index), "namespace": "default"},
        "spec": {
            "placement": {"nodeSelector": {"matchExpressions": [{"key": "site", "operator": "In", "values": sites}]}},
            "template": {"spec": {"containers": [{
                "name": "main",
                "image": IMAGE,
                "command": ["sleep", "100000"],
                "env": [{"name": "SITE", "value": "plant"}, {"name": "LOG_LEVEL", "value": "info"}],
                "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
            }]}},
        },
    })
}

fn status(site: usize) -> Value {
    let report = |step: usize| {
        let index = site + APPS - step;
        let id = format!("{index:064x}");
        json!({
            "namespace": "default",
            "name": app_name(index),
            "revision": format!("{}-6f8d9c7b5", app_name(index)),
            "phase": "Running",
            "ready": true,
            "reason": "Running",
            "message": "all containers run",
            "observedAt": SINCE,
            "containers": [{"name": "main", "id": id, "ready": true, "restartCount": 0, "state": "Running", "startedAt": SINCE}],
        })
    };
    let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": SINCE, "observedGeneration": 1});
    json!({"status": {
        "observedGeneration": 1,
        "observedAt": SINCE,
        "conditions": [
            condition("Ready", "Unknown", "SessionLost", "no session with the node"),
            condition("Connected", "False", "SessionLost", "no session with the node"),
            condition("Stalled", "False", "NotStalled", ""),
        ],
        "nodeInfo": {
            "architecture": "arm64",
            "operatingSystem": "linux",
            "osImage": "Debian GNU/Linux 13 (trixie)",
            "kernelVersion": "6.12.48+deb13-arm64",
            "dockerVersion": "29.1.3",
            "agentVersion": "0.1.0",
            "bootID": "0f3a9c52-6b1e-4d0e-9a43-5f0e6a0d7c11",
            "hostname": "press-line-box",
        },
        "capacity": {"cpu": "4", "memory": "4127195136"},
        "addresses": ["192.168.178.42", "fd00::2e0:4cff:fe68:1234"],
        "lastSeen": SINCE,
        "appsReady": "6/6",
        "apps": (0..APPS_OF_NODE).map(report).collect::<Vec<_>>(),
    }})
}
