//! An agent without Docker, to try the controller by hand: adopts every set and reports each app as running after a moment.
//!
//! `cargo run -p skerry-controller --example fake-agent -- box-1 [http://127.0.0.1:7443] [fail|slow|silent]`

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use skerry_proto::wire::agent_message::Kind as Say;
use skerry_proto::wire::controller_message::Kind as Told;
use skerry_proto::wire::sessions_client::SessionsClient;
use skerry_proto::{app_key, wire};
use skerry_terms::{AppKey, Digest, Generation, Payload, PayloadSet};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// What the agent holds, and what is on its way.
#[derive(Default)]
struct Agent {
    held: Option<(Generation, PayloadSet)>,
    coming: Option<(wire::Begin, PayloadSet)>,
    sequence: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let node = args.next().context("give a node name")?;
    let address = args.next().unwrap_or_else(|| "http://127.0.0.1:7443".into());
    let mode = args.next().unwrap_or_default();
    let mut agent = Agent::default();
    loop {
        if let Err(error) = session(&mut agent, &node, &address, &mode).await {
            eprintln!("{node}: {error:#}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn session(agent: &mut Agent, node: &str, address: &str, mode: &str) -> anyhow::Result<()> {
    let channel = Channel::from_shared(address.to_owned())?.tcp_nodelay(true).connect().await?;
    let (out, frames) = mpsc::channel(16);
    out.send(say(Say::Hello(hello(agent, node)))).await?;
    let request = ReceiverStream::new(frames);
    let mut told = SessionsClient::new(channel).connect(request).await?.into_inner();
    agent.sequence = 0;
    out.send(agent.report(&BTreeMap::new(), mode, wire::Phase::Running)).await?;
    while let Some(message) = told.message().await? {
        match message.kind.context("an unknown message")? {
            Told::Welcome(welcome) => eprintln!("{node}: welcome by {}", welcome.controller_version),
            Told::Refusal(refusal) => anyhow::bail!("refused: {} ({})", refusal.reason, refusal.message),
            Told::Begin(begin) => {
                let base = match (&agent.held, begin.base_digest.is_empty()) {
                    (Some((_, held)), false) => held.clone(),
                    (Some(_), true) | (None, _) => PayloadSet::new(),
                };
                agent.coming = Some((begin, base));
            }
            Told::App(frame) => {
                let (key, payload) = frame.checked()?;
                agent.coming.as_mut().context("no begin")?.1.insert(key, payload);
            }
            Told::Remove(frame) => {
                let key = app_key(&frame.namespace, &frame.name)?;
                agent.coming.as_mut().context("no begin")?.1.remove(&key);
            }
            Told::Commit(commit) => {
                let (begin, set) = agent.coming.take().context("no begin")?;
                let digest = Digest::of(&set);
                anyhow::ensure!(digest.as_bytes()[..] == commit.digest[..], "garbled");
                let generation: Generation = begin.generation.context("no generation")?.try_into()?;
                eprintln!("{node}: adopted {} apps, generation {generation}", set.len());
                let before =
                    agent.held.replace((generation.clone(), set)).map(|(_, set)| set).unwrap_or_default();
                let ack = wire::Ack {
                    generation: Some((&generation).into()),
                    digest: digest.as_bytes().to_vec(),
                    outcome: wire::AckOutcome::Adopted.into(),
                    message: String::new(),
                };
                out.send(say(Say::Ack(ack))).await?;
                for phase in [wire::Phase::Starting, wire::Phase::Running] {
                    tokio::time::sleep(Duration::from_millis(if mode == "slow" { 3000 } else { 100 })).await;
                    if mode != "silent" {
                        out.send(agent.report(&before, mode, phase)).await?;
                    }
                }
            }
        }
    }
    anyhow::bail!("the controller hung up")
}

impl Agent {
    fn report(
        &mut self,
        before: &BTreeMap<AppKey, Payload>,
        mode: &str,
        phase: wire::Phase,
    ) -> wire::AgentMessage {
        self.sequence += 1;
        let empty = PayloadSet::new();
        let held = self.held.as_ref().map_or(&empty, |(_, set)| set);
        let (phase, reason, message) = match (mode, phase) {
            ("fail", wire::Phase::Running) => (wire::Phase::Failed, "ImagePullFailed", "no such image"),
            (_, phase) => (phase, "", ""),
        };
        let status = |key: &AppKey, payload: &Payload| {
            let app: wire::App = prost::Message::decode(&payload[..]).unwrap_or_default();
            wire::AppStatus {
                namespace: key.namespace().to_owned(),
                name: key.name().to_owned(),
                uid: app.uid,
                revision: app.revision,
                phase: phase.into(),
                ready: phase == wire::Phase::Running,
                reason: reason.to_owned(),
                message: message.to_owned(),
                ..wire::AppStatus::default()
            }
        };
        let gone = |key: &AppKey| wire::AppStatus {
            namespace: key.namespace().to_owned(),
            name: key.name().to_owned(),
            phase: wire::Phase::Removed.into(),
            ..wire::AppStatus::default()
        };
        let removed = before.keys().filter(|key| !held.contains_key(*key)).map(gone);
        say(Say::Status(wire::StatusReport {
            sequence: self.sequence,
            full: self.sequence == 1,
            apps: held.iter().map(|(key, payload)| status(key, payload)).chain(removed).collect(),
            health: Some(wire::NodeHealth {
                docker_ready: true,
                docker_message: String::new(),
                docker_version: "0.0".into(),
            }),
        }))
    }
}

fn hello(agent: &Agent, node: &str) -> wire::Hello {
    wire::Hello {
        protocol: skerry_proto::PROTOCOL,
        node: node.to_owned(),
        agent_version: "fake".into(),
        labels: BTreeMap::from([("site".to_owned(), "hz".to_owned())]),
        facts: Some(wire::NodeFacts {
            architecture: "amd64".into(),
            cpu_count: 2,
            memory_bytes: 1 << 30,
            ..wire::NodeFacts::default()
        }),
        held: agent.held.as_ref().map(|(generation, set)| wire::Held::new(generation, &Digest::of(set))),
        ..wire::Hello::default()
    }
}

fn say(kind: Say) -> wire::AgentMessage {
    wire::AgentMessage { kind: Some(kind) }
}
