//! Probes and postStart hooks.

use std::time::Duration;

use skerry_terms::{Phase, reasons};

use super::model::{Life, Site};
use super::{app_key, container, desired, next, probe, role, round, settle, shape};
use crate::plan::Why;
use crate::{
    Action, AppSpec, Container, Desired, DesiredApp, EnvValue, EnvVar, Hook, Lifecycle, Memory, Probe,
    ProbeKind, ProbeVerdict, Probes, RestartPolicy, Sensitive, ValidApp,
};

fn with(policy: RestartPolicy, one: Container) -> Desired {
    let spec = AppSpec::new(app_key("web"), "web-1".into(), vec![one]);
    desired([DesiredApp::Valid(ValidApp::new(AppSpec { restart_policy: policy, ..spec }).expect("valid"))])
}

fn probed(probes: Probes) -> Container {
    Container { probes, ..container("main", "w:1", None) }
}

fn hooked() -> Container {
    let post_start = Some(Hook::Exec { command: vec!["setup".into()] });
    Container { lifecycle: Lifecycle { post_start, pre_stop: None }, ..container("main", "w:1", None) }
}

fn say(site: &Site, memory: &mut Memory, kind: ProbeKind, ok: bool) {
    let id = site.living(&app_key("web"))[&role("main")].clone();
    memory.probed(
        &id,
        kind,
        ProbeVerdict { ok, message: if ok { String::new() } else { "HTTP 503".into() } },
    );
}

#[test]
fn an_app_is_probing_until_its_probes_succeed_and_running_ever_after() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let probes = Probes { startup: Some(probe()), readiness: Some(probe()), liveness: None };
    let want = with(RestartPolicy::Always, probed(probes));
    let key = app_key("web");
    round(&mut site, &want, &mut memory, &key);
    let state = |site: &Site, memory: &mut Memory| {
        let verdict = next(site, &want, memory, &key).verdict;
        (verdict.phase, verdict.reason, verdict.ready, verdict.containers[0].started, verdict.message)
    };
    let waits = |words: &str| format!("container main: {words}");
    assert_eq!(
        state(&site, &mut memory),
        (Phase::Probing, reasons::NOT_READY, false, false, waits("its startup probe has not yet succeeded"))
    );
    say(&site, &mut memory, ProbeKind::Startup, true);
    assert_eq!(
        state(&site, &mut memory),
        (Phase::Probing, reasons::NOT_READY, false, true, waits("its readiness probe has not yet succeeded"))
    );
    say(&site, &mut memory, ProbeKind::Readiness, false);
    assert_eq!(
        state(&site, &mut memory),
        (Phase::Probing, reasons::NOT_READY, false, true, waits("its readiness probe failed: HTTP 503"))
    );
    say(&site, &mut memory, ProbeKind::Readiness, true);
    assert_eq!(state(&site, &mut memory), (Phase::Running, reasons::READY, true, true, String::new()));
    say(&site, &mut memory, ProbeKind::Readiness, false);
    assert_eq!(
        state(&site, &mut memory),
        (Phase::Running, reasons::NOT_READY, false, true, waits("its readiness probe failed: HTTP 503"))
    );
    assert_eq!(next(&site, &want, &mut memory, &key).actions, [], "nobody is restarted for it");
}

#[test]
fn what_a_probe_says_of_a_secret_is_not_told() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let probes = Probes { startup: None, readiness: Some(probe()), liveness: None };
    let mut one = probed(probes);
    one.env.push(EnvVar { name: "T".into(), value: EnvValue::Secret(Sensitive("503".repeat(2))) });
    let want = with(RestartPolicy::Always, one);
    let key = app_key("web");
    round(&mut site, &want, &mut memory, &key);
    let id = site.living(&key)[&role("main")].clone();
    let said = ProbeVerdict { ok: false, message: "HTTP 503503".into() };
    memory.probed(&id, ProbeKind::Readiness, said);
    let verdict = next(&site, &want, &mut memory, &key).verdict;
    assert_eq!(verdict.message, "container main: its readiness probe failed: HTTP ***");
    assert!(verdict.containers[0].message.ends_with("HTTP ***"), "{verdict:?}");
}

#[test]
fn what_was_ready_before_the_agents_start_is_ready_until_a_probe_says_otherwise() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let want = with(RestartPolicy::Always, probed(Probes { readiness: Some(probe()), ..Probes::default() }));
    let key = app_key("web");
    settle(&mut site, &want, &mut memory);
    let mut memory = Memory::default();
    memory.assume_ready(&site.observed());
    let verdict = next(&site, &want, &mut memory, &key).verdict;
    assert_eq!((verdict.phase, verdict.ready), (Phase::Running, true));
    say(&site, &mut memory, ProbeKind::Readiness, false);
    let verdict = next(&site, &want, &mut memory, &key).verdict;
    assert_eq!((verdict.phase, verdict.reason, verdict.ready), (Phase::Running, reasons::NOT_READY, false));
}

#[test]
fn a_run_begun_by_hand_starts_with_a_clean_slate() {
    let (mut site, mut memory) = (Site::at(1000), Memory::default());
    let want = with(RestartPolicy::Always, probed(Probes { liveness: Some(probe()), ..Probes::default() }));
    let key = app_key("web");
    settle(&mut site, &want, &mut memory);
    say(&site, &mut memory, ProbeKind::Liveness, false);
    assert_ne!(next(&site, &want, &mut memory, &key).actions, []);
    site.now = site.now.after(Duration::from_secs(5));
    for id in site.living(&key).into_values() {
        site.end(&id, 0);
        site.start(&id).expect("it starts");
    }
    assert_eq!(next(&site, &want, &mut memory, &key).actions, []);
}

