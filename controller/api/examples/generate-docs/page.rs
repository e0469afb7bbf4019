//! The tables of the page.

use std::fmt::Write as _;

use crate::reasons::{Judged, Verdict};

/// All tables, one for each type, in the order in which they are met.
pub fn write(types: &[Judged]) -> String {
    let mut page = String::new();
    for Judged { kind, verdicts } in types {
        let place = if kind.path.is_empty() { String::new() } else { format!(" (`{}`)", kind.path) };
        let rows = verdicts.iter().map(|(field, verdict)| match verdict {
            Verdict::Supported(text) => row(field, "supported", text),
            Verdict::Differs(text) => row(field, "**differs**", text),
            Verdict::Refused(text) => row(field, "refused", text),
        });
        let added = kind.added.iter().map(|(field, text)| row(field, "**ours**", text));
        let rows: String = rows.chain(added).collect();
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "### {}{place}\n\n| field | here | what to know |\n|---|---|---|\n{rows}\n",
            kind.name
        );
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn row(field: &str, verdict: &str, text: &str) -> String {
    let text = text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ");
    format!("| `{field}` | {verdict} | {text} |\n")
}
