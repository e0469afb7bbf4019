//! The JSONPath of printer columns, in the dialect of `k8s.io/client-go/util/jsonpath`.
//!
//! The dialect is not RFC 9535: `\.` escapes a dot, `['a.b']` is the path `a.b` and not one field, comparison is by Go's types and
//! a missing index is an error that empties the cell. Rewriting it into the RFC's needs this parser all the same, and the crates
//! that evaluate that (serde_json_path, jsonpath-rust) bring nom or pest and regex: so it is evaluated here.
//!
//! Supported: fields, `*`, indices, slices, unions, one filter comparison, and `..`. A column with anything else has empty cells.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// More steps than any column has; ends the evaluation of a hostile one.
const MAX_STEPS: usize = 64;
/// More values than a cell could show; `..` and `*` on a large object stop here.
const MAX_VALUES: usize = 10_000;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// `*` after a dot: all fields, all items.
    Any,
    /// `..`
    Descend,
    Slice {
        from: Option<i64>,
        to: To,
        step: Option<i64>,
    },
    Union(Vec<Path>),
    Filter {
        left: Path,
        test: Option<(Comparison, Operand)>,
    },
}

/// Where a slice ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum To {
    /// `[2]`
    One,
    /// `[2:]`
    End,
    At(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value),
    Path(Path),
}

impl Path {
    /// None: not of the dialect.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut steps = Vec::new();
        let mut rest = text.trim_start_matches([' ', '$', '@']);
        while !rest.is_empty() {
            if steps.len() >= MAX_STEPS {
                return None;
            }
            if let Some(after) = rest.strip_prefix("..") {
                steps.push(Step::Descend);
                rest = after;
                if !rest.starts_with('[') {
                    rest = field(rest, &mut steps)?;
                }
            } else if let Some(after) = rest.strip_prefix('.') {
                rest = if after.starts_with('[') { after } else { field(after, &mut steps)? };
            } else if let Some(after) = rest.strip_prefix("[?(") {
                let end = filter_end(after)?;
                steps.push(filter(after.get(..end)?)?);
                rest = after.get(end..)?.strip_prefix(")]")?;
            } else if let Some(after) = rest.strip_prefix('[') {
                let (inside, after) = after.split_once(']')?;
                bracket(inside, &mut steps)?;
                rest = after;
            } else {
                return None;
            }
        }
        Some(Self(steps))
    }

    /// The values that it leads to. None: an error, which empties the cell as nothing found does.
    pub(super) fn find<'a>(&self, root: &'a Value) -> Option<Vec<&'a Value>> {
        let mut values = vec![root];
        for step in &self.0 {
            values = step.walk(&values)?;
            values.truncate(MAX_VALUES);
        }
        Some(values)
    }
}

/// Reads a field's name up to its end, which a backslash hides.
fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> Option<&'a str> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            ' ' | '\t' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}' => {
                end = at;
                break;
            }
            other => name.push(other),
        }
    }
    steps.push(if name == "*" { Step::Any } else { Step::Field(name) });
    text.get(end..)
}

fn bracket(inside: &str, steps: &mut Vec<Step>) -> Option<()> {
    let quoted = inside.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if inside.contains(',') {
        let paths = inside.split(',').map(|part| Path::parse(&format!("[{}]", part.trim())));
        steps.push(Step::Union(paths.collect::<Option<_>>()?));
    } else if let Some(quoted) = quoted {
        steps.extend(Path::parse(&format!(".{quoted}"))?.0);
    } else {
        steps.push(slice(if inside == "*" { ":" } else { inside })?);
    }
    Some(())
}

fn slice(text: &str) -> Option<Step> {
    let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse::<i64>().ok().map(Some) };
    let mut parts = text.split(':');
    let from = number(parts.next()?)?;
    let to = match parts.next() {
        None => To::One,
        Some("") => To::End,
        Some(text) => To::At(text.parse().ok()?),
    };
    let step = number(parts.next().unwrap_or_default())?;
    parts.next().is_none().then_some(Step::Slice { from, to, step })
}

/// Where the `)` of a filter stands: not in its quotes.
fn filter_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(_), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), close) if open == close && !escaped => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, ')') => return Some(at),
            _ => {}
        }
        escaped = false;
    }
    None
}

fn filter(text: &str) -> Option<Step> {
    let sign = |character: char| "!<>=".contains(character);
    let Some(start) = text.find(sign) else {
        return Some(Step::Filter { left: Path::parse(text.trim())?, test: None });
    };
    let (left, rest) = text.split_at(start);
    let end = rest.find(|character| !sign(character))?;
    let (operator, right) = rest.split_at(end);
    let comparison = match operator {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    };
    Some(Step::Filter { left: Path::parse(left.trim())?, test: Some((comparison, operand(right.trim())?)) })
}

fn operand(text: &str) -> Option<Operand> {
    let literal = match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if text.starts_with(['@', '$', '.']) => return Path::parse(text).map(Operand::Path),
        _ if text.starts_with('\'') => {
            text.strip_prefix('\'')?.strip_suffix('\'')?.replace("\\'", "'").into()
        }
        // A string or a number as JSON writes it.
        _ => serde_json::from_str(text).ok()?,
    };
    Some(Operand::Literal(literal))
}

