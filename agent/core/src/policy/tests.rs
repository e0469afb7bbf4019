use std::collections::BTreeMap;

use super::*;
use crate::{AppSpec, HostPathType};

fn app(edit: impl FnOnce(&mut AppSpec)) -> ValidApp {
    let main = Container::new("main".parse().expect("a name"), "busybox:1".to_owned());
    let init = Container {
        kind: Kind::Init,
        ..Container::new("first".parse().expect("a name"), "busybox:1".to_owned())
    };
    let mut spec = AppSpec::new("plant/web".parse().expect("a key"), "web-1".to_owned(), vec![init, main]);
    edit(&mut spec);
    ValidApp::new(spec).expect("valid")
}

fn security(edit: impl FnOnce(&mut Security)) -> ValidApp {
    app(|spec| edit(&mut spec.containers[1].security))
}

fn host_path(path: &str) -> ValidApp {
    let volume = Volume::HostPath { path: path.to_owned(), kind: HostPathType::Unset };
    app(|spec| spec.volumes = BTreeMap::from([("data".to_owned(), volume)]))
}

fn sysctl(name: &str) -> ValidApp {
    app(|spec| spec.sysctls = BTreeMap::from([(name.to_owned(), "1".to_owned())]))
}

fn image(image: &str) -> ValidApp {
    app(|spec| spec.containers[0].image = image.to_owned())
}

