//! When a status is worth a write. What has settled is written at once; what is still moving only if it lasts, so that a whole
//! start costs one write per object; and what differs in nothing but times is not written at all.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use skerry_api::{AppReport, EdgeAppStatus, EdgeNodeStatus};
use skerry_terms::{Phase, reasons};

/// How long something must keep moving to be worth a write: a start with the image at hand takes less.
pub const LASTS: Duration = Duration::from_secs(1);

/// When a status is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The object says it already.
    Never,
    Now,
    /// If it still differs after this time.
    After(Duration),
}

/// Decides for an app. `written` is what the object says, or what is on its way to it.
pub fn app_write(written: &EdgeAppStatus, new: &EdgeAppStatus) -> Write {
    if app_facts(written) == app_facts(new) {
        return Write::Never;
    }
    let holds = |status: &EdgeAppStatus, kind: &str| {
        status.conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True")
    };
    let judgement = |status: &EdgeAppStatus| {
        let mut words: Vec<_> = status
            .conditions
            .iter()
            .map(|condition| (condition.type_.clone(), condition.status.clone(), condition.reason.clone()))
            .collect();
        words.sort();
        words
    };
    let newly = |kind: &str| holds(new, kind) && !holds(written, kind);
    let arrived = !holds(new, "Reconciling") && judgement(written) != judgement(new);
    // A spec that was edited is answered for at once when there is nothing to wait for: CI pipelines wait for this number.
    let answered = !holds(new, "Reconciling") && written.observed_generation != new.observed_generation;
    if arrived || answered || newly("Degraded") || newly("Stalled") {
        Write::Now
    } else {
        Write::After(LASTS)
    }
}

/// Decides for a node. `written` is what the object says, or what is on its way to it.
pub fn node_write(written: &EdgeNodeStatus, new: &EdgeNodeStatus) -> Write {
    let (old, facts) = (node_facts(written), node_facts(new));
    if old == facts {
        return Write::Never;
    }
    // Between the hello and the first report a node has not said where it stands.
    let arriving = new.conditions.iter().any(|condition| condition.reason == reasons::AWAITING_NODE);
    let apps = |status: &EdgeNodeStatus| -> BTreeMap<_, _> {
        let entry =
            |report: &AppReport| ((report.namespace.clone(), report.name.clone()), report_facts(report));
        status.apps.iter().map(entry).collect()
    };
    let (apps_before, apps_now) = (apps(written), apps(new));
    let arrived =
        apps_now.iter().any(|(key, report)| apps_before.get(key) != Some(report) && !is_moving(report));
    let gone = apps_before.keys().any(|key| !apps_now.contains_key(key));
    let judged = !arriving && old.conditions != facts.conditions;
    if judged || arrived || gone { Write::Now } else { Write::After(LASTS) }
}

fn is_moving(report: &AppReport) -> bool {
    report.reason == reasons::TERMINATING || report.phase.parse::<Phase>().is_ok_and(Phase::is_transient)
}

/// A status without what changes by itself.
fn app_facts(status: &EdgeAppStatus) -> EdgeAppStatus {
    let mut facts = status.clone();
    facts.observed_at = None;
    facts.conditions = timeless(&status.conditions);
    for failure in &mut facts.failures {
        failure.observed_at = None;
    }
    facts
}

/// A status without what changes by itself. When a session began does not count: a controller that restarts under a hundred
/// thousand nodes must not write each of them.
fn node_facts(status: &EdgeNodeStatus) -> EdgeNodeStatus {
    let mut facts = status.clone();
    facts.observed_at = None;
    facts.conditions = timeless(&status.conditions);
    facts.apps = status.apps.iter().map(report_facts).collect();
    facts.apps.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    if let Some(session) = &mut facts.session {
        session.since.0 = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
    }
    facts
}

fn report_facts(report: &AppReport) -> AppReport {
    let mut facts = report.clone();
    facts.observed_at = None;
    facts
}

