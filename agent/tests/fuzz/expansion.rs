//! `$(VAR)`: whatever the text, it expands as the rules say, and to no more than there is room for.

use proptest::prelude::*;
use skerry_agent_core::expand::{TooLarge, expand};

fn known(name: &str) -> Option<&'static str> {
    match name {
        "A" => Some("a value"),
        "REF" => Some("$(A)"),
        "" | "EMPTY" => Some(""),
        "ä" => Some("$$ö("),
        _ => None,
    }
}

/// The rules in the most literal way: one character after the other.
fn literal(text: &str) -> String {
    let mut rest: Vec<char> = text.chars().collect();
    let mut expanded = String::new();
    while let Some(first) = rest.first().copied() {
        let closing = rest.iter().position(|c| *c == ')');
        let taken = match (first, rest.get(1), closing) {
            ('$', Some('$'), _) => {
                expanded.push('$');
                2
            }
            ('$', Some('('), Some(end)) => {
                let name: String = rest[2..end].iter().collect();
                expanded += &known(&name).map_or_else(|| format!("$({name})"), str::to_owned);
                end + 1
            }
            _ => {
                expanded.push(first);
                1
            }
        };
        rest.drain(..taken);
    }
    expanded
}

fn text() -> impl Strategy<Value = String> {
    let parts = ["$", "$", "(", "(", ")", ")", "A", "REF", "EMPTY", "ä", "$(", "$(A)", "$$", "\0", "x"];
    prop_oneof![
        4 => proptest::collection::vec(proptest::sample::select(parts.to_vec()), 0..120).prop_map(|parts| parts.concat()),
        1 => any::<String>(),
    ]
}

#[test]
fn any_text_expands_as_the_rules_say_within_its_room() {
    crate::fuzz((text(), 0usize..600), |(text, room)| {
        let whole = literal(&text);
        let expected = if whole.len() <= room { Ok(whole) } else { Err(TooLarge) };
        prop_assert_eq!(expand(&text, room, known), expected);
        Ok(())
    });
}
