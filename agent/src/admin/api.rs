//! The questions that are answered at the door, and how.

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use skerry_terms::{AppKey, Chain};
use tracing::{info, warn};

use super::{Desk, view};
use crate::manifests::{ManifestError, TEXT_MAX};
use crate::upgrade::{Refused, Wish};

pub(super) const HEAD_MAX: usize = 16 << 10;
/// A path and a number.
const WISH_MAX: usize = 16 << 10;

/// Never fails: what is wrong is an answer.
pub(super) async fn answer(desk: &Desk, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let method = request.method().clone();
    match (parts.as_slice(), &method) {
        (["healthz"], &Method::GET) => text(StatusCode::OK, "ok\n".to_owned()),
        (["v1", "status"], &Method::GET) => status(desk),
        (["v1", "apps"], &Method::POST) => accept(desk, request).await,
        (["v1", "apps", namespace, name], &Method::DELETE) => match AppKey::new(namespace, name) {
            Ok(key) => remove(desk, key).await,
            Err(why) => wrong(StatusCode::BAD_REQUEST, why.to_string()),
        },
        (["v1", "upgrade"], &Method::POST) => upgrade(desk, request).await,
        (["healthz"] | ["v1", "status"], _) => not_allowed("GET"),
        (["v1", "apps"] | ["v1", "upgrade"], _) => not_allowed("POST"),
        (["v1", "apps", _, _], _) => not_allowed("DELETE"),
        _ => wrong(
            StatusCode::NOT_FOUND,
            format!(
                "{path} is not served; /healthz, /v1/status, /v1/apps, /v1/apps/NAMESPACE/NAME and /v1/upgrade are"
            ),
        ),
    }
}

fn status(desk: &Desk) -> Response<Full<Bytes>> {
    let problems = desk.manifests.problems();
    let problems = problems.into_iter().map(|(file, why)| format!("{file}: {why}")).collect();
    let node = desk.standing.borrow().clone();
    let apps = desk.apps.borrow().clone();
    let upgrade = desk.upgrades.last();
    let report = view::report(&desk.node, &desk.controller, &node, &apps, problems, upgrade);
    match serde_json::to_string_pretty(&report) {
        Ok(text) => answer_with(StatusCode::OK, "application/json", text + "\n"),
        Err(error) => wrong(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn accept(desk: &Desk, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = match Limited::new(request.into_body(), TEXT_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return wrong(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a manifest of more than {TEXT_MAX} bytes is not read"),
            );
        }
        Err(error) => return wrong(StatusCode::BAD_REQUEST, format!("the manifest broke off: {error}")),
    };
    let Ok(manifest) = String::from_utf8(body.into()) else {
        return wrong(StatusCode::BAD_REQUEST, "the manifest is not UTF-8".to_owned());
    };
    let manifests = desk.manifests.clone();
    match tokio::task::spawn_blocking(move || manifests.accept(&manifest)).await {
        Ok(Ok(keys)) => {
            keys.iter().for_each(|key| info!("app={key} was handed over"));
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            json_answer(StatusCode::OK, &json!({ "apps": keys }))
        }
        Ok(Err(error)) => refused(&error),
        Err(panic) => wrong(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()),
    }
}

async fn remove(desk: &Desk, key: AppKey) -> Response<Full<Bytes>> {
    let (manifests, app) = (desk.manifests.clone(), key.clone());
    match tokio::task::spawn_blocking(move || manifests.remove(&app)).await {
        Ok(Ok(())) => {
            info!("app={key} was taken back");
            json_answer(StatusCode::OK, &json!({ "removed": key.to_string() }))
        }
        Ok(Err(error)) => refused(&error),
        Err(panic) => wrong(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()),
    }
}

/// Answers when everything is ready; the agent ends when this conversation has.
async fn upgrade(desk: &Desk, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let body = match Limited::new(request.into_body(), WISH_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return wrong(StatusCode::BAD_REQUEST, format!("the wish cannot be read: {error}")),
    };
    let wish: Wish = match serde_json::from_slice(&body) {
        Ok(wish) => wish,
        Err(error) => {
            let example = r#"{"binary": "/absolute/path", "timeoutSeconds": 60}"#;
            return wrong(StatusCode::BAD_REQUEST, format!("{error}; wanted: {example}"));
        }
    };
    let docker_answers = desk.standing.borrow().docker_ready;
    match desk.upgrades.prepare(wish, docker_answers).await {
        Ok(promise) => {
            let mut response = json_answer(StatusCode::ACCEPTED, &json!(promise));
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            response
        }
        Err(error) => {
            let status = match &error {
                Refused::UnderWay => StatusCode::CONFLICT,
                Refused::Wish(_) => StatusCode::BAD_REQUEST,
                Refused::Unfit { .. } => StatusCode::UNPROCESSABLE_ENTITY,
                Refused::Copy { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let why = Chain(&error).to_string();
            warn!("an upgrade was refused: {why}");
            wrong(status, why)
        }
    }
}

fn refused(error: &ManifestError) -> Response<Full<Bytes>> {
    let status = match error {
        ManifestError::NotHandedOver(_) => StatusCode::NOT_FOUND,
        ManifestError::InFile { .. } => StatusCode::CONFLICT,
        ManifestError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        ManifestError::Document { .. }
        | ManifestError::App { .. }
        | ManifestError::Twice(_)
        | ManifestError::Empty
        | ManifestError::TooMany { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    };
    wrong(status, Chain(error).to_string())
}

fn not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = wrong(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed} is served here"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn wrong(status: StatusCode, why: String) -> Response<Full<Bytes>> {
    json_answer(status, &json!({ "error": why }))
}

fn json_answer(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    answer_with(status, "application/json", format!("{value}\n"))
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    answer_with(status, "text/plain; charset=utf-8", text)
}

fn answer_with(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
