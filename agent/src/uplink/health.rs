//! The client of `grpc.health.v1.Health`, for gRPC probes. It is here and not with the probes because tonic is named in this folder alone.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use skerry_terms::Chain;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

/// Version 1 of the protocol: <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>.
const CHECK: &str = "/grpc.health.v1.Health/Check";
const SERVING: i32 = 1;
/// An answer is two bytes. A server that sends more is no health service.
const ANSWER_MAX: usize = 4 << 10;
const USER_AGENT: &str = concat!("skerry-probe/", env!("CARGO_PKG_VERSION"));

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct HealthCheckResponse {
    /// Of `ServingStatus`.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Asks on a connection of its own. Anything but SERVING is an error, in kubelet's words.
pub async fn check(address: IpAddr, port: NonZeroU16, service: &str) -> Result<(), String> {
    let address = SocketAddr::new(address, port.get());
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|error| Chain(&error).to_string())?;
    let endpoint = endpoint.user_agent(USER_AGENT).map_err(|error| Chain(&error).to_string())?;
    let channel = endpoint.buffer_size(1).connect().await;
    let channel =
        channel.map_err(|error| format!("failed to connect service \"{address}\": {}", Chain(&error)))?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(ANSWER_MAX);
    client.ready().await.map_err(|error| Chain(&error).to_string())?;
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    match client.unary(request, PathAndQuery::from_static(CHECK), codec).await {
        Ok(response) if response.get_ref().status == SERVING => Ok(()),
        Ok(response) => {
            Err(format!("service unhealthy (responded with \"{}\")", status_name(response.get_ref().status)))
        }
        Err(status) if status.code() == Code::Unimplemented => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        )),
        Err(status) => Err(format!("error: health rpc probe failed: {}", super::status_text(&status))),
    }
}

/// Asks the other end of a channel that stands; whatever it answers, it is there. A controller has no health service, and says so.
pub async fn answers(channel: Channel) {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(ANSWER_MAX);
    if client.ready().await.is_ok() {
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        let request = Request::new(HealthCheckRequest::default());
        let _ = client.unary(request, PathAndQuery::from_static(CHECK), codec).await;
    }
}

fn status_name(status: i32) -> &'static str {
    match status {
        0 => "UNKNOWN",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "a status of no known meaning",
    }
}
