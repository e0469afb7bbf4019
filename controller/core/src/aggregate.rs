//! What an EdgeApp's status says, from what each of its nodes reported. Pure; the shell calls it for every app that a report,
//! an edit or a lost node may concern.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use skerry_api::{
    AppReport, EdgeAppStatus, NodeCounts, NodeFailure, NodeNotPlaceable, NodeStalled, NodeUnknown,
    RolloutStatus, condition, set_condition,
};
use skerry_terms::{NodeName, Phase, reasons};

use crate::nodes;
use crate::placement::{App, Obstacle, Trouble};
use crate::session::Stall;

/// Most failures in one status: enough to see a pattern, small enough for `kubectl describe`.
pub const FAILURES_MAX: usize = 20;
/// Most nodes that cannot have the app, cannot be asked or get no changes in one status, for the same reason.
pub const NOT_PLACEABLE_MAX: usize = 20;
pub const UNKNOWN_MAX: usize = 20;
pub const STALLED_MAX: usize = 20;
/// A message about one node that is away, in characters: there are many of them.
const UNKNOWN_WORDS_MAX: usize = 256;
/// The same of one that is stalled, which ends with what to do.
const STALLED_WORDS_MAX: usize = 1024;
/// Most nodes, or wrong fields, that a message names.
const NAMED_MAX: usize = 3;

/// One node that the app is placed on.
#[derive(Debug, Clone, Copy)]
pub struct NodeView<'a> {
    pub name: &'a NodeName,
    /// The node can be asked.
    pub connected: bool,
    /// What it reported last of the app. Absent until it did.
    pub report: Option<&'a AppReport>,
    /// When it was seen last. Absent while it is connected, and when it never was.
    pub last_seen: Option<&'a Time>,
    /// What keeps it from getting changes.
    pub stall: Option<&'a Stall>,
}

/// Where the app cannot be.
#[derive(Debug, Clone, Default)]
pub struct Unplaced<'a> {
    /// Nodes that it selects and that cannot have it.
    pub barred: Vec<(&'a NodeName, &'a Obstacle)>,
    /// Replicas that have no node.
    pub missing: usize,
}

/// Where the app stands on one node. Exactly one holds, so that the counts add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Serves,
    Unavailable,
    Unknown,
}

/// The status of an app over the nodes that it is placed on. `previous` gives conditions their times and the rollout its start.
pub fn app_status(
    app: &App,
    placed: &[NodeView<'_>],
    unplaced: Unplaced<'_>,
    previous: &EdgeAppStatus,
    now: &Time,
) -> EdgeAppStatus {
    let target = app.content.as_ref().map_or("", |content| content.revision.as_str());
    let views: Vec<View<'_>> = placed.iter().map(|node| View::new(node, target)).collect();
    let Unplaced { mut barred, missing } = unplaced;
    // What somebody should look at first.
    barred.sort_by_key(|(name, obstacle)| (obstacle.is_intended(), *name));
    let tally = Tally::new(&views, &barred, missing);
    let (failures, failures_omitted) = failures(&views);
    let (unknown, unknown_omitted) = unknown(&views);
    let (stalled, stalled_omitted) = stalled(&views);
    let verdict = Verdict::new(&Facts { app, tally: &tally, views: &views, barred: &barred });

    let mut conditions = previous.conditions.clone();
    conditions.retain(|condition| CONDITIONS.contains(&condition.type_.as_str()));
    for (kind, says) in CONDITIONS.into_iter().zip(verdict.conditions()) {
        let Says { status, reason, message } = says;
        set_condition(&mut conditions, condition(kind, status, &reason, message, Some(app.generation), now));
    }
    sort_conditions(&mut conditions);

    let before = previous
        .rollout
        .as_ref()
        .map(|rollout| rollout.current_revision.as_str())
        .filter(|revision| !revision.is_empty());
    // Not before every node runs it: one that only speaks of it may still serve the one before.
    let everywhere = tally.updated == placed.len();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    EdgeAppStatus {
        observed_generation: Some(app.generation),
        observed_at: Some(now.clone()),
        nodes: Some(NodeCounts {
            desired: count(tally.desired),
            updated: count(tally.updated),
            ready: count(tally.serves),
            unavailable: count(tally.unavailable),
            unknown: count(tally.unknown),
            not_placeable: count(barred.len()),
        }),
        rollout: Some(RolloutStatus {
            current_revision: before.filter(|_| !everywhere).unwrap_or(target).to_owned(),
            target_revision: target.to_owned(),
        }),
        conditions,
        failures,
        failures_omitted: count(failures_omitted),
        unknown,
        unknown_omitted: count(unknown_omitted),
        stalled,
        stalled_omitted: count(stalled_omitted),
        not_placeable: barred.iter().take(NOT_PLACEABLE_MAX).map(not_placeable).collect(),
        not_placeable_omitted: count(barred.len().saturating_sub(NOT_PLACEABLE_MAX)),
    }
}

/// The conditions of an app, in the order of the status. The last three are what kstatus reads.
const CONDITIONS: [&str; 6] = ["Available", "Progressing", "Degraded", "Ready", "Reconciling", "Stalled"];

fn sort_conditions(conditions: &mut [Condition]) {
    conditions.sort_by_key(|condition| CONDITIONS.iter().position(|kind| *kind == condition.type_));
}

/// A node with what its report amounts to.
#[derive(Debug)]
struct View<'a> {
    name: &'a NodeName,
    connected: bool,
    report: Option<&'a AppReport>,
    last_seen: Option<&'a Time>,
    stall: Option<&'a Stall>,
    phase: Phase,
    standing: Standing,
    /// The node can be asked, and the app failed there or waits for what somebody must create.
    failed: bool,
    /// The report speaks of the newest revision, be the node connected or not.
    has_target: bool,
}

