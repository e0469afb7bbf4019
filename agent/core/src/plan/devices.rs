//! Who has which of the box's devices, and how much of it.

use std::collections::BTreeMap;

use skerry_terms::{AppKey, reasons};

use super::Mine;
use super::claims::{Conflict, Rank, rank};
use super::standing::Sorted;
use crate::{Container, Desired, DesiredApp, Device, Kind, ValidApp, World};

/// How much of each device, by the device's name.
type Amounts = BTreeMap<String, u64>;

/// All claims on the box's devices, of what runs and of what wants to run.
pub(super) struct DeviceTable<'a> {
    known: &'a BTreeMap<String, Device>,
    /// What the living containers of an app have.
    held: BTreeMap<&'a AppKey, Holding>,
    wanted: BTreeMap<&'a AppKey, Wish>,
}

#[derive(Default)]
struct Holding {
    amounts: Amounts,
    leaves: bool,
}

/// What a desired app needs, and how good its claim is.
struct Wish {
    amounts: Amounts,
    rank: Rank,
}

impl<'a> DeviceTable<'a> {
    pub fn of(
        desired: &'a Desired,
        world: &'a World,
        mine: &Mine<'a>,
        sorted: &BTreeMap<&'a AppKey, Sorted<'a>>,
    ) -> Self {
        let mut held: BTreeMap<&AppKey, Holding> = BTreeMap::new();
        for container in world.containers.values().filter(|container| container.state.is_alive()) {
            let Some(owner) = container.ownership() else { continue };
            let holding = held.entry(&owner.app).or_default();
            holding.leaves = desired.leaves(&owner.app);
            add(&mut holding.amounts, &container.devices);
        }
        let wanted = desired.apps.iter().filter_map(|(key, app)| {
            let DesiredApp::Valid(app) = app else { return None };
            let sorted = &sorted[key];
            // What has ended for good needs no device any more.
            let mut amounts = if sorted.is_over() { Amounts::new() } else { needed(app) };
            // Beside the new containers run the old ones.
            if app.is_side_by_side() {
                let old = sorted.stale.iter().filter(|stale| stale.container.state.is_alive());
                old.for_each(|stale| add(&mut amounts, &stale.container.devices));
            }
            Some((
                key,
                Wish { amounts, rank: rank(sorted, mine.get(key).is_some_and(|mine| !mine.is_empty())) },
            ))
        });
        Self { known: &desired.host.devices, wanted: wanted.collect(), held }
    }

    /// What stands in the way of starting an app's containers.
    pub fn conflict(&self, app: &ValidApp, swaps: impl Fn(&AppKey) -> bool) -> Option<Conflict> {
        let wish = self.wanted.get(&app.key)?;
        wish.amounts.iter().filter(|(_, amount)| **amount > 0).find_map(|(name, amount)| {
            let Some(device) = self.known.get(name) else {
                return Some(Conflict {
                    reason: reasons::UNKNOWN_DEVICE,
                    message: format!(
                        "the box has no resource skerry.dev/{name}; its owner lists devices in agent.toml under [devices.{name}]"
                    ),
                    passing: false,
                    give_way: false,
                    recheck: false,
                });
            };
            self.taken(app, wish, name, *amount, device.count, &swaps)
        })
    }

    fn taken(
        &self,
        app: &ValidApp,
        wish: &Wish,
        name: &str,
        amount: u64,
        count: u64,
        swaps: impl Fn(&AppKey) -> bool,
    ) -> Option<Conflict> {
        let conflict = |message, passing, give_way| {
            let reason = reasons::DEVICE_CONFLICT;
            Some(Conflict { reason, message, passing, give_way, recheck: false })
        };
        if amount > count {
            let twice = if app.is_side_by_side() && needed(app).get(name).is_some_and(|own| *own <= count) {
                ", as long as the old containers run; strategy.switch StopFirst needs it once"
            } else {
                ""
            };
            return conflict(
                format!(
                    "the app asks for {amount} of skerry.dev/{name}, of which the box has {count}{twice}"
                ),
                false,
                false,
            );
        }
        let of = |amounts: &Amounts| amounts.get(name).copied().unwrap_or(0);
        // Promised is what is held, and what a better claim will hold.
        let apps = self.held.keys().chain(self.wanted.keys()).filter(|other| ***other != app.key);
        let takes: BTreeMap<&AppKey, (u64, u64)> = apps
            .map(|other| {
                let held = self.held.get(other).map_or(0, |holding| of(&holding.amounts));
                let wanted = self.wanted.get(other).map(|wish| (of(&wish.amounts), wish.rank));
                let stays = match wanted {
                    Some((wanted, rank)) if (rank, *other) < (wish.rank, &app.key) => wanted,
                    Some((wanted, _)) => wanted.min(held),
                    None if self.held.get(other).is_some_and(|holding| holding.leaves) => 0,
                    None => held,
                };
                (*other, (held.max(stays), stays))
            })
            .collect();
        let sum = |of: fn(&(u64, u64)) -> u64| takes.values().map(of).fold(amount, u64::saturating_add);
        if sum(|(now, _)| *now) <= count {
            return None;
        }
        let passing = sum(|(_, later)| *later) <= count;
        // Who lets go of most, or has most.
        let holder =
            takes.iter().max_by_key(|(_, (now, later))| (if passing { now - later } else { *now }, *now));
        let (holder, (held, _)) = holder?;
        conflict(
            format!(
                "the app asks for {amount} of skerry.dev/{name}, and {held} of the {count} of the box are held by app {holder}"
            ),
            passing,
            passing && swaps(holder),
        )
    }

    /// True if `app` wants of a device of which `holder` has.
    pub fn waits_for(&self, app: &AppKey, holder: &AppKey) -> bool {
        let (Some(wish), Some(holding)) = (self.wanted.get(app), self.held.get(holder)) else {
            return false;
        };
        let mut held = holding.amounts.iter().filter(|(_, amount)| **amount > 0);
        held.any(|(name, _)| wish.amounts.get(name).is_some_and(|amount| *amount > 0))
    }
}

/// What all containers of an app have at most at one time: an init container runs beside the sidecars before it alone.
fn needed(app: &ValidApp) -> Amounts {
    let mut most = Amounts::new();
    let mut lasting = Amounts::new();
    let mut raise = |amounts: &Amounts| {
        for (name, amount) in amounts {
            let known = most.entry(name.clone()).or_default();
            *known = (*known).max(*amount);
        }
    };
    for Container { kind, devices, .. } in app.containers() {
        let mut now = lasting.clone();
        add(&mut now, devices);
        match kind {
            Kind::Init => raise(&now),
            Kind::Sidecar | Kind::Main => lasting = now,
        }
    }
    raise(&lasting);
    most
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let known = sum.entry(name.clone()).or_default();
        *known = known.saturating_add(*amount);
    }
}
