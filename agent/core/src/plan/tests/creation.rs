//! What a container is created with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::model::Site;
use super::{app_key, container, desired, next, round, settle, shape, valid};
use crate::plan::{Namespace, plan};
use crate::{
    Action, AppNames, AppSpec, Container, CreateSpec, Desired, DesiredApp, Device, EnvValue, EnvVar, File,
    Join, Kind, Memory, Mount, Network, RestartPolicy, Role, Sensitive, ValidApp, Volume,
};

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn var(name: &str, value: EnvValue) -> EnvVar {
    EnvVar { name: name.into(), value }
}

fn literal(name: &str, value: &str) -> EnvVar {
    var(name, EnvValue::Literal(value.into()))
}

fn spec(app: AppSpec) -> Desired {
    let mut want = desired([DesiredApp::Valid(ValidApp::new(app).expect("a valid app"))]);
    want.host.ip = Some(ip(1));
    want
}

fn web(containers: Vec<Container>) -> AppSpec {
    AppSpec::new(app_key("web"), "web-1".into(), containers)
}

fn creates(actions: &[Action]) -> Vec<CreateSpec> {
    let creates = actions.iter().filter_map(|action| match action {
        Action::Create(spec) => Some((**spec).clone()),
        Action::Pull { .. }
        | Action::Project(_)
        | Action::Start { .. }
        | Action::PostStart { .. }
        | Action::Update { .. }
        | Action::Names { .. }
        | Action::Stop { .. }
        | Action::Remove { .. }
        | Action::Discard => None,
    });
    creates.collect()
}

fn first(want: &Desired) -> Vec<CreateSpec> {
    let site = Site::default();
    creates(&plan(want, &site.observed(), &Memory::default(), site.now).apps[&app_key("web")].actions)
}

#[test]
fn variables_expand_from_top_to_bottom_and_then_in_the_command() {
    let mut one = container("c", "w:1", None);
    one.env = vec![
        literal("LATE", "$(EARLY)"),
        literal("EARLY", "x"),
        literal("PATH_", "$(EARLY)/$$(EARLY)/$(UNKNOWN)"),
        var("TOKEN", EnvValue::Secret(Sensitive("$(EARLY)".into()))),
        var("RAW", EnvValue::Resolved("$(EARLY)".into())),
        literal("USES", "$(TOKEN)"),
        var("HOST", EnvValue::HostIp),
        literal("EARLY", "$(EARLY)y"),
    ];
    one.command = vec!["run".into(), "--at=$(HOST)".into()];
    one.args = vec!["$(LATE)-$(EARLY)".into()];
    one.mounts = vec![
        Mount {
            volume: "v".into(),
            path: "/v".into(),
            read_only: false,
            sub_path: "$(EARLY)".into(),
            sub_path_expands: true,
        },
        Mount {
            volume: "v".into(),
            path: "/w".into(),
            read_only: true,
            sub_path: "$(EARLY)".into(),
            sub_path_expands: false,
        },
    ];
    let mut app = web(vec![one]);
    app.volumes.insert("v".into(), Volume::EmptyDir);
    let created = &first(&spec(app))[0];
    let env: Vec<_> = created.env.iter().map(|(name, value)| (name.as_str(), value.0.as_str())).collect();
    let expected = [
        ("LATE", "$(EARLY)"),
        ("EARLY", "xy"),
        ("PATH_", "x/$(EARLY)/$(UNKNOWN)"),
        ("TOKEN", "$(EARLY)"),
        ("RAW", "$(EARLY)"),
        ("USES", "$(EARLY)"),
        ("HOST", "10.0.0.1"),
    ];
    assert_eq!(env, expected);
    assert_eq!(
        (&created.command[1], &created.args[0]),
        (&"--at=10.0.0.1".to_owned(), &"$(EARLY)-xy".to_owned())
    );
    let subs: Vec<_> =
        created.mounts.iter().map(|mount| (mount.sub_path.as_str(), mount.read_only)).collect();
    assert_eq!(subs, [("xy", false), ("$(EARLY)", true)]);
}

#[test]
fn texts_that_grow_without_bound_are_refused_in_words() {
    let mut one = container("c", "w:1", None);
    one.env.push(literal("A", &"x".repeat(1 << 16)));
    one.env.extend((0..20).map(|i| literal(&format!("A{i}"), "$(A)$(A)")));
    let want = spec(web(vec![one]));
    let end = settle(&mut Site::default(), &want, &mut Memory::default());
    let verdict = &end.apps[&app_key("web")].verdict;
    assert_eq!(verdict.reason, skerry_terms::reasons::CREATE_CONFIG_ERROR);
    assert!(verdict.message.contains("container c: with its variables expanded"), "{}", verdict.message);
}

