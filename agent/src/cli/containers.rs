//! The containers of an app, as Docker has them: by our labels, whether the agent runs or not. Where it does, it says why one is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use skerry_agent_core::{ContainerId, Desired, Host, Observed, ObservedContainer, Role};
use skerry_terms::labels;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::status::one_line;
use super::target::AppName;
use crate::admin::candidates;
use crate::admin::client::Agent;
use crate::admin::view::{AppReport, ContainerReport, MAIN};
use crate::config::Config;
use crate::engine::{Docker, Engine as _, Folders};

/// Docker, and the container that is meant.
#[derive(Debug)]
pub(super) struct Found {
    pub docker: Docker,
    pub id: ContainerId,
    /// Which of several it is, when nobody said which, as a line for standard error.
    pub notice: Option<String>,
}

impl Found {
    /// Says which container it is where nobody did.
    pub async fn tell(&self, to: &mut (impl AsyncWrite + Unpin)) {
        if let Some(notice) = &self.notice {
            // Who does not read it misses nothing of the output.
            let _ = to.write_all(format!("{notice}\n").as_bytes()).await;
            let _ = to.flush().await;
        }
    }
}

/// Which of a container's runs is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
    /// The one that runs, else the newest.
    Present,
    /// The one before.
    Previous,
}

/// The annotation that names the container that is meant when nobody says which.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// How long the agent has to say what it knows: its answer comes from memory, and Docker's is enough without it.
const AGENT_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn find(
    config: &Config,
    app: &AppName,
    container: Option<&str>,
    run: Run,
) -> Result<Found, String> {
    let docker = Docker::new(&config.docker_socket, Folders::new(&config.state_dir).only_looked_at());
    let nothing = Desired {
        node: config.node.clone(),
        apps: BTreeMap::new(),
        complete: false,
        retired: BTreeSet::new(),
        host: Host::default(),
        images: BTreeMap::new(),
    };
    let world = match docker.observe(Arc::new(nothing)).await {
        Observed::Known(world) => world,
        Observed::Unknown { why } => return Err(why),
    };
    let reports = reports(config).await;
    let pick = pick(&world.containers, &reports, app)?;
    let (name, notice) = match container {
        Some(name) => (name.to_owned(), None),
        None => {
            let wanted = match pick.runs.values().flatten().next() {
                Some((id, _)) if pick.names().len() > 1 => {
                    let label = format!("{}{DEFAULT_CONTAINER}", labels::ANNOTATION_PREFIX);
                    docker.label(&id.0, &label).await.map_err(|error| error.to_string())?
                }
                Some(_) | None => None,
            };
            pick.default(wanted)?
        }
    };
    let id = pick.run(&name, run)?;
    Ok(Found { docker, id, notice })
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

/// The app that is meant.
struct Pick<'a> {
    key: String,
    /// Of the containers that are there. Not empty.
    runs: Runs<'a>,
    /// What the agent says of it. Absent when it says nothing.
    report: Option<&'a AppReport>,
}

fn pick<'a>(
    containers: &'a BTreeMap<ContainerId, ObservedContainer>,
    reports: &'a [AppReport],
    app: &AppName,
) -> Result<Pick<'a>, String> {
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
    let runs = apps.remove(&key).unwrap_or_default();
    let report = reports.iter().find(|report| report.key() == key);
    if runs.is_empty() {
        let why = report.map(|report| because(&report.reason, &report.message)).unwrap_or_default();
        return Err(format!("app {key} has no container{why}"));
    }
    Ok(Pick { key, runs, report })
}

impl Pick<'_> {
    fn reported(&self) -> &[ContainerReport] {
        self.report.map_or(&[], |report| &report.containers)
    }

    /// All that are there or shall be.
    fn names(&self) -> BTreeSet<&str> {
        let reported = self.reported().iter().map(|container| container.name.as_str());
        self.runs.keys().map(String::as_str).chain(reported).collect()
    }

    /// As kubectl: the one that the annotation names, else the first main one. Docker alone does not know which that is.
    fn default(&self, annotated: Option<String>) -> Result<(String, Option<String>), String> {
        let names = self.names();
        if let Some(name) = annotated.filter(|name| names.contains(name.as_str())) {
            return Ok((name, None));
        }
        let (mains, inits): (Vec<_>, Vec<_>) =
            self.reported().iter().partition(|container| container.kind == MAIN);
        match (mains.first(), names.len()) {
            (_, 1) => Ok((names.into_iter().collect(), None)),
            (Some(first), _) => {
                let mains = mains.iter().map(|main| main.name.clone());
                let all: Vec<_> =
                    mains.chain(inits.iter().map(|init| format!("{} (init)", init.name))).collect();
                let notice = format!("Defaulted container {:?} out of: {}", first.name, all.join(", "));
                Ok((first.name.clone(), Some(notice)))
            }
            (None, _) => {
                let names = names.into_iter().collect::<Vec<_>>().join(", ");
                Err(format!("app {} has the containers {names}; choose one with -c", self.key))
            }
        }
    }

    fn run(&self, name: &str, run: Run) -> Result<ContainerId, String> {
        let Self { key, runs, report: _ } = self;
        let mut runs = runs.get(name).cloned().ok_or_else(|| {
            match self.reported().iter().find(|container| container.name == name) {
                Some(ContainerReport { reason, message, .. }) => {
                    format!("container {name} of app {key} is not there yet{}", because(reason, message))
                }
                None => {
                    let names = self.names().into_iter().collect::<Vec<_>>().join(", ");
                    format!("app {key} has no container {name}; it has {names}")
                }
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
            image: None,
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

    fn choose(
        containers: &BTreeMap<ContainerId, ObservedContainer>,
        reports: &[AppReport],
        app: &AppName,
        container: Option<&str>,
        run: Run,
    ) -> Result<ContainerId, String> {
        let pick = pick(containers, reports, app)?;
        let name =
            container.map_or_else(|| pick.default(None).map(|(name, _)| name), |n| Ok(n.to_owned()))?;
        pick.run(&name, run)
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
            kind: "Main".to_owned(),
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
        assert_eq!(refused("web", Some("c")), "app plant/web has no container c; it has main, side");
    }

    #[test]
    fn without_a_word_it_is_the_first_main_container_or_the_annotated_one() {
        let containers: BTreeMap<_, _> =
            ["web", "tailer", "init"].map(|name| container("plant/shop", name, 0, name != "init")).into();
        let init = ContainerReport { kind: "Init".to_owned(), ..waiting("init", "", "") };
        let all = vec![init, waiting("web", "", ""), waiting("tailer", "", "")];
        let reports = [report("plant", "shop", all)];
        let shop = pick(&containers, &reports, &"shop".parse().expect("a name")).expect("there");
        let notice = "Defaulted container \"web\" out of: web, tailer, init (init)".to_owned();
        assert_eq!(shop.default(None), Ok(("web".to_owned(), Some(notice.clone()))));
        assert_eq!(shop.default(Some("tailer".to_owned())), Ok(("tailer".to_owned(), None)));
        assert_eq!(shop.default(Some("gone".to_owned())), Ok(("web".to_owned(), Some(notice))));
        let silent = Pick { report: None, ..shop };
        assert!(silent.default(None).expect_err("nobody knows").contains("choose one with -c"));
    }
}