impl Step {
    fn walk<'a>(&self, values: &[&'a Value]) -> Option<Vec<&'a Value>> {
        let mut found = Vec::new();
        match self {
            Self::Field(name) => found.extend(values.iter().filter_map(|value| value.get(name.as_str()))),
            Self::Any => values.iter().for_each(|value| found.extend(children(value))),
            Self::Descend => values.iter().for_each(|value| descend(value, &mut found)),
            Self::Slice { from, to, step } => {
                for value in values.iter().filter(|value| !value.is_null()) {
                    let items = value.as_array()?;
                    let (from, to) = bounds(items.len(), from.unwrap_or(0), *to)?;
                    let step = usize::try_from(step.unwrap_or(1)).ok().filter(|step| *step > 0)?;
                    found.extend(items.get(from..to)?.iter().step_by(step));
                }
            }
            Self::Union(paths) => {
                for path in paths {
                    for value in values {
                        found.extend(path.find(value)?);
                    }
                }
            }
            Self::Filter { left, test } => {
                for value in values {
                    for item in value.as_array()? {
                        if passes(item, left, test.as_ref())? {
                            found.push(item);
                        }
                    }
                }
            }
        }
        Some(found)
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The value and all below it that have something below them. Its depth is that of the JSON, which the parser of JSON bounds.
fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    let children = children(value);
    if !children.is_empty() && found.len() < MAX_VALUES {
        found.push(value);
        for child in children {
            descend(child, found);
        }
    }
}

/// The first and the last but one index of a slice. None: out of bounds.
fn bounds(length: usize, from: i64, to: To) -> Option<(usize, usize)> {
    let length = i64::try_from(length).ok()?;
    let wrap = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let start = wrap(from);
    let end = match to {
        To::One => wrap(from).checked_add(1)?,
        To::End => length,
        To::At(index) => wrap(index),
    };
    if start == end {
        return Some((0, 0));
    }
    (0 <= start && start < length && start <= end && end <= length).then_some(())?;
    Some((usize::try_from(start).ok()?, usize::try_from(end).ok()?))
}

/// Whether a filter keeps `item`. None: an error, as when two values are not comparable.
fn passes(item: &Value, left: &Path, test: Option<&(Comparison, Operand)>) -> Option<bool> {
    let Some((comparison, right)) = test else {
        return Some(left.find(item).is_some_and(|found| !found.is_empty()));
    };
    let left = left.find(item)?;
    let right = match right {
        Operand::Literal(value) => vec![value],
        Operand::Path(path) => path.find(item)?,
    };
    match (left.as_slice(), right.as_slice()) {
        ([], _) | (_, []) => Some(false),
        ([left], [right]) => {
            let ordering = compare(left, right)?;
            Some(match comparison {
                Comparison::Equal => ordering.is_eq(),
                Comparison::NotEqual => ordering.is_ne(),
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Greater => ordering.is_gt(),
                Comparison::GreaterOrEqual => ordering.is_ge(),
            })
        }
        _ => None,
    }
}

/// Only values of one type of Go's are comparable: an integer and a float are not.
fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) if left.is_f64() == right.is_f64() => left
            .as_i64()
            .zip(right.as_i64())
            .map(|(left, right)| left.cmp(&right))
            .or_else(|| floats(left, right)),
        _ => None,
    }
}

fn floats(left: &Number, right: &Number) -> Option<Ordering> {
    left.as_f64()?.partial_cmp(&right.as_f64()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_the_dialect_find_what_they_say() {
        let root = json!({
            "a": {"b.c": 1, "d": [10, 20, 30], "e": {"f": "x"}},
            "conditions": [{"type": "Ready", "status": "True", "n": 1}, {"type": "Other ')", "status": "False", "n": 2}],
        });
        let cases = [
            (".a.d[0]", Some(json!([10]))),
            ("$.a.d[-1]", Some(json!([30]))),
            (".a.d[3]", None),
            (".a.d[1:]", Some(json!([20, 30]))),
            (".a.d[0:3:2]", Some(json!([10, 30]))),
            (".a.d[*]", Some(json!([10, 20, 30]))),
            (".a.d[0,2]", Some(json!([10, 30]))),
            (r".a.b\.c", Some(json!([1]))),
            (r".a['b\.c']", Some(json!([1]))),
            (".a['e.f']", Some(json!(["x"]))),
            (".a.e.*", Some(json!(["x"]))),
            (".a.missing.deeper", Some(json!([]))),
            (".a.missing[0]", Some(json!([]))),
            (".a.e[0]", None),
            ("..f", Some(json!(["x"]))),
            (r#".conditions[?(@.type=="Ready")].status"#, Some(json!(["True"]))),
            (r#".conditions[?(@.type == 'Ready')].status"#, Some(json!(["True"]))),
            (r#".conditions[?(@.type=="Other ')")].status"#, Some(json!(["False"]))),
            (".conditions[?(@.n>1)].status", Some(json!(["False"]))),
            (".conditions[?(@.n>1.5)].status", None),
            (".conditions[?(@.n)].type", Some(json!(["Ready", "Other ')"]))),
            (r#".a[?(@.type=="Ready")].status"#, None),
        ];
        for (text, expected) in cases {
            let found = Path::parse(text).unwrap_or_else(|| panic!("{text} does not parse")).find(&root);
            assert_eq!(found.map(|values| json!(values)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["a", ".a[", ".a[x]", ".a[?(@.b==)]", ".a[?(@.b==1]", ".a[?(@.b=~1)]", ".a[1:2:3:4]"] {
            assert_eq!(Path::parse(text), None, "{text}");
        }
        assert_eq!(Path::parse(&".a".repeat(MAX_STEPS + 1)), None);
    }
}
