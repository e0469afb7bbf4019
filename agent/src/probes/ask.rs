//! One question to one container, as kubelet asks it, within the probe's timeout.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use skerry_agent_core::{ContainerId, Handler, Probe, ProbeTask};
use skerry_terms::Chain;
use tokio::net::TcpStream;
use tracing::debug;

use super::Turns;
use crate::engine::{Engine, EngineError, Ran};
use crate::http_get::http_get;
use crate::uplink::health;

/// A question that takes longer gives its turn to the next one: a container that hangs must not hold up those that are well.
const TURN: Duration = Duration::from_secs(1);
/// Of what a container says, what is kept for people.
const MESSAGE_MAX: usize = 512;

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Success,
    /// In words.
    Failure(String),
    /// It could not be asked, which says nothing about the container.
    None,
}

/// Asks, as soon as there is a turn for it.
pub(super) async fn ask<E: Engine>(engine: &E, turns: &Turns, id: &ContainerId, task: &ProbeTask) -> Answer {
    let turns = match task.probe.handler {
        Handler::Exec { .. } => &turns.execs,
        Handler::Http(_) | Handler::Tcp { .. } | Handler::Grpc { .. } => &turns.calls,
    };
    let turn = turns.acquire().await;
    let mut answer = Box::pin(answer(engine, id, task));
    tokio::select! {
        answer = &mut answer => answer,
        () = tokio::time::sleep(TURN) => {
            drop(turn);
            answer.await
        }
    }
}

async fn answer<E: Engine>(engine: &E, id: &ContainerId, task: &ProbeTask) -> Answer {
    let ProbeTask { probe: Probe { handler, timeout, .. }, address, started_at: _ } = task;
    match handler {
        Handler::Exec { command } => exec(engine, id, command, *timeout).await,
        Handler::Http(get) => match http_get(get, *address, *timeout).await {
            Ok(answer) if answer.is_success() => Answer::Success,
            Ok(answer) => Answer::Failure(format!("HTTP probe failed with statuscode: {}", answer.status)),
            Err(error) => failure(Chain(&error).to_string()),
        },
        Handler::Tcp { host, port } => tcp(host.as_deref(), *address, *port, *timeout).await,
        Handler::Grpc { port, service } => grpc(*address, *port, service, *timeout).await,
    }
}

fn failure(message: impl Into<String>) -> Answer {
    let mut message = message.into();
    let cut = (0..=MESSAGE_MAX.min(message.len())).rev().find(|at| message.is_char_boundary(*at));
    message.truncate(cut.unwrap_or(0));
    Answer::Failure(message)
}

async fn exec<E: Engine>(engine: &E, id: &ContainerId, command: &[String], timeout: Duration) -> Answer {
    match engine.exec(id, command, timeout).await {
        Ok(Ran { exit_code: 0, output: _ }) => Answer::Success,
        Ok(Ran { exit_code, output }) => match output.trim() {
            "" => failure(format!("the command ended with exit code {exit_code}")),
            output => failure(output),
        },
        Err(EngineError::TimedOut { after }) => {
            failure(format!("command {command:?} timed out after {} s", after.as_secs_f32()))
        }
        // As kubelet throws away what was no answer of the container. That it is gone, the next look tells.
        Err(
            error @ (EngineError::Unavailable { .. }
            | EngineError::Refused { .. }
            | EngineError::NoImage { .. }
            | EngineError::Config { .. }
            | EngineError::Mount { .. }
            | EngineError::PortTaken { .. }),
        ) => {
            debug!("container={id}: cannot run the probe's command: {error}");
            Answer::None
        }
    }
}

/// The spec's own host, or the container's address.
fn host(host: Option<&str>, address: Option<IpAddr>) -> Result<String, Answer> {
    let address = || address.map(|address| address.to_string());
    host.map(str::to_owned)
        .or_else(address)
        .ok_or_else(|| failure("the container has no address in Docker's network"))
}

async fn tcp(given: Option<&str>, address: Option<IpAddr>, port: NonZeroU16, timeout: Duration) -> Answer {
    let host = match host(given, address) {
        Ok(host) => host,
        Err(answer) => return answer,
    };
    match tokio::time::timeout(timeout, TcpStream::connect((host.as_str(), port.get()))).await {
        Ok(Ok(_connection)) => Answer::Success,
        Ok(Err(error)) => failure(format!("dial tcp {host}:{port}: {error}")),
        Err(_elapsed) => {
            failure(format!("dial tcp {host}:{port}: no answer within {} s", timeout.as_secs_f32()))
        }
    }
}

async fn grpc(address: Option<IpAddr>, port: NonZeroU16, service: &str, timeout: Duration) -> Answer {
    let Some(address) = address else {
        return failure("the container has no address in Docker's network");
    };
    match tokio::time::timeout(timeout, health::check(address, port, service)).await {
        Ok(Ok(())) => Answer::Success,
        Ok(Err(why)) => failure(why),
        Err(_elapsed) => {
            failure(format!("timeout: health rpc did not complete within {} s", timeout.as_secs_f32()))
        }
    }
}
