//! Random requests against the standalone API, in this process: the corpus of the differential test, mutated. Whatever is asked, the API
//! answers in time, with a Status where it refuses, and goes on.
//!
//! Runs like any Rust test: `cargo test -p skerry-tests --test fuzz`. SKERRY_FUZZ_SECONDS says for how long (10), SKERRY_FUZZ_SEED which
//! requests (random, and printed). A request that failed is printed as it was sent.

mod judge;
mod mutate;
mod request;
#[path = "../differential/script.rs"]
#[expect(dead_code, reason = "the directives that compare answers are not needed here")]
mod script;
mod target;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::mutate::Mutator;
use crate::target::Target;

/// Requests that are under way at once: some wait seconds for a revision that never comes, and should not stop the rest.
const AT_ONCE: usize = 16;
/// Between two looks at everything that is stored.
const LOOK_EVERY: u64 = 2_000;
const SECONDS: u64 = 10;

fn main() -> Result<ExitCode> {
    // Cargo and CI ask every target for its tests.
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    let seconds = number("SKERRY_FUZZ_SECONDS")?.unwrap_or(SECONDS);
    let seed = number("SKERRY_FUZZ_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    rustls::crypto::ring::default_provider().install_default().ok().context("the first TLS provider")?;
    eprintln!("SKERRY_FUZZ_SEED={seed}, {seconds} s");
    judge::watch_for_panics();
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(fuzz(seed, Duration::from_secs(seconds)));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("FAILED with SKERRY_FUZZ_SEED={seed}: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn fuzz(seed: u64, time: Duration) -> Result<()> {
    let target = Arc::new(Target::open().await?);
    let mut mutator = Mutator::new(Rng::with_seed(seed), script::corpus()?);
    let start = Instant::now();
    let mut findings = judge::Findings::default();
    let mut under_way = FuturesUnordered::new();
    let mut sent: u64 = 0;
    while start.elapsed() < time || !under_way.is_empty() {
        while start.elapsed() < time && under_way.len() < AT_ONCE {
            // A task of its own: what waits for this one here must not wait for that one there.
            let (asked, request) = (target.clone(), mutator.request());
            under_way.push(tokio::spawn(async move { asked.ask(request).await }));
            sent += 1;
            if sent.is_multiple_of(LOOK_EVERY) {
                target.look().await?;
            }
        }
        let Some(exchange) = under_way.next().await.transpose()? else { break };
        mutator.learn(&exchange);
        findings.judge(exchange);
        if findings.is_enough() {
            break;
        }
    }
    drop(under_way);
    target.look().await?;
    eprintln!("{sent} requests in {} s; {findings}", start.elapsed().as_secs());
    match findings.count() {
        0 => Ok(()),
        count => bail!("{count} kinds of findings, see above"),
    }
}

fn number(variable: &str) -> Result<Option<u64>> {
    let parse = |text: String| text.parse().with_context(|| format!("{variable}={text}: not a number"));
    std::env::var(variable).ok().map(parse).transpose()
}
