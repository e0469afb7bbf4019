//! The walk over schema and value. The order of checks, and so of errors, is kube-openapi's: type, alternatives, string, format,
//! number, list, enum, object.

use serde_json::{Map, Value};

use super::node::Node;
use super::report::Report;
use crate::schema::golang::{GoNumber, print_float, quote, show, type_name};

/// Checks a value that stands at this path; `old` is what stood there before, if that can be told. What an update leaves as it was
/// is let pass, so that a rule that became stricter does not lock old objects.
pub(super) fn node(schema: &Node, value: &Value, old: Option<&Value>, path: &str, report: &mut Report) {
    let before = report.len();
    checks(schema, value, old, path, report);
    if report.len() > before && old == Some(value) {
        report.forget_from(before);
    }
}

/// The recursion follows the schema, whose depth is bounded.
fn checks(schema: &Node, value: &Value, old: Option<&Value>, path: &str, report: &mut Report) {
    if value.is_null() {
        if !schema.types.is_empty() && !schema.nullable {
            report.mistyped(path, &schema.types.join(","), "null");
        } else {
            report.matched += 1;
        }
        enumeration(schema, value, path, report);
        return;
    }
    if !schema.types.is_empty() || schema.format.is_some() {
        kind(schema, value, path, report);
        report.matched += 1;
    }
    alternatives(schema, value, path, report);
    match value {
        Value::String(text) => string(schema, text, path, report),
        Value::Number(plain) => number(schema, GoNumber::of(plain), path, report),
        Value::Array(items) => list(schema, items, old, path, report),
        Value::Null | Value::Bool(_) | Value::Object(_) => {}
    }
    enumeration(schema, value, path, report);
    report.matched += 1;
    if let Value::Object(fields) = value {
        object(schema, fields, old, path, report);
        report.matched += 1;
    }
    report.matched += 1;
}

fn kind(schema: &Node, value: &Value, path: &str, report: &mut Report) {
    let wants = |name: &str| schema.types.iter().any(|own| own == name);
    let found = type_name(value);
    let (whole, float) = match value {
        Value::Number(plain) => match GoNumber::of(plain) {
            GoNumber::Int(_) => (true, false),
            GoNumber::Float(float) => (false, fits_integer(float)),
        },
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            (false, false)
        }
    };
    let as_integer = float && wants("integer");
    let as_number = whole && wants("number");
    let fits = wants(found) || as_integer || as_number;
    if let Some(format) = &schema.format {
        let text_like = value.is_string() || value.is_array();
        // Go's decoder gives these widths, and the check of a format compares with them instead of with the type.
        let width = match found {
            "integer" => "int64",
            "number" => "float64",
            _ => "",
        };
        if !text_like && !fits && width != format.name {
            report.mistyped(path, &format.name, width);
            return;
        }
        if text_like && !wants("number") && !wants("integer") {
            report.matched += 1;
            return;
        }
    }
    if fits {
        report.matched += 1;
    } else {
        report.mistyped(path, &schema.types.join(","), found);
    }
}

/// A float that JSON would call an integer: JavaScript's safe integers.
fn fits_integer(float: f64) -> bool {
    const MOST: f64 = 9_007_199_254_740_991.0;
    float.abs() <= MOST && float.fract() == 0.0
}

fn alternatives(schema: &Node, value: &Value, path: &str, report: &mut Report) {
    if !schema.any_of.is_empty() {
        any_of(&schema.any_of, value, path, report);
    }
    if !schema.one_of.is_empty() {
        one_of(&schema.one_of, value, path, report);
    }
    let mut valid = 0;
    for own in &schema.all_of {
        let mut inner = report.beside();
        checks(own, value, None, path, &mut inner);
        valid += usize::from(inner.is_empty());
        report.merge(inner);
    }
    if valid < schema.all_of.len() {
        let none = if valid == 0 { ". None validated" } else { "" };
        report.anywhere(format!("{} must validate all the schemas (allOf){none}", quote(path)));
    }
    if let Some(own) = &schema.not {
        let mut inner = report.beside();
        checks(own, value, None, path, &mut inner);
        if inner.is_empty() {
            report.anywhere(format!("{} must not validate the schema (not)", quote(path)));
        }
    }
    report.matched += 2;
}

