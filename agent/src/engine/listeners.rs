//! Which ports of the node processes outside Docker hold, from the kernel's socket tables.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use procfs_core::net::{TcpNetEntries, TcpState, UdpNetEntries, UdpState};
use procfs_core::{ExplicitSystemInfo, FromBufReadSI, ProcResult};
use skerry_agent_core::{HostPort, Listener, Protocol};
use tracing::debug;

/// The parser asks for the byte order only.
const SYSTEM: ExplicitSystemInfo = ExplicitSystemInfo {
    boot_time_secs: 0,
    ticks_per_second: 100,
    page_size: 4096,
    is_little_endian: cfg!(target_endian = "little"),
};

/// Ports in state LISTEN (TCP) or bound and not connected (UDP). A table that cannot be read counts as empty: Docker's own refusal
/// at the start is the second line.
pub(super) fn read() -> BTreeSet<Listener> {
    let mut listeners = BTreeSet::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for entry in table::<TcpNetEntries>(path).map(|table| table.0).unwrap_or_default() {
            if entry.state == TcpState::Listen {
                listeners.extend(listener(Protocol::Tcp, entry.local_address));
            }
        }
    }
    for path in ["/proc/net/udp", "/proc/net/udp6"] {
        for entry in table::<UdpNetEntries>(path).map(|table| table.0).unwrap_or_default() {
            if entry.state == UdpState::Close {
                listeners.extend(listener(Protocol::Udp, entry.local_address));
            }
        }
    }
    listeners
}

fn table<T: FromBufReadSI>(path: &str) -> Option<T> {
    let parse = || -> ProcResult<T> { T::from_buf_read(BufReader::new(File::open(path)?), &SYSTEM) };
    parse().inspect_err(|error| debug!("cannot read {path}: {error}")).ok()
}

fn listener(protocol: Protocol, address: SocketAddr) -> Option<Listener> {
    let ip = host_ip(address.ip());
    Some(Listener(HostPort { protocol, port: NonZeroU16::new(address.port())?, ip }))
}

/// An address as a port is asked for: `None` is every address.
pub(super) fn host_ip(ip: IpAddr) -> Option<IpAddr> {
    let ip = match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port_of(address: SocketAddr) -> HostPort {
        let port = NonZeroU16::new(address.port()).expect("a port");
        HostPort { protocol: Protocol::Tcp, port, ip: host_ip(address.ip()) }
    }

    #[test]
    fn a_listening_socket_is_seen_and_its_connections_are_not_mistaken_for_one() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let address = server.local_addr().expect("an address");
        let client = std::net::TcpStream::connect(address).expect("a connection");
        let listeners = read();
        assert!(listeners.contains(&Listener(port_of(address))), "{address} in {listeners:?}");
        assert!(!listeners.contains(&Listener(port_of(client.local_addr().expect("an address")))));
    }

    #[test]
    fn every_way_to_say_every_address_is_none() {
        for any in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
            assert_eq!(host_ip(any.parse().expect("an address")), None, "{any}");
        }
        let mapped = host_ip("::ffff:10.0.0.1".parse().expect("an address"));
        assert_eq!(mapped, Some("10.0.0.1".parse().expect("an address")));
    }
}
