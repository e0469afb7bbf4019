//! The planner's invariants as properties. Each app draws one relation between what is desired and what is on the box;
//! the inputs and what must come of it both follow from that one draw.

use std::collections::BTreeMap;

use proptest::prelude::*;
use skerry_terms::AppKey;

use super::model::Site;
use super::{app, app_key, desired, foreign, settle};
use crate::plan::plan;
use crate::{
    Action, ContainerId, ContainerState, Desired, DesiredApp, Memory, Network, Observed, Owner, Plan,
    RestartPolicy, ValidApp,
};

/// How what is desired of an app and what is on the box stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    OnlyDesired,
    OnlyObserved,
    Same,
    Differs,
    /// It ended, and is to be started again.
    Crashed,
    /// An earlier list was cut after some of its steps.
    Cut(usize),
    /// An agent that does not understand the app.
    Unsupported,
}

/// One app of a scenario.
#[derive(Debug, Clone)]
struct Draw {
    relation: Relation,
    containers: usize,
    host_network: bool,
    port: Option<u16>,
    policy: RestartPolicy,
}

fn relation() -> impl Strategy<Value = Relation> {
    prop_oneof![
        Just(Relation::OnlyDesired),
        Just(Relation::OnlyObserved),
        Just(Relation::Same),
        Just(Relation::Differs),
        Just(Relation::Crashed),
        (0usize..8).prop_map(Relation::Cut),
        Just(Relation::Unsupported),
    ]
}

fn draw() -> impl Strategy<Value = Draw> {
    let policy =
        prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)];
    (relation(), 1usize..4, any::<bool>(), proptest::option::of(80u16..83), policy).prop_map(
        |(relation, containers, host_network, port, policy)| Draw {
            relation,
            containers,
            host_network,
            port,
            policy,
        },
    )
}

/// A box, what is desired of it, and what was drawn for each app.
#[derive(Debug)]
struct Scenario {
    site: Site,
    desired: Desired,
    relations: BTreeMap<AppKey, Relation>,
    /// Containers that no plan may name.
    untouchable: Vec<ContainerId>,
}

fn valid(draw: &Draw, index: usize, image: &str) -> ValidApp {
    let network = if draw.host_network { Network::Host } else { Network::Bridge };
    let port = draw.port.filter(|_| draw.relation != Relation::Unsupported);
    app(&format!("app-{index}"), network, draw.containers, port, draw.policy, image)
}

fn scenario(draws: &[Draw]) -> Scenario {
    let mut site = Site::at(5000);
    let mut relations = BTreeMap::new();
    let mut apps = BTreeMap::new();
    let mut untouchable = vec![foreign(&mut site, "somebody-elses")];
    for (i, draw) in draws.iter().enumerate() {
        let key = app_key(&format!("app-{i}"));
        relations.insert(key.clone(), draw.relation);
        let (before, cut) = match draw.relation {
            Relation::OnlyDesired => (None, usize::MAX),
            Relation::Differs => (Some("old:1"), usize::MAX),
            Relation::Cut(steps) => (Some("new:1"), steps),
            Relation::OnlyObserved | Relation::Same | Relation::Crashed | Relation::Unsupported => {
                (Some("new:1"), usize::MAX)
            }
        };
        if let Some(image) = before {
            let alone = desired([DesiredApp::Valid(valid(draw, i, image))]);
            let first = plan(&alone, &site.observed(), &Memory::default(), site.now);
            for (key, app_plan) in &first.apps {
                if alone.apps.contains_key(key) {
                    site.execute(key, &app_plan.actions, &mut Memory::default(), cut);
                }
            }
        }
        match draw.relation {
            Relation::Crashed => {
                for id in site.living(&key).into_values() {
                    site.end(&id, 1);
                }
            }
            Relation::Unsupported => untouchable.extend(site.living(&key).into_values()),
            Relation::OnlyDesired
            | Relation::OnlyObserved
            | Relation::Same
            | Relation::Differs
            | Relation::Cut(_) => {}
        }
        let wanted = match draw.relation {
            Relation::OnlyObserved => continue,
            Relation::Unsupported => {
                DesiredApp::Unsupported { revision: "app-x".into(), why: "it needs a newer agent".into() }
            }
            Relation::OnlyDesired
            | Relation::Same
            | Relation::Differs
            | Relation::Crashed
            | Relation::Cut(_) => DesiredApp::Valid(valid(draw, i, "new:1")),
        };
        apps.insert(key, wanted);
    }
    let desired = Desired { apps, ..desired([]) };
    Scenario { site, desired, relations, untouchable }
}