impl<'a> View<'a> {
    fn new(node: &NodeView<'a>, target: &str) -> Self {
        // A node that has the app and not yet spoken of it is at its beginning.
        let phase =
            node.report.map_or(Phase::Pending, |report| report.phase.parse().unwrap_or(Phase::Unknown));
        let serves = node.report.is_some_and(|report| report.ready) || phase == Phase::Succeeded;
        let failed = match phase {
            Phase::Failed | Phase::RolledBack => true,
            // No start is under way: nothing changes until somebody creates what is missing.
            Phase::Pending => node.report.is_some_and(|report| report.reason == reasons::CREATE_CONFIG_ERROR),
            Phase::Pulling
            | Phase::Starting
            | Phase::Probing
            | Phase::Running
            | Phase::Succeeded
            | Phase::Unknown
            | Phase::Removed => false,
        };
        let standing = if !node.connected || phase == Phase::Unknown {
            Standing::Unknown
        } else if serves {
            Standing::Serves
        } else {
            Standing::Unavailable
        };
        Self {
            name: node.name,
            connected: node.connected,
            report: node.report,
            last_seen: node.last_seen,
            stall: node.stall,
            phase,
            standing,
            failed: failed && standing != Standing::Unknown,
            has_target: node.report.is_some_and(|report| report.revision == target),
        }
    }

    /// The newest revision runs.
    fn is_updated(&self) -> bool {
        self.has_target
            && self.standing != Standing::Unknown
            && matches!(self.phase, Phase::Running | Phase::Succeeded)
    }

    /// Work is under way that will end by itself.
    fn is_progressing(&self) -> bool {
        self.standing != Standing::Unknown && !self.failed && (!self.has_target || self.phase.is_transient())
    }

