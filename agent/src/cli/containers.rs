//! The containers of an app, as Docker has them: by our labels, whether the agent runs or not. Where it does, it says why one is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skerry_agent_core::{ContainerId, Desired, Host, Observed, ObservedContainer, Role};

use super::status::one_line;
use super::target::AppName;
use crate::admin::candidates;
use crate::admin::client::Agent;
use crate::admin::view::{AppReport, ContainerReport};
use crate::config::Config;
use crate::engine::{Docker, Engine as _, Folders};

/// Docker, and the container that is meant.
#[derive(Debug)]
pub(super) struct Found {
    pub docker: Docker,
    pub id: ContainerId,
}

/// Which of a container's runs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// The one that runs, else the newest.
    Present,
    /// The one before.
    Previous,
}

/// How long the agent has to say what it knows: its answer comes from memory, and Docker's is enough without it.
const AGENT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn find(
    config: &Config,
    app: &AppName,
    container: Option<&str>,
    run: Run,
) -> Result<Found, String> {
    let docker = Docker::new(&config.docker_socket, Folders::new(&config.state_dir));
    let nothing = Desired {
        node: config.node.clone(),
        apps: BTreeMap::new(),
        complete: false,
        retired: BTreeSet::new(),
        host: Host::default(),
    };
    let world = match docker.observe(Arc::new(nothing)).await {
        Observed::Known(world) => world,
        Observed::Unknown { why } => return Err(why),
    };
    let reports = reports(config).await;
    let id = choose(&world.containers, &reports, app, container, run)?;
    Ok(Found { docker, id })
}

