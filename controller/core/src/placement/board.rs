//! Where every app stands on every node. Changes come in one by one; [`Board::settle`] works out anew what they concern and says what
//! has moved. An app without requests concerns the nodes that it selects; one with requests also the other apps there; one with a
//! number of replicas is chosen for over all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skerry_terms::{AppKey, NodeName};

use super::admit::{Ledger, Round};
use super::choose::{Choice, choose};
use super::standing::{Obstacle, Standing, standing};
use super::{Demand, Node, Order};

/// What an app is to a node that it selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The node shall have it, in this variant: an index into the payloads of its content.
    Runs {
        variant: usize,
    },
    /// The node shall have it as soon as it has told what it is.
    Waits,
    Barred(Box<Obstacle>),
}

/// Verdicts on one node. Keys are shared: there is one entry per app and node.
pub type OnNode = BTreeMap<Arc<AppKey>, Verdict>;

/// What a settle has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Nodes with another verdict on some app.
    pub nodes: BTreeSet<NodeName>,
    /// Apps with another verdict on some node, or another number of replicas that have one.
    pub apps: BTreeSet<AppKey>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Board {
    apps: BTreeMap<Order, Demand>,
    orders: BTreeMap<AppKey, Order>,
    nodes: BTreeMap<NodeName, Node>,
    choices: BTreeMap<AppKey, Choice>,
    verdicts: BTreeMap<NodeName, OnNode>,
    changed_apps: BTreeMap<AppKey, Reach>,
    changed_nodes: BTreeSet<NodeName>,
    /// Something changed that the choice of nodes for replicas depends on.
    choose_anew: bool,
}

/// How far the change of an app goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// The app alone.
    Itself,
    /// What others get on the nodes that it is or was on.
    Neighbours,
}

impl Board {
    /// Takes an app in, in place of what was known of it; None when it asks for nothing or is gone.
    pub fn set_app(&mut self, key: &AppKey, demand: Option<Demand>) {
        let old = self.orders.remove(key).and_then(|order| self.apps.remove(&order));
        let reaches = |demand: &Demand| demand.has_requests() || demand.replicas().is_some();
        let both = || [&old, &demand].into_iter().flatten();
        if old != demand {
            let reach = if both().any(reaches) { Reach::Neighbours } else { Reach::Itself };
            let entry = self.changed_apps.entry(key.clone()).or_insert(reach);
            *entry = (*entry).max(reach);
            let contested = self.choosing().any(Demand::has_requests);
            self.choose_anew |=
                both().any(|demand| demand.replicas().is_some() || (contested && demand.has_requests()));
        }
        if let Some(demand) = demand {
            self.orders.insert(key.clone(), demand.order.clone());
            self.apps.insert(demand.order.clone(), demand);
        }
    }

    /// Takes a node in, in place of what was known of it; None when its object is gone.
    pub fn set_node(&mut self, name: &NodeName, node: Option<Node>) {
        let old = self.nodes.remove(name);
        if old != node {
            self.changed_nodes.insert(name.clone());
            self.choose_anew |= self.concerns_choice(old.as_ref(), node.as_ref());
        }
        if let Some(node) = node {
            self.nodes.insert(name.clone(), node);
        }
    }

    /// Works out what has changed since the last time.
    pub fn settle(&mut self) -> Moved {
        let apps = std::mem::take(&mut self.changed_apps);
        let mut nodes = std::mem::take(&mut self.changed_nodes);
        let mut moved = Moved::default();
        if std::mem::take(&mut self.choose_anew) {
            self.choose(&mut nodes, &mut moved);
        }
        for (key, reach) in apps {
            match reach {
                Reach::Itself => self.judge_app(&key, &mut moved),
                Reach::Neighbours => nodes.extend(self.concerned(&key).cloned()),
            }
        }
        for name in nodes {
            let new = self.nodes.get(&name).map(|node| self.judge_node(&name, node)).unwrap_or_default();
            let old = self.verdicts.remove(&name).unwrap_or_default();
            let differs = |(key, _): &(&Arc<AppKey>, &Verdict)| old.get(*key) != new.get(*key);
            let keys: Vec<_> =
                old.iter().chain(&new).filter(differs).map(|(key, _)| AppKey::clone(key)).collect();
            if !keys.is_empty() {
                moved.nodes.insert(name.clone());
            }
            moved.apps.extend(keys);
            if !new.is_empty() {
                self.verdicts.insert(name, new);
            }
        }
        moved
    }

    /// The verdicts on a node's apps, as of the last settle.
    pub fn on_node(&self, name: &NodeName) -> impl Iterator<Item = (&AppKey, &Verdict)> {
        self.verdicts.get(name).into_iter().flatten().map(|(key, verdict)| (&**key, verdict))
    }

    /// The verdict on one app, as of the last settle. None for a node that it does not select or need.
    pub fn verdict(&self, name: &NodeName, app: &AppKey) -> Option<&Verdict> {
        self.verdicts.get(name)?.get(app)
    }