    fn reason(&self) -> &'a str {
        self.report.map_or(reasons::AWAITING_NODE, |report| report.reason.as_str())
    }

    /// `box-7: ImagePullFailed: no such image`.
    fn story(&self) -> String {
        let word = if self.reason().is_empty() { self.phase.as_str() } else { self.reason() };
        match self.report.map(|report| report.message.as_str()) {
            Some(message) if !message.is_empty() => format!("{}: {word}: {message}", self.name),
            Some(_) | None => format!("{}: {word}", self.name),
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    /// Nodes that shall have it, and replicas that have none.
    desired: usize,
    missing: usize,
    barred: usize,
    /// Of the barred, those that nobody keeps away on purpose.
    unintended: usize,
    serves: usize,
    unavailable: usize,
    unknown: usize,
    updated: usize,
    failed: usize,
    progressing: usize,
}

impl Tally {
    fn new(views: &[View<'_>], barred: &[Barred<'_>], missing: usize) -> Self {
        let count = |holds: &dyn Fn(&View<'_>) -> bool| views.iter().filter(|view| holds(view)).count();
        Self {
            desired: views.len() + missing,
            missing,
            barred: barred.len(),
            unintended: barred.iter().filter(|(_, obstacle)| !obstacle.is_intended()).count(),
            serves: count(&|view| view.standing == Standing::Serves),
            unavailable: count(&|view| view.standing == Standing::Unavailable),
            unknown: count(&|view| view.standing == Standing::Unknown),
            updated: count(&|view| view.is_updated()),
            failed: count(&|view| view.failed),
            progressing: count(&|view| view.is_progressing()),
        }
    }
}

/// The newest failures first, and how many more there are.
fn failures(views: &[View<'_>]) -> (Vec<NodeFailure>, usize) {
    let failure = |view: &View<'_>| NodeFailure {
        node: view.name.to_string(),
        reason: view.reason().to_owned(),
        message: view.report.map(|report| report.message.clone()).unwrap_or_default(),
        observed_at: view.report.and_then(|report| report.observed_at.clone()),
    };
    let mut failures: Vec<_> = views.iter().filter(|view| view.failed).map(failure).collect();
    failures.sort_by(|a, b| {
        let time = |failure: &NodeFailure| failure.observed_at.as_ref().map(|time| time.0);
        time(b).cmp(&time(a)).then_with(|| a.node.cmp(&b.node))
    });
    let omitted = failures.len().saturating_sub(FAILURES_MAX);
    failures.truncate(FAILURES_MAX);
    (failures, omitted)
}

/// Those that cannot be asked, longest first, and how many more there are.
fn unknown(views: &[View<'_>]) -> (Vec<NodeUnknown>, usize) {
    let since = |view: &View<'_>| {
        let told = view.report.and_then(|report| report.observed_at.clone());
        view.last_seen.cloned().or(told)
    };
    let entry = |view: &View<'_>| NodeUnknown {
        node: view.name.to_string(),
        since: since(view),
        reason: match view.connected {
            false => reasons::NODE_UNREACHABLE.to_owned(),
            true => view.reason().to_owned(),
        },
        message: match (view.report, view.last_seen, view.connected) {
            (Some(report), _, _) => words(&report.message, UNKNOWN_WORDS_MAX),
            (None, None, false) => "never seen".to_owned(),
            (None, _, _) => String::new(),
        },
    };
    let mut away: Vec<_> =
        views.iter().filter(|view| view.standing == Standing::Unknown).map(entry).collect();
    away.sort_by(|a, b| {
        let time = |node: &NodeUnknown| node.since.as_ref().map(|time| time.0);
        time(a).cmp(&time(b)).then_with(|| a.node.cmp(&b.node))
    });
    let omitted = away.len().saturating_sub(UNKNOWN_MAX);
    away.truncate(UNKNOWN_MAX);
    (away, omitted)
}

/// Those that get no changes, and how many more there are.
fn stalled(views: &[View<'_>]) -> (Vec<NodeStalled>, usize) {
    let entry = |view: &View<'_>| {
        let Stall { reason, message } = view.stall?;
        let (node, reason) = (view.name.to_string(), (*reason).to_owned());
        Some(NodeStalled { node, reason, message: words(message, STALLED_WORDS_MAX) })
    };
    let mut stalled = views.iter().filter_map(entry);
    let shown: Vec<_> = stalled.by_ref().take(STALLED_MAX).collect();
    (shown, stalled.count())
}

fn words(message: &str, most: usize) -> String {
    match message.char_indices().nth(most - 1) {
        Some((end, last)) if end + last.len_utf8() < message.len() => format!("{}…", &message[..end]),
        Some(_) | None => message.to_owned(),
    }
}

/// A node that the app selects and that cannot have it.
type Barred<'a> = (&'a NodeName, &'a Obstacle);

fn not_placeable((node, obstacle): &Barred<'_>) -> NodeNotPlaceable {
    NodeNotPlaceable {
        node: node.to_string(),
        reason: obstacle.reason().to_owned(),
        message: obstacle.to_string(),
    }
}

/// What the conditions are made from.
#[derive(Debug, Clone, Copy)]
struct Facts<'a> {
    app: &'a App,
    tally: &'a Tally,
    views: &'a [View<'a>],
    barred: &'a [Barred<'a>],
}

/// What one condition says.
#[derive(Debug, Clone)]
struct Says {
    /// None stands for Unknown.
    status: Option<bool>,
    reason: String,
    message: String,
}

/// The one judgement that all six conditions are views of.
#[derive(Debug)]
struct Verdict {
    available: Says,
    ready: Says,
    /// A change is on its way.
    progressing: Says,
    degraded: Says,
    stalled: Says,
}

