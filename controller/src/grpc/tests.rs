//! The door over a real connection: what breaks the protocol ends its own session, with a word for the agent.

use skerry_proto::wire::agent_message::Kind;
use skerry_proto::wire::controller_message::Kind as Told;
use skerry_proto::wire::sessions_client::SessionsClient;
use tonic::transport::Channel;

use super::*;

/// A served door, and the hub's end of it.
struct Served {
    address: String,
    hub: mpsc::Receiver<FromSession>,
    _stop: DropGuard,
}

async fn serve_door() -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (to_hub, hub) = mpsc::channel(8);
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, to_hub, Metrics::new(), stop.clone()));
    Served { address, hub, _stop: stop.drop_guard() }
}

/// Sends these messages and returns the answers' stream. The sender keeps the agent's side open.
async fn connect(
    served: &Served,
    messages: Vec<Option<Kind>>,
) -> (mpsc::Sender<wire::AgentMessage>, Streaming<wire::ControllerMessage>) {
    let (out, frames) = mpsc::channel(8);
    for kind in messages {
        out.send(wire::AgentMessage { kind }).await.expect("room");
    }
    let address = Channel::from_shared(served.address.clone()).expect("an address");
    let channel = address.connect().await.expect("a connection");
    let answers = SessionsClient::new(channel).connect(ReceiverStream::new(frames)).await.expect("a session");
    (out, answers.into_inner())
}

fn hello(node: &str) -> Option<Kind> {
    Some(Kind::Hello(wire::Hello { protocol: 1, node: node.into(), ..wire::Hello::default() }))
}

async fn refusal(answers: &mut Streaming<wire::ControllerMessage>) -> wire::Refusal {
    let message = answers.message().await.expect("an answer").expect("a message");
    match message.kind {
        Some(Told::Refusal(refusal)) => refusal,
        other => panic!("{other:?} is no refusal"),
    }
}

#[tokio::test]
async fn a_hello_reaches_the_hub_and_its_answer_the_agent() {
    let mut served = serve_door().await;
    let (_out, mut answers) = connect(&served, vec![hello("box-1"), None]).await;
    let message = served.hub.recv().await.expect("a hello");
    let Said::Hello(greeting, reply) = message.said else { panic!("no hello") };
    assert_eq!(greeting.node.as_str(), "box-1");
    reply.frames.send(Outgoing::Welcome).await.expect("a listening agent");
    let welcome = answers.message().await.expect("an answer").and_then(|message| message.kind);
    assert!(matches!(welcome, Some(Told::Welcome(_))));
    // A message of a kind that is not known here did no harm; letting go of the session ends it.
    drop(reply);
    assert!(answers.message().await.expect("a clean end").is_none());
}

#[tokio::test]
async fn what_breaks_the_protocol_is_refused_with_the_reason() {
    let served = serve_door().await;
    let early = Some(Kind::Status(wire::StatusReport::default()));
    for (messages, word) in [(vec![early], "not a hello"), (vec![hello("../etc")], "bad node name")] {
        let (_out, mut answers) = connect(&served, messages).await;
        let refusal = refusal(&mut answers).await;
        assert_eq!(refusal.reason, skerry_terms::reasons::PROTOCOL_ERROR);
        assert!(refusal.message.contains(word), "{}", refusal.message);
    }
}

#[tokio::test]
async fn a_bad_frame_ends_its_own_session_alone() {
    let mut served = serve_door().await;
    let bad = Some(Kind::Ack(wire::Ack { digest: vec![1], ..wire::Ack::default() }));
    let (_out, mut answers) = connect(&served, vec![hello("box-1"), bad]).await;
    let first = served.hub.recv().await.expect("a hello");
    let Said::Hello(_, _reply) = first.said else { panic!("no hello") };
    assert!(matches!(served.hub.recv().await.expect("the end").said, Said::Gone));
    assert!(refusal(&mut answers).await.message.contains("generation is missing"));
    let (_out, _answers) = connect(&served, vec![hello("box-2")]).await;
    assert_eq!(served.hub.recv().await.expect("a hello").node.as_str(), "box-2");
}

#[tokio::test]
async fn a_frame_over_the_cap_ends_the_session() {
    let mut served = serve_door().await;
    let large = wire::Ack { message: "x".repeat(caps::REPORT_FRAME_MAX), ..wire::Ack::default() };
    let (_out, _answers) = connect(&served, vec![hello("box-1"), Some(Kind::Ack(large))]).await;
    let first = served.hub.recv().await.expect("a hello");
    assert!(matches!(first.said, Said::Hello(..)));
    assert!(matches!(served.hub.recv().await.expect("the end").said, Said::Gone));
}
