//! `skerry-agent run -f`: hands manifests to the agent that runs here, and waits until their apps are ready.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::status::explain;
use crate::admin::candidates;
use crate::admin::client::{Agent, CallError};
use crate::admin::view::AppReport;
use crate::config::Config;
use crate::manifests::TEXT_MAX;

/// Between two looks at the status while a person waits. The question is answered from the agent's memory.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// What became of the manifests.
#[derive(Debug)]
pub enum Handed {
    /// An agent has them.
    Over,
    /// None runs here: by file, for the agent that this process becomes.
    Kept(Vec<(String, String)>),
}

/// Reads the files, and gives them to the agent of this box. `tell` is told how it goes, line by line.
pub async fn hand_over(
    files: &[PathBuf],
    wait: bool,
    config: &Config,
    tell: &mut dyn FnMut(&str),
) -> Result<Handed, String> {
    let texts = files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let agent = match Agent::find(candidates(config.admin_socket.as_deref(), &config.state_dir)).await {
        Ok(agent) => agent,
        Err(error @ CallError::NoAgent { .. }) if !is_absent(&error) => return Err(explain(&error)),
        Err(CallError::NoAgent { .. }) => return Ok(Handed::Kept(texts)),
        Err(error) => return Err(explain(&error)),
    };
    let mut keys = Vec::new();
    for (file, text) in texts {
        let taken = agent.accept(text).await.map_err(|error| format!("{file}: {}", explain(&error)))?;
        taken.iter().for_each(|key| tell(&format!("{key} was handed over")));
        keys.extend(taken);
    }
    if wait {
        ready(&agent, &keys, tell).await?;
    }
    Ok(Handed::Over)
}

fn is_absent(error: &CallError) -> bool {
    match error {
        CallError::NoAgent { source, .. } => {
            matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
        }
        CallError::Refused(_) | CallError::Garbled(_) => false,
    }
}

/// The name for people, and the text.
fn read(path: &Path) -> Result<(String, String), String> {
    let (name, source): (String, Box<dyn std::io::Read>) = match path.to_str() {
        Some("-") => ("standard input".to_owned(), Box::new(std::io::stdin())),
        Some(_) | None => {
            let name = path.display().to_string();
            let file = std::fs::File::open(path).map_err(|error| format!("{name}: {error}"))?;
            (name, Box::new(file))
        }
    };
    let mut text = String::new();
    let read = source.take(TEXT_MAX as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| format!("{name}: {error}"))?;
    match text.len() > TEXT_MAX {
        true => Err(format!("{name}: a manifest of more than {TEXT_MAX} bytes is not read")),
        false => Ok((name, text)),
    }
}

/// Until all are, or one has come to rest without.
async fn ready(agent: &Agent, keys: &[String], tell: &mut dyn FnMut(&str)) -> Result<(), String> {
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let report = agent.status().await.map_err(|error| explain(&error))?;
        let apps: Vec<&AppReport> = report.apps.iter().filter(|app| keys.contains(&app.key())).collect();
        for app in &apps {
            let line = match app.message.as_str() {
                "" => format!("{}: {}", app.key(), app.phase),
                message => format!("{}: {} {message}", app.key(), app.phase),
            };
            if told.insert(app.key(), line.clone()).as_ref() != Some(&line) {
                tell(&line);
            }
        }
        if let Some(app) = apps.iter().find(|app| app.phase == "RolledBack") {
            return Err(format!("{} went back to what ran before: {}", app.key(), app.message));
        }
        if apps.len() == keys.len() && apps.iter().all(|app| app.is_well() && is_settled(app)) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What serves may be what ran before.
fn is_settled(app: &AppReport) -> bool {
    app.phase == "Running" || app.phase == "Succeeded"
}
