//! Reads a review that is sent as protobuf: kubectl 1.37 and all of its age send these kinds so, and do not fall back to JSON.
//! The answer may be JSON, which they accept.

use prost::Message;
use serde_json::{Map, Value, json};

use crate::status::ApiError;

/// The first bytes of every protobuf body in Kubernetes.
const MAGIC: &[u8] = b"k8s\0";

/// `k8s.io.apimachinery.pkg.runtime.Unknown`.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// SelfSubjectAccessReview and SelfSubjectRulesReview, whose specs have different types at the same place.
#[derive(Clone, PartialEq, Message)]
struct Review {
    #[prost(bytes = "vec", tag = "2")]
    spec: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct AccessSpec {
    #[prost(message, optional, tag = "1")]
    resource: Option<ResourceAttributes>,
    #[prost(message, optional, tag = "2")]
    path: Option<NonResourceAttributes>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceAttributes {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(string, tag = "2")]
    verb: String,
    #[prost(string, tag = "3")]
    group: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(string, tag = "5")]
    resource: String,
    #[prost(string, tag = "6")]
    subresource: String,
    #[prost(string, tag = "7")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct NonResourceAttributes {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(string, tag = "2")]
    verb: String,
}

#[derive(Clone, PartialEq, Message)]
struct RulesSpec {
    #[prost(string, tag = "1")]
    namespace: String,
}

/// The review as JSON, without its metadata and without selectors, which decide nothing.
pub fn review_from_protobuf(body: &[u8]) -> Result<Value, ApiError> {
    let refused =
        |why: &dyn std::fmt::Display| ApiError::bad_request(format!("the body cannot be decoded: {why}"));
    let body = body.strip_prefix(MAGIC).ok_or_else(|| refused(&"it is no protobuf of Kubernetes"))?;
    let envelope = Envelope::decode(body).map_err(|error| refused(&error))?;
    let TypeMeta { api_version, kind } = envelope.type_meta.unwrap_or_default();
    let spec = Review::decode(envelope.raw.as_slice()).map_err(|error| refused(&error))?.spec;
    let spec = match kind.as_str() {
        "SelfSubjectAccessReview" => {
            access(AccessSpec::decode(spec.as_slice()).map_err(|error| refused(&error))?)
        }
        "SelfSubjectRulesReview" => {
            let RulesSpec { namespace } =
                RulesSpec::decode(spec.as_slice()).map_err(|error| refused(&error))?;
            fields([("namespace", namespace)])
        }
        "SelfSubjectReview" => return Ok(json!({"kind": kind, "apiVersion": api_version})),
        other => return Err(refused(&format_args!("{other:?} is no review"))),
    };
    Ok(json!({"kind": kind, "apiVersion": api_version, "spec": spec}))
}

fn access(spec: AccessSpec) -> Value {
    let mut found = Map::new();
    if let Some(ResourceAttributes { namespace, verb, group, version, resource, subresource, name }) =
        spec.resource
    {
        let of = [
            ("namespace", namespace),
            ("verb", verb),
            ("group", group),
            ("version", version),
            ("resource", resource),
            ("subresource", subresource),
            ("name", name),
        ];
        found.insert("resourceAttributes".to_owned(), fields(of));
    }
    if let Some(NonResourceAttributes { path, verb }) = spec.path {
        found.insert("nonResourceAttributes".to_owned(), fields([("path", path), ("verb", verb)]));
    }
    Value::Object(found)
}

/// What is empty is absent, as in the JSON of the same object.
fn fields<const N: usize>(fields: [(&str, String); N]) -> Value {
    let set = fields.into_iter().filter(|(_, text)| !text.is_empty());
    Value::Object(set.map(|(name, text)| (name.to_owned(), text.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: &str, spec: &impl Message) -> Vec<u8> {
        let raw = Review { spec: spec.encode_to_vec() }.encode_to_vec();
        let type_meta = TypeMeta { api_version: "authorization.k8s.io/v1".to_owned(), kind: kind.to_owned() };
        let mut body = MAGIC.to_vec();
        body.extend(Envelope { type_meta: Some(type_meta), raw }.encode_to_vec());
        body
    }

    #[test]
    fn a_review_is_the_same_in_protobuf() {
        let resource =
            ResourceAttributes { verb: "get".to_owned(), resource: "pods".to_owned(), ..Default::default() };
        let spec = AccessSpec { resource: Some(resource), path: None };
        let review = review_from_protobuf(&encoded("SelfSubjectAccessReview", &spec)).expect("a review");
        assert_eq!(review["spec"], json!({"resourceAttributes": {"verb": "get", "resource": "pods"}}));
        let spec = RulesSpec { namespace: "a".to_owned() };
        let review = review_from_protobuf(&encoded("SelfSubjectRulesReview", &spec)).expect("a review");
        assert_eq!(review["spec"], json!({"namespace": "a"}));
    }

    #[test]
    fn what_is_no_review_is_refused_and_never_panics() {
        let whole = encoded("SelfSubjectRulesReview", &RulesSpec { namespace: "a".to_owned() });
        for end in 0..whole.len() {
            let _ = review_from_protobuf(&whole[..end]);
        }
        for body in [&b""[..], b"{}", b"k8s\0\xff\xff\xff\xff", &encoded("Secret", &RulesSpec::default())] {
            assert_eq!(review_from_protobuf(body).expect_err("no review").code, 400);
        }
    }
}