#[test]
fn a_container_that_asks_for_its_address_waits_for_the_sandbox() {
    let mut one = container("c", "w:1", None);
    one.env.push(var("IP", EnvValue::PodIp));
    let want = spec(web(vec![one]));
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let before = round(&mut site, &want, &mut memory, &app_key("web"));
    assert_eq!(shape(&before.actions), "CS", "the sandbox alone");
    let after = next(&site, &want, &mut memory, &app_key("web"));
    let sandbox = &site.world.containers[&site.living(&app_key("web"))[&Role::Sandbox]];
    let address = sandbox.ip.expect("it has a network").to_string();
    assert_eq!(creates(&after.actions)[0].env, [("IP".to_owned(), Sensitive(address))]);
}

#[test]
fn in_the_network_of_the_box_the_address_is_that_of_the_box() {
    let mut one = container("c", "w:1", None);
    one.env.push(var("IP", EnvValue::PodIp));
    let created = first(&spec(AppSpec { network: Network::Host, ..web(vec![one]) }));
    assert_eq!((created.len(), &created[0].env), (1, &vec![("IP".to_owned(), Sensitive("10.0.0.1".into()))]));
    assert!(matches!(created[0].join, Join::Host(_)));
}

#[test]
fn members_share_what_a_pod_shares() {
    let two = || vec![container("a", "w:1", Some(80)), container("b", "w:1", None)];
    let pod = AppSpec {
        share_process_namespace: true,
        host_aliases: vec![(ip(9), vec!["db".into(), "db.local".into()])],
        sysctls: BTreeMap::from([("net.core.somaxconn".to_owned(), "9".to_owned())]),
        fs_group: Some(7),
        supplemental_groups: vec![8],
        ..web(two())
    };
    let created = first(&spec(pod.clone()));
    let [sandbox, a, b] = &created[..] else { panic!("{created:?}") };
    let Join::Bridge(owner) = &sandbox.join else { panic!("{:?}", sandbox.join) };
    assert_eq!(owner.hosts, [("db".to_owned(), ip(9)), ("db.local".to_owned(), ip(9))]);
    assert_eq!((owner.hostname.as_str(), owner.sysctls.len(), sandbox.ports.len()), ("web", 1, 1));
    assert_eq!((&sandbox.ipc, &sandbox.pid), (&Namespace::Shareable, &Namespace::Private));
    let of_sandbox = Namespace::Container { name: sandbox.name.clone() };
    for member in [a, b] {
        assert_eq!((&member.ipc, &member.pid), (&of_sandbox, &of_sandbox));
        assert_eq!(member.join, Join::Container { name: sandbox.name.clone() });
        assert_eq!((member.fs_group, &member.groups), (Some(7), &vec![8]));
    }
    let hosts = first(&spec(AppSpec { host_ipc: true, host_pid: true, ..pod }));
    assert!(hosts.iter().all(|created| created.ipc == Namespace::Host && created.pid == Namespace::Host));
    let alone = &first(&spec(web(vec![container("a", "w:1", None)])))[0];
    assert_eq!((&alone.ipc, &alone.pid), (&Namespace::Private, &Namespace::Private));
}

#[test]
fn in_the_network_of_the_box_members_are_known_by_their_ipc() {
    let init = Container { kind: Kind::Init, ..container("init", "w:1", None) };
    let app = AppSpec { network: Network::Host, ..web(vec![init, container("a", "w:1", None)]) };
    let (mut site, mut memory) = (Site::default(), Memory::default());
    site.lives.insert("init".into(), super::model::Life::Ends(0));
    let want = spec(app);
    settle(&mut site, &want, &mut memory);
    let before = site.living(&app_key("web"));
    assert_eq!(before.len(), 2);
    // A sandbox that is gone takes its members along, and all is initialised anew.
    site.end(&before[&Role::Sandbox], 137);
    let next = next(&site, &want, &mut memory, &app_key("web"));
    assert_eq!(shape(&next.actions), "CCXSSRRR");
    settle(&mut site, &want, &mut memory);
    assert_ne!(site.living(&app_key("web"))[&super::role("a")], before[&super::role("a")]);
}

#[test]
fn the_sandbox_holds_what_is_in_memory() {
    let mut one = container("c", "w:1", None);
    one.mounts = vec![Mount {
        volume: "cache".into(),
        path: "/cache".into(),
        read_only: false,
        sub_path: String::new(),
        sub_path_expands: false,
    }];
    let mut app = web(vec![one]);
    app.volumes.insert("cache".into(), Volume::Memory { size: Some(1 << 20) });
    app.volumes.insert("disk".into(), Volume::EmptyDir);
    let created = first(&spec(app));
    let held: Vec<_> =
        created[0].mounts.iter().map(|mount| (mount.name.as_str(), mount.path.as_str())).collect();
    assert_eq!(held, [("cache", "/volumes/cache")]);
    assert_eq!(created[1].mounts[0].path, "/cache");
}

