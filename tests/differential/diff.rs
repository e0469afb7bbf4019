//! Says in what two plays of a scenario differ.

use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::accepted::Accepted;
use crate::play::Outcome;
use crate::script::{Scenario, Step};

/// Most that is printed of one side of one difference.
const SHOWN_MAX: usize = 1500;

/// Fails with every difference that is not accepted, in words.
pub fn judge(scenario: &Scenario, left: &[Outcome], right: &[Outcome], accepted: &Accepted) -> Result<()> {
    ensure!(left.len() == right.len(), "{} answers against {}", left.len(), right.len());
    let mut report = String::new();
    for (step, (left, right)) in asked(scenario).zip(left.iter().zip(right)) {
        if let Some(text) = &step.refused {
            let refused =
                left.answer.pointer("/status").and_then(Value::as_u64).is_some_and(|code| code >= 400);
            let message = left.answer.pointer("/body/message").and_then(Value::as_str).unwrap_or_default();
            if !refused || !message.contains(text.as_str()) {
                writeln!(
                    report,
                    "\nstep: {}\n  must be refused with {text:?}: {}",
                    step.name,
                    shorten(&left.answer.to_string())
                )?;
            }
        }
        let mut differences = Vec::new();
        compare("", &left.answer, &right.answer, &mut differences);
        differences.retain(|(at, ..)| !accepted.covers(&scenario.name, &step.name, at));
        if differences.is_empty() {
            continue;
        }
        writeln!(report, "\nstep: {}\n  {}", step.name, left.request)?;
        if !step.body.is_empty() {
            writeln!(report, "  {}", shorten(&step.body))?;
        }
        for (at, left, right) in differences {
            writeln!(report, "  {at}\n    left:  {}\n    right: {}", show(left), show(right))?;
        }
    }
    if report.is_empty() {
        return Ok(());
    }
    bail!("the servers differ\n{report}");
}

/// The steps that have an answer of their own.
pub fn asked(scenario: &Scenario) -> impl Iterator<Item = &Step> {
    scenario.steps.iter().filter(|step| step.background.is_none())
}

type Difference<'a> = (String, Option<&'a Value>, Option<&'a Value>);

fn compare<'a>(at: &str, left: &'a Value, right: &'a Value, found: &mut Vec<Difference<'a>>) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in left {
                let at = format!("{at}/{}", key.replace('/', "~1"));
                match right.get(key) {
                    Some(other) => compare(&at, value, other, found),
                    None => found.push((at, Some(value), None)),
                }
            }
            for (key, value) in right.iter().filter(|(key, _)| !left.contains_key(*key)) {
                found.push((format!("{at}/{}", key.replace('/', "~1")), None, Some(value)));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{at}/{index}"), a, b, found);
            }
        }
        _ if left == right => {}
        _ => found.push((at.to_owned(), Some(left), Some(right))),
    }
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "(absent)".into(), |value| shorten(&value.to_string()))
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
