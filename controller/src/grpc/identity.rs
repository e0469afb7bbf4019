//! Who an agent is. Today a session address is plain text and anybody who reaches it may claim any node name, so it must be
//! reachable from this machine alone; with mTLS the certificate will name the node and the address may be public.

use std::net::SocketAddr;

/// An address that must not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "refusing to serve agents in plain text on {0}: anybody who reaches it could claim to be any node; use a loopback \
         address such as 127.0.0.1:{port}",
        port = .0.port()
    )]
    PlainText(SocketAddr),
}

/// Passes only addresses that are reachable from this machine alone.
pub fn check_plain_text(address: SocketAddr) -> Result<(), ListenError> {
    if address.ip().to_canonical().is_loopback() { Ok(()) } else { Err(ListenError::PlainText(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_served_on_loopback_alone() {
        for (address, allowed) in [
            ("127.0.0.1:7443", true),
            ("[::1]:7443", true),
            ("[::ffff:127.0.0.1]:7443", true),
            ("0.0.0.0:7443", false),
            ("[::]:7443", false),
            ("10.0.0.1:7443", false),
        ] {
            let result = check_plain_text(address.parse().expect("an address"));
            assert_eq!(result.is_ok(), allowed, "{address}");
        }
    }
}
