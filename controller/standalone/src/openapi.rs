//! `/openapi/v3`: the index and the documents. Those of the built-in groups are static text; those of CRDs' groups are generated
//! once, as the real server does it, and kept as text. `/openapi/v2` is empty: kubectl wants one before it takes a `kind: List`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::builtin;
use crate::discovery::hash;

mod custom;

/// All documents.
#[derive(Debug)]
pub struct Documents {
    /// By their path below `/openapi/v3/`: `api/v1`, `apis/skerry.dev/v1alpha1`.
    documents: BTreeMap<String, Document>,
    index: String,
}

/// One document, JSON text.
#[derive(Debug)]
pub struct Document {
    pub text: Cow<'static, str>,
    /// Names the content: the `hash` of the URL, and in quotes the `ETag`.
    pub hash: String,
}

/// How to answer a request for a document.
#[derive(Debug)]
pub enum Answer<'a> {
    /// 200 with this text and `ETag`, `Vary: Accept`; immutable (`IMMUTABLE`, `Expires` in a year) if the request named the hash.
    Serve { document: &'a Document, immutable: bool },
    /// 301 to this `Location`: the hash names another content.
    Moved(String),
    /// 404 without a body.
    Missing,
}

/// `Cache-Control` of a document that was asked for by its hash.
pub const IMMUTABLE: &str = "public, immutable";

impl Documents {
    /// `definitions` are the CRDs as written.
    pub fn new(definitions: &[Value]) -> Self {
        let built_in =
            builtin::DOCUMENTS.map(|(path, text)| (path.to_owned(), Cow::Borrowed(text.trim_end())));
        let custom = custom::documents(definitions).into_iter().map(|(path, text)| (path, Cow::Owned(text)));
        let documents: BTreeMap<_, _> = built_in
            .into_iter()
            .chain(custom)
            .map(|(path, text)| (path, Document { hash: hash(text.as_bytes()), text }))
            .collect();
        let entry = |(path, document): (&String, &Document)| {
            (path.clone(), json!({"serverRelativeURL": location(path, &document.hash)}))
        };
        let index =
            json!({"paths": documents.iter().map(entry).collect::<serde_json::Map<_, _>>()}).to_string();
        Self { documents, index }
    }

    /// The body of `/openapi/v3`.
    pub fn index(&self) -> &str {
        &self.index
    }

    /// The answer to `/openapi/v3/<path>?hash=<hash>`; `hash` is empty when the request has none.
    pub fn find(&self, path: &str, hash: &str) -> Answer<'_> {
        match self.documents.get(path) {
            None => Answer::Missing,
            Some(document) if hash.is_empty() || hash == document.hash => {
                Answer::Serve { document, immutable: !hash.is_empty() }
            }
            Some(document) => Answer::Moved(location(path, &document.hash)),
        }
    }
}

fn location(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

#[cfg(test)]
mod tests;
