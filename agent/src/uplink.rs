//! The one outbound connection: dials the controller, carries frames both ways, dials again. It understands no frame: what a frame means is
//! the session's matter, in the core.
//!
//! Architecture Invariant: tonic is named in this folder and nowhere else.

pub(crate) mod frames;
#[cfg(test)]
mod fuzz;
pub(crate) mod health;
pub(crate) mod reach;
pub(crate) mod transitions;
mod watch;

use std::collections::hash_map::RandomState;
use std::error::Error as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use skerry_agent_core::{DIAL_BACKOFF, Frame, REFUSED_BACKOFF};
use skerry_proto::{caps, wire};
use skerry_terms::Chain;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tracing::{debug, info, warn};

use crate::config::ControllerUrl;
use crate::supervisor::Greeted;
use frames::Heard;
use watch::Watch;

/// How long a connection, and the answer to the first request on it, may take. A packet that opens a connection is sent again after 1 s
/// and 3 s; what is lost then is sooner tried with a new dial.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// A link that stood this long was a good one: the next dial comes soon again.
const STEADY: Duration = Duration::from_secs(30);
/// Frames on their way out: a full status of the largest node, and some. When it is full the link is too slow to be one.
pub const OUTBOX: usize = 2 * caps::APPS_MAX / caps::STATUS_APPS_PER_FRAME;
/// What a peer may send ahead. Small: it is memory of the box, and a set of ordinary size fits.
const WINDOW: u32 = 128 << 10;

/// What happens on the uplink. Between two `Up` there is always a `Down`.
#[derive(Debug)]
pub enum LinkEvent {
    /// A connection stands. Frames for the controller go into the outbox; a reason sent to `close` ends it.
    Up {
        outbox: mpsc::Sender<wire::AgentMessage>,
        close: oneshot::Sender<String>,
    },
    Received(Frame),
    /// The controller greets: what it said beside the frame of it that follows.
    Greeted(Greeted),
    /// The controller has the transitions of a run up to this one.
    Told {
        run: u64,
        upto: u64,
    },
    Down,
}

/// Why a link ended, by what the reader of the log can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unreachable,
    Refused,
    Lost,
}

struct End {
    fault: Fault,
    why: String,
    /// The controller had answered.
    welcomed: bool,
    /// How patient the watch on the next link is.
    patience: Duration,
}

/// Dials until nobody listens. The first try comes at once.
pub async fn run(controller: ControllerUrl, events: mpsc::Sender<LinkEvent>) {
    run_through(controller, tcp, events).await;
}

async fn tcp(endpoint: Endpoint) -> Result<Channel, tonic::transport::Error> {
    endpoint.connect().await
}

/// The same over connections that `connect` makes: where tests put a network of their own.
pub async fn run_through<C, F>(controller: ControllerUrl, connect: C, events: mpsc::Sender<LinkEvent>)
where
    C: Fn(Endpoint) -> F,
    F: Future<Output = Result<Channel, tonic::transport::Error>>,
{
    let mut attempt = 0;
    let mut complaint = None;
    let mut lost = false;
    let mut patience = watch::ANSWER;
    while !events.is_closed() {
        let began = Instant::now();
        let watched = (lost, patience);
        let Some(end) = link(&controller, &connect, watched, &events, &mut complaint).await else { return };
        lost = end.fault != Fault::Refused;
        patience = end.patience;
        if end.welcomed && began.elapsed() >= STEADY {
            attempt = 0;
        }
        if is_news(complaint, end.fault) {
            complain(&controller, &end);
            complaint = Some(end.fault);
        } else {
            debug!("controller {controller}: {}", end.why);
        }
        // Never without a spread: nodes that lost the same controller must not return in the same moment.
        attempt = u32::saturating_add(attempt, 1);
        let backoff = if lost { DIAL_BACKOFF } else { REFUSED_BACKOFF };
        tokio::select! {
            () = tokio::time::sleep(backoff.jittered(attempt, random())) => {}
            () = events.closed() => return,
        }
    }
}

/// True unless the log says so already: a lost controller that cannot be reached either is one and the same trouble.
fn is_news(complaint: Option<Fault>, fault: Fault) -> bool {
    match (complaint, fault) {
        (None, _) => true,
        (Some(Fault::Refused), fault) => fault != Fault::Refused,
        (Some(Fault::Unreachable | Fault::Lost), fault) => fault == Fault::Refused,
    }
}

/// One line when the controller goes away, and one when it is back; the tries in between are silent.
fn complain(controller: &ControllerUrl, end: &End) {
    let why = &end.why;
    match end.fault {
        Fault::Unreachable => warn!(
            "controller {controller} is unreachable: {why}; check its address and that it runs. Containers are kept as they are, dialling goes on"
        ),
        Fault::Refused => warn!("controller {controller}: {why}; dialling goes on"),
        Fault::Lost => {
            warn!("lost controller {controller}: {why}; containers are kept as they are, dialling goes on")
        }
    }
}

