//! Docker's event stream, as signals. While nothing happens on the box, nothing is read and nothing is asked.

use std::time::Duration;

use bollard::models::{EventMessage, EventMessageTypeEnum};
use skerry_agent_core::Backoff;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::docker::{ASK_TIMEOUT, Docker, bounded, lock};
use super::refusal::classify;
use super::transport::{Lines, encoded};
use super::{EngineError, Signal};

/// Between attempts to reach a Docker that is away. Short at its longest: a try is one connect on a local socket, and containers of
/// a box that starts wait for it.
const RECONNECT: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1) };

/// A stream that stood this long was a working one.
const STEADY: Duration = Duration::from_secs(5);

/// What can change a plan. Everything else (exec, health checks, network, attach …) stays in Docker; so does `create`, because a container
/// that was only created holds nothing, and one that we create is started in the next moment.
const CONTAINER_EVENTS: [&str; 8] =
    ["start", "die", "destroy", "pause", "unpause", "rename", "oom", "update"];
const IMAGE_EVENTS: [&str; 6] = ["pull", "tag", "untag", "delete", "load", "import"];

/// Follows the events, over all connections that come and go, until nobody listens.
pub(super) async fn watch(docker: &Docker, signals: &mpsc::Sender<Signal>) {
    let mut attempt = 0;
    let mut told_down = false;
    while !signals.is_closed() {
        let began = Instant::now();
        let (connected, why) = follow(docker, signals).await;
        docker.disconnect();
        if (connected || !told_down) && signals.send(Signal::Down { why }).await.is_err() {
            return;
        }
        told_down = true;
        attempt = if connected && began.elapsed() >= STEADY { 0 } else { attempt };
        tokio::time::sleep(RECONNECT.delay(attempt)).await;
        attempt = attempt.saturating_add(1);
    }
}

/// One connection, until it ends: whether it stood, and why it ended.
async fn follow(docker: &Docker, signals: &mpsc::Sender<Signal>) -> (bool, String) {
    // Taken before anything is asked: events between the look that follows and Docker's subscription are sent again. A clock that is set in
    // between loses nothing: Docker sends what happens from now on whatever was asked for, and of before at most what it remembers.
    let since = crate::clock::wall_now().0 / 1000;
    let (mut events, version) = match connect(docker, since).await {
        Ok(connected) => connected,
        Err(error) => return (false, error.to_string()),
    };
    lock(&docker.inspected).forget_all();
    if signals.send(Signal::Up { version }).await.is_err() {
        return (true, "nobody listens".to_owned());
    }
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = signals.closed() => return (true, "nobody listens".to_owned()),
        };
        match event {
            Ok(Some(event)) => mark(docker, event),
            Err(error) => {
                let error = classify(error, Duration::ZERO);
                return (true, format!("docker's event stream broke: {error}"));
            }
            Ok(None) => return (true, "docker closed its event stream; is it restarting?".to_owned()),
        }
        if signals.send(Signal::Changed).await.is_err() {
            return (true, "nobody listens".to_owned());
        }
    }
}

/// The stream stands when this returns.
async fn connect(docker: &Docker, since: i64) -> Result<(Lines, String), EngineError> {
    let client = docker.client().await?;
    let version = docker.version().await?.version.unwrap_or_default();
    let events: Vec<&str> = CONTAINER_EVENTS.into_iter().chain(IMAGE_EVENTS).collect();
    let filters = serde_json::json!({ "type": ["container", "image"], "event": events }).to_string();
    let path = format!("/events?since={since}&filters={}", encoded(&filters));
    let lines = bounded(ASK_TIMEOUT, Lines::open(&client, &docker.socket, &path)).await?;
    Ok((lines, version))
}

/// The container that an event names is inspected again.
fn mark(docker: &Docker, event: EventMessage) {
    let id = event.actor.and_then(|actor| actor.id);
    match (event.typ, id) {
        (Some(EventMessageTypeEnum::CONTAINER), Some(id)) => lock(&docker.inspected).forget(&id),
        // Not about a container, as far as it says.
        (Some(_), _) => {}
        (None, _) => lock(&docker.inspected).forget_all(),
    }
}
