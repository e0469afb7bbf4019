//! The session simulation: a cluster that is edited, restored and replaced, replicas with caches that lag, links that break at either end,
//! boxes whose agent, disk and Docker fail. The decisions are those of the real cores on both sides; everything around them is a step in a
//! list. After every step the invariants must hold; at the end everything is mended, and every box must come to hold and run what the API says,
//! and every status to say so.
//!
//! Runs like any Rust test: `cargo test -p skerry-tests --test simulation`. SKERRY_SIM_STEPS says how many steps (100000), SKERRY_SIM_SEED which
//! (random, and printed). A history that fails is made shorter and written to a file, one step a line; SKERRY_SIM_LOG=FILE plays it again.

#[path = "../../agent/core/src/plan/tests/model.rs"]
#[expect(dead_code, reason = "the planner's own tests need more of it")]
mod model;

/// The model is written as a part of the core.
mod plan {
    pub use skerry_agent_core::{Action, CreateSpec, Join, Namespace};
}
use skerry_agent_core::{
    ContainerId, ContainerState, Desired, Device, HostPort, ImageId, Listener, Memory, Monotonic, Observed,
    ObservedContainer, Outcome, Owner, Ownership, PortClaim, ProbeVerdict, Role, SpecHash, Volume,
    WallMillis, World, probe_tasks,
};

mod boxes;
mod cluster;
mod content;
mod heal;
mod link;
mod replica;
mod shrink;
mod stage;
mod step;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use fastrand::Rng;

use crate::step::Step;

/// Steps of one history.
const HISTORY: usize = 250;
const STEPS: usize = 100_000;

fn main() -> Result<ExitCode> {
    // Cargo and CI ask every target for its tests.
    if std::env::args().any(|argument| argument == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    shrink::silence_panics();
    if let Some(path) = std::env::var_os("SKERRY_SIM_LOG").map(PathBuf::from) {
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let steps: Vec<Step> = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        return Ok(match shrink::play(&steps) {
            None => {
                eprintln!("{} steps: everything holds", steps.len());
                ExitCode::SUCCESS
            }
            Some(failure) => {
                eprintln!("step {} of {}: {}", failure.step, steps.len(), failure.why);
                ExitCode::FAILURE
            }
        });
    }
    let number = |variable: &str| -> Result<Option<u64>> {
        let parse = |text: String| text.parse().with_context(|| format!("{variable}={text}: not a number"));
        std::env::var(variable).ok().map(parse).transpose()
    };
    let steps = number("SKERRY_SIM_STEPS")?.map_or(Ok(STEPS), usize::try_from)?;
    let seed = number("SKERRY_SIM_SEED")?.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("SKERRY_SIM_SEED={seed}, {steps} steps");
    let begun = Instant::now();
    let mut rng = Rng::with_seed(seed);
    for history in 0..steps.div_ceil(HISTORY) {
        let steps = step::draw(&mut rng, HISTORY);
        if let Some(failure) = shrink::play(&steps) {
            report(seed, history, &steps, &failure)?;
            return Ok(ExitCode::FAILURE);
        }
    }
    eprintln!(
        "{} histories of {HISTORY} steps in {:.1} s: everything holds",
        steps.div_ceil(HISTORY),
        begun.elapsed().as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

/// Makes the history shorter, prints it and keeps it.
fn report(seed: u64, history: usize, steps: &[Step], failure: &shrink::Failure) -> Result<()> {
    eprintln!(
        "FAILED with SKERRY_SIM_SEED={seed}, history {history}, step {}: {}",
        failure.step, failure.why
    );
    let (steps, failure) = shrink::shrink(steps, failure);
    let mut log = format!("# {}\n", failure.why.replace('\n', " "));
    for step in &steps {
        writeln!(log, "{}", serde_json::to_string(step)?)?;
    }
    let path = std::env::temp_dir().join(format!("skerry-sim-{seed}-{history}.log"));
    std::fs::write(&path, &log)?;
    eprintln!("{} steps are enough:\n{log}play them again: SKERRY_SIM_LOG={}", steps.len(), path.display());
    Ok(())
}
