//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  skerry-controller run --kubeconfig ~/.kube/config
  skerry-controller run --listen 127.0.0.1:7443 --http-listen 127.0.0.1:8080 --log-format json
  skerry-controller standalone
  RUST_LOG=debug skerry-controller run
  skerry-controller completion bash > /etc/bash_completion.d/skerry-controller";

/// Where the data of a service is, beside `/var/lib/skerry` of an agent on the same machine.
pub const SYSTEM_DATA_DIR: &str = "/var/lib/skerry-controller";

const STANDALONE_EXAMPLES: &str = "\
Examples:
  skerry-controller standalone
  skerry-controller standalone --data-dir /srv/skerry --api-listen 0.0.0.0:6443 --allow-remote \\
      --tls-san skerry.plant.example
  kubectl --kubeconfig /var/lib/skerry-controller/admin.kubeconfig get edgenodes
  skerry-controller standalone user add ci --role editor --namespace plant-a \\
      --kubeconfig ci.kubeconfig
  skerry-controller standalone backup /mnt/usb/skerry-2026-11-24.db
  skerry-controller standalone restore /mnt/usb/skerry-2026-11-24.db --data-dir /srv/new \\
      --key-file secrets.key";

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
    /// Run the controller with an API of its own, without a Kubernetes cluster
    ///
    /// It writes `admin.kubeconfig` into its data directory; kubectl, helm and other clients work with that. What it serves and what
    /// not: docs/standalone.md.
    #[command(after_help = STANDALONE_EXAMPLES, args_conflicts_with_subcommands = true)]
    Standalone(Standalone),
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

    #[command(flatten)]
    pub replica: ReplicaArgs,
}

/// What every controller is told, whichever API it works on.
#[derive(Debug, Clone, Args)]
pub struct ReplicaArgs {
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

#[derive(Debug, Args)]
pub struct Standalone {
    #[command(subcommand)]
    pub command: Option<StandaloneCommand>,

    #[command(flatten)]
    pub run: StandaloneArgs,
}

#[derive(Debug, Clone, Args)]
pub struct StandaloneArgs {
    #[command(flatten)]
    pub data: DataArgs,

    /// Where kubectl and other clients reach the API, by HTTPS
    #[arg(long, env = "SKERRY_API_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:6443")]
    pub api_listen: SocketAddr,

    /// Take an --api-listen that other machines reach; they still need a client certificate or a token
    #[arg(long, env = "SKERRY_ALLOW_REMOTE")]
    pub allow_remote: bool,

    /// One more name or IP address under which clients reach the API; may be given several times, or with commas between
    #[arg(long, env = "SKERRY_TLS_SAN", value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<String>,

    #[command(flatten)]
    pub replica: ReplicaArgs,
}

/// Where everything is kept.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// Where the API keeps everything [default: /var/lib/skerry-controller, or ~/.local/state/skerry-controller if you are not root]
    #[arg(long, env = "SKERRY_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum StandaloneCommand {
    /// Write a copy of all objects into a new file, also while the API runs
    ///
    /// Secrets and the key of the certificate authority stay encrypted in it: a restore needs the `secrets.key` of the data
    /// directory, so keep a copy of that file too, in another place than the backups. The list of users, `users.yaml`, is in it.
    Backup {
        /// The file to make; a backup replaces none
        file: PathBuf,
        #[command(flatten)]
        data: DataArgs,
    },
    /// Make a data directory from a backup; it must be empty or absent, but for its `secrets.key`
    Restore {
        /// A file that `backup` made
        file: PathBuf,
        #[command(flatten)]
        data: DataArgs,
        /// The `secrets.key` of the data directory that the backup was made of
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Say who may use the API besides the admin, with a token
    #[command(subcommand)]
    User(UserCommand),
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user; prints the token, which is kept nowhere, or writes a kubeconfig that holds it
    Add {
        /// Letters, digits, `-`, `_`, `.` and `@`
        name: String,
        /// admin: everything; viewer: reads everything but Secrets; editor: reads and writes in its namespaces
        #[arg(long, value_enum)]
        role: UserRole,
        /// A namespace of an editor; may be given several times
        #[arg(long, value_name = "NAMESPACE")]
        namespace: Vec<String>,
        /// Write a kubeconfig with the token, mode 0600, instead of printing it
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
        /// The API's URL in that kubeconfig, if the user is on another machine
        #[arg(long, value_name = "URL", requires = "kubeconfig")]
        server: Option<String>,
        #[command(flatten)]
        data: DataArgs,
    },
    /// List the users
    List {
        #[command(flatten)]
        data: DataArgs,
    },
    /// Remove a user, whose token is refused from then on
    Remove {
        /// As `list` shows it
        name: String,
        #[command(flatten)]
        data: DataArgs,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum UserRole {
    Admin,
    Viewer,
    Editor,
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
