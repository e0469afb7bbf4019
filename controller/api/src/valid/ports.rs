//! Ports: their numbers and names, and that no two of an app ask for the same port of the box.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::container::with_paths;
use super::report::{Path, Report};
use crate::template::{TransportProtocol, is_port_name};
use crate::{ContainerPort, PodSpec, bounds};

/// Who holds a port of the box, and on which address. No address: on every one.
type Holders = BTreeMap<(TransportProtocol, i32), Vec<(Option<IpAddr>, Path)>>;

pub(super) fn check(pod: &PodSpec, path: &Path, report: &mut Report) {
    let mut taken = Holders::new();
    for (_, container, path) in with_paths(pod, path) {
        let path = path.field("ports");
        if !report.fits(container.ports.len(), bounds::PORTS, &path) {
            continue;
        }
        let mut names = BTreeSet::new();
        for (i, port) in container.ports.iter().enumerate() {
            let path = path.index(i);
            if let Some(name) = &port.name {
                let message = "must be at most 15 of a-z, 0-9 and '-', with at least one letter, no '-' at either end and no two in a row";
                report.require(is_port_name(name), &path.field("name"), message);
                report.require(
                    names.insert(name.as_str()),
                    &path.field("name"),
                    format!("the name {name:?} is used by another port of this container"),
                );
            }
            check_port(port, pod, &mut taken, &path, report);
        }
    }
}

fn check_port(port: &ContainerPort, pod: &PodSpec, taken: &mut Holders, path: &Path, report: &mut Report) {
    let ContainerPort { name: _, container_port, host_port, host_ip, protocol: _ } = port;
    report.range(Some(*container_port), 1, 65_535, &path.field("containerPort"));
    report.range(*host_port, 1, 65_535, &path.field("hostPort"));
    let ip = match host_ip.as_deref().map(str::parse::<IpAddr>) {
        Some(Err(_)) => {
            report.add(&path.field("hostIP"), "must be an IP address");
            return;
        }
        // The unspecified address means every address.
        Some(Ok(ip)) if !ip.is_unspecified() => Some(ip),
        Some(Ok(_)) | None => None,
    };
    if pod.uses_host_network() {
        report.require(
            host_port.is_none_or(|port| port == *container_port),
            &path.field("hostPort"),
            "must match `containerPort` when `hostNetwork` is true, or be absent",
        );
    }
    let Some(number) = host_port.or_else(|| pod.uses_host_network().then_some(*container_port)) else {
        return;
    };
    let holders = taken.entry((port.effective_protocol(), number)).or_default();
    let overlaps = |other: &Option<IpAddr>| match (other, ip) {
        (Some(other), Some(ip)) => *other == ip,
        (None, _) | (_, None) => true,
    };
    if let Some((_, holder)) = holders.iter().find(|(other, _)| overlaps(other)) {
        let message = format!("port {number} of the node is already asked for by {holder}");
        report.add(&path.field("hostPort"), message);
    }
    holders.push((ip, path.clone()));
}
