//! Transitions between the core's words and the wire's, which are also those on disk.

use skerry_agent_core::outbox::{About, Batch, News, Transition};
use skerry_agent_core::{Monotonic, WallMillis};
use skerry_proto::{WireError, app_key, caps, wire};
use skerry_terms::Phase;

/// A batch as it is sent at `now`. `offset`: the controller's time less the box's.
pub fn message(batch: Batch, offset: Option<i64>, now: Monotonic) -> wire::AgentMessage {
    let Batch { run, transitions, dropped } = batch;
    let transitions = wire::Transitions {
        run,
        items: transitions.iter().map(|transition| encode(transition, now)).collect(),
        dropped: dropped.total(),
        clock_offset_millis: offset,
    };
    wire::AgentMessage { kind: Some(wire::agent_message::Kind::Transitions(transitions)) }
}

pub(crate) fn encode(transition: &Transition, now: Monotonic) -> wire::Transition {
    let Transition { run: _, sequence, news, count, first, last, at, sent: _ } = transition;
    let News { about, uid, revision, phase, reason, message, warning, exit_code, restart_count } = news;
    let (app, container, side) = match about {
        About::App(key) => (Some(key), "", ""),
        About::Container(key, container) => (Some(key), container.as_str(), ""),
        About::Node(side) => (None, "", side.as_str()),
    };
    let phase = phase.map_or(wire::Phase::Unspecified, wire::Phase::from);
    wire::Transition {
        sequence: *sequence,
        namespace: app.map(|key| key.namespace().to_owned()).unwrap_or_default(),
        name: app.map(|key| key.name().to_owned()).unwrap_or_default(),
        uid: uid.clone(),
        container: container.to_owned(),
        side: side.to_owned(),
        revision: revision.clone(),
        phase: phase.into(),
        reason: reason.clone(),
        message: message.clone(),
        warning: *warning,
        count: *count,
        first_millis: first.0,
        last_millis: last.0,
        age_millis: at.map(|at| u64::try_from(at.until(now).as_millis()).unwrap_or(u64::MAX)),
        exit_code: exit_code.map(|code| i32::try_from(code).unwrap_or(i32::MAX)),
        restart_count: *restart_count,
    }
}

/// What was kept on disk. How long ago it was is not known any more.
pub(crate) fn decode(run: u64, sent: bool, transition: wire::Transition) -> Result<Transition, WireError> {
    let phase = transition.phase();
    let wire::Transition {
        sequence,
        namespace,
        name,
        uid,
        container,
        side,
        revision,
        phase: _,
        reason,
        message,
        warning,
        count,
        first_millis,
        last_millis,
        age_millis: _,
        exit_code,
        restart_count,
    } = transition;
    let about = match (side.is_empty(), container.is_empty()) {
        (false, _) => About::Node(side),
        (true, false) => About::Container(app_key(&namespace, &name)?, container),
        (true, true) => About::App(app_key(&namespace, &name)?),
    };
    let news = News {
        about,
        uid: caps::truncate(&uid, caps::WORD_MAX),
        revision,
        phase: (phase != wire::Phase::Unspecified).then(|| Phase::from(phase)),
        reason,
        message,
        warning,
        exit_code: exit_code.map(i64::from),
        restart_count,
    };
    let (first, last) = (WallMillis(first_millis), WallMillis(last_millis));
    Ok(Transition { run, sequence, news, count, first, last, at: None, sent })
}
