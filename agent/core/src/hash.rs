//! The spec hash: equal exactly when a running container is still what the spec asks for. It is stored as a label on the container,
//! so it must never change for an unchanged spec, whatever the agent's version: new fields are left out of the hashed text while they have
//! their default.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Container, Network, Port, ValidApp};

/// SHA-256 over what a container was created from, in lower-case hex, cut to 16 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpecHash(String);

/// The label's value is not a hash of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a spec hash has 16 lower-case hex digits")]
pub struct SpecHashError;

const LENGTH: usize = 16;

/// What every container of an app depends on.
#[derive(Serialize)]
struct Shared<'a> {
    network: Network,
    /// True when the container joins the app's sandbox instead of having a network of its own.
    joined: bool,
    grace_seconds: u64,
    labels: &'a std::collections::BTreeMap<String, String>,
    annotations: &'a std::collections::BTreeMap<String, String>,
}

impl<'a> Shared<'a> {
    fn of(app: &'a ValidApp) -> Self {
        Self {
            network: app.network,
            joined: app.has_sandbox(),
            grace_seconds: app.grace.as_secs(),
            labels: &app.labels,
            annotations: &app.annotations,
        }
    }
}

impl SpecHash {
    /// The hash of one container of an app. The revision, the restart policy and the pull policy are not part of it: a change of them needs no new
    /// container.
    pub fn of_container(app: &ValidApp, container: &Container) -> Self {
        Self::digest(&(Shared::of(app), container))
    }

    /// The hash of the app's sandbox: it publishes the ports of all containers.
    pub fn of_sandbox(app: &ValidApp) -> Self {
        let ports: Vec<&Port> = app.containers().iter().flat_map(|container| &container.ports).collect();
        Self::digest(&(Shared::of(app), ports))
    }

    fn digest(value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value).expect("the hashed types have only string keys");
        let mut text: String = Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect();
        text.truncate(LENGTH);
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpecHash {
    type Err = SpecHashError;
    fn from_str(text: &str) -> Result<Self, SpecHashError> {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == LENGTH && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(SpecHashError)
        }
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
