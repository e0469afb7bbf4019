//! What is said of an agent, its state and its files, from facts that are made up.

use super::*;
use crate::admin::view::ProblemReport;
use crate::check::Outcome;

fn node() -> NodeReport {
    NodeReport {
        name: "box-7".to_owned(),
        agent_version: VERSION.to_owned(),
        controller: "http://127.0.0.1:7443".to_owned(),
        connected: true,
        connected_changed_at: None,
        docker_ready: true,
        docker_version: "20.10.24".to_owned(),
        docker_message: String::new(),
        problems: Vec::new(),
        untold: 0,
        lost: 0,
        manifest_problems: Vec::new(),
        upgrade: None,
    }
}

fn facts() -> Facts {
    Facts {
        config_path: "/etc/skerry/agent.toml".into(),
        config_there: true,
        config_error: None,
        node: "box-7".to_owned(),
        voice: Voice::Says(Box::new(node()), 2),
        pid: Some(7),
        state: State {
            folder: "/var/lib/skerry".into(),
            desired: Peeked::Loaded(2),
            local: Peeked::Missing,
            kept_aside: Vec::new(),
        },
        key: Key { path: "/var/lib/skerry/store.key".into(), found: Some((0o600, 32)) },
        socket: Some(("/run/skerry/agent.sock".into(), 0o600)),
        manifest_folder: "/etc/skerry/manifests".into(),
        manifests: Ok((1, BTreeMap::new())),
    }
}

#[test]
fn a_good_agent_is_all_right() {
    let findings = judge(&facts());
    assert!(findings.iter().all(|finding| finding.outcome == Outcome::Ok), "{findings:#?}");
    let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
    assert_eq!(ids, IDS);
}

#[test]
fn what_is_wrong_with_the_agent_is_told() {
    let says = |change: fn(&mut NodeReport)| {
        let mut node = node();
        change(&mut node);
        Voice::Says(Box::new(node), 2)
    };
    let problem = |node: &mut NodeReport| {
        let text = |text: &str| text.to_owned();
        node.problems.push(ProblemReport {
            kind: text("DiskPressure"),
            reason: text("R"),
            message: text("full"),
        });
    };
    let wrong_line = "/etc/skerry/agent.toml:3: unknown field `x`".to_owned();
    let wrong_file = Ok((2, BTreeMap::from([("web.yaml".to_owned(), "document 1: no".to_owned())])));
    let cases: [(&str, Facts, Outcome, &str); 11] = [
        ("config", Facts { config_error: Some(wrong_line), ..facts() }, Outcome::Failure, "agent.toml:3"),
        (
            "agent",
            Facts { voice: says(|node| node.agent_version = "9".to_owned()), ..facts() },
            Outcome::Warning,
            "version 9 runs",
        ),
        ("agent", Facts { voice: Voice::Silent, pid: None, ..facts() }, Outcome::Warning, "none runs"),
        ("agent", Facts { voice: Voice::Silent, ..facts() }, Outcome::Warning, "process 7"),
        ("agent", Facts { voice: Voice::Denied, ..facts() }, Outcome::Warning, "may not ask"),
        ("agent", Facts { voice: Voice::Garbled("x".to_owned()), ..facts() }, Outcome::Failure, "understood"),
        ("agent-problems", Facts { voice: says(problem), ..facts() }, Outcome::Warning, "DiskPressure: full"),
        (
            "admin-socket",
            Facts { socket: Some(("/s".into(), 0o666)), ..facts() },
            Outcome::Warning,
            "mode 666",
        ),
        ("manifests", Facts { manifests: wrong_file, ..facts() }, Outcome::Warning, "web.yaml: document 1"),
        ("manifests", Facts { manifests: Err("denied".to_owned()), ..facts() }, Outcome::Warning, "denied"),
        (
            "store-key",
            Facts { key: Key { found: Some((0o644, 32)), ..facts().key }, ..facts() },
            Outcome::Warning,
            "mode 644",
        ),
    ];
    for (id, facts, outcome, words) in cases {
        let findings = judge(&facts);
        let bad: Vec<_> = findings.iter().filter(|finding| finding.outcome > Outcome::Ok).collect();
        let [one] = bad.as_slice() else { panic!("{id}: {bad:#?}") };
        assert_eq!((one.id, one.outcome), (id, outcome), "{one:?}");
        assert!(one.found.contains(words) && !one.fix.is_empty(), "{one:?}");
    }
}

#[test]
fn the_state_is_missing_loaded_corrupt_newer_or_not_ours_to_read() {
    let corrupt = || Peeked::Corrupt { why: "its checksum does not match".to_owned() };
    let unreadable = |denied| Peeked::Unreadable { denied, why: "I/O error".to_owned() };
    for (desired, outcome, words) in [
        (Peeked::Missing, Outcome::Ok, "nothing is stored"),
        (Peeked::Loaded(3), Outcome::Ok, "3 apps of the controller"),
        (corrupt(), Outcome::Failure, "checksum"),
        (Peeked::Newer { found: 9 }, Outcome::Failure, "format 9"),
        (unreadable(true), Outcome::Warning, "may not read"),
        (unreadable(false), Outcome::Failure, "I/O error"),
    ] {
        let finding = state(&State { desired, ..facts().state });
        assert!(finding.outcome == outcome && finding.found.contains(words), "{finding:?}");
    }
    let local = state(&State { local: corrupt(), ..facts().state });
    assert!(local.outcome == Outcome::Failure && local.found.contains("local.bin"), "{local:?}");
    let aside = state(&State { kept_aside: vec!["/x/desired.corrupt-1".into()], ..facts().state });
    assert!(aside.outcome == Outcome::Warning && aside.found.contains("desired.corrupt-1"), "{aside:?}");
}

#[test]
fn a_key_matters_once_something_is_stored() {
    let missing = Key { found: None, ..facts().key };
    assert_eq!(key(&missing, &facts().state).outcome, Outcome::Failure);
    let empty = State { desired: Peeked::Missing, ..facts().state };
    assert_eq!(key(&missing, &empty).outcome, Outcome::Ok);
    let short = Key { found: Some((0o600, 31)), ..facts().key };
    assert!(key(&short, &facts().state).found.contains("31 bytes"));
}