/// What the agent says of its apps. Nothing when it does not answer.
async fn reports(config: &Config) -> Vec<AppReport> {
    let ask = async {
        let agent = Agent::find(candidates(config.admin_socket.as_deref(), &config.state_dir)).await?;
        agent.status().await
    };
    match tokio::time::timeout(AGENT_TIMEOUT, ask).await {
        Ok(Ok(report)) => report.apps,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn choose(
    containers: &BTreeMap<ContainerId, ObservedContainer>,
    reports: &[AppReport],
    app: &AppName,
    container: Option<&str>,
    run: Run,
) -> Result<ContainerId, String> {
    let mut apps: BTreeMap<String, Runs<'_>> =
        reports.iter().map(|report| (report.key(), Runs::new())).collect();
    for (id, found) in containers {
        if let Some(owner) = found.ownership()
            && let Role::Container(name) = &owner.role
        {
            let runs = apps.entry(owner.app.to_string()).or_default();
            runs.entry(name.to_string()).or_default().push((id, found));
        }
    }
    let key = app.among(apps.keys().map(String::as_str))?;
    let mut runs = apps.remove(&key).unwrap_or_default();
    let report = reports.iter().find(|report| report.key() == key);
    let names: Vec<String> = runs.keys().cloned().collect();
    if names.is_empty() {
        let why = report.map(|report| because(&report.reason, &report.message)).unwrap_or_default();
        return Err(format!("app {key} has no container{why}"));
    }
    let name = match (container, names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => {
            return Err(format!("app {key} has the containers {}; choose one with -c", names.join(", ")));
        }
    };
    let mut runs = runs.remove(name).ok_or_else(|| {
        let of_name = |report: &&ContainerReport| report.name == *name;
        match report.and_then(|report| report.containers.iter().find(of_name)) {
            Some(ContainerReport { reason, message, .. }) => {
                format!("container {name} of app {key} is not there yet{}", because(reason, message))
            }
            None => format!("app {key} has no container {name}; it has {}", names.join(", ")),
        }
    })?;
    // The newest first: what lives before what has ended, then by how often it was restarted before.
    let newest = |found: &ObservedContainer| {
        let restarts = found.ownership().map_or(0, |owner| owner.restart_count);
        (found.state.is_alive(), found.state.started_at(), restarts)
    };
    runs.sort_by_key(|(_, found)| std::cmp::Reverse(newest(found)));
    let at = match run {
        Run::Present => 0,
        Run::Previous => 1,
    };
    let (id, _) = runs.get(at).ok_or_else(|| {
        format!("no earlier run of container {name} of app {key} is kept; its last words are in skerry-agent status")
    })?;
    Ok((*id).clone())
}

/// `: PolicyRefused: the box does not allow it`. Empty when nothing is said.
fn because(reason: &str, message: &str) -> String {
    let said = [reason.to_owned(), one_line(message)];
    said.iter().filter(|word| !word.is_empty()).map(|word| format!(": {word}")).collect()
}

/// The runs of each container.
type Runs<'a> = BTreeMap<String, Vec<(&'a ContainerId, &'a ObservedContainer)>>;

#[cfg(test)]
mod tests {
    use skerry_agent_core::{ContainerState, Owner, Ownership, Resources, WallMillis};

    use super::*;

    fn container(app: &str, name: &str, restart_count: u32, alive: bool) -> (ContainerId, ObservedContainer) {
        let started_at = WallMillis(i64::from(restart_count));
        let state = match alive {
            true => ContainerState::Running { started_at },
            false => ContainerState::Exited {
                exit_code: 1,
                oom_killed: false,
                started_at,
                finished_at: started_at,
                error: String::new(),
                message: String::new(),
            },
        };
        let found = ObservedContainer {
            name: format!("{app}_{name}_{restart_count}"),
            owner: Owner::Ours(Ownership {
                app: app.parse().expect("a key"),
                role: Role::Container(name.parse().expect("a name")),
                revision: String::new(),
                hash: None,
                stop_rank: 0,
                restart_count,
            }),
            state,
            ports: Vec::new(),
            host_network: false,
            joined: None,
            ip: None,
            resources: Resources::default(),
            devices: BTreeMap::new(),
        };
        (ContainerId(found.name.clone()), found)
    }

    #[test]
    fn the_run_that_is_meant_is_found() {
        let containers: BTreeMap<_, _> = [
            container("plant/web", "main", 0, false),
            container("plant/web", "main", 1, false),
            container("plant/web", "main", 2, true),
            container("plant/pair", "a", 0, true),
            container("plant/pair", "b", 0, true),
        ]
        .into();
        let choose = |app: &str, container, run| {
            choose(&containers, &[], &app.parse().expect("a name"), container, run).map(|id| id.0)
        };
        assert_eq!(choose("web", None, Run::Present), Ok("plant/web_main_2".to_owned()));
        assert_eq!(choose("web", Some("main"), Run::Previous), Ok("plant/web_main_1".to_owned()));
        assert_eq!(choose("pair", Some("b"), Run::Present), Ok("plant/pair_b_0".to_owned()));
        let error = choose("pair", None, Run::Present).expect_err("two");
        assert_eq!(error, "app plant/pair has the containers a, b; choose one with -c");
        let error = choose("pair", Some("c"), Run::Present).expect_err("none");
        assert_eq!(error, "app plant/pair has no container c; it has a, b");
        assert!(choose("pair", Some("a"), Run::Previous).expect_err("none").contains("no earlier run"));
    }

    fn waiting(name: &str, reason: &str, message: &str) -> ContainerReport {
        ContainerReport {
            name: name.to_owned(),
            id: String::new(),
            ready: false,
            restart_count: 0,
            state: "Waiting".to_owned(),
            started_at: None,
            exit_code: None,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    fn report(namespace: &str, name: &str, containers: Vec<ContainerReport>) -> AppReport {
        AppReport {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            revision: String::new(),
            phase: "Failed".to_owned(),
            ready: false,
            reason: "PolicyRefused".to_owned(),
            message: "privileged = false\nrefuses it".to_owned(),
            source: "Cloud".to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
            containers,
        }
    }

    #[test]
    fn what_is_not_there_is_told_in_the_words_of_the_status() {
        let containers: BTreeMap<_, _> =
            [container("plant/web", "main", 0, true), container("plant/priv", "main", 0, true)].into();
        let main = waiting("side", "PodInitializing", "container init has not ended");
        let reports = [report("default", "priv", Vec::new()), report("plant", "web", vec![main])];
        let refused = |app: &str, container| {
            choose(&containers, &reports, &app.parse().expect("a name"), container, Run::Present)
                .expect_err("not there")
        };
        let nothing = "app default/priv has no container: PolicyRefused: privileged = false refuses it";
        assert_eq!(refused("priv", None), nothing, "though another namespace has one of the name");
        assert_eq!(refused("default/priv", Some("main")), nothing);
        assert_eq!(
            refused("web", Some("side")),
            "container side of app plant/web is not there yet: PodInitializing: container init has not ended"
        );
        assert_eq!(refused("web", Some("c")), "app plant/web has no container c; it has main");
    }
}
