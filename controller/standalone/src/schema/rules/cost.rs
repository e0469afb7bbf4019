//! A bound of what a CEL expression costs to run, in steps, since the interpreter has none of its own. It is counted twice: with
//! the sizes that the schema allows, when a rule is loaded, and with those of the object at hand, before a rule is run.

use kube_cel::cel::Program;
use kube_cel::cel::common::ast::{EntryExpr, Expr};
use serde_json::Value;

use super::Node;

/// Taken for a list, a map or a string that the schema does not bound. The budget of an object holds in any case.
const UNBOUNDED: u64 = 1_000;
/// Letters of a string that are looked at in one step, as a real server estimates it.
const LETTERS_A_STEP: u64 = 10;

/// How large values may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Items of the largest list or map.
    items: u64,
    /// Bytes of the longest string.
    letters: u64,
}

impl Sizes {
    /// What a node's schema allows.
    pub(super) fn allowed(node: &Node) -> Self {
        let mut sizes = Self { items: 1, letters: 1 };
        sizes.add_allowed(node);
        sizes
    }

    fn add_allowed(&mut self, node: &Node) {
        let bound =
            |stated: Option<i64>| stated.and_then(|most| u64::try_from(most).ok()).unwrap_or(UNBOUNDED);
        match node.type_name() {
            "array" => self.items = self.items.max(bound(node.max_items)),
            "object" if node.additional.is_some() => {
                self.items = self.items.max(bound(node.max_properties));
                // A map's keys are strings without a bound.
                self.letters = self.letters.max(UNBOUNDED);
            }
            "string" | "" => self.letters = self.letters.max(bound(node.max_length)),
            _ => {}
        }
        let below = node.properties.values().chain(node.items.as_deref()).chain(node.additional.as_deref());
        below.for_each(|own| self.add_allowed(own));
    }

    /// What a value has.
    pub(super) fn actual(value: &Value) -> Self {
        let size = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let own = match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Self { items: 1, letters: 1 },
            Value::String(text) => Self { items: 1, letters: size(text.len()) },
            Value::Array(items) => Self { items: size(items.len()), letters: 1 },
            Value::Object(fields) => Self {
                items: size(fields.len()),
                letters: fields.keys().map(|name| size(name.len())).max().unwrap_or(1),
            },
        };
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => own,
            Value::Array(items) => items.iter().map(Self::actual).fold(own, |all, one| all.or(Some(one))),
            Value::Object(fields) => {
                fields.values().map(Self::actual).fold(own, |all, one| all.or(Some(one)))
            }
        }
    }

    /// The larger of both.
    pub(super) fn or(self, other: Option<Self>) -> Self {
        let other = other.unwrap_or(self);
        Self { items: self.items.max(other.items), letters: self.letters.max(other.letters) }
    }
}

/// Steps of a program on values of a node. None: it calls something whose cost its arguments' sizes do not bound.
pub(super) fn of(program: &Program, node: &Node, sizes: Sizes) -> Option<u64> {
    let scope = [("self", node), ("oldSelf", node)];
    steps(&program.expression().expr, &Scope { names: &scope, parent: None }, sizes)
}

/// What is known of the values behind names, innermost first.
struct Scope<'a> {
    names: &'a [(&'a str, &'a Node)],
    parent: Option<&'a Scope<'a>>,
}

impl<'a> Scope<'a> {
    /// The schema of what an expression selects.
    fn node(&self, expression: &Expr) -> Option<&'a Node> {
        match expression {
            Expr::Ident(name) => {
                let own = self.names.iter().find(|(own, _)| own == name).map(|(_, node)| *node);
                own.or_else(|| self.parent?.node(expression))
            }
            Expr::Select(select) => self.node(&select.operand.expr)?.properties.get(&select.field),
            Expr::Unspecified
            | Expr::Call(_)
            | Expr::Comprehension(_)
            | Expr::List(_)
            | Expr::Literal(_)
            | Expr::Map(_)
            | Expr::Struct(_) => None,
        }
    }
}

