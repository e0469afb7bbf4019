//! The agent itself: its configuration, whether it runs and what it says, what it has stored, the apps of the box's own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Finding, PATIENCE, Site, off_thread, read};
use crate::admin::candidates;
use crate::admin::client::{Agent, CallError};
use crate::admin::view::NodeReport;
use crate::manifests;
use crate::store::{Peek, Peeked, key_path, peek};

pub(super) const IDS: &[&str] =
    &["config", "agent", "agent-problems", "admin-socket", "state", "store-key", "manifests"];

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Names of files or apps in one line.
const NAMED_MAX: usize = 3;

/// What is known of the agent.
#[derive(Debug)]
struct Facts {
    config_path: PathBuf,
    config_there: bool,
    /// What is wrong with it.
    config_error: Option<String>,
    node: String,
    voice: Voice,
    /// The agent that holds the state folder, by its process.
    pid: Option<u32>,
    state: State,
    key: Key,
    /// Where the socket is on which it answers, and its mode.
    socket: Option<(PathBuf, u32)>,
    manifest_folder: PathBuf,
    /// What is wrong with which file, of how many; or why the folder cannot be read.
    manifests: Result<(usize, BTreeMap<String, String>), String>,
}

/// What the agent says.
#[derive(Debug)]
enum Voice {
    Says(Box<NodeReport>, usize),
    /// It answers, and not what can be understood.
    Garbled(String),
    Denied,
    Silent,
}

/// What is stored, as far as this user can see it.
#[derive(Debug)]
struct State {
    folder: PathBuf,
    /// Of the controller's set, and of the box's own apps: how many, or what is wrong.
    desired: Peeked<usize>,
    local: Peeked<usize>,
    kept_aside: Vec<PathBuf>,
}

/// The key of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    path: PathBuf,
    /// Mode and size. Absent: it is not there, or cannot be seen.
    found: Option<(u32, u64)>,
}

/// The process that holds a state folder, as it has written itself down, while it lives.
pub(super) fn pid(state: &Path) -> Option<u32> {
    let pid: u32 = read(&state.join("lock").display().to_string()).parse().ok()?;
    read(&format!("/proc/{pid}/comm")).starts_with("skerry-agent").then_some(pid)
}

