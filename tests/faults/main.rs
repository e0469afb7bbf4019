//! Breaks things under a real agent with real containers: kills it at every step, takes Docker, the disk, the clock, the link away. After each
//! fault the same checker looks (`check.rs`): exactly what is desired runs, nothing is left over, nothing was restarted without need, and the
//! status says so.
//!
//! Runs like any Rust test: `cargo test -p skerry-tests --test faults [FILTER]`, or `make test-faults FILTER=…`.

mod apps;
mod chaos;
mod check;
mod clock;
mod disk;
mod engine;
mod gate;
mod link;
mod offline;
mod registry;
mod state;
mod steps;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use skerry_tests::build;
use tokio::runtime::Runtime;

/// Tests mostly wait: for Docker, for a deadline, for a back-off.
const THREADS: usize = 6;

/// Turns test functions into trials.
macro_rules! trials {
    ($runtime:ident; $($module:ident: $($name:ident),* ;)*) => {
        vec![$($({
            let runtime = $runtime.clone();
            Trial::test(concat!(stringify!($module), "::", stringify!($name)), move || {
                runtime.block_on($module::$name()).map_err(|error| Failed::from(format!("{error:#}")))
            })
        }),*),*]
    };
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    rustls::crypto::ring::default_provider().install_default().ok().context("the first TLS provider")?;
    let runtime = Arc::new(Runtime::new()?);
    if !arguments.list {
        build(&["test-image.sh"])?;
    }
    // Those that take longest first.
    let trials = trials! { runtime;
        steps: a_kill_before_every_step_of_a_roll_back, a_kill_in_every_step_of_a_roll_back, a_kill_at_every_step_of_a_start_and_a_removal,
            a_kill_at_every_step_of_an_update, a_kill_at_every_step_of_an_update_side_by_side;
        engine: a_restart_of_docker_at_every_step_of_an_update, a_restart_of_docker_at_every_step_of_a_start,
            a_power_cut_is_survived_with_no_network, a_docker_that_is_absent_at_boot_is_waited_for,
            a_docker_that_hangs_is_said_and_survived;
        chaos: faults_at_random_leave_nothing_wrong;
        link: a_cut_link_is_made_up_for, a_half_open_link_is_noticed_and_left, a_slow_link_carries_everything,
            names_that_nobody_resolves_hold_nothing_up;
        state: damage_anywhere_in_the_desired_state_touches_no_container,
            damage_anywhere_in_the_local_state_touches_no_container,
            an_agent_that_was_stopped_for_a_while_catches_up;
        clock: a_clock_that_jumps_neither_restarts_nor_delays_anything;
        offline: all_that_an_app_has_works_from_disk_alone;
        registry: a_registry_that_stalls_mid_layer_holds_up_nobody_else;
    };
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(runtime);
    Ok(conclusion.exit_code())
}
