//! `skerry-agent check`: what was found, for people and for scripts.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use serde::Serialize;

use super::status::one_line;
use super::{CheckArgs, CheckOutput};
use crate::check::{Finding, Outcome, Site, check as run_checks};
use crate::clock::wall_now;

/// The exit code when a check failed.
const FAILED: u8 = 3;
/// Columns that a reader's terminal has at least. Words longer than that are not cut: they are paths to be copied.
const COLUMNS: usize = 100;

/// What is printed as JSON. Fields are added, never changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<'a> {
    agent_version: &'static str,
    node: &'a str,
    /// By the box's clock, RFC 3339.
    checked_at: String,
    warnings: usize,
    failures: usize,
    checks: &'a [Finding],
}

impl<'a> Report<'a> {
    pub(crate) fn of(site: &'a Site, checks: &'a [Finding]) -> Self {
        Self {
            agent_version: env!("CARGO_PKG_VERSION"),
            node: site.config.node.as_str(),
            checked_at: crate::admin::view::time(wall_now()),
            warnings: count(checks, Outcome::Warning),
            failures: count(checks, Outcome::Failure),
            checks,
        }
    }
}

/// What is printed, and the exit code.
pub async fn check(args: CheckArgs) -> Result<(String, u8), (String, u8)> {
    let CheckArgs { whole, output, only } = args;
    let site = Arc::new(whole.site().map_err(|error| (skerry_terms::Chain(&error).to_string(), 2))?);
    let mut progress = Progress::start();
    let findings =
        run_checks(site.clone(), &only.unwrap_or_default(), &mut |names| progress.show(names)).await;
    progress.end();
    let text = match output {
        CheckOutput::Table => table(&findings, is_coloured()),
        CheckOutput::Json => {
            let text = serde_json::to_string_pretty(&Report::of(&site, &findings));
            text.map_err(|error| (error.to_string(), 1))? + "\n"
        }
    };
    Ok((text, if count(&findings, Outcome::Failure) > 0 { FAILED } else { 0 }))
}

fn count(findings: &[Finding], outcome: Outcome) -> usize {
    findings.iter().filter(|finding| finding.outcome == outcome).count()
}

/// A line on a terminal that says what is waited for, and goes again. Nothing where there is no terminal.
pub(super) struct Progress {
    shown: bool,
}

impl Progress {
    pub fn start() -> Self {
        Self { shown: std::io::stderr().is_terminal() }
    }

    pub fn show(&mut self, names: &[&str]) {
        if self.shown && !names.is_empty() {
            let line: String =
                format!("waiting for {}", names.join(", ")).chars().take(COLUMNS - 1).collect();
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    pub fn end(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn is_coloured() -> bool {
    // https://no-color.org
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !unwanted
}

/// One line of found per check, wrapped, and below it what to do.
pub(crate) fn table(findings: &[Finding], coloured: bool) -> String {
    let id_width = findings.iter().map(|finding| finding.id.len()).max().unwrap_or(0);
    let outcome_width = Outcome::Warning.word().len();
    let indent = outcome_width + 2 + id_width + 2;
    let mut text = String::new();
    for finding in findings {
        let word = format!("{:outcome_width$}", finding.outcome.word());
        let word = match (coloured, finding.outcome) {
            (false, _) => word,
            (true, Outcome::Ok) => format!("\x1b[32m{word}\x1b[0m"),
            (true, Outcome::Warning) => format!("\x1b[33m{word}\x1b[0m"),
            (true, Outcome::Failure) => format!("\x1b[31m{word}\x1b[0m"),
        };
        let lines = wrap(&one_line(&finding.found), COLUMNS.saturating_sub(indent));
        let fix = match finding.fix.is_empty() {
            true => Vec::new(),
            false => wrap(&format!("fix: {}", one_line(&finding.fix)), COLUMNS.saturating_sub(indent)),
        };
        for (i, line) in lines.into_iter().chain(fix).enumerate() {
            match i {
                0 => drop(writeln!(text, "{word}  {:id_width$}  {line}", finding.id)),
                _ => drop(writeln!(text, "{:indent$}{line}", "")),
            }
        }
    }
    let (warnings, failures) = (count(findings, Outcome::Warning), count(findings, Outcome::Failure));
    let _ = writeln!(text, "{} checks: {failures} failed, {warnings} with a warning", findings.len());
    text
}

/// At blanks only.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        match line.is_empty() {
            true => line.push_str(word),
            false if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            false => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let finding = |id, outcome, found: &str, fix: &str| Finding {
            id,
            outcome,
            found: found.to_owned(),
            fix: fix.to_owned(),
        };
        vec![
            finding("docker", Outcome::Ok, "answers at /var/run/docker.sock", ""),
            finding(
                "docker-version",
                Outcome::Failure,
                "19.03.15, API 1.40: older than 20.10\nand so much older that nothing can be done about it",
                "install Docker Engine 20.10 or newer",
            ),
            finding("clock", Outcome::Warning, "no", "set it"),
        ]
    }

    #[test]
    fn a_table_is_aligned_and_fits() {
        let expected = "\
ok       docker          answers at /var/run/docker.sock
failure  docker-version  19.03.15, API 1.40: older than 20.10 and so much older that nothing can be
                         done about it
                         fix: install Docker Engine 20.10 or newer
warning  clock           no
                         fix: set it
3 checks: 1 failed, 1 with a warning
";
        let text = table(&findings(), false);
        assert_eq!(text, expected, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
        let coloured = table(&findings(), true);
        assert!(coloured.contains("\x1b[31mfailure\x1b[0m  docker-version  19"), "{coloured}");
    }
}