/// The containers that a list of actions stops or removes.
fn victims(actions: &[Action]) -> Vec<ContainerId> {
    let ids = actions.iter().map(|action| match action {
        Action::Stop { ids, grace: _, why: _ } => ids.clone(),
        Action::Remove { id, why: _ } => vec![id.clone()],
        Action::Pull { .. }
        | Action::Project(_)
        | Action::Create(_)
        | Action::Start { .. }
        | Action::PostStart { .. }
        | Action::Update { .. }
        | Action::Names { .. }
        | Action::Discard => Vec::new(),
    });
    ids.flatten().collect()
}

/// True for what changes a container that serves on, when what it has differs from what it shall have, or nobody knows what it has.
fn is_due_in_place(site: &Site, memory: &Memory, app: &AppKey, action: &Action) -> bool {
    match action {
        Action::Names { id, names } => memory.named(id).is_none() || site.hosts[id] != *names,
        Action::Project(projection) => {
            memory.projected(app).is_none() || site.files.get(app) != Some(&projection.digest)
        }
        Action::Update { id, resources, .. } => {
            site.world.containers[id].resources != resources.normal(site.world.cores)
        }
        Action::Pull { .. }
        | Action::Create(_)
        | Action::Start { .. }
        | Action::PostStart { .. }
        | Action::Stop { .. }
        | Action::Remove { .. }
        | Action::Discard => false,
    }
}

