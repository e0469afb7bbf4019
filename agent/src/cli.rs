//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Given};
use crate::logging::{LogFormat, LogLevel};

const EXAMPLES: &str = "\
Examples:
  skerry-agent run                                   with /etc/skerry/agent.toml, or defaults
  skerry-agent run --node-name box-7 --state-dir ./state
  skerry-agent completion bash > /etc/bash_completion.d/skerry-agent

Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage or configuration.";

/// Skerry's agent: runs on an edge box what the controller asks for, and keeps it running with no controller at all.
#[derive(Debug, Parser)]
#[command(name = "skerry-agent", version, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the agent until SIGTERM. Stopping it stops no container.
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// Prints a completion script for a shell.
    Completion { shell: clap_complete::Shell },
}

const RUN_HELP: &str = "\
The file knows the same keys as the flags, and what the box's owner allows and offers:

  node-name = \"box-7\"
  controller = \"http://127.0.0.1:7443\"
  state-dir = \"/var/lib/skerry\"
  docker-socket = \"unix:///var/run/docker.sock\"
  log-format = \"text\"
  log-level = \"info\"
  store-key = \"/media/stick/store.key\"     the key of what is stored; default: in state-dir
  manifest-dir = \"/etc/skerry/manifests\"   EdgeApps that run without a controller
  seccomp-folder = \"/etc/skerry/seccomp\"   profiles that apps may name; default: none
  app-names = \"Namespace\"                  apps that find each other by name: Namespace, All, None
  [labels]
  site = \"hz\"
  [policy]                                   what apps may do; these are the defaults
  privileged = false
  host-network = true
  host-pid = false
  host-ipc = false
  host-paths = []                            such as \"/data\": with all below it
  capabilities = []                          such as \"NET_ADMIN\"
  docker-socket = false                      true makes apps that mount it root on the box
  registries = []                            such as \"ghcr.io/acme\", \"*.example.com\"; empty: all
  sysctls = []                               beside Kubernetes' safe ones, such as \"net.core.*\"
  seccomp-unconfined = false
  [devices.camera]                           what skerry.dev/camera stands for
  paths = [\"/dev/video0\"]
  count = 1                                  how many containers may have it at once
  [devices.gpu]
  gpu = true";

#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The configuration file; may be missing unless it is given here. [default: /etc/skerry/agent.toml]
    #[arg(long, env = "SKERRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node: of its EdgeNode object. [default: the host name]
    #[arg(long, env = "SKERRY_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Where the controller is. Plain text is accepted on loopback only. [default: http://127.0.0.1:7443]
    #[arg(long, env = "SKERRY_CONTROLLER", value_name = "URL")]
    controller: Option<String>,
    /// Where the agent keeps what it must run. [default: /var/lib/skerry]
    #[arg(long, env = "SKERRY_STATE_DIR", value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Where the key of what is stored is. [default: store.key in the state folder]
    #[arg(long, env = "SKERRY_STORE_KEY", value_name = "FILE")]
    store_key: Option<PathBuf>,
    /// Folder of EdgeApps that run without a controller. [default: /etc/skerry/manifests]
    #[arg(long, env = "SKERRY_MANIFEST_DIR", value_name = "FOLDER")]
    manifest_dir: Option<PathBuf>,
    /// Docker's socket. [default: DOCKER_HOST, else unix:///var/run/docker.sock]
    #[arg(long, env = "SKERRY_DOCKER_SOCKET", value_name = "SOCKET")]
    docker_socket: Option<String>,
    /// A label for the EdgeNode object, used only when it is created. May be repeated.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// How the log looks. [default: text]
    #[arg(long, env = "SKERRY_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// How much is logged. [default: info]
    #[arg(long, env = "SKERRY_LOG_LEVEL", value_enum)]
    log_level: Option<LogLevel>,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("a label is KEY=VALUE".to_owned()),
    }
}

impl RunArgs {
    /// The whole configuration, from all its sources.
    pub fn configuration(self) -> Result<config::Config, config::ConfigError> {
        let Self {
            config,
            node_name,
            controller,
            state_dir,
            store_key,
            manifest_dir,
            docker_socket,
            labels,
            log_format,
            log_level,
        } = self;
        let explicit = config.is_some();
        let path = config.unwrap_or_else(|| config::DEFAULT_PATH.into());
        let file = config::read(&path, explicit)?;
        let labels = labels.into_iter().collect();
        let flags = Given {
            node_name,
            controller,
            state_dir,
            store_key,
            manifest_dir,
            docker_socket,
            labels,
            log_format,
            log_level,
            ..Given::default()
        };
        config::resolve(flags, file, &path)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_label_without_a_value_is_wrong_usage() {
        assert!(Cli::try_parse_from(["skerry-agent", "run", "--label", "site"]).is_err());
        assert!(Cli::try_parse_from(["skerry-agent", "run", "--label", "site=hz"]).is_ok());
    }
}