#[test]
fn a_liveness_failure_kills_and_counts_as_a_crash() {
    let (mut site, mut memory) = (Site::at(1000), Memory::default());
    let own_grace = Probe { grace: Some(Duration::from_secs(3)), ..probe() };
    let want =
        with(RestartPolicy::OnFailure, probed(Probes { liveness: Some(own_grace), ..Probes::default() }));
    let key = app_key("web");
    settle(&mut site, &want, &mut memory);
    for restart in 1..3 {
        say(&site, &mut memory, ProbeKind::Liveness, false);
        let kill = next(&site, &want, &mut memory, &key);
        let id = site.living(&key)[&role("main")].clone();
        assert_eq!(
            kill.actions,
            [Action::Stop {
                ids: vec![id.clone()],
                grace: Some(Duration::from_secs(3)),
                why: Why::Unhealthy
            }]
        );
        assert_eq!((kill.verdict.phase, kill.verdict.reason), (Phase::Running, reasons::UNHEALTHY));
        assert_eq!(
            kill.verdict.message,
            "container main is being killed: its liveness probe failed: HTTP 503"
        );
        assert!(!kill.verdict.ready);
        memory.dispatch(&key, &kill.actions);
        // It takes SIGTERM well; it is started again all the same.
        site.end(&id, 0);
        memory.note(&want, &site.observed(), site.now);
        memory.finish(&key);
        let after = next(&site, &want, &mut memory, &key);
        if restart == 1 {
            assert_eq!(shape(&after.actions), "CSR", "as in Kubernetes, the first restart is immediate");
            round(&mut site, &want, &mut memory, &key);
            let last =
                next(&site, &want, &mut memory, &key).verdict.containers[0].last.clone().expect("a last run");
            assert_eq!((last.reason, last.exit_code), (reasons::UNHEALTHY, 0));
        } else {
            assert_eq!(
                (shape(&after.actions).as_str(), after.verdict.reason),
                ("", reasons::CRASH_LOOP_BACK_OFF)
            );
            assert_eq!(
                after.verdict.message,
                "container main was killed: its liveness probe failed: HTTP 503; back-off 10s before restart 2"
            );
        }
    }
}

#[test]
fn a_startup_failure_kills_and_under_never_fails_the_app() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.lives.insert("main".into(), Life::Sick);
    let want = with(RestartPolicy::Never, probed(Probes { startup: Some(probe()), ..Probes::default() }));
    let end = settle(&mut site, &want, &mut memory);
    let verdict = &end.apps[&app_key("web")].verdict;
    assert_eq!((verdict.phase, verdict.reason), (Phase::Failed, reasons::UNHEALTHY));
    assert_eq!(
        verdict.message,
        "container main: ended with exit code 137: was killed: its startup probe failed: HTTP 500"
    );
    assert_eq!(verdict.containers[0].last, None, "this is the last run itself");
}

#[test]
fn a_hook_runs_after_the_start_and_its_failure_kills() {
    let (mut site, mut memory) = (Site::at(1000), Memory::default());
    site.lives.insert("main".into(), Life::Hookless);
    let want = with(RestartPolicy::Always, hooked());
    let key = app_key("web");
    assert_eq!(shape(&round(&mut site, &want, &mut memory, &key).actions), "CSH");
    let kill = round(&mut site, &want, &mut memory, &key);
    assert!(matches!(&kill.actions[..], [Action::Stop { why: Why::HookFailed, .. }]), "{:?}", kill.actions);
    assert_eq!(kill.verdict.reason, reasons::POST_START_FAILED);
    assert_eq!(shape(&round(&mut site, &want, &mut memory, &key).actions), "CSHR");
    round(&mut site, &want, &mut memory, &key);
    let waits = next(&site, &want, &mut memory, &key);
    assert_eq!((shape(&waits.actions).as_str(), waits.verdict.reason), ("", reasons::CRASH_LOOP_BACK_OFF));
    site.lives.clear();
    let end = settle(&mut site, &want, &mut memory);
    assert_eq!(end.apps[&key].verdict.phase, Phase::Running);
}

#[test]
fn a_hook_that_was_cut_off_runs_later_and_a_new_agent_counts_it_as_done() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let want = with(RestartPolicy::Always, hooked());
    let key = app_key("web");
    let first = next(&site, &want, &mut memory, &key);
    site.execute(&key, &first.actions, &mut memory, 2);
    let mut forgetful = Memory::default();
    assert_eq!(next(&site, &want, &mut forgetful, &key).actions, []);
    let cut = next(&site, &want, &mut memory, &key);
    assert_eq!((shape(&cut.actions).as_str(), cut.verdict.ready), ("H", false));
    settle(&mut site, &want, &mut memory);
    assert_eq!(site.hooked.len(), 1);
}

#[test]
fn a_hook_that_comes_into_the_spec_later_is_not_run_in_what_runs() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let key = app_key("web");
    settle(&mut site, &with(RestartPolicy::Always, container("main", "w:1", None)), &mut memory);
    assert_eq!(next(&site, &with(RestartPolicy::Always, hooked()), &mut memory, &key).actions, []);
}

#[test]
fn last_words_are_passed_on() {
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let want = with(RestartPolicy::Never, container("main", "w:1", None));
    let key = app_key("web");
    settle(&mut site, &want, &mut memory);
    let id = site.living(&key)[&role("main")].clone();
    site.end(&id, 3);
    if let crate::ContainerState::Exited { message, .. } =
        &mut site.world.containers.get_mut(&id).expect("it is there").state
    {
        message.push_str("out of paper\n");
    }
    let verdict = next(&site, &want, &mut memory, &key).verdict;
    assert_eq!(verdict.message, "container main: ended with exit code 3: out of paper");
}
