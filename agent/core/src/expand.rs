//! `$(VAR)` in environment values, commands, arguments and sub-paths, as Kubernetes expands it: `$$` is one `$`, a variable that is
//! not known stays as it was written, and what a variable expands to is not looked at again. Called by the decoding of apps.

/// All expanded texts of one container together. The kernel takes 2 MiB of arguments and environment by default, and 128 KiB of
/// one; a spec within its own bounds could ask for gigabytes by naming one long variable again and again.
pub const EXPANDED_MAX: usize = 1 << 20;

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Stands for itself, escapes resolved.
    Text(&'a str),
    /// A reference to the variable of this name.
    Variable(&'a str),
}

/// What a text would expand to is larger than there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "with its variables expanded it is too large: all of a container together may have {EXPANDED_MAX} bytes"
)]
pub struct TooLarge;

/// The text with its variables replaced, of at most `room` bytes.
pub fn expand<'v>(
    text: &str,
    room: usize,
    lookup: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, TooLarge> {
    let mut expanded = String::new();
    let mut push = |part: &str| {
        if part.len() > room - expanded.len() {
            return Err(TooLarge);
        }
        expanded.push_str(part);
        Ok(())
    };
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => push(text)?,
            Piece::Variable(name) => match lookup(name) {
                Some(value) => push(value)?,
                None => ["$(", name, ")"].into_iter().try_for_each(&mut push)?,
            },
        }
    }
    Ok(expanded)
}

/// The parts of a text, in order. Takes time in proportion to the text, however many openings are never closed.
pub fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    // Once no bracket closes, none does further on.
    let mut closes = true;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, length) = next(rest, &mut closes);
        rest = &rest[length..];
        Some(piece)
    })
}

