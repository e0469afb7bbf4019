//! Request bodies in Kubernetes' protobuf: kubectl 1.37 and all of its age send built-in kinds so and do not fall back to JSON. Each
//! becomes the JSON that the same client would have written, and nobody further in knows the difference. Answers are never protobuf,
//! which those clients accept.
//!
//! The messages are the Go types: their numbers are those of `generated.proto`, their names and what is left out those of the types'
//! `json` tags. A `required` message is a Go struct that is no pointer: it is there even if the sender left it out.

mod core;
mod fields;
mod kinds;
mod meta;
mod reviews;
mod time;

use prost::Message;
use serde::Serialize;
use serde_json::Value;

use crate::decode::DecodeError;

/// The first bytes of every body.
const MAGIC: &[u8] = b"k8s\0";

/// `k8s.io.apimachinery.pkg.runtime.Unknown`.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(message, required, tag = "1")]
    type_meta: TypeMeta,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
    #[prost(string, tag = "3")]
    content_encoding: String,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

/// Reads a body of one of the kinds that are served, their reviews and the options of a delete. Its size is bounded by the caller.
pub fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let unrecognized = |why: String| Err(DecodeError::Protobuf(why));
    if body.is_empty() {
        return unrecognized("empty data".to_owned());
    }
    let Some(message) = body.strip_prefix(MAGIC) else {
        return unrecognized(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
                .to_owned(),
        );
    };
    if message.is_empty() {
        return unrecognized("empty body".to_owned());
    }
    let Envelope { type_meta: TypeMeta { api_version, kind }, raw, content_encoding } =
        Envelope::decode(message).map_err(|error| DecodeError::Protobuf(words(&error)))?;
    if !content_encoding.is_empty() {
        return unrecognized(format!("content encoding {content_encoding:?} is not supported"));
    }
    let read: fn(&[u8]) -> Result<Value, Option<String>> = match (api_version.as_str(), kind.as_str()) {
        ("v1", "ConfigMap") => read::<core::ConfigMap>,
        ("v1", "Event") => read::<core::Event>,
        ("v1", "Namespace") => read::<core::Namespace>,
        ("v1", "Secret") => read::<core::Secret>,
        ("apps/v1", "ControllerRevision") => read::<kinds::ControllerRevision>,
        ("certificates.k8s.io/v1", "CertificateSigningRequest") => read::<kinds::CertificateSigningRequest>,
        ("coordination.k8s.io/v1", "Lease") => read::<kinds::Lease>,
        ("events.k8s.io/v1", "Event") => read::<kinds::Event>,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => read::<reviews::SelfSubjectReview>,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => read::<reviews::SelfSubjectAccessReview>,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => read::<reviews::SelfSubjectRulesReview>,
        // A typed client states its own group there.
        (_, "DeleteOptions") => read::<meta::DeleteOptions>,
        _ => |_| Err(None),
    };
    let mut value = read(&raw).map_err(|why| DecodeError::Message {
        why: why.unwrap_or_else(|| {
            format!("no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\"")
        }),
        version: api_version.rsplit('/').next().unwrap_or_default().to_owned(),
        kind: kind.clone(),
    })?;
    if let Value::Object(fields) = &mut value {
        fields.insert("apiVersion".to_owned(), api_version.into());
        fields.insert("kind".to_owned(), kind.into());
    }
    Ok(value)
}

/// No fault means that the kind is not read here.
fn read<M: Message + Default + Serialize>(raw: &[u8]) -> Result<Value, Option<String>> {
    let message = M::decode(raw).map_err(|error| Some(words(&error)))?;
    serde_json::to_value(message).map_err(|error| Some(error.to_string()))
}

/// The commonest fault in the words of Go, the others in those of the parser.
fn words(error: &prost::DecodeError) -> String {
    let text = error.to_string();
    if text.ends_with("buffer underflow") { "unexpected EOF".to_owned() } else { text }
}

#[cfg(test)]
mod tests;