fn policy(edit: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = Policy { agent_folders: vec!["/var/lib/skerry".into()], ..Policy::default() };
    edit(&mut policy);
    policy
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn an_app_that_stays_in_its_containers_needs_no_permission() {
    policy(|_| {}).judge(&app(|_| {})).expect("allowed");
    let volumes = [("a", Volume::EmptyDir), ("b", Volume::Memory { size: None })];
    let app = app(|spec| spec.volumes = volumes.map(|(name, volume)| (name.to_owned(), volume)).into());
    policy(|_| {}).judge(&app).expect("allowed");
}

/// Each row: a spec, what the default policy says of it, and the edit of the policy that allows it.
#[test]
fn what_reaches_out_is_refused_by_its_rule_and_allowed_by_it_alone() {
    type Edit = fn(&mut Policy);
    let table: Vec<(ValidApp, &str, &str, Edit)> = vec![
        (
            security(|security| security.privileged = true),
            "policy.privileged",
            "spec.template.spec.containers[0].securityContext.privileged",
            |policy| policy.privileged = true,
        ),
        (app(|spec| spec.host_pid = true), "policy.host-pid", "spec.template.spec.hostPID", |policy| {
            policy.host_pid = true;
        }),
        (app(|spec| spec.host_ipc = true), "policy.host-ipc", "spec.template.spec.hostIPC", |policy| {
            policy.host_ipc = true;
        }),
        (
            security(|security| security.add_capabilities = vec!["NET_ADMIN".to_owned()]),
            "policy.capabilities",
            "spec.template.spec.containers[0].securityContext.capabilities.add",
            |policy| policy.capabilities = names(&["NET_ADMIN"]),
        ),
        (
            security(|security| security.add_capabilities = vec!["ALL".to_owned()]),
            "policy.capabilities",
            "spec.template.spec.containers[0].securityContext.capabilities.add",
            |policy| policy.capabilities = names(&["ALL"]),
        ),
        (
            security(|security| security.seccomp = Seccomp::Unconfined),
            "policy.seccomp-unconfined",
            "spec.template.spec.containers[0].securityContext.seccompProfile",
            |policy| policy.seccomp_unconfined = true,
        ),
        (
            security(|security| security.seccomp = Seccomp::Localhost("audit.json".to_owned())),
            "seccomp-folder",
            "spec.template.spec.containers[0].securityContext.seccompProfile.localhostProfile",
            |policy| policy.seccomp_profiles = true,
        ),
        (
            sysctl("net.core.somaxconn"),
            "policy.sysctls",
            "spec.template.spec.securityContext.sysctls[net.core.somaxconn]",
            |policy| policy.sysctls = vec!["net.core.*".to_owned()],
        ),
        (
            host_path("/data/camera"),
            "policy.host-paths",
            "spec.template.spec.volumes[data].hostPath.path",
            |policy| policy.host_paths = vec!["/data".into()],
        ),
        (
            host_path("/var/run/docker.sock"),
            "policy.docker-socket",
            "spec.template.spec.volumes[data].hostPath.path",
            |policy| policy.docker_socket = true,
        ),
        (
            app(|spec| spec.containers[0].devices = [("camera".to_owned(), 1)].into()),
            "devices.camera",
            "spec.template.spec.initContainers[0].resources.limits[skerry.dev/camera]",
            |policy| policy.devices = names(&["camera"]),
        ),
    ];
    for (app, rule, field, edit) in table {
        let refusal = policy(|_| {}).judge(&app).expect_err(rule);
        assert_eq!((refusal.rule.as_str(), refusal.field.as_str()), (rule, field));
        assert!(refusal.to_string().starts_with(&format!("{rule}: {field}: ")), "{refusal}");
        policy(edit).judge(&app).expect(rule);
    }
}

#[test]
fn the_network_of_the_box_is_denied_unless_its_owner_allows_it() {
    let app = app(|spec| spec.network = Network::Host);
    let refusal = policy(|_| {}).judge(&app).expect_err("refused");
    assert_eq!(
        (refusal.rule.as_str(), refusal.field.as_str()),
        ("policy.host-network", "spec.template.spec.hostNetwork")
    );
    policy(|policy| policy.host_network = true).judge(&app).expect("allowed");
}

#[test]
fn what_every_container_has_and_what_is_safe_needs_no_permission() {
    for name in ["NET_BIND_SERVICE", "CAP_CHOWN"] {
        let app = security(|security| security.add_capabilities = vec![name.to_owned()]);
        policy(|_| {}).judge(&app).expect(name);
    }
    policy(|_| {}).judge(&sysctl("net.ipv4.tcp_syncookies")).expect("safe");
    let near = policy(|policy| policy.sysctls = vec!["net.core.somaxconn".to_owned()]);
    near.judge(&sysctl("net.core.somaxconn2")).expect_err("another one");
}

#[test]
fn a_list_of_paths_is_read_by_parts_and_never_reaches_what_is_root() {
    let listed = policy(|policy| policy.host_paths = vec!["/data".into(), "/var".into(), "/run".into()]);
    let wide = policy(|policy| policy.host_paths = vec!["/".into()]);
    let socket_too = Policy { docker_socket: true, ..wide.clone() };
    for (policy, path, allowed) in [
        (&listed, "/data", true),
        (&listed, "/data/", true),
        (&listed, "/data/a/b", true),
        (&listed, "/database", false),
        (&listed, "/etc", false),
        (&listed, "/data/../etc", false),
        (&listed, "data", false),
        (&listed, "", false),
        (&listed, "/var/lib/other", true),
        (&listed, "/var/lib/skerry", false),
        (&listed, "/var/lib/skerry/desired.bin", false),
        (&listed, "/var/lib", false),
        (&listed, "/run", false),
        (&listed, "/run/docker.sock", false),
        (&listed, "/run/docker.sock.d", true),
        (&wide, "/etc", true),
        (&wide, "/", false),
        (&wide, "/var/run", false),
        (&socket_too, "/var/run", true),
        (&socket_too, "/run/docker.sock", true),
        (&socket_too, "/var/lib/skerry", false),
        (&socket_too, "/", false),
    ] {
        assert_eq!(policy.host_path_allowed(Path::new(path)).is_ok(), allowed, "{path}");
    }
    let only_socket = policy(|policy| policy.docker_socket = true);
    only_socket.host_path_allowed(Path::new("/run")).expect_err("the folder around it is another thing");
}

#[test]
fn images_come_from_listed_registries_alone() {
    let digest = format!("ghcr.io/acme/web@sha256:{}", "0".repeat(64));
    let id = format!("sha256:{}", "b".repeat(64));
    for (pattern, name, allowed) in [
        ("docker.io", "busybox", true),
        ("docker.io", "busybox:1", true),
        ("docker.io", "acme/web:1", true),
        ("docker.io", "docker.io/library/busybox", true),
        ("index.docker.io", "busybox", true),
        ("docker.io", "index.docker.io/library/busybox", true),
        ("docker.io", "EVIL/web:1", false),
        ("docker.io", "b8364d14cec8", false),
        ("docker.io", "beef", false),
        ("docker.io", "beef:1", true),
        ("docker.io/library", "busybox:1", true),
        ("docker.io/library", "acme/web", false),
        ("docker.io", "registry.example/busybox", false),
        ("docker.io", "localhost/busybox", false),
        ("docker.io", "localhost:5000/busybox", false),
        ("localhost:5000", "localhost:5000/busybox:1", true),
        ("localhost", "localhost:5000/busybox", false),
        ("ghcr.io/acme", digest.as_str(), true),
        ("ghcr.io/acme", "ghcr.io/acme-evil/web", false),
        ("ghcr.io/acme/web", "ghcr.io/acme/web:1", true),
        ("ghcr.io/acme/web", "ghcr.io/acme/web2", false),
        ("*.example.com", "eu.example.com/web", true),
        ("*.example.com", "example.com/web", false),
        ("*.example.com", "evilexample.com/web", false),
        ("REGISTRY.example", "registry.example/web", true),
        ("docker.io", id.as_str(), false),
    ] {
        let policy = policy(|policy| policy.registries = vec![pattern.parse().expect("a pattern")]);
        let judged = policy.judge(&app(|spec| {
            for container in &mut spec.containers {
                container.image = name.to_owned();
            }
        }));
        assert_eq!(judged.is_ok(), allowed, "{pattern} and {name}: {judged:?}");
    }
    let refusal = policy(|policy| policy.registries = vec!["ghcr.io".parse().expect("a pattern")])
        .judge(&image("quay.io/x/y:1"))
        .expect_err("refused");
    assert_eq!(
        refusal.to_string(),
        "policy.registries: spec.template.spec.initContainers[0].image: quay.io/x/y:1 comes from quay.io, which is not in the list"
    );
}

#[test]
fn what_is_no_registry_is_no_pattern() {
    for text in ["", "/acme", "https://ghcr.io", "ghcr.io/", "*", "*.", "a b"] {
        text.parse::<RegistryPattern>().expect_err(text);
    }
}
