//! What must hold after any fault, whatever it was: one look at Docker, at the kernel's mounts, at the state folder, at the agent's status and
//! at its log. All fault tests and the random ones end here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bollard::models::ContainerInspectResponse;
use skerry_terms::labels;
use skerry_tests::Outpost;

use crate::apps::{App, Fate};

/// From the last fault until everything is as it is to be.
pub const CONVERGED: Duration = Duration::from_secs(30);

/// Between two looks.
const STEP: Duration = Duration::from_millis(50);

/// One container of ours, as Docker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub app: String,
    pub role: String,
    pub name: String,
    pub id: String,
    pub started_at: String,
    pub running: bool,
    pub exit_code: i64,
    /// Of its spec.
    pub hash: String,
    pub restarts: u32,
    pub value: Option<u32>,
}

impl Seen {
    fn of(role: String, found: ContainerInspectResponse) -> Self {
        let state = found.state.unwrap_or_default();
        let config = found.config.unwrap_or_default();
        let labelled = config.labels.unwrap_or_default();
        let label = |key: &str| labelled.get(key).cloned().unwrap_or_default();
        let value =
            config.env.unwrap_or_default().iter().find_map(|pair| pair.strip_prefix("VALUE=")?.parse().ok());
        Self {
            app: label(labels::APP),
            role,
            name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
            id: found.id.unwrap_or_default(),
            started_at: state.started_at.unwrap_or_default(),
            running: state.running.unwrap_or(false),
            exit_code: state.exit_code.unwrap_or(-1),
            hash: label(labels::SPEC_HASH),
            restarts: label(labels::RESTART_COUNT).parse().unwrap_or(0),
            value,
        }
    }

    /// It was never started, and holds an image.
    fn is_pin(&self) -> bool {
        self.app.is_empty() && self.name.contains("_pin_")
    }
}

/// Every container of the box, whatever its state.
pub async fn containers(outpost: &Outpost) -> Result<Vec<Seen>> {
    let all = outpost.containers().await?.all().await?;
    Ok(all.into_iter().map(|(role, found)| Seen::of(role, found)).collect())
}

/// Waits until all is as it is to be, and returns the containers.
pub async fn settled(outpost: &Outpost, apps: &[App]) -> Result<Vec<Seen>> {
    let start = Instant::now();
    loop {
        match look(outpost, apps).await {
            Ok(seen) => return Ok(seen),
            Err(error) if start.elapsed() > CONVERGED => {
                let log = outpost.output();
                let lines: Vec<&str> = log.lines().collect();
                let tail = lines[lines.len().saturating_sub(40)..].join("\n");
                bail!(
                    "not converged within {} s: {error:#}\nthe agent's last words:\n{tail}",
                    CONVERGED.as_secs()
                )
            }
            Err(_) => tokio::time::sleep(STEP).await,
        }
    }
}

/// One look: fails with the first thing that is not as it is to be.
pub async fn look(outpost: &Outpost, apps: &[App]) -> Result<Vec<Seen>> {
    let mut seen = containers(outpost).await?;
    // As long as a copy of what was lost lies there, an agent cannot know which pins are needed, and takes none away.
    if is_lost(outpost)? {
        seen.retain(|one| !one.is_pin());
    }
    as_desired(&seen, apps)?;
    nothing_is_left(outpost, &seen, apps).await?;
    told_truly(outpost, &seen, apps).await?;
    let log = outpost.output();
    for word in ["panicked at", " bug", "BUG"] {
        ensure!(!log.contains(word), "the log speaks of {word:?}: {}", outpost.log().display());
    }
    Ok(seen)
}

