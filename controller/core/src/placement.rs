//! Which nodes an app runs on. A pure function of the EdgeApps and the EdgeNodes: there is no object per app and node. What is
//! already "there" on a node is what its object's status says, so that every controller comes to the same.
//!
//! `board` keeps the answer for all apps and nodes and works out anew only what a change concerns; `standing` judges one pair,
//! `choose` takes the nodes of apps with a number of replicas, `admit` holds requests against what a node has.

mod admit;
mod amounts;
mod board;
mod choose;
mod rank;
mod standing;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use skerry_api::{EdgeAppSpec, EdgeNodeSpec, EdgeNodeStatus, FieldError, Taint};
use skerry_terms::{AppKey, Payload};

pub use amounts::{Amounts, Shortage};
pub use board::{Board, Moved, Verdict};
pub use standing::Obstacle;

/// Labels of an EdgeNode.
pub type Labels = BTreeMap<String, String>;

/// One EdgeApp as placement, snapshots and status see it.
#[derive(Debug, Clone)]
pub struct App {
    /// Namespace and name of the object.
    pub key: AppKey,
    /// Its uid: a deleted and recreated app is another app.
    pub uid: String,
    /// Its metadata.generation, which the status names as observed.
    pub generation: i64,
    /// When it was created, in seconds since 1970: the older of two apps has a node's last place.
    pub created: i64,
    /// Why its spec as it stands now cannot be honoured. Absent for a good one.
    pub trouble: Option<Trouble>,
    /// What the nodes shall have. While the spec is wrong it is the last good version; absent when the spec was wrong ever
    /// since this controller first saw it.
    pub content: Option<Content>,
}

/// Why an app waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Its spec is wrong: everything that is.
    Invalid(Vec<FieldError>),
    /// It refers to objects that the controller may not read, in the API server's words.
    Unreadable(String),
}

/// For people: the first wrong field, or why nothing can be read.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(errors) => match errors.first() {
                Some(error) => write!(f, "invalid spec: {error}"),
                None => f.write_str("invalid spec"),
            },
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

/// A checked version of an app, ready to travel.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    pub spec: Arc<EdgeAppSpec>,
    /// Name of the revision of the template.
    pub revision: String,
    /// The encoded app with the config that it refers to: one for each of the spec's variants, or one alone when it has none.
    /// Each is made once and shared by every node that runs it.
    pub payloads: Vec<Payload>,
}

impl App {
    /// What it asks of nodes. An app that was never valid asks for nothing, and runs nowhere that it does not run already.
    pub fn demand(&self) -> Option<Demand> {
        let content = self.content.as_ref()?;
        Some(Demand::new(self.key.clone(), self.created, content.spec.clone()))
    }

    /// True if the spec asks for no node at all.
    pub fn wants_no_replica(&self) -> bool {
        self.demand().is_some_and(|demand| demand.replicas() == Some(0))
    }

    /// True if nobody knows what the nodes that have this app should have: its spec is wrong, and no good one was seen.
    pub fn is_frozen(&self) -> bool {
        self.content.is_none()
    }
}

/// What one app asks of nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// Which of two apps comes first where both want the same.
    order: Order,
    spec: Arc<EdgeAppSpec>,
    requests: Amounts,
}

/// The older app first, then by name.
type Order = (i64, Arc<AppKey>);

impl Demand {
    pub fn new(key: AppKey, created: i64, spec: Arc<EdgeAppSpec>) -> Self {
        let requests = Amounts::requested(&spec.template.spec);
        Self { order: (created, Arc::new(key)), spec, requests }
    }

    fn key(&self) -> &AppKey {
        &self.order.1
    }

    fn created(&self) -> i64 {
        self.order.0
    }

    /// On how many nodes; absent for every one.
    fn replicas(&self) -> Option<usize> {
        let replicas = self.spec.placement.as_ref()?.replicas?;
        Some(usize::try_from(replicas).unwrap_or(0))
    }

    /// True if it takes something from a node that another app may want.
    fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// True if its place depends on what the box is.
    fn needs_facts(&self) -> bool {
        !self.spec.variants.is_empty() || self.has_requests()
    }

    /// True if the app asks for a node with these labels, be there room or not.
    pub fn selects(&self, labels: &Labels) -> bool {
        selects(&self.spec, labels)
    }
}

/// True if the spec asks for a node with these labels.
pub fn selects(spec: &EdgeAppSpec, labels: &Labels) -> bool {
    let selector = spec.placement.as_ref().and_then(|placement| placement.node_selector.as_ref());
    selector.is_none_or(|selector| selector.matches(labels))
}

/// One EdgeNode as placement sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// When its object was created, in seconds since 1970: where more nodes have an app than it wants, those that came last give
    /// it up.
    pub created: i64,
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    /// What the box is. Absent until it has connected once.
    pub facts: Option<Facts>,
    /// What apps may request of it.
    pub room: Amounts,
    /// The node has a session, or is expected back.
    pub connected: bool,
    /// The apps that it reported last.
    pub has: BTreeSet<AppKey>,
}

/// What a box is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub architecture: String,
    pub operating_system: String,
}

impl Node {
    /// From the parts of an EdgeNode object.
    pub fn new(created: i64, labels: Labels, spec: &EdgeNodeSpec, status: &EdgeNodeStatus) -> Self {
        let key = |report: &skerry_api::AppReport| AppKey::new(&report.namespace, &report.name).ok();
        let facts = status.node_info.as_ref().filter(|info| !info.architecture.is_empty());
        Self {
            created,
            labels,
            taints: spec.taints.clone(),
            unschedulable: spec.is_unschedulable(),
            facts: facts.map(|info| Facts {
                architecture: info.architecture.clone(),
                operating_system: info.operating_system.clone(),
            }),
            room: status
                .allocatable
                .as_ref()
                .or(status.capacity.as_ref())
                .map(Amounts::of_node)
                .unwrap_or_default(),
            connected: status.session.is_some(),
            has: status.apps.iter().filter_map(key).collect(),
        }
    }
}
