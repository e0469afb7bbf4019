//! `skerry-agent upgrade`: hands a binary to the agent that runs here, and waits for what becomes of it. And what a binary answers when it is
//! asked about itself.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::UpgradeArgs;
use super::status::explain;
use crate::admin::candidates;
use crate::admin::client::Agent;
use crate::admin::view::UpgradeReport;
use crate::config::Config;
use crate::engine::{Docker, Folders};
use crate::store;
use crate::upgrade::{Answer, DEFAULT_TIMEOUT, Outcome, Promise, Wish};

/// The new agent was tried and gave way.
const GAVE_WAY: u8 = 4;
/// Between two looks while a person waits. The question is answered from the agent's memory.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Well below what whoever asks for a self-check waits.
const DOCKER_TIMEOUT: Duration = Duration::from_secs(10);
/// For ending, standing for a while, and starting anew, on top of the time to stand.
const MARGIN: Duration = Duration::from_secs(60);

/// Asks for the upgrade and waits for its outcome; `tell` is told how it goes, line by line. The exit code, or what went wrong with it.
pub async fn upgrade(
    args: UpgradeArgs,
    config: &Config,
    tell: &mut dyn FnMut(&str),
) -> Result<u8, (String, u8)> {
    let UpgradeArgs { binary, timeout, place: _ } = args;
    let failed = |why: String| (why, 1);
    let binary = std::path::absolute(&binary)
        .and_then(|path| path.canonicalize())
        .map_err(|error| failed(format!("{}: {error}", binary.display())))?;
    let find = || Agent::find(candidates(config.admin_socket.as_deref(), &config.state_dir));
    let agent = find().await.map_err(|error| failed(explain(&error)))?;
    tell(&format!("{} is copied and asked about itself", binary.display()));
    let wish = Wish { binary, timeout_seconds: timeout.map(|timeout| timeout.as_secs()) };
    let Promise { id, from, to } =
        agent.upgrade(&wish).await.map_err(|error| failed(format!("refused: {}", explain(&error))))?;
    tell(&format!("version {to} is tried; version {from} stands by"));
    let deadline = Instant::now() + timeout.unwrap_or(DEFAULT_TIMEOUT) + MARGIN;
    loop {
        // Nobody answers while one agent ends and the other begins.
        if let Ok(agent) = find().await
            && let Ok(report) = agent.status().await
            && let Some(upgrade) = report.node.upgrade.filter(|upgrade| upgrade.id == id)
        {
            let UpgradeReport { outcome, message, .. } = upgrade;
            match outcome {
                Outcome::Trying => {}
                Outcome::OnProbation | Outcome::TookOver => {
                    tell(&format!("version {to} has taken over"));
                    return Ok(0);
                }
                Outcome::GaveWay | Outcome::WentBack => {
                    return Err((
                        format!("version {to} gave way, version {from} runs again: {message}"),
                        GAVE_WAY,
                    ));
                }
            }
        }
        if Instant::now() >= deadline {
            let why =
                "no agent has told what became of the upgrade; look at skerry-agent status and at the log";
            return Err((why.to_owned(), 1));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What this binary says of itself, on this box: one line of JSON, and the exit code. It changes nothing.
pub async fn self_check(config: Result<Config, String>) -> (String, u8) {
    let answer = match config {
        Err(why) => Answer::new(None, vec![why]),
        Ok(config) => {
            let wrong = store::inspect(&config.state_dir, config.store_key.as_deref());
            let docker = docker(&config.docker_socket, &config.state_dir).await;
            Answer::new(docker.err(), wrong.into_iter().map(|wrong| wrong.why).collect())
        }
    };
    let code = u8::from(!answer.problems.is_empty());
    (serde_json::to_string(&answer).unwrap_or_default() + "\n", code)
}

async fn docker(socket: &Path, state_dir: &Path) -> Result<(), String> {
    let docker = Docker::new(socket, Folders::new(state_dir).only_looked_at());
    match tokio::time::timeout(DOCKER_TIMEOUT, docker.answers()).await {
        Ok(answers) => answers.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {} s", DOCKER_TIMEOUT.as_secs())),
    }
}
