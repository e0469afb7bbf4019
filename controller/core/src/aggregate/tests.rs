//! Counts that add up for any fleet, and what the conditions mean to a person and to kstatus.

use proptest::prelude::*;

use super::*;
use crate::placement::Shortage;
use crate::placement::tests::app;

fn at(second: i64) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(second).expect("a time"))
}

/// What one node says: connected, phase, ready, newest revision.
#[derive(Debug, Clone)]
struct Said {
    connected: bool,
    report: Option<(Phase, bool, bool)>,
    reason: &'static str,
}

fn said(connected: bool, phase: Phase, ready: bool) -> Said {
    Said {
        connected,
        report: Some((phase, ready, true)),
        reason: match phase {
            Phase::Failed => "ImagePullFailed",
            Phase::Pending
            | Phase::Pulling
            | Phase::Starting
            | Phase::Probing
            | Phase::Running
            | Phase::Succeeded
            | Phase::RolledBack
            | Phase::Unknown
            | Phase::Removed => "",
        },
    }
}

fn status_of(app: &App, fleet: &[Said], previous: &EdgeAppStatus, now: i64) -> EdgeAppStatus {
    status_with(app, fleet, Unplaced::default(), previous, now)
}

fn status_with(
    app: &App,
    fleet: &[Said],
    unplaced: Unplaced<'_>,
    previous: &EdgeAppStatus,
    now: i64,
) -> EdgeAppStatus {
    let names: Vec<NodeName> =
        (0..fleet.len()).map(|i| format!("box-{i}").parse().expect("a name")).collect();
    let target = app.content.as_ref().map(|content| content.revision.clone()).unwrap_or_default();
    let reports: Vec<_> = fleet
        .iter()
        .enumerate()
        .map(|(i, said)| {
            said.report.map(|(phase, ready, newest)| AppReport {
                phase: phase.to_string(),
                ready,
                reason: said.reason.to_owned(),
                message: if said.reason.is_empty() { String::new() } else { "no such image".into() },
                revision: if newest { target.clone() } else { "web-old".into() },
                observed_at: Some(at(i64::try_from(i).expect("small"))),
                ..AppReport::default()
            })
        })
        .collect();
    let placed: Vec<_> = names
        .iter()
        .zip(fleet)
        .zip(&reports)
        .map(|((name, said), report)| NodeView {
            name,
            connected: said.connected,
            report: report.as_ref(),
            last_seen: None,
            stall: None,
        })
        .collect();
    app_status(app, &placed, unplaced, previous, &at(now))
}

fn status(fleet: &[Said]) -> EdgeAppStatus {
    status_of(&app("web", "x:1", "{}"), fleet, &EdgeAppStatus::default(), 100)
}

fn find<'a>(status: &'a EdgeAppStatus, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|condition| condition.type_ == kind).expect("the condition")
}

fn is(status: &EdgeAppStatus, kind: &str) -> String {
    let condition = find(status, kind);
    format!("{} {}", condition.status, condition.reason)
}

/// What kstatus' reference implementation makes of a custom resource's conditions.
fn kstatus(status: &EdgeAppStatus) -> &'static str {
    let holds = |kind| find(status, kind).status == "True";
    match (holds("Reconciling"), holds("Stalled"), holds("Ready")) {
        (true, _, _) => "InProgress",
        (false, true, _) => "Failed",
        (false, false, true) => "Current",
        (false, false, false) => "InProgress",
    }
}