fn any_of(choices: &[Node], value: &Value, path: &str, report: &mut Report) {
    let mut best: Option<Report> = None;
    for own in choices {
        let mut inner = report.beside();
        checks(own, value, None, path, &mut inner);
        if inner.is_empty() {
            report.merge(inner);
            return;
        }
        if best.as_ref().is_none_or(|best| inner.matched > best.matched) {
            best = Some(inner);
        }
    }
    report.anywhere(format!("{} must validate at least one schema (anyOf)", quote(path)));
    if let Some(best) = best {
        report.merge(best);
    }
}

fn one_of(choices: &[Node], value: &Value, path: &str, report: &mut Report) {
    let mut best: Option<Report> = None;
    let mut valid = 0_usize;
    for own in choices {
        let mut inner = report.beside();
        checks(own, value, None, path, &mut inner);
        if inner.is_empty() {
            valid += 1;
            best = None;
        } else if valid == 0 && best.as_ref().is_none_or(|best| inner.matched > best.matched) {
            best = Some(inner);
        }
    }
    let found = match valid {
        0 => "Found none valid".to_owned(),
        1 => return,
        several => format!("Found {several} valid alternatives"),
    };
    report.anywhere(format!("{} must validate one and only one schema (oneOf). {found}", quote(path)));
    if let Some(best) = best {
        report.merge(best);
    }
}

fn string(schema: &Node, text: &str, path: &str, report: &mut Report) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(most) = schema.max_length.filter(|most| length > *most) {
        report.too_long(path, most);
    } else if let Some(least) = schema.min_length.filter(|least| length < *least) {
        report.invalid(path, &quote(text), format!("{path} in body should be at least {least} chars long"));
    } else if let Some(pattern) = schema.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        report.invalid(path, &quote(text), format!("{path} in body should match '{}'", pattern.as_str()));
    }
    report.matched += 1;
    if let Some(format) = schema.format.as_ref().filter(|format| format.is_of_strings()) {
        if !format.accepts(text) {
            report.mistyped(path, &format.name, text);
        }
        report.matched += 1;
    }
}

fn number(schema: &Node, value: GoNumber, path: &str, report: &mut Report) {
    range(schema, value, path, report);
    if let Some(factor) = schema.multiple_of {
        multiple(value, factor, path, report);
    }
    let shown = value.to_string();
    if let Some(least) = schema.minimum {
        let (wrong, bound) = compare(value, least, schema.above_minimum, |found, bound| found < bound);
        if wrong {
            let words = if schema.above_minimum { "greater than" } else { "greater than or equal to" };
            report.invalid(path, &shown, format!("{path} in body should be {words} {bound}"));
        }
    }
    if let Some(most) = schema.maximum {
        let (wrong, bound) = compare(value, most, schema.below_maximum, |found, bound| found > bound);
        if wrong {
            let words = if schema.below_maximum { "less than" } else { "less than or equal to" };
            report.invalid(path, &shown, format!("{path} in body should be {words} {bound}"));
        }
    }
    report.matched += 2;
}

