//! Where agents connect. One RPC per node; its frames are checked here and handed to the hub, and the hub's answers are turned
//! into frames. Not here: what to answer.

mod identity;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use skerry_proto::wire::sessions_server::{Sessions, SessionsServer};
use skerry_proto::{caps, wire};
use skerry_terms::NodeName;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

pub use identity::check_plain_text;
pub use receive::{Greeting, Report};
pub use send::Outgoing;

use crate::metrics::Metrics;
use receive::{Frame, FrameError};
use skerry_terms::Chain;

/// How long a new connection may keep its hello to itself.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers that may wait for a slow agent. One set is on its way at a time, so an honest agent never has more than a few.
const OUTGOING: usize = 8;
/// What a peer may have on its way to us before it must wait. HTTP/2's own default; hyper's is sixteen times that, and most of a
/// fleet's reports fit a single frame.
const WINDOW: u32 = 65_535;
/// Streams on one connection: the session, enrolment and tunnels to come.
const STREAMS_MAX: u32 = 64;
/// How long an open connection may outlive the stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What a session tells the hub.
#[derive(Debug)]
pub struct FromSession {
    pub node: NodeName,
    /// Tells the sessions of one node apart.
    pub id: u64,
    pub said: Said,
}

/// What an agent said, or what became of its connection.
#[derive(Debug)]
pub enum Said {
    Hello(Box<Greeting>, Reply),
    Ack(skerry_controller_core::session::Input),
    Report(Report),
    Transitions(skerry_controller_core::transitions::Batch),
    Gone,
}

/// The hub's end of one session. Dropping it ends the session.
#[derive(Debug)]
pub struct Reply {
    pub frames: mpsc::Sender<Outgoing>,
    _ends_reader: DropGuard,
}

impl Reply {
    /// `over` is cancelled when the hub lets go of the session.
    pub fn new(frames: mpsc::Sender<Outgoing>, over: CancellationToken) -> Self {
        Self { frames, _ends_reader: over.drop_guard() }
    }
}

