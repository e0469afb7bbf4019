//! What agents are sent, as frames. Frames of a set are made one by one while the agent takes them, so a large set is not held
//! twice in memory for each node.

use k8s_openapi::jiff::Timestamp;
use skerry_controller_core::session::Update;
use skerry_proto::wire::controller_message::Kind;
use skerry_proto::{feature, wire};

/// An answer of the hub.
#[derive(Debug)]
pub enum Outgoing {
    Welcome,
    Update(Box<Update>),
    /// The transitions of a run up to this one are taken.
    Told {
        run: u64,
        upto: u64,
    },
    /// The last frame of a session.
    Refusal {
        reason: &'static str,
        message: String,
    },
}

impl Outgoing {
    /// The frames, in order.
    pub fn into_frames(self) -> Box<dyn Iterator<Item = wire::ControllerMessage> + Send> {
        match self {
            Outgoing::Welcome => one(Kind::Welcome(wire::Welcome {
                protocol: skerry_proto::PROTOCOL,
                features: vec![feature::TRANSITIONS.to_owned()],
                controller_version: env!("CARGO_PKG_VERSION").to_owned(),
                now_millis: Timestamp::now().as_millisecond(),
            })),
            Outgoing::Told { run, upto } => one(Kind::Told(wire::Told { run, upto })),
            Outgoing::Refusal { reason, message } => {
                one(Kind::Refusal(wire::Refusal { reason: reason.to_owned(), message }))
            }
            Outgoing::Update(update) => {
                let Update { generation, base, accept_past, apps, removed, digest } = *update;
                let begin = Kind::Begin(wire::Begin {
                    generation: Some((&generation).into()),
                    base_digest: base.map(|base| base.as_bytes().to_vec()).unwrap_or_default(),
                    accept_past,
                });
                let apps =
                    apps.into_iter().map(|(key, payload)| Kind::App(wire::AppFrame::new(&key, &payload)));
                let removed = removed.into_iter().map(|key| {
                    Kind::Remove(wire::RemoveFrame {
                        namespace: key.namespace().to_owned(),
                        name: key.name().to_owned(),
                    })
                });
                let commit = Kind::Commit(wire::Commit { digest: digest.as_bytes().to_vec() });
                let all = std::iter::once(begin).chain(apps).chain(removed).chain([commit]);
                Box::new(all.map(|kind| wire::ControllerMessage { kind: Some(kind) }))
            }
        }
    }
}

fn one(kind: Kind) -> Box<dyn Iterator<Item = wire::ControllerMessage> + Send> {
    Box::new(std::iter::once(wire::ControllerMessage { kind: Some(kind) }))
}
