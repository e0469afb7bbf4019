use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::{Path, PathBuf};

use bollard::models::MountType;
use skerry_agent_core::{
    BoundMount, Device, Hook, Namespace, NetworkOwner, Qos, Reclaim, Resources, Role, Seccomp, Security,
    Volume,
};

use super::dns::Resolver;
use super::*;
use crate::engine::volumes::Source;

const MACHINE: Machine = Machine { cores: 2, memory: 1 << 30, protects: true };

pub(super) fn spec() -> CreateSpec {
    CreateSpec {
        name: "skerry_n_a_b_c_01234567_0".to_owned(),
        node: "n".parse().expect("a name"),
        app: "a/b".parse().expect("a key"),
        role: Role::Container("c".parse().expect("a name")),
        revision: "b-1".to_owned(),
        hash: "0123456789abcdef".parse().expect("a hash"),
        restart_count: 2,
        image: Some("busybox:1".to_owned()),
        command: vec!["sh".to_owned()],
        args: vec!["-c".to_owned(), "exit".to_owned()],
        working_dir: Some("/srv".to_owned()),
        env: vec![("A".to_owned(), Sensitive("b=c".to_owned()))],
        ports: vec![Port {
            container_port: NonZeroU16::MIN,
            protocol: Protocol::Udp,
            host_port: NonZeroU16::new(99),
            host_ip: None,
        }],
        resources: Resources {
            cpu_limit_millis: NonZeroU64::new(1),
            memory_limit_bytes: NonZeroU64::new(1 << 26),
            cpu_request_millis: NonZeroU64::new(500),
            memory_request_bytes: NonZeroU64::new(1 << 20),
        },
        qos: Qos::Burstable,
        devices: BTreeMap::from([
            (
                "camera".to_owned(),
                (1, Device { paths: vec!["/dev/video0".to_owned()], gpu: false, count: 1 }),
            ),
            ("gpu".to_owned(), (2, Device { paths: Vec::new(), gpu: true, count: 4 })),
        ]),
        mounts: Vec::new(),
        groups: vec![20, 10],
        fs_group: Some(30),
        security: Security {
            user: Some(1000),
            group: Some(2000),
            non_root: true,
            read_only_root: true,
            add_capabilities: vec!["NET_ADMIN".to_owned()],
            drop_capabilities: vec!["ALL".to_owned()],
            privileged: true,
            no_new_privileges: true,
            seccomp: Seccomp::Localhost("p.json".to_owned()),
        },
        termination_message: Some(TerminationMessage {
            path: "/dev/termination-log".to_owned(),
            policy: TerminationMessagePolicy::FallbackToLogsOnError,
        }),
        stdin: true,
        tty: true,
        pre_stop: Some(Hook::Exec { command: vec!["true".to_owned()] }),
        join: Join::Bridge(owner()),
        pid: Namespace::Host,
        ipc: Namespace::Shareable,
        names: BTreeMap::from([("web.a".to_owned(), ip("fd00::2"))]),
        stop_rank: 3,
        grace_seconds: 7,
        labels: BTreeMap::from([("tier".to_owned(), "edge".to_owned())]),
        annotations: BTreeMap::from([("note".to_owned(), "x".to_owned())]),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn owner() -> NetworkOwner {
    NetworkOwner {
        hostname: "b".to_owned(),
        hosts: vec![("alias".to_owned(), ip("10.0.0.1")), ("web.a".to_owned(), ip("fd00::2"))],
        sysctls: BTreeMap::from([("net.core.somaxconn".to_owned(), "9".to_owned())]),
        ..Default::default()
    }
}

fn told(spec: &CreateSpec) -> ContainerCreateBody {
    let texts = |text: &str| vec![text.to_owned()];
    let prepared = Prepared {
        user: Some("1000:2000".to_owned()),
        seccomp: Some("{}".to_owned()),
        mounts: Vec::new(),
        dns: Resolver { nameservers: texts("10.0.0.3"), searches: texts("s"), options: texts("o") },
    };
    body(spec, prepared, MACHINE)
}

fn texts(list: &[&str]) -> Option<Vec<String>> {
    Some(list.iter().map(|text| (*text).to_owned()).collect())
}

#[test]
fn every_field_of_the_spec_reaches_docker() {
    let body = told(&spec());
    let host = body.host_config.expect("a host config");
    assert_eq!(body.env, texts(&["A=b=c"]));
    assert_eq!((body.entrypoint, body.cmd), (texts(&["sh"]), texts(&["-c", "exit"])));
    assert_eq!((body.stop_timeout, body.hostname), (Some(7), Some("b".to_owned())));
    assert_eq!(body.exposed_ports, texts(&["1/udp"]));
    assert_eq!((body.working_dir.as_deref(), body.user.as_deref()), (Some("/srv"), Some("1000:2000")));
    assert_eq!((body.open_stdin, body.tty), (Some(true), Some(true)));
    let binding = &host.port_bindings.expect("bindings")["1/udp"].clone().expect("a binding")[0];
    assert_eq!((binding.host_port.as_deref(), binding.host_ip.as_deref()), (Some("99"), None));
    assert_eq!((host.nano_cpus, host.cpu_shares), (Some(10_000_000), Some(512)));
    assert_eq!((host.memory, host.memory_swap), (Some(1 << 26), Some(1 << 26)));
    // 1 MiB of 1 GiB asked for.
    assert_eq!(host.oom_score_adj, Some(999));
    assert_eq!(host.group_add, texts(&["10", "20", "30"]));
    assert_eq!((host.readonly_rootfs, host.privileged), (Some(true), Some(true)));
    assert_eq!((host.cap_add, host.cap_drop), (texts(&["NET_ADMIN"]), texts(&["ALL"])));
    assert_eq!(host.security_opt, texts(&["no-new-privileges", "seccomp={}"]));
    let devices = host.devices.expect("devices");
    assert_eq!(devices.len(), 1);
    assert_eq!(devices[0].path_on_host.as_deref(), Some("/dev/video0"));
    assert_eq!(devices[0].path_in_container.as_deref(), Some("/dev/video0"));
    let gpus = &host.device_requests.expect("a request")[0];
    assert_eq!((gpus.count, gpus.capabilities.clone()), (Some(-1), Some(vec![vec!["gpu".to_owned()]])));
    assert_eq!((host.pid_mode.as_deref(), host.ipc_mode.as_deref()), (Some("host"), Some("shareable")));
    assert_eq!(host.network_mode.as_deref(), Some("bridge"));
    assert_eq!(host.extra_hosts, texts(&["alias:10.0.0.1", "web.a:fd00::2"]));
    assert_eq!(host.sysctls.expect("sysctls")["net.core.somaxconn"], "9");
    assert_eq!(
        (host.dns, host.dns_search, host.dns_options),
        (texts(&["10.0.0.3"]), texts(&["s"]), texts(&["o"]))
    );
}

#[test]
fn the_labels_tell_what_must_be_known_without_the_spec() {
    let labels = told(&spec()).labels.expect("labels");
    for (key, value) in [
        ("tier", "edge"),
        ("annotation.note", "x"),
        (labels::NODE, "n"),
        (labels::NAMESPACE, "a"),
        (labels::APP, "b"),
        (labels::CONTAINER, "c"),
        (labels::REVISION, "b-1"),
        (labels::SPEC_HASH, "0123456789abcdef"),
        (labels::RESTART_COUNT, "2"),
        (labels::STOP_RANK, "3"),
        (labels::PRE_STOP, r#"{"Exec":{"command":["true"]}}"#),
        (labels::TERMINATION_MESSAGE_POLICY, "FallbackToLogsOnError"),
        (labels::DEVICES, r#"{"camera":1,"gpu":2}"#),
        (labels::APP_NAMES, r#"{"web.a":"fd00::2"}"#),
        (
            labels::RESOURCES,
            r#"{"cpuLimitMillis":1,"memoryLimitBytes":67108864,"cpuRequestMillis":500,"memoryRequestBytes":1048576}"#,
        ),
    ] {
        assert_eq!(labels.get(key).map(String::as_str), Some(value), "{key}");
    }
    // They may change between two attempts to create it.
    let moved = CreateSpec { names: BTreeMap::new(), resources: Resources::default(), ..spec() };
    assert_eq!(identity(&spec()), identity(&moved));
}

#[test]
fn what_joins_a_network_has_none_of_its_own() {
    let joined = CreateSpec {
        join: Join::Container { name: "pod".to_owned() },
        pid: Namespace::Container { name: "pod".to_owned() },
        ipc: Namespace::Container { name: "pod".to_owned() },
        ..spec()
    };
    let body = told(&joined);
    let host = body.host_config.expect("a host config");
    for mode in [&host.network_mode, &host.pid_mode, &host.ipc_mode] {
        assert_eq!(mode.as_deref(), Some("container:pod"));
    }
    assert!(body.exposed_ports.is_none() && host.port_bindings.is_none() && body.hostname.is_none());
    assert!(host.dns.is_none() && host.extra_hosts.is_none() && host.sysctls.is_none());

    let host_network = told(&CreateSpec { join: Join::Host(owner()), ..spec() });
    assert!(host_network.hostname.is_none(), "the box's own");
    let host = host_network.host_config.expect("a host config");
    assert_eq!((host.network_mode.as_deref(), host.port_bindings), (Some("host"), None));
    assert!(host.extra_hosts.is_some());
}

#[test]
fn a_sandbox_runs_our_own_program() {
    let sandbox =
        CreateSpec { image: None, command: Vec::new(), args: Vec::new(), role: Role::Sandbox, ..spec() };
    let body = told(&sandbox);
    assert_eq!(body.image.as_deref(), Some("skerry.dev/pause:1"));
    assert_eq!(body.entrypoint, Some(vec!["/pause".to_owned()]));
    assert_eq!(body.host_config.expect("a host config").oom_score_adj, Some(-998));
    let unable = Machine { protects: false, ..MACHINE };
    let body = super::body(&sandbox, Prepared::default(), unable);
    assert_eq!(body.host_config.expect("a host config").oom_score_adj, Some(0));
}

#[test]
fn a_plain_spec_says_nothing_that_was_not_asked_for() {
    let plain = CreateSpec {
        working_dir: None,
        devices: BTreeMap::new(),
        groups: Vec::new(),
        fs_group: None,
        security: Security::default(),
        termination_message: None,
        stdin: false,
        tty: false,
        pre_stop: None,
        join: Join::Bridge(NetworkOwner::default()),
        pid: Namespace::Private,
        ipc: Namespace::Private,
        names: BTreeMap::new(),
        resources: Resources::default(),
        ..spec()
    };
    let body = body(&plain, Prepared::default(), MACHINE);
    let host = body.host_config.expect("a host config");
    assert!(
        body.user.is_none() && body.working_dir.is_none() && body.tty.is_none() && body.hostname.is_none()
    );
    assert!(host.privileged.is_none() && host.readonly_rootfs.is_none() && host.security_opt.is_none());
    assert!(host.group_add.is_none() && host.devices.is_none() && host.device_requests.is_none());
    assert!(
        host.mounts.is_none() && host.extra_hosts.is_none() && host.dns.is_none() && host.sysctls.is_none()
    );
    assert!(host.nano_cpus.is_none() && host.memory.is_none() && host.pid_mode.is_none());
    assert_eq!((host.ipc_mode.as_deref(), host.cpu_shares), (Some("private"), Some(2)));
    let labels = body.labels.expect("labels");
    for key in [
        labels::PRE_STOP,
        labels::TERMINATION_MESSAGE_POLICY,
        labels::DEVICES,
        labels::APP_NAMES,
        labels::RESOURCES,
    ] {
        assert_eq!(labels[key], "", "{key}: an image's own must not stand in for it");
    }
}

#[test]
fn volumes_are_mounts_with_a_source() {
    let mount = |volume, read_only| BoundMount {
        name: "v".to_owned(),
        volume,
        path: "/v".to_owned(),
        read_only,
        sub_path: String::new(),
    };
    let spec = CreateSpec {
        mounts: vec![
            mount(Volume::EmptyDir, false),
            mount(Volume::Files { secret: true, files: Vec::new() }, false),
            mount(Volume::Local { reclaim: Reclaim::Retain }, true),
            mount(Volume::Memory { size: Some(9) }, false),
        ],
        ..spec()
    };
    let at = |path: &str| Source::Path(PathBuf::from(path));
    let tmpfs = Source::Tmpfs { name: "skerry-1".to_owned(), options: vec![("o", "size=9".to_owned())] };
    let sources = vec![at("/s/a"), at("/s/b"), at("/s/c"), tmpfs];
    let found = mounts::mounts(&spec, sources, Path::new("/s/m"), "home");
    let short: Vec<_> = found
        .iter()
        .map(|mount| (mount.source.as_deref(), mount.target.as_deref(), mount.read_only))
        .collect();
    assert_eq!(
        short,
        [
            (Some("/s/a"), Some("/v"), Some(false)),
            (Some("/s/b"), Some("/v"), Some(true)),
            (Some("/s/c"), Some("/v"), Some(true)),
            (Some("skerry-1"), Some("/v"), Some(false)),
            (Some("/s/m"), Some("/dev/termination-log"), Some(false)),
        ]
    );
    assert!(found[..3].iter().all(|mount| mount.typ == Some(MountType::BIND)));
    let memory = found[3].volume_options.clone().expect("options");
    assert_eq!((found[3].typ, memory.no_copy), (Some(MountType::VOLUME), Some(true)));
    assert_eq!(memory.labels.expect("labels")[labels::HOME], "home");
}
