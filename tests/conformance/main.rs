//! What Kubernetes promises of a pod, held against an EdgeApp: through the API at one end, with `docker inspect` and from inside the
//! containers at the other. Each case names the Kubernetes test or the sentence of its documentation that it stands on.
//!
//! Runs like any Rust test: `cargo test -p skerry-tests --test conformance [FILTER]`. `SKERRY_CASES=1` prints the cases with what they
//! stand on and runs none.

mod app;
mod case;
mod groups;
mod images;
mod scene;
mod servers;
mod stage;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use skerry_tests::build;
use tokio::runtime::Runtime;

use crate::case::Case;
use crate::scene::Scene;
use crate::stage::Stage;

/// Cases mostly wait: for Docker, for a probe's period, for a back-off.
const THREADS: usize = 8;
/// What is promised. Fewer are no longer a suite.
const CASES_MIN: usize = 120;

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    if std::env::var_os("SKERRY_CASES").is_some() {
        list();
        return Ok(ExitCode::SUCCESS);
    }
    rustls::crypto::ring::default_provider().install_default().ok().context("the first TLS provider")?;
    let runtime = Arc::new(Runtime::new()?);
    let mut stage = None;
    if !arguments.list {
        build(&["test-image.sh"])?;
        runtime.block_on(images::make())?;
        stage = Some(runtime.block_on(Stage::start())?);
    }
    let mut trials = Vec::new();
    for (group, cases) in groups::all() {
        for case in cases {
            let (stage, runtime) = (stage.clone(), runtime.clone());
            let name = format!("{group}::{}", case.name);
            trials.push(Trial::test(name, move || {
                let stage = stage.ok_or("a listing runs no case")?;
                runtime.block_on(play(stage, &case)).map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    drop(stage);
    let enough = trials.len() >= CASES_MIN;
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The runtime's last handle drops the stage: everything that was started is ended.
    drop(runtime);
    if !arguments.list {
        sum_up(&conclusion);
    }
    ensure!(enough, "fewer than {CASES_MIN} cases are there: some were lost");
    Ok(conclusion.exit_code())
}

#[expect(clippy::print_stdout, reason = "the last line of what was run")]
fn sum_up(conclusion: &Conclusion) {
    println!("{} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
}

/// Plays one case in a namespace of its own, which goes with it.
async fn play(stage: Arc<Stage>, case: &Case) -> Result<()> {
    let scene = Scene::open(stage).await?;
    let played = case.play(scene.clone()).await;
    let closed = scene.close().await;
    played.with_context(|| case.stands_on)?;
    closed
}

#[expect(clippy::print_stdout, reason = "this is what was asked for")]
fn list() {
    for (group, cases) in groups::all() {
        for case in cases {
            println!("{group}::{}\t{}", case.name, case.stands_on);
        }
    }
}
