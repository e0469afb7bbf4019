//! Crashes of the agent at every step that there is, and of containers for a day: what is said of one must hold of all, for ever.

use std::time::Duration;

use proptest::prelude::*;
use skerry_terms::Phase;

use super::invariants::{draw, scenario};
use super::model::{Life, Site};
use super::{app, desired, settle};
use crate::plan::plan;
use crate::{CRASH_BACKOFF, DesiredApp, Memory, Monotonic, Network, RestartPolicy};

/// A box that keeps crashing for ever is at its cap from here on.
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// A7, at every action: the agent is killed after each step of each list, then once more after each step of the list that the next
    /// agent makes of that; both times the box settles.
    #[test]
    fn a_crash_after_every_single_step_is_survived(draws in prop::collection::vec(draw(), 1..3)) {
        let s = scenario(&draws);
        let lists = |site: &Site, memory: &mut Memory| {
            memory.note(&s.desired, &site.observed(), site.now);
            plan(&s.desired, &site.observed(), memory, site.now).apps
        };
        for (app, first) in lists(&s.site, &mut Memory::default()) {
            for cut in 0..=first.actions.len() {
                let mut site = s.site.clone();
                site.execute(&app, &first.actions, &mut Memory::default(), cut);
                settle(&mut site.clone(), &s.desired, &mut Memory::default());
                let second = lists(&site, &mut Memory::default()).remove(&app).map(|list| list.actions);
                for again in 1..second.as_ref().map_or(0, Vec::len) {
                    let mut site = site.clone();
                    site.execute(&app, second.as_deref().unwrap_or_default(), &mut Memory::default(), again);
                    settle(&mut site, &s.desired, &mut Memory::default());
                }
            }
        }
    }

    /// A9, the other way: a wake is for something. When its moment has come, there is something to do or something else to say.
    #[test]
    fn no_wake_is_for_nothing(draws in prop::collection::vec(draw(), 1..4), crashes in 1usize..4) {
        let mut s = scenario(&draws);
        let mut memory = Memory::default();
        for _ in 0..crashes {
            settle(&mut s.site, &s.desired, &mut memory);
            let keys: Vec<_> = s.desired.apps.keys().cloned().collect();
            for id in keys.iter().flat_map(|key| s.site.living(key).into_values()).collect::<Vec<_>>() {
                s.site.end(&id, 1);
            }
            memory.note(&s.desired, &s.site.observed(), s.site.now);
            for _ in 0..20 {
                let before = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
                let Some(wake) = before.wake_at.filter(|_| before.apps.values().all(|app| app.actions.is_empty())) else {
                    break;
                };
                s.site.now = wake;
                memory.note(&s.desired, &s.site.observed(), s.site.now);
                let after = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
                prop_assert!(after != before, "A9: woken at {} for nothing: {:?}", wake, before);
                prop_assert!(after.wake_at.is_none_or(|next| next > wake), "A9: {:?}", after.wake_at);
            }
        }
    }
}

#[test]
fn a_day_of_crashes_keeps_to_the_cap_and_memory_does_not_grow() {
    let mut site = Site::at(0);
    site.world.cores = 2;
    site.lives.insert("c0".into(), Life::Ends(1));
    let crashing = app("web", Network::Bridge, 1, None, RestartPolicy::Always, "x");
    let key = crashing.key.clone();
    let desired = desired([DesiredApp::Valid(crashing)]);
    let mut memory = Memory::default();
    let mut starts: Vec<Monotonic> = Vec::new();
    let mut after_an_hour = None;
    let size = |memory: &Memory, site: &Site| (format!("{memory:?}").len(), site.world.containers.len());
    while site.now.0.as_secs() < DAY {
        memory.note(&desired, &site.observed(), site.now);
        let next = plan(&desired, &site.observed(), &memory, site.now);
        let actions = &next.apps[&key].actions;
        if actions.is_empty() {
            assert_eq!(next.apps[&key].verdict.phase, Phase::Failed, "{next:?}");
            site.now = next.wake_at.expect("A9");
            if site.now.0.as_secs() > HOUR && after_an_hour.is_none() {
                after_an_hour = Some(size(&memory, &site));
            }
            continue;
        }
        if actions.iter().any(|action| matches!(action, crate::Action::Start { .. })) {
            starts.push(site.now);
        }
        site.execute(&key, actions, &mut memory, usize::MAX);
    }
    let gaps: Vec<Duration> = starts.windows(2).map(|pair| pair[0].until(pair[1])).collect();
    // The first end costs nothing, as in Kubernetes.
    let growing = std::iter::once(Duration::ZERO).chain((0..5).map(|attempt| CRASH_BACKOFF.delay(attempt)));
    assert_eq!(gaps[..6], growing.collect::<Vec<_>>());
    assert!(gaps.len() > 280 && gaps[6..].iter().all(|gap| *gap == CRASH_BACKOFF.max), "{gaps:?}");
    let (bytes, containers) = after_an_hour.expect("an hour went by");
    let (bytes_now, containers_now) = size(&memory, &site);
    // Numbers get longer.
    assert!(bytes_now <= bytes + 40, "{bytes} B after an hour, {bytes_now} B after a day");
    assert_eq!(containers_now, containers);
}