    /// How many of an app's replicas have no node. 0 for one that goes to every node.
    pub fn missing(&self, app: &AppKey) -> usize {
        self.choices.get(app).map_or(0, |choice| choice.wanted - choice.taken)
    }

    /// The apps that nodes are chosen for.
    fn choosing(&self) -> impl Iterator<Item = &Demand> + Clone {
        self.apps.values().filter(|app| app.replicas().is_some())
    }

    /// True if a change of a node may change what is chosen.
    fn concerns_choice(&self, old: Option<&Node>, new: Option<&Node>) -> bool {
        let selects = |app: &&Demand| [old, new].into_iter().flatten().any(|node| app.selects(&node.labels));
        let mut choosing = self.choosing().filter(selects).peekable();
        if choosing.peek().is_none() {
            return false;
        }
        let (Some(old), Some(new)) = (old, new) else { return true };
        // What a node reports changes with every rollout; only some of it matters.
        let only_reports = Node { has: new.has.clone(), ..old.clone() } == *new;
        let reported: Vec<_> = old.has.symmetric_difference(&new.has).collect();
        let takes = |key: &&AppKey| {
            self.orders.get(*key).and_then(|order| self.apps.get(order)).is_some_and(Demand::has_requests)
        };
        !only_reports
            || choosing.any(|app| {
                reported.contains(&app.key()) || (app.has_requests() && reported.iter().any(takes))
            })
    }

    fn choose(&mut self, nodes: &mut BTreeSet<NodeName>, moved: &mut Moved) {
        let new = choose(self.apps.values(), &self.nodes);
        let old = std::mem::take(&mut self.choices);
        let none = Choice::default();
        for key in old.keys().chain(new.keys()) {
            let (old, new) = (old.get(key).unwrap_or(&none), new.get(key).unwrap_or(&none));
            if (old.wanted, old.taken) != (new.wanted, new.taken) {
                moved.apps.insert(key.clone());
            }
            let differs = |name: &&NodeName| old.verdicts.get(*name) != new.verdicts.get(*name);
            nodes.extend(old.verdicts.keys().chain(new.verdicts.keys()).filter(differs).cloned());
        }
        self.choices = new;
    }

    /// The nodes on which an app has a verdict, or may get one.
    fn concerned(&self, key: &AppKey) -> impl Iterator<Item = &NodeName> {
        let demand = self.orders.get(key).and_then(|order| self.apps.get(order));
        self.nodes.iter().filter_map(move |(name, node)| {
            let concerned =
                self.verdict(name, key).is_some() || demand.is_some_and(|app| app.selects(&node.labels));
            concerned.then_some(name)
        })
    }

    /// Judges an app that takes nothing from others, on every node.
    fn judge_app(&mut self, key: &AppKey, moved: &mut Moved) {
        let demand = self.orders.get(key).and_then(|order| self.apps.get(order));
        for (name, node) in &self.nodes {
            let verdict = demand.and_then(|app| everywhere(app, node));
            let old = self.verdicts.get(name).and_then(|on_node| on_node.get(key));
            if old == verdict.as_ref() {
                continue;
            }
            moved.nodes.insert(name.clone());
            moved.apps.insert(key.clone());
            match (verdict, demand) {
                (Some(verdict), Some(app)) => {
                    self.verdicts.entry(name.clone()).or_default().insert(app.order.1.clone(), verdict);
                }
                (Some(_) | None, _) => {
                    if let Some(on_node) = self.verdicts.get_mut(name) {
                        on_node.remove(key);
                    }
                }
            }
        }
    }

    /// Judges every app on a node, those that it has first.
    fn judge_node(&self, name: &NodeName, node: &Node) -> OnNode {
        let mut ledger = Ledger::new(node);
        let mut verdicts = OnNode::new();
        for round in Round::ALL {
            for app in self.apps.values() {
                if Round::of(node.has.contains(app.key())) != round {
                    continue;
                }
                let verdict = match app.replicas() {
                    Some(_) => {
                        self.choices.get(app.key()).and_then(|choice| choice.verdicts.get(name)).cloned()
                    }
                    None => everywhere(app, node),
                };
                let verdict = match verdict {
                    None => continue,
                    Some(Verdict::Runs { variant }) => match ledger.admit(app) {
                        Ok(()) => Verdict::Runs { variant },
                        Err(shortage) => Verdict::Barred(Box::new(Obstacle::InsufficientResources(shortage))),
                    },
                    Some(verdict @ (Verdict::Waits | Verdict::Barred(_))) => verdict,
                };
                verdicts.insert(app.order.1.clone(), verdict);
            }
        }
        verdicts
    }
}

/// The verdict on an app that goes to every node, capacity apart.
fn everywhere(app: &Demand, node: &Node) -> Option<Verdict> {
    match standing(app, node, node.has.contains(app.key())) {
        Standing::NotSelected => None,
        Standing::Waits => Some(Verdict::Waits),
        Standing::Fits { variant } => Some(Verdict::Runs { variant }),
        Standing::Barred(obstacle) => Some(Verdict::Barred(Box::new(obstacle))),
    }
}
