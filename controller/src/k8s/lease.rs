//! This replica's Lease: the one thing that is written for being alive, whatever the number of nodes. Each EdgeNode's status names the replica
//! that serves it, so that anybody can tell whether somebody keeps that status up to date; a replica that starts can tell until when the
//! one before it did.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
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
/// More replicas than anybody runs, with those of a week of restarts.
const REPLICAS_MAX: u32 = 500;
/// A Lease that ran out so long ago tells nobody anything any more: a replica in a Deployment has a new name at each start.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(7 * 24);
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

/// What the Leases say now. `None` when they cannot be read.
pub async fn replicas(client: &Client) -> Option<Replicas> {
    let leases = list(client).await?;
    Some(leases.into_iter().filter_map(|lease| replica(lease, Timestamp::now())).collect())
}

async fn list(client: &Client) -> Option<Vec<Lease>> {
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    let labelled = ListParams::default().labels(&format!("{LABEL}={LABELLED}")).limit(REPLICAS_MAX);
    match tokio::time::timeout(READ_WAIT, leases.list(&labelled)).await {
        Ok(Ok(list)) => Some(list.items),
        Ok(Err(error)) => {
            debug!("the Leases of the controller's replicas cannot be listed: {}", Chain(&error));
            None
        }
        Err(_elapsed) => None,
    }
}

/// Removes the Lease of a replica that has not been for long, unless it is back.
async fn forget(leases: &Api<Lease>, lease: &Lease) {
    let ObjectMeta { name: Some(name), uid, resource_version, .. } = &lease.metadata else { return };
    let preconditions = Preconditions { uid: uid.clone(), resource_version: resource_version.clone() };
    let as_seen = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match tokio::time::timeout(READ_WAIT, leases.delete(name, &as_seen)).await {
        Ok(Ok(_)) => debug!("the Lease {name} ran out long ago and is removed"),
        Ok(Err(error)) => debug!("the Lease {name} ran out long ago and stays: {}", Chain(&error)),
        Err(_elapsed) => {}
    }
}

fn is_forgotten(lease: &Lease, now: Timestamp) -> bool {
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    renewed.is_some_and(|MicroTime(renewed)| now.duration_since(*renewed) > FORGOTTEN)
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
    let mut told = Replicas::new();
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
        if let Some(all) = list(&client).await {
            let (old, all): (Vec<Lease>, Vec<Lease>) =
                all.into_iter().partition(|lease| is_forgotten(lease, Timestamp::now()));
            for lease in &old {
                forget(&leases, lease).await;
            }
            let others = all.into_iter().filter_map(|lease| replica(lease, Timestamp::now()));
            let others: Replicas = others.filter(|(other, _)| *other != name).collect();
            if others != told && hub.send(Event::Replicas(others.clone())).await.is_err() {
                return;
            }
            told = others;
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

/// A replica may be named as a host is; an object's name has lower case letters, digits, dashes and dots. One that had to be changed ends with
/// what tells it from others that become the same.
fn object_name(replica: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    let wanted = format!("{LABELLED}-{replica}");
    let name: String = wanted.chars().map(plain).take(200).collect();
    let name = name.trim_end_matches(['-', '.']);
    let changed = wanted.chars().filter(|c| plain(*c) != *c).map(|c| format!("{:x}", u32::from(c)));
    let changed: String = changed.collect::<String>().chars().take(40).collect();
    if changed.is_empty() { name.to_owned() } else { format!("{name}-{changed}") }
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
        assert_eq!(written.metadata.name.as_deref(), Some("skerry-controller-host-1-485f"));
        let read = |now| replica(written.clone(), at(now)).expect("a replica");
        assert_eq!(read(139), ("Host_1".to_owned(), Replica { renewed: Time(at(100)), is_alive: true }));
        assert!(!read(140).1.is_alive);
        assert_eq!(replica(Lease::default(), at(0)), None);
    }

    #[test]
    fn a_lease_is_forgotten_after_a_week() {
        let written = lease("r", &MicroTime(at(0)), at(100));
        let week = 7 * 24 * 3600;
        assert!(!is_forgotten(&written, at(100 + week)) && is_forgotten(&written, at(101 + week)));
        assert!(!is_forgotten(&Lease::default(), at(101 + week)), "somebody else's");
    }

    #[test]
    fn whatever_a_replica_is_called_its_lease_has_a_name() {
        assert_eq!(object_name("skerry-0.site"), "skerry-controller-skerry-0.site");
        assert_ne!(object_name("Host-1"), object_name("host-1"));
        assert_ne!(object_name("host_1"), object_name("host-1"));
        for name in ["a", "ä b", "UPPER.case", "-", &"x".repeat(300)] {
            let name = object_name(name);
            let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
            assert!(name.len() <= 250 && name.chars().all(fine), "{name}");
            assert!(name.ends_with(|c: char| c.is_ascii_alphanumeric()), "{name}");
        }
    }
}
