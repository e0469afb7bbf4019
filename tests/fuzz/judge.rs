//! What an answer must be, whatever was asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::request::{Answer, Exchange, Outcome, Request};

/// The longest time that an answer may take: a future revision is waited for, for three seconds.
pub const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Kinds of findings after which there is no more to learn from this run.
const ENOUGH: usize = 20;

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A panic anywhere is a finding, also one in a task of its own.
pub fn watch_for_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::force_capture();
        eprintln!("{panic}\n{trace}");
        PANICS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(panic.to_string());
    }));
}

/// What was found, one example of each kind.
#[derive(Debug, Default)]
pub struct Findings {
    found: BTreeMap<String, u64>,
    statuses: BTreeMap<u16, u64>,
    not_http: u64,
    slowest: Duration,
}

impl Findings {
    pub fn judge(&mut self, exchange: Exchange) {
        let Exchange { request, time, outcome } = exchange;
        let panics = std::mem::take(&mut *PANICS.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for panic in panics {
            let at = panic.lines().next().unwrap_or_default().to_owned();
            self.note(&format!("panic: {at}"), &request, &panic);
        }
        self.slowest = self.slowest.max(time);
        match outcome {
            Outcome::NotHttp => self.not_http += 1,
            Outcome::Late => self.note("no answer in time", &request, ""),
            Outcome::Broken(why) => self.note("no whole answer", &request, &why),
            Outcome::Answered(answer) => {
                *self.statuses.entry(answer.status).or_default() += 1;
                if let Err(why) = check(&answer) {
                    let body = String::from_utf8_lossy(&answer.body);
                    let shown: String = body.chars().take(2000).collect();
                    self.note(&why, &request, &format!("{} {}\n{shown}", answer.status, answer.content_type));
                }
            }
        }
    }

    fn note(&mut self, kind: &str, request: &Request, more: &str) {
        let count = self.found.entry(kind.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            eprintln!("---- {kind}\n{request}\n{more}\n----");
        }
    }

    pub fn count(&self) -> usize {
        self.found.len()
    }

    pub fn is_enough(&self) -> bool {
        self.found.len() >= ENOUGH
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, statuses, not_http, slowest } = self;
        write!(f, "{statuses:?}, {not_http} were no HTTP, the slowest took {slowest:?}; found: {found:?}")
    }
}

fn check(answer: &Answer) -> Result<(), String> {
    let is_json = answer.content_type.starts_with("application/json");
    if (200..300).contains(&answer.status) {
        if !is_json {
            return Ok(());
        }
        let documents = serde_json::Deserializer::from_slice(&answer.body).into_iter::<Value>();
        for document in documents {
            document.map_err(|error| format!("{} with a body that is no JSON: {error}", answer.status))?;
        }
        return Ok(());
    }
    if (300..400).contains(&answer.status) {
        return Ok(());
    }
    if answer.content_type.starts_with("text/plain") {
        let text = String::from_utf8_lossy(&answer.body);
        let known = matches!(
            (answer.status, text.trim_end()),
            (404, "404 page not found" | "") | (405, "Method Not Allowed") | (406, _)
        );
        return if known { Ok(()) } else { Err(format!("{} with plain text", answer.status)) };
    }
    if answer.status == 404 && answer.content_type.is_empty() && answer.body.is_empty() {
        // A document of /openapi/v3 that there is not, as a real server says it.
        return Ok(());
    }
    let status: Value =
        serde_json::from_slice(&answer.body).map_err(|_| format!("{} without JSON", answer.status))?;
    if status["kind"] != "Status" || status["status"] != "Failure" || status["code"] != answer.status {
        return Err(format!("{} without a Status", answer.status));
    }
    let reason = status["reason"].as_str().unwrap_or_default();
    let message = status["message"].as_str().unwrap_or_default();
    if answer.status >= 500 && !is_known_failure(reason, message) {
        let digest: String = message
            .chars()
            .take(40)
            .take_while(|letter| !letter.is_ascii_digit() && *letter != '"')
            .collect();
        return Err(format!("{} {reason}: {digest}", answer.status));
    }
    Ok(())
}

/// Failures that a real server has too: a revision that does not come, and errors that it gives no reason of their own.
fn is_known_failure(reason: &str, message: &str) -> bool {
    match reason {
        "Timeout" => message.starts_with("Timeout: Too large resource version"),
        "" => KNOWN.iter().any(|known| message.starts_with(known)),
        _ => false,
    }
}

const KNOWN: [&str; 10] = [
    "resourceVersion: Invalid value: ",
    "strconv.ParseUint: parsing ",
    "resourceVersion should not be set on objects to be created",
    "failed to create typed patch object (",
    "unknown patch type: ",
    // Of strategic merge patches.
    "list element types are not identical: ",
    "map: map[",
    "unable to find api field in struct ",
    "expected a []interface {}, but received a ",
    "merging an object in json but data type is not struct, instead is: ",
];
