//! The app as a whole: what its containers have in common, and how it is brought in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use skerry_agent_core::{AppSpec, Dns, Network, RestartPolicy, Switch, ValidApp};
use skerry_proto::{caps, wire};

use super::container::{self, Place};
use super::security::Common;
use super::text::{address, host_name, id, label, line, shown};
use super::wrong::{Under, Wrong, check_length, each, known};
use super::{App, Facts, Ledger, env, registry, volume};

/// Longest option of a resolver.
const DNS_OPTION_MAX: usize = 256;
/// Longest value of a kernel parameter.
const SYSCTL_MAX: usize = 4096;

/// What an app says of its updates.
pub(super) struct Rollout {
    pub(super) switch: i32,
    pub(super) progress_deadline_seconds: u32,
}

pub(super) fn read(app: &App<'_>, rollout: Rollout, template: wire::PodTemplate) -> Result<ValidApp, Wrong> {
    let Rollout { switch, progress_deadline_seconds } = rollout;
    let switch = match known(switch).under("switch")? {
        wire::SwitchStrategy::Unspecified | wire::SwitchStrategy::StopFirst => Switch::StopFirst,
        wire::SwitchStrategy::StartFirst => Switch::StartFirst,
    };
    let spec = read_template(app, template).under("template")?;
    let progress_deadline = match progress_deadline_seconds {
        0 => spec.progress_deadline,
        seconds => Duration::from_secs(seconds.into()),
    };
    ValidApp::new(AppSpec { switch, progress_deadline, ..spec }).map_err(Wrong::new)
}

fn read_template(app: &App<'_>, template: wire::PodTemplate) -> Result<AppSpec, Wrong> {
    let wire::PodTemplate {
        labels,
        annotations,
        restart_policy,
        termination_grace_period_seconds,
        host_network,
        containers,
        init_containers,
        volumes,
        security_context,
        host_pid,
        host_ipc,
        share_process_namespace,
        hostname,
        dns_policy,
        dns_config,
        host_aliases,
        image_pull_secrets,
    } = template;
    check_length("containers", containers.len(), caps::CONTAINERS_MAX)?;
    check_length("initContainers", init_containers.len(), caps::INIT_CONTAINERS_MAX)?;
    let restart_policy = match known(restart_policy).under("restartPolicy")? {
        wire::RestartPolicy::Unspecified | wire::RestartPolicy::Always => RestartPolicy::Always,
        wire::RestartPolicy::OnFailure => RestartPolicy::OnFailure,
        wire::RestartPolicy::Never => RestartPolicy::Never,
    };
    let resources = env::resources_of(init_containers.iter().chain(&containers));
    let facts = Facts { app, labels, annotations, resources };
    let mut ledger = Ledger::new();
    let shared = read_security(security_context).under("securityContext")?;
    let volumes = volume::read(&facts, &mut ledger, volumes)?;
    let mut read = |field: &str, place, containers| {
        each(field, containers, caps::CONTAINERS_MAX, |container| {
            container::read(&facts, &mut ledger, &shared.common, place, container)
        })
    };
    let mut all = read("initContainers", Place::Init, init_containers)?;
    all.extend(read("containers", Place::Main, containers)?);
    let registry_auths = registry::read(app, &mut ledger, image_pull_secrets)?;
    let Shared { common: _, fs_group, supplemental_groups, sysctls } = shared;
    let Facts { app: _, labels, annotations, resources: _ } = facts;
    Ok(AppSpec {
        uid: app.uid.to_owned(),
        restart_policy,
        grace: Duration::from_secs(termination_grace_period_seconds.into()),
        network: if host_network { Network::Host } else { Network::Bridge },
        host_pid,
        host_ipc,
        share_process_namespace,
        hostname: match hostname {
            name if name.is_empty() => None,
            name => Some(label(name).under("hostname")?),
        },
        dns: read_dns(dns_policy, dns_config.unwrap_or_default())?,
        host_aliases: each("hostAliases", host_aliases, caps::LIST_MAX, read_host_alias)?,
        sysctls,
        fs_group,
        supplemental_groups,
        labels,
        annotations,
        volumes,
        registry_auths,
        missing: ledger.missing,
        ..AppSpec::new(app.key.clone(), app.revision.to_owned(), all)
    })
}

