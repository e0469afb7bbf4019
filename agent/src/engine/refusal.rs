//! From bollard's errors to ours: who said no, and in which words.

use std::net::SocketAddr;

use bollard::errors::Error;
use skerry_proto::caps;
use skerry_terms::Chain;

use super::{EngineError, transport};

/// HTTP status of "there is no such container or image".
pub(super) const NOT_FOUND: u16 = 404;
/// HTTP status of "the name is taken", "it runs", "its removal is in progress".
pub(super) const CONFLICT: u16 = 409;

/// What Docker says when a port of the node is taken: its own allocator, and the kernel.
const PORT_TAKEN: [&str; 2] = ["port is already allocated", "address already in use"];

/// The HTTP status of Docker's answer, when it was one.
#[expect(clippy::wildcard_enum_match_arm, reason = "bollard's enum depends on its features")]
pub(super) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, message: _ } => Some(*status_code),
        _ => None,
    }
}

/// Docker's own words, when it spoke.
#[expect(clippy::wildcard_enum_match_arm, reason = "bollard's enum depends on its features")]
pub(super) fn words(error: &Error) -> Option<&str> {
    match error {
        Error::DockerResponseServerError { status_code: _, message } => Some(message),
        Error::DockerStreamError { error } => Some(error),
        _ => None,
    }
}

/// Classifies an error of a call that was given `timeout`.
#[expect(clippy::wildcard_enum_match_arm, reason = "bollard's enum depends on its features")]
pub(super) fn classify(error: Error, timeout: std::time::Duration) -> EngineError {
    if let Some(words) = words(&error) {
        // Whatever stands there, a proxy's page perhaps.
        let words = &caps::truncate(words.trim(), caps::MESSAGE_MAX);
        return match status(&error) {
            _ if PORT_TAKEN.iter().any(|mark| words.contains(mark)) => {
                EngineError::PortTaken { message: port_message(words) }
            }
            // A proxy or a daemon that is going down, not an answer about the container.
            Some(502..=504) => EngineError::Unavailable { message: words.to_owned() },
            Some(_) | None => EngineError::Refused { message: words.to_owned() },
        };
    }
    if transport::is_too_long(&error) {
        return EngineError::Refused {
            message: format!("docker's answer cannot be right: {}", Chain(&error)),
        };
    }
    match error {
        Error::RequestTimeoutError => EngineError::TimedOut { after: timeout },
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::APIVersionParseError {} => {
            let message = format!("docker's answer could not be read: {}", Chain(&error));
            EngineError::Refused { message: caps::truncate(&message, caps::MESSAGE_MAX) }
        }
        other => EngineError::Unavailable { message: Chain(&other).to_string() },
    }
}

/// Names the port first, then Docker's words.
fn port_message(words: &str) -> String {
    match taken_port(words) {
        Some(port) => format!("port {port} of the node is held by another process or container: {words}"),
        None => words.to_owned(),
    }
}

/// The port in Docker's words: `Bind for 0.0.0.0:80 failed`, `listen tcp4 0.0.0.0:80: bind`,
/// `failed to bind host port for 0.0.0.0:80:172.17.0.2:80/tcp`.
fn taken_port(words: &str) -> Option<u16> {
    words.split_whitespace().find_map(|word| {
        let word = word.trim_end_matches(':');
        let word = word.split_once('/').map_or(word, |(address, _protocol)| address);
        if let Ok(address) = word.parse::<SocketAddr>() {
            return Some(address.port());
        }
        let mut parts = word.split(':');
        let (ip, port) = (parts.next()?, parts.next()?);
        ip.parse::<std::net::Ipv4Addr>().ok()?;
        port.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn refused(status_code: u16, message: &str) -> EngineError {
        let message = message.to_owned();
        classify(Error::DockerResponseServerError { status_code, message }, Duration::from_secs(1))
    }

    #[test]
    fn every_docker_says_which_port_is_taken() {
        for words in [
            "driver failed programming external connectivity on endpoint x (0a): Bind for 0.0.0.0:8080 failed: port is already allocated",
            "driver failed programming external connectivity on endpoint x (0a): Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use",
            "failed to set up container networking: driver failed programming external connectivity on endpoint x (0a): failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use",
            "failed to bind host port 0.0.0.0:8080/tcp: address already in use",
            "Error starting userland proxy: listen tcp6 [::]:8080: bind: address already in use",
        ] {
            let EngineError::PortTaken { message } = refused(500, words) else { panic!("{words}") };
            assert!(message.starts_with("port 8080 of the node is held by"), "{message}");
            assert!(message.ends_with(words), "{message}");
        }
    }

    #[test]
    fn other_words_of_docker_are_passed_on() {
        let words = "No such image: nginx:1";
        assert_eq!(refused(404, words), EngineError::Refused { message: words.to_owned() });
    }

    #[test]
    fn a_daemon_that_goes_down_says_nothing_about_the_container() {
        assert!(matches!(refused(503, "shutting down"), EngineError::Unavailable { .. }));
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(matches!(
            classify(Error::IOError { err: io }, Duration::from_secs(1)),
            EngineError::Unavailable { .. }
        ));
    }
}
