//! What is read before anything is done: discovery, the OpenAPI documents, the version, the health of the server.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderName, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use crate::accept;
use crate::discovery::{self, AGGREGATED_HEADERS, Aggregated};
use crate::openapi::{Answer, Documents, IMMUTABLE};
use crate::resource::Resource;
use crate::status::ApiError;
use crate::view::{json_answer, text_answer};

/// Served beside what discovery lists.
const HEALTH: [&str; 3] = ["/healthz", "/livez", "/readyz"];
/// A year after which nothing is older than the program.
const FAR: HeaderValue = HeaderValue::from_static("Fri, 31 Dec 2100 00:00:00 GMT");

/// All of it, made once.
#[derive(Debug)]
pub struct Catalogue {
    resources: Vec<Resource>,
    documents: Documents,
    /// What clients reach the server at, `host:port`.
    address: String,
}

impl Catalogue {
    /// `definitions` are the CRDs as written.
    pub fn new(resources: Vec<Resource>, definitions: &[Value], address: String) -> Self {
        Self { resources, documents: Documents::new(definitions), address }
    }

    /// The answer to a request for no resource.
    pub fn answer(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        accept: &str,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(ApiError::method_not_allowed());
        }
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        if HEALTH.contains(&path) {
            return Ok(text_answer(StatusCode::OK, "ok"));
        }
        if let Some(document) = path.strip_prefix("/openapi/v3") {
            return self.document(document.trim_start_matches('/'), query, accept, headers);
        }
        if path == "/openapi/v2" {
            return Ok(empty_v2(accept));
        }
        let listed = match path.trim_start_matches('/').split('/').collect::<Vec<_>>().as_slice() {
            [""] => Some(discovery::paths(&self.resources, &HEALTH)),
            ["version"] => Some(discovery::version()),
            ["api"] => match accept::discovery_form(accept)? {
                Some(version) => {
                    return Ok(aggregated(discovery::aggregated_core(&self.resources, version), headers));
                }
                None => Some(discovery::api_versions(&self.address)),
            },
            ["apis"] => match accept::discovery_form(accept)? {
                Some(version) => {
                    return Ok(aggregated(discovery::aggregated_groups(&self.resources, version), headers));
                }
                None => Some(discovery::groups(&self.resources)),
            },
            ["apis", group] => discovery::group(&self.resources, group),
            ["api", version] => discovery::kinds(&self.resources, "", version),
            ["apis", group, version] => discovery::kinds(&self.resources, group, version),
            _ => None,
        };
        let listed = listed.ok_or_else(ApiError::no_such_page)?;
        if !accept::takes_json(accept) {
            return Err(accept::not_acceptable());
        }
        Ok(json_answer(StatusCode::OK, listed.to_string().into()))
    }

    fn document(
        &self,
        path: &str,
        query: &str,
        accept: &str,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        if path.is_empty() {
            return Ok(json_answer(StatusCode::OK, self.documents.index().to_owned().into()));
        }
        if !accept::takes_json(accept) {
            return Err(accept::not_acceptable());
        }
        let hash = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "hash");
        let hash = hash.map(|(_, hash)| hash.into_owned()).unwrap_or_default();
        Ok(match self.documents.find(path, &hash) {
            Answer::Missing => {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::NOT_FOUND;
                answer
            }
            Answer::Moved(location) => {
                let mut answer = text_answer(StatusCode::MOVED_PERMANENTLY, "");
                set(&mut answer, LOCATION, &location);
                answer
            }
            Answer::Serve { document, immutable } => {
                let etag = format!("\"{}\"", document.hash);
                if is_known(headers, &etag) {
                    return Ok(unchanged(&etag));
                }
                // The text is static or held by the server; a copy of it lives as long as the answer.
                let mut answer = json_answer(StatusCode::OK, document.text.clone().into_owned().into());
                set(&mut answer, ETAG, &etag);
                set(&mut answer, VARY, "Accept");
                if immutable {
                    set(&mut answer, CACHE_CONTROL, IMMUTABLE);
                    answer.headers_mut().insert(EXPIRES, FAR);
                }
                answer
            }
        })
    }
}

/// OpenAPI v2 that describes nothing. kubectl wants one, as protobuf, before it takes a `kind: List`, checks the items that are in it
/// against nothing, and leaves the rest to the server, as for every other object.
fn empty_v2(accept: &str) -> Response {
    const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    // swagger = 1: "2.0"; info = 2: {title = 1: "Skerry"; version = 2: "v1"}.
    const DOCUMENT: &[u8] = b"\x0a\x032.0\x12\x0c\x0a\x06Skerry\x12\x02v1";
    if !accept.contains(PROTOBUF) {
        let document = json!({"swagger": "2.0", "info": {"title": "Skerry", "version": "v1"}, "paths": {}, "definitions": {}});
        return json_answer(StatusCode::OK, document.to_string().into());
    }
    let mut answer = json_answer(StatusCode::OK, DOCUMENT.into());
    // As it is asked for is no media type.
    set(&mut answer, CONTENT_TYPE, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    answer
}

fn aggregated(document: Aggregated, headers: &HeaderMap) -> Response {
    if is_known(headers, &document.etag) {
        return unchanged(&document.etag);
    }
    let mut answer = Response::new(Body::from(document.body));
    set(&mut answer, CONTENT_TYPE, &document.content_type);
    set(&mut answer, ETAG, &document.etag);
    for (name, value) in AGGREGATED_HEADERS {
        set(&mut answer, HeaderName::from_static(name), value);
    }
    answer
}

fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes())
}

fn unchanged(etag: &str) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    set(&mut answer, ETAG, etag);
    answer
}

fn set(answer: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
