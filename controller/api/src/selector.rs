//! A label selector in Kubernetes' own shape, with the operators spelled out in the schema, so that a wrong one is refused
//! at `kubectl apply` and not found out later.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Selects objects by their labels. All requirements must hold; an empty selector selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must be there with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement on a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
    "message": "In and NotIn need values, Exists and DoesNotExist must have none",
    "fieldPath": ".values"
}]))]
pub struct Requirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: Operator,
    /// The values of In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    /// True if an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            // As in Kubernetes, an object without the label is not in the set.
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_select_as_in_kubernetes() {
        let labels = BTreeMap::from([("site".to_owned(), "hz".to_owned())]);
        let cases = [
            ("{}", true),
            (r#"{"matchLabels": {"site": "hz"}}"#, true),
            (r#"{"matchLabels": {"site": "sh"}}"#, false),
            (r#"{"matchLabels": {"site": "hz", "line": "1"}}"#, false),
            (r#"{"matchExpressions": [{"key": "site", "operator": "In", "values": ["sh", "hz"]}]}"#, true),
            (r#"{"matchExpressions": [{"key": "line", "operator": "In", "values": ["1"]}]}"#, false),
            (r#"{"matchExpressions": [{"key": "site", "operator": "NotIn", "values": ["hz"]}]}"#, false),
            (r#"{"matchExpressions": [{"key": "line", "operator": "NotIn", "values": ["1"]}]}"#, true),
            (r#"{"matchExpressions": [{"key": "site", "operator": "Exists"}]}"#, true),
            (r#"{"matchExpressions": [{"key": "site", "operator": "DoesNotExist"}]}"#, false),
        ];
        for (json, expected) in cases {
            let selector: LabelSelector = serde_json::from_str(json).expect("a selector");
            assert_eq!(selector.matches(&labels), expected, "{json}");
        }
    }

    #[test]
    fn an_unknown_operator_is_refused() {
        let json = r#"{"matchExpressions": [{"key": "site", "operator": "Like"}]}"#;
        assert!(serde_json::from_str::<LabelSelector>(json).is_err());
    }
}