/// The pod's security context.
struct Shared {
    common: Common,
    fs_group: Option<u32>,
    supplemental_groups: Vec<u32>,
    sysctls: BTreeMap<String, String>,
}

fn read_security(context: Option<wire::PodSecurityContext>) -> Result<Shared, Wrong> {
    let wire::PodSecurityContext {
        run_as_user,
        run_as_group,
        run_as_non_root,
        fs_group,
        supplemental_groups,
        seccomp_profile,
        sysctls,
    } = context.unwrap_or_default();
    Ok(Shared {
        common: Common::read(run_as_user, run_as_group, run_as_non_root, seccomp_profile)?,
        fs_group: fs_group.map(id).transpose().under("fsGroup")?,
        supplemental_groups: each("supplementalGroups", supplemental_groups, caps::LIST_MAX, id)?,
        sysctls: each("sysctls", sysctls, caps::LIST_MAX, read_sysctl)?.into_iter().collect(),
    })
}

/// With one spelling of its name, so that a policy can compare it: `net/ipv4/tcp_syncookies` has its steps parted by dots.
fn read_sysctl(sysctl: wire::Sysctl) -> Result<(String, String), Wrong> {
    let wire::Sysctl { name, value } = sysctl;
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    if name.is_empty() || !name.bytes().all(fits) {
        return Err(Wrong::new(format_args!("{} is no kernel parameter", shown(&name))).under("name"));
    }
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        c => c,
    };
    let slashes = name.find(['.', '/']).is_some_and(|first| name[first..].starts_with('/'));
    let name = if slashes { name.chars().map(swap).collect() } else { name };
    Ok((name, line(value, SYSCTL_MAX).under("value")?))
}

fn read_dns(policy: i32, config: wire::DnsConfig) -> Result<Dns, Wrong> {
    let only_these = match known(policy).under("dnsPolicy")? {
        wire::DnsPolicy::Unspecified
        | wire::DnsPolicy::ClusterFirst
        | wire::DnsPolicy::ClusterFirstWithHostNet
        | wire::DnsPolicy::Default => false,
        wire::DnsPolicy::None => true,
    };
    let dns = read_dns_config(only_these, config).under("dnsConfig")?;
    if only_these && dns.nameservers.is_empty() {
        return Err(
            Wrong::new("with the dnsPolicy None, at least one is needed").under("dnsConfig.nameservers")
        );
    }
    Ok(dns)
}

fn read_dns_config(only_these: bool, config: wire::DnsConfig) -> Result<Dns, Wrong> {
    let wire::DnsConfig { nameservers, searches, options } = config;
    let length: usize = searches.iter().map(String::len).sum();
    check_length("searches", length, caps::SEARCHES_LENGTH_MAX)?;
    let option = |wire::DnsOption { name, value }| {
        let option = match value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        };
        if option.is_empty() || option.contains(char::is_whitespace) {
            return Err(Wrong::new(format_args!("{} is no option of a resolver", shown(&option))));
        }
        line(option, DNS_OPTION_MAX)
    };
    Ok(Dns {
        only_these,
        nameservers: each("nameservers", nameservers, caps::NAMESERVERS_MAX, |text| address(&text))?,
        searches: each("searches", searches, caps::SEARCHES_MAX, search)?,
        options: each("options", options, caps::LIST_MAX, option)?,
    })
}

/// A search domain; `.` stands for none.
fn search(domain: String) -> Result<String, Wrong> {
    if domain == "." { Ok(domain) } else { host_name(domain) }
}

fn read_host_alias(alias: wire::HostAlias) -> Result<(IpAddr, Vec<String>), Wrong> {
    let wire::HostAlias { ip, hostnames } = alias;
    Ok((address(&ip).under("ip")?, each("hostnames", hostnames, caps::LIST_MAX, host_name)?))
}
