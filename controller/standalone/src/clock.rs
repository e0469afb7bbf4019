//! The wall clock, as objects write it.

use jiff::Timestamp;

/// Now, to the second, in RFC 3339: `2026-11-24T08:00:00Z`.
pub fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
