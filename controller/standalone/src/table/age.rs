//! Ages as `kubectl get` shows them: Go's `duration.HumanDuration`, two or three significant figures.

use jiff::Timestamp;

/// Seconds in a minute, an hour and a day, and days in a year of the real server.
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The time from `then` (RFC 3339) to `now`. A time that is absent is `<unknown>`, one that is no time is `<invalid>`.
pub(super) fn since(then: Option<&str>, now: Timestamp) -> String {
    match then {
        None | Some("" | "null") => "<unknown>".to_owned(),
        Some(text) => text.parse().map_or_else(
            |_| "<invalid>".to_owned(),
            |then: Timestamp| human(now.duration_since(then).as_secs()),
        ),
    }
}

/// `seconds` in words. Clocks that differ by less than two seconds are taken as one.
pub(super) fn human(seconds: i64) -> String {
    let pair = |whole: i64, name: &str, rest: i64, rest_name: &str| match rest {
        0 => format!("{whole}{name}"),
        rest => format!("{whole}{name}{rest}{rest_name}"),
    };
    match seconds {
        ..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => pair(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => pair(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => pair(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => pair(seconds / YEAR, "y", seconds % YEAR / DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_kubectl() {
        let cases = [
            (-5, "<invalid>"),
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (1, "1s"),
            (70, "70s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 61, "3h1m"),
            (8 * HOUR, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY, "8d"),
            (2 * YEAR - 1, "729d"),
            (2 * YEAR, "2y"),
            (2 * YEAR + DAY, "2y1d"),
            (8 * YEAR, "8y"),
            (i64::MAX, "292471208677y"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_said_to_be() {
        let now: Timestamp = "2026-11-24T00:00:10Z".parse().unwrap();
        assert_eq!(since(None, now), "<unknown>");
        assert_eq!(since(Some("yesterday"), now), "<invalid>");
        assert_eq!(since(Some("2026-11-24T00:00:00Z"), now), "10s");
        assert_eq!(since(Some("2026-11-24T00:00:00.700000Z"), now), "9s");
    }
}
