//! The containers of an app, as Docker has them: by our labels, whether the agent runs or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skerry_agent_core::{ContainerId, Desired, Host, Observed, ObservedContainer, Role};

use super::target::AppName;
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
    let id = choose(&world.containers, app, container, run)?;
    Ok(Found { docker, id })
}

fn choose(
    containers: &BTreeMap<ContainerId, ObservedContainer>,
    app: &AppName,
    container: Option<&str>,
    run: Run,
) -> Result<ContainerId, String> {
    let mut apps: BTreeMap<String, Runs<'_>> = BTreeMap::new();
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
    let names: Vec<String> = runs.keys().cloned().collect();
    let name = match (container, names.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => {
            return Err(format!("app {key} has the containers {}; choose one with -c", names.join(", ")));
        }
    };
    let mut runs = runs
        .remove(name)
        .ok_or_else(|| format!("app {key} has no container {name}; it has {}", names.join(", ")))?;
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
            choose(&containers, &app.parse().expect("a name"), container, run).map(|id| id.0)
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
}
