//! Between the core's words and the wire's. What a peer sent is held against its caps here; what we send is cut to them.

use skerry_agent_core::{
    AckOutcome, AppStatus, ContainerStatus, Ending, Frame, Kind as Role, Outgoing, UnitState, WallMillis,
};
use skerry_proto::{PROTOCOL, WireError, caps, feature, wire};
use skerry_terms::{AppKey, Digest, Generation};
use wire::agent_message::Kind;

use crate::supervisor::Greeted;

/// What the shell knows and the core does not, for the frames that need it.
pub struct Context<'a> {
    /// Everything of the hello but what is held.
    pub hello: &'a dyn Fn() -> wire::Hello,
    pub health: &'a wire::NodeHealth,
    /// Counts the status frames of one link.
    pub sequence: &'a mut u64,
    /// uid of the app's EdgeApp object, and when its status began.
    pub about: &'a dyn Fn(&AppKey) -> (String, WallMillis),
}

/// The frames that say this. A status of many apps takes several.
pub fn encode(outgoing: Outgoing, context: &mut Context<'_>) -> Vec<wire::AgentMessage> {
    let kinds = match outgoing {
        Outgoing::Hello { held } => vec![Kind::Hello(hello((context.hello)(), held))],
        Outgoing::Ack { generation, digest, outcome, message } => vec![Kind::Ack(wire::Ack {
            generation: Some((&generation).into()),
            digest: digest.as_bytes().to_vec(),
            outcome: ack_outcome(outcome).into(),
            message: caps::truncate(&message, caps::MESSAGE_MAX),
        })],
        Outgoing::Status { full, apps } => status(full, apps, context),
    };
    kinds.into_iter().map(|kind| wire::AgentMessage { kind: Some(kind) }).collect()
}

fn hello(hello: wire::Hello, held: Option<(Generation, Digest)>) -> wire::Hello {
    // What could not be read has been replaced as soon as something is held again.
    let state_corrupt = if held.is_some() { String::new() } else { hello.state_corrupt };
    let held = held.map(|(generation, digest)| wire::Held::new(&generation, &digest));
    wire::Hello { protocol: PROTOCOL, held, state_corrupt, ..hello }
}

fn ack_outcome(outcome: AckOutcome) -> wire::AckOutcome {
    match outcome {
        AckOutcome::Adopted => wire::AckOutcome::Adopted,
        AckOutcome::Stale => wire::AckOutcome::Stale,
        AckOutcome::Conflict => wire::AckOutcome::Conflict,
        AckOutcome::Garbled => wire::AckOutcome::Garbled,
        AckOutcome::NotStored => wire::AckOutcome::NotStored,
    }
}

/// Only the first frame of a full status says `full`: it clears what the controller knew, the others add to it.
fn status(full: bool, apps: Vec<AppStatus>, context: &mut Context<'_>) -> Vec<Kind> {
    let mut apps: Vec<wire::AppStatus> = apps.into_iter().map(|app| app_status(app, context.about)).collect();
    let mut frames = Vec::new();
    loop {
        let rest = apps.split_off(apps.len().min(caps::STATUS_APPS_PER_FRAME));
        *context.sequence += 1;
        frames.push(Kind::Status(wire::StatusReport {
            sequence: *context.sequence,
            full: full && frames.is_empty(),
            apps,
            health: Some(context.health.clone()),
        }));
        if rest.is_empty() {
            return frames;
        }
        apps = rest;
    }
}

fn app_status(status: AppStatus, about: &dyn Fn(&AppKey) -> (String, WallMillis)) -> wire::AppStatus {
    let AppStatus { key, revision, phase, ready, reason, message, containers } = status;
    let (uid, since) = about(&key);
    wire::AppStatus {
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        uid,
        revision,
        phase: wire::Phase::from(phase).into(),
        ready,
        reason,
        message: caps::truncate(&message, caps::MESSAGE_MAX),
        observed_at_millis: since.0,
        containers: containers.into_iter().map(container_status).collect(),
    }
}

fn container_status(status: ContainerStatus) -> wire::ContainerStatus {
    let ContainerStatus { name, kind, id, ready, started, restart_count, state, reason, message, last } =
        status;
    let (state, started_at, exit_code) = match state {
        UnitState::Waiting => (wire::ContainerState::Waiting, WallMillis(0), 0),
        UnitState::Running { started_at } => (wire::ContainerState::Running, started_at, 0),
        UnitState::Terminated { started_at, exit_code } => {
            (wire::ContainerState::Terminated, started_at, exit_code)
        }
    };
    wire::ContainerStatus {
        name,
        id: id.map(|id| id.0).unwrap_or_default(),
        ready,
        restart_count,
        state: state.into(),
        reason,
        message: caps::truncate(&message, caps::MESSAGE_MAX),
        started_at_millis: started_at.0,
        exit_code: i32::try_from(exit_code).unwrap_or(i32::MAX),
        kind: match kind {
            Role::Init => wire::ContainerKind::Init,
            Role::Sidecar => wire::ContainerKind::Sidecar,
            Role::Main => wire::ContainerKind::Main,
        }
        .into(),
        started: Some(started),
        last_termination: last.map(termination),
    }
}

fn termination(ending: Ending) -> wire::Termination {
    let Ending { exit_code, reason, message, started_at, finished_at } = ending;
    wire::Termination {
        exit_code: i32::try_from(exit_code).unwrap_or(i32::MAX),
        reason: reason.to_owned(),
        message: caps::truncate(&message, caps::MESSAGE_MAX),
        started_at_millis: started_at.0,
        finished_at_millis: finished_at.0,
    }
}