/// Whether a value is beyond a bound. The bound of a whole number is cut to a whole number.
fn compare(value: GoNumber, bound: f64, exclusive: bool, beyond: fn(f64, f64) -> bool) -> (bool, GoNumber) {
    match value {
        GoNumber::Int(int) => {
            let bound = cut(bound);
            // Whole numbers this large are told apart here, which floats could not do.
            let wrong = match int.cmp(&bound) {
                std::cmp::Ordering::Less => beyond(0.0, 1.0),
                std::cmp::Ordering::Equal => exclusive,
                std::cmp::Ordering::Greater => beyond(1.0, 0.0),
            };
            (wrong, GoNumber::Int(bound))
        }
        GoNumber::Float(float) => {
            let equal = exclusive && float.partial_cmp(&bound) == Some(std::cmp::Ordering::Equal);
            (beyond(float, bound) || equal, GoNumber::Float(bound))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast saturates, and so does the bound of a whole number"
)]
fn cut(bound: f64) -> i64 {
    bound as i64
}

fn multiple(value: GoNumber, factor: f64, path: &str, report: &mut Report) {
    let (positive, fits, factor) = match value {
        GoNumber::Int(int) => {
            let factor = cut(factor);
            (factor > 0, int.checked_rem(factor).is_none_or(|rest| rest == 0), GoNumber::Int(factor))
        }
        GoNumber::Float(float) => {
            let times = if factor < 1.0 { 1.0 / factor * float } else { float / factor };
            (factor > 0.0, fits_integer(times), GoNumber::Float(factor))
        }
    };
    if !positive {
        let text = format!("factor MultipleOf declared for {path} must be positive: {factor}");
        report.invalid(path, &factor.to_string(), text);
    } else if !fits {
        report.invalid(path, &value.to_string(), format!("{path} in body should be a multiple of {factor}"));
    }
}

/// Whether a number is within its type and format. The format counts only where the type is that of its numbers.
fn range(schema: &Node, value: GoNumber, path: &str, report: &mut Report) {
    let format = schema.format.as_ref().map_or("", |format| format.name.as_str());
    let own = schema.type_name();
    let fits = match (own, format, value) {
        ("integer", "int32", GoNumber::Int(int)) => i32::try_from(int).is_ok(),
        ("integer", "int32", GoNumber::Float(float)) => {
            fits_integer(float) && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&float)
        }
        // 2^63 is the first float that an int64 cannot hold.
        ("integer", _, GoNumber::Float(float)) => {
            float.fract() == 0.0
                && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float)
        }
        ("number", "float", GoNumber::Float(float)) => float.abs() <= f64::from(f32::MAX),
        _ => true,
    };
    if fits {
        return;
    }
    let of = if format.is_empty() { "(default format)".to_owned() } else { format!("with format {format}") };
    report.anywhere(format!("Checked value must be of type {own} {of} in {path}"));
}

fn list(schema: &Node, items: &[Value], old: Option<&Value>, path: &str, report: &mut Report) {
    if let Some(own) = &schema.items {
        let before = schema.old_items(old);
        for (index, item) in items.iter().enumerate() {
            node(own, item, before.get(item), &format!("{path}[{index}]"), report);
        }
    }
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if let Some(least) = schema.min_items.filter(|least| length < *least) {
        report.invalid(
            path,
            &length.to_string(),
            format!("{path} in body should have at least {least} items"),
        );
    }
    if let Some(most) = schema.max_items.filter(|most| length > *most) {
        report.too_many(path, items.len(), most, "items");
    }
    report.matched += 2;
}

/// null equals no entry, not even a null among them: so it is in a real server.
fn enumeration(schema: &Node, value: &Value, path: &str, report: &mut Report) {
    let same = |one: &Value| match (one, value) {
        (Value::Number(one), Value::Number(value)) => {
            one == value
                || one
                    .as_f64()
                    .zip(value.as_f64())
                    .is_some_and(|(one, value)| print_float(one) == print_float(value))
        }
        _ => one == value && !value.is_null(),
    };
    if !schema.enumeration.is_empty() && !schema.enumeration.iter().any(same) {
        report.unsupported(path, value, &schema.enumeration);
    }
}

fn object(schema: &Node, fields: &Map<String, Value>, old: Option<&Value>, path: &str, report: &mut Report) {
    let count = i64::try_from(fields.len()).unwrap_or(i64::MAX);
    if let Some(least) = schema.min_properties.filter(|least| count < *least) {
        let shown = show(&Value::from(count));
        report.invalid(path, &shown, format!("{path} in body should have at least {least} properties"));
    }
    if let Some(most) = schema.max_properties.filter(|most| count > *most) {
        report.too_many(path, fields.len(), most, "properties");
    }
    let others = fields.iter().filter(|(name, _)| !schema.properties.contains_key(*name));
    let named = fields.iter().filter(|(name, _)| schema.properties.contains_key(*name));
    for (name, field) in others.chain(named) {
        let Some(own) = schema.field(name) else { continue };
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        node(own, field, Node::old_field(old, name), &below, report);
    }
    for name in schema.required.iter().filter(|name| !fields.contains_key(*name)) {
        report.required(&format!("{path}.{name}"));
    }
}