#[test]
fn the_conditions_tell_the_story() {
    use Phase::{Failed, Pulling, Running, Succeeded, Unknown};
    let old = Said { report: Some((Running, true, false)), ..said(true, Running, true) };
    let silent = Said { report: None, ..said(true, Running, true) };
    let (up, down) = (said(true, Running, true), said(false, Running, true));
    let cases: Vec<(&str, Vec<Said>, [&str; 4], &str)> = vec![
        (
            "nobody",
            vec![],
            ["True NoMatchingNodes", "False NoMatchingNodes", "False NoFailures", "True NoMatchingNodes"],
            "Current",
        ),
        (
            "all ready",
            vec![up.clone(), up.clone()],
            ["True AllNodesReady", "False RolledOut", "False AllNodesReady", "True AllNodesReady"],
            "Current",
        ),
        (
            "not spoken yet",
            vec![silent],
            ["False NodesNotReady", "True RollingOut", "False NoFailures", "False RollingOut"],
            "InProgress",
        ),
        (
            "pulling",
            vec![said(true, Pulling, false), up.clone()],
            ["False NodesNotReady", "True RollingOut", "False NoFailures", "False RollingOut"],
            "InProgress",
        ),
        (
            "the old one serves",
            vec![old],
            ["True AllNodesReady", "True RollingOut", "False NoFailures", "False RollingOut"],
            "InProgress",
        ),
        (
            "running, not ready",
            vec![said(true, Running, false)],
            ["False NodesNotReady", "False RolledOut", "False NoFailures", "False NodesNotReady"],
            "InProgress",
        ),
        (
            "failed",
            vec![said(true, Failed, false), up.clone()],
            ["False NodesNotReady", "False NodesFailed", "True NodesFailed", "False ImagePullFailed"],
            "InProgress",
        ),
        (
            "done",
            vec![said(true, Succeeded, false)],
            ["True AllNodesReady", "False RolledOut", "False AllNodesReady", "True AllNodesReady"],
            "Current",
        ),
        (
            "one away",
            vec![down.clone(), up],
            ["True NodeUnreachable", "False NodeUnreachable", "False NoFailures", "True NodeUnreachable"],
            "Current",
        ),
        (
            "all away",
            vec![down.clone()],
            [
                "Unknown NodeUnreachable",
                "False NodeUnreachable",
                "False NoFailures",
                "Unknown NodeUnreachable",
            ],
            "InProgress",
        ),
        (
            "away after a failure",
            vec![said(false, Failed, false)],
            [
                "Unknown NodeUnreachable",
                "False NodeUnreachable",
                "False NoFailures",
                "Unknown NodeUnreachable",
            ],
            "InProgress",
        ),
        (
            "no docker",
            vec![said(true, Unknown, false)],
            [
                "Unknown NodeUnreachable",
                "False NodeUnreachable",
                "False NoFailures",
                "Unknown NodeUnreachable",
            ],
            "InProgress",
        ),
    ];
    for (name, fleet, expected, meaning) in cases {
        let status = status(&fleet);
        let story = ["Available", "Progressing", "Degraded", "Ready"].map(|kind| is(&status, kind));
        assert_eq!(story.each_ref().map(String::as_str), expected, "{name}");
        assert_eq!(kstatus(&status), meaning, "{name}");
    }
}

#[test]
fn the_message_names_node_and_reason() {
    let one = status(&[said(true, Phase::Failed, false)]);
    assert_eq!(find(&one, "Ready").message, "box-0: ImagePullFailed: no such image");
    let two = status(&[said(true, Phase::Failed, false), said(true, Phase::Running, true)]);
    assert_eq!(find(&two, "Ready").message, "1 of 2 nodes failed; box-0: ImagePullFailed: no such image");
}

#[test]
fn a_node_that_misses_config_is_a_failure_and_one_that_merely_begins_is_none() {
    let waits = |reason| Said { reason, ..said(true, Phase::Pending, false) };
    let missing = status(&[waits("CreateContainerConfigError")]);
    let story = ["Available", "Progressing", "Degraded", "Ready"].map(|kind| is(&missing, kind));
    let expected =
        ["False NodesNotReady", "False NodesFailed", "True NodesFailed", "False CreateContainerConfigError"];
    assert_eq!(story, expected);
    assert_eq!(missing.failures.len(), 1);
    let failure = &missing.failures[0];
    assert_eq!(
        (failure.node.as_str(), failure.reason.as_str(), failure.message.as_str()),
        ("box-0", "CreateContainerConfigError", "no such image")
    );
    for reason in ["", "ContainerCreating", "PodInitializing"] {
        let begins = status(&[waits(reason)]);
        assert_eq!(
            (is(&begins, "Ready").as_str(), begins.failures.len()),
            ("False RollingOut", 0),
            "{reason}"
        );
    }
    let away = status(&[Said { connected: false, ..waits("CreateContainerConfigError") }]);
    assert!(away.failures.is_empty(), "nobody knows any more");
}

#[test]
fn failures_are_the_newest_first_and_counted_beyond_the_cap() {
    let status = status(&vec![said(true, Phase::Failed, false); 25]);
    assert_eq!((status.failures.len(), status.failures_omitted), (20, 5));
    assert_eq!(status.failures[0].node, "box-24");
}

#[test]
fn an_invalid_spec_is_stalled_with_the_paths_of_its_fields() {
    let mut web = app("web", "x:1", "{}");
    web.trouble = Some(Trouble::Invalid(vec![skerry_api::FieldError {
        path: "spec.template.spec.containers[0].ports[0].hostIP".into(),
        message: "must be an IP address".into(),
    }]));
    let status = status_of(&web, &[said(true, Phase::Pulling, false)], &EdgeAppStatus::default(), 1);
    assert_eq!((is(&status, "Stalled").as_str(), kstatus(&status)), ("True InvalidSpec", "Failed"));
    assert!(find(&status, "Stalled").message.contains("ports[0].hostIP"));
}

