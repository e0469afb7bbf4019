//! The box's own door: HTTP over a Unix socket, for the command line and for scripts on the box. It shows what the supervisor has published and
//! hands manifests to their keeper; it decides nothing. `curl --unix-socket /run/skerry/agent.sock http://box/v1/status` works.

mod api;
pub mod client;
mod socket;
pub mod view;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, info, warn};

use crate::manifests::Manifests;
use crate::supervisor::{NodeStanding, Standings};
use crate::upgrade::Upgrades;

pub use socket::{Bound, DEFAULT_SOCKET, candidates};

/// Conversations at once. The next waits in the socket's queue.
const CALLERS_MAX: usize = 8;
/// A conversation is a question or two; who holds the line longer is cut off.
const CONVERSATION_MAX: Duration = Duration::from_secs(60);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure to accept, such as of file descriptors, for others to end.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What can be seen and done at the door.
#[derive(Debug, Clone)]
pub struct Desk {
    pub node: String,
    pub controller: String,
    pub standing: watch::Receiver<NodeStanding>,
    pub apps: watch::Receiver<Arc<Standings>>,
    pub manifests: Arc<Manifests>,
    pub upgrades: Arc<Upgrades>,
}

/// Opens the first socket of [`candidates`] that can be had. Without any the agent works all the same, and says so.
pub fn open(wanted: Option<&Path>, state_dir: &Path) -> Option<Bound> {
    let mut tried = Vec::new();
    for path in candidates(wanted, state_dir) {
        match socket::bind(&path) {
            Ok(bound) => {
                match tried.is_empty() {
                    true => info!("answering on {}", path.display()),
                    false => info!("answering on {}, because {}", path.display(), tried.join("; ")),
                }
                return Some(bound);
            }
            Err(error) => tried.push(format!("{}: {error}", path.display())),
        }
    }
    let tried = tried.join("; ");
    warn!(
        "nobody on this box can ask the agent: {tried}. Name another place with --admin-socket; apps run all the same"
    );
    None
}

/// Answers until it is dropped.
pub async fn serve(bound: Bound, desk: Desk) {
    let Bound { listener, lock: _lock } = bound;
    let callers = Arc::new(Semaphore::new(CALLERS_MAX));
    loop {
        let Ok(caller) = callers.clone().acquire_owned().await else { return };
        let Some(stream) = accept(&listener).await else { continue };
        let desk = desk.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let desk = desk.clone();
                async move { Ok::<_, Infallible>(api::answer(&desk, request).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(api::HEAD_MAX);
            let conversation = http.serve_connection(TokioIo::new(stream), answer);
            match tokio::time::timeout(CONVERSATION_MAX, conversation).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(error)) => debug!("a caller hung up: {error}"),
            }
            // What was promised in it begins only now, so that the promise is heard.
            desk.upgrades.answered();
            drop(caller);
        });
    }
}

async fn accept(listener: &UnixListener) -> Option<tokio::net::UnixStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            warn!("cannot take a call: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
