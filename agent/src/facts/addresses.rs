//! The addresses under which the box is known to others: those of its own interfaces, not those of Docker's bridges.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use skerry_proto::caps;

/// Interfaces that containers and virtual machines bring along, by the beginning of their name.
const VIRTUAL: [&str; 6] = ["lo", "docker", "br-", "veth", "virbr", "cni"];

/// Global addresses, IPv4 first; at most as many as the protocol carries.
pub fn addresses() -> Vec<IpAddr> {
    let v4 = ipv4(&super::read("/proc/net/fib_trie"), &super::read("/proc/net/route"));
    let v6 = ipv6(&super::read("/proc/net/if_inet6"));
    let all = v4.into_iter().map(IpAddr::V4).chain(v6.into_iter().map(IpAddr::V6));
    all.take(caps::ADDRESSES_MAX).collect()
}

/// Addresses that the routing table calls local, without those on a network of a virtual interface.
fn ipv4(fib_trie: &str, routes: &str) -> BTreeSet<Ipv4Addr> {
    let virtual_networks: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(virtual_network).collect();
    let mut last = None;
    let mut found = BTreeSet::new();
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last);
        }
    }
    found.retain(|address| {
        let bits = address.to_bits();
        let is_virtual = virtual_networks.iter().any(|(network, mask)| bits & mask == *network);
        !address.is_loopback() && !address.is_link_local() && !is_virtual
    });
    found
}

/// A line of /proc/net/route: interface, destination, gateway, flags, …, mask. Numbers are in network order, printed as this machine
/// reads them.
fn virtual_network(line: &str) -> Option<(u32, u32)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let number = |i: usize| u32::from_str_radix(fields.get(i)?, 16).ok().map(u32::from_be);
    let interface = fields.first()?;
    let (network, mask) = (number(1)?, number(7)?);
    (mask != 0 && is_virtual(interface)).then_some((network, mask))
}

/// A line of /proc/net/if_inet6: address, index, prefix length, scope (00 is global), flags, interface.
fn ipv6(if_inet6: &str) -> BTreeSet<Ipv6Addr> {
    let address = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let global = fields.get(3) == Some(&"00") && !is_virtual(fields.get(5)?);
        let bits = u128::from_str_radix(fields.first()?, 16).ok()?;
        global.then(|| Ipv6Addr::from_bits(bits))
    };
    if_inet6.lines().filter_map(address).collect()
}

fn is_virtual(interface: &str) -> bool {
    VIRTUAL.iter().any(|prefix| interface.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/24 2 0 2
        |-- 10.1.0.7
           /32 host LOCAL
        |-- 10.1.0.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 172.17.0.1
        /32 host LOCAL
";
    const ROUTES: &str = "\
Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 0100010A 0003 0 0 0 00000000 0 0 0
eth0 0000010A 00000000 0001 0 0 0 00FFFFFF 0 0 0
docker0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0
";

    #[test]
    #[cfg(target_endian = "little")]
    fn bridges_of_docker_and_loopback_are_left_out() {
        let found: Vec<_> = ipv4(TRIE, ROUTES).into_iter().collect();
        assert_eq!(found, [Ipv4Addr::new(10, 1, 0, 7)]);
    }

    #[test]
    fn only_global_ipv6_addresses_of_real_interfaces_count() {
        let lines = "\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000001 02 40 20 80     eth0
20010db8000000000000000000000007 02 40 00 80     eth0
20010db8000000000000000000000008 03 40 00 80  docker0
";
        let found: Vec<_> = ipv6(lines).into_iter().map(|address| address.to_string()).collect();
        assert_eq!(found, ["2001:db8::7"]);
    }
}