#[test]
fn an_invalid_spec_is_not_available_be_there_nodes_or_not() {
    let mut web = app("web", "x:1", "{}");
    web.trouble = Some(Trouble::Invalid(Vec::new()));
    let up = said(true, Phase::Running, true);
    for fleet in [vec![], vec![up.clone()], vec![Said { connected: false, ..up }]] {
        let status = status_of(&web, &fleet, &EdgeAppStatus::default(), 1);
        for kind in ["Available", "Ready"] {
            assert_eq!(is(&status, kind), "False InvalidSpec", "{kind} {fleet:?}");
        }
        assert_eq!(is(&status, "Stalled"), "True InvalidSpec", "{fleet:?}");
        assert_eq!(is(&status, "Degraded"), "False NoFailures", "{fleet:?}");
    }
}

#[test]
fn config_that_may_not_be_read_is_stalled_in_words() {
    let mut web = app("web", "x:1", "{}");
    web.trouble = Some(Trouble::Unreadable("secrets is forbidden".into()));
    let status = status_of(&web, &[said(true, Phase::Running, true)], &EdgeAppStatus::default(), 1);
    assert_eq!((is(&status, "Stalled").as_str(), kstatus(&status)), ("True ConfigUnreadable", "Failed"));
    assert_eq!(
        find(&status, "Stalled").message,
        "secrets is forbidden (the nodes keep the last valid version)"
    );
}

#[test]
fn nodes_that_cannot_have_the_app_are_told_and_hold_up_no_other() {
    let (cordon, short) = (
        Obstacle::Unschedulable,
        Obstacle::InsufficientResources(Shortage { resource: "cpu".into(), requested: 2000, free: 500 }),
    );
    let names: Vec<NodeName> = (0..30).map(|i| format!("no-{i:02}").parse().expect("a name")).collect();
    let barred = |list: &[&'static str]| -> Vec<(&NodeName, &Obstacle)> {
        let obstacle = |word: &&str| if *word == "cordon" { &cordon } else { &short };
        names.iter().zip(list.iter().map(obstacle)).collect()
    };
    let up = || said(true, Phase::Running, true);
    let web = app("web", "x:1", "{}");
    type Case = (Vec<Said>, Vec<&'static str>, usize, [&'static str; 3], &'static str);
    let cases: Vec<Case> = vec![
        (
            vec![up()],
            vec!["cordon"],
            0,
            ["True AllNodesReady", "False RolledOut", "True AllNodesReady"],
            "Current",
        ),
        (
            vec![up()],
            vec!["cordon", "short"],
            0,
            ["True AllNodesReady", "False RolledOut", "True InsufficientResources"],
            "Current",
        ),
        (
            vec![],
            vec!["cordon"],
            0,
            ["False Unschedulable", "False Unschedulable", "False Unschedulable"],
            "InProgress",
        ),
        (
            vec![up()],
            vec!["short"],
            2,
            ["False TooFewNodes", "False TooFewNodes", "False TooFewNodes"],
            "InProgress",
        ),
        (
            vec![said(true, Phase::Pulling, false)],
            vec!["short"],
            1,
            ["False NodesNotReady", "True RollingOut", "False RollingOut"],
            "InProgress",
        ),
    ];
    for (fleet, words, missing, conditions, seen) in cases {
        let unplaced = Unplaced { barred: barred(&words), missing };
        let status = status_with(&web, &fleet, unplaced, &EdgeAppStatus::default(), 1);
        let told = ["Available", "Progressing", "Ready"].map(|kind| is(&status, kind));
        assert_eq!((told, kstatus(&status)), (conditions.map(String::from), seen), "{words:?} {missing}");
        let counts = status.nodes.expect("counts");
        let expected = (fleet.len() + missing, words.len());
        let counted = (counts.desired, counts.not_placeable);
        assert_eq!(counted, (expected.0.try_into().expect("small"), expected.1.try_into().expect("small")));
    }
    let mut words = vec!["cordon"; 25];
    words[24] = "short";
    let unplaced = Unplaced { barred: barred(&words), missing: 0 };
    let status = status_with(&web, &[up()], unplaced, &EdgeAppStatus::default(), 1);
    assert_eq!((status.not_placeable.len(), status.not_placeable_omitted), (20, 5));
    assert_eq!(status.not_placeable[0].node, "no-24", "what somebody should look at comes first");
    assert_eq!(
        find(&status, "Ready").message,
        "1 of 1 node ready; 25 nodes cannot have it: no-24: InsufficientResources: cpu: 2 requested, 500m free on the node; and 24 more"
    );
}

#[test]
fn no_replica_at_all_is_what_was_asked_for() {
    let mut web = app("web", "x:1", "{}");
    let content = web.content.as_mut().expect("content");
    let spec = std::sync::Arc::make_mut(&mut content.spec);
    spec.placement.as_mut().expect("a placement").replicas = Some(0);
    let status = status_of(&web, &[], &EdgeAppStatus::default(), 1);
    assert_eq!((is(&status, "Ready").as_str(), kstatus(&status)), ("True AllNodesReady", "Current"));
}