/// The first piece of a text that is not empty, and the length of what it was written as.
fn next<'a>(text: &'a str, closes: &mut bool) -> (Piece<'a>, usize) {
    let Some(after) = text.strip_prefix('$') else {
        let length = text.find('$').unwrap_or(text.len());
        return (Piece::Text(&text[..length]), length);
    };
    match after.as_bytes().first() {
        Some(b'$') => (Piece::Text("$"), 2),
        Some(b'(') if *closes => match after.find(')') {
            Some(end) => (Piece::Variable(&after[1..end]), end + 2),
            None => {
                *closes = false;
                (Piece::Text("$("), 2)
            }
        },
        Some(b'(') => (Piece::Text("$("), 2),
        // Not the start of anything; the character after it may well be one of a name.
        Some(_) | None => (Piece::Text("$"), 1),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn known(name: &str) -> Option<&'static str> {
        match name {
            "VAR_A" => Some("A"),
            "VAR_B" => Some("B"),
            "VAR_C" => Some("C"),
            "VAR_REF" => Some("$(VAR_A)"),
            "VAR_EMPTY" => Some(""),
            _ => None,
        }
    }

    fn expanded(text: &str) -> String {
        expand(text, EXPANDED_MAX, known).expect("a short text")
    }

    /// What Kubernetes' own tests of its expansion say, in its order.
    #[test]
    fn kubernetes_own_cases_hold() {
        for (text, expected) in [
            ("$(VAR_A)", "A"),
            ("$(VAR_A)-$(VAR_A)", "A-A"),
            ("$(VAR_A)-1", "A-1"),
            ("___$(VAR_B)___", "___B___"),
            ("___$(VAR_C)", "___C"),
            ("$(VAR_A)_$(VAR_B)_$(VAR_C)", "A_B_C"),
            ("$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
            ("$$(VAR_A)_$$(VAR_B)", "$(VAR_A)_$(VAR_B)"),
            ("f000-$$VAR_A", "f000-$VAR_A"),
            (r"foo\$(VAR_C)bar", r"foo\Cbar"),
            (r"foo\\$(VAR_C)bar", r"foo\\Cbar"),
            (r"foo\\\\$(VAR_A)bar", r"foo\\\\Abar"),
            ("$(VAR_A$(VAR_B))", "$(VAR_A$(VAR_B))"),
            ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
            ("$(VAR_REF)", "$(VAR_A)"),
            ("%%$(VAR_REF)--$(VAR_REF)%%", "%%$(VAR_A)--$(VAR_A)%%"),
            ("foo$(VAR_EMPTY)bar", "foobar"),
            ("foo$(VAR_Awhoops!", "foo$(VAR_Awhoops!"),
            ("f00__(VAR_A)__", "f00__(VAR_A)__"),
            ("$?_boo_$!", "$?_boo_$!"),
            ("$VAR_A", "$VAR_A"),
            ("$(VAR_DNE)", "$(VAR_DNE)"),
            ("$$$$$$(BIG_MONEY)", "$$$(BIG_MONEY)"),
            ("$$$$$$(VAR_A)", "$$$(VAR_A)"),
            ("$$$$$$$(GOOD_ODDS)", "$$$$(GOOD_ODDS)"),
            ("$$$$$$$(VAR_A)", "$$$A"),
            ("$VAR_A)", "$VAR_A)"),
            ("${VAR_A}", "${VAR_A}"),
            ("$(VAR_B)_______$(A", "B_______$(A"),
            ("$(VAR_C)_______$(", "C_______$("),
            ("$(VAR_A)foobarzab$", "Afoobarzab$"),
            (r"foo-\$(VAR_A", r"foo-\$(VAR_A"),
            ("--$($($($($--", "--$($($($($--"),
            ("$($($($($--foo$(", "$($($($($--foo$("),
            ("foo0--$($($($(", "foo0--$($($($("),
            ("$(foo$$var)", "$(foo$$var)"),
            ("\n", "\n"),
        ] {
            assert_eq!(expanded(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_value_sees_the_values_before_it() {
        let mut env = BTreeMap::new();
        for (name, value) in [("FOO", "bar"), ("ZOO", "$(FOO)-1"), ("BLU", "$(ZOO)-2"), ("SELF", "$(SELF)")] {
            let value = expand(value, EXPANDED_MAX, |name| env.get(name).map(String::as_str)).expect("short");
            env.insert(name, value);
        }
        assert_eq!(env["BLU"], "bar-1-2");
        assert_eq!(env["SELF"], "$(SELF)");
    }

    #[test]
    fn characters_of_several_bytes_are_kept_whole() {
        assert_eq!(expanded("$ä$(VAR_A)$é"), "$äA$é");
        assert_eq!(expanded("$(ä)"), "$(ä)");
    }

    #[test]
    fn doubling_variables_stop_at_the_bound() {
        let mut value = "x".repeat(1024);
        let mut rounds = 0;
        let stopped = loop {
            match expand("$(V)$(V)", EXPANDED_MAX, |_| Some(&value)) {
                Ok(next) => value = next,
                Err(error) => break error,
            }
            rounds += 1;
        };
        assert_eq!((stopped, rounds, value.len()), (TooLarge, 10, EXPANDED_MAX));
        assert_eq!(expand("$(UNKNOWN)", 9, |_| None), Err(TooLarge));
        assert_eq!(expand("$(UNKNOWN)", 10, |_| None).as_deref(), Ok("$(UNKNOWN)"));
    }

    #[test]
    fn openings_that_never_close_take_no_quadratic_time() {
        let text = "$(".repeat(EXPANDED_MAX / 2);
        assert_eq!(expand(&text, EXPANDED_MAX, known).map(|expanded| expanded == text), Ok(true));
    }

    /// The rules again, in the most literal way: one character after the other.
    fn literal(text: &[char]) -> String {
        match text {
            [] => String::new(),
            ['$', '$', rest @ ..] => format!("${}", literal(rest)),
            ['$', '(', rest @ ..] => match rest.iter().position(|c| *c == ')') {
                Some(end) => {
                    let name: String = rest[..end].iter().collect();
                    let value = known(&name).map_or_else(|| format!("$({name})"), str::to_owned);
                    value + &literal(&rest[end + 1..])
                }
                None => format!("$({}", literal(rest)),
            },
            [first, rest @ ..] => format!("{first}{}", literal(rest)),
        }
    }

    proptest! {
        #[test]
        fn any_text_expands_as_the_rules_say(parts in proptest::collection::vec(
            prop_oneof![Just("$"), Just("("), Just(")"), Just("VAR_A"), Just("VAR_EMPTY"), Just("ä"), Just("\0")], 0..40,
        )) {
            let text = parts.concat();
            prop_assert_eq!(expanded(&text), literal(&text.chars().collect::<Vec<_>>()));
        }

        #[test]
        fn a_text_with_its_operators_doubled_stays_as_it_is(text in "\\PC*") {
            prop_assert_eq!(expanded(&text.replace('$', "$$")), text);
        }

        #[test]
        fn no_expansion_exceeds_its_room(text in "(\\$\\(V\\)|\\$|x){0,40}", room in 0usize..60) {
            if let Ok(expanded) = expand(&text, room, |_| Some("value")) {
                prop_assert!(expanded.len() <= room);
            }
        }
    }
}
