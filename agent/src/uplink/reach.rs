//! Is there a controller: a connection and one question of gRPC that no session begins with. For people who check a box.

use std::future::poll_fn;

use skerry_terms::Chain;
use tonic::body::Body;
use tonic::client::GrpcService as _;
use tonic::codegen::http;

use super::dial;
use crate::config::ControllerUrl;

/// A method that no controller has: it answers so, and nothing of its changes.
const PATH: &str = "/skerry.v1.Sessions/Reach";

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// It speaks gRPC, as a controller does.
    pub grpc: bool,
    /// Its clock, as HTTP says it: `Sat, 28 Nov 2026 01:02:03 GMT`.
    pub date: Option<String>,
}

/// Asks. Fails with words. What an identity needs, [`dial`] brings.
pub async fn reach(controller: &ControllerUrl) -> Result<Reached, String> {
    let mut channel = dial(controller).await?;
    let words = |error: tonic::transport::Error| Chain(&error).to_string();
    let mut request = http::Request::new(Body::empty());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(PATH);
    let content = http::HeaderValue::from_static("application/grpc");
    request.headers_mut().insert(http::header::CONTENT_TYPE, content);
    poll_fn(|cx| channel.poll_ready(cx)).await.map_err(words)?;
    let answer = channel.call(request).await.map_err(words)?;
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    Ok(Reached {
        grpc: header("content-type").is_some_and(|kind| kind.starts_with("application/grpc")),
        date: header("date").map(str::to_owned),
    })
}
