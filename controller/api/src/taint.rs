//! Taints of nodes and tolerations of apps, as Kubernetes compares them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::template::word_enum;

/// Keeps apps away from a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Key of the taint, such as dedicated.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// Value of the taint. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// NoSchedule: no app that does not tolerate it is newly placed. NoExecute: those that run are removed, too.
    /// PreferNoSchedule: other nodes are taken first where an app has a number of replicas.
    pub effect: TaintEffect,
}

word_enum! {
    /// What a taint does to apps that do not tolerate it.
    TaintEffect { NoSchedule, PreferNoSchedule, NoExecute }
}

/// Which taints do not keep the app away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "has(self.key) && size(self.key) > 0 || has(self.operator) && self.operator == 'Exists'",
        "message": "without a key, the operator must be Exists: it tolerates every taint",
        "fieldPath": ".operator"
    },
    {
        "rule": "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || size(self.value) == 0",
        "message": "must be empty when the operator is Exists",
        "fieldPath": ".value"
    }
]))]
pub struct Toleration {
    /// Key of the taint. Absent: every key; the operator must be Exists then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    pub key: Option<String>,
    /// Exists: any value. Equal: this value. Default: Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,
    /// Value of the taint. Only with Equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,
    /// Effect of the taint: NoSchedule, PreferNoSchedule or NoExecute. Absent: every effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,
}

word_enum! {
    /// How a toleration compares values.
    TolerationOperator { Exists, Equal }
}

impl Toleration {
    /// True if the taint does not keep the app away.
    pub fn tolerates(&self, taint: &Taint) -> bool {
        let key = self.key.as_deref().unwrap_or_default();
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (key.is_empty() || key == taint.key)
            && match self.effective_operator() {
                TolerationOperator::Exists => true,
                TolerationOperator::Equal => {
                    self.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
                }
            }
    }

    /// Kubernetes' default is Equal.
    pub fn effective_operator(&self) -> TolerationOperator {
        self.operator.unwrap_or(TolerationOperator::Equal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerations_tolerate_as_in_kubernetes() {
        let taint: Taint =
            serde_json::from_str(r#"{"key": "dedicated", "value": "line", "effect": "NoSchedule"}"#)
                .expect("a taint");
        let cases = [
            (r#"{"key": "dedicated", "value": "line"}"#, true),
            (r#"{"key": "dedicated", "operator": "Equal", "value": "line", "effect": "NoSchedule"}"#, true),
            (r#"{"key": "dedicated", "value": "line", "effect": "NoExecute"}"#, false),
            (r#"{"key": "dedicated", "value": "other"}"#, false),
            (r#"{"key": "dedicated"}"#, false),
            (r#"{"key": "dedicated", "operator": "Exists"}"#, true),
            (r#"{"key": "other", "operator": "Exists"}"#, false),
            (r#"{"operator": "Exists"}"#, true),
            (r#"{"operator": "Exists", "effect": "NoExecute"}"#, false),
        ];
        for (json, expected) in cases {
            let toleration: Toleration = serde_json::from_str(json).expect("a toleration");
            assert_eq!(toleration.tolerates(&taint), expected, "{json}");
        }
    }
}
