//! An agent that is broken in one way, for the tests of upgrades: it answers a self-check as a good one does, and fails later. Needs no library, so
//! that it is small. Which way is written behind the end of the program itself, since an upgrade copies a binary and nothing else.

use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

/// Between the program and the way.
const MARK: &str = "\nskerry-broken-agent=";

fn main() -> io::Result<()> {
    let program = std::fs::read("/proc/self/exe")?;
    let tail = String::from_utf8_lossy(&program[program.len().saturating_sub(64)..]).into_owned();
    let way = tail.rsplit_once(MARK).map(|(_, way)| way.to_owned()).unwrap_or_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let on_trial = arguments.iter().any(|argument| argument == "--on-trial");
    match (arguments.first().map(String::as_str), way.as_str()) {
        (Some("self-check"), "mute") => std::process::exit(1),
        (Some("self-check"), "unfit") => {
            say(
                r#"{"name": "skerry-agent", "version": "9.9.9", "handOver": 1, "problems": ["the box is too small"]}"#,
            )?;
        }
        (Some("self-check"), _) => say(r#"{"name": "skerry-agent", "version": "9.9.9", "handOver": 1}"#)?,
        (Some("run"), "dies") => std::process::exit(1),
        (Some("run"), "hangs") => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        (Some("run"), "refuses") if on_trial => {
            say(r#"{"stands": false, "why": "out of sorts"}"#)?;
        }
        // As one does that crashes on the first thing that happens.
        (Some("run"), "falls") if on_trial => {
            io::stdin().lock().read_line(&mut String::new())?;
            say(r#"{"stands": true}"#)?;
            std::thread::sleep(Duration::from_secs(3));
            std::process::exit(101);
        }
        (command, way) => return Err(io::Error::other(format!("{command:?} of {way:?} is not in the test"))),
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
