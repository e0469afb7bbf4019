//! What travels, as it was when it was released: the bytes in `tests/golden/wire`. Today's code reads them as they were meant and writes them as
//! they are, so that either end of a session can be the older one. `later-…` are made by hand: what a later peer may send, with fields, enum values
//! and kinds that only it knows.
//!
//! A new message: add it here and run `SKERRY_MAKE_GOLDEN=1 cargo test -p skerry-proto --test golden`, which writes the files that are missing
//! and touches none that is there. A field that is added to a message does not go into its golden file.

use std::path::{Path, PathBuf};

use prost::Message;
use skerry_proto::wire;
use wire::agent_message::Kind as Said;
use wire::controller_message::Kind as Told;

/// A text, a number and a message, in fields that nobody knows yet.
const UNKNOWN: &[u8] = b"\xfa\x3f\x06future\xf8\x3f\x63\xea\x3f\x02\x08\x01";
/// An enum value that nobody knows yet.
const LATER: i32 = 99;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/wire")
}

/// The bytes of a golden file; where there is none and it is asked for, these become it.
fn golden(name: &str, bytes: &[u8]) -> Vec<u8> {
    let path = folder().join(format!("{name}.bin"));
    if std::env::var_os("SKERRY_MAKE_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, bytes).expect("written");
    }
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn generation() -> Option<wire::Generation> {
    Some(wire::Generation { epoch: "e-1".into(), positions: [("edgeapps".to_owned(), 7)].into() })
}

fn hello() -> wire::Hello {
    wire::Hello {
        protocol: 1,
        features: Vec::new(),
        node: "box-7".into(),
        agent_version: "0.1.0".into(),
        boot_id: "b-1".into(),
        labels: [("site".to_owned(), "hz".to_owned())].into(),
        facts: Some(wire::NodeFacts {
            architecture: "amd64".into(),
            operating_system: "linux".into(),
            cpu_count: 4,
            memory_bytes: 8 << 30,
            addresses: vec!["10.0.0.7".into()],
            hostname: "box-7".into(),
            ..Default::default()
        }),
        held: Some(wire::Held { generation: generation(), digest: vec![7; 32] }),
        ..Default::default()
    }
}

fn ack(outcome: i32) -> wire::Ack {
    wire::Ack { generation: generation(), digest: vec![7; 32], outcome, message: String::new() }
}

fn status(later: bool) -> wire::StatusReport {
    let word = |known: i32| if later { LATER } else { known };
    wire::StatusReport {
        sequence: 3,
        full: true,
        apps: vec![wire::AppStatus {
            namespace: "plant".into(),
            name: "web".into(),
            uid: "u-1".into(),
            revision: "web-5d8f".into(),
            phase: word(wire::Phase::Running.into()),
            ready: true,
            reason: "Ready".into(),
            message: String::new(),
            observed_at_millis: 1_700_000_000_000,
            containers: vec![wire::ContainerStatus {
                name: "main".into(),
                id: "00ff".into(),
                ready: true,
                restart_count: 2,
                state: word(wire::ContainerState::Running.into()),
                started_at_millis: 1_700_000_000_000,
                kind: word(wire::ContainerKind::Main.into()),
                started: Some(true),
                last_termination: Some(wire::Termination {
                    exit_code: 137,
                    reason: "Error".into(),
                    ..Default::default()
                }),
                ..Default::default()
            }],
        }],
        health: Some(wire::NodeHealth {
            docker_ready: true,
            docker_message: String::new(),
            docker_version: "20.10.24".into(),
            problems: Some(wire::NodeProblems {
                items: vec![wire::NodeProblem {
                    kind: word(wire::NodeProblemKind::StateProblem.into()),
                    reason: "StateNotDurable".into(),
                    message: "no space left".into(),
                }],
            }),
        }),
    }
}

fn said(kind: Said) -> wire::AgentMessage {
    wire::AgentMessage { kind: Some(kind) }
}

fn told(kind: Told) -> wire::ControllerMessage {
    wire::ControllerMessage { kind: Some(kind) }
}

fn begin(base_digest: Vec<u8>) -> wire::Begin {
    wire::Begin { generation: generation(), base_digest, accept_past: false }
}

fn agent_messages() -> Vec<(&'static str, wire::AgentMessage)> {
    vec![
        ("hello", said(Said::Hello(hello()))),
        ("ack", said(Said::Ack(ack(wire::AckOutcome::Adopted.into())))),
        ("status", said(Said::Status(status(false)))),
    ]
}

fn controller_messages() -> Vec<(&'static str, wire::ControllerMessage)> {
    let frame = wire::AppFrame { namespace: "plant".into(), name: "web".into(), payload: vec![1, 0, 255] };
    let welcome = wire::Welcome { protocol: 1, controller_version: "0.1.0".into(), ..Default::default() };
    let remove = wire::RemoveFrame { namespace: "plant".into(), name: "web".into() };
    let refusal = wire::Refusal { reason: "Superseded".into(), message: "another agent joined".into() };
    vec![
        ("welcome", told(Told::Welcome(welcome))),
        ("begin", told(Told::Begin(begin(Vec::new())))),
        ("begin-delta", told(Told::Begin(begin(vec![9; 32])))),
        ("app", told(Told::App(frame))),
        ("remove", told(Told::Remove(remove))),
        ("commit", told(Told::Commit(wire::Commit { digest: vec![7; 32] }))),
        ("refusal", told(Told::Refusal(refusal))),
    ]
}

fn unchanged<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, message: &M) {
    let bytes = golden(name, &message.encode_to_vec());
    assert_eq!(&M::decode(&bytes[..]).expect(name), message, "{name} is read as it was meant");
    assert_eq!(message.encode_to_vec(), bytes, "{name} is written as it was");
}

