//! What the door shows: the JSON of `GET /v1/status`, which `skerry-agent status -o json` prints. Fields are added, never changed.

use serde::{Deserialize, Serialize};
use skerry_agent_core::{AppStatus, ContainerStatus, Kind, UnitState, WallMillis};
use skerry_terms::{AppKey, Problem, ProblemKind};

use crate::supervisor::{NodeStanding, Source, Standing, Standings};
use crate::upgrade::{Outcome, Record};

/// The whole box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub node: NodeReport,
    /// Ordered by namespace and name.
    pub apps: Vec<AppReport>,
}

/// The box itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    pub name: String,
    pub agent_version: String,
    /// Where the controller is.
    pub controller: String,
    /// The controller is connected and has greeted.
    pub connected: bool,
    /// Since when, RFC 3339: connected, or not any more. Absent when it never was since the agent's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connected_changed_at: Option<String>,
    pub docker_ready: bool,
    /// Of the Docker that answered last. Empty when none has.
    pub docker_version: String,
    /// Why Docker is not ready, and what to do. Empty when it is.
    pub docker_message: String,
    /// What is wrong with the box.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemReport>,
    /// How many things that happened wait to be told to the controller.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub untold: u64,
    /// How many were lost before they could be told: what is kept for later is bounded.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u64,
    /// What is wrong with static manifests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifest_problems: Vec<String>,
    /// The last upgrade of the agent. Absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeReport>,
}

/// What became of an upgrade of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeReport {
    pub id: String,
    pub from: String,
    pub to: String,
    /// Since when it is so, RFC 3339.
    pub at: String,
    pub outcome: Outcome,
    /// Why the new version gave way. Empty where there is nothing to say.
    pub message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One thing that is wrong with the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProblemReport {
    /// `DiskPressure`, `MemoryPressure`, `StateProblem` or `ClockSkewed`.
    pub kind: String,
    pub reason: String,
    pub message: String,
}

/// One app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppReport {
    pub namespace: String,
    pub name: String,
    pub revision: String,
    pub phase: String,
    pub ready: bool,
    pub reason: String,
    pub message: String,
    /// `Cloud`, `Static` or `Local`.
    pub source: String,
    /// Since when it is so, RFC 3339.
    pub since: String,
    pub containers: Vec<ContainerReport>,
}

/// One container of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerReport {
    pub name: String,
    /// `Main`, `Init` or `Sidecar`. Empty from an agent that does not tell.
    #[serde(default)]
    pub kind: String,
    /// Docker's. Empty when there is none.
    pub id: String,
    pub ready: bool,
    pub restart_count: u32,
    /// `Waiting`, `Running` or `Terminated`.
    pub state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    pub reason: String,
    pub message: String,
}

impl AppReport {
    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// It serves, or has done what it was for.
    pub fn is_well(&self) -> bool {
        self.ready || self.phase == skerry_terms::Phase::Succeeded.as_str()
    }

    pub fn restarts(&self) -> u32 {
        self.containers.iter().map(|container| container.restart_count).sum()
    }
}

/// RFC 3339 in UTC, to the second.
pub fn time(moment: WallMillis) -> String {
    let stamp = jiff::Timestamp::from_second(moment.0.div_euclid(1000)).unwrap_or_default();
    stamp.to_string()
}

pub(super) fn report(
    name: &str,
    controller: &str,
    node: &NodeStanding,
    apps: &Standings,
    manifest_problems: Vec<String>,
    upgrade: Option<Record>,
) -> Report {
    let NodeStanding {
        docker_ready,
        docker_version,
        docker_message,
        problems,
        untold,
        lost,
        connected,
        connected_changed,
    } = node;
    let problem = |(kind, Problem { reason, message }): (&ProblemKind, &Problem)| ProblemReport {
        kind: kind.to_string(),
        reason: reason.clone(),
        message: message.clone(),
    };
    Report {
        node: NodeReport {
            name: name.to_owned(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            controller: controller.to_owned(),
            connected: *connected,
            connected_changed_at: connected_changed.map(time),
            docker_ready: *docker_ready,
            docker_version: docker_version.clone(),
            docker_message: docker_message.clone(),
            problems: problems.iter().map(problem).collect(),
            untold: u64::try_from(*untold).unwrap_or(u64::MAX),
            lost: *lost,
            manifest_problems,
            upgrade: upgrade.map(upgrade_report),
        },
        apps: apps.iter().map(|(key, standing)| app(key, standing)).collect(),
    }
}

fn upgrade_report(record: Record) -> UpgradeReport {
    let Record { id, from, to, at, outcome, message, inode: _, starts: _, boot_id: _ } = record;
    UpgradeReport { id, from, to, at, outcome, message }
}

fn app(key: &AppKey, standing: &Standing) -> AppReport {
    let Standing { status, source, since } = standing;
    let AppStatus { key: _, revision, phase, ready, reason, message, containers, .. } = status;
    AppReport {
        namespace: key.namespace().to_owned(),
        name: key.name().to_owned(),
        revision: revision.clone(),
        phase: phase.as_str().to_owned(),
        ready: *ready,
        reason: reason.clone(),
        message: message.clone(),
        source: source_name(*source).to_owned(),
        since: time(*since),
        containers: containers.iter().map(container).collect(),
    }
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Cloud => "Cloud",
        Source::Static => "Static",
        Source::Local => "Local",
    }
}

/// How [`ContainerReport::kind`] says a main container.
pub const MAIN: &str = "Main";

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Main => MAIN,
        Kind::Init => "Init",
        Kind::Sidecar => "Sidecar",
    }
}

fn container(status: &ContainerStatus) -> ContainerReport {
    let (state, started_at, exit_code) = match status.state {
        UnitState::Waiting => ("Waiting", None, None),
        UnitState::Running { started_at } => ("Running", Some(started_at), None),
        UnitState::Terminated { started_at, exit_code } => ("Terminated", Some(started_at), Some(exit_code)),
    };
    ContainerReport {
        name: status.name.clone(),
        kind: kind_name(status.kind).to_owned(),
        id: status.id.as_ref().map(|id| id.0.clone()).unwrap_or_default(),
        ready: status.ready,
        restart_count: status.restart_count,
        state: state.to_owned(),
        started_at: started_at.map(time),
        exit_code,
        reason: status.reason.clone(),
        message: status.message.clone(),
    }
}