/// One link, from dial to end. `None` when nobody listens any more. `watched`: whether it takes the place of a lost one, and the patience of the
/// watch on it.
async fn link<C, F>(
    controller: &ControllerUrl,
    connect: &C,
    watched: (bool, Duration),
    events: &mpsc::Sender<LinkEvent>,
    complaint: &mut Option<Fault>,
) -> Option<End>
where
    C: Fn(Endpoint) -> F,
    F: Future<Output = Result<Channel, tonic::transport::Error>>,
{
    let channel = tokio::select! {
        channel = dial_through(controller, connect) => channel,
        () = events.closed() => return None,
    };
    let channel = match channel {
        Ok(channel) => channel,
        Err(why) => {
            return Some(End { fault: Fault::Unreachable, why, welcomed: false, patience: watched.1 });
        }
    };
    let (outbox, outgoing) = mpsc::channel(OUTBOX);
    let (close, closed) = oneshot::channel();
    events.send(LinkEvent::Up { outbox, close }).await.ok()?;
    let mut welcomed = false;
    let said_welcome = || {
        info!("connected to controller {controller}");
        (*complaint, welcomed) = (None, true);
    };
    let (lost, patience) = watched;
    let mut watch = Watch::new(channel.clone(), lost, patience);
    let (fault, why) = tokio::select! {
        ended = converse(channel, &mut watch, outgoing, events, said_welcome) => ended,
        why = closed => (Fault::Refused, why.unwrap_or_else(|_| "the agent ended the session".to_owned())),
        () = events.closed() => return None,
    };
    events.send(LinkEvent::Down).await.ok()?;
    Some(End { fault, why, welcomed, patience: watch.next_patience() })
}

/// Connects. The one place where an identity will be presented, when there is one.
async fn dial(controller: &ControllerUrl) -> Result<Channel, String> {
    dial_through(controller, &tcp).await
}

async fn dial_through<C, F>(controller: &ControllerUrl, connect: &C) -> Result<Channel, String>
where
    C: Fn(Endpoint) -> F,
    F: Future<Output = Result<Channel, tonic::transport::Error>>,
{
    let endpoint =
        Endpoint::from_shared(controller.to_string()).map_err(|error| Chain(&error).to_string())?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(caps::KEEPALIVE_INTERVAL)
        .keep_alive_timeout(caps::KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .buffer_size(4);
    connect(endpoint).await.map_err(|error| Chain(&error).to_string())
}

/// Carries frames until the link ends, and says why it did.
async fn converse(
    channel: Channel,
    watch: &mut Watch,
    outgoing: mpsc::Receiver<wire::AgentMessage>,
    events: &mpsc::Sender<LinkEvent>,
    said_welcome: impl FnOnce(),
) -> (Fault, String) {
    let mut said_welcome = Some(said_welcome);
    let mut client = wire::sessions_client::SessionsClient::new(channel)
        .max_decoding_message_size(caps::FRAME_MAX)
        .max_encoding_message_size(caps::FRAME_MAX);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.connect(ReceiverStream::new(outgoing))).await;
    let mut incoming = match answer {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return (Fault::Refused, status_text(&status)),
        Err(_elapsed) => {
            return (Fault::Unreachable, format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()));
        }
    };
    loop {
        // Cancel-safe: a message that is half there stays in `incoming`.
        let message = tokio::select! {
            message = incoming.message() => message,
            () = watch.silent() => {
                return (Fault::Lost, format!("no answer within {} s", watch.limit().as_secs()));
            }
        };
        let frame = match message {
            Ok(Some(message)) => frames::decode(message),
            Ok(None) => return (Fault::Lost, "it ended the session".to_owned()),
            Err(status) => return (Fault::Lost, status_text(&status)),
        };
        match frame {
            Ok(Some(heard)) => {
                let heard = match heard {
                    Heard::Welcome(greeted) => {
                        if let Some(said_welcome) = said_welcome.take() {
                            said_welcome();
                        }
                        // An old controller says no more than that it is there.
                        let greeted = greeted.says_something().then_some(LinkEvent::Greeted(greeted));
                        greeted.into_iter().chain([LinkEvent::Received(Frame::Welcome)]).collect()
                    }
                    Heard::Frame(frame) => {
                        match &frame {
                            Frame::Begin { .. } => watch.pause(true),
                            Frame::Commit { .. } => watch.pause(false),
                            Frame::Welcome
                            | Frame::App { .. }
                            | Frame::Remove { .. }
                            | Frame::Refusal { .. } => {}
                        }
                        vec![LinkEvent::Received(frame)]
                    }
                    Heard::Told { run, upto } => vec![LinkEvent::Told { run, upto }],
                };
                for event in heard {
                    if events.send(event).await.is_err() {
                        return (Fault::Lost, "the agent ends".to_owned());
                    }
                }
            }
            // Of a newer controller.
            Ok(None) => debug!("a frame of an unknown kind was ignored"),
            Err(error) => return (Fault::Refused, format!("it sent what cannot be right: {error}")),
        }
    }
}

fn status_text(status: &tonic::Status) -> String {
    match status.source() {
        Some(source) => Chain(source).to_string(),
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

/// Good enough to spread dials: std seeds it from the system's randomness, and every call differs.
pub(crate) fn random() -> u32 {
    let bits = RandomState::new().build_hasher().finish();
    (bits >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::{Fault, is_news, random};

    #[test]
    fn one_trouble_is_told_once() {
        assert!(is_news(None, Fault::Lost));
        assert!(!is_news(Some(Fault::Lost), Fault::Unreachable));
        assert!(!is_news(Some(Fault::Unreachable), Fault::Unreachable));
        assert!(is_news(Some(Fault::Unreachable), Fault::Refused));
        assert!(is_news(Some(Fault::Refused), Fault::Unreachable));
    }

    #[test]
    fn dials_are_spread() {
        let draws: std::collections::BTreeSet<u32> = (0..100).map(|_| random()).collect();
        assert!(draws.len() > 90, "{draws:?}");
        assert!(draws.iter().any(|n| *n > u32::MAX / 2) && draws.iter().any(|n| *n < u32::MAX / 2));
    }
}
