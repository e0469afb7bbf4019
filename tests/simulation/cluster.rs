//! The API's history: objects, their versions, and every change in order. It can be backed up, restored and moved to another cluster.

use std::collections::BTreeMap;

use skerry_api::EdgeNodeStatus;
use skerry_controller_core::placement::Labels;
use skerry_terms::{AppKey, NodeName};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Apps,
    Nodes,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Apps, Self::Nodes];

    pub fn plural(self) -> &'static str {
        match self {
            Self::Apps => "edgeapps",
            Self::Nodes => "edgenodes",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct AppObject {
    pub uid: String,
    pub generation: i64,
    pub created: i64,
    /// Stands for the spec.
    pub version: u8,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NodeObject {
    pub uid: String,
    pub created: i64,
    pub labels: Labels,
    pub accept_past: Option<String>,
    pub status: EdgeNodeStatus,
}

/// An object as it is from now on; absent when it is gone.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a history of a test is short")]
pub enum Change {
    App(AppKey, Option<AppObject>),
    Node(NodeName, Option<NodeObject>),
}

impl Change {
    fn kind(&self) -> Kind {
        match self {
            Self::App(..) => Kind::Apps,
            Self::Node(..) => Kind::Nodes,
        }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub epoch: String,
    /// The resourceVersion of the newest change.
    pub version: u64,
    /// Counts restores and moves: what watched before must list anew.
    pub lineage: u64,
    pub apps: BTreeMap<AppKey, AppObject>,
    pub nodes: BTreeMap<NodeName, NodeObject>,
    log: Vec<(u64, Change)>,
    backup: Option<Box<Cluster>>,
    /// Never restored: a uid is given once.
    uids: u64,
}

impl Cluster {
    pub fn new() -> Self {
        Self {
            epoch: "epoch-0".to_owned(),
            version: 100,
            lineage: 0,
            apps: BTreeMap::new(),
            nodes: BTreeMap::new(),
            log: Vec::new(),
            backup: None,
            uids: 0,
        }
    }

    fn note(&mut self, change: Change) {
        self.version += 1;
        self.log.push((self.version, change));
    }

    fn uid(&mut self) -> String {
        self.uids += 1;
        format!("uid-{}", self.uids)
    }

    pub fn edit(&mut self, key: AppKey, version: u8) {
        let created = i64::try_from(self.version).unwrap_or_default();
        let uid = self.uid();
        let new = AppObject { uid, generation: 1, created, version };
        let object = match self.apps.get(&key) {
            Some(old) if old.version == version => return,
            Some(old) => AppObject { generation: old.generation + 1, version, ..old.clone() },
            None => new,
        };
        self.apps.insert(key.clone(), object.clone());
        self.note(Change::App(key, Some(object)));
    }

    pub fn delete(&mut self, key: AppKey) {
        if self.apps.remove(&key).is_some() {
            self.note(Change::App(key, None));
        }
    }

    /// A node's object is created, unless it is there.
    pub fn join(&mut self, name: &NodeName, labels: Labels) {
        if !self.nodes.contains_key(name) {
            let created = i64::try_from(self.version).unwrap_or_default();
            let (uid, status) = (self.uid(), EdgeNodeStatus::default());
            self.nodes.insert(name.clone(), NodeObject { uid, created, labels, accept_past: None, status });
            self.note(Change::Node(name.clone(), self.nodes.get(name).cloned()));
        }
    }

    pub fn change_node(&mut self, name: &NodeName, change: impl FnOnce(&mut NodeObject)) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        let before = node.clone();
        change(node);
        if *node != before {
            let node = node.clone();
            self.note(Change::Node(name.clone(), Some(node)));
        }
    }

    pub fn delete_node(&mut self, name: &NodeName) {
        if self.nodes.remove(name).is_some() {
            self.note(Change::Node(name.clone(), None));
        }
    }

    /// Something is written that nobody here watches, as Leases are all the time.
    pub fn tick(&mut self) {
        self.version += 1;
    }

    pub fn back_up(&mut self) {
        self.backup = None;
        self.backup = Some(Box::new(self.clone()));
    }

    pub fn restore(&mut self) {
        let Some(backup) = self.backup.take() else { return };
        let (lineage, uids) = (self.lineage + 1, self.uids);
        *self = Self { lineage, uids, backup: Some(backup.clone()), ..*backup };
    }

    /// Everything is applied to a new cluster, in which no node has been seen yet.
    pub fn rebuild(&mut self) {
        let lineage = self.lineage + 1;
        let mut next = Self { epoch: format!("epoch-{lineage}"), lineage, uids: self.uids, ..Self::new() };
        for (key, object) in &self.apps {
            next.edit(key.clone(), object.version);
        }
        *self = next;
    }

    /// The next change of a kind after this version.
    pub fn after(&self, kind: Kind, version: u64) -> Option<&(u64, Change)> {
        let from = self.log.partition_point(|(at, _)| *at <= version);
        self.log[from..].iter().find(|(_, change)| change.kind() == kind)
    }
}