/// Rounds of a loop over a range: what the schema allows there, if it can be told, and never more than there is.
fn rounds(range: &Expr, scope: &Scope<'_>, sizes: Sizes) -> u64 {
    let stated = scope.node(range).and_then(|node| node.max_items.or(node.max_properties));
    match stated.and_then(|most| u64::try_from(most).ok()) {
        Some(most) => most.min(sizes.items),
        None => sizes.items.max(longest_literal(range)),
    }
}

/// The recursion follows the expression, which the parser bounds.
fn steps(expression: &Expr, scope: &Scope<'_>, sizes: Sizes) -> Option<u64> {
    let sum = |scope: &Scope<'_>, parts: Vec<&Expr>| -> Option<u64> {
        parts.into_iter().try_fold(1_u64, |sum, part| Some(sum.saturating_add(steps(part, scope, sizes)?)))
    };
    match expression {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Some(1),
        Expr::Select(select) => sum(scope, vec![&select.operand.expr]),
        Expr::List(list) => sum(scope, list.elements.iter().map(|element| &element.expr).collect()),
        Expr::Map(map) => sum(scope, map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect()),
        Expr::Struct(object) => {
            sum(scope, object.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect())
        }
        Expr::Call(call) => {
            let parts = call
                .target
                .iter()
                .map(|target| &target.expr)
                .chain(call.args.iter().map(|argument| &argument.expr));
            let arguments = sum(scope, parts.collect())?;
            let letters = sizes.letters.div_ceil(LETTERS_A_STEP);
            Some(match call.func_name.as_str() {
                "range" => return None,
                // Each multiplies what it is given by what it is given.
                "replace" | "join" | "split" | "format" | "flatten" => {
                    arguments.saturating_mul(letters.max(sizes.items).max(1))
                }
                "distinct" | "sort" | "sortBy" | "contains" | "intersects" | "equivalent" => {
                    arguments.saturating_add(sizes.items.saturating_mul(sizes.items)).saturating_add(letters)
                }
                // Operators, which the parser writes so, look at a value or two.
                operator if operator.starts_with(['_', '!', '-', '@']) => arguments,
                "has" | "size" | "hasValue" => arguments,
                _ => arguments.saturating_add(letters),
            })
        }
        Expr::Comprehension(loops) => {
            let range = &loops.iter_range.expr;
            // A list's first variable is its item, a map's its key; a second one is left unknown.
            let item = scope
                .node(range)
                .and_then(|node| node.items.as_deref())
                .map(|item| (loops.iter_var.as_str(), item));
            let known: Vec<_> = item.into_iter().collect();
            let inner = Scope { names: &known, parent: Some(scope) };
            let round = sum(&inner, vec![&loops.loop_cond.expr, &loops.loop_step.expr])?;
            let once = sum(scope, vec![range, &loops.accu_init.expr, &loops.result.expr])?;
            Some(once.saturating_add(round.saturating_mul(rounds(range, scope, sizes))))
        }
    }
}

/// A loop may run over a list that the rule itself writes down.
fn longest_literal(range: &Expr) -> u64 {
    match range {
        Expr::List(list) => u64::try_from(list.elements.len()).unwrap_or(u64::MAX),
        Expr::Call(call) => {
            let parts = call
                .target
                .iter()
                .map(|target| &target.expr)
                .chain(call.args.iter().map(|argument| &argument.expr));
            parts.map(longest_literal).fold(0, u64::saturating_add)
        }
        Expr::Unspecified
        | Expr::Ident(_)
        | Expr::Literal(_)
        | Expr::Select(_)
        | Expr::Map(_)
        | Expr::Struct(_)
        | Expr::Comprehension(_) => 0,
    }
}

fn entry_parts(entry: &EntryExpr) -> impl Iterator<Item = &Expr> {
    let (first, second) = match entry {
        EntryExpr::StructField(field) => (&field.value.expr, None),
        EntryExpr::MapEntry(pair) => (&pair.key.expr, Some(&pair.value.expr)),
    };
    std::iter::once(first).chain(second)
}
