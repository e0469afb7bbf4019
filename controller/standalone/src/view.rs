//! How an answer looks: the object itself, a Table or its metadata alone, as the Accept header asks for; and the face of an event.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WARNING};
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::sync::Arc;

use crate::accept::{self, Form};
use crate::object;
use crate::read::Listing;
use crate::resource::Origin;
use crate::room::{self, Room, Taken};
use crate::server::Served;
use crate::status::ApiError;
use crate::table::{self, Include, Options};
use crate::write::{Written, parse};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One way to look at objects of one kind.
#[derive(Debug, Clone)]
pub struct View {
    served: Arc<Served>,
    form: Form,
    include: Include,
    /// The columns of a Table have been told: a watch tells them once.
    told: bool,
}

impl View {
    pub fn negotiate(accept: &str, query: &str, served: &Arc<Served>) -> Result<Self, ApiError> {
        let form = accept::form(accept, served.resource.origin)?;
        let asked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "includeObject");
        let include = match (form, asked) {
            (Form::Table(_), Some((_, value))) => Include::parse(&value)?,
            _ => Include::default(),
        };
        Ok(Self { served: served.clone(), form, include, told: false })
    }

    /// Whether objects are sent as they are stored.
    fn is_plain(&self) -> bool {
        self.form == Form::Plain && self.served.is_stored_here()
    }

    fn transform(&self, value: Value) -> Result<Value, ApiError> {
        // The items of a list have been turned one by one.
        let value = if value.get("items").is_some() { value } else { self.served.face_of(value) };
        let options = Options { include: self.include, headers: !self.told, now: Timestamp::now() };
        table::transform(value, self.form, &self.served.resource, &options)
    }

    /// One object of a watch.
    pub fn object(&mut self, stored: &Bytes) -> Result<Bytes, ApiError> {
        if self.is_plain() {
            return Ok(stored.clone());
        }
        let shown = self.transform(read(stored)?)?;
        self.told = true;
        Ok(shown.to_string().into())
    }

    /// A bookmark of a watch.
    pub fn bookmark(&mut self, bookmark: &Value) -> Result<Bytes, ApiError> {
        self.object(&bookmark.to_string().into())
    }

    /// The answer with one object.
    pub fn one(&self, code: StatusCode, stored: &Bytes, warnings: &[String]) -> Result<Response, ApiError> {
        let body =
            if self.is_plain() { stored.clone() } else { self.transform(read(stored)?)?.to_string().into() };
        let mut answer = json_answer(code, body);
        for warning in warnings {
            let text = format!("299 - {}", Value::from(warning.as_str()));
            if let Ok(text) = HeaderValue::from_bytes(text.as_bytes()) {
                answer.headers_mut().append(WARNING, text);
            }
        }
        Ok(answer)
    }

    /// The answer to a write.
    pub fn written(&self, written: &Written) -> Result<Response, ApiError> {
        let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
        self.one(code, &written.object, &written.warnings)
    }

    /// The answer with a list.
    pub fn list(&self, listing: &Listing, room: &Room) -> Result<Response, ApiError> {
        let held = room.take(listing.objects.iter().map(|object| object.value.len()).sum())?;
        let resource = &self.served.resource;
        let mut meta = Map::new();
        meta.insert("resourceVersion".to_owned(), listing.revision.to_string().into());
        if !listing.next.is_empty() || resource.origin == Origin::Custom {
            meta.insert("continue".to_owned(), listing.next.clone().into());
        }
        if let Some(remaining) = listing.remaining.filter(|_| !listing.next.is_empty()) {
            meta.insert("remainingItemCount".to_owned(), remaining.into());
        }
        // The items of a custom kind are stored as they are listed, and thousands of them need not be read for it.
        if self.is_plain() && resource.origin == Origin::Custom {
            let items: usize = listing.objects.iter().map(|object| object.value.len() + 1).sum();
            let mut body = Vec::with_capacity(items + 256);
            body.extend_from_slice(br#"{"apiVersion":"#);
            body.extend_from_slice(Value::from(self.served.api_version.as_str()).to_string().as_bytes());
            body.extend_from_slice(br#","items":["#);
            for (index, object) in listing.objects.iter().enumerate() {
                if index > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(&object.value);
            }
            let rest = json!({"kind": resource.list_kind, "metadata": meta}).to_string();
            body.extend_from_slice(b"],");
            body.extend_from_slice(rest.strip_prefix('{').unwrap_or(&rest).as_bytes());
            return Ok(large_answer(body.into(), held));
        }
        let mut items = Vec::with_capacity(listing.objects.len());
        for object in &listing.objects {
            let mut item = self.served.face_of(parse(object)?);
            if resource.origin == Origin::BuiltIn && self.form == Form::Plain {
                let fields = object::fields(&mut item);
                fields.remove("apiVersion");
                fields.remove("kind");
            }
            items.push(item);
        }
        let list = json!({
            "apiVersion": self.served.api_version, "kind": resource.list_kind, "metadata": meta, "items": items,
        });
        Ok(large_answer(self.transform(list)?.to_string().into(), held))
    }

    /// The answer that goes on: the lines of a watch.
    pub fn stream(lines: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
        let mut answer = Response::new(Body::from_stream(lines));
        answer.headers_mut().insert(CONTENT_TYPE, JSON);
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        answer
    }
}

fn read(stored: &Bytes) -> Result<Value, ApiError> {
    serde_json::from_slice(stored).map_err(ApiError::internal)
}

fn large_answer(text: Bytes, held: Taken) -> Response {
    let mut answer = json_answer(StatusCode::OK, Bytes::new());
    *answer.body_mut() = room::body(text, held);
    answer
}

/// An answer of JSON text.
pub fn json_answer(code: StatusCode, body: Bytes) -> Response {
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// The answer to what was refused.
pub fn refusal(error: &ApiError) -> Response {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if error.is_page() {
        return text_answer(code, format!("{}\n", error.message));
    }
    let mut answer = json_answer(code, error.body().to_string().into());
    if let Some(seconds) =
        error.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0)
    {
        answer.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// An answer of plain text.
pub fn text_answer(code: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut answer = json_answer(code, text.into());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