fn actions(plan: &Plan) -> impl Iterator<Item = &Action> {
    plan.apps.values().flat_map(|app| &app.actions)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// A1 fixpoint, A2 convergence, and A3, A5 by the model's own checks.
    #[test]
    fn every_box_settles_and_then_nothing_is_planned(draws in prop::collection::vec(draw(), 0..5)) {
        let mut s = scenario(&draws);
        let mut memory = Memory::default();
        settle(&mut s.site, &s.desired, &mut memory);
        let again = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
        prop_assert_eq!(actions(&again).count(), 0, "A1: {:?}", again);
        for id in &s.untouchable {
            prop_assert!(s.site.world.containers[id].state.is_alive(), "A3: {} is gone", id);
        }
        for (key, relation) in &s.relations {
            let left = s.site.world.containers.values().filter(|c| c.ownership().is_some_and(|o| o.app == *key)).count();
            if *relation == Relation::OnlyObserved {
                prop_assert_eq!(left, 0, "{} is still there", key);
            }
        }
    }

    /// A4: whatever happens to the neighbours, an app that is as desired appears in no action.
    #[test]
    fn a_matching_app_is_left_alone(draws in prop::collection::vec(draw(), 1..5)) {
        let mut s = scenario(&draws);
        let mut memory = Memory::default();
        let same: Vec<_> = s.relations.iter().filter(|(_, r)| **r == Relation::Same).map(|(k, _)| k.clone()).collect();
        // Only those that came up in full: the draws may give two apps the same port.
        let running: BTreeMap<_, _> = same.iter().map(|key| (key.clone(), s.site.living(key))).filter(|(key, living)| {
            let DesiredApp::Valid(app) = &s.desired.apps[key] else { return false };
            living.len() == app.containers().len() + usize::from(app.has_sandbox())
        }).collect();
        for _ in 0..20 {
            memory.note(&s.desired, &s.site.observed(), s.site.now);
            let next = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
            for (key, app_plan) in &next.apps {
                let idle = app_plan.actions.iter().all(|action| is_due_in_place(&s.site, &memory, key, action));
                prop_assert!(!running.contains_key(key) || idle, "A4: {:?}", app_plan);
                s.site.execute(key, &app_plan.actions, &mut memory, usize::MAX);
            }
            if let Some(wake) = next.wake_at {
                s.site.now = wake;
            }
        }
        for (key, living) in running {
            prop_assert_eq!(s.site.living(&key), living);
        }
    }

    /// A6: a look that saw nothing plans nothing.
    #[test]
    fn an_unknown_box_is_left_alone(draws in prop::collection::vec(draw(), 0..5)) {
        let s = scenario(&draws);
        let unknown = Observed::Unknown { why: "docker does not answer".into() };
        let next = plan(&s.desired, &unknown, &Memory::default(), s.site.now);
        prop_assert_eq!(actions(&next).count(), 0);
        prop_assert_eq!(next.apps.len(), s.desired.apps.len());
    }

    /// A7: cut every list anywhere, forget everything, and the box still settles.
    #[test]
    fn a_crash_anywhere_is_survived(draws in prop::collection::vec(draw(), 1..5), cuts in prop::collection::vec(0usize..6, 6)) {
        let mut s = scenario(&draws);
        for cut in cuts {
            let mut memory = Memory::default();
            memory.note(&s.desired, &s.site.observed(), s.site.now);
            let next = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
            for (key, app_plan) in &next.apps {
                s.site.execute(key, &app_plan.actions, &mut memory, cut);
            }
        }
        settle(&mut s.site, &s.desired, &mut Memory::default());
    }

    /// A9: a wake is always in the future, and there is one whenever something waits for a moment in time.
    #[test]
    fn whatever_waits_for_time_has_a_wake(draws in prop::collection::vec(draw(), 1..5), crashes in 1usize..6) {
        let mut s = scenario(&draws);
        let mut memory = Memory::default();
        for _ in 0..crashes {
            settle(&mut s.site, &s.desired, &mut memory);
            let keys: Vec<_> = s.desired.apps.keys().cloned().collect();
            for id in keys.iter().flat_map(|key| s.site.living(key).into_values()).collect::<Vec<_>>() {
                if !s.untouchable.contains(&id) {
                    s.site.end(&id, 1);
                }
            }
            memory.note(&s.desired, &s.site.observed(), s.site.now);
            let next = plan(&s.desired, &s.site.observed(), &memory, s.site.now);
            prop_assert!(next.wake_at.is_none_or(|wake| wake > s.site.now));
            let waits = next.apps.values().any(|app| {
                app.actions.is_empty() && app.verdict.reason == skerry_terms::reasons::CRASH_LOOP_BACK_OFF
            });
            prop_assert!(!waits || next.wake_at.is_some(), "A9: {:?}", next);
        }
    }

    /// Nothing that has a successor in waiting is stopped, and nothing is stopped that is not ours.
    #[test]
    fn only_what_is_ours_and_unwanted_is_stopped(draws in prop::collection::vec(draw(), 1..5)) {
        let s = scenario(&draws);
        let next = plan(&s.desired, &s.site.observed(), &Memory::default(), s.site.now);
        for (key, app_plan) in &next.apps {
            for id in victims(&app_plan.actions) {
                let container = &s.site.world.containers[&id];
                let Owner::Ours(owner) = &container.owner else { panic!("A3: {container:?}") };
                prop_assert_eq!(&owner.app, key);
                let stops_for_nothing = container.state.is_alive() && s.relations[key] == Relation::Same
                    && !matches!(container.state, ContainerState::Created);
                let DesiredApp::Valid(app) = &s.desired.apps.get(key).cloned().unwrap_or(DesiredApp::Unsupported {
                    revision: String::new(), why: String::new(),
                }) else { continue };
                let whole = s.site.living(key).len() == app.containers().len() + usize::from(app.has_sandbox());
                prop_assert!(!(stops_for_nothing && whole), "{:?} is stopped for nothing", container);
            }
        }
    }
}