/// Conditions by type, without their times. The API server may keep them in another order.
fn timeless(conditions: &[Condition]) -> Vec<Condition> {
    let mut list = conditions.to_vec();
    for condition in &mut list {
        condition.last_transition_time.0 = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
    }
    list.sort_by(|a, b| a.type_.cmp(&b.type_));
    list
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use skerry_api::{SessionInfo, condition};
    use skerry_terms::reasons::{ALL_NODES_READY, AWAITING_NODE, NODES_FAILED, READY, ROLLING_OUT};

    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).expect("a time"))
    }

    fn app(conditions: &[(&str, bool, &str)], now: i64) -> EdgeAppStatus {
        EdgeAppStatus {
            observed_generation: Some(1),
            observed_at: Some(at(now)),
            conditions: conditions
                .iter()
                .map(|(kind, status, reason)| condition(kind, Some(*status), reason, "", Some(1), &at(now)))
                .collect(),
            ..EdgeAppStatus::default()
        }
    }

    #[test]
    fn an_app_is_written_when_it_has_settled_or_when_moving_lasts() {
        let fresh = EdgeAppStatus::default();
        let moving = app(&[("Ready", false, ROLLING_OUT), ("Reconciling", true, ROLLING_OUT)], 1);
        let ready = app(&[("Reconciling", false, "RolledOut"), ("Ready", true, ALL_NODES_READY)], 2);
        let ready_later = app(&[("Ready", true, ALL_NODES_READY), ("Reconciling", false, "RolledOut")], 3);
        let failing = app(&[("Degraded", true, NODES_FAILED), ("Reconciling", true, ROLLING_OUT)], 4);
        assert_eq!(app_write(&fresh, &moving), Write::After(LASTS));
        assert_eq!(app_write(&fresh, &ready), Write::Now);
        assert_eq!(app_write(&moving, &ready), Write::Now);
        assert_eq!(app_write(&ready, &ready_later), Write::Never, "only times and order");
        assert_eq!(app_write(&moving, &failing), Write::Now, "a failure does not wait");
        let mut counted = ready.clone();
        counted.failures_omitted = 1;
        assert_eq!(app_write(&ready, &counted), Write::After(LASTS), "the same judgement");
        let mut edited = ready.clone();
        edited.observed_generation = Some(2);
        assert_eq!(app_write(&ready, &edited), Write::Now, "somebody waits for this generation");
    }

    fn node(ready: (bool, &str), apps: &[(&str, &str)], now: i64) -> EdgeNodeStatus {
        EdgeNodeStatus {
            observed_at: Some(at(now)),
            conditions: vec![condition("Ready", Some(ready.0), ready.1, "", Some(1), &at(now))],
            session: Some(SessionInfo { replica: "r".into(), since: at(now) }),
            apps: apps
                .iter()
                .map(|(name, phase)| AppReport {
                    name: (*name).to_owned(),
                    phase: (*phase).to_owned(),
                    observed_at: Some(at(now)),
                    ..AppReport::default()
                })
                .collect(),
            ..EdgeNodeStatus::default()
        }
    }

    #[test]
    fn a_node_is_written_when_an_app_settles_or_goes() {
        let idle = node((true, READY), &[], 1);
        let pulling = node((true, READY), &[("web", "Pulling")], 2);
        let running = node((true, READY), &[("web", "Running")], 3);
        let both = node((true, READY), &[("api", "Pulling"), ("web", "Running")], 4);
        assert_eq!(node_write(&idle, &pulling), Write::After(LASTS));
        assert_eq!(node_write(&pulling, &running), Write::Now);
        assert_eq!(node_write(&pulling, &both), Write::Now, "one settled, the other moves on");
        assert_eq!(node_write(&running, &both), Write::After(LASTS));
        assert_eq!(node_write(&running, &idle), Write::Now);
        assert_eq!(node_write(&running, &node((true, READY), &[("web", "Running")], 9)), Write::Never);
        assert_eq!(node_write(&idle, &node((false, "DockerUnavailable"), &[], 9)), Write::Now);
    }

    #[test]
    fn a_node_that_has_just_arrived_is_given_a_moment_to_report() {
        let arriving = node((false, AWAITING_NODE), &[], 1);
        assert_eq!(node_write(&EdgeNodeStatus::default(), &arriving), Write::After(LASTS));
        let mut terminating = node((true, READY), &[("web", "Running")], 2);
        let running = terminating.clone();
        terminating.apps[0].reason = reasons::TERMINATING.into();
        assert_eq!(node_write(&running, &terminating), Write::After(LASTS));
    }
}