#[test]
fn devices_are_given_by_name() {
    let mut one = container("c", "w:1", None);
    one.devices.insert("cam".into(), 2);
    let mut want = spec(web(vec![one]));
    let cam = Device { paths: vec!["/dev/video0".into()], gpu: false, count: 2 };
    want.host.devices.insert("cam".into(), cam.clone());
    assert_eq!(first(&want)[0].devices, BTreeMap::from([("cam".to_owned(), (2, cam))]));
}

#[test]
fn a_new_container_knows_the_others_by_name() {
    let other = |namespace: &str, name: &str| {
        let key = skerry_terms::AppKey::new(namespace, name).expect("a key");
        DesiredApp::Valid(
            ValidApp::new(AppSpec::new(key, "1".into(), vec![container("c", "w:1", None)])).expect("valid"),
        )
    };
    let (mut site, mut memory) = (Site::default(), Memory::default());
    let mut want = desired([other("plant-a", "db"), other("plant-b", "far")]);
    settle(&mut site, &want, &mut memory);
    let web = valid("web", Network::Bridge, RestartPolicy::Always, vec![container("c", "w:1", None)]);
    want.apps.insert(web.key.clone(), DesiredApp::Valid(web));
    let hosts = |want: &Desired, memory: &mut Memory| {
        let created = creates(&next(&site, want, memory, &app_key("web")).actions);
        let Join::Bridge(owner) = &created[0].join else { panic!("{created:?}") };
        assert_eq!(owner.hosts.len(), created[0].names.len());
        owner.hosts.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&want, &mut memory), ["db", "db.plant-a"]);
    want.host.app_names = AppNames::All;
    assert_eq!(hosts(&want, &mut memory), ["db", "db.plant-a", "far.plant-b"]);
    want.host.app_names = AppNames::None;
    assert_eq!(hosts(&want, &mut memory), [] as [&str; 0]);
}

#[test]
fn sidecars_are_stopped_after_the_others_even_when_their_spec_is_gone() {
    let side = |name: &str| Container { kind: Kind::Sidecar, ..container(name, "w:1", None) };
    let app = web(vec![side("log"), side("proxy"), container("a", "w:1", None), container("b", "w:1", None)]);
    let (mut site, mut memory) = (Site::default(), Memory::default());
    settle(&mut site, &spec(app), &mut memory);
    let living = site.living(&app_key("web"));
    let removal = next(&site, &desired([]), &mut memory, &app_key("web"));
    let order: Vec<Vec<_>> = removal
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Stop { ids, .. } => Some(ids.clone()),
            Action::Pull { .. }
            | Action::Project(_)
            | Action::Create(_)
            | Action::Start { .. }
            | Action::PostStart { .. }
            | Action::Update { .. }
            | Action::Names { .. }
            | Action::Remove { .. }
            | Action::Discard => None,
        })
        .collect();
    let id = |name: &str| living[&super::role(name)].clone();
    let expected =
        [vec![id("a"), id("b")], vec![id("proxy")], vec![id("log")], vec![living[&Role::Sandbox].clone()]];
    assert_eq!(order, expected);
}

#[test]
fn files_are_written_before_what_mounts_them_and_failures_block_it() {
    let (site, mut memory) = (Site::default(), Memory::default());
    let mut one = container("c", "w:1", None);
    one.mounts = vec![Mount {
        volume: "conf".into(),
        path: "/conf".into(),
        read_only: true,
        sub_path: String::new(),
        sub_path_expands: false,
    }];
    let mut app = web(vec![one]);
    let files = vec![File { path: "a".into(), mode: 0o644, content: b"1"[..].into() }];
    app.volumes.insert("conf".into(), Volume::Files { secret: true, files });
    let want = spec(app);
    let first = next(&site, &want, &mut memory, &app_key("web"));
    assert_eq!(shape(&first.actions), "FCS");
    let failed =
        crate::Outcome::Failed { reason: skerry_terms::reasons::MOUNT_FAILED, message: "full".into() };
    memory.record(&app_key("web"), &first.actions[0].step(), failed, site.now);
    let blocked = next(&site, &want, &mut memory, &app_key("web"));
    assert_eq!((blocked.actions.len(), blocked.verdict.reason), (0, skerry_terms::reasons::MOUNT_FAILED));
    assert_eq!(blocked.verdict.message, "the volumes of files cannot be written: full");
    let wake = plan(&want, &site.observed(), &memory, site.now).wake_at.expect("it is tried again");
    let again = plan(&want, &site.observed(), &memory, wake);
    assert_eq!(shape(&again.apps[&app_key("web")].actions), "FCS");
}
