//! What comes over the link, whoever sends it.

use prost::Message as _;
use skerry_agent_core::Frame;
use skerry_proto::{caps, wire};
use wire::controller_message::Kind;

use super::frames::{self, Heard};
use crate::fuzz::fuzz;

#[test]
fn no_frame_of_a_controller_hurts() {
    let generation = wire::Generation::from(&"e:edgeapps=7,edgenodes=9".parse().expect("a generation"));
    let app = wire::AppFrame { namespace: "a".into(), name: "b".into(), payload: vec![1, 2, 3] };
    let kinds = [
        Kind::Welcome(wire::Welcome { protocol: 1, features: vec!["x".into()], ..Default::default() }),
        Kind::Begin(wire::Begin {
            generation: Some(generation),
            base_digest: vec![7; 32],
            accept_past: true,
        }),
        Kind::App(app),
        Kind::Remove(wire::RemoveFrame { namespace: "a".into(), name: "b".into() }),
        Kind::Commit(wire::Commit { digest: vec![7; 32] }),
        Kind::Refusal(wire::Refusal { reason: "R".into(), message: "m".into() }),
    ];
    let corpus = kinds.map(|kind| wire::ControllerMessage { kind: Some(kind) }.encode_to_vec());
    fuzz("controller's frames", &corpus, |bytes| {
        let Ok(message) = wire::ControllerMessage::decode(bytes) else { return false };
        let again = wire::ControllerMessage::decode(&message.encode_to_vec()[..]).expect("what was encoded");
        assert_eq!(again, message);
        let frame = frames::decode(message);
        if let Ok(Some(Heard::Frame(Frame::Refusal { reason, message }))) = &frame {
            assert!(reason.len() <= caps::MESSAGE_MAX && message.len() <= caps::MESSAGE_MAX);
        }
        frame.is_ok()
    });
}
