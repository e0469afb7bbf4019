//! What a spec says, as the container's own processes see it.

use std::collections::BTreeMap;
use std::fs;

use skerry_agent::engine::{Engine as _, EngineError};
use skerry_agent_core::{Device, Dns, Join, Namespace, NetworkOwner, Seccomp, Security};

use super::{Bed, cli, script};

#[tokio::test]
async fn processes_are_whose_and_where_the_spec_says() {
    let bed = Bed::new("who");
    let docker = bed.docker();
    let mut spec = script(
        &bed.spec("who"),
        "id -u; id -g; id -G; pwd; touch /x 2>&1; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; tty",
    );
    spec.security = Security {
        user: Some(1000),
        group: Some(2000),
        non_root: true,
        read_only_root: true,
        drop_capabilities: vec!["ALL".to_owned()],
        no_new_privileges: true,
        ..Security::default()
    };
    spec.groups = vec![3000];
    spec.fs_group = Some(4000);
    spec.working_dir = Some("/tmp".to_owned());
    spec.tty = true;
    let (_, said) = bed.ends(&docker, &spec).await;
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert_eq!(lines[..2], ["1000", "2000"], "{said}");
    assert!(lines[2].contains("3000") && lines[2].contains("4000"), "{said}");
    assert_eq!(lines[3], "/tmp", "{said}");
    assert!(lines[4].contains("Read-only file system"), "{said}");
    assert!(said.contains("CapEff:\t0000000000000000") && said.contains("NoNewPrivs:\t1"), "{said}");
    assert!(lines.last().is_some_and(|tty| tty.starts_with("/dev/")), "{said}");
}