/// Serves agents until `stop` is cancelled.
pub async fn serve(
    listener: TcpListener,
    hub: mpsc::Sender<FromSession>,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let service = SessionsServer::new(Door { hub, metrics, next_id: AtomicU64::new(0) })
        .max_decoding_message_size(caps::REPORT_FRAME_MAX);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = Server::builder()
        .http2_keepalive_interval(Some(caps::KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(caps::KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tokio::select! {
        result = served => result,
        // A connection whose agent does not hang up must not keep the process.
        () = async { stop.cancelled().await; tokio::time::sleep(STOP_GRACE).await } => Ok(()),
    }
}

struct Door {
    hub: mpsc::Sender<FromSession>,
    metrics: Metrics,
    next_id: AtomicU64,
}

#[tonic::async_trait]
impl Sessions for Door {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<wire::ControllerMessage, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let peer = request.remote_addr().map_or("?".to_owned(), |peer| peer.to_string());
        let (frames, outgoing) = mpsc::channel(OUTGOING);
        let reader = Reader {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            hub: self.hub.clone(),
            metrics: self.metrics.clone(),
            peer,
        };
        tokio::spawn(reader.run(request.into_inner(), frames));
        let outgoing = ReceiverStream::new(outgoing)
            .flat_map(|outgoing| futures::stream::iter(outgoing.into_frames()))
            .map(Ok);
        Ok(Response::new(Box::pin(outgoing)))
    }
}

/// Reads one connection.
struct Reader {
    id: u64,
    hub: mpsc::Sender<FromSession>,
    metrics: Metrics,
    peer: String,
}

/// Why a reader ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no hello within {} s", HELLO_TIMEOUT.as_secs())]
    NoHello,
    #[error("the first message is not a hello")]
    NotHello,
    #[error("a second hello")]
    SecondHello,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the connection broke: {}", .0.message())]
    Broken(Status),
    #[error("the agent hung up")]
    HungUp,
    #[error("the session was ended here")]
    Dropped,
}

impl Reader {
    async fn run(self, mut frames: Streaming<wire::AgentMessage>, out: mpsc::Sender<Outgoing>) {
        let (node, over, ended) = match self.greeted(&mut frames).await {
            Ok(greeting) => {
                let node = greeting.node.clone();
                let over = CancellationToken::new();
                let reply = Reply::new(out.clone(), over.clone());
                self.tell(&node, Said::Hello(Box::new(greeting), reply)).await;
                let ended = self.read(&node, &mut frames, &over).await;
                ended.tell_agent(&out);
                self.tell(&node, Said::Gone).await;
                (Some(node), over, ended)
            }
            Err(ended) => {
                ended.tell_agent(&out);
                (None, CancellationToken::new(), ended)
            }
        };
        let node = node.as_ref().map_or("?", NodeName::as_str);
        let peer = &self.peer;
        match ended {
            Ended::Dropped => debug!("node={node} peer={peer} {ended}"),
            Ended::HungUp => info!("node={node} peer={peer} session over: {ended}"),
            // A connection that the hub dropped looks broken from here.
            Ended::Broken(_) if over.is_cancelled() => debug!("node={node} peer={peer} {ended}"),
            Ended::Broken(_) => info!("node={node} peer={peer} session over: {ended}"),
            Ended::NoHello | Ended::NotHello | Ended::SecondHello | Ended::Frame(_) => {
                self.metrics.sessions_broken.inc();
                warn!("node={node} peer={peer} session ended: {}", Chain(&ended));
            }
        }
    }

    async fn greeted(&self, frames: &mut Streaming<wire::AgentMessage>) -> Result<Greeting, Ended> {
        let first = tokio::time::timeout(HELLO_TIMEOUT, frames.message()).await;
        let first = first.map_err(|_| Ended::NoHello)?.map_err(Ended::Broken)?;
        match receive::frame(first.ok_or(Ended::HungUp)?)? {
            Some(Frame::Hello(greeting)) => Ok(*greeting),
            Some(Frame::Ack(_) | Frame::Report(_) | Frame::Transitions(_)) | None => Err(Ended::NotHello),
        }
    }

    async fn read(
        &self,
        node: &NodeName,
        frames: &mut Streaming<wire::AgentMessage>,
        over: &CancellationToken,
    ) -> Ended {
        loop {
            let message = tokio::select! {
                () = over.cancelled() => return Ended::Dropped,
                message = frames.message() => message,
            };
            let frame = match message {
                Ok(Some(message)) => receive::frame(message),
                Ok(None) => return Ended::HungUp,
                Err(status) => return Ended::Broken(status),
            };
            let said = match frame {
                Ok(Some(Frame::Ack(ack))) => Said::Ack(ack),
                Ok(Some(Frame::Report(report))) => Said::Report(report),
                Ok(Some(Frame::Transitions(batch))) => Said::Transitions(batch),
                Ok(Some(Frame::Hello(_))) => return Ended::SecondHello,
                // A kind of message that this build does not know.
                Ok(None) => continue,
                Err(error) => return Ended::Frame(error),
            };
            self.tell(node, said).await;
        }
    }

    /// Waits for room: a busy hub slows its agents down and loses nothing.
    async fn tell(&self, node: &NodeName, said: Said) {
        let message = FromSession { node: node.clone(), id: self.id, said };
        // The hub is gone only when the process is on its way out.
        let _ = self.hub.send(message).await;
    }
}

impl Ended {
    /// Tells an agent what it did wrong.
    fn tell_agent(&self, out: &mpsc::Sender<Outgoing>) {
        match self {
            Ended::NoHello | Ended::NotHello | Ended::SecondHello | Ended::Frame(_) => {
                // An agent that does not even take this finds it in the controller's log.
                let _ = out.try_send(Outgoing::Refusal {
                    reason: skerry_terms::reasons::PROTOCOL_ERROR,
                    message: Chain(self).to_string(),
                });
            }
            Ended::Broken(_) | Ended::HungUp | Ended::Dropped => {}
        }
    }
}