/// Something of what the agent had stored was damaged, and is kept aside.
fn is_lost(outpost: &Outpost) -> Result<bool> {
    for entry in std::fs::read_dir(outpost.state_dir())? {
        if entry?.file_name().to_string_lossy().contains(".corrupt-") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Exactly the desired containers, each once, each of the right revision.
fn as_desired(seen: &[Seen], apps: &[App]) -> Result<()> {
    let mut left: BTreeMap<(&str, &str), &Seen> = BTreeMap::new();
    for one in seen {
        let twin = left.insert((&one.app, &one.role), one);
        ensure!(twin.is_none(), "two containers: {one:?} and {twin:?}");
    }
    for app in apps {
        for (role, fate) in app.roles() {
            let one = left.remove(&(app.name.as_str(), *role));
            let one = one.with_context(|| format!("{} has no container {role}", app.name))?;
            match fate {
                Fate::Runs => ensure!(one.running, "it does not run: {one:?}"),
                Fate::Ended => ensure!(!one.running && one.exit_code == 0, "it has not ended well: {one:?}"),
            }
            ensure!(
                *role == labels::SANDBOX || one.value == Some(app.value),
                "not value {}: {one:?}",
                app.value
            );
        }
    }
    ensure!(left.is_empty(), "nobody asked for {left:?}");
    Ok(())
}

/// No volume, network, mount or folder of what is not there any more.
async fn nothing_is_left(outpost: &Outpost, seen: &[Seen], apps: &[App]) -> Result<()> {
    let namespace = format!("label={}={}", labels::NAMESPACE, outpost.name);
    let volumes = outpost.options.host.run(&["volume", "ls", "--quiet", "--filter", &namespace]).await?;
    ensure!(volumes.is_empty(), "volumes are left: {volumes}");
    let node = format!("label={}={}", labels::NODE, outpost.name);
    let networks = outpost.options.host.run(&["network", "ls", "--quiet", "--filter", &node]).await?;
    ensure!(networks.is_empty(), "networks are left: {networks}");
    let mounted = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mine = format!("skerry_{}_", outpost.name);
    for place in mounted.lines().filter_map(|line| line.split(' ').nth(4)) {
        let mut parts = place.split('/');
        let Some(container) = parts.find(|part| part.starts_with(&mine)) else { continue };
        ensure!(seen.iter().any(|one| one.name == container), "{place} is mounted for no container");
    }
    let folder = outpost.state_dir().join("volumes").join(&outpost.name);
    let kept: BTreeSet<String> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect(),
        Err(_) => BTreeSet::new(),
    };
    let wanted: BTreeSet<String> = apps.iter().map(|app| app.name.clone()).collect();
    let left: Vec<&String> = kept.difference(&wanted).collect();
    ensure!(left.is_empty(), "{} holds {left:?} of apps that are gone", folder.display());
    Ok(())
}

/// `skerry-agent status` says what Docker says.
async fn told_truly(outpost: &Outpost, seen: &[Seen], apps: &[App]) -> Result<()> {
    let status = outpost.status().await?;
    let told = status["apps"].as_array().context("a list of apps")?;
    ensure!(told.len() == apps.len(), "{} apps are told of, {} are there: {told:?}", told.len(), apps.len());
    for app in apps {
        let one = told.iter().find(|one| one["name"] == *app.name);
        let one = one.with_context(|| format!("the status does not speak of {}", app.name))?;
        ensure!(one["phase"] == app.phase && one["ready"] == true, "{one}");
        for container in one["containers"].as_array().context("a list of containers")? {
            let role = container["name"].as_str().unwrap_or_default();
            let real = seen.iter().find(|found| found.app == app.name && found.role == role);
            let real = real.with_context(|| format!("there is no container for {container}"))?;
            ensure!(container["id"] == *real.id, "{container} is {real:?}");
            ensure!(container["restartCount"] == real.restarts, "{container} is {real:?}");
            ensure!((container["state"] == "Running") == real.running, "{container} is {real:?}");
        }
    }
    Ok(())
}

/// What ran at a moment and is still of the revision that is desired was not touched since: same id, same start.
pub fn untouched(before: &[Seen], after: &[Seen]) -> Result<()> {
    for one in before.iter().filter(|one| one.running) {
        let same = |other: &&Seen| other.app == one.app && other.role == one.role && other.hash == one.hash;
        if let Some(now) = after.iter().find(same) {
            ensure!(
                (&now.id, &now.started_at) == (&one.id, &one.started_at),
                "it was as desired and was restarted: {one:?} became {now:?}"
            );
        }
    }
    Ok(())
}
