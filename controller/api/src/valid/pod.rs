//! The pod: its containers together, volumes, names and name servers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::report::{Path, Report};
use super::{container, ports, security, text, volume};
use crate::template::{DnsConfig, DnsOption, DnsPolicy, HostAlias, PullSecretRef};
use crate::{PodSpec, bounds};

pub(super) fn check(pod: &PodSpec, path: &Path, report: &mut Report) {
    let PodSpec {
        containers,
        restart_policy: _,
        termination_grace_period_seconds,
        host_network: _,
        init_containers,
        volumes,
        host_pid: _,
        host_ipc: _,
        share_process_namespace: _,
        hostname,
        dns_policy: _,
        dns_config,
        host_aliases,
        image_pull_secrets,
        security_context,
        scheduler_name: _,
    } = pod;
    report.require(!containers.is_empty(), &path.field("containers"), "must specify at least one container");
    let fits = [("containers", containers), ("initContainers", init_containers)]
        .map(|(field, list)| report.fits(list.len(), bounds::CONTAINERS, &path.field(field)));
    if fits == [true, true] {
        container::check_all(pod, path, report);
        ports::check(pod, path, report);
    }
    report.range(
        *termination_grace_period_seconds,
        0,
        i64::from(bounds::SECONDS),
        &path.field("terminationGracePeriodSeconds"),
    );
    volume::check_all(volumes, pod, &path.field("volumes"), report);
    report.require(
        !(pod.uses_host_pid() && pod.shares_process_namespace()),
        &path.field("shareProcessNamespace"),
        "shareProcessNamespace and hostPID cannot both be enabled",
    );
    if let Some(hostname) = hostname {
        text::label(hostname, &path.field("hostname"), report);
    }
    check_dns(pod, dns_config.as_ref(), &path.field("dnsConfig"), report);
    let aliases_path = path.field("hostAliases");
    if report.fits(host_aliases.len(), bounds::LIST, &aliases_path) {
        let mut addresses = BTreeSet::new();
        for (i, alias) in host_aliases.iter().enumerate() {
            let path = aliases_path.index(i);
            report.unique(&mut addresses, &alias.ip, &path.field("ip"));
            check_alias(alias, &path, report);
        }
    }
    let secrets_path = path.field("imagePullSecrets");
    if report.fits(image_pull_secrets.len(), bounds::PULL_SECRETS, &secrets_path) {
        let mut names = BTreeSet::new();
        for (i, PullSecretRef { name }) in image_pull_secrets.iter().enumerate() {
            let path = secrets_path.index(i).field("name");
            report.unique(&mut names, name, &path);
            text::subdomain(name, &path, report);
        }
    }
    if let Some(context) = security_context {
        security::check_pod(context, pod, &path.field("securityContext"), report);
    }
}

fn check_dns(pod: &PodSpec, config: Option<&DnsConfig>, path: &Path, report: &mut Report) {
    let default = DnsConfig::default();
    let DnsConfig { nameservers, searches, options } = config.unwrap_or(&default);
    let nameservers_path = path.field("nameservers");
    match pod.effective_dns_policy() {
        DnsPolicy::None => report.require(
            !nameservers.is_empty(),
            &nameservers_path,
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet | DnsPolicy::Default => {}
    }
    if report.fits(nameservers.len(), bounds::NAMESERVERS, &nameservers_path) {
        for (i, nameserver) in nameservers.iter().enumerate() {
            address(nameserver, &nameservers_path.index(i), report);
        }
    }
    let searches_path = path.field("searches");
    if report.fits(searches.len(), bounds::SHORT_LIST, &searches_path) {
        for (i, search) in searches.iter().enumerate() {
            let good = search == "." || is_search(search.strip_suffix('.').unwrap_or(search));
            report.require(good, &searches_path.index(i), "must be a domain, such as plant.example");
        }
        let total = searches.iter().map(|search| search.len() + 1).sum::<usize>().saturating_sub(1);
        let message = format!(
            "must not have more than {} characters (including spaces) in the search list; it has {total}",
            bounds::SEARCHES_TOTAL
        );
        report.require(total <= bounds::SEARCHES_TOTAL, &searches_path, message);
    }
    let options_path = path.field("options");
    if report.fits(options.len(), bounds::SHORT_LIST, &options_path) {
        for (i, DnsOption { name, value }) in options.iter().enumerate() {
            let path = options_path.index(i);
            let is_word = |text: &str| {
                text.len() <= bounds::LIST && !text.contains(|c: char| c.is_whitespace() || c.is_control())
            };
            let good = !name.is_empty() && is_word(name) && !name.contains(':');
            report.require(
                good,
                &path.field("name"),
                "must be the name of an option of resolv.conf, such as ndots",
            );
            report.require(
                value.as_deref().is_none_or(is_word),
                &path.field("value"),
                "must be one word of at most 64 characters",
            );
        }
    }
}

/// A search domain. As in Kubernetes, a part may have underscores.
fn is_search(text: &str) -> bool {
    text::is_subdomain(&text.replace('_', "0"))
}

fn check_alias(alias: &HostAlias, path: &Path, report: &mut Report) {
    let HostAlias { ip, hostnames } = alias;
    address(ip, &path.field("ip"), report);
    let names_path = path.field("hostnames");
    if report.fits(hostnames.len(), bounds::LIST, &names_path) {
        for (i, name) in hostnames.iter().enumerate() {
            text::subdomain(name, &names_path.index(i), report);
        }
    }
}

fn address(text: &str, path: &Path, report: &mut Report) {
    report.require(
        text.parse::<IpAddr>().is_ok(),
        path,
        "must be a valid IP address, such as 10.9.8.7 or fd00::7",
    );
}

/// The names of all containers, for those that refer to one.
pub(super) fn container_names(pod: &PodSpec) -> BTreeSet<&str> {
    pod.all_containers().map(|(_, container)| container.name.as_str()).collect()
}
