//! Runs one app's list of actions, in order, and tells how each went. It decides nothing: the first failure ends the list, and the
//! planner is asked again.

use std::sync::Arc;

use futures::future::join_all;
use skerry_agent_core::{Action, Outcome, Secrets, Step, Why};
use skerry_terms::{AppKey, reasons};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Engine, EngineError};

/// What the executor tells while it works on an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The step is about to be done. Told before anything happens, so that a crash can be placed between any two steps.
    Began {
        app: AppKey,
        step: Step,
    },
    Ended {
        app: AppKey,
        step: Step,
        outcome: Outcome,
    },
    /// The list is done, failed or was given up. Always told, and last.
    Left {
        app: AppKey,
        /// The step that got no answer. If the engine went away that is nobody's failure; the next look tells.
        lost: Option<Lost>,
    },
}

/// A step that got no answer, and what it would be called if the engine is there after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub step: Step,
    pub reason: &'static str,
    pub message: String,
}

/// What ends a list early.
#[derive(Debug, Clone)]
pub struct Stops {
    /// The app's spec changed: a pull is given up, everything else is finished.
    pub outdated: CancellationToken,
    /// The agent ends: no further step is begun.
    pub ending: CancellationToken,
}

pub async fn execute<E: Engine>(
    engine: Arc<E>,
    app: AppKey,
    actions: Vec<Action>,
    secrets: Secrets,
    stops: Stops,
    tell: mpsc::Sender<Progress>,
) {
    let lost = run(&*engine, &app, actions, &secrets, &stops, &tell).await.err();
    // The receiver is gone only when the agent has ended.
    let _ = tell.send(Progress::Left { app, lost }).await;
}

async fn run<E: Engine>(
    engine: &E,
    app: &AppKey,
    actions: Vec<Action>,
    secrets: &Secrets,
    stops: &Stops,
    tell: &mpsc::Sender<Progress>,
) -> Result<(), Lost> {
    for action in actions {
        if stops.ending.is_cancelled() {
            return Ok(());
        }
        let step = action.step();
        let _ = tell.send(Progress::Began { app: app.clone(), step: step.clone() }).await;
        let done = match &action {
            Action::Pull { image, auths, .. } => {
                log(app, &action);
                // Dropping the pull ends it on Docker's side, too; nothing else is left behind.
                tokio::select! {
                    biased;
                    () = stops.outdated.cancelled() => return Ok(()),
                    () = stops.ending.cancelled() => return Ok(()),
                    done = engine.pull(image, auths) => done,
                }
            }
            Action::Project(_)
            | Action::Create(_)
            | Action::Start { .. }
            | Action::PostStart { .. }
            | Action::Update { .. }
            | Action::Names { .. }
            | Action::Stop { .. }
            | Action::Remove { .. }
            | Action::Discard => {
                log(app, &action);
                act(engine, app, &action).await
            }
        };
        let outcome = match done {
            Ok(()) => Outcome::Done,
            Err(error @ EngineError::Unavailable { .. }) => {
                let message = secrets.hide(&error.to_string());
                warn!("app={app} {} was cut short: {message}", verb(&action));
                return Err(Lost { step, reason: reason(&action, &error), message });
            }
            Err(EngineError::NoImage { message }) => Outcome::NoImage { message },
            Err(error) => {
                // Docker quotes the command, and a variable in it may come from a Secret.
                let (reason, message) = (reason(&action, &error), secrets.hide(&error.to_string()));
                warn!("app={app} {} failed: {reason}: {message}", verb(&action));
                Outcome::Failed { reason, message }
            }
        };
        let failed = outcome != Outcome::Done;
        let _ = tell.send(Progress::Ended { app: app.clone(), step, outcome }).await;
        if failed {
            return Ok(());
        }
    }
    Ok(())
}

