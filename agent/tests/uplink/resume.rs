//! How soon a session stands again when its link is back, over many random cuts, in paused time with the real uplink and a real gRPC server
//! that keeps a link alive as the controller does. Also what `make bench` measures.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use hyper_util::rt::TokioIo;
use skerry_agent::uplink::{self, LinkEvent};
use skerry_agent_core::Frame;
use skerry_proto::wire::controller_message::Kind;
use skerry_proto::wire::sessions_server::{Sessions, SessionsServer};
use skerry_proto::{caps, wire};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status, Streaming};

use super::network::{CUTS, Cut, Network};

/// How often the server says something while it is watched when that arrives.
const EVERY: Duration = Duration::from_millis(100);

type Answer = Result<wire::ControllerMessage, Status>;

/// A server of sessions that says welcome, and hands each session over.
struct Server {
    sessions: mpsc::Sender<mpsc::Sender<Answer>>,
}

#[tonic::async_trait]
impl Sessions for Server {
    type ConnectStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (answers, stream) = mpsc::channel(8);
        let mut said = request.into_inner();
        tokio::spawn(async move { while let Ok(Some(_)) = said.message().await {} });
        self.sessions.send(answers).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

/// One cut, and how long it took until the session stood again.
#[derive(Debug, Clone, Copy)]
pub struct Resumed {
    pub how: Cut,
    /// How long the link was cut.
    pub cut: Duration,
    /// From the moment at which the link was back.
    pub after: Duration,
}

/// Cuts the link `cuts` times for 1 to 120 s, in every way there is, with calm of 1 to 300 s in between. For a runtime with paused time.
pub async fn measure(cuts: usize, random: &mut impl FnMut(u64) -> u64) -> Vec<Resumed> {
    let Scene { network, mut opened, mut received, tasks } = scene(|network| network);
    let mut talk = Talk { session: None, held: None };
    talk.hear(&mut opened, &mut received).await;
    let mut all = Vec::new();
    for at in 0..cuts {
        talk.calm(&mut opened, &mut received, Duration::from_millis(1000 + random(299_000))).await;
        let how = CUTS[at % CUTS.len()];
        let cut = Duration::from_millis(1000 + random(119_000));
        network.cut(how);
        talk.calm(&mut opened, &mut received, cut).await;
        network.mend();
        let back = Instant::now();
        talk.hear(&mut opened, &mut received).await;
        all.push(Resumed { how, cut, after: back.elapsed() });
    }
    tasks.iter().for_each(JoinHandle::abort);
    all
}

/// How many links there were in an hour after a cut, where the agent's words take `up` to arrive, and whether the last one stands.
pub async fn links_of_a_slow_uplink(up: Duration) -> (usize, bool) {
    let Scene { network, mut opened, mut received, tasks } = scene(|network| network.with_slow_uplink(up));
    let mut held = received.recv().await;
    let _session = opened.recv().await;
    // Only a session that stood is one that can be lost.
    tokio::time::sleep(EVERY).await;
    network.cut(Cut::Clean);
    tokio::time::sleep(EVERY).await;
    network.mend();
    let (mut links, end) = (0, Instant::now() + Duration::from_secs(3600));
    while let Ok(Some(event)) = tokio::time::timeout_at(end, received.recv()).await {
        links += usize::from(matches!(event, LinkEvent::Up { .. }));
        held = Some(event);
    }
    tasks.iter().for_each(JoinHandle::abort);
    (links, matches!(held, Some(LinkEvent::Up { .. })))
}

/// The real uplink and a real server, with a network between them.
struct Scene {
    network: Network,
    opened: mpsc::Receiver<mpsc::Sender<Answer>>,
    received: mpsc::Receiver<LinkEvent>,
    tasks: [JoinHandle<()>; 2],
}

fn scene(with: impl FnOnce(Network) -> Network) -> Scene {
    let (accept, accepted) = mpsc::channel(4);
    let (sessions, opened) = mpsc::channel(64);
    let network = with(Network::new(accept));
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(caps::KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(caps::KEEPALIVE_TIMEOUT))
        .add_service(SessionsServer::new(Server { sessions }))
        .serve_with_incoming(ReceiverStream::new(accepted));
    let server = tokio::spawn(async move { server.await.expect("served") });
    let (events, received) = mpsc::channel(16);
    let wires = network.clone();
    let connect = move |endpoint: Endpoint| {
        let wires = wires.clone();
        async move {
            let connector = tower_service(move || {
                let wires = wires.clone();
                async move { wires.dial().await.map(TokioIo::new) }
            });
            endpoint.connect_with_connector(connector).await
        }
    };
    let url = "http://127.0.0.1:1".parse().expect("loopback");
    let uplink = tokio::spawn(uplink::run_through(url, connect, events));
    Scene { network, opened, received, tasks: [uplink, server] }
}

/// What both ends have of the link.
struct Talk {
    /// The server's end of the newest session.
    session: Option<mpsc::Sender<Answer>>,
    /// The agent's, which keeps the link up.
    held: Option<LinkEvent>,
}

impl Talk {
    /// Lets time go by.
    async fn calm(
        &mut self,
        opened: &mut mpsc::Receiver<mpsc::Sender<Answer>>,
        received: &mut mpsc::Receiver<LinkEvent>,
        time: Duration,
    ) {
        let end = tokio::time::sleep(time);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                Some(session) = opened.recv() => self.open(session),
                Some(event) = received.recv() => { self.take(event); }
            }
        }
    }

    /// Waits until something that the server says from now on arrives.
    async fn hear(
        &mut self,
        opened: &mut mpsc::Receiver<mpsc::Sender<Answer>>,
        received: &mut mpsc::Receiver<LinkEvent>,
    ) {
        loop {
            tokio::select! {
                biased;
                Some(session) = opened.recv() => self.open(session),
                Some(event) = received.recv() => if self.take(event) { return },
                () = tokio::time::sleep(EVERY) => {
                    let welcome = wire::ControllerMessage { kind: Some(Kind::Welcome(wire::Welcome::default())) };
                    if let Some(session) = &self.session {
                        let _ = session.try_send(Ok(welcome));
                    }
                }
            }
        }
    }

    fn open(&mut self, session: mpsc::Sender<Answer>) {
        self.session = Some(session);
    }

    /// True for a word of the server.
    fn take(&mut self, event: LinkEvent) -> bool {
        match event {
            LinkEvent::Received(frame) => frame == Frame::Welcome,
            LinkEvent::Greeted(_) | LinkEvent::Told { .. } => false,
            up @ LinkEvent::Up { .. } => {
                self.held = Some(up);
                false
            }
            LinkEvent::Down => {
                self.held = None;
                false
            }
        }
    }
}

/// A connector from a function.
fn tower_service<F, T>(
    dial: impl Fn() -> F + Clone + Send + 'static,
) -> impl tonic::codegen::Service<
    tonic::codegen::http::Uri,
    Response = T,
    Error = std::io::Error,
    Future = Pin<Box<dyn Future<Output = std::io::Result<T>> + Send>>,
> + Send
+ 'static
where
    F: Future<Output = std::io::Result<T>> + Send + 'static,
    T: Send + 'static,
{
    tower::service_fn(move |_: tonic::codegen::http::Uri| {
        Box::pin(dial()) as Pin<Box<dyn Future<Output = std::io::Result<T>> + Send>>
    })
}

/// The time within which this share of the sessions stood again.
pub fn quantile(all: &[Resumed], share: f64) -> Duration {
    let mut times: Vec<Duration> = all.iter().map(|resumed| resumed.after).collect();
    times.sort();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "hundreds"
    )]
    let at = (times.len() as f64 * share).ceil() as usize;
    times[at.clamp(1, times.len()) - 1]
}
