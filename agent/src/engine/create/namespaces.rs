//! Which network, processes and shared memory a container sees, and by which names it finds others.

use bollard::models::HostConfig;
use skerry_agent_core::{Join, Namespace, NetworkOwner};

use super::dns::Resolver;

pub(super) fn set(host: &mut HostConfig, join: &Join, pid: &Namespace, ipc: &Namespace, dns: Resolver) {
    host.network_mode = Some(match join {
        Join::Host(_) => "host".to_owned(),
        Join::Bridge(_) => "bridge".to_owned(),
        Join::Container { name } => format!("container:{name}"),
    });
    // Every process namespace can be joined.
    host.pid_mode = match pid {
        Namespace::Private | Namespace::Shareable => None,
        Namespace::Host => Some("host".to_owned()),
        Namespace::Container { name } => Some(format!("container:{name}")),
    };
    host.ipc_mode = Some(match ipc {
        Namespace::Private => "private".to_owned(),
        Namespace::Shareable => "shareable".to_owned(),
        Namespace::Host => "host".to_owned(),
        Namespace::Container { name } => format!("container:{name}"),
    });
    let Some(NetworkOwner { hostname: _, dns: _, hosts, sysctls }) = owner(join) else { return };
    let extra: Vec<String> = hosts.iter().map(|(name, ip)| format!("{name}:{ip}")).collect();
    host.extra_hosts = (!extra.is_empty()).then_some(extra);
    host.sysctls = (!sysctls.is_empty())
        .then(|| sysctls.iter().map(|(name, value)| (name.clone(), value.clone())).collect());
    let Resolver { nameservers, searches, options } = dns;
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    host.dns = some(nameservers);
    host.dns_search = some(searches);
    host.dns_options = some(options);
}

/// The box's own name is that of a container in its network, as in Kubernetes.
pub(super) fn hostname(join: &Join) -> Option<String> {
    match join {
        Join::Bridge(owner) => Some(owner.hostname.clone()).filter(|name| !name.is_empty()),
        Join::Host(_) | Join::Container { .. } => None,
    }
}

pub(super) fn owner(join: &Join) -> Option<&NetworkOwner> {
    match join {
        Join::Host(owner) | Join::Bridge(owner) => Some(owner),
        Join::Container { .. } => None,
    }
}
