//! The uplink against a real gRPC server in the same process: what it dials, carries, and does when the other end goes away.

mod network;
mod resume;

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use skerry_agent::uplink::{self, LinkEvent};
use skerry_agent_core::Frame;
use skerry_proto::wire;
use skerry_proto::wire::sessions_server::{Sessions, SessionsServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use wire::controller_message::Kind;

type Answer = Result<wire::ControllerMessage, Status>;

/// Hands both ends of each session to the test.
struct Server {
    sessions: mpsc::Sender<(Streaming<wire::AgentMessage>, mpsc::Sender<Answer>)>,
}

#[tonic::async_trait]
impl Sessions for Server {
    type ConnectStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (answers, stream) = mpsc::channel(8);
        let session = (request.into_inner(), answers);
        self.sessions.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

type Accepted = mpsc::Receiver<(Streaming<wire::AgentMessage>, mpsc::Sender<Answer>)>;

async fn serve(address: SocketAddr) -> (SocketAddr, Accepted, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let (sessions, accepted) = mpsc::channel(4);
    let server = tonic::transport::Server::builder().add_service(SessionsServer::new(Server { sessions }));
    let task = tokio::spawn(async move {
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("served");
    });
    (address, accepted, task)
}

fn dial(address: SocketAddr) -> mpsc::Receiver<LinkEvent> {
    let (events, received) = mpsc::channel(4);
    let url = format!("http://{address}").parse().expect("loopback");
    tokio::spawn(uplink::run(url, events));
    received
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

fn welcome() -> Answer {
    Ok(wire::ControllerMessage { kind: Some(Kind::Welcome(wire::Welcome::default())) })
}

#[tokio::test]
async fn frames_travel_both_ways_and_a_lost_link_is_dialled_again() {
    let (address, mut accepted, server) = serve(([127, 0, 0, 1], 0).into()).await;
    let mut events = dial(address);
    let Some(LinkEvent::Up { outbox, close: _close }) = soon("a link", events.recv()).await else {
        panic!("no link")
    };
    let hello = wire::Hello { node: "box-7".to_owned(), ..Default::default() };
    let kind = Some(wire::agent_message::Kind::Hello(hello));
    outbox.send(wire::AgentMessage { kind: kind.clone() }).await.expect("room");
    let (mut said, answers) = soon("a session", accepted.recv()).await.expect("the server runs");
    assert_eq!(soon("the hello", said.message()).await.expect("a frame").expect("a frame").kind, kind);

    answers.send(welcome()).await.expect("sent");
    // A kind of a newer controller is skipped.
    answers.send(Ok(wire::ControllerMessage { kind: None })).await.expect("sent");
    let refusal = wire::Refusal { reason: "R".to_owned(), message: "m".to_owned() };
    answers.send(Ok(wire::ControllerMessage { kind: Some(Kind::Refusal(refusal)) })).await.expect("sent");
    assert!(matches!(soon("welcome", events.recv()).await, Some(LinkEvent::Received(Frame::Welcome))));
    assert!(matches!(soon("refusal", events.recv()).await, Some(LinkEvent::Received(Frame::Refusal { .. }))));

    drop((answers, said));
    server.abort();
    assert!(matches!(soon("down", events.recv()).await, Some(LinkEvent::Down)));
    let (_, mut accepted, _server) = serve(address).await;
    assert!(matches!(soon("a new link", events.recv()).await, Some(LinkEvent::Up { .. })));
    drop(accepted.recv());
}

#[tokio::test]
async fn the_agent_can_hang_up_with_a_reason() {
    let (address, mut accepted, _server) = serve(([127, 0, 0, 1], 0).into()).await;
    let mut events = dial(address);
    let Some(LinkEvent::Up { outbox, close }) = soon("a link", events.recv()).await else {
        panic!("no link")
    };
    let (mut said, answers) = soon("a session", accepted.recv()).await.expect("the server runs");
    answers.send(welcome()).await.expect("sent");
    assert!(matches!(soon("welcome", events.recv()).await, Some(LinkEvent::Received(Frame::Welcome))));
    close.send("enough".to_owned()).expect("the link stands");
    drop(outbox);
    assert!(matches!(soon("down", events.recv()).await, Some(LinkEvent::Down)));
    assert!(!matches!(soon("the end", said.message()).await, Ok(Some(_))), "the session has ended");
}

#[tokio::test]
async fn a_frame_that_cannot_be_right_ends_the_link() {
    let (address, mut accepted, _server) = serve(([127, 0, 0, 1], 0).into()).await;
    let mut events = dial(address);
    let Some(LinkEvent::Up { outbox: _outbox, close: _close }) = soon("a link", events.recv()).await else {
        panic!("no link")
    };
    let (_said, answers) = soon("a session", accepted.recv()).await.expect("the server runs");
    let commit = Kind::Commit(wire::Commit { digest: vec![1, 2, 3] });
    answers.send(Ok(wire::ControllerMessage { kind: Some(commit) })).await.expect("sent");
    assert!(matches!(soon("down", events.recv()).await, Some(LinkEvent::Down)));
}

/// Ten seconds from the moment at which the link is back: what the controller says by then arrives. SKERRY_RESUME_CUTS says over how many
/// cuts (80); `make bench` reads the figure.
#[tokio::test(start_paused = true)]
async fn after_a_cut_of_any_kind_the_session_is_soon_back() {
    let cuts = std::env::var("SKERRY_RESUME_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(400);
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let all = resume::measure(cuts, &mut |below| rng.u64(..below)).await;
    let p99 = resume::quantile(&all, 0.99);
    eprintln!("resume_p99_s={:.3} over {cuts} cuts, seed {seed}", p99.as_secs_f64());
    for how in network::CUTS {
        if let Some(slowest) =
            all.iter().filter(|resumed| resumed.how == how).max_by_key(|resumed| resumed.after)
        {
            eprintln!("{how:?}: at most {:?}, after a cut of {:?}", slowest.after, slowest.cut);
        }
    }
    assert!(p99 <= Duration::from_secs(10), "seed {seed}: {all:?}");
}

/// What the agent says first, the status of all apps, is in front of the watch's question.
#[tokio::test(start_paused = true)]
async fn a_slow_uplink_stands_after_a_cut() {
    let (links, stands) = resume::links_of_a_slow_uplink(Duration::from_secs(12)).await;
    assert!(stands && (2..=4).contains(&links), "{links} links, stands: {stands}");
}

#[tokio::test]
async fn a_check_finds_the_controller_and_its_clock_and_begins_no_session() {
    let (address, mut accepted, _server) = serve(([127, 0, 0, 1], 0).into()).await;
    let url = format!("http://{address}");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_skerry-agent"));
    command.args(["check", "--only", "controller,clock-offset", "-o", "json", "--controller", &url]);
    command.args(["--node-name", "box", "--state-dir", "/nonexistent/state"]);
    let output = soon("the check", command.output()).await.expect("it runs");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{report:#}");
    let checks = report["checks"].as_array().expect("a list");
    let found: Vec<_> = checks.iter().map(|check| check["found"].as_str().expect("text")).collect();
    let [controller, offset] = found.as_slice() else { panic!("{report:#}") };
    assert!(controller.starts_with(&format!("{url} answers")), "{controller}");
    assert_eq!(*offset, "within 5 s of the controller's clock");
    assert!(accepted.try_recv().is_err(), "a session was begun");
}
