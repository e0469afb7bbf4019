//! The command line's side of the door.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::view::Report;
use crate::upgrade::{Promise, Wish};

/// An answer comes from memory, or from a write to the disk.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A binary is copied to a slow disk, and asked about itself.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(90);
/// A report of the largest node, with room.
const ANSWER_MAX: usize = 16 << 20;

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answers there.
    #[error("no agent answers on {}: {source}", list(tried))]
    NoAgent {
        tried: Vec<PathBuf>,
        #[source]
        source: io::Error,
    },
    /// The agent's own words.
    #[error("{0}")]
    Refused(String),
    #[error("the agent's answer cannot be read: {0}")]
    Garbled(String),
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// An agent that answers on this box.
#[derive(Debug)]
pub struct Agent {
    path: PathBuf,
}

impl Agent {
    /// The first of these sockets on which one answers.
    pub async fn find(sockets: Vec<PathBuf>) -> Result<Self, CallError> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for path in &sockets {
            match UnixStream::connect(path).await {
                Ok(_) => return Ok(Self { path: path.clone() }),
                // What is more than absence is the better reason.
                Err(error) if error.kind() == io::ErrorKind::NotFound && last.kind() != error.kind() => {}
                Err(error) => last = error,
            }
        }
        Err(CallError::NoAgent { tried: sockets, source: last })
    }

    pub fn socket(&self) -> &Path {
        &self.path
    }

    pub async fn status(&self) -> Result<Report, CallError> {
        let value = self.call(Method::GET, "/v1/status", String::new()).await?;
        serde_json::from_value(value).map_err(|error| CallError::Garbled(error.to_string()))
    }

    /// Hands over a manifest. The keys of its apps.
    pub async fn accept(&self, manifest: String) -> Result<Vec<String>, CallError> {
        let value = self.call(Method::POST, "/v1/apps", manifest).await?;
        let keys = value.get("apps").cloned().unwrap_or_default();
        serde_json::from_value(keys).map_err(|error| CallError::Garbled(error.to_string()))
    }

    /// Takes back an app that was handed over, by `namespace/name`.
    pub async fn remove(&self, key: &str) -> Result<(), CallError> {
        self.call(Method::DELETE, &format!("/v1/apps/{key}"), String::new()).await.map(drop)
    }

    /// Has another version take over; answered when that begins.
    pub async fn upgrade(&self, wish: &Wish) -> Result<Promise, CallError> {
        let garbled = |error: serde_json::Error| CallError::Garbled(error.to_string());
        let body = serde_json::to_string(wish).map_err(garbled)?;
        let value = self.call_for(UPGRADE_TIMEOUT, Method::POST, "/v1/upgrade", body).await?;
        serde_json::from_value(value).map_err(garbled)
    }

    async fn call(&self, method: Method, path: &str, body: String) -> Result<Value, CallError> {
        self.call_for(TIMEOUT, method, path, body).await
    }

    async fn call_for(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<Value, CallError> {
        match tokio::time::timeout(limit, self.talk(method, path, body)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(CallError::Garbled(format!("it took longer than {} s", limit.as_secs()))),
        }
    }

    async fn talk(&self, method: Method, path: &str, body: String) -> Result<Value, CallError> {
        let garbled = |error: &dyn std::fmt::Display| CallError::Garbled(error.to_string());
        let stream = UnixStream::connect(&self.path)
            .await
            .map_err(|source| CallError::NoAgent { tried: vec![self.path.clone()], source })?;
        let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(|error| garbled(&error))?;
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|error| garbled(&error))?;
        request.headers_mut().insert(HOST, HeaderValue::from_static("skerry-agent"));
        let talk = async {
            let response = sender.send_request(request).await.map_err(|error| garbled(&error))?;
            let good = response.status().is_success();
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
            let body = body.map_err(|error| garbled(&error))?.to_bytes();
            let value: Value = serde_json::from_slice(&body).map_err(|error| garbled(&error))?;
            match (good, value.get("error").and_then(Value::as_str)) {
                (true, _) => Ok(value),
                (false, Some(why)) => Err(CallError::Refused(why.to_owned())),
                (false, None) => Err(CallError::Garbled(value.to_string())),
            }
        };
        // The connection is driven beside the talk, and ends with it.
        let drive = async {
            let _ = connection.await;
            std::future::pending().await
        };
        tokio::select! {
            answer = talk => answer,
            never = drive => never,
        }
    }
}
