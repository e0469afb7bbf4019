//! What agents send, checked and cut to size. Agents are not trusted: names are parsed, lists are capped, texts are cut, and what
//! breaks the protocol is an error that ends this one session.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use skerry_api::template::DEVICE_PREFIX;
use skerry_api::{AppReport, ContainerReport, LastState, NodeInfo, Quantity, Resources};
use skerry_controller_core::node_status::Docker;
use skerry_controller_core::placement::Labels;
use skerry_controller_core::session::{Held, Input, Outcome};
use skerry_controller_core::transitions::{Batch, Subject, Transition};
use skerry_proto::{WireError, app_key, caps, feature, wire};
use skerry_terms::{AppKey, Digest, NameError, NodeName, Phase, Problems};

/// A checked frame.
#[derive(Debug)]
pub enum Frame {
    Hello(Box<Greeting>),
    Ack(Input),
    Report(Report),
    Transitions(Batch),
}

/// A checked hello.
#[derive(Debug)]
pub struct Greeting {
    pub node: NodeName,
    /// It tells of transitions: what they speak of is not told as an Event by anybody else.
    pub tells_transitions: bool,
    pub held: Option<Held>,
    pub state_corrupt: String,
    /// For the EdgeNode object, if it has to be created.
    pub labels: Labels,
    /// Labels that Kubernetes would not take.
    pub bad_labels: Vec<String>,
    pub info: NodeInfo,
    pub capacity: Resources,
    pub addresses: Vec<String>,
}

/// A checked report.
#[derive(Debug)]
pub struct Report {
    /// The apps are all that the node has.
    pub full: bool,
    /// Absent for an app of which nothing is left.
    pub apps: Vec<(AppKey, Option<AppReport>)>,
    /// Docker, and its version. Absent when the report does not speak of it.
    pub docker: Option<(Docker, String)>,
    /// What is wrong with the box. Absent when the report does not speak of it.
    pub problems: Option<Problems>,
}

