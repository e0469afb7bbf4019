//! Which names of other apps a container can resolve: those of the apps that the box's owner lets it see, each with the address at which
//! that app serves now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use skerry_terms::AppKey;

use super::Mine;
use super::standing::{Sorted, Standing};
use super::switch::all_settled;
use crate::{AppNames, ContainerId, Desired, Memory, ObservedContainer, Role};

/// Where each app is found.
pub(super) struct Names<'a> {
    addresses: BTreeMap<&'a AppKey, IpAddr>,
    /// Apps that are being worked on and have no address at this moment.
    between: BTreeSet<&'a AppKey>,
}

impl<'a> Names<'a> {
    pub fn of(
        desired: &Desired,
        memory: &Memory,
        mine: &Mine<'a>,
        sorted: &BTreeMap<&'a AppKey, Sorted<'a>>,
    ) -> Self {
        let mut addresses = BTreeMap::new();
        let mut between = BTreeSet::new();
        for (key, containers) in mine.iter().filter(|(key, _)| !desired.leaves(key)) {
            let address = match sorted.get(key) {
                Some(sorted) => address(desired, sorted),
                // Nobody knows what it is made of; what runs of it serves on.
                None => {
                    let mut alive = containers.iter().filter(|(_, container)| container.state.is_alive());
                    alive.find_map(|(_, container)| own_address(desired, container))
                }
            };
            match address {
                Some(ip) => {
                    addresses.insert(*key, ip);
                }
                None if memory.executing(key).is_some() => {
                    between.insert(*key);
                }
                None => {}
            }
        }
        Self { addresses, between }
    }

    /// The names for a container of an app. `named`: what it was given before. An app that is just being replaced keeps its name for the
    /// moment in which it has no address, so that its neighbours' files are written once.
    pub fn wanted(
        &self,
        desired: &Desired,
        app: &AppKey,
        named: Option<&BTreeMap<String, IpAddr>>,
    ) -> BTreeMap<String, IpAddr> {
        let sees = |other: &AppKey| {
            *other != *app
                && match desired.host.app_names {
                    AppNames::Namespace => other.namespace() == app.namespace(),
                    AppNames::All => true,
                    AppNames::None => false,
                }
        };
        let mut names = BTreeMap::new();
        let mut full = BTreeMap::new();
        for other in self.addresses.keys().chain(&self.between).filter(|other| sees(other)) {
            let long = format!("{}.{}", other.name(), other.namespace());
            let before = || named.and_then(|named| named.get(&long).copied());
            let Some(ip) = self.addresses.get(other).copied().or_else(before) else { continue };
            if other.namespace() == app.namespace() {
                names.insert(other.name().to_owned(), ip);
            }
            full.insert(long, ip);
        }
        // The short name of one app may read like the full one of another, which nobody can mistake.
        names.extend(full);
        names
    }
}

/// The app's new containers, unless the old ones still serve in their place.
fn address(desired: &Desired, sorted: &Sorted<'_>) -> Option<IpAddr> {
    let new = sorted.units.iter().find_map(|stood| match &stood.standing {
        Standing::Serving(found) => own_address(desired, found.container),
        Standing::Ended(_) | Standing::Created(_) | Standing::Absent { .. } => None,
    });
    let mut old = sorted.stale.iter().filter(|stale| stale.serves());
    let old = old.find_map(|stale| own_address(desired, stale.container));
    match all_settled(sorted) {
        true => new.or(old),
        false => old.or(new),
    }
}

fn own_address(desired: &Desired, container: &ObservedContainer) -> Option<IpAddr> {
    match container.host_network {
        true => desired.host.ip,
        false => container.ip,
    }
}

/// True if the container has a hosts file of its own: it owns a network, or lives in the box's own.
pub(super) fn has_names(container: &ObservedContainer) -> bool {
    let is_sandbox = container.ownership().is_some_and(|owner| owner.role == Role::Sandbox);
    match container.host_network {
        true => !is_sandbox,
        false => container.joined.is_none(),
    }
}

/// Living containers whose names are not what they shall be.
pub(super) fn outdated<'a>(
    names: &Names<'_>,
    desired: &Desired,
    memory: &Memory,
    app: &AppKey,
    containers: &[(&'a ContainerId, &'a ObservedContainer)],
) -> Vec<(&'a ContainerId, BTreeMap<String, IpAddr>)> {
    let mut outdated = Vec::new();
    for (id, _) in containers.iter().filter(|(_, found)| found.state.is_alive() && has_names(found)) {
        let named = memory.named(id);
        let wanted = names.wanted(desired, app, named);
        // What an earlier agent named is not known; where there is nobody to name, nothing is asked of Docker.
        let same = named.map_or(wanted.is_empty(), |named| *named == wanted);
        if !same {
            outdated.push((*id, wanted));
        }
    }
    outdated
}
