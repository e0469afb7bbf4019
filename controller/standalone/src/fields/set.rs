//! A set of fields, as a tree that shares the steps of their paths; and its form on the wire, `fieldsV1`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::{BadElement, Element};
use super::shape::Shape;

/// Objects come from JSON, which is read to this depth and no deeper; ends the recursion over an entry made otherwise.
const MAX_DEPTH: usize = 128;

/// Fields of one object. No path in it leads to nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet(BTreeMap<Element, Node>);

/// What the set holds at and below one field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// The field itself belongs to the set.
    pub(super) member: bool,
    /// Fields below it that do.
    pub(super) children: FieldSet,
}

/// An entry of `fieldsV1` that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadFields {
    #[error(transparent)]
    Element(#[from] BadElement),
    #[error("fieldsV1 holds something that is no object")]
    NoObject,
    #[error("fieldsV1 is nested too deeply")]
    TooDeep,
}

impl Node {
    pub(super) const fn leaf() -> Self {
        Self { member: true, children: FieldSet(BTreeMap::new()) }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    pub(super) fn unite(&mut self, other: Self) {
        self.member |= other.member;
        self.children.unite(other.children);
    }
}

impl FieldSet {
    /// The fields that plain names lead to: `["status", "conditions"]`.
    pub(super) fn of_names(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut node = Node::leaf();
            for name in path.iter().rev() {
                let children = Self(BTreeMap::from([(Element::field(name), node)]));
                node = Node { member: false, children };
            }
            set.unite(node.children);
        }
        set
    }

    pub(super) fn of_paths<'a>(paths: impl Iterator<Item = &'a [Element]>) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut node = Node::leaf();
            for element in path.iter().rev() {
                node = Node { member: false, children: Self(BTreeMap::from([(element.clone(), node)])) };
            }
            set.unite(node.children);
        }
        set
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, element: &Element) -> Option<&Node> {
        self.0.get(element)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Element, &mut Node)> {
        self.0.iter_mut()
    }

    pub(super) fn insert(&mut self, element: Element, node: Node) {
        if !node.is_empty() {
            self.0.entry(element).or_default().unite(node);
        }
    }

    pub(super) fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.get(last).is_some_and(|node| node.member),
            [first, rest @ ..] => self.get(first).is_some_and(|node| node.children.has(rest)),
        }
    }

    pub(super) fn unite(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (element, node) in other.0 {
            self.insert(element, node);
        }
    }

    /// Takes away each field of `other`, but not what is below it.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.retain_in(other, |mine, theirs| {
            mine.member &= !theirs.member;
            mine.children.subtract(&theirs.children);
        });
    }

    /// Takes away each field of `other` with all that is below it.
    pub(super) fn subtract_below(&mut self, other: &Self) {
        self.retain_in(other, |mine, theirs| {
            if theirs.member {
                *mine = Node::default();
            } else {
                mine.children.subtract_below(&theirs.children);
            }
        });
    }

    fn retain_in(&mut self, other: &Self, change: fn(&mut Node, &Node)) {
        if other.is_empty() {
            return;
        }
        self.0.retain(|element, mine| {
            if let Some(theirs) = other.get(element) {
                change(mine, theirs);
            }
            !mine.is_empty()
        });
    }

    pub(super) fn intersect(&mut self, other: &Self) {
        self.0.retain(|element, mine| {
            let Some(theirs) = other.get(element) else { return false };
            mine.member &= theirs.member;
            mine.children.intersect(&theirs.children);
            !mine.is_empty()
        });
    }

    /// The set with each named field of the schema that leads to one of its fields.
    pub(super) fn with_named(&self, shape: Option<Shape<'_>>) -> Self {
        let (map, list) = (shape.and_then(Shape::map), shape.and_then(Shape::list));
        let nodes = self.0.iter().map(|(element, node)| {
            let (named, below) = match element {
                Element::Field(name) => {
                    (map.is_some_and(|map| map.names(name)), map.and_then(|map| map.child(name)))
                }
                Element::Key(_) => (false, list.map(|list| list.items)),
                Element::Item(_) | Element::Index(_) => (false, None),
            };
            let member = node.member || (named && !node.children.is_empty());
            (element.clone(), Node { member, children: node.children.with_named(below) })
        });
        Self(nodes.collect())
    }

    /// The paths in the order of messages: what belongs to an object before what is below its fields.
    pub(super) fn paths(&self) -> Vec<Vec<Element>> {
        let mut paths = Vec::new();
        self.collect_paths(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &mut Vec<Element>, paths: &mut Vec<Vec<Element>>) {
        for (element, _) in self.0.iter().filter(|(_, node)| node.member) {
            let mut path = prefix.clone();
            path.push(element.clone());
            paths.push(path);
        }
        for (element, node) in &self.0 {
            prefix.push(element.clone());
            node.children.collect_paths(prefix, paths);
            prefix.pop();
        }
    }

    /// `fieldsV1`.
    pub(super) fn encode(&self) -> Value {
        let mut fields = Map::new();
        for (element, node) in &self.0 {
            let mut below = node.children.encode();
            if let (true, false, Some(below)) = (node.member, node.children.is_empty(), below.as_object_mut())
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            fields.insert(element.encode(), below);
        }
        Value::Object(fields)
    }

    /// Reads `fieldsV1`.
    pub(super) fn decode(fields: &Value) -> Result<Self, BadFields> {
        Ok(Self::decode_node(fields, 0)?.children)
    }

    fn decode_node(fields: &Value, depth: usize) -> Result<Node, BadFields> {
        if depth > MAX_DEPTH {
            return Err(BadFields::TooDeep);
        }
        let empty = Map::new();
        let fields = match fields {
            Value::Object(fields) => fields,
            Value::Null => &empty,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(BadFields::NoObject);
            }
        };
        let mut node = Node::default();
        for (key, below) in fields {
            if key == "." {
                node.member = true;
            } else if let Some(element) = Element::decode(key)? {
                node.children.insert(element, Self::decode_node(below, depth + 1)?);
            }
        }
        node.member |= node.children.is_empty();
        Ok(node)
    }
}
