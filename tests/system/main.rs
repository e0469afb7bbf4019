//! Whole-system tests: `kubectl` at one end, containers in a real Docker Engine at the other. Each runs on both control planes, a real
//! kube-apiserver and the standalone API; they share one of each with its controller, except those that break them.
//!
//! Runs like any Rust test: `cargo test -p skerry-tests --test system [FILTER]`; SKERRY_CONTROL_PLANE=kube or standalone picks one.

/// Turns test functions into trials that get the shared site.
macro_rules! trials {
    ($plane:ident, $site:ident, $runtime:ident; $($module:ident: $($name:ident),* ;)*) => {
        vec![$($({
            let (site, runtime) = ($site.clone(), $runtime.clone());
            Trial::test(concat!(stringify!($module), "::", stringify!($name)), move || {
                runtime.block_on($module::$name(site)).map_err(|error| Failed::from(format!("{error:#}")))
            })
            .with_kind($plane.name())
        }),*),*]
    };
}

mod apply;
mod autonomy;
mod config;
mod faults;
mod images;
mod lifecycle;
mod network;
mod onbox;
mod placement;
mod secrecy;
mod standalone;
mod telling;
mod trust;
mod upgrade;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use skerry_tests::{Plane, Site, build};
use tokio::runtime::Runtime;

/// Tests mostly wait; more of them than cores keep a small machine busy.
const THREADS: usize = 4;

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    rustls::crypto::ring::default_provider().install_default().ok().context("the first TLS provider")?;
    let runtime = Arc::new(Runtime::new()?);
    let planes = match std::env::var("SKERRY_CONTROL_PLANE") {
        Ok(name) => vec![name.parse()?],
        Err(_) => Plane::ALL.to_vec(),
    };
    if !arguments.list {
        build(&["test-image.sh"])?;
    }
    let mut all = Vec::new();
    for plane in planes {
        let site = if arguments.list { None } else { Some(runtime.block_on(Site::start(plane))?) };
        all.extend(trials(plane, &site, &runtime));
        match plane {
            Plane::Standalone => all.extend(standalone::trials(&site, &runtime)),
            Plane::Kube => all.extend(trials! { plane, site, runtime; apply: the_crds_are_applied_plainly; }),
        }
    }
    let conclusion = libtest_mimic::run(&arguments, all);
    // The runtime's last handle drops the site: everything that was started is ended.
    drop(runtime);
    Ok(conclusion.exit_code())
}

/// Every test, on one control plane.
fn trials(plane: Plane, site: &Shared, runtime: &Arc<Runtime>) -> Vec<Trial> {
    trials! { plane, site, runtime;
        apply: a_bad_spec_is_refused_by_name, applying_twice_changes_nothing, explain_documents_every_field,
            an_app_is_listed_with_its_columns, a_refusal_is_listed_with_its_rule;
        lifecycle: an_app_is_deployed_and_served, a_changed_variable_makes_a_new_container,
            a_label_on_the_object_restarts_nothing, a_node_label_moves_the_app, a_deleted_app_leaves_nothing,
            limits_and_names_reach_docker, a_job_runs_once, a_crash_loop_shows_its_back_off,
            an_empty_set_is_not_no_set;
        network: containers_of_an_app_share_localhost, a_taken_port_fails_by_name_and_the_holder_serves_on,
            an_update_to_a_taken_port_keeps_the_old_container, two_nodes_on_one_engine_are_kept_apart,
            the_host_network_is_the_hosts;
        images: an_image_comes_from_a_registry, a_missing_image_fails_in_the_registrys_words,
            a_missing_image_leaves_the_old_container_serving, never_means_never;
        placement: the_first_variant_that_matches_is_taken, a_selector_takes_the_nodes_that_match,
            a_taint_keeps_away_what_does_not_tolerate_it, a_cordon_keeps_what_runs_and_lets_nothing_new_in,
            as_many_replicas_run_as_are_asked_for, a_replica_leaves_its_node_only_when_it_must,
            what_does_not_fit_is_not_placed_and_says_why, a_device_goes_round_by_its_count,
            two_new_apps_with_one_port_stop_nothing;
        config: what_is_missing_is_waited_for_by_name, a_mounted_file_follows_without_a_restart,
            a_variable_follows_in_a_new_container_of_its_own, a_deleted_secret_leaves_what_runs_alone,
            config_goes_to_the_nodes_that_run_the_app_alone, a_restarted_agent_serves_config_with_no_controller;
        autonomy: a_killed_agent_restarts_nothing, a_stopped_agent_restarts_nothing,
            a_container_comes_back_with_no_controller, a_corrupt_state_is_kept_aside_and_nothing_is_touched,
            a_foreign_container_is_not_touched, a_missing_docker_is_waited_for;
        onbox: an_app_is_handed_over_used_and_taken_back, a_file_in_the_folder_runs_is_edited_and_goes,
            a_box_that_joins_later_restarts_nothing, a_device_that_a_cloud_app_has_is_not_taken;
        secrecy: a_secret_is_told_nowhere;
        faults: a_controller_restart_touches_no_container, an_api_server_restart_is_survived,
            a_node_that_is_away_is_unknown, a_deleted_node_comes_back_as_a_new_one;
        telling: what_happened_with_no_controller_is_told_with_its_own_time,
            a_box_with_a_wrong_clock_is_reported_and_works, a_lease_tells_whether_anybody_keeps_the_status;
        trust: plain_text_beyond_loopback_is_refused, a_bad_config_is_one_clear_line,
            garbage_ends_that_session_only, the_second_agent_on_a_state_is_refused;
        upgrade: a_new_version_meets_the_controller_before_it_is_trusted;
    }
}

/// The shared site of a trial.
type Shared = Option<Arc<Site>>;

fn shared(site: Shared) -> Result<Arc<Site>> {
    site.context("a listing runs no test")
}
