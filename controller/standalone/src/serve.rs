//! The HTTPS door: accepts connections, finds out who is behind each request, and hands it on with the `Arc<Identity>` in its
//! extensions. Who is nobody is answered 401 here, whatever was asked for. Everything that a stranger can hold on to has a bound;
//! the size of bodies is the bound of whoever reads them.

mod body;
mod connection;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::server::{NoServerSessionStorage, ServerConfig, VerifierBuilderError, WebPkiClientVerifier};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::access::{Authority, ServerCert, Users};

/// Connections at once; the next ones wait in the kernel's queue. One client has one or two, and a process has 1,024 descriptors
/// where nobody has raised that.
const MAX_CONNECTIONS: usize = 256;
/// After a failed accept: whatever it lacks, descriptors or memory, is not there again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// An address that must not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "refusing to serve the API on {0}, which other machines may reach: by default it is for this machine alone; pass \
         --allow-remote if they are to reach it (they still need a client certificate or a token, and --tls-san for the names \
         that they use), or listen on 127.0.0.1:{port}",
        port = .0.port()
    )]
    Remote(SocketAddr),
}

/// Passes addresses that this machine alone reaches, and with `allow_remote` any.
pub fn check_listen(address: SocketAddr, allow_remote: bool) -> Result<(), ListenError> {
    if allow_remote || address.ip().to_canonical().is_loopback() {
        Ok(())
    } else {
        Err(ListenError::Remote(address))
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the API's certificate authority cannot be trusted")]
    Authority(#[source] rustls::Error),
    #[error("failed to set up the verification of client certificates")]
    Verifier(#[from] VerifierBuilderError),
    #[error("failed to set up TLS")]
    Versions(#[source] rustls::Error),
}

/// TLS 1.2 and 1.3, client certificates of the authority or none.
pub fn tls_config(authority: &Authority, served: Arc<ServerCert>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).map_err(TlsError::Authority)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Versions)?
        .with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        .with_cert_resolver(served);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would carry a client certificate past its verification; a whole handshake takes a millisecond.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Serves until `stop`; then streams such as watches end, what is being answered is, and after a few seconds everything is cut.
pub async fn serve<S>(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    users: Arc<Users>,
    service: S,
    stop: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let next = async || {
        if slots.available_permits() == 0 {
            tracing::warn!("all {MAX_CONNECTIONS} connections to the API are in use; new ones wait");
        }
        let slot = slots.clone().acquire_owned().await.ok()?;
        Some((slot, accepted(|| listener.accept()).await))
    };
    loop {
        let connection = tokio::select! {
            () = stop.cancelled() => break,
            next = next() => next,
        };
        // The semaphore is never closed.
        let Some((slot, stream)) = connection else { break };
        let door = connection::Door { tls: tls.clone(), users: users.clone(), stop: stop.clone() };
        let service = service.clone();
        connections.spawn(async move {
            connection::run(stream, door, service).await;
            drop(slot);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The next connection. An accept that fails is tried again, but not in a busy loop.
async fn accepted<A>(mut accept: impl FnMut() -> A) -> TcpStream
where
    A: Future<Output = io::Result<(TcpStream, SocketAddr)>>,
{
    loop {
        match accept().await {
            Ok((stream, _)) => return stream,
            // The client has gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection to the API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