async fn act<E: Engine>(engine: &E, app: &AppKey, action: &Action) -> Result<(), EngineError> {
    match action {
        Action::Pull { image, auths, .. } => engine.pull(image, auths).await,
        Action::Project(projection) => engine.project(projection).await,
        Action::PostStart { name, hook, .. } => engine.hook(name, hook).await,
        Action::Update { id, resources, .. } => engine.update(id, resources).await,
        Action::Names { id, names } => engine.names(id, names).await,
        Action::Discard => engine.discard(app).await,
        Action::Create(spec) => engine.create(spec).await,
        Action::Start { name, .. } => engine.start(name).await,
        // Side by side: each has a grace period of its own. All are waited for, whatever becomes of one.
        Action::Stop { ids, grace, why: _ } => join_all(ids.iter().map(|id| engine.stop(id, *grace)))
            .await
            .into_iter()
            .collect::<Result<Vec<()>, _>>()
            .map(drop),
        Action::Remove { id, why: _ } => engine.remove(id).await,
    }
}

/// The stable word for a failure of this action.
fn reason(action: &Action, error: &EngineError) -> &'static str {
    match (action, error) {
        (Action::Pull { .. }, _) => reasons::IMAGE_PULL_FAILED,
        (Action::Create(_) | Action::Start { .. }, EngineError::PortTaken { .. }) => reasons::PORT_CONFLICT,
        (Action::Create(_), EngineError::Config { .. }) => reasons::CREATE_CONFIG_ERROR,
        (Action::Create(_), EngineError::Mount { .. }) => reasons::MOUNT_FAILED,
        (Action::Create(_), _) => reasons::CREATE_FAILED,
        (Action::Start { .. }, _) => reasons::START_FAILED,
        (Action::Project(_) | Action::Names { .. }, _) => reasons::MOUNT_FAILED,
        (Action::PostStart { .. }, _) => reasons::POST_START_FAILED,
        (Action::Update { .. }, _) => reasons::UPDATE_FAILED,
        (Action::Stop { .. } | Action::Remove { .. } | Action::Discard, _) => reasons::CLEANUP_FAILED,
    }
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::Pull { .. } => "pull",
        Action::Project(_) => "project",
        Action::Create(_) => "create",
        Action::Start { .. } => "start",
        Action::PostStart { .. } => "postStart",
        Action::Update { .. } => "update",
        Action::Names { .. } => "names",
        Action::Discard => "discard",
        Action::Stop { .. } => "stop",
        Action::Remove { .. } => "remove",
    }
}

/// One line per action, with what it is done to and why.
fn log(app: &AppKey, action: &Action) {
    let verb = verb(action);
    match action {
        Action::Pull { image, why, .. } => info!("{verb} image={image} app={app} why={}", why_text(*why)),
        Action::Create(spec) => {
            info!("{verb} container={} app={app} revision={}", spec.name, spec.revision);
        }
        Action::Start { name, .. } | Action::PostStart { name, .. } => {
            info!("{verb} container={name} app={app}");
        }
        Action::Update { id, .. } | Action::Names { id, .. } => info!("{verb} container={id} app={app}"),
        Action::Project(_) | Action::Discard => info!("{verb} app={app}"),
        Action::Stop { ids, grace: _, why } => {
            for id in ids {
                info!("{verb} container={id} app={app} why={}", why_text(*why));
            }
        }
        Action::Remove { id, why } => info!("{verb} container={id} app={app} why={}", why_text(*why)),
    }
}

fn why_text(why: Why) -> &'static str {
    match why {
        Why::ImageAbsent => "ImageAbsent",
        Why::PullAlways => "PullAlways",
        Why::Replaced => "Replaced",
        Why::Superseded => "Superseded",
        Why::NetworkGone => "NetworkGone",
        Why::NotDesired => "NotDesired",
        Why::AllEnded => "AllEnded",
        Why::Unhealthy => "Unhealthy",
        Why::HookFailed => "HookFailed",
    }
}
