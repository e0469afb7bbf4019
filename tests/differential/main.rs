//! Differential tests: the same requests go to two API servers, a real kube-apiserver and Skerry's standalone one, and the answers must be
//! the same but for what `accepted.rs` names. The requests are in `corpus/*.http`, see `script.rs` for how they are written.
//!
//! Runs like any Rust test: `cargo test -p skerry-tests --test differential [FILTER]`. Two servers that run already:
//! `… -- --left KUBECONFIG --right KUBECONFIG`, or the variables SKERRY_LEFT and SKERRY_RIGHT; both need Skerry's CRDs.
//! `--print` says what the left one answers; SKERRY_NO_ACCEPTED=1 accepts no difference, for two real servers.

mod accepted;
mod answer;
mod diff;
mod play;
mod script;
mod servers;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::accepted::Accepted;
use crate::script::Scenario;
use crate::servers::Servers;

/// Scenarios mostly wait for answers; more of them than cores keep a small machine busy.
const THREADS: usize = 6;

fn main() -> Result<ExitCode> {
    let (mut arguments, chosen) = servers::arguments()?;
    arguments.test_threads.get_or_insert(THREADS);
    rustls::crypto::ring::default_provider().install_default().ok().context("the first TLS provider")?;
    let scenarios = script::corpus()?;
    let runtime = Arc::new(Runtime::new()?);
    let servers =
        if arguments.list { None } else { Some(Arc::new(runtime.block_on(Servers::start(chosen))?)) };
    // Two real servers must not differ at all.
    let listed =
        if servers.as_ref().is_some_and(|servers| servers.is_standalone()) { accepted::LIST } else { &[] };
    let accepted = Arc::new(Accepted::new(listed));
    let steps: usize = scenarios.iter().map(|scenario| scenario.steps.len()).sum();
    let trials = scenarios.into_iter().map(|scenario| {
        let (servers, accepted, runtime) = (servers.clone(), accepted.clone(), runtime.clone());
        Trial::test(scenario.name.clone(), move || {
            let outcome = runtime.block_on(compare(servers, &accepted, &scenario));
            outcome.map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(servers);
    let complete =
        conclusion.num_filtered_out == 0 && conclusion.num_ignored == 0 && !conclusion.has_failed();
    if !arguments.list && complete {
        eprintln!("{steps} requests in {} scenarios", conclusion.num_passed);
        for entry in accepted.unused() {
            eprintln!(
                "accepted.rs: this difference does not occur any more, remove it: {} / {} / {} ({})",
                entry.scenario, entry.step, entry.at, entry.reason
            );
        }
        if !accepted.unused().is_empty() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(conclusion.exit_code())
}

/// Plays a scenario on both servers and fails with every difference that is not accepted.
async fn compare(servers: Option<Arc<Servers>>, accepted: &Accepted, scenario: &Scenario) -> Result<()> {
    let servers = servers.context("a listing runs no test")?;
    let namespace = servers.namespace();
    let (left, right) = tokio::try_join!(
        play::play(&servers.left, &namespace, scenario),
        play::play(&servers.right, &namespace, scenario)
    )?;
    if servers.print {
        for (step, outcome) in diff::asked(scenario).zip(&left) {
            eprintln!("{} | {} | {} | {}", scenario.name, step.name, outcome.request, outcome.answer);
        }
    }
    diff::judge(scenario, &left, &right, accepted)
}

/// The arguments that libtest knows.
fn known(arguments: Vec<String>) -> Arguments {
    Arguments::from_iter(arguments)
}