/// What ends a session.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("bad node name")]
    Node(#[from] NameError),
    #[error("bad frame")]
    Wire(#[from] WireError),
    #[error("protocol version {0} is not spoken here, only {ours}", ours = skerry_proto::PROTOCOL)]
    Protocol(u32),
}

/// Checks a message. None for a kind that this build does not know.
pub fn frame(message: wire::AgentMessage) -> Result<Option<Frame>, FrameError> {
    use wire::agent_message::Kind;
    match message.kind {
        Some(Kind::Hello(hello)) => Ok(Some(Frame::Hello(Box::new(greeting(hello)?)))),
        Some(Kind::Ack(ack)) => Ok(Some(Frame::Ack(self::ack(ack)?))),
        Some(Kind::Status(status)) => Ok(Some(Frame::Report(report(status)?))),
        Some(Kind::Transitions(transitions)) => Ok(Some(Frame::Transitions(batch(transitions)?))),
        None => Ok(None),
    }
}

fn greeting(hello: wire::Hello) -> Result<Greeting, FrameError> {
    let wire::Hello { protocol, features, node, agent_version, boot_id, labels, facts, held, state_corrupt } =
        hello;
    // A newer agent speaks the older protocol too; there is none older than the first.
    if protocol == 0 {
        return Err(FrameError::Protocol(protocol));
    }
    let wire::NodeFacts {
        architecture,
        operating_system,
        os_image,
        kernel_version,
        docker_version,
        cpu_count,
        memory_bytes,
        addresses,
        hostname,
        devices,
    } = facts.unwrap_or_default();
    let held = held.map(wire::Held::checked).transpose()?;
    let (labels, bad): (Labels, Labels) = labels
        .into_iter()
        .take(caps::NODE_LABELS_MAX)
        .partition(|(key, value)| is_label_key(key) && is_label_value(value));
    let amount = |name: &str, n: u64| (n > 0).then(|| (name.to_owned(), Quantity(n.to_string())));
    let devices = devices.into_iter().filter(|(name, _)| is_device(name)).take(caps::DEVICES_MAX);
    // None left of a device is a fact, too.
    let devices = devices.map(|(name, count)| (name, Quantity(count.to_string())));
    let capacity = [amount("cpu", cpu_count.into()), amount("memory", memory_bytes)];
    Ok(Greeting {
        node: node.parse()?,
        tells_transitions: features.iter().any(|feature| feature == feature::TRANSITIONS),
        held: held.map(|(generation, digest)| Held { generation, digest }),
        state_corrupt: caps::truncate(&state_corrupt, caps::MESSAGE_MAX),
        labels,
        bad_labels: bad.into_keys().map(|key| word(&key)).collect(),
        info: NodeInfo {
            architecture: word(&architecture),
            operating_system: word(&operating_system),
            os_image: word(&os_image),
            kernel_version: word(&kernel_version),
            docker_version: word(&docker_version),
            agent_version: word(&agent_version),
            boot_id: word(&boot_id),
            hostname: word(&hostname),
        },
        capacity: capacity.into_iter().flatten().chain(devices).collect(),
        addresses: addresses.iter().take(caps::ADDRESSES_MAX).map(|text| word(text)).collect(),
    })
}

fn ack(ack: wire::Ack) -> Result<Input, FrameError> {
    let outcome = match ack.outcome() {
        wire::AckOutcome::Adopted => Outcome::Adopted,
        wire::AckOutcome::Stale => Outcome::Stale,
        wire::AckOutcome::Conflict => Outcome::Conflict,
        wire::AckOutcome::NotStored => Outcome::NotStored,
        // An answer of a newer agent that this build does not know is at least no adoption.
        wire::AckOutcome::Garbled | wire::AckOutcome::Unspecified => Outcome::Garbled,
    };
    let wire::Ack { generation, digest, outcome: _, message } = ack;
    let generation = generation.ok_or(WireError::Missing("ack.generation"))?;
    Ok(Input::Ack {
        generation: generation.try_into()?,
        digest: Digest::try_from(&digest[..]).map_err(WireError::from)?,
        outcome,
        message: caps::truncate(&message, caps::MESSAGE_MAX),
    })
}

fn report(status: wire::StatusReport) -> Result<Report, FrameError> {
    let wire::StatusReport { sequence: _, full, apps, health } = status;
    let health = health.map(|health| {
        let wire::NodeHealth { docker_ready, docker_message, docker_version, problems } = health;
        let message = caps::truncate(&docker_message, caps::MESSAGE_MAX);
        let docker = if docker_ready { Docker::Ready } else { Docker::Down { message } };
        ((docker, word(&docker_version)), problems.map(Problems::from))
    });
    let (docker, problems) = health.unzip();
    if apps.len() > caps::APPS_MAX {
        return Err(WireError::TooLarge {
            what: "the number of apps",
            size: apps.len(),
            max: caps::APPS_MAX,
        }
        .into());
    }
    let apps = apps.into_iter().map(app).collect::<Result<_, _>>()?;
    Ok(Report { full, apps, docker, problems: problems.flatten() })
}

fn batch(transitions: wire::Transitions) -> Result<Batch, FrameError> {
    let wire::Transitions { run, items, dropped, clock_offset_millis } = transitions;
    if items.len() > caps::TRANSITIONS_MAX {
        let (what, size, max) = ("the number of transitions", items.len(), caps::TRANSITIONS_MAX);
        return Err(WireError::TooLarge { what, size, max }.into());
    }
    let items = items.into_iter().map(transition).collect::<Result<_, _>>()?;
    Ok(Batch { run, items, dropped, offset: clock_offset_millis })
}

fn transition(transition: wire::Transition) -> Result<Transition, FrameError> {
    let phase = transition.phase();
    let wire::Transition {
        sequence,
        namespace,
        name,
        uid,
        container,
        side,
        revision: _,
        phase: _,
        reason,
        message,
        warning,
        count,
        first_millis,
        last_millis,
        age_millis,
        exit_code: _,
        restart_count: _,
    } = transition;
    let subject = match (side.is_empty(), container.is_empty()) {
        (false, _) => Subject::Node(word(&side)),
        (true, false) => Subject::Container(app_key(&namespace, &name)?, word(&container)),
        (true, true) => Subject::App(app_key(&namespace, &name)?),
    };
    Ok(Transition {
        sequence,
        subject,
        uid: word(&uid),
        phase: (phase != wire::Phase::Unspecified).then(|| Phase::from(phase)),
        reason: word(&reason),
        message: caps::truncate(&message, caps::CONTAINER_MESSAGE_MAX),
        warning,
        count: count.max(1),
        first: first_millis,
        last: last_millis,
        age: age_millis.map(Duration::from_millis),
    })
}

fn app(status: wire::AppStatus) -> Result<(AppKey, Option<AppReport>), FrameError> {
    let phase = Phase::from(status.phase());
    let wire::AppStatus {
        namespace,
        name,
        uid: _,
        revision,
        phase: _,
        ready,
        reason,
        message,
        observed_at_millis,
        containers,
    } = status;
    let key = app_key(&namespace, &name)?;
    if phase == Phase::Removed {
        return Ok((key, None));
    }
    let report = AppReport {
        namespace,
        name,
        revision: word(&revision),
        phase: phase.to_string(),
        ready,
        reason: word(&reason),
        message: caps::truncate(&message, caps::MESSAGE_MAX),
        observed_at: time(observed_at_millis),
        containers: containers.into_iter().take(caps::CONTAINERS_MAX).map(container).collect(),
    };
    Ok((key, Some(report)))
}

fn container(status: wire::ContainerStatus) -> ContainerReport {
    let kind = match status.kind() {
        wire::ContainerKind::Init => "Init",
        wire::ContainerKind::Sidecar => "Sidecar",
        wire::ContainerKind::Main | wire::ContainerKind::Unspecified => "",
    };
    let (state, ended) = match status.state() {
        wire::ContainerState::Waiting => ("Waiting", false),
        wire::ContainerState::Running => ("Running", false),
        wire::ContainerState::Terminated => ("Terminated", true),
        wire::ContainerState::Unspecified => ("", false),
    };
    let wire::ContainerStatus {
        name,
        id,
        ready,
        restart_count,
        state: _,
        reason,
        message,
        started_at_millis,
        exit_code,
        kind: _,
        started,
        last_termination,
    } = status;
    ContainerReport {
        name: word(&name),
        kind: kind.to_owned(),
        id: word(&id),
        ready,
        started,
        restart_count: i32::try_from(restart_count).unwrap_or(i32::MAX),
        state: state.to_owned(),
        reason: word(&reason),
        message: caps::truncate(&message, caps::CONTAINER_MESSAGE_MAX),
        started_at: time(started_at_millis),
        exit_code: ended.then_some(exit_code),
        last_state: last_termination.map(last_state),
    }
}

fn last_state(termination: wire::Termination) -> LastState {
    let wire::Termination { exit_code, reason, message, started_at_millis, finished_at_millis } = termination;
    LastState {
        exit_code: Some(exit_code),
        reason: word(&reason),
        message: caps::truncate(&message, caps::CONTAINER_MESSAGE_MAX),
        started_at: time(started_at_millis),
        finished_at: time(finished_at_millis),
    }
}

fn word(text: &str) -> String {
    caps::truncate(text, caps::WORD_MAX)
}

/// A time by the box's clock, in whole seconds as Kubernetes keeps times; zero stands for none.
fn time(millis: i64) -> Option<Time> {
    let seconds = (millis > 0).then_some(millis / 1000)?;
    Timestamp::from_second(seconds).ok().map(Time)
}

/// A device is named as a resource of ours: an agent cannot lend cpu or what belongs to others.
fn is_device(name: &str) -> bool {
    name.starts_with(DEVICE_PREFIX) && is_label_key(name)
}

/// A qualified name: an optional DNS prefix, and a name of up to 63 characters.
fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    !name.is_empty() && is_label_value(name) && prefix.is_none_or(|prefix| prefix.parse::<NodeName>().is_ok())
}

fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let edge = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> wire::Hello {
        wire::Hello { protocol: 1, node: "box-1".into(), ..wire::Hello::default() }
    }

    #[test]
    fn labels_that_kubernetes_would_refuse_are_set_aside() {
        let labels =
            [("site", "hz"), ("a/b/c", "x"), ("ok.io/zone", ""), ("x", "a b"), ("-x", "y"), ("", "y")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let greeting = greeting(wire::Hello { labels: labels.into(), ..hello() });
        let greeting = greeting.expect("a greeting");
        assert_eq!(greeting.labels.keys().collect::<Vec<_>>(), ["ok.io/zone", "site"]);
        assert_eq!(greeting.bad_labels.len(), 4);
    }

    /// Of an agent as old as the first, and of one that knows more than this controller.
    #[test]
    fn every_agent_is_understood() {
        use prost::Message as _;
        let read = |name: &str| {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/wire");
            let bytes = std::fs::read(folder.join(format!("{name}.bin"))).expect(name);
            frame(wire::AgentMessage::decode(&bytes[..]).expect(name)).expect(name)
        };
        for name in ["hello", "later-hello"] {
            let Some(Frame::Hello(greeting)) = read(name) else { panic!("{name}") };
            assert_eq!(greeting.node.as_str(), "box-7");
            assert!(greeting.held.is_some() && greeting.labels.contains_key("site"), "{name}");
        }
        let outcome = |name| match read(name) {
            Some(Frame::Ack(Input::Ack { outcome, .. })) => outcome,
            _ => panic!("{name}"),
        };
        assert_eq!((outcome("ack"), outcome("later-ack")), (Outcome::Adopted, Outcome::Garbled));
        for name in ["status", "later-status"] {
            let Some(Frame::Report(report)) = read(name) else { panic!("{name}") };
            assert!(
                report.full && report.apps.len() == 1 && matches!(report.docker, Some((Docker::Ready, _))),
                "{name}"
            );
        }
        assert!(read("later-agent-kind").is_none());
    }

    #[test]
    fn a_hello_without_version_or_name_is_refused() {
        assert!(greeting(wire::Hello { protocol: 0, ..hello() }).is_err());
        let bad = wire::Hello { node: "../x".into(), ..hello() };
        assert!(greeting(bad).is_err());
    }

    #[test]
    fn devices_are_capacity_and_cannot_pass_for_other_resources() {
        let devices = [
            ("skerry.dev/camera", 2),
            ("skerry.dev/gpu", 0),
            ("cpu", 64),
            ("skerry.dev/", 1),
            ("other.io/x", 1),
        ];
        let devices = devices.map(|(name, count)| (name.to_owned(), count)).into();
        let facts = wire::NodeFacts { cpu_count: 4, devices, ..wire::NodeFacts::default() };
        let greeting = greeting(wire::Hello { facts: Some(facts), ..hello() }).expect("a greeting");
        let capacity: Vec<_> =
            greeting.capacity.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        assert_eq!(capacity, ["cpu=4", "skerry.dev/camera=2", "skerry.dev/gpu=0"]);
    }

    #[test]
    fn what_a_container_was_before_is_told() {
        let status = wire::ContainerStatus {
            kind: wire::ContainerKind::Init.into(),
            started: Some(true),
            last_termination: Some(wire::Termination {
                exit_code: 137,
                reason: "OOMKilled".into(),
                message: "x".repeat(100_000),
                started_at_millis: 1000,
                finished_at_millis: 0,
            }),
            ..wire::ContainerStatus::default()
        };
        let report = container(status);
        assert_eq!((report.kind.as_str(), report.started), ("Init", Some(true)));
        let last = report.last_state.expect("a last state");
        assert_eq!((last.exit_code, last.reason.as_str(), last.finished_at), (Some(137), "OOMKilled", None));
        assert!(last.message.len() <= caps::CONTAINER_MESSAGE_MAX && last.started_at.is_some());
        assert_eq!(container(wire::ContainerStatus::default()).last_state, None);
    }

    #[test]
    fn long_texts_are_cut_and_a_removed_app_is_no_report() {
        let status = |phase: wire::Phase| wire::AppStatus {
            namespace: "default".into(),
            name: "web".into(),
            phase: phase.into(),
            message: "x".repeat(100_000),
            containers: vec![
                wire::ContainerStatus {
                    message: "x".repeat(100_000),
                    ..wire::ContainerStatus::default()
                };
                caps::CONTAINERS_MAX + 1
            ],
            ..wire::AppStatus::default()
        };
        let (_, report) = app(status(wire::Phase::Failed)).expect("a report");
        let report = report.expect("a report");
        assert!(report.message.len() <= caps::MESSAGE_MAX);
        assert_eq!(report.containers.len(), caps::CONTAINERS_MAX);
        assert!(report.containers[0].message.len() <= caps::CONTAINER_MESSAGE_MAX);
        assert_eq!(app(status(wire::Phase::Removed)).expect("a key").1, None);
    }
}