impl Verdict {
    fn new(facts: &Facts<'_>) -> Self {
        let Facts { app, tally, views, barred: _ } = *facts;
        let says = |status: bool, reason: &str, message: &str| Says {
            status: Some(status),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let ready = ready(facts);
        let progressing = match tally {
            Tally { desired: 0, .. } => says(false, &ready.reason, &ready.message),
            Tally { progressing: 1.., .. } => {
                let done = format!("{} of {} have the newest revision", tally.updated, nodes(tally.desired));
                says(true, reasons::ROLLING_OUT, &done)
            }
            Tally { failed: 1.., .. } => says(false, reasons::NODES_FAILED, &ready.message),
            Tally { missing: 1.., .. } => says(false, reasons::TOO_FEW_NODES, &ready.message),
            Tally { unknown: 1.., .. } => says(false, reasons::NODE_UNREACHABLE, &ready.message),
            Tally { .. } => says(false, reasons::ROLLED_OUT, "every node has the newest revision"),
        };
        let degraded = match tally.failed {
            0 if ready.reason == reasons::ALL_NODES_READY => {
                says(false, reasons::ALL_NODES_READY, "no node reports a failure")
            }
            0 => says(false, reasons::NO_FAILURES, "no node reports a failure"),
            _ => says(true, reasons::NODES_FAILED, &failed_story(tally, views)),
        };
        let stalled = match app.trouble {
            None => says(false, reasons::READY, "the spec can be honoured"),
            Some(_) => says(true, &ready.reason, &ready.message),
        };
        Self { available: available(facts, &ready), ready, progressing, degraded, stalled }
    }

    /// In the order of [`CONDITIONS`].
    fn conditions(self) -> [Says; 6] {
        let Self { available, ready, progressing, degraded, stalled } = self;
        // A wrong spec waits for a person: to kstatus that is Failed, and InProgress would hide it.
        let reconciling = Says {
            status: Some(progressing.status == Some(true) && stalled.status != Some(true)),
            ..progressing.clone()
        };
        [available, progressing, degraded, ready, reconciling, stalled]
    }
}

/// Every node that can be asked serves the app, be it the newest revision or the one before, and no replica lacks a node. What is asked
/// for by a spec that cannot be honoured is served nowhere: who waits for it must not be told otherwise.
fn available(facts: &Facts<'_>, ready: &Says) -> Says {
    let Facts { app, tally, views: _, barred: _ } = *facts;
    if app.trouble.is_some() {
        return Says { status: Some(false), ..ready.clone() };
    }
    let serving = format!("{} of {} ready", tally.serves, nodes(tally.desired));
    let (status, reason, message) = match tally {
        Tally { desired: 0, .. } => return Says { status: Some(tally.barred == 0), ..ready.clone() },
        Tally { unavailable: 1.., .. } => (Some(false), reasons::NODES_NOT_READY, serving),
        Tally { missing: 1.., .. } => {
            let message = format!("{serving}; {} of the replicas have no node", tally.missing);
            (Some(false), reasons::TOO_FEW_NODES, message)
        }
        Tally { serves: 1.., unknown: 1.., .. } => {
            let message = format!("{serving}; {} cannot be asked", tally.unknown);
            (Some(true), reasons::NODE_UNREACHABLE, message)
        }
        Tally { serves: 0, .. } => {
            return Says { status: None, ..ready.clone() };
        }
        Tally { .. } => (Some(true), reasons::ALL_NODES_READY, serving),
    };
    Says { status, reason: reason.to_owned(), message }
}

/// Whether what the spec asks for is there, and if not, why: the line that `kubectl get` prints.
fn ready(facts: &Facts<'_>) -> Says {
    let Facts { app, tally, views, barred } = *facts;
    let says = |status, reason: &str, message: String| Says { status, reason: reason.to_owned(), message };
    match &app.trouble {
        None => {}
        Some(Trouble::Invalid(_)) => return says(Some(false), reasons::INVALID_SPEC, trouble_story(app)),
        Some(Trouble::Unreadable(_)) => {
            return says(Some(false), reasons::CONFIG_UNREADABLE, trouble_story(app));
        }
    }
    let of = format!("{} of {} ready", tally.serves, nodes(tally.desired));
    let but = barred_story(barred);
    match tally {
        Tally { desired: 0, barred: 1.., .. } => {
            says(Some(false), common_reason(barred), format!("no node can have the app{but}"))
        }
        Tally { desired: 0, .. } if app.wants_no_replica() => {
            says(Some(true), reasons::ALL_NODES_READY, "placement.replicas is 0".to_owned())
        }
        Tally { desired: 0, .. } => {
            let message = "the placement matches no node; nothing is asked for and nothing is missing";
            says(Some(true), reasons::NO_MATCHING_NODES, message.to_owned())
        }
        Tally { failed: 1.., .. } => {
            let reasons: BTreeSet<&str> = views.iter().filter(|view| view.failed).map(View::reason).collect();
            let one = reasons.first().filter(|one| reasons.len() == 1 && !one.is_empty());
            let reason = one.copied().unwrap_or(reasons::NODES_FAILED);
            says(Some(false), reason, format!("{}{but}", failed_story(tally, views)))
        }
        Tally { progressing: 1.., .. } => {
            let story = named(views, |view| view.is_progressing());
            says(Some(false), reasons::ROLLING_OUT, format!("{of}; {story}{but}"))
        }
        Tally { unavailable: 1.., .. } => {
            let story = named(views, |view| view.standing == Standing::Unavailable);
            says(Some(false), reasons::NODES_NOT_READY, format!("{of}; {story}{but}"))
        }
        Tally { missing: 1.., .. } => {
            let message = format!("{of}; {} of the replicas have no node{but}", tally.missing);
            says(Some(false), reasons::TOO_FEW_NODES, message)
        }
        Tally { unknown: 1.., serves, .. } => {
            // Boxes that are away do not keep the rest from being ready; nothing served at all is another matter.
            let away = |view: &View<'_>| view.standing == Standing::Unknown;
            let reasons: BTreeSet<&str> = views.iter().filter(|view| away(view)).map(View::reason).collect();
            let docker = reasons.len() == 1 && reasons.contains(reasons::DOCKER_UNAVAILABLE);
            let reason = if docker { reasons::DOCKER_UNAVAILABLE } else { reasons::NODE_UNREACHABLE };
            let status = (*serves > 0).then_some(true);
            says(status, reason, format!("{of}; {}{but}", named(views, away)))
        }
        // Nodes that cannot have the app do not keep the rest from being ready, but a list of apps shows that there are some.
        Tally { unintended: 1.., .. } => says(Some(true), common_reason(barred), format!("{of}{but}")),
        Tally { .. } => says(Some(true), reasons::ALL_NODES_READY, format!("{of}{but}")),
    }
}

/// The one reason of those that matter most, or the word for several.
fn common_reason(barred: &[Barred<'_>]) -> &'static str {
    let first = barred.first().map(|(_, obstacle)| obstacle);
    let alike =
        |(_, obstacle): &&Barred<'_>| first.is_some_and(|one| one.is_intended() == obstacle.is_intended());
    let reasons: BTreeSet<_> = barred.iter().filter(alike).map(|(_, obstacle)| obstacle.reason()).collect();
    match reasons.first() {
        Some(one) if reasons.len() == 1 => one,
        Some(_) | None => reasons::NOT_PLACEABLE,
    }
}

/// `; 2 nodes cannot have it: box-9: NoVariant: …; and 1 more`. Empty without any.
fn barred_story(barred: &[Barred<'_>]) -> String {
    let Some((node, obstacle)) = barred.first() else {
        return String::new();
    };
    let more = match barred.len() {
        1 => String::new(),
        count => format!("; and {} more", count - 1),
    };
    format!("; {} cannot have it: {node}: {}: {obstacle}{more}", nodes(barred.len()), obstacle.reason())
}

fn failed_story(tally: &Tally, views: &[View<'_>]) -> String {
    let story = named(views, |view| view.failed);
    if tally.desired == 1 {
        story
    } else {
        format!("{} of {} failed; {story}", tally.failed, nodes(tally.desired))
    }
}

/// The stories of the first nodes for which something holds, and how many more there are.
fn named(views: &[View<'_>], holds: impl Fn(&View<'_>) -> bool) -> String {
    list(views.iter().filter(|view| holds(view)).map(View::story))
}

fn trouble_story(app: &App) -> String {
    let story = match &app.trouble {
        None => String::new(),
        Some(Trouble::Invalid(errors)) => list(errors.iter().map(ToString::to_string)),
        Some(Trouble::Unreadable(why)) => why.clone(),
    };
    match &app.content {
        Some(_) => format!("{story} (the nodes keep the last valid version)"),
        None => story,
    }
}

fn list(mut items: impl Iterator<Item = String>) -> String {
    let shown: Vec<_> = items.by_ref().take(NAMED_MAX).collect();
    match items.count() {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}