#[test]
fn the_session_speaks_as_it_did() {
    agent_messages().iter().for_each(|(name, message)| unchanged(name, message));
    controller_messages().iter().for_each(|(name, message)| unchanged(name, message));
}

/// A message of this kind with fields more, inside and beside it.
fn later(kind: u8, content: &[u8]) -> Vec<u8> {
    let inner = [content, UNKNOWN].concat();
    let mut bytes = vec![kind << 3 | 2];
    prost::encode_length_delimiter(inner.len(), &mut bytes).expect("a vector grows");
    [&bytes, &inner[..], UNKNOWN].concat()
}

#[test]
fn what_a_later_agent_says_is_understood_as_far_as_it_is_known() {
    for (name, kind, content, known) in [
        ("later-hello", 1, hello().encode_to_vec(), said(Said::Hello(hello()))),
        ("later-ack", 2, ack(LATER).encode_to_vec(), said(Said::Ack(ack(LATER)))),
        ("later-status", 3, status(true).encode_to_vec(), said(Said::Status(status(true)))),
    ] {
        let bytes = golden(name, &later(kind, &content));
        assert_eq!(wire::AgentMessage::decode(&bytes[..]).expect(name), known, "{name}");
    }
    let unknown = golden("later-agent-kind", UNKNOWN);
    assert_eq!(wire::AgentMessage::decode(&unknown[..]).expect("decoded").kind, None);
    assert_eq!(ack(LATER).outcome(), wire::AckOutcome::Unspecified);
    assert_eq!(status(true).apps[0].phase(), wire::Phase::Unspecified);
}

#[test]
fn what_a_later_controller_says_is_understood_as_far_as_it_is_known() {
    let digest = wire::Commit { digest: vec![7; 32] };
    for (name, kind, content, known) in [
        ("later-begin", 2, begin(Vec::new()).encode_to_vec(), told(Told::Begin(begin(Vec::new())))),
        ("later-commit", 5, digest.encode_to_vec(), told(Told::Commit(digest))),
    ] {
        let bytes = golden(name, &later(kind, &content));
        assert_eq!(wire::ControllerMessage::decode(&bytes[..]).expect(name), known, "{name}");
    }
    let unknown = golden("later-controller-kind", UNKNOWN);
    assert_eq!(wire::ControllerMessage::decode(&unknown[..]).expect("decoded").kind, None);
}
