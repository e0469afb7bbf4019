//! Hooks at the start and at the end of a container.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ExecAction, HttpGetAction};

/// Hooks at the start and at the end of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Done right after the start; the container is not ready before. When it fails, the container is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_start: Option<LifecycleHandler>,
    /// Done before SIGTERM; its time counts towards the grace period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<LifecycleHandler>,
}

/// What a hook does: exactly one of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "[has(self.exec), has(self.httpGet), has(self.sleep)].exists_one(given, given)",
        "message": "must specify exactly one handler type: exec, httpGet, sleep"
    }
]))]
pub struct LifecycleHandler {
    /// A command in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// An HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
    /// Wait for some seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepAction>,
}

/// Waits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SleepAction {
    /// How long, in seconds; at most the grace period.
    #[schemars(range(min = 0, max = 86400))]
    pub seconds: i64,
}
