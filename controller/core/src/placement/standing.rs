//! Whether one app may be on one node, capacity apart: selector, taints, cordon, variant. Asked for each pair that a change concerns.

use std::fmt;

use skerry_api::{Taint, TaintEffect, Toleration, VariantMatch};
use skerry_terms::reasons;

use super::amounts::Shortage;
use super::{Demand, Facts, Node};

/// How Kubernetes itself calls the taint of a cordoned node; who tolerates it is placed there all the same.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What an app is to a node, as far as placement can tell from the two alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The app does not ask for this node.
    NotSelected,
    /// What the box is has not been told yet, and the app's place depends on it.
    Waits,
    /// The node can have the app, in this variant: an index into the spec's variants, 0 without any.
    Fits {
        variant: usize,
    },
    Barred(Obstacle),
}

/// Why a node that an app selects cannot have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The spec has variants, and none is for this node.
    NoVariant(Facts),
    Tainted(Taint),
    /// The node is cordoned, and the app is not there.
    Unschedulable,
    InsufficientResources(Shortage),
}

impl Obstacle {
    /// One of [`reasons`].
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoVariant(_) => reasons::NO_VARIANT,
            Self::Tainted(_) => reasons::TAINTED,
            Self::Unschedulable => reasons::UNSCHEDULABLE,
            Self::InsufficientResources(_) => reasons::INSUFFICIENT_RESOURCES,
        }
    }

    /// True if the node's owner keeps apps away on purpose: nothing is wrong with the app or the node.
    pub fn is_intended(&self) -> bool {
        match self {
            Self::Tainted(_) | Self::Unschedulable => true,
            Self::NoVariant(_) | Self::InsufficientResources(_) => false,
        }
    }
}

/// For people: what is in the way and what to do.
impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVariant(Facts { architecture, operating_system }) => write!(
                f,
                "spec.variants has none for {operating_system}/{architecture} with the node's labels; add one, or narrow spec.placement"
            ),
            Self::Tainted(Taint { key, value, effect }) => {
                let value = value.as_deref().filter(|value| !value.is_empty());
                let equal = value.map(|value| format!("={value}")).unwrap_or_default();
                write!(
                    f,
                    "the node has the taint {key}{equal}:{effect:?} and spec.placement.tolerations tolerates it not"
                )
            }
            Self::Unschedulable => f.write_str("the node is cordoned: its spec.unschedulable is true"),
            Self::InsufficientResources(shortage) => {
                let Shortage { resource, requested, free } = shortage;
                let (requested, free) = (shortage.written(*requested), shortage.written(*free));
                write!(f, "{resource}: {requested} requested, {free} free on the node")
            }
        }
    }
}

/// Capacity apart, what the app is to the node.
pub fn standing(demand: &Demand, node: &Node, is_there: bool) -> Standing {
    let placement = demand.spec.placement.as_ref();
    let selector = placement.and_then(|placement| placement.node_selector.as_ref());
    if selector.is_some_and(|selector| !selector.matches(&node.labels)) {
        return Standing::NotSelected;
    }
    let tolerations = placement.map_or(&[][..], |placement| &placement.tolerations);
    let bars = |taint: &&Taint| {
        let counts = match taint.effect {
            TaintEffect::NoExecute => true,
            TaintEffect::NoSchedule => !is_there,
            TaintEffect::PreferNoSchedule => false,
        };
        counts && !tolerates(tolerations, taint)
    };
    if let Some(taint) = node.taints.iter().find(bars) {
        return Standing::Barred(Obstacle::Tainted(taint.clone()));
    }
    if node.unschedulable && !is_there && !tolerates(tolerations, &cordon()) {
        return Standing::Barred(Obstacle::Unschedulable);
    }
    match (&node.facts, demand.needs_facts()) {
        (None, true) => Standing::Waits,
        (None, false) => Standing::Fits { variant: 0 },
        (Some(facts), _) => match variant(demand, node, facts) {
            Some(variant) => Standing::Fits { variant },
            None => Standing::Barred(Obstacle::NoVariant(facts.clone())),
        },
    }
}

/// True if other nodes are to be taken first, where there is a choice.
pub fn is_avoided(demand: &Demand, node: &Node) -> bool {
    let tolerations = demand.spec.placement.as_ref().map_or(&[][..], |placement| &placement.tolerations);
    let mut taints = node.taints.iter();
    taints.any(|taint| taint.effect == TaintEffect::PreferNoSchedule && !tolerates(tolerations, taint))
}

fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| toleration.tolerates(taint))
}

fn cordon() -> Taint {
    Taint { key: UNSCHEDULABLE.to_owned(), value: None, effect: TaintEffect::NoSchedule }
}

/// The first variant that matches; an app without variants has the one that is its template.
fn variant(demand: &Demand, node: &Node, facts: &Facts) -> Option<usize> {
    let variants = &demand.spec.variants;
    if variants.is_empty() {
        return Some(0);
    }
    let is_one = |wanted: &[String], is: &String| wanted.is_empty() || wanted.contains(is);
    let matches = |wanted: &VariantMatch| {
        let VariantMatch { architectures, operating_systems, node_selector } = wanted;
        is_one(architectures, &facts.architecture)
            && is_one(operating_systems, &facts.operating_system)
            && node_selector.as_ref().is_none_or(|selector| selector.matches(&node.labels))
    };
    variants.iter().position(|variant| variant.matches.as_ref().is_none_or(matches))
}
