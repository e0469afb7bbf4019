//! Go's `time.Parse` for the two layouts in which Kubernetes writes a time, with Go's words for what does not fit.

use super::golang::quote;

/// The layout of `Time`.
pub(super) const SECONDS: &str = "2006-01-02T15:04:05Z07:00";
/// The layout of `MicroTime`, which takes six digits of a second and no others.
pub(super) const MICROS: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The elements of both layouts up to the fraction.
const PARTS: [(&str, Part); 11] = [
    ("2006", Part::Number { name: "year", digits: 4..=4, most: 9999 }),
    ("-", Part::Letter),
    ("01", Part::Number { name: "month", digits: 2..=2, most: 12 }),
    ("-", Part::Letter),
    ("02", Part::Number { name: "day", digits: 2..=2, most: 31 }),
    ("T", Part::Letter),
    ("15", Part::Number { name: "hour", digits: 1..=2, most: 23 }),
    (":", Part::Letter),
    ("04", Part::Number { name: "minute", digits: 2..=2, most: 59 }),
    (":", Part::Letter),
    ("05", Part::Number { name: "second", digits: 2..=2, most: 59 }),
];
const FRACTION: &str = ".000000";
const ZONE: &str = "Z07:00";

/// An element of a layout.
enum Part {
    Letter,
    Number { name: &'static str, digits: std::ops::RangeInclusive<usize>, most: u32 },
}

/// Whether a text is a time in a layout. The error is Go's.
pub(super) fn check(text: &str, layout: &str) -> Result<(), String> {
    let misfit = |rest: &str, element: &str| {
        let [text, layout, rest, element] = [text, layout, rest, element].map(quote);
        format!("parsing time {text} as {layout}: cannot parse {rest} as {element}")
    };
    let wrong = |why: &str| format!("parsing time {}: {why}", quote(text));
    let mut rest = text;
    let mut date = Vec::with_capacity(PARTS.len());
    for (element, part) in &PARTS {
        let Part::Number { name, digits, most } = part else {
            rest = rest.strip_prefix(element).ok_or_else(|| misfit(rest, element))?;
            continue;
        };
        let found = rest.bytes().take(*digits.end()).take_while(u8::is_ascii_digit).count();
        if !digits.contains(&found) {
            return Err(misfit(rest, element));
        }
        let (number, after) = rest.split_at(found);
        let number: u32 = number.parse().map_err(|_| misfit(rest, element))?;
        let least = u32::from(matches!(*name, "month"));
        if !(least..=*most).contains(&number) && *name != "day" {
            return Err(wrong(&format!("{name} out of range")));
        }
        date.push(number);
        rest = after;
    }
    rest =
        if layout == MICROS { micros(rest).ok_or_else(|| misfit(rest, FRACTION))? } else { fraction(rest) };
    let after = zone(rest).ok_or_else(|| misfit(rest, ZONE))?;
    if !after.is_empty() {
        return Err(wrong(&format!("extra text: {}", quote(after))));
    }
    match date.as_slice() {
        [year, month, day, ..] if is_day(*year, *month, *day) => Ok(()),
        _ => Err(wrong("day out of range")),
    }
}

/// What follows the six digits.
fn micros(text: &str) -> Option<&str> {
    let (digits, rest) = text.strip_prefix(['.', ','])?.split_at_checked(FRACTION.len() - 1)?;
    digits.bytes().all(|digit| digit.is_ascii_digit()).then_some(rest)
}

/// What follows a fraction of any length, which Go takes where the layout has none.
fn fraction(text: &str) -> &str {
    let Some(digits) = text.strip_prefix(['.', ',']) else { return text };
    let rest = digits.trim_start_matches(|letter: char| letter.is_ascii_digit());
    if rest.len() == digits.len() { text } else { rest }
}

/// What follows the zone.
fn zone(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some(rest);
    }
    let (zone, rest) = text.split_at_checked(ZONE.len())?;
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let within =
        |text: &str, most: u32| text.len() == 2 && text.parse::<u32>().is_ok_and(|number| number <= most);
    (within(hours, 24) && within(minutes, 60)).then_some(rest)
}

fn is_day(year: u32, month: u32, day: u32) -> bool {
    let (Ok(year), Ok(month), Ok(day)) = (i16::try_from(year), i8::try_from(month), i8::try_from(day)) else {
        return false;
    };
    jiff::civil::Date::new(year, month, day).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_go_takes_them() {
        for text in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.5Z",
            "2026-01-02T3:04:05+01:00",
            "2024-02-29T00:00:00-11:30",
        ] {
            assert_eq!(check(text, SECONDS), Ok(()), "{text}");
        }
        assert_eq!(check("2026-01-02T03:04:05.000006Z", MICROS), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_told_in_gos_words() {
        let told = |text: &str, layout: &str| check(text, layout).expect_err(text);
        assert_eq!(
            told("2026-01-02T03:04:06.5Z", MICROS),
            r#"parsing time "2026-01-02T03:04:06.5Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse ".5Z" as ".000000""#
        );
        for (text, end) in [
            ("yesterday", r#"cannot parse "yesterday" as "2006""#),
            ("2026-01-02 03:04:05Z", r#"cannot parse " 03:04:05Z" as "T""#),
            ("2026-01-02T03:04:05", r#"cannot parse "" as "Z07:00""#),
            ("2026-13-02T03:04:05Z", "month out of range"),
            ("2026-02-30T03:04:05Z", "day out of range"),
            ("2026-01-02T03:04:05Zulu", r#"extra text: "ulu""#),
            ("2026-01-02T03:04:0x", r#"cannot parse "0x" as "05""#),
        ] {
            assert!(told(text, SECONDS).ends_with(end), "{}", told(text, SECONDS));
        }
    }
}