#[test]
fn transition_times_move_only_with_the_status() {
    let web = app("web", "x:1", "{}");
    let first = status(&[said(true, Phase::Running, true)]);
    let second = status_of(&web, &[said(false, Phase::Running, true)], &first, 200);
    assert_eq!(find(&second, "Degraded").last_transition_time, at(100), "as it was");
    assert_eq!(find(&second, "Ready").last_transition_time, at(200), "it changed");
    assert!(second.conditions.iter().all(|condition| condition.observed_generation == Some(1)));
}

#[test]
fn the_current_revision_follows_when_every_node_has_the_target() {
    let rollout = |status: &EdgeAppStatus| status.rollout.clone().expect("a rollout");
    let mut first = status(&[said(true, Phase::Running, true)]);
    assert_eq!(rollout(&first).current_revision, rollout(&first).target_revision);
    first.rollout.as_mut().expect("a rollout").current_revision = "web-old".into();
    let web = app("web", "x:1", "{}");
    let old = Said { report: Some((Phase::Running, true, false)), ..said(true, Phase::Running, true) };
    let on_its_way = status_of(&web, &[old, said(true, Phase::Running, true)], &first, 200);
    assert_eq!(rollout(&on_its_way).current_revision, "web-old");
    let done = status_of(&web, &[said(true, Phase::Running, true)], &on_its_way, 300);
    assert_eq!(rollout(&done).current_revision, rollout(&done).target_revision);
}

prop_compose! {
    fn any_said()(
        connected in any::<bool>(),
        phase in prop::sample::select(Phase::ALL.to_vec()),
        ready in any::<bool>(),
        newest in any::<bool>(),
        silent in prop::bool::weighted(0.2),
    ) -> Said {
        Said { report: (!silent).then_some((phase, ready, newest)), ..said(connected, phase, ready) }
    }
}

proptest! {
    #[test]
    fn the_counts_add_up_and_the_away_are_never_ready(fleet in prop::collection::vec(any_said(), 0..30)) {
        let status = status(&fleet);
        let nodes = status.nodes.expect("counts");
        let count = |n: usize| i32::try_from(n).expect("small");
        prop_assert_eq!(nodes.desired, count(fleet.len()));
        prop_assert_eq!(nodes.ready + nodes.unavailable + nodes.unknown, nodes.desired);
        let away = fleet.iter().filter(|said| !said.connected).count();
        prop_assert!(nodes.unknown >= count(away));
        prop_assert!(nodes.updated <= nodes.desired - nodes.unknown);
        let failed = fleet.iter().filter(|said| said.connected && said.reason == "ImagePullFailed" && said.report.is_some());
        prop_assert!(count(status.failures.len()) + status.failures_omitted >= count(failed.count()));
        prop_assert_eq!(status.failures.is_empty(), find(&status, "Degraded").status == "False");
        if kstatus(&status) == "Current" {
            prop_assert_eq!(nodes.unavailable, 0);
        }
    }

    #[test]
    fn saying_it_again_changes_nothing_but_the_time(fleet in prop::collection::vec(any_said(), 0..10)) {
        let web = app("web", "x:1", "{}");
        let first = status_of(&web, &fleet, &EdgeAppStatus::default(), 100);
        let mut again = status_of(&web, &fleet, &first, 200);
        again.observed_at.clone_from(&first.observed_at);
        prop_assert_eq!(again, first);
    }
}

#[test]
fn nodes_that_are_away_and_nodes_that_stall_are_named_with_a_bound() {
    let names: Vec<NodeName> = (0..50).map(|i| format!("box-{i:02}").parse().expect("a name")).collect();
    let times: Vec<Time> = (0..50).map(|i| at(1000 - i)).collect();
    let stall = Stall { reason: reasons::CLUSTER_WENT_BACK, message: "run this".into() };
    let view = |i: usize| NodeView {
        name: &names[i],
        connected: i >= 30,
        report: None,
        last_seen: (i < 30).then_some(&times[i]),
        stall: (i >= 25).then_some(&stall),
    };
    let placed: Vec<_> = (0..50).map(view).collect();
    let status = app_status(
        &app("web", "web:1", "{}"),
        &placed,
        Unplaced::default(),
        &EdgeAppStatus::default(),
        &at(2000),
    );
    assert_eq!((status.unknown.len(), status.unknown_omitted), (20, 10));
    let longest = &status.unknown[0];
    assert_eq!((longest.node.as_str(), longest.since.as_ref()), ("box-29", Some(&at(971))), "away longest");
    assert_eq!(longest.reason, reasons::NODE_UNREACHABLE);
    assert_eq!((status.stalled.len(), status.stalled_omitted), (20, 5));
    assert_eq!((status.stalled[0].node.as_str(), status.stalled[0].message.as_str()), ("box-25", "run this"));
}
