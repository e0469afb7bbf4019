//! Random input for what reads the words of others, for a bounded time. A property that fails is shrunk, and printed with its seed.
//!
//! Runs like any Rust test; `make fuzz` for longer. SKERRY_FUZZ_SECONDS says for how long each target runs (2), SKERRY_FUZZ_SEED with what (random,
//! and printed when it fails).

mod expansion;
mod spec;

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};

const SECONDS: u64 = 2;
/// Cases between two looks at the clock.
const ROUND: u32 = 32;

/// Tries the property until the time is over.
fn fuzz<S: Strategy>(strategy: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let seconds = number("SKERRY_FUZZ_SECONDS").unwrap_or(SECONDS);
    let seed = number("SKERRY_FUZZ_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let config = Config { cases: ROUND, failure_persistence: None, ..Config::default() };
    let start = Instant::now();
    let mut rounds: u64 = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&rounds.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        if let Err(error) = TestRunner::new_with_rng(config.clone(), random).run(&strategy, &property) {
            panic!("SKERRY_FUZZ_SEED={seed}, round {rounds}: {error}");
        }
        rounds += 1;
    }
    assert!(rounds > 0, "nothing was tried in {seconds} s");
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}: not a number")))
}