pub(super) async fn check(site: Arc<Site>) -> Vec<Finding> {
    let config = &site.config;
    let sockets = candidates(config.admin_socket.as_deref(), &config.state_dir);
    let asked = async {
        let agent = Agent::find(sockets).await?;
        let report = agent.status().await?;
        Ok((agent.socket().to_owned(), report))
    };
    let late = |_elapsed| Err(CallError::Garbled(format!("it took longer than {} s", PATIENCE.as_secs())));
    let (socket, voice) = match tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(late) {
        Ok((socket, report)) => (Some(socket), Voice::Says(Box::new(report.node), report.apps.len())),
        Err(CallError::NoAgent { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            (None, Voice::Denied)
        }
        Err(CallError::NoAgent { .. }) => (None, Voice::Silent),
        Err(error @ (CallError::Refused(_) | CallError::Garbled(_))) => {
            (None, Voice::Garbled(error.to_string()))
        }
    };
    let site = site.clone();
    off_thread(move || judge(&probe(&site, socket, voice))).await
}

fn probe(site: &Site, socket: Option<PathBuf>, voice: Voice) -> Facts {
    let Site { config, config_error, config_path, controller_given: _ } = site;
    let key = config.store_key.clone().unwrap_or_else(|| key_path(&config.state_dir));
    let Peek { desired, local, kept_aside } = peek(&config.state_dir, &key);
    let mode = |path: &Path| fs::metadata(path).ok().map(|found| found.permissions().mode() & 0o777);
    let box_site = manifests::Site {
        architecture: crate::facts::architecture().to_owned(),
        operating_system: std::env::consts::OS.to_owned(),
        labels: config.labels.clone(),
    };
    Facts {
        config_path: config_path.clone(),
        config_there: config_path.exists(),
        config_error: config_error.clone(),
        node: config.node.to_string(),
        voice,
        pid: pid(&config.state_dir),
        state: State {
            folder: config.state_dir.clone(),
            desired: desired.map(|stored| stored.held.map_or(0, |held| held.set.len())),
            local: local.map(|local| local.apps.len()),
            kept_aside,
        },
        key: Key {
            found: fs::metadata(&key).ok().map(|found| (found.permissions().mode() & 0o777, found.len())),
            path: key,
        },
        socket: socket.and_then(|path| mode(&path).map(|mode| (path, mode))),
        manifest_folder: config.manifest_dir.clone(),
        manifests: manifests::look(&config.manifest_dir, &box_site).map_err(|error| error.to_string()),
    }
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![config(facts), agent(facts)];
    if let Voice::Says(node, _) = &facts.voice {
        findings.push(problems(node));
    }
    findings.extend(socket(facts));
    findings.push(state(&facts.state));
    findings.push(key(&facts.key, &facts.state));
    findings.push(manifest_files(facts));
    findings
}

fn config(facts: &Facts) -> Finding {
    let Facts { config_path, config_there, config_error, node, .. } = facts;
    let path = config_path.display();
    match config_error {
        Some(why) => Finding::failure(
            "config",
            format!("{why}; what is checked here are the defaults"),
            "put it right: skerry-agent run --help lists every key",
        ),
        None if *config_there => Finding::ok("config", format!("{path} is valid; node {node}")),
        None => Finding::ok("config", format!("no {path}: defaults and flags; node {node}")),
    }
}

fn agent(facts: &Facts) -> Finding {
    let id = "agent";
    let start = "systemctl start skerry-agent, or skerry-agent run; containers run on without it";
    match (&facts.voice, facts.pid) {
        (Voice::Says(node, _), _) if node.agent_version != VERSION => Finding::warning(
            id,
            format!("version {} runs, this command is of {VERSION}", node.agent_version),
            "systemctl restart skerry-agent: no container is restarted by that",
        ),
        (Voice::Says(node, apps), _) => {
            let link = if node.connected { "connected" } else { "not connected" };
            let docker = if node.docker_ready { "ready" } else { "not ready" };
            Finding::ok(id, format!("{VERSION} runs, {apps} apps, controller {link}, Docker {docker}"))
        }
        (Voice::Garbled(why), _) => {
            Finding::failure(id, format!("it cannot be understood: {why}"), "systemctl restart skerry-agent")
        }
        (Voice::Denied, _) => Finding::warning(
            id,
            "it runs; this user may not ask it",
            "run this with sudo, as the user that it runs as",
        ),
        (Voice::Silent, Some(pid)) => Finding::warning(
            id,
            format!("process {pid} has the state folder, and answers on no socket that is known here"),
            "give this command the same flags as the agent; its log says where it answers",
        ),
        (Voice::Silent, None) => Finding::warning(id, "none runs", start),
    }
}

fn problems(node: &NodeReport) -> Finding {
    let told: Vec<String> =
        node.problems.iter().map(|problem| format!("{}: {}", problem.kind, problem.message)).collect();
    match told.is_empty() {
        true => Finding::ok("agent-problems", "the agent complains of nothing"),
        false => Finding::warning(
            "agent-problems",
            told.join("; "),
            "docs/reasons.md says what each reason is about",
        ),
    }
}

fn socket(facts: &Facts) -> Option<Finding> {
    let (path, mode) = facts.socket.as_ref()?;
    let id = "admin-socket";
    let path = path.display();
    Some(match mode & 0o077 {
        0 => Finding::ok(id, format!("{path}, mode {mode:03o}")),
        _ => Finding::warning(
            id,
            format!("{path} has mode {mode:03o}: others than the agent's user may hand over apps"),
            format!("chmod 600 {path}"),
        ),
    })
}

fn state(state: &State) -> Finding {
    let id = "state";
    let State { folder, desired, local, kept_aside } = state;
    let name = folder.display();
    for (file, error) in [("desired.bin", wrong(desired)), ("local.bin", wrong(local))] {
        match error {
            None => {}
            Some(Peeked::Newer { found }) => {
                return Finding::failure(
                    id,
                    format!("{name}/{file} is of a newer agent (format {found})"),
                    "install that version of the agent again",
                );
            }
            Some(Peeked::Unreadable { denied: true, .. }) => {
                let found = format!("this user may not read {name}/{file}");
                return Finding::warning(id, found, "run this with sudo, as the user that the agent runs as");
            }
            Some(Peeked::Corrupt { why } | Peeked::Unreadable { denied: false, why }) => {
                return Finding::failure(
                    id,
                    format!("{name}/{file} cannot be read: {why}"),
                    "the agent keeps it aside when it starts and gets a fresh copy of the controller; containers are not touched",
                );
            }
            Some(Peeked::Missing | Peeked::Loaded(())) => {}
        }
    }
    let count = |peeked: &Peeked<usize>| match peeked {
        Peeked::Loaded(count) => *count,
        Peeked::Missing | Peeked::Corrupt { .. } | Peeked::Newer { .. } | Peeked::Unreadable { .. } => 0,
    };
    if let Some(aside) = kept_aside.last() {
        return Finding::warning(
            id,
            format!("it is readable; an earlier one was not, and was kept as {}", aside.display()),
            "look for a failing disk (dmesg), then remove that file",
        );
    }
    match (desired, local) {
        (Peeked::Missing, Peeked::Missing) => Finding::ok(id, format!("nothing is stored in {name} yet")),
        _ => Finding::ok(
            id,
            format!(
                "readable: {} apps of the controller, {} handed over on the box",
                count(desired),
                count(local)
            ),
        ),
    }
}

/// Why it cannot be read, if it is there.
fn wrong(peeked: &Peeked<usize>) -> Option<Peeked<()>> {
    match peeked {
        Peeked::Missing | Peeked::Loaded(_) => None,
        Peeked::Corrupt { why } => Some(Peeked::Corrupt { why: why.clone() }),
        Peeked::Newer { found } => Some(Peeked::Newer { found: *found }),
        Peeked::Unreadable { denied, why } => Some(Peeked::Unreadable { denied: *denied, why: why.clone() }),
    }
}

fn key(key: &Key, state: &State) -> Finding {
    let id = "store-key";
    let Key { path, found } = key;
    let path = path.display();
    let stored = !matches!((&state.desired, &state.local), (Peeked::Missing, Peeked::Missing));
    match found {
        None if stored => Finding::failure(
            id,
            format!(
                "{path} is not there, or this user cannot see it: without it what is stored cannot be read"
            ),
            "put it back; is the medium mounted that it is on? Or run this with sudo",
        ),
        None => Finding::ok(id, format!("{path} will be made with the first thing to store")),
        Some((_, size)) if *size != 32 => Finding::failure(
            id,
            format!("{path} has {size} bytes instead of 32: it is no key"),
            "put the right one back; without it, remove it and what is stored: the controller sends a fresh copy",
        ),
        Some((mode, _)) if mode & 0o077 != 0 => Finding::warning(
            id,
            format!("{path} has mode {mode:03o}: others may read it"),
            format!("chmod 600 {path}"),
        ),
        Some((mode, _)) => Finding::ok(id, format!("{path}, mode {mode:03o}")),
    }
}

fn manifest_files(facts: &Facts) -> Finding {
    let id = "manifests";
    let folder = facts.manifest_folder.display();
    match &facts.manifests {
        Err(why) => Finding::warning(
            id,
            format!("{folder} cannot be read: {why}"),
            "run this with sudo; else chmod, so that the agent can read it",
        ),
        Ok((0, _)) => Finding::ok(id, format!("no files in {folder}")),
        Ok((count, wrong)) if wrong.is_empty() => Finding::ok(id, format!("{count} files in {folder}")),
        Ok((count, wrong)) => {
            let named = wrong.iter().take(NAMED_MAX).map(|(file, why)| format!("{file}: {why}"));
            let named = named.collect::<Vec<_>>().join("; ");
            Finding::warning(
                id,
                format!("{} of {count} files in {folder} are wrong: {named}", wrong.len()),
                "put them right: the agent reads them at once; until then what they held before stays in force",
            )
        }
    }
}

#[cfg(test)]
mod tests;
