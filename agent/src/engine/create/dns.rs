//! Which resolver a container asks. Docker replaces what the box's resolv.conf says by what it is told, list by list; Kubernetes adds to it.
//! So what is to be added to is read here.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use skerry_agent_core::Dns;

/// The box's own, and where systemd-resolved keeps the real one behind its stub.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";
const RESOLVED_STUB: &str = "127.0.0.53";
/// Kubernetes' limits, which are those of resolvers.
const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
/// What Docker takes for "no search list at all".
const NO_SEARCH: &str = ".";

/// What Docker is told. An empty list: as on the box.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::engine) struct Resolver {
    pub nameservers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

pub(super) fn resolver(dns: &Dns, host_network: bool) -> Resolver {
    let adds = !dns.only_these
        && (!dns.nameservers.is_empty() || !dns.searches.is_empty() || !dns.options.is_empty());
    let own = if adds { of_the_box(host_network) } else { Resolver::default() };
    merged(dns, own)
}

fn merged(dns: &Dns, own: Resolver) -> Resolver {
    let Dns { only_these, nameservers, searches, options } = dns;
    let nameservers: Vec<String> = nameservers.iter().map(IpAddr::to_string).collect();
    if *only_these {
        let searches = if searches.is_empty() { vec![NO_SEARCH.to_owned()] } else { searches.clone() };
        // An empty option keeps Docker from taking the box's.
        let options = if options.is_empty() { vec![String::new()] } else { options.clone() };
        return Resolver { nameservers, searches, options };
    }
    let joined = |own: Vec<String>, more: &[String], max: usize| {
        if more.is_empty() {
            return Vec::new();
        }
        let mut all: Vec<String> = own;
        all.extend(more.iter().cloned());
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|entry| seen.insert(entry.clone()));
        all.truncate(max);
        all
    };
    let name = |option: &str| option.split(':').next().unwrap_or_default().to_owned();
    let kept = own.options.into_iter().filter(|old| !options.iter().any(|new| name(new) == name(old)));
    let options = if options.is_empty() { Vec::new() } else { kept.chain(options.iter().cloned()).collect() };
    Resolver {
        nameservers: joined(own.nameservers, &nameservers, NAMESERVERS_MAX),
        searches: joined(own.searches, searches, SEARCHES_MAX),
        options,
    }
}

/// A box without a resolver has nothing to add to.
fn of_the_box(host_network: bool) -> Resolver {
    let read = |path: &str| fs::read_to_string(Path::new(path)).map(|text| parse(&text)).unwrap_or_default();
    let mut own = read(RESOLV_CONF);
    if own.nameservers == [RESOLVED_STUB] {
        own = read(RESOLVED_CONF);
    }
    // A resolver on the box's loopback is nobody in a network of a container's own.
    if !host_network {
        own.nameservers.retain(|server| server.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback()));
    }
    own
}

fn parse(text: &str) -> Resolver {
    let mut found = Resolver::default();
    for line in text.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        match words.next().as_deref() {
            Some("nameserver") => found.nameservers.extend(words.next()),
            // The last one counts.
            Some("search" | "domain") => found.searches = words.collect(),
            Some("options") => found.options.extend(words),
            Some(_) | None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn dns(only_these: bool, server: Option<&str>, searches: &[&str], options: &[&str]) -> Dns {
        let nameservers = server.iter().map(|ip| ip.parse().expect("an address")).collect();
        Dns { only_these, nameservers, searches: texts(searches), options: texts(options) }
    }

    #[test]
    fn what_is_given_is_added_to_what_the_box_has() {
        let own = parse(
            "# by hand\nnameserver 10.0.0.1\ndomain old\nsearch plant.example\noptions ndots:1 rotate\n",
        );
        let more = dns(false, Some("10.0.0.2"), &["a.example", "plant.example"], &["ndots:5", "edns0"]);
        assert_eq!(
            merged(&more, own.clone()),
            Resolver {
                nameservers: texts(&["10.0.0.1", "10.0.0.2"]),
                searches: texts(&["plant.example", "a.example"]),
                options: texts(&["rotate", "ndots:5", "edns0"]),
            }
        );
        let one = dns(false, None, &[], &["ndots:5"]);
        let told = merged(&one, own);
        assert!(told.nameservers.is_empty() && told.searches.is_empty(), "Docker takes the box's: {told:?}");
        assert_eq!(resolver(&Dns::default(), false), Resolver::default());
    }

    #[test]
    fn only_these_leaves_nothing_of_the_box() {
        let told = resolver(&dns(true, Some("10.0.0.2"), &[], &[]), false);
        assert_eq!(
            told,
            Resolver { nameservers: texts(&["10.0.0.2"]), searches: texts(&["."]), options: texts(&[""]) }
        );
    }
}
