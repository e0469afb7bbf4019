//! The served kinds of the groups beside core, all of them v1.

use std::collections::BTreeMap;

use prost::Message;
use serde::{Serialize, Serializer};

use super::core::{EventSource, ObjectReference};
use super::fields::{RawJson, base64, entries, is_zero};
use super::meta::ObjectMeta;
use super::time::{MicroTime, Time};

#[derive(Clone, PartialEq, Message, Serialize)]
pub struct ControllerRevision {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    data: RawJson,
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub struct CertificateSigningRequest {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    spec: SigningSpec,
    #[prost(message, required, tag = "3")]
    status: SigningStatus,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct SigningSpec {
    #[prost(bytes = "vec", optional, tag = "1")]
    #[serde(serialize_with = "base64")]
    request: Option<Vec<u8>>,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[prost(string, repeated, tag = "4")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    usages: Vec<String>,
    #[prost(btree_map = "string, message", tag = "6")]
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, ExtraValue>,
    #[prost(string, tag = "7")]
    signer_name: String,
    #[prost(int32, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_seconds: Option<i32>,
}

/// A list that can be a value of a map.
#[derive(Clone, PartialEq, Message)]
struct ExtraValue {
    #[prost(string, repeated, tag = "1")]
    items: Vec<String>,
}

impl Serialize for ExtraValue {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.items.serialize(out)
    }
}

#[derive(Clone, PartialEq, Message, Serialize)]
struct SigningStatus {
    #[prost(bytes = "vec", repeated, tag = "1")]
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "entries::<SigningCondition, _>")]
    conditions: Vec<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    #[serde(skip_serializing_if = "is_empty", serialize_with = "base64")]
    certificate: Option<Vec<u8>>,
}

fn is_empty(bytes: &Option<Vec<u8>>) -> bool {
    bytes.as_ref().is_none_or(Vec::is_empty)
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct SigningCondition {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[prost(message, required, tag = "4")]
    last_update_time: Time,
    #[prost(message, required, tag = "5")]
    last_transition_time: Time,
    #[prost(string, tag = "6")]
    status: String,
}

#[derive(Clone, PartialEq, Message, Serialize)]
pub struct Lease {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    spec: LeaseSpec,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct LeaseSpec {
    #[prost(string, optional, tag = "1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    holder_identity: Option<String>,
    #[prost(int32, optional, tag = "2")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_duration_seconds: Option<i32>,
    #[prost(message, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    acquire_time: Option<MicroTime>,
    #[prost(message, optional, tag = "4")]
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_time: Option<MicroTime>,
    #[prost(int32, optional, tag = "5")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_transitions: Option<i32>,
    #[prost(string, optional, tag = "6")]
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<String>,
    #[prost(string, optional, tag = "7")]
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_holder: Option<String>,
}

/// The Event of events.k8s.io.
#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    #[prost(message, required, tag = "1")]
    metadata: ObjectMeta,
    #[prost(message, required, tag = "2")]
    event_time: MicroTime,
    #[prost(message, optional, tag = "3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<EventSeries>,
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "String::is_empty")]
    reporting_controller: String,
    #[prost(string, tag = "5")]
    #[serde(skip_serializing_if = "String::is_empty")]
    reporting_instance: String,
    #[prost(string, tag = "6")]
    #[serde(skip_serializing_if = "String::is_empty")]
    action: String,
    #[prost(string, tag = "7")]
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[prost(message, required, tag = "8")]
    regarding: ObjectReference,
    #[prost(message, optional, tag = "9")]
    #[serde(skip_serializing_if = "Option::is_none")]
    related: Option<ObjectReference>,
    #[prost(string, tag = "10")]
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[prost(string, tag = "11")]
    #[serde(skip_serializing_if = "String::is_empty")]
    r#type: String,
    #[prost(message, required, tag = "12")]
    deprecated_source: EventSource,
    #[prost(message, required, tag = "13")]
    deprecated_first_timestamp: Time,
    #[prost(message, required, tag = "14")]
    deprecated_last_timestamp: Time,
    #[prost(int32, tag = "15")]
    #[serde(skip_serializing_if = "is_zero")]
    deprecated_count: i32,
}

#[derive(Clone, PartialEq, Message, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventSeries {
    #[prost(int32, tag = "1")]
    count: i32,
    #[prost(message, required, tag = "2")]
    last_observed_time: MicroTime,
}