#[tokio::test]
async fn capabilities_privileges_and_profiles_are_as_asked() {
    let bed = Bed::new("may");
    let docker = bed.docker();
    let caps = |said: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("a line").trim();
        u64::from_str_radix(line, 16).expect("a number")
    };
    let look = "grep -E 'CapEff|Seccomp:' /proc/self/status";
    let mut spec = script(&bed.spec("added"), look);
    spec.security.drop_capabilities = vec!["ALL".to_owned()];
    spec.security.add_capabilities = vec!["NET_ADMIN".to_owned()];
    let (_, said) = bed.ends(&docker, &spec).await;
    assert_eq!(caps(&said), 1 << 12, "{said}");

    // Not started: a Docker that runs in a container itself may not grant it.
    let mut spec = bed.spec("privileged");
    spec.security.privileged = true;
    docker.create(&spec).await.expect("created");
    assert_eq!(cli(&["inspect", "--format", "{{.HostConfig.Privileged}}", &spec.name]), "true");

    // A profile under which nothing can make a folder.
    let profiles = bed.state.path().join("seccomp");
    fs::create_dir_all(&profiles).expect("made");
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    fs::write(profiles.join("no-mkdir.json"), profile).expect("written");
    let mut spec = script(&bed.spec("profile"), "mkdir /x && echo made");
    spec.security.seccomp = Seccomp::Localhost("no-mkdir.json".to_owned());
    assert_ne!(bed.ends(&docker, &spec).await.0, 0);
    let mut spec = script(&bed.spec("unconfined"), "mkdir /x && grep Seccomp: /proc/self/status");
    spec.security.seccomp = Seccomp::Unconfined;
    let (code, said) = bed.ends(&docker, &spec).await;
    assert!(code == 0 && said.ends_with('0'), "{said}");

    let mut spec = bed.spec("missing-profile");
    spec.security.seccomp = Seccomp::Localhost("missing.json".to_owned());
    let error = docker.create(&spec).await.expect_err("no such profile");
    assert!(
        matches!(&error, EngineError::Config { message } if message.contains("missing.json")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_root_image_is_not_run_where_root_is_not_wanted() {
    let bed = Bed::new("nonroot");
    let docker = bed.docker();
    let mut spec = bed.spec("nonroot");
    spec.security.non_root = true;
    let error = docker.create(&spec).await.expect_err("the image is root's");
    let EngineError::Config { message } = error else { panic!("{error:?}") };
    assert_eq!(
        message,
        "container has runAsNonRoot and image will run as root (pod: \"nonroot_test\", container: c0)"
    );
    assert!(
        bed.look(&docker).await.containers.values().all(|found| found.name != spec.name),
        "nothing was created"
    );

    spec.security.non_root = false;
    spec.security.group = Some(77);
    let (_, said) = bed.ends(&docker, &script(&spec, "id -u; id -g")).await;
    assert_eq!(said.lines().collect::<Vec<_>>(), ["0", "77"], "the image's user with the spec's group");
}

#[tokio::test]
async fn names_and_kernel_parameters_are_the_apps_own() {
    let bed = Bed::new("net");
    let docker = bed.docker();
    let ip = |text: &str| text.parse().expect("an address");
    let owner = NetworkOwner {
        hostname: "cam".to_owned(),
        dns: Dns {
            only_these: true,
            nameservers: vec![ip("10.9.8.7")],
            searches: Vec::new(),
            options: Vec::new(),
        },
        hosts: [("alias.example", "10.0.0.1"), ("six", "fd00::1"), ("web.test", "10.0.0.2")]
            .map(|(name, address)| (name.to_owned(), ip(address)))
            .to_vec(),
        sysctls: BTreeMap::from([("net.ipv4.ip_unprivileged_port_start".to_owned(), "7".to_owned())]),
    };
    let mut spec = script(
        &bed.spec("net"),
        "hostname; cat /etc/hosts /etc/resolv.conf; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    );
    spec.join = Join::Bridge(owner.clone());
    let (_, said) = bed.ends(&docker, &spec).await;
    assert!(said.starts_with("cam\n") && said.ends_with("\n7"), "{said}");
    for line in ["10.0.0.1\talias.example", "fd00::1\tsix", "10.0.0.2\tweb.test", "nameserver 10.9.8.7"] {
        assert!(said.lines().any(|found| found == line), "{line} in {said}");
    }
    assert!(!said.contains("search ") && !said.lines().any(|line| line.starts_with("options ")), "{said}");
    assert_eq!(said.matches("nameserver").count(), 1, "{said}");

    // In the box's network the name is the box's, and the aliases are there all the same.
    let mut spec = script(&bed.spec("host-net"), "hostname; cat /etc/hosts");
    spec.join = Join::Host(NetworkOwner { sysctls: BTreeMap::new(), ..owner });
    let (_, said) = bed.ends(&docker, &spec).await;
    let own = cli(&["info", "--format", "{{.Name}}"]);
    assert!(said.starts_with(&format!("{own}\n")) && said.contains("alias.example"), "{said}");
}

#[tokio::test]
async fn members_share_the_namespaces_of_their_sandbox() {
    let bed = Bed::new("share");
    let docker = bed.docker();
    let mut specs = bed.specs("share", 2);
    let sandbox = specs[0].name.clone();
    specs[0].ipc = Namespace::Shareable;
    for member in &mut specs[1..] {
        member.pid = Namespace::Container { name: sandbox.clone() };
        member.ipc = Namespace::Container { name: sandbox.clone() };
    }
    for spec in &specs {
        bed.runs(&docker, spec).await;
    }
    let inside = |script: &str| cli(&["exec", &specs[1].name, "sh", "-c", script]);
    assert!(inside("cat /proc/1/cmdline").starts_with("/pause"), "process 1 is the sandbox's");
    inside("echo shared > /dev/shm/x");
    assert_eq!(cli(&["exec", &specs[2].name, "cat", "/dev/shm/x"]), "shared");
    let mut spec = script(&bed.spec("box"), "cat /proc/1/comm");
    spec.pid = Namespace::Host;
    let (_, said) = bed.ends(&docker, &spec).await;
    assert_eq!(said, fs::read_to_string("/proc/1/comm").expect("read").trim(), "the box's own processes");
}

#[tokio::test]
async fn devices_are_there_and_counted() {
    let bed = Bed::new("devices");
    let docker = bed.docker();
    let mut spec = script(&bed.spec("devices"), "test -c /dev/kmsg && echo there");
    let device = Device { paths: vec!["/dev/kmsg".to_owned()], gpu: false, count: 3 };
    spec.devices = BTreeMap::from([("log".to_owned(), (2, device))]);
    let (_, said) = bed.ends(&docker, &spec).await;
    assert_eq!(said, "there");
    let (_, found) = bed.find(&docker, &spec.name).await;
    assert_eq!(found.devices, BTreeMap::from([("log".to_owned(), 2)]));
}

#[tokio::test]
async fn standard_input_stays_open() {
    let bed = Bed::new("stdin");
    let docker = bed.docker();
    let mut spec = script(&bed.spec("stdin"), "cat; echo closed");
    spec.stdin = true;
    bed.runs(&docker, &spec).await;
    let without = script(&bed.spec("none"), "cat; echo closed");
    let (_, said) = bed.ends(&docker, &without).await;
    assert_eq!(said, "closed");
    assert_eq!(cli(&["inspect", "--format", "{{.State.Running}}", &spec.name]), "true");
}
