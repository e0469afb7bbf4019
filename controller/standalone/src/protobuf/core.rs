//! `k8s.io.api.core.v1`.

use std::collections::BTreeMap;

use prost::Message;
use serde::Serialize;

use super::fields::{base64_map, entries, is_zero};
use super::meta::ObjectMeta;
use super::time::{MicroTime, Time};

#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Namespace {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    spec: NamespaceSpec,
    #[prost(message, required, tag = "3")]
    status: NamespaceStatus,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct NamespaceSpec {
    #[prost(string, repeated, tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    finalizers: Vec<String>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct NamespaceStatus {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    phase: String,
    #[prost(bytes = "vec", repeated, tag = "2")]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "entries::<NamespaceCondition, _>")]
    conditions: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct NamespaceCondition {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(string, tag = "2")]
    status: String,
    #[prost(message, required, tag = "4")]
    last_transition_time: Time,
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Secret {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(btree_map = "string, bytes", tag = "2")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "base64_map")]
    data: BTreeMap<String, Vec<u8>>,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    r#type: String,
    #[prost(btree_map = "string, string", tag = "4")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    string_data: BTreeMap<String, String>,
    #[prost(bool, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMap {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(btree_map = "string, string", tag = "2")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    data: BTreeMap<String, String>,
    #[prost(btree_map = "string, bytes", tag = "3")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "base64_map")]
    binary_data: BTreeMap<String, Vec<u8>>,
    #[prost(bool, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    involved_object: ObjectReference,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[prost(message, required, tag = "5")]
    source: EventSource,
    #[prost(message, required, tag = "6")]
    first_timestamp: Time,
    #[prost(message, required, tag = "7")]
    last_timestamp: Time,
    #[prost(int32, tag = "8")]
    #[serde(skip_serializing_if = "is_zero")]
    count: i32,
    #[prost(string, tag = "9")]
    #[serde(skip_serializing_if = "String::is_empty")]
    r#type: String,
    #[prost(message, required, tag = "10")]
    event_time: MicroTime,
    #[prost(message, optional, tag = "11")]
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<EventSeries>,
    #[prost(string, tag = "12")]
    #[serde(skip_serializing_if = "String::is_empty")]
    action: String,
    #[prost(message, optional, tag = "13")]
    #[serde(skip_serializing_if = "Option::is_none")]
    related: Option<ObjectReference>,
    #[prost(string, tag = "14")]
    reporting_component: String,
    #[prost(string, tag = "15")]
    reporting_instance: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventSeries {
    #[prost(int32, tag = "1")]
    #[serde(skip_serializing_if = "is_zero")]
    count: i32,
    #[prost(message, required, tag = "2")]
    last_observed_time: MicroTime,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub struct EventSource {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    component: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    host: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_version: String,
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "String::is_empty")]
    field_path: String,
}
