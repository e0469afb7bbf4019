//! One connection from its first byte to its end: TLS, the requests and who makes them, and how long it may be idle.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use rustls::server::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

use super::body::Outgoing;
use crate::access::{Identity, Peer, Users};
use crate::status::ApiError;

/// From the first byte to the end of the handshake: a few round trips, on a link as bad as a satellite's.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the head of an HTTP/1 request, as the real server's.
const HEADER_TIMEOUT: Duration = Duration::from_secs(32);
/// Without a request in flight, after one that was let in: as Go's clients, which close after the same time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// The same for a stranger, who must not hold one of the few connections for long.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(10);
/// For the answers in flight when the server stops or an idle connection is closed. Service managers wait longer.
const GRACE: Duration = Duration::from_secs(5);
/// The head of a request: long selectors and tokens have some kilobytes.
const MAX_HEADER: u32 = 64 * 1024;
/// HTTP/2: watches and requests of one client at once; Go's default.
const MAX_STREAMS: u32 = 250;
/// HTTP/2: finds out that the other side is gone, where only a watch is open and nothing happens.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// What is read of a plain HTTP request before the connection is closed, so that the answer is not lost to a reset.
const MAX_PLAIN: usize = 64 * 1024;
const PLAIN_LINGER: Duration = Duration::from_secs(1);

/// What all connections share.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) tls: Arc<ServerConfig>,
    pub(super) users: Arc<Users>,
    pub(super) stop: CancellationToken,
}

/// Serves a connection to its end. Its errors are the client's, and of no interest to anybody else.
pub(super) async fn run<S>(stream: TcpStream, door: Door, service: S)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    // Events are small and are waited for.
    let _ = stream.set_nodelay(true);
    let from = stream.peer_addr().ok();
    let stream = tokio::select! {
        () = door.stop.cancelled() => return,
        shaken = timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, door.tls.clone())) => match shaken {
            Ok(Ok(Some(stream))) => stream,
            Ok(Ok(None)) => return,
            Ok(Err(error)) => return tracing::debug!(?from, %error, "no TLS with a client of the API"),
            Err(_) => return tracing::debug!(?from, "a client of the API did not finish the TLS handshake"),
        },
    };
    let (_, session) = stream.get_ref();
    let is_h2 = session.alpn_protocol() == Some(b"h2");
    let peer =
        session.peer_certificates().and_then(<[_]>::first).and_then(|first| Peer::from_certificate(first));
    let activity = Arc::new(Activity::new(peer.is_some()));
    let Door { users, stop, .. } = door;
    let answering = {
        let (activity, stop) = (activity.clone(), stop.clone());
        service_fn(move |request: Request<Incoming>| {
            let busy = Busy::new(activity.clone());
            let mut request = request.map(Body::new);
            let identity = identify(peer.as_ref(), &users, request.headers());
            let (activity, stop, service) = (activity.clone(), stop.clone(), service.clone());
            async move {
                let response = match identity {
                    Some(identity) => {
                        activity.known();
                        // Nobody inside needs the secret, so nobody can log it.
                        request.headers_mut().remove(AUTHORIZATION);
                        request.extensions_mut().insert(identity);
                        match service.oneshot(request).await {
                            Ok(response) => response,
                            Err(never) => match never {},
                        }
                    }
                    None => unauthorized(),
                };
                Ok::<_, Infallible>(response.map(|body| Outgoing::body(body, busy, &stop)))
            }
        })
    };
    let stream = TokioIo::new(stream);
    // By what TLS agreed on, and not by looking at the first bytes, which may never come.
    if is_h2 {
        let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        until_end(http.serve_connection(stream, answering), &activity, &stop).await;
    } else {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADER as usize);
        until_end(http.serve_connection(stream, answering), &activity, &stop).await;
    }
}

/// Drives a connection until the client ends it, the server stops, or it is idle for too long.
async fn until_end(connection: impl GracefulConnection, activity: &Activity, stop: &CancellationToken) {
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = activity.idle_for_too_long() => {}
    }
    connection.as_mut().graceful_shutdown();
    // Whoever does not read its answer is cut off.
    let _ = timeout(GRACE, connection).await;
}

/// TLS; None if the client has gone or does not speak it.
async fn shake_hands(
    mut stream: TcpStream,
    tls: Arc<ServerConfig>,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    // TLS begins with 22; an HTTP method with a letter.
    if first[0].is_ascii_uppercase() {
        // What Go's server says, word for word.
        let answer = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        stream.write_all(answer).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(MAX_PLAIN as u64);
        let _ = timeout(PLAIN_LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
        return Ok(None);
    }
    TlsAcceptor::from(tls).accept(stream).await.map(Some)
}

/// By certificate if there is one, else by token, as in Kubernetes.
fn identify(peer: Option<&Peer>, users: &Users, headers: &HeaderMap) -> Option<Arc<Identity>> {
    peer.and_then(|peer| peer.identity(SystemTime::now()))
        .cloned()
        .or_else(|| users.find(bearer(headers.get(AUTHORIZATION)?)?))
}

/// The token of an Authorization header; the scheme's case does not matter.
fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, rest) = header.to_str().ok()?.trim().split_once(' ')?;
    let token = rest.split(' ').next().filter(|token| !token.is_empty());
    token.filter(|_| scheme.eq_ignore_ascii_case("bearer"))
}

fn unauthorized() -> Response<Body> {
    let mut response = Response::new(Body::from(ApiError::unauthorized().body().to_string()));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// What happens on a connection.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Told when the last request in flight has ended.
    quiet: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    in_flight: usize,
    quiet_since: Instant,
    patience: Duration,
}

impl Activity {
    fn new(is_known: bool) -> Self {
        let patience = if is_known { IDLE_TIMEOUT } else { STRANGER_TIMEOUT };
        let state = State { in_flight: 0, quiet_since: Instant::now(), patience };
        Self { state: Mutex::new(state), quiet: Notify::new() }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A request was let in.
    fn known(&self) {
        self.change(|state| state.patience = IDLE_TIMEOUT);
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when nothing has been in flight for as long as is allowed.
    async fn idle_for_too_long(&self) {
        loop {
            let before = self.state();
            if before.in_flight > 0 {
                self.quiet.notified().await;
                continue;
            }
            sleep_until(before.quiet_since + before.patience).await;
            if self.state() == before {
                return;
            }
        }
    }
}

/// A request in flight, from its head to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    fn new(activity: Arc<Activity>) -> Self {
        activity.change(|state| state.in_flight += 1);
        Self(activity)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.in_flight -= 1;
            state.quiet_since = Instant::now();
        });
        self.0.quiet.notify_one();
    }
}