/// What the controller said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Welcome(Greeted),
    /// For the session.
    Frame(Frame),
    /// It has the transitions of a run up to this one.
    Told {
        run: u64,
        upto: u64,
    },
}

/// What the controller says, checked. `None` for a kind that this agent does not know.
pub fn decode(message: wire::ControllerMessage) -> Result<Option<Heard>, WireError> {
    use wire::controller_message::Kind;
    let wire::ControllerMessage { kind } = message;
    let Some(kind) = kind else { return Ok(None) };
    let digest = |bytes: &[u8]| Digest::try_from(bytes).map_err(WireError::from);
    Ok(Some(Heard::Frame(match kind {
        Kind::Welcome(wire::Welcome { protocol: _, features, controller_version: _, now_millis }) => {
            return Ok(Some(Heard::Welcome(Greeted {
                takes_transitions: features.iter().any(|feature| feature == feature::TRANSITIONS),
                now: (now_millis > 0).then_some(WallMillis(now_millis)),
            })));
        }
        Kind::Told(wire::Told { run, upto }) => return Ok(Some(Heard::Told { run, upto })),
        Kind::Begin(wire::Begin { generation, base_digest, accept_past }) => Frame::Begin {
            generation: generation.ok_or(WireError::Missing("begin.generation"))?.try_into()?,
            base: if base_digest.is_empty() { None } else { Some(digest(&base_digest)?) },
            accept_past,
        },
        Kind::App(frame) => {
            let (key, payload) = frame.checked()?;
            Frame::App { key, payload }
        }
        Kind::Remove(wire::RemoveFrame { namespace, name }) => {
            Frame::Remove { key: skerry_proto::app_key(&namespace, &name)? }
        }
        Kind::Commit(wire::Commit { digest: bytes }) => Frame::Commit { digest: digest(&bytes)? },
        Kind::Refusal(wire::Refusal { reason, message }) => Frame::Refusal {
            reason: caps::truncate(&reason, caps::MESSAGE_MAX),
            message: caps::truncate(&message, caps::MESSAGE_MAX),
        },
    })))
}

#[cfg(test)]
mod tests {
    use skerry_terms::Phase;

    use super::*;

    fn app(i: usize) -> AppStatus {
        let key = AppKey::new("a", &format!("app-{i}")).expect("a key");
        AppStatus {
            key,
            revision: String::new(),
            phase: Phase::Running,
            ready: true,
            reason: String::new(),
            message: "x".repeat(5000),
            containers: Vec::new(),
        }
    }

    fn reports(full: bool, count: usize) -> Vec<wire::StatusReport> {
        let mut sequence = 0;
        let mut context = Context {
            hello: &wire::Hello::default,
            health: &wire::NodeHealth::default(),
            sequence: &mut sequence,
            about: &|_| ("u".to_owned(), WallMillis(7)),
        };
        let frames = encode(Outgoing::Status { full, apps: (0..count).map(app).collect() }, &mut context);
        frames
            .into_iter()
            .map(|frame| match frame.kind {
                Some(Kind::Status(report)) => report,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_long_status_takes_several_frames_of_which_the_first_is_full() {
        let frames = reports(true, 2 * caps::STATUS_APPS_PER_FRAME + 1);
        assert_eq!(frames.iter().map(|frame| frame.full).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(frames.iter().map(|frame| frame.sequence).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(
            frames.iter().map(|frame| frame.apps.len()).sum::<usize>(),
            2 * caps::STATUS_APPS_PER_FRAME + 1
        );
        assert!(frames[0].apps[0].message.len() <= caps::MESSAGE_MAX);
        assert_eq!((frames[0].apps[0].uid.as_str(), frames[0].apps[0].observed_at_millis), ("u", 7));
    }

    #[test]
    fn a_full_status_of_nothing_is_said_aloud() {
        let frames = reports(true, 0);
        assert!(frames.len() == 1 && frames[0].full && frames[0].health.is_some());
    }

    /// Of a controller as old as the first, and of one that knows more than this agent.
    #[test]
    fn every_controller_is_understood() {
        use prost::Message as _;
        let read = |name: &str| {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/wire");
            let bytes = std::fs::read(folder.join(format!("{name}.bin"))).expect(name);
            decode(wire::ControllerMessage::decode(&bytes[..]).expect(name)).expect(name)
        };
        assert!(matches!(read("welcome"), Some(Heard::Welcome(_))));
        assert!(matches!(
            read("begin"),
            Some(Heard::Frame(Frame::Begin { base: None, accept_past: false, .. }))
        ));
        assert!(matches!(read("begin-delta"), Some(Heard::Frame(Frame::Begin { base: Some(_), .. }))));
        for name in ["app", "remove", "commit", "refusal"] {
            assert!(read(name).is_some(), "{name}");
        }
        assert_eq!((read("later-begin"), read("later-commit")), (read("begin"), read("commit")));
        assert_eq!(read("later-controller-kind"), None);
    }

    #[test]
    fn a_peer_is_not_trusted() {
        use wire::controller_message::Kind;
        let decode = |kind| decode(wire::ControllerMessage { kind });
        assert_eq!(decode(None), Ok(None), "a kind of a newer controller");
        assert!(decode(Some(Kind::Begin(wire::Begin::default()))).is_err());
        assert!(decode(Some(Kind::Commit(wire::Commit { digest: vec![0; 31] }))).is_err());
        assert!(
            decode(Some(Kind::Remove(wire::RemoveFrame { namespace: "..".into(), name: "a".into() })))
                .is_err()
        );
        let oversized = wire::AppFrame {
            namespace: "a".into(),
            name: "b".into(),
            payload: vec![0; caps::PAYLOAD_MAX + 1],
        };
        assert!(decode(Some(Kind::App(oversized))).is_err());
    }
}
