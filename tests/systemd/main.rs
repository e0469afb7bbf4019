//! The agent under a real systemd: its unit, its watchdog, its upgrades, its installation. Each test has a machine of its own, a container whose
//! PID 1 is systemd (tests/host/systemd-image.sh); containers are those of the machine's real Docker.
//!
//! `cargo test -p skerry-tests --test systemd [FILTER]`

mod place;
mod unit;
mod upgrade;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use skerry_tests::build;
use tokio::runtime::Runtime;

/// Each is a machine that boots.
const THREADS: usize = 3;

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
    let runtime = Arc::new(Runtime::new()?);
    if !arguments.list {
        build(&["test-image.sh", "systemd-image.sh"])?;
    }
    let trials = trials! { runtime;
        upgrade: a_version_that_does_not_stand_gives_way, a_version_that_keeps_dying_later_goes_back,
            a_new_version_takes_over_and_so_does_the_one_before, what_cannot_be_an_agent_of_this_box_is_not_even_tried,
            a_stop_during_an_upgrade_ends_both, a_kill_during_an_upgrade_leaves_the_old_version;
        unit: a_stuck_agent_is_killed_by_the_watchdog_and_an_idle_one_is_not,
            installing_twice_changes_nothing_and_taking_away_leaves_the_containers,
            a_stop_and_a_start_touch_no_container, a_killed_agent_is_started_again;
    };
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}
