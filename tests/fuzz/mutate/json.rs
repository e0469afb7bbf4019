//! Changes a JSON document in one or a few places.

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::words::{FIELDS, NUMBERS, TEXTS};

/// Deeper than any parser should follow.
const DEEP: usize = 3000;

/// The text of the changed document, which need not be JSON any more.
pub fn changed(rng: &mut Rng, mut value: Value, tokens: &[String]) -> Vec<u8> {
    for _ in 0..=rng.usize(..3) {
        let nodes = count(&value);
        let mut at = rng.usize(..nodes);
        visit(&mut value, &mut at, &mut |node| change(rng, node, tokens));
    }
    let text = value.to_string();
    match rng.u8(..12) {
        0 => duplicate_key(rng, &text),
        1 => text.replace("\"@deep\"", &nested(rng)),
        2 => text.replacen(':', &format!(":{},\"x\":", NUMBERS[rng.usize(..NUMBERS.len())]), 1),
        3 => format!("{}{text}", ["\u{feff}", " ", "\n\n", "---\n", "null", "[]", "k8s\0"][rng.usize(..7)]),
        4 => format!("{text}{}", ["}", "\n---\n{}", "null", "\0", "//", " "][rng.usize(..6)]),
        _ => text.replace("\"@deep\"", "{}"),
    }
    .into_bytes()
}

fn nested(rng: &mut Rng) -> String {
    let depth = [100, 126, 130, DEEP][rng.usize(..4)];
    match rng.bool() {
        true => format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
        false => format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth)),
    }
}

fn duplicate_key(rng: &mut Rng, text: &str) -> String {
    let starts: Vec<usize> = text.match_indices("{\"").map(|(at, _)| at).collect();
    let Some(&start) = starts.get(rng.usize(..starts.len().max(1))) else { return text.to_owned() };
    let Some(colon) = text[start..].find(':') else { return text.to_owned() };
    let key = &text[start + 1..start + colon];
    format!("{}{key}:null,{}", &text[..=start], &text[start + 1..])
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Calls for the node with this number, counted from the root in order.
fn visit(value: &mut Value, at: &mut usize, call: &mut impl FnMut(&mut Value)) -> bool {
    if *at == 0 {
        call(value);
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| visit(item, at, call)),
        Value::Object(fields) => fields.values_mut().any(|field| visit(field, at, call)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn change(rng: &mut Rng, node: &mut Value, tokens: &[String]) {
    match (rng.u8(..12), &mut *node) {
        (0..=1, Value::Object(fields)) if !fields.is_empty() => {
            let index = rng.usize(..fields.len());
            let key = fields.keys().nth(index).cloned().unwrap_or_default();
            let gone = fields.remove(&key);
            if rng.bool() {
                fields.insert(text(rng, tokens), gone.unwrap_or_default());
            }
        }
        (2..=5, Value::Object(fields)) => {
            let (name, sample) = FIELDS[rng.usize(..FIELDS.len())];
            let sample = serde_json::from_str(sample).unwrap_or_default();
            fields.insert(name.to_owned(), sample);
        }
        (0..=1, Value::Array(items)) if !items.is_empty() => {
            let index = rng.usize(..items.len());
            let copy = items[index].clone();
            items.push(copy);
        }
        (2, Value::Array(items)) => items.clear(),
        (3, Value::Array(items)) if items.len() == 1 => *items = vec![items[0].clone(); 1 << rng.usize(..9)],
        (0..=4, Value::String(own)) => *own = text(rng, tokens),
        (5, Value::String(own)) => own.push_str(&text(rng, tokens)),
        _ => *node = anything(rng, tokens),
    }
}

fn text(rng: &mut Rng, tokens: &[String]) -> String {
    match rng.u8(..12) {
        0 => "x".repeat(1 << rng.usize(..18)),
        1 => "ab.".repeat(1 << rng.usize(..8)),
        2 => tokens[rng.usize(..tokens.len())].clone(),
        _ => TEXTS[rng.usize(..TEXTS.len())].to_owned(),
    }
}

fn anything(rng: &mut Rng, tokens: &[String]) -> Value {
    match rng.u8(..14) {
        0..=1 => Value::Null,
        2 => rng.bool().into(),
        3 => json!([]),
        4 => json!({}),
        5 => json!([null]),
        6 => json!({"": {"": []}}),
        7 => Value::from("@deep"),
        8..=9 => serde_json::from_str(NUMBERS[rng.usize(..NUMBERS.len())]).unwrap_or_default(),
        10 => Value::Array((0..1 << rng.usize(..10)).map(|n: u64| json!({"name": n.to_string()})).collect()),
        11 => Value::Object(
            (0..1 << rng.usize(..10))
                .map(|n: u64| (n.to_string(), json!(n.to_string())))
                .collect::<Map<_, _>>(),
        ),
        _ => text(rng, tokens).into(),
    }
}
