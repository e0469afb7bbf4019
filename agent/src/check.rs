//! `skerry-agent check`: is this box fit for the agent, and what is to be done where it is not. Every check is a judgement over facts that a
//! probe has gathered: the judgement is pure, the probe changes nothing on the box. It works with and without an agent.
//!
//! Probes run side by side and each is bounded, so that the whole ends within [`WITHIN`] whatever hangs.

mod agent;
mod boot;
mod clock;
mod disk;
mod docker;
mod kernel;
mod mounts;
mod network;
mod place;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;

use crate::config::Config;

/// The longest that all checks together may take.
pub const WITHIN: Duration = Duration::from_secs(12);
/// One question to Docker, a name server or the controller. Below [`WITHIN`], so that it is told who did not answer.
const PATIENCE: Duration = Duration::from_secs(8);

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    /// The agent works; something that apps may want does not, or will not for long.
    Warning,
    /// The agent cannot do its work.
    Failure,
}

impl Outcome {
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable: scripts go by it.
    pub id: &'static str,
    pub outcome: Outcome,
    /// One line.
    pub found: String,
    /// What to do. Empty where all is well.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

impl Finding {
    fn ok(id: &'static str, found: impl Into<String>) -> Self {
        Self { id, outcome: Outcome::Ok, found: found.into(), fix: String::new() }
    }

    fn warning(id: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id, outcome: Outcome::Warning, found: found.into(), fix: fix.into() }
    }

    fn failure(id: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { id, outcome: Outcome::Failure, found: found.into(), fix: fix.into() }
    }
}

/// The box that is checked, as its agent is configured.
#[derive(Debug)]
pub struct Site {
    pub config: Config,
    /// Why the configuration is not the one that was given, but defaults.
    pub config_error: Option<String>,
    pub config_path: PathBuf,
    /// Somebody named the controller: a box without one is fine, one that cannot reach its own is not.
    pub controller_given: bool,
}

type Findings = Vec<Finding>;
type Probe = Pin<Box<dyn Future<Output = Findings> + Send>>;

/// Checks that share a probe.
struct Group {
    ids: &'static [&'static str],
    probe: fn(Arc<Site>) -> Probe,
}

/// In the order in which they are shown.
const GROUPS: [Group; 9] = [
    Group { ids: docker::IDS, probe: |site| Box::pin(docker::check(site)) },
    Group { ids: disk::IDS, probe: |site| Box::pin(disk::check(site)) },
    Group { ids: clock::IDS, probe: |site| Box::pin(off_thread(move || clock::check(&site))) },
    Group { ids: network::DNS_IDS, probe: |site| Box::pin(network::names(site)) },
    Group { ids: network::IDS, probe: |site| Box::pin(network::check(site)) },
    Group { ids: kernel::IDS, probe: |site| Box::pin(off_thread(move || kernel::check(&site))) },
    Group { ids: mounts::IDS, probe: |site| Box::pin(off_thread(move || mounts::check(&site))) },
    Group { ids: agent::IDS, probe: |site| Box::pin(agent::check(site)) },
    Group { ids: boot::IDS, probe: |site| Box::pin(off_thread(move || boot::check(&site))) },
];

/// All ids, in the order in which they are shown.
pub fn ids() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.ids.iter().copied())
}

/// Which checks are wanted. By default all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Only(BTreeSet<&'static str>);

impl FromStr for Only {
    type Err = String;
    /// `docker,disk-state`: an id, or the word that several begin with.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut wanted = BTreeSet::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let meant =
                |id: &&str| *id == word || id.strip_prefix(word).is_some_and(|rest| rest.starts_with('-'));
            let found: Vec<_> = ids().filter(meant).collect();
            if found.is_empty() {
                let all: Vec<_> = ids().collect();
                return Err(format!("there is no check {word:?}; there are {}", all.join(", ")));
            }
            wanted.extend(found);
        }
        match wanted.is_empty() {
            true => Err("no check is named".to_owned()),
            false => Ok(Self(wanted)),
        }
    }
}

impl Only {
    fn wants(&self, id: &str) -> bool {
        self.0.is_empty() || self.0.contains(id)
    }
}

/// Runs the checks. `tell` hears, again and again, how many answers are awaited, and of what.
pub async fn check(site: Arc<Site>, only: &Only, tell: &mut dyn FnMut(&[&str])) -> Vec<Finding> {
    let mut waiting: Vec<&str> = Vec::new();
    let mut running = FuturesUnordered::new();
    for group in GROUPS.iter().filter(|group| group.ids.iter().any(|id| only.wants(id))) {
        waiting.push(group.ids[0]);
        let probe = (group.probe)(site.clone());
        running.push(async move {
            let found = tokio::time::timeout(WITHIN, probe).await;
            (group, found.unwrap_or_else(|_elapsed| group.ids.iter().map(|id| hangs(id)).collect()))
        });
    }
    let mut findings = Vec::new();
    tell(&waiting);
    while let Some((group, found)) = running.next().await {
        findings.extend(found);
        waiting.retain(|name| *name != group.ids[0]);
        tell(&waiting);
    }
    findings.extend(
        only.0
            .iter()
            .filter(|id| !findings.iter().any(|f| f.id == **id))
            .map(|id| unknown(id))
            .collect::<Vec<_>>(),
    );
    findings.retain(|finding| only.wants(finding.id));
    findings.sort_by_key(|finding| ids().position(|id| id == finding.id));
    findings
}

fn hangs(id: &'static str) -> Finding {
    Finding::failure(
        id,
        format!("not found out within {} s", WITHIN.as_secs()),
        "something on the box hangs: a disk, a network file system, a name server; dmesg may say which",
    )
}

/// It was asked for by name, and what it stands on is not there.
fn unknown(id: &'static str) -> Finding {
    Finding::warning(id, "cannot be told as things are", "look at all checks: skerry-agent check")
}

/// Files can hang: those that are asked about are asked for on a thread of their own.
async fn off_thread<T: Default + Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

/// A small file of the kernel's or the system's, without its last line break. Empty when it cannot be read.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

/// For people: `1.4 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    // Tenths, so that nothing is rounded before it is shown.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_named_by_id_or_by_their_first_word() {
        let only: Only = "docker-version, disk".parse().expect("both are there");
        assert!(only.wants("docker-version") && only.wants("disk-state") && only.wants("disk-docker"));
        assert!(!only.wants("docker") && !only.wants("clock"));
        let error = "docker,dokcer".parse::<Only>().expect_err("no such check");
        assert!(error.contains("\"dokcer\"") && error.contains("docker-version"), "{error}");
        assert!(" , ".parse::<Only>().is_err());
        assert!(Only::default().wants("clock"));
    }

    #[test]
    fn no_id_is_given_twice() {
        let all: BTreeSet<_> = ids().collect();
        assert_eq!(all.len(), ids().count());
    }

    #[test]
    fn sizes_are_as_people_say_them() {
        for (bytes, text) in [
            (0, "0.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 20, "5.0 MiB"),
            (1_503_238_553, "1.3 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
