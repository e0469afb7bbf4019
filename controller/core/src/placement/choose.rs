//! The nodes of apps with a number of replicas. Nodes that have the app keep it while they fit, be they connected or not; the rest
//! are taken in the order of [`rank`](super::rank), so that a node that comes moves nothing and one that goes moves its share. A box
//! whose node was deleted comes back with what it ran: as a new node, it gives up what has found another place.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use skerry_terms::{AppKey, NodeName};

use super::admit::{Ledger, Round};
use super::board::Verdict;
use super::rank::score;
use super::standing::{Obstacle, Standing, is_avoided, standing};
use super::{Demand, Node};

/// Where an app with a number of replicas goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// The nodes that shall have it; and when they are too few, what is in the way on each other one that it selects.
    pub verdicts: BTreeMap<NodeName, Verdict>,
    pub wanted: usize,
    pub taken: usize,
}

/// Chooses for every app that wants a number of replicas. `apps` come in their order.
pub fn choose<'a>(
    apps: impl Iterator<Item = &'a Demand> + Clone,
    nodes: &BTreeMap<NodeName, Node>,
) -> BTreeMap<AppKey, Choice> {
    // Without requests there is no ledger to keep, and the other apps do not matter.
    let contested = apps.clone().any(|app| app.replicas().is_some() && app.has_requests());
    let mut ledgers: Ledgers<'_> = BTreeMap::new();
    let mut candidates: BTreeMap<&AppKey, Candidates<'_>> = BTreeMap::new();
    for round in Round::ALL {
        for app in apps.clone() {
            match app.replicas() {
                Some(wanted) => candidates
                    .entry(app.key())
                    .or_insert_with(|| Candidates::new(app, wanted, nodes))
                    .take(app, round, &mut ledgers),
                None if contested && app.has_requests() => everywhere(app, round, nodes, &mut ledgers),
                None => {}
            }
        }
    }
    candidates.into_iter().map(|(key, candidates)| (key.clone(), candidates.into_choice())).collect()
}

type Ledgers<'a> = BTreeMap<&'a NodeName, Ledger>;

/// Lets an app that goes to every node in: what it takes, the others do not get.
fn everywhere<'a>(
    app: &Demand,
    round: Round,
    nodes: &'a BTreeMap<NodeName, Node>,
    ledgers: &mut Ledgers<'a>,
) {
    for (name, node) in nodes {
        let is_there = node.has.contains(app.key());
        if Round::of(is_there) == round
            && let Standing::Fits { .. } = standing(app, node, is_there)
        {
            // A node without room for it is the board's to tell.
            let _ = ledgers.entry(name).or_insert_with(|| Ledger::new(node)).admit(app);
        }
    }
}

/// The nodes that an app may take.
struct Candidates<'a> {
    wanted: usize,
    taken: BTreeMap<&'a NodeName, Verdict>,
    /// In the order in which they are taken.
    there: Vec<Candidate<'a>>,
    new: Vec<Candidate<'a>>,
    barred: BTreeMap<&'a NodeName, Obstacle>,
}

struct Candidate<'a> {
    name: &'a NodeName,
    node: &'a Node,
    verdict: Verdict,
}

impl<'a> Candidates<'a> {
    fn new(app: &Demand, wanted: usize, nodes: &'a BTreeMap<NodeName, Node>) -> Self {
        let (mut there, mut new, mut barred) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (name, node) in nodes {
            let is_there = node.has.contains(app.key());
            let verdict = match standing(app, node, is_there) {
                Standing::NotSelected => continue,
                // A box that has never connected takes no replica from one that has.
                Standing::Waits | Standing::Fits { .. } if !is_there && node.facts.is_none() => continue,
                Standing::Waits => Verdict::Waits,
                Standing::Fits { variant } => Verdict::Runs { variant },
                Standing::Barred(obstacle) => {
                    barred.insert(name, obstacle);
                    continue;
                }
            };
            let order = Reverse(score(app.key(), name));
            let candidate = Candidate { name, node, verdict };
            if is_there {
                // Nodes that were there before the app are alike.
                there.push(((node.created.max(app.created()), order), candidate));
            } else {
                new.push(((!node.connected, is_avoided(app, node), order), candidate));
            }
        }
        // Stable, so that equal scores keep the order of the names.
        there.sort_by_key(|(order, _)| *order);
        new.sort_by_key(|(order, _)| *order);
        Self {
            wanted,
            taken: BTreeMap::new(),
            there: there.into_iter().map(|(_, candidate)| candidate).collect(),
            new: new.into_iter().map(|(_, candidate)| candidate).collect(),
            barred,
        }
    }

    fn take(&mut self, app: &Demand, round: Round, ledgers: &mut Ledgers<'a>) {
        let candidates = match round {
            Round::There => std::mem::take(&mut self.there),
            Round::New => std::mem::take(&mut self.new),
        };
        for Candidate { name, node, verdict } in candidates {
            if self.taken.len() >= self.wanted {
                return;
            }
            let admitted = match &verdict {
                Verdict::Runs { .. } if app.has_requests() => {
                    ledgers.entry(name).or_insert_with(|| Ledger::new(node)).admit(app)
                }
                Verdict::Runs { .. } | Verdict::Waits | Verdict::Barred(_) => Ok(()),
            };
            match admitted {
                Ok(()) => {
                    self.taken.insert(name, verdict);
                }
                Err(shortage) => {
                    self.barred.insert(name, Obstacle::InsufficientResources(shortage));
                }
            }
        }
    }

    fn into_choice(self) -> Choice {
        let Self { wanted, taken, there: _, new: _, barred } = self;
        let mut verdicts: BTreeMap<_, _> =
            taken.into_iter().map(|(name, verdict)| (name.clone(), verdict)).collect();
        let count = verdicts.len();
        if count < wanted {
            let barred = barred.into_iter();
            verdicts
                .extend(barred.map(|(name, obstacle)| (name.clone(), Verdict::Barred(Box::new(obstacle)))));
        }
        Choice { verdicts, wanted, taken: count }
    }
}
