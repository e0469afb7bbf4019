//! This replica's Lease: the one thing that is written for being alive, whatever the number of nodes. Each EdgeNode's status names the replica
//! that serves it, so that anybody can tell whether somebody keeps that status up to date; a replica that starts can tell until when the
//! one before it did.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use skerry_terms::Chain;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::hub::Event;

/// Kubernetes' own numbers for the Leases of nodes: renewed every ten seconds, run out after forty.
const EVERY: Duration = Duration::from_secs(10);
const LASTS: i32 = 40;
/// An API server that does not answer must not keep the controller from starting.
const READ_WAIT: Duration = Duration::from_secs(5);
/// More replicas than anybody runs.
const REPLICAS_MAX: u32 = 100;
const LABEL: &str = "app.kubernetes.io/name";
const LABELLED: &str = "skerry-controller";

/// What a replica's Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// When it was renewed last, in whole seconds.
    pub renewed: Time,
    /// It has not run out.
    pub is_alive: bool,
}

/// Replicas by the name that the statuses of nodes have for them.
pub type Replicas = BTreeMap<String, Replica>;

/// What the Leases say now. What cannot be read is not known.
pub async fn replicas(client: &Client) -> Replicas {
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    let labelled = ListParams::default().labels(&format!("{LABEL}={LABELLED}")).limit(REPLICAS_MAX);
    match tokio::time::timeout(READ_WAIT, leases.list(&labelled)).await {
        Ok(Ok(list)) => list.items.into_iter().filter_map(|lease| replica(lease, Timestamp::now())).collect(),
        Ok(Err(error)) => {
            debug!("the Leases of the controller's replicas cannot be listed: {}", Chain(&error));
            Replicas::new()
        }
        Err(_elapsed) => Replicas::new(),
    }
}

fn replica(lease: Lease, now: Timestamp) -> Option<(String, Replica)> {
    let LeaseSpec { holder_identity, renew_time, lease_duration_seconds, .. } = lease.spec?;
    let MicroTime(renewed) = renew_time?;
    let lasts = SignedDuration::from_secs(i64::from(lease_duration_seconds.unwrap_or(LASTS)));
    let is_alive = now.duration_since(renewed) < lasts;
    let renewed = Time(Timestamp::from_second(renewed.as_second()).ok()?);
    Some((holder_identity?, Replica { renewed, is_alive }))
}

/// Renews the Lease until the hub ends, and tells the hub of other replicas where there are any.
pub async fn keep_lease(client: Client, name: String, hub: mpsc::Sender<Event>) {
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    let acquired = MicroTime(Timestamp::now());
    let mut failed = false;
    while !hub.is_closed() {
        let lease = lease(&name, &acquired, Timestamp::now());
        let object = lease.metadata.name.clone().unwrap_or_default();
        let apply = PatchParams::apply(super::write::FIELD_MANAGER).force();
        // A write that hangs must not hold up the next.
        let written = tokio::time::timeout(EVERY, leases.patch(&object, &apply, &Patch::Apply(&lease))).await;
        let why = match written {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(Chain(&error).to_string()),
            Err(_elapsed) => Some("no answer".to_owned()),
        };
        match (&why, failed) {
            (None, true) => info!("the Lease {object} is renewed again"),
            (Some(why), false) => warn!(
                "the Lease {object} is not renewed, so nobody can tell that this replica is alive: {why}; trying on"
            ),
            (Some(why), true) => debug!("the Lease {object} is not renewed: {why}"),
            (None, false) => {}
        }
        failed = why.is_some();
        let others = replicas(&client).await;
        if others.keys().any(|other| *other != name) && hub.send(Event::Replicas(others)).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = hub.closed() => return,
        }
    }
}

/// As it is written: the labels say what it is, the rest that its holder is alive.
fn lease(replica: &str, acquired: &MicroTime, now: Timestamp) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(object_name(replica)),
            labels: Some([(LABEL.to_owned(), LABELLED.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(replica.to_owned()),
            lease_duration_seconds: Some(LASTS),
            acquire_time: Some(acquired.clone()),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    }
}

/// A replica may be named as a host is; an object's name has lower case letters, digits, dashes and dots.
fn object_name(replica: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let name: String = format!("{LABELLED}-{replica}").chars().map(plain).take(200).collect();
    name.trim_end_matches(['-', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_lease_says_until_when_its_replica_was_alive() {
        let written = lease("Host_1", &MicroTime(at(0)), at(100));
        assert_eq!(written.metadata.name.as_deref(), Some("skerry-controller-host-1"));
        let read = |now| replica(written.clone(), at(now)).expect("a replica");
        assert_eq!(read(139), ("Host_1".to_owned(), Replica { renewed: Time(at(100)), is_alive: true }));
        assert!(!read(140).1.is_alive);
        assert_eq!(replica(Lease::default(), at(0)), None);
    }

    #[test]
    fn whatever_a_replica_is_called_its_lease_has_a_name() {
        for name in ["a", "ä b", "UPPER.case", "-", &"x".repeat(300)] {
            let name = object_name(name);
            let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            assert!(name.len() <= 200 && name.chars().all(fine), "{name}");
            assert!(name.ends_with(|c: char| c.is_ascii_alphanumeric()), "{name}");
        }
    }
}
