//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  skerry-controller run --kubeconfig ~/.kube/config
  skerry-controller run --listen 127.0.0.1:7443 --http-listen 127.0.0.1:8080 --log-format json
  RUST_LOG=debug skerry-controller run
  skerry-controller completion bash > /etc/bash_completion.d/skerry-controller";

/// The cloud side of Skerry: watches EdgeApps and EdgeNodes, tells each edge node what to run, and writes what the nodes report.
#[derive(Debug, Parser)]
#[command(name = "skerry-controller", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller until SIGTERM or SIGINT
    #[command(after_help = EXAMPLES)]
    Run(RunArgs),
    /// Print a completion script for your shell
    Completion {
        #[arg(value_enum)]
        shell: CompletionShell,
    },
}

#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// How to reach the API server; default: $KUBECONFIG, ~/.kube/config, or the service account of a pod
    #[arg(long, env = "SKERRY_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Where agents connect; plain text for now, so only a loopback address is taken
    #[arg(long, env = "SKERRY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:7443")]
    pub listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "SKERRY_HTTP_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub http_listen: SocketAddr,

    /// How log lines look; what is logged: RUST_LOG, default info
    #[arg(long, env = "SKERRY_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// Name of this replica in the status of the nodes that it serves; default: the host name
    #[arg(long, env = "SKERRY_REPLICA", value_name = "NAME")]
    pub replica: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

impl From<CompletionShell> for Shell {
    fn from(shell: CompletionShell) -> Self {
        match shell {
            CompletionShell::Bash => Shell::Bash,
            CompletionShell::Zsh => Shell::Zsh,
            CompletionShell::Fish => Shell::Fish,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
