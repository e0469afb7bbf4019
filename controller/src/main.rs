//! The cloud side of Skerry. It watches EdgeApps and EdgeNodes, computes what each node must run, tells the nodes over one gRPC
//! stream each, and writes what they report. See `ARCHITECTURE.md` for the map.

mod args;
mod delay;
mod grpc;
mod hub;
mod k8s;
mod metrics;
mod ops;
mod readiness;
mod run;
mod standalone;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use tracing::error;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, LogFormat, Standalone};
use skerry_terms::Chain;

/// Hub, watches and sessions: the hub is one task, so more threads would only help encryption, which is not this build's.
const WORKERS: usize = 2;

/// What is logged unless RUST_LOG says otherwise. The Kubernetes client logs each failed try as an error; every such failure is
/// handled and told once by whoever asked.
const DEFAULT_FILTER: &str = "info,kube_client=off";

fn main() -> ExitCode {
    // Before anything else that speaks TLS: no provider is chosen by the crates' features alone.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    let done = match Cli::parse().command {
        Command::Run(args) => {
            log(args.replica.log_format);
            on_runtime(run::run(args))
        }
        Command::Standalone(Standalone { command: None, run }) => {
            log(run.replica.log_format);
            on_runtime(standalone::run(run))
        }
        Command::Standalone(Standalone { command: Some(command), .. }) => {
            log(LogFormat::Text);
            standalone::command(command)
        }
        Command::Completion { shell } => {
            let shell = clap_complete::Shell::from(shell);
            clap_complete::generate(shell, &mut Cli::command(), "skerry-controller", &mut std::io::stdout());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            error!("{}", Chain(failed.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn on_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let result = runtime.block_on(work);
    // Watches and sessions that still wait for the network hold nothing that must be finished.
    runtime.shutdown_background();
    result
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
}
