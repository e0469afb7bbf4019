//! The clients people have, as they run them: kubectl and helm, each in an old and a new version, against one API server. No controller
//! runs; where a status matters, a test writes it. `tests/kube/clients.sh` gets the clients.
//!
//! Runs like any Rust test: `cargo test -p skerry-tests --test clients [FILTER]`. Against a server that runs already and has Skerry's CRDs:
//! `… -- --server KUBECONFIG`, or the variable SKERRY_SERVER; against a real kube-apiserver that is started: `--server real`.

mod helm;
mod kubectl;
mod tool;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::tool::Workbench;

/// A client is a process of its own that starts for longer than it waits; a few more than cores hide the waits.
const THREADS: usize = 4;

/// Turns test functions into trials, one for each version of the client.
macro_rules! trials {
    ($bench:ident, $runtime:ident; $module:ident, $versions:expr; $($name:ident),* $(,)?) => {
        $versions.iter().flat_map(|version: &&'static str| vec![$({
            let (bench, runtime, version) = ($bench.clone(), $runtime.clone(), *version);
            Trial::test(format!("{version}::{}", stringify!($name)), move || {
                let play = async {
                    let bench = bench.context("a listing runs no test")?;
                    $module::$name(bench.tool(version).await?).await
                };
                runtime.block_on(play).map_err(|error| Failed::from(format!("{error:#}")))
            })
        }),*])
    };
}

fn main() -> Result<ExitCode> {
    let (mut arguments, server) = arguments()?;
    arguments.test_threads.get_or_insert(THREADS);
    rustls::crypto::ring::default_provider().install_default().ok().context("the first TLS provider")?;
    let runtime = Arc::new(Runtime::new()?);
    let bench =
        if arguments.list { None } else { Some(Arc::new(runtime.block_on(Workbench::start(server))?)) };
    let mut trials: Vec<Trial> = trials! { bench, runtime; kubectl, ["kubectl-1.29", "kubectl-1.37"];
        applying_twice_changes_nothing, a_file_of_several_kinds_is_applied, a_folder_is_applied_with_kustomize,
        diff_tells_by_its_exit_code, an_editor_changes_an_app, patches_of_both_kinds, labels_and_annotations,
        every_output_format, several_kinds_and_short_names, tables_of_built_in_kinds, a_watch_sees_a_change,
        describe_shows_the_spec_and_the_events, events_are_listed, explain_knows_the_fields, deleting_by_file_label_and_name,
        a_deletion_that_waits, waiting_for_a_condition_a_path_and_a_deletion, generators_create_objects,
        creating_twice_is_refused, replacing_and_forcing, a_server_dry_run_stores_nothing,
        a_server_side_apply_conflicts_until_forced, an_unknown_field_is_refused_by_name, the_status_is_patched_apart,
        kinds_and_versions_are_listed, rights_and_identity, what_is_missing_is_said, lists_come_in_chunks,
        a_raw_request_is_answered, a_deleted_namespace_is_terminating_or_gone
    }
    .collect();
    trials.extend(trials! { bench, runtime; helm, ["helm-3", "helm-4"];
        a_release_lives_and_ends, a_release_is_upgraded_and_rolled_back, installing_twice_is_refused,
        waiting_for_apps_to_be_ready, a_bad_upgrade_fails_and_is_undone, a_template_is_applied_by_kubectl,
        a_dry_run_installs_nothing, a_release_keeps_what_others_changed
    });
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(bench);
    Ok(conclusion.exit_code())
}

/// Takes `--server KUBECONFIG` out of the command line, and leaves the rest to libtest's.
fn arguments() -> Result<(Arguments, Option<String>)> {
    let mut server = std::env::var("SKERRY_SERVER").ok();
    let mut rest = Vec::new();
    let mut given = std::env::args();
    while let Some(argument) = given.next() {
        if argument == "--server" {
            server = Some(given.next().context("--server needs a kubeconfig, or the word real")?);
        } else {
            rest.push(argument);
        }
    }
    Ok((Arguments::from_iter(rest), server))
}
