//! `k8s.io.api.authorization.v1` and `k8s.io.api.authentication.v1`: what is asked. Their status is the server's answer, and what a
//! client states there is read by nobody.

use prost::Message;
use serde::Serialize;

use super::fields::entries;
use super::meta::ObjectMeta;

#[derive(Clone, PartialEq, Message, Serialize)]
pub struct SelfSubjectReview {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub struct SelfSubjectAccessReview {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    spec: AccessSpec,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessSpec {
    #[prost(message, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_attributes: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    non_resource_attributes: Option<NonResourceAttributes>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceAttributes {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    verb: String,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[prost(message, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    field_selector: Option<Selector>,
    #[prost(message, optional, tag = "9")]
    #[serde(skip_serializing_if = "Option::is_none")]
    label_selector: Option<Selector>,
}

/// `FieldSelectorAttributes` and `LabelSelectorAttributes`, which look the same.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct Selector {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    raw_selector: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "entries::<Requirement, _>")]
    requirements: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct Requirement {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    operator: String,
    #[prost(string, repeated, tag = "3")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct NonResourceAttributes {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    verb: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub struct SelfSubjectRulesReview {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    spec: RulesSpec,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct RulesSpec {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
}
